// Operations that sum any number of terms, each measured against its definition in doubles: the largest relative error.
import { random } from './tensors.js'

/** @typedef {import('@ruvector/attention').Attention} Attention */
/** @typedef {import('@ruvector/attention').Tensor} Tensor */

/**
 * Inputs for a number of terms: positive values around `magnitude`, all equal or drawn.
 *
 * @typedef {{ count: number, magnitude: number, isConstant: boolean, seed: number }} Draw
 */

/** Columns of the summed rows: whole vectors at every level, and some left over. */
const columns = 19

/** @param {Draw} draw */
function source({ magnitude, isConstant, seed }) {
  const next = random(seed)
  const constant = 0.5 + next()
  /** @type {(size: number) => Float32Array} */
  const values = (size) =>
    Float32Array.from({ length: size }, () => magnitude * (isConstant ? constant : 0.1 + 1.9 * next()))
  return { next, values }
}

/**
 * The largest relative error.
 *
 * @param {ArrayLike<number>} actual
 * @param {ArrayLike<number>} expected
 * @param {(index: number) => number} [scale]  what errors are relative to
 */
function worst(actual, expected, scale = (index) => Math.abs(expected[index])) {
  if (actual.length !== expected.length) return Infinity
  let largest = 0
  for (let index = 0; index < actual.length; index++) {
    const error = actual[index] === expected[index] ? 0 : Math.abs(actual[index] - expected[index]) / scale(index)
    // NaN is the largest error.
    if (!(error <= largest)) largest = Number.isNaN(error) ? Infinity : error
  }
  return largest
}

/**
 * Sums of `weights[n] · rows[n]` over the sum of the weights, or over `total`.
 *
 * @param {number} count
 * @param {(n: number) => number} weight
 * @param {(n: number) => ArrayLike<number>} row
 * @param {number} width
 * @param {number} [total]
 */
function mean(count, weight, row, width, total) {
  const sums = new Float64Array(width)
  let weights = 0
  for (let n = 0; n < count; n++) {
    const [factor, values] = [weight(n), row(n)]
    weights += factor
    for (let column = 0; column < width; column++) sums[column] += factor * values[column]
  }
  return sums.map((sum) => sum / (total ?? weights))
}

/** A few nodes whose edges all lead to the first. */
const nodes = 7

/**
 * @param {Attention} attention
 * @param {Draw} draw
 */
function hub(attention, draw) {
  const { next, values } = source(draw)
  const from = Int32Array.from({ length: draw.count }, () => Math.floor(next() * nodes))
  const graph = attention.Graph.fromEdges({ numNodes: nodes, source: from, target: new Int32Array(draw.count) })
  const x = { data: values(nodes * columns), shape: [nodes, columns] }
  const row = (/** @type {number} */ n) => x.data.subarray(from[n] * columns, (from[n] + 1) * columns)
  return { graph, x, row, next }
}

/** @param {number} size */
const identity = (size) => ({
  data: Float32Array.from({ length: size * size }, (_, index) => (index % (size + 1) === 0 ? 1 : 0)),
  shape: [size, size]
})

/**
 * The error of a graph layer that hands the mean of its sources on, at a node with `count` edges.
 *
 * @param {'GraphSage' | 'GraphAttention' | 'GraphTransformer'} name
 * @param {Record<string, unknown>} config
 * @param {string} through  the weight that values pass through; all others are 0
 * @returns {(attention: Attention, draw: Draw) => number}
 */
const layerOf = (name, config, through) => (attention, draw) => {
  const { graph, x, row } = hub(attention, draw)
  const sizes = { inFeatures: columns, outFeatures: columns }
  const layer = new attention[name](/** @type {any} */ ({ ...sizes, ...config }))
  const state = layer.stateDict()
  for (const [key, tensor] of Object.entries(state)) {
    state[key] = key === through ? identity(columns) : { ...tensor, data: new Float32Array(tensor.data.length) }
  }
  layer.loadStateDict(state)
  const found = layer.forward(graph, x).output.data.subarray(0, columns)
  layer.dispose()
  graph.dispose()
  return worst(
    found,
    mean(draw.count, () => 1, row, columns)
  )
}

