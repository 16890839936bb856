// Opens the whole model: from files that the reader chooses or drops, or from the page's own server.

import { byId } from './dom.ts'
import type { FromWorker } from './protocol.ts'
import { bytes } from './words.ts'
import type { Files } from './whole.ts'

const NEEDED = ['config.json', 'tokenizer.json', 'model.safetensors']

export class ModelPicker {
  readonly #area = byId('model')
  readonly #open
  /** Files that were chosen so far, by name. */
  #files: Record<string, Blob> = {}

  /** @param open  called with all files, or with the folder on the page's server */
  constructor(open: (files: Files | string) => void) {
    this.#open = open
    const input = byId<HTMLInputElement>('files')
    input.addEventListener('change', () => {
      this.#add([...(input.files ?? [])])
      // The same files can be chosen again.
      input.value = ''
    })
    const served = byId<HTMLButtonElement>('served')
    served.hidden = __SERVED_BYTES__ === 0
    served.textContent = `Load all six layers, ${bytes(__SERVED_BYTES__)}`
    served.addEventListener('click', () => this.#load(new URL('model', location.href).href))
    this.#followDrops()
  }

  /** Loads the model that the page is served with, if there is one. */
  loadServed() {
    const served = byId<HTMLButtonElement>('served')
    if (!served.hidden) served.click()
  }

  #followDrops() {
    document.addEventListener('dragover', (event) => {
      if (!event.dataTransfer?.types.includes('Files')) return
      event.preventDefault()
      document.body.toggleAttribute('data-drop', true)
    })
    document.addEventListener('dragleave', (event) => {
      if (event.relatedTarget === null) document.body.removeAttribute('data-drop')
    })
    document.addEventListener('drop', (event) => {
      document.body.removeAttribute('data-drop')
      if (!event.dataTransfer?.types.includes('Files')) return
      event.preventDefault()
      this.#add([...event.dataTransfer.files])
    })
  }

  #add(files: readonly File[]) {
    for (const file of files) this.#files[file.name] = file
    const missing = NEEDED.filter((name) => !(name in this.#files))
    if (missing.length === 0) this.#load(this.#files)
    else this.#say('waiting', `Still missing: ${new Intl.ListFormat('en').format(missing)}.`)
  }

  #load(files: Files | string) {
    this.#say('loading', 'Loading the whole model…')
    this.#open(files)
  }

  #say(state: 'waiting' | 'loading' | 'whole' | 'failed', text: string) {
    this.#area.dataset.state = state
    byId('model-said').textContent = text
  }

  hear(message: Extract<FromWorker, { type: 'model' | 'unloaded' }>) {
    if (message.type === 'model') {
      byId('model-name').textContent = message.title
      return this.#say('whole', 'Choose any of the 72 heads below.')
    }
    this.#files = {}
    this.#say('failed', `The model could not be loaded: ${message.message}`)
  }
}
