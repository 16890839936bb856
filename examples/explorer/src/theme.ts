// Light or dark theme: from the system, or as selected here and stored.

type Choice = 'auto' | 'light' | 'dark'

const KEY = 'attention-explorer-theme'
const dark = matchMedia('(prefers-color-scheme: dark)')

const remembered = (): Choice => {
  try {
    const found = localStorage.getItem(KEY)
    return found === 'light' || found === 'dark' ? found : 'auto'
  } catch {
    return 'auto'
  }
}

function remember(choice: Choice) {
  try {
    if (choice === 'auto') localStorage.removeItem(KEY)
    else localStorage.setItem(KEY, choice)
  } catch {
    // If the browser stores nothing, the selection ends with the page.
  }
}

/** The current background of pictures. */
export const paper = () => {
  const { theme } = document.documentElement.dataset
  return theme === 'light' || theme === 'dark' ? theme : dark.matches ? 'dark' : 'light'
}

function apply(choice: Choice) {
  const root = document.documentElement
  if (choice === 'auto') delete root.dataset.theme
  else root.dataset.theme = choice
}

/** Follows the radio buttons and the system, and reports changes of the theme. */
export function followTheme(buttons: HTMLElement, changed: () => void) {
  const choice = remembered()
  apply(choice)
  const own = buttons.querySelector<HTMLInputElement>(`input[value="${choice}"]`)
  if (own) own.checked = true
  buttons.addEventListener('change', (event) => {
    const value = (event.target as HTMLInputElement).value as Choice
    apply(value)
    remember(value)
    changed()
  })
  dark.addEventListener('change', changed)
}
