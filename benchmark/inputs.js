// The inputs of all contenders, identical in every run.

import { GraphAttention, SelfAttention, TransformerEncoderLayer } from '../index.js'

/** @typedef {import('./types.d.ts').Case} Case */
/** @typedef {import('./types.d.ts').Inputs} Inputs */

/**
 * Draws uniform numbers from −1 to 1 by Marsaglia's xorshift32.
 *
 * @param {number} seed  not 0
 */
function numbers(seed) {
  let state = seed
  return () => {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    return (state >>> 0) / 2 ** 31 - 1
  }
}

/**
 * @param {number[]} shape
 * @param {number} seed
 */
export function randomTensor(shape, seed) {
  const data = new Float32Array(shape.reduce((product, size) => product * size, 1))
  const next = numbers(seed)
  for (let i = 0; i < data.length; i++) data[i] = next()
  return { data, shape }
}

/** @param {import('../index.js').Tensor} tensor @param {(x: number) => number} map */
const mapped = ({ data, shape }, map) => ({ data: data.map(map), shape })

/** Divides the rows by their lengths, in place. @param {import('../index.js').Tensor} tensor */
function normalize({ data, shape }) {
  const size = shape[shape.length - 1]
  for (let from = 0; from < data.length; from += size) {
    const row = data.subarray(from, from + size)
    const length = Math.hypot(...row)
    row.forEach((x, index) => (row[index] = x / length))
  }
}

/** @param {number} queries @param {number} keys @param {'boolean' | 'float'} kind */
function randomMask(queries, keys, kind) {
  const bias = randomTensor([queries, keys], 11)
  if (kind === 'float') return bias
  // Hides one key in ten.
  return { data: Uint8Array.from(bias.data, (number) => Number(number > -0.8)), shape: bias.shape }
}

/** @param {number} numHeads @param {number} dim  of a head */
export function encoderConfig(numHeads, dim) {
  const modelDim = numHeads * dim
  return { modelDim, numHeads, feedForwardDim: 4 * modelDim, activation: /** @type {const} */ ('gelu'), seed: 5 }
}

/** @param {number} nodes @param {number} count @param {number} seed */
function randomNodes(nodes, count, seed) {
  const next = numbers(seed)
  return Int32Array.from({ length: count }, () => Math.floor(((next() + 1) / 2) * nodes))
}

/**
 * @param {Case} problem
 * @returns {Inputs}
 */
export function makeInputs({ kind, batch, heads, kvHeads, queries, keys, dim, mask, version }) {
  const none = randomTensor([0], 1)
  if (kind === 'layer') {
    // Large enough to distinguish a mistake in any projection from rounding.
    const state = new SelfAttention({ numHeads: heads, headDim: dim, seed: 5 }).stateDict()
    return { q: none, k: none, v: none, x: randomTensor([batch, queries, heads * dim], 7), state }
  }
  if (kind === 'model') return { q: none, k: none, v: none, x: none, state: {} }
  if (kind === 'product') {
    return { q: none, k: none, v: none, x: randomTensor([queries, dim], 7), state: {} }
  }
  if (kind === 'encoder') {
    const state = new TransformerEncoderLayer(encoderConfig(heads, dim)).stateDict()
    return { q: none, k: none, v: none, x: randomTensor([batch, queries, heads * dim], 7), state }
  }
  if (kind === 'graph' || kind === 'graph-gradients') {
    const sizes = { inFeatures: heads * dim, outFeatures: dim, numHeads: heads, version }
    const state = new GraphAttention({ ...sizes, seed: 5 }).stateDict()
    const edges = { source: randomNodes(queries, keys, 13), target: randomNodes(queries, keys, 17) }
    const x = randomTensor([queries, heads * dim], 7)
    return {
      q: none,
      k: none,
      v: none,
      x,
      state,
      edges,
      ...(kind !== 'graph' && { gradient: randomTensor(x.shape, 29) })
    }
  }
  const k = randomTensor([batch, kvHeads, keys, dim], 2)
  if (kind === 'recurrent') normalize(k)
  return {
    q: randomTensor([batch, heads, queries, dim], 1),
    k,
    v: randomTensor([batch, kvHeads, keys, dim], 3),
    ...(mask && { mask: randomMask(queries, keys, mask) }),
    ...(kind === 'attention-gradients' && { gradient: randomTensor([batch, heads, queries, dim], 29) }),
    ...(kind === 'recurrent' && {
      gates: {
        decay: mapped(randomTensor([batch, heads, queries], 19), (x) => -0.1 * Math.abs(x)),
        beta: mapped(randomTensor([batch, heads, queries], 23), (x) => (x + 1) / 2)
      }
    }),
    x: none,
    state: {}
  }
}

/**
 * Converts `[B,H,L,D]` to `[B,L,H·D]`.
 *
 * @param {import('../index.js').Tensor} tensor
 */
export function headsLast({ data, shape: [batch, heads, length, dim] }) {
  return { data: permute(data, batch, heads, length, dim), shape: [batch, length, heads * dim] }
}

/**
 * Converts `[B,L,H·D]` to `[B,H,L,D]`.
 *
 * @param {Float32Array} data
 * @param {Case} problem
 */
export function headsFirst(data, { batch, heads, queries, dim }) {
  return permute(data, batch, queries, heads, dim)
}

/**
 * Swaps the second and the third dimension.
 *
 * @param {Float32Array} data
 * @param {number} batch
 * @param {number} first
 * @param {number} second
 * @param {number} dim
 */
function permute(data, batch, first, second, dim) {
  const result = new Float32Array(data.length)
  for (let b = 0; b < batch; b++) {
    for (let i = 0; i < first; i++) {
      for (let j = 0; j < second; j++) {
        const from = ((b * first + i) * second + j) * dim
        result.set(data.subarray(from, from + dim), ((b * second + j) * first + i) * dim)
      }
    }
  }
  return result
}

/**
 * Creates a float mask that is added to the scores, for peers without other masks; −∞ hides a key.
 *
 * @param {Case} problem
 * @param {Inputs} inputs
 * @param {boolean} withCausal  true if the mask must include `causal`
 * @param {number} [hidden]
 */
export function additiveMask({ queries, keys, causal }, { mask }, withCausal, hidden = -Infinity) {
  if (!mask && !(causal && withCausal)) return undefined
  const data = new Float32Array(queries * keys)
  if (mask?.data instanceof Uint8Array) mask.data.forEach((visible, i) => (data[i] = visible ? 0 : hidden))
  else if (mask) data.set(mask.data)
  if (causal && withCausal) {
    for (let i = 0; i < queries; i++) data.fill(hidden, i * keys + i + 1, (i + 1) * keys)
  }
  return { data, shape: [queries, keys] }
}

/**
 * Transposes `[out, in]` to `[in, out]`.
 *
 * @param {import('../index.js').Tensor} weight
 */
export function transposed({ data, shape: [rows, columns] }) {
  const result = new Float32Array(data.length)
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) result[column * rows + row] = data[row * columns + column]
  }
  return { data: result, shape: [columns, rows] }
}
