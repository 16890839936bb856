// The steps of one head for one word, with its numbers: a row per word, and the features of the pinned one.

import { byId, checkedOf, drawn, element, headerCell } from './dom.ts'
import { isSeen } from './links.ts'
import type { Result } from './protocol.ts'
import type { Selection } from './selection.ts'
import type { Settings } from './settings.ts'
import { HEAD_SIZE } from './settings.ts'
import { SCALE, stepsOf } from './steps.ts'
import type { KeyStep, Steps } from './steps.ts'
import { percent } from './words.ts'

const STEPS = ['product', 'scale', 'mask', 'softmax', 'value'] as const
type Step = (typeof STEPS)[number]

/** Numbers with a real minus sign, and infinity. */
const number = (value: number, digits = 2) =>
  value === -Infinity
    ? '−∞'
    : value
        .toFixed(digits)
        .replace(/^-(?=[0.]*$)/, '')
        .replace('-', '−')

/** The cell of each column, by the step that computes it. */
const COLUMNS: Record<Step, { name: string; cell: (step: KeyStep) => string; bar: (step: KeyStep) => number }> = {
  product: { name: 'q · k', cell: ({ product }) => number(product), bar: ({ product }) => product },
  scale: { name: '÷ √32', cell: ({ scaled }) => number(scaled), bar: ({ scaled }) => scaled },
  mask: {
    name: '+ mask',
    cell: ({ scaled, mask }) => number(scaled + mask),
    bar: ({ scaled, mask }) => scaled + mask
  },
  softmax: { name: 'softmax', cell: ({ weight }) => percent(weight), bar: ({ weight }) => weight },
  value: { name: '× v', cell: ({ weight }) => percent(weight), bar: ({ weight }) => weight }
}

/** The columns with numbers of their own; times v changes vectors, not weights. */
const SHOWN = STEPS.slice(0, 4)

export class StepView {
  readonly #card = byId('steps')
  readonly #selection
  #result: Result | undefined
  #settings: Settings | undefined