const size = 5

/**
 * The error of linear attention's last row.
 *
 * @param {'forward' | 'causal' | 'stream'} way
 * @returns {(attention: Attention, draw: Draw) => number}
 */
const linearOf = (way) => (attention, draw) => {
  const { next, values } = source(draw)
  const { count } = draw
  const signed = (/** @type {number} */ length) => Float32Array.from({ length }, () => 4 * next() - 2)
  const [q, k, v] = [
    signed(count * size),
    draw.isConstant ? new Float32Array(count * size) : signed(count * size),
    values(count * size)
  ]
  const linear = new attention.LinearAttention({ modelDim: size })
  const tensor = (/** @type {Float32Array} */ data) => ({ data, shape: [1, data.length / size, size] })
  let found = new Float32Array()
  if (way === 'stream') {
    const stream = linear.stream()
    for (let first = 0; first < count; first += 999) {
      const part = (/** @type {Float32Array} */ data) => tensor(data.subarray(first * size, (first + 999) * size))
      found = stream.step(part(q), part(k), part(v)).output.data.slice(-size)
    }
    stream.dispose()
  } else {
    const queries = way === 'causal' ? q : q.subarray(-size)
    found = linear.forward(tensor(queries), tensor(k), tensor(v), { causal: way === 'causal' }).output.data.slice(-size)
  }
  linear.dispose()
  const phi = (/** @type {number} */ x) => (x > 0 ? x + 1 : Math.exp(x))
  const query = Array.from(q.subarray(-size), phi)
  const weight = (/** @type {number} */ n) => query.reduce((sum, value, d) => sum + value * phi(k[n * size + d]), 0)
  return worst(
    found,
    mean(count, weight, (n) => v.subarray(n * size, (n + 1) * size), size)
  )
}

/**
 * The error of attention's output and log-sum-exp for `queries` rows over `count` keys.
 *
 * @param {number} queries
 * @returns {(attention: Attention, draw: Draw) => number}
 */
const attentionOf = (queries) => (attention, draw) => {
  const { next, values } = source(draw)
  const { count } = draw
  // Queries of zeros give every value the same weight.
  const drawn = Float32Array.from({ length: queries * size }, () => (draw.isConstant ? 0 : next()))
  const q = { data: drawn, shape: [1, 1, queries, size] }
  const k = { data: Float32Array.from({ length: count * size }, next), shape: [1, 1, count, size] }
  const v = { data: values(count * size), shape: [1, 1, count, size] }
  const { output, logSumExp } = attention.scaledDotProductAttention(q, k, v, { logSumExp: true })
  // Only the last row: its definition takes as long as the call.
  const query = q.data.subarray(-size)
  const score = (/** @type {number} */ n) =>
    query.reduce((sum, value, d) => sum + value * k.data[n * size + d], 0) / Math.sqrt(size)
  const weights = Float64Array.from({ length: count }, (_, n) => Math.exp(score(n)))
  const expected = mean(
    count,
    (n) => weights[n],
    (n) => v.data.subarray(n * size, (n + 1) * size),
    size
  )
  const logarithm = Math.log(weights.reduce((sum, weight) => sum + weight, 0))
  return Math.max(
    worst(output.data.subarray(-size), expected),
    // An absolute error of the logarithm is a relative error of the sum of exponentials.
    worst(logSumExp.data.subarray(-1), [logarithm], () => Math.max(1, logarithm))
  )
}

/**
 * The error of a norm: of each value relative to the largest of its row.
 *
 * @param {boolean} isCentred
 * @returns {(attention: Attention, draw: Draw) => number}
 */
