// The settings in the page's address: those that differ from the initial ones, as its fragment, which is never sent.

/** Controls that only set others. */
const LEFT_OUT = ['sample', 'cell', 'key']

/** The entries of a form that count, in its order. */
const entriesOf = (form: HTMLFormElement) =>
  [...new FormData(form)].flatMap(([name, value]) => (LEFT_OUT.includes(name) ? [] : [[name, String(value)]]))

/** The selected words; undefined before one is selected. */
export interface Picked {
  token: number | undefined
  key: number | undefined
}

function indexIn(parameters: URLSearchParams, name: string) {
  const value = parameters.get(name) ?? ''
  return /^\d{1,5}$/.test(value) ? Number(value) : undefined
}

export class Address {
  readonly #form
  /** The initial values of each control, joined. */
  readonly #initial

  constructor(form: HTMLFormElement) {
    this.#form = form
    this.#initial = new URLSearchParams(entriesOf(form))
  }

  /** Writes the settings and the selected words into the address, without an entry in the history. */
  write({ token, key }: Picked) {
    const now = new URLSearchParams(entriesOf(this.#form))
    const changed = new URLSearchParams()
    for (const name of new Set(now.keys())) {
      const values = now.getAll(name)
      if (values.join() === this.#initial.getAll(name).join()) continue
      for (const value of values) changed.append(name, value)
    }
    if (token !== undefined) changed.set('token', String(token))
    if (key !== undefined) changed.set('key', String(key))
    const hash = changed.size > 0 ? `#${changed}` : ''
    if (hash !== location.hash) history.replaceState(null, '', hash || location.pathname + location.search)
  }

  /**
   * Applies the address to the form: settings that it lacks are the initial ones, and values that the form does not
   * have are ignored. Returns the selected words.
   */
  read(): Picked {
    this.#form.reset()
    const wanted = new URLSearchParams(location.hash.slice(1))
    for (const name of new Set(wanted.keys())) {
      if (LEFT_OUT.includes(name)) continue
      const values = wanted.getAll(name)
      for (const control of this.#form.elements) {
        if ((control as HTMLInputElement).name === name) setControl(control as HTMLInputElement, values)
      }
    }
    return { token: indexIn(wanted, 'token'), key: indexIn(wanted, 'key') }
  }
}

function setControl(control: HTMLInputElement | HTMLSelectElement | HTMLTextAreaElement, values: readonly string[]) {
  const [value] = values
  if (control instanceof HTMLSelectElement) {
    if ([...control.options].some((option) => option.value === value)) control.value = value
  } else if (control.type === 'radio' || control.type === 'checkbox') {
    const box = control as HTMLInputElement
    // A radio button without a match would leave its group empty.
    if (box.type === 'checkbox' || values.includes(box.value)) box.checked = values.includes(box.value)
  } else {
    control.value = control.maxLength > 0 ? value.slice(0, control.maxLength) : value
  }
}