  /** @param changed  called when another step is chosen */
  constructor(selection: Selection, changed: () => void) {
    this.#selection = selection
    byId('step').addEventListener('change', () => {
      this.update()
      changed()
    })
    byId('step-rows').addEventListener('change', (event) => {
      const [result, key] = [this.#result, Number((event.target as HTMLInputElement).value)]
      if (!result) return
      // The row is chosen already: pinning it again would release it.
      selection.key = undefined
      selection.pin(selection.token ?? result.token, key)
    })
  }

  show(result: Result, settings: Settings) {
    this.#result = result
    this.#settings = settings
    this.update()
  }

  update() {
    const [result, settings] = [this.#result, this.#settings]
    const projections = result?.projections
    this.#card.hidden = projections === undefined
    if (!result || !settings || !projections) return
    const token = Math.min(this.#selection.token ?? result.token, result.rowCount - 1)
    const [head] = result.heads
    const sees = (key: number) => isSeen(key, token, result.valid, settings)
    const steps = stepsOf(projections, head, token, sees)
    const strongest = steps.keys.reduce(
      (best, { weight }, index) => (weight > steps.keys[best].weight ? index : best),
      0
    )
    const pinned = this.#selection.key ?? strongest
    const step = (checkedOf(byId('step')) ?? 'softmax') as Step
    this.#card.dataset.step = step
    const others = result.heads.length > 1 ? `, the first of ${result.heads.length} that are shown` : ''
    byId('steps-of').textContent = `“${result.tokens[token]}” in layer ${result.layer}, head ${head}${others}`
    byId('step-said').replaceChildren(...explain(step, steps, result.tokens, token, pinned))
    this.#fill(result.tokens, steps, step, pinned)
    byId('features').replaceChildren(...features(step, steps, result.tokens, token, pinned))
  }

  #fill(tokens: readonly string[], { keys }: Steps, step: Step, pinned: number) {
    const focused = document.activeElement instanceof HTMLInputElement && document.activeElement.name === 'key'
    const bars = keys.map(COLUMNS[step].bar)
    const largest = Math.max(...bars.filter(Number.isFinite).map(Math.abs), 1e-9)
    const low = Math.min(0, ...bars.filter(Number.isFinite))
    const high = Math.max(0, ...bars.filter(Number.isFinite))
    const rows = keys.map((key, index) => {
      const row = element('tr')
      const name = element('th')
      name.scope = 'row'
      const input = Object.assign(element('input'), { type: 'radio', name: 'key', value: String(index) })
      input.checked = index === pinned
      const label = element('label')
      label.append(input, element('span', tokens[index], 'word'))
      name.append(label)
      const cells = SHOWN.map((column) => element('td', COLUMNS[column].cell(key), column === step ? 'now' : column))
      const bar = element('td', '', 'amount')
      bar.append(barOf(bars[index], low, high || largest))
      row.append(name, ...cells, bar)
      row.classList.toggle('pinned', index === pinned)
      return row
    })
    byId('step-rows').replaceChildren(...rows)
    const heads = SHOWN.map((column) => {
      const cell = headerCell('col', COLUMNS[column].name)
      cell.className = column === step ? 'now' : column
      return cell
    })
    const last = element('td', '', 'amount')
    byId('step-head').replaceChildren(headerCell('col', 'word'), ...heads, last)
    if (focused) byId('step-rows').querySelector<HTMLInputElement>('input:checked')?.focus({ preventScroll: true })
  }
}

/** A bar from zero, to either side. */
function barOf(value: number, low: number, high: number) {
  const svg = drawn('svg', { viewBox: '0 0 100 10', preserveAspectRatio: 'none', 'aria-hidden': 'true' })
  const range = high - low || 1
  const zero = (-100 * low) / range
  if (Number.isFinite(value)) {
    const width = (100 * Math.abs(value)) / range
    const x = value < 0 ? zero - width : zero
    svg.append(drawn('rect', { x, y: 1, width, height: 8, class: value < 0 ? 'negative' : 'positive' }))
  }
  return svg
}

/** The step in words, with the numbers of the pinned word. */
function explain(step: Step, { keys }: Steps, tokens: readonly string[], token: number, pinned: number) {
  const { product, scaled, mask, power, weight } = keys[pinned]
  const [query, key] = [`“${tokens[token]}”`, `“${tokens[pinned]}”`]
  const sum = keys.reduce((total, { power }) => total + power, 0)
  const masked = number(scaled + mask, 3)
  const said: Record<Step, [words: string, formula: string]> = {
    product: [
      `The query of ${query} and the key of ${key} are ${HEAD_SIZE} numbers each. The sum of their products says how well they match.`,
      `q · k = ${number(product, 3)}`
    ],
    scale: [
      `Divided by the root of ${HEAD_SIZE}, sums stay in a range where softmax does not choose one word only.`,
      `${number(product, 3)} ÷ ${number(SCALE, 3)} = ${number(scaled, 3)}`
    ],
    mask: [
      mask === 0 ? `The mask lets ${query} see ${key}: nothing is added.` : `The mask hides ${key} from ${query}.`,
      `${number(scaled, 3)} + ${mask === 0 ? '0' : '(−∞)'} = ${masked}`
    ],
    softmax: [
      `Softmax turns the scores into shares that add up to 1: the power of e, divided by the sum over all words. The largest score is subtracted first.`,
      `${number(power, 3)} ÷ ${number(sum, 3)} = ${percent(weight)}`
    ],
    value: [
      `Each word gives its value, ${HEAD_SIZE} numbers, times its share. Their sum is the head’s output for ${query}.`,
      `output = ${percent(weight)} × v of ${key} + …`
    ]
  }
  const [words, formula] = said[step]
  return [element('p', words), element('p', formula, 'formula')]
}

/** The numbers of the head's features, one strip per vector. */
function features(step: Step, steps: Steps, tokens: readonly string[], token: number, pinned: number) {
  const [query, key] = [`“${tokens[token]}”`, `“${tokens[pinned]}”`]
  if (step === 'value') {
    const { weight } = steps.keys[pinned]
    const value = steps.valueOf(pinned)
    return [
      strip(`v of ${key}`, value),
      strip(
        `${percent(weight)} × v of ${key}`,
        value.map((v) => v * weight),
        value
      ),
      strip(`sum over all words: the output for ${query}`, steps.output, value)
    ]
  }
  const [q, k] = [steps.query, steps.keyOf(pinned)]
  return [
    strip(`q of ${query}`, q),
    strip(`k of ${key}`, k),
    strip(
      `q × k, which add up to ${number(steps.keys[pinned].product)}`,
      q.map((value, index) => value * k[index])
    )
  ]
}

/** A bar per feature. @param like  the values whose scale it has; its own by default */
function strip(name: string, values: Float32Array, like = values) {
  const largest = Math.max(...like.map(Math.abs), ...values.map(Math.abs), 1e-9)
  const figure = element('figure')
  const numbers = Array.from(values, (value) => number(value)).join(', ')
  const svg = drawn('svg', { viewBox: `0 0 ${HEAD_SIZE * 10} 44`, role: 'img', 'aria-label': numbers })
  svg.append(drawn('line', { x1: 0, x2: HEAD_SIZE * 10, y1: 22, y2: 22 }))
  values.forEach((value, index) => {
    const height = (21 * Math.abs(value)) / largest
    const bar = drawn('rect', {
      x: index * 10 + 1,
      y: value < 0 ? 22 : 22 - height,
      width: 8,
      height,
      class: value < 0 ? 'negative' : 'positive'
    })
    bar.append(drawn('title', {}))
    bar.firstElementChild!.textContent = `${index}: ${number(value, 3)}`
    svg.append(bar)
  })
  figure.append(element('figcaption', name), svg)
  return figure
}
