// The writing model on the page: opens its file, streams its tokens, and shows where each of them looks.

import { drawArcs } from './arcs.ts'
import { byId } from './dom.ts'
import { tokenLabel } from './looks.ts'
import type { FromWriter, ToWriter, Written } from './writer-protocol.ts'
import { bytes, describeRow, percent } from './words.ts'

/** The layer that is shown first: in SmolLM2, its heads look at words; most others rest on the first token. */
const FIRST_LAYER = 11

export class Writer {
  #worker: Worker | undefined
  #tokens: Written[] = []
  #heads = 0
  /** The token that was chosen; undefined for the newest. */
  #chosen: number | undefined
  readonly #field = byId<HTMLFieldSetElement>('written')
  readonly #chips = byId('written-chips')
  readonly #arcs = document.getElementById('written-arcs') as unknown as SVGSVGElement
  readonly #form = byId<HTMLFormElement>('writer-form')
  readonly #layer = byId<HTMLSelectElement>('writer-layer')
  readonly #head = byId<HTMLSelectElement>('writer-head')

  constructor() {
    const input = byId<HTMLInputElement>('generator-file')
    input.addEventListener('change', () => {
      const [file] = input.files ?? []
      if (file) this.#load(file)
      // The same file can be chosen again.
      input.value = ''
    })
    const served = byId<HTMLButtonElement>('generator-served')
    served.hidden = __GENERATOR_BYTES__ === 0
    served.textContent = `Load SmolLM2, ${bytes(__GENERATOR_BYTES__)}`
    served.addEventListener('click', () => this.#load(new URL('model/generator.gguf', location.href).href))
    this.#form.addEventListener('submit', (event) => {
      event.preventDefault()
      this.#write()
    })
    byId('stop').addEventListener('click', () => this.#post({ type: 'stop' }))
    for (const select of [this.#layer, this.#head]) select.addEventListener('change', () => this.#update())
    this.#field.addEventListener('change', (event) => {
      this.#chosen = Number((event.target as HTMLInputElement).value)
      this.#update()
    })
    new ResizeObserver(() => this.#update()).observe(this.#field)
  }

  #post(message: ToWriter) {
    this.#worker ??= this.#open()
    this.#worker.postMessage(message, [])
  }

  #open() {
    const worker = new Worker(new URL('./writer-worker.ts', import.meta.url), { type: 'module', name: 'writer' })
    worker.addEventListener('message', ({ data }: MessageEvent<FromWriter>) => this.#hear(data))
    worker.addEventListener('error', ({ message }) =>
      this.#hear({ type: 'failed', message: message || 'the worker could not be started' })
    )
    return worker
  }

  #load(file: Blob | string) {
    this.#begin('Loading the model…')
    this.#post({ type: 'load', file })
  }

  #write() {
    this.#begin('Writing…')
    byId('stop').hidden = false
    this.#tokens = []
    this.#chosen = undefined
    this.#chips.replaceChildren()
    this.#post({ type: 'write', prompt: byId<HTMLTextAreaElement>('prompt').value })
  }

  #begin(said: string) {
    byId('writer').toggleAttribute('data-busy', true)
    byId('writer').setAttribute('aria-busy', 'true')
    byId('writer-said').textContent = said
    byId<HTMLButtonElement>('write').disabled = true
  }

  #end(said: string) {
    byId('writer').removeAttribute('data-busy')
    byId('writer').setAttribute('aria-busy', 'false')
    byId('writer-progress').hidden = true
    byId<HTMLButtonElement>('write').disabled = false
    // The button disappears, so the focus moves elsewhere.
    if (document.activeElement === byId('stop')) byId('write').focus({ preventScroll: true })
    byId('stop').hidden = true
    byId('writer-said').textContent = said
  }

  #hear(message: FromWriter) {
    switch (message.type) {
      case 'progress': {
        const progress = byId<HTMLProgressElement>('writer-progress')
        progress.hidden = false
        progress.value = message.fraction
        progress.setAttribute('aria-label', message.doing)
        return
      }
      case 'loaded':
        return this.#show(message)
      case 'tokens':
        return this.#add(message.tokens)
      case 'ended':
        return this.#end(message.said)
      case 'failed':
        return this.#end(`Failed: ${message.message}`)
    }
  }

  #show({ title, layers, heads }: Extract<FromWriter, { type: 'loaded' }>) {
    this.#heads = heads
    const options = (count: number) => Array.from({ length: count }, (_, at) => new Option(String(at), String(at)))
    this.#layer.replaceChildren(...options(layers))
    this.#layer.value = String(Math.min(FIRST_LAYER, layers - 1))
    this.#head.replaceChildren(new Option('mean', ''), ...options(heads))
    this.#form.hidden = false
    byId('writer-of').textContent = title
    this.#end('Ready: press Write.')
  }

  #add(tokens: readonly Written[]) {
    const first = this.#tokens.length
    this.#tokens.push(...tokens)
    const isBeginning = first === 0
    for (const [index, { name }] of tokens.entries()) {
      const label = tokenLabel('written', first + index, name)
      label.classList.toggle('new', !isBeginning)
      this.#chips.append(label)
    }
    this.#field.hidden = false
    this.#update()
  }

  /** The weights of a token in the chosen layer: of a head, or their mean. */
  #rowOf({ weights }: Written) {
    const [layer, head] = [Number(this.#layer.value), this.#head.value]
    const size = weights.length / this.#heads / this.#layer.options.length
    const of = (head: number) => {
      const start = (layer * this.#heads + head) * size
      return weights.subarray(start, start + size)
    }
    if (head !== '') return of(Number(head))
    const mean = new Float32Array(size)
    for (let head = 0; head < this.#heads; head++)
      of(head).forEach((weight, key) => (mean[key] += weight / this.#heads))
    return mean
  }

  #update() {
    if (this.#tokens.length === 0) return
    const from = this.#chosen ?? this.#tokens.length - 1
    const row = this.#rowOf(this.#tokens[from])
    const most = Math.max(...row)
    const chips = [...this.#chips.querySelectorAll<HTMLElement>('.chip')]
    for (const [index, chip] of chips.entries()) {
      const weight = row[index] ?? 0
      chip.style.setProperty('--share', String(weight / most))
      chip.classList.toggle('from', index === from)
      const share = chip.querySelector('.share')
      if (share) share.textContent = index > from ? '' : percent(weight)
      const input = chip.previousElementSibling as HTMLInputElement
      input.checked = index === from
    }
    drawArcs(this.#arcs, chips, { from, row, pinned: undefined })
    const sentence = byId('written-sentence')
    // Read aloud once the text has ended, or when a token is chosen.
    sentence.ariaLive = byId('stop').hidden || this.#chosen !== undefined ? 'polite' : 'off'
    sentence.textContent = describeRow(
      this.#tokens.map(({ name }) => name),
      from,
      row
    )
  }
}
