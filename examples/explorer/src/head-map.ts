// The map of all heads: a small picture of each, in a row per layer. Choosing one shows it everywhere.

import { describeHeads, pairInWords } from '../../minilm-heads/describe-heads.js'
import { byId, element } from './dom.ts'
import type { Preview } from './looks.ts'
import type { Result } from './protocol.ts'
import { HEADS, LAYERS } from './settings.ts'

export interface MapActions {
  choose(layer: number, head: number): void
  /** Called with a head that the reader points at, then with undefined. */
  preview(preview: Preview | undefined): void
}

const nameOf = (layer: number, head: number) => `Layer ${layer}, head ${head}`

export class HeadMap {
  readonly #field = byId<HTMLFieldSetElement>('map')
  readonly #actions
  #maps: Float32Array[] = []
  #mapsOf = ''
  #tokens: string[] = []
  #shown: { layer: number; heads: readonly number[] } = { layer: 0, heads: [] }

  constructor(actions: MapActions) {
    this.#actions = actions
    this.#fill()
    this.#field.addEventListener('change', (event) => this.#choose((event.target as HTMLInputElement).value))
    this.#field.addEventListener('keydown', (event) => this.#move(event))
    this.#field.addEventListener('pointerover', (event) => {
      const cell = event.target instanceof Element ? event.target.closest('label')?.querySelector('input') : undefined
      if (event.pointerType === 'mouse' && cell && !cell.disabled) this.#preview(cell.value)
    })
    this.#field.addEventListener('pointerleave', () => this.#preview(undefined))
  }

  #fill() {
    const cells = Array.from({ length: LAYERS }, (_, layer) => {
      const header = element('span', String(layer), 'layer')
      header.setAttribute('aria-hidden', 'true')
      const heads = Array.from({ length: HEADS }, (_, head) => {
        const input = Object.assign(element('input'), { type: 'radio', name: 'cell', value: `${layer}.${head}` })
        input.setAttribute('aria-label', nameOf(layer, head))
        const label = element('label')
        label.append(input, element('canvas'))
        return label
      })
      return [header, ...heads]
    })
    const numbers = Array.from({ length: HEADS }, (_, head) => element('span', String(head), 'head'))
    for (const number of numbers) number.setAttribute('aria-hidden', 'true')
    byId('cells').replaceChildren(element('span'), ...numbers, ...cells.flat())
  }

  #choose(value: string) {
    const [layer, head] = value.split('.').map(Number)
    this.#actions.choose(layer, head)
  }

  /** Up and down go to the same head of another layer; left and right are the browser's. */
  #move(event: KeyboardEvent) {
    const step = { ArrowUp: -1, ArrowDown: 1 }[event.key]
    if (step === undefined || !(event.target instanceof HTMLInputElement)) return
    event.preventDefault()
    const [layer, head] = event.target.value.split('.').map(Number)
    const next = this.#field.querySelector<HTMLInputElement>(`input[value="${layer + step}.${head}"]:enabled`)
    if (next === null) return
    next.checked = true
    next.focus()
    this.#choose(next.value)
  }

  #weightsOf(layer: number, head: number) {
    const size = this.#tokens.length ** 2
    return this.#maps[layer].subarray(head * size, (head + 1) * size)
  }

  #preview(value: string | undefined) {
    const [layer, head] = (value ?? '').split('.').map(Number)
    const isShown = this.#shown.layer === layer && this.#shown.heads.length === 1 && this.#shown.heads[0] === head
    const isNew = value !== undefined && !isShown
    this.#actions.preview(isNew ? { weights: this.#weightsOf(layer, head), name: nameOf(layer, head) } : undefined)
    if (isNew) this.#describe(layer, [head])
    else this.#describe(this.#shown.layer, this.#shown.heads)
  }

  show({ maps, mapsOf, tokens, layer, heads }: Result) {
    if (mapsOf !== this.#mapsOf) {
      this.#mapsOf = mapsOf
      this.#maps = maps
      this.#tokens = tokens.slice(0, Math.sqrt(maps[0].length / HEADS))
      this.paint()
    }
    this.#shown = { layer, heads }
    for (const input of this.#field.querySelectorAll('input')) {
      const [ofLayer, head] = input.value.split('.').map(Number)
      input.disabled = ofLayer >= this.#maps.length
      input.checked = heads.length === 1 && ofLayer === layer && head === heads[0]
      input.parentElement?.classList.toggle('shown', ofLayer === layer && heads.includes(head))
    }
    byId('map-more').hidden = this.#maps.length === LAYERS
    this.#describe(layer, heads)
  }

  /** Says in words what a head does. */
  #describe(layer: number, heads: readonly number[]) {
    const [head] = heads
    const { length } = this.#tokens
    if (heads.length !== 1) {
      byId('map-said').textContent = `Layer ${layer}, ${heads.length} heads`
      return byId('map-pairs').replaceChildren()
    }
    const data = this.#weightsOf(layer, head)
    const [{ habit, pairs }] = describeHeads({ data, shape: [1, 1, length, length] }, this.#tokens)
    byId('map-said').textContent = `${nameOf(layer, head)} looks ${habit}.`
    byId('map-pairs').replaceChildren(...pairs.map((pair) => element('li', pairInWords(pair, this.#tokens))))
  }

  /** Paints the pictures in the theme's color. */
  paint() {
    const accent = getComputedStyle(this.#field).getPropertyValue('--tint').split(' ').map(Number)
    for (const input of this.#field.querySelectorAll('input')) {
      const [layer, head] = input.value.split('.').map(Number)
      const canvas = input.nextElementSibling as HTMLCanvasElement
      if (layer < this.#maps.length) paintWeights(canvas, this.#weightsOf(layer, head), this.#tokens.length, accent)
    }
  }
}

/** One pixel per weight, more opaque for larger ones. */
function paintWeights(canvas: HTMLCanvasElement, weights: Float32Array, size: number, color: readonly number[]) {
  canvas.width = size
  canvas.height = size
  const image = new ImageData(size, size)
  const [red, green, blue] = color
  weights.forEach((weight, index) => {
    image.data[4 * index] = red
    image.data[4 * index + 1] = green
    image.data[4 * index + 2] = blue
    image.data[4 * index + 3] = 255 * weight ** 0.4
  })
  canvas.getContext('2d')?.putImageData(image, 0, 0)
}