const normOf = (isCentred) => (attention, draw) => {
  const { count, magnitude, isConstant } = draw
  const { next } = source(draw)
  // Small deviations from a large mean, or values of either sign.
  const data = Float32Array.from({ length: count }, () =>
    isConstant ? magnitude * (1 + 1e-6 * next()) : magnitude * (2 * next() - 1)
  )
  const x = { data, shape: [1, count] }
  const found = isCentred ? attention.layerNorm(x) : attention.rmsNorm(x)
  const epsilon = isCentred ? 1e-5 : rmsEpsilon
  const middle = isCentred ? data.reduce((sum, value) => sum + value, 0) / count : 0
  const variance = data.reduce((sum, value) => sum + (value - middle) ** 2, 0) / count
  const scale = 1 / Math.sqrt(variance + epsilon)
  const expected = Float64Array.from(data, (value) => (value - middle) * scale)
  const largest = expected.reduce((most, value) => Math.max(most, Math.abs(value)), 1e-30)
  return worst(found.data, expected, () => Math.min(largest, 1))
}

/** The epsilon of rmsNorm where none is given: f32's, as in PyTorch. */
const rmsEpsilon = 2 ** -23

/** @type {Record<string, (attention: Attention, draw: Draw) => number>} */
export const operations = {
  'propagate, sum': (attention, draw) => {
    const { graph, x, row } = hub(attention, draw)
    const found = attention.propagate(graph, x).data.subarray(0, columns)
    graph.dispose()
    return worst(
      found,
      mean(draw.count, () => 1, row, columns, 1)
    )
  },
  'propagate, mean': (attention, draw) => {
    const { graph, x, row } = hub(attention, draw)
    const found = attention.propagate(graph, x, { reduce: 'mean' }).data.subarray(0, columns)
    graph.dispose()
    return worst(
      found,
      mean(draw.count, () => 1, row, columns)
    )
  },
  edgeSoftmax: (attention, draw) => {
    const { graph, next } = hub(attention, draw)
    const constant = next()
    const data = Float32Array.from({ length: draw.count }, () => (draw.isConstant ? constant : next()))
    const found = attention.edgeSoftmax(graph, { data, shape: [draw.count] }).data
    graph.dispose()
    const total = data.reduce((sum, score) => sum + Math.exp(score), 0)
    return worst(
      found,
      Float64Array.from(data, (score) => Math.exp(score) / total)
    )
  },
  GraphSage: layerOf('GraphSage', {}, 'lin_l.weight'),
  'GraphAttention, version 1': layerOf('GraphAttention', { addSelfLoops: false, version: 1 }, 'lin.weight'),
  'GraphAttention, version 2': layerOf('GraphAttention', { addSelfLoops: false, version: 2 }, 'lin_l.weight'),
  GraphTransformer: layerOf('GraphTransformer', {}, 'lin_value.weight'),
  LinearAttention: linearOf('forward'),
  'LinearAttention, causal': linearOf('causal'),
  'LinearAttention, stream': linearOf('stream'),
  'scaledDotProductAttention, 1 query': attentionOf(1),
  'scaledDotProductAttention, 40 queries': attentionOf(40),
  softmax: (attention, draw) => {
    const { next } = source(draw)
    const constant = next()
    const data = Float32Array.from({ length: draw.count }, () => (draw.isConstant ? constant : next()))
    const total = data.reduce((sum, score) => sum + Math.exp(score), 0)
    const found = attention.softmax({ data, shape: [1, draw.count] }).data
    return worst(
      found,
      Float64Array.from(data, (score) => Math.exp(score) / total)
    )
  },
  meanPool: (attention, draw) => {
    const { values } = source(draw)
    const x = { data: values(draw.count * size), shape: [1, draw.count, size] }
    const row = (/** @type {number} */ n) => x.data.subarray(n * size, (n + 1) * size)
    return worst(
      attention.meanPool(x).data,
      mean(draw.count, () => 1, row, size)
    )
  },
  computeStats: (attention, draw) => {
    const data = source(draw).values(draw.count)
    const middle = data.reduce((sum, value) => sum + value, 0) / draw.count
    const found = attention.computeStats(data)
    return worst([found.mean], [middle])
  },
  layerNorm: normOf(true),
  rmsNorm: normOf(false)
}
