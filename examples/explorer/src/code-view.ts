// The program that computes the same, with a button that copies it.

import { byId } from './dom.ts'

export function followCode() {
  const copy = byId<HTMLButtonElement>('copy')
  copy.addEventListener('click', async () => {
    try {
      await navigator.clipboard.writeText(byId('code').textContent ?? '')
      copy.textContent = 'Copied'
    } catch {
      // Without permission, the text is selected for the reader's own copy.
      getSelection()?.selectAllChildren(byId('code'))
      copy.textContent = 'Selected: copy it now'
    }
  })
  return (code: string) => {
    byId('code-card').hidden = code === ''
    if (byId('code').textContent === code) return
    byId('code').textContent = code
    copy.textContent = 'Copy'
  }
}
