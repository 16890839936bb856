// One run: tokens, the mechanism, its time, and the weights of the selected heads, downsampled for long texts.

import { backend, memoryUsage } from '@ruvector/attention/external'
import type { Attention, Tensor } from '@ruvector/attention'
import { start } from './mechanisms.ts'
import type { Input, Running } from './mechanisms.ts'
import { repeat } from './model.ts'
import type { AttentionLayer, Model, Projections } from './model.ts'
import type { Fact } from './protocol.ts'
import { HEADS, LONG, MODEL_SIZE, MAX_TOKENS, effective, whyNot } from './settings.ts'
import type { Settings } from './settings.ts'
import { bytes, count, duration, percent } from './words.ts'

/** Number of cells per row of a panel for long texts. */
const CELLS = 64
/** Time for repeating a short run, in milliseconds, and the maximum number of repetitions. */
const BUDGET = 60
const MAX_TIMES = 7
/** Browser clocks are coarse, so shorter runs are repeated several times per measurement. */
const SHORTEST = 4

export interface Computed {
  settings: Settings
  input: Input
  /** Number of tokens cut off at the end of the sentence. */
  left: number
  /** The heads to draw; empty for a single panel without a number. */
  panels: number[]
  /** The drawn values, `[heads, rows, columns]`; a cell covers `perCell` tokens in each direction. */
  matrix: Tensor
  perCell: number
  /** The attention of the first tokens to all tokens, `[n, L]`, averaged over the selected heads. */
  rows: Float32Array
  rowCount: number
  points?: Tensor | undefined
  graph?: Running['graph']
  /** Queries, keys and values of a sentence, for mechanisms that use them as softmax attention does. */
  projections?: Projections | undefined
  facts: Fact[]
}

export interface Task {
  signal: AbortSignal
  report: (fraction: number, doing: string) => void
}

/** Lets messages arrive, such as a cancellation. */
export const breathe = () =>
  new Promise<void>((resolve) => {
    const { port1, port2 } = new MessageChannel()
    port1.addEventListener('message', () => {
      port1.close()
      resolve()
    })
    port1.start()
    port2.postMessage(null)
  })

/** The tokens of the settings, and the input of the layer. */
export async function prepare(model: Model, settings: Settings): Promise<Input & { left: number }> {
  const sentence = model.tokenize(settings.text)
  const text = settings.length > 0 ? repeat(sentence, settings.length) : sentence
  const padding = settings.mask === 'padding' ? model.padding(settings.padding) : model.padding(0)
  const ids = [...text.ids, ...padding.ids]
  const names = [...text.names, ...padding.names]
  const valid = text.ids.length
  return { names, x: await model.input(ids, valid, settings.layer), valid, left: sentence.left }
}

export async function compute(api: Attention, model: Model, given: Settings, task: Task): Promise<Computed> {
  const settings = effective(given, model.layers)
  const { left, ...input } = await prepare(model, settings)
  const layer = model.layer(settings.layer)
  const running = start(api, layer, input, settings)
  try {
    const time = await timeOf(running, input, task)
    const chosen = settings.heads === 'mean' ? Array.from({ length: running.heads }, (_, head) => head) : settings.heads
    const gathered = await gather(running, input.names.length, settings, chosen, task)
    const panels = settings.heads === 'mean' ? [] : [...settings.heads]
    const { points, graph } = running
    const facts = factsOf(input, running, settings, time, model)
    if (settings.mechanism === 'linear' && input.names.length <= LONG) {
      const elsewhere = await shareElsewhere(api, layer, input, settings, running, chosen, task)
      facts.splice(1, 0, { name: 'Difference from softmax', value: `${percent(elsewhere)} of the attention` })
    }
    const hasSteps = whyNot('steps', settings) === undefined
    const projections = hasSteps ? layer.project(input.x) : undefined
    return { settings, input, left, panels, ...gathered, points, graph, projections, facts }
  } finally {
    running.dispose()
  }
}

/** The time of the mechanism: the median of several runs here, or of a single run on other workers for a long text. */
async function timeOf(running: Running, { names }: Input, { signal, report }: Task) {
  if (names.length > LONG) {
    const begin = performance.now()
    await running.forwardAsync({ signal, onProgress: (fraction) => report(fraction / 2, 'Attention') })
    return { milliseconds: performance.now() - begin, runs: 1 }
  }
  return medianTime(() => running.forward(), BUDGET, MAX_TIMES)
}

/** The median time of a run, from as many measurements as fit into the budget; at least three. */
export function medianTime(run: () => unknown, budget: number, most: number) {
  run()
  const timeOf = (runs: number) => {
    const start = performance.now()
    for (let left = runs; left > 0; left--) run()
    return performance.now() - start
  }
  let batch = 1
  // Measured twice, since another program may have used the processor in between.
  while (batch < 4096 && Math.min(timeOf(batch), timeOf(batch)) < SHORTEST) batch *= 2
  const times: number[] = []
  const begin = performance.now()
  while (times.length < most && (times.length < 3 || performance.now() - begin < budget)) {
    times.push(timeOf(batch) / batch)
  }
  return { milliseconds: median(times), runs: times.length * batch }
}

