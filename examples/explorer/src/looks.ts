// The words of the sentence: select or point at one, and arcs, shares and a list show where it looks.

import { drawArcs } from './arcs.ts'
import { byId, element } from './dom.ts'
import type { Result } from './protocol.ts'
import type { Selection } from './selection.ts'
import { describeRow, largest, percent } from './words.ts'

const MAX_WORDS = 8

/** The weights of one head of any layer, shown in place of the result while the reader points at it. */
export interface Preview {
  weights: Float32Array
  name: string
}

export class Looks {
  #result: Result | undefined
  readonly #selection
  readonly #field = byId<HTMLFieldSetElement>('tokens')
  readonly #svg = document.getElementById('arcs') as unknown as SVGSVGElement
  /** The word that the pointer is at. */
  #hovered: number | undefined
  #preview: Preview | undefined

  constructor(selection: Selection) {
    this.#selection = selection
    this.#field.addEventListener('change', (event) => {
      this.#hovered = undefined
      selection.select(Number((event.target as HTMLInputElement).value))
    })
    this.#field.addEventListener('pointerover', (event) => {
      if (event.pointerType === 'mouse') this.#hover(chipAt(event.target))
    })
    this.#field.addEventListener('pointerleave', () => this.#hover(undefined))
    new ResizeObserver(() => this.#drawArcs()).observe(this.#field)
  }

  #hover(index: number | undefined) {
    if (index === this.#hovered) return
    this.#hovered = index
    this.update()
  }

  show(result: Result) {
    const isSameText = this.#result?.tokens.join(' ') === result.tokens.join(' ')
    this.#result = result
    this.#preview = undefined
    if (!isSameText) {
      this.#hovered = undefined
      this.#fill(result)
    }
    this.update()
  }

  preview(preview: Preview | undefined) {
    this.#preview = preview
    this.update()
  }

  #fill({ tokens, rowCount }: Result) {
    byId('chips').replaceChildren(...tokens.slice(0, rowCount).map((token, index) => tokenLabel('token', index, token)))
  }

  get #chips() {
    return [...byId('chips').querySelectorAll<HTMLElement>('.chip')]
  }

  /** The word whose attention is shown, and its row. */
  #look({ token, rows, tokens: { length } }: Result) {
    const selected = this.#selection.token ?? token
    const from = Math.min(this.#hovered ?? selected, this.#chips.length - 1)
    const weights = this.#preview?.weights
    // A preview covers the sentence without padding.
    const size = weights ? Math.sqrt(weights.length) : length
    const source = weights && from < size ? weights : rows
    const width = source === rows ? length : size
    const row = source.subarray(from * width, (from + 1) * width)
    return { from, row, pinned: from === selected ? this.#selection.key : undefined }
  }

  /** Shows the attention of the word: in arcs, below each word, in a sentence and in a list. */
  update() {
    const result = this.#result
    if (!result) return
    const { from, row } = this.#look(result)
    const most = Math.max(...row)
    const selected = this.#selection.token ?? result.token
    const input = this.#field.querySelector<HTMLInputElement>(`input[value="${selected}"]`)
    if (input) input.checked = true
    for (const [index, chip] of this.#chips.entries()) {
      const weight = row[index] ?? 0
      chip.style.setProperty('--share', String(most > 0 ? weight / most : 0))
      chip.classList.toggle('from', index === from)
      const share = chip.querySelector('.share')
      if (share) share.textContent = percent(weight)
    }
    this.#drawArcs()
    byId('looks-of').textContent = this.#preview?.name ?? nameOf(result)
    // The text describes the selection only: the pointer passes over many words, and nothing may move below it.
    if (this.#hovered !== undefined || this.#preview !== undefined) return
    byId('sentence').textContent = describeRow(result.tokens, from, row)
    const keys = largest(row, MAX_WORDS).filter((key) => row[key] > 0)
    byId('words').replaceChildren(...keys.map((key) => wordItem(result, key, row[key], most)))
  }

  #drawArcs() {
    const result = this.#result
    if (!result) return
    drawArcs(this.#svg, this.#chips, this.#look(result))
  }
}

/** A radio button that shows a token and its share. */
export function tokenLabel(group: string, index: number, token: string) {
  const input = Object.assign(element('input'), { type: 'radio', name: group, value: String(index) })
  const chip = element('span', '', 'chip')
  chip.append(element('span', token, 'word'), element('span', '', 'share'))
  const label = element('label')
  label.append(input, chip)
  return label
}

const nameOf = ({ layer, rowsAre }: Result) => (rowsAre === '' ? '' : `Layer ${layer}, ${rowsAre}`)

/** The index of the word at an element. */
function chipAt(target: EventTarget | null) {
  const input = target instanceof Element ? target.closest('label')?.querySelector('input') : undefined
  return input ? Number(input.value) : undefined
}

function wordItem({ tokens, rowsAre }: Result, key: number, share: number, most: number) {
  const name = tokens[key]
  // Distinguishes copies of a word.
  const place = tokens.indexOf(name) === tokens.lastIndexOf(name) ? '' : ` at ${key + 1}`
  const item = element('li')
  item.append(element('span', `${name}${place}`, 'word'), element('span', percent(share), 'share'))
  item.append(element('span', '', 'meter'))
  item.style.setProperty('--share', String(share / most))
  item.title = rowsAre
  return item
}
