// The settings form: reads its controls, and enables those that apply to the mechanism.

import { byId } from './dom.ts'
import sentences from '../data/sentences.json'
import { HEADS, LAYERS, whyNot } from './settings.ts'
import type { Settings } from './settings.ts'

/** The head that is shown first: “it” looks at a noun. */
const FIRST_HEAD = 6

export class Form {
  readonly element
  /** A message about a setting that was reverted because it does not apply. */
  #notice: string | undefined

  constructor(element: HTMLFormElement) {
    this.element = element
    this.#fill()
    this.update()
    element.addEventListener('submit', (event) => event.preventDefault())
    this.#select('sample').addEventListener('change', () => {
      const { value } = this.#select('sample')
      if (value !== '') this.#text.value = sentences[Number(value)]
    })
    this.#text.addEventListener('input', () => (this.#select('sample').value = ''))
    element.addEventListener('change', () => this.update())
  }

  get #text() {
    return byId<HTMLTextAreaElement>('text')
  }

  #find<T extends Element>(selector: string) {
    const found = this.element.querySelector<T>(selector)
    if (found === null) throw new Error(`the form has no ${selector}`)
    return found
  }

  /** True before the reader chooses a layer. */
  get isAtFirstLayer() {
    return this.#select('layer').value === '0'
  }

  /** The number of layers that the model has; others are disabled. */
  setLayers(count: number) {
    for (const option of this.#select('layer').options) option.disabled = Number(option.value) >= count
    byId('layer-hint').hidden = count === LAYERS
  }

  /** Chooses one head of a layer. */
  chooseHead(layer: number, head: number) {
    this.#select('layer').value = String(layer)
    for (const box of this.element.querySelectorAll<HTMLInputElement>('input[name="head"]')) {
      box.checked = Number(box.value) === head
    }
    this.choose('heads', 'chosen')
  }

  #select(name: string) {
    return this.element.elements.namedItem(name) as HTMLSelectElement
  }

  #fill() {
    const options = sentences.map((sentence, index) => new Option(sentence, String(index), index === 0))
    this.#select('sample').append(new Option('your own', ''), ...options)
    this.#text.defaultValue = sentences[0]
    const layers = Array.from({ length: LAYERS }, (_, layer) => new Option(String(layer), String(layer)))
    this.#select('layer').append(...layers)
    this.setLayers(1)
    const numbers = this.#find('.numbers')
    for (let head = 0; head < HEADS; head++) {
      const input = Object.assign(document.createElement('input'), { type: 'checkbox', name: 'head' })
      input.value = String(head)
      input.defaultChecked = head === FIRST_HEAD
      const name = document.createElement('span')
      name.textContent = String(head)
      const label = document.createElement('label')
      label.append(input, name)
      numbers.append(label)
    }
  }

  read(): Settings {
    const data = new FormData(this.element)
    const text = (name: string) => String(data.get(name) ?? '')
    return {
      text: text('text'),
      length: Number(text('length')),
      mechanism: text('mechanism') as Settings['mechanism'],
      layer: Number(this.#select('layer').value),
      mask: text('mask') as Settings['mask'],
      reach: this.#number('reach'),
      padding: this.#number('padding'),
      heads: this.#heads(data),
      stage: this.#select('stage').value as Settings['stage'],
      featureMap: this.#select('featureMap').value as Settings['featureMap'],
      curvature: Number(this.#select('curvature').value),
      temperature: Number(this.#select('temperature').value),
      links: this.#select('links').value as Settings['links']
    }
  }

  /** A number within the limits of its field, which then shows it. */
  #number(name: string) {
    const input = this.#find<HTMLInputElement>(`input[name="${name}"]`)
    const value = Math.round(input.valueAsNumber)
    const [low, high] = [Number(input.min), Number(input.max)]
    return Number.isFinite(value) ? Math.min(Math.max(value, low), high) : low
  }

  #heads(data: FormData): Settings['heads'] {
    const kind = this.element.querySelector<HTMLInputElement>('input[name="heads"]:checked')?.value
    if (kind === 'mean') return 'mean'
    if (kind === 'chosen') return data.getAll('head').map(Number)
    return Array.from({ length: HEADS }, (_, head) => head)
  }

  choose(name: string, value: string) {
    this.#find<HTMLInputElement>(`input[name="${name}"][value="${value}"]`).checked = true
    this.update()
  }

  /** Returns the message about a reverted setting, once. */
  takeNotice() {
    const notice = this.#notice
    this.#notice = undefined
    return notice
  }

  /** Shows the controls that apply, and disables the others with a reason. */
  update() {
    this.#keepOneHead()
    const settings = this.read()
    for (const field of this.element.querySelectorAll<HTMLElement>('[data-for]')) {
      field.hidden = field.dataset.for !== settings.mechanism
    }
    this.#close('mask:window', settings, this.#find<HTMLInputElement>('input[name="mask"][value="window"]'))
    this.#close('links:everyone', settings, this.#find<HTMLOptionElement>('#links option[value="everyone"]'))
    for (const input of this.element.querySelectorAll<HTMLInputElement>('#heads input')) {
      input.disabled = whyNot('heads', settings) !== undefined
    }
    this.#explain('heads', whyNot('heads', settings))
    for (const element of this.element.querySelectorAll<HTMLElement>('[data-when]')) {
      const [name, value] = (element.dataset.when ?? '').split(':')
      element.hidden = this.element.querySelector(`input[name="${name}"][value="${value}"]:checked`) === null
    }
  }

  #close(choice: string, settings: Settings, control: HTMLInputElement | HTMLOptionElement) {
    const reason = whyNot(choice, settings)
    control.disabled = reason !== undefined
    this.#explain(choice, reason)
    if (reason === undefined) return
    if (control instanceof HTMLOptionElement && control.selected) {
      this.#select('links').value = 'neighbors'
      this.#notice = reason
    }
    if (control instanceof HTMLInputElement && control.checked) {
      this.#find<HTMLInputElement>('input[name="mask"][value="none"]').checked = true
      this.#notice = reason
    }
  }

  #explain(choice: string, reason: string | undefined) {
    const hint = this.#find<HTMLElement>(`[data-reason="${choice}"]`)
    hint.textContent = reason ?? ''
    hint.hidden = reason === undefined
  }

  /** Keeps the last head selected, since without heads there is nothing to show. */
  #keepOneHead() {
    const boxes = [...this.element.querySelectorAll<HTMLInputElement>('input[name="head"]')]
    if (boxes.some((box) => box.checked)) return
    const last = boxes.find((box) => box === document.activeElement) ?? boxes[0]
    last.checked = true
    this.#notice = 'At least one head must stay selected.'
  }
}