export function median(values: readonly number[]) {
  const sorted = values.toSorted((a, b) => a - b)
  return (sorted[Math.floor((sorted.length - 1) / 2)] + sorted[Math.ceil((sorted.length - 1) / 2)]) / 2
}

/** The share of attention that differs from softmax: half the absolute differences, averaged over rows and heads. */
async function shareElsewhere(
  api: Attention,
  layer: AttentionLayer,
  input: Input,
  settings: Settings,
  running: Running,
  heads: readonly number[],
  { signal }: Task
) {
  const exact = start(api, layer, input, { ...settings, mechanism: 'dot-product' })
  let sum = 0
  for (const head of heads) {
    const [ours, theirs] = [await running.weights(head, { signal }), await exact.weights(head, { signal })]
    sum += ours.data.reduce((sum, weight, index) => sum + Math.abs(weight - theirs.data[index]), 0)
  }
  exact.dispose()
  return sum / (2 * heads.length * input.names.length)
}

/** Collects the values and captions of each head, one head at a time, so that only one head's weights are in memory. */
async function gather(running: Running, length: number, settings: Settings, heads: readonly number[], task: Task) {
  const perCell = length > LONG ? Math.ceil(length / CELLS) : 1
  const cells = Math.ceil(length / perCell)
  const rowCount = Math.min(length, MAX_TOKENS)
  const isMean = settings.heads === 'mean'
  const matrix = new Float32Array((isMean ? 1 : running.heads) * cells ** 2)
  const rows = new Float32Array(rowCount * length)
  const share = 1 / heads.length
  for (const [index, head] of heads.entries()) {
    const done = (fraction: number) => task.report(0.5 + (index + fraction) / heads.length / 2, `Head ${head}`)
    const weights = await running.weights(head, { signal: task.signal, onProgress: done })
    addTo(rows, weights.data, share)
    const drawn = settings.stage === 'weights' ? weights : (running.stage?.(head, settings.stage) ?? weights)
    const offset = isMean ? 0 : head * cells ** 2
    addTo(matrix.subarray(offset, offset + cells ** 2), downsampled(drawn, perCell, settings), isMean ? share : 1)
    if (length > LONG) await breathe()
    task.signal.throwIfAborted()
  }
  return { matrix: { data: matrix, shape: [isMean ? 1 : running.heads, cells, cells] }, perCell, rows, rowCount }
}

function addTo(sums: Float32Array, values: Float32Array, factor: number) {
  for (let index = 0; index < sums.length; index++) sums[index] += values[index] * factor
}

/**
 * For weights, a cell sums over keys and averages over queries, as in the package's pictures; for scores, it is the
 * mean.
 */
function downsampled({ data, shape: [length] }: Tensor, perCell: number, { stage }: Settings) {
  if (perCell === 1) return data
  const cells = Math.ceil(length / perCell)
  const sums = new Float32Array(cells ** 2)
  const counts = new Float32Array(cells ** 2)
  for (let row = 0; row < length; row++) {
    const start = Math.floor(row / perCell) * cells
    for (let column = 0; column < length; column++) {
      const value = data[row * length + column]
      const cell = start + Math.floor(column / perCell)
      if (value === -Infinity) continue
      sums[cell] += value
      counts[cell] += 1
    }
  }
  const queries = (cell: number) => Math.min(perCell, length - Math.floor(cell / cells) * perCell)
  if (stage === 'weights') return sums.map((sum, cell) => sum / queries(cell))
  return sums.map((sum, cell) => (counts[cell] > 0 ? sum / counts[cell] : -Infinity))
}

type Time = ReturnType<typeof medianTime>

function factsOf({ names }: Input, running: Running, settings: Settings, time: Time, model: Model): Fact[] {
  const { simd, threads } = backend()
  const isLong = names.length > LONG
  const memory = memoryUsage()
  const runs = time.runs === 1 ? 'one run' : `median over ${time.runs.toLocaleString('en')} runs`
  const size = settings.mechanism === 'hyperbolic' ? '2 coordinates' : `${HEADS} heads, ${MODEL_SIZE} features`
  const weights = running.graph ? running.graph.weights.data.length : running.heads * names.length ** 2
  const where = isLong ? count(threads, 'worker') : 'one thread'
  const held = isLong && !running.graph ? ', computed one head at a time' : ''
  return [
    { name: 'Time', value: `${duration(time.milliseconds)}, ${runs}` },
    { name: 'Runs on', value: `WebAssembly, ${simd}, ${where}` },
    { name: 'Size', value: `${count(names.length, 'token')}, ${size}` },
    { name: 'Weights', value: `${count(weights, 'number')}, ${bytes(4 * weights)}${held}` },
    {
      name: 'Backend’s memory',
      value: `${bytes(memory.allocated)} in use, ${bytes(memory.peak)} at peak, ${bytes(memory.total)} reserved${isLong ? '; workers have their own' : ''}`
    },
    {
      name: 'Downloaded: module',
      value: bytes(simd.includes('relaxed') ? __WASM_BYTES__.relaxed : __WASM_BYTES__.simd)
    },
    ...model.facts
  ]
}
