// Attention by its definition, in plain loops over doubles: slow, short, and independent of every kernel.

/** @typedef {{ readonly data: ArrayLike<number>, readonly shape: readonly number[] }} Numbers */
/** @typedef {Record<'scores' | 'softcapped' | 'biased' | 'weights' | 'logSumExp' | 'output', number[]>} Result */
/** @typedef {import('@ruvector/attention').AttentionOptions} Options */

/**
 * Access by batch entry, head, position and coordinate; a 3-D tensor has one head.
 *
 * @param {Numbers} tensor
 * @param {string | null} [layout]
 */
function heads({ data, shape }, layout) {
  const [batch, a, b, size] = shape.length === 3 ? [shape[0], 1, shape[1], shape[2]] : shape
  const swapped = layout === 'blhd' && shape.length === 4
  const [count, length] = swapped ? [b, a] : [a, b]
  /** @type {(n: number, h: number, l: number) => number} */
  const row = (n, h, l) => (n * a + (swapped ? l : h)) * b + (swapped ? h : l)
  /** @type {(n: number, h: number, l: number, d: number) => number} */
  const at = (n, h, l, d) => data[row(n, h, l) * size + d]
  return { batch, count, length, size, row, at }
}

/**
 * The entry of a mask, right-aligned to [B, H, L, S]; with 3-D inputs, a mask of rank 3 is [B, L, S].
 *
 * @param {Numbers} mask
 * @param {number} rank  rank of the inputs
 * @param {number[]} position
 */
function maskAt(mask, rank, [b, h, i, j]) {
  const position = rank === 3 && mask.shape.length === 3 ? [b, i, j] : [b, h, i, j].slice(4 - mask.shape.length)
  return mask.data[mask.shape.reduce((index, dim, axis) => index * dim + (dim === 1 ? 0 : position[axis]), 0)]
}

/**
 * All results and stages of scaled dot-product attention, without dropout.
 *
 * @param {Numbers} q
 * @param {Numbers} k
 * @param {Numbers} v
 * @param {Options} [options]
 * @returns {Result}
 */
export function attention(q, k, v, options = {}) {
  const { layout, causal, kvLengths } = options
  const mask = /** @type {Numbers | null | undefined} */ (options.mask)
  const offsets = /** @type {number | Int32Array | null | undefined} */ (options.queryOffset)
  const [left, right] = options.window ?? [-1, -1]
  const [Q, K, V] = [q, k, v].map((tensor) => heads(tensor, layout))
  const scale = options.scale ?? 1 / Math.sqrt(Q.size)
  /** @type {Result} */
  const result = { scores: [], softcapped: [], biased: [], weights: [], logSumExp: [], output: [] }
  result.output = new Array(Q.batch * Q.count * Q.length * V.size).fill(0)

  /** @type {(b: number, h: number, i: number) => void} */
  const attend = (b, h, i) => {
    const g = Math.floor(h / (Q.count / K.count))
    const offset = offsets instanceof Int32Array ? offsets[b] : (offsets ?? 0)
    const row = Array.from({ length: K.length }, (_, j) => {
      let score = 0
      for (let d = 0; d < Q.size; d++) score += scale * Q.at(b, h, i, d) * K.at(b, g, j, d)
      result.scores.push(score)
      if (options.softcap) score = options.softcap * Math.tanh(score / options.softcap)
      result.softcapped.push(score)
      const entry = mask ? maskAt(mask, q.shape.length, [b, h, i, j]) : 0
      const hidden =
        (mask && (mask.data instanceof Uint8Array ? entry === 0 : entry === -Infinity)) ||
        (causal && j > i + offset) ||
        (left >= 0 && j < i + offset - left) ||
        (right >= 0 && j > i + offset + right) ||
        (kvLengths && j >= kvLengths[b])
      return hidden ? -Infinity : score + (mask?.data instanceof Float32Array ? entry : 0)
    })
    result.biased.push(...row)

    const maximum = Math.max(...row)
    const powers = row.map((score) => (score === -Infinity ? 0 : Math.exp(score - maximum)))
    const sum = powers.reduce((total, power) => total + power, 0)
    result.logSumExp.push(sum === 0 ? -Infinity : maximum + Math.log(sum))
    for (const [j, power] of powers.entries()) {
      result.weights.push(sum === 0 ? 0 : power / sum)
      if (row[j] === -Infinity) continue
      const start = Q.row(b, h, i) * V.size
      for (let e = 0; e < V.size; e++) result.output[start + e] += (power / sum) * V.at(b, g, j, e)
    }
  }
  for (let b = 0; b < Q.batch; b++) {
    for (let h = 0; h < Q.count; h++) for (let i = 0; i < Q.length; i++) attend(b, h, i)
  }
  return result
}

/**
 * The indices of the largest weights of each row, descending; among equal weights, lower indices come first.
 *
 * @param {readonly number[]} weights
 * @param {number} size  row length
 * @param {number} count
 */
export function largest(weights, size, count) {
  return Array.from({ length: weights.length / size }, (_, at) => {
    const row = weights.slice(at * size, (at + 1) * size)
    return [...row.keys()].sort((a, b) => row[b] - row[a] || a - b).slice(0, count)
  })
}

/**
 * `x Wᵀ + b` over the last dimension.
 *
 * @param {Numbers} x
 * @param {Numbers} weight
 * @param {Numbers} [bias]
 */
export function linear(x, weight, bias) {
  const [out, size] = weight.shape
  const shape = [...x.shape.slice(0, -1), out]
  const data = Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, at) => {
    let sum = bias?.data[at % out] ?? 0
    const start = Math.floor(at / out) * size
    for (let d = 0; d < size; d++) sum += x.data[start + d] * weight.data[(at % out) * size + d]
    return sum
  })
  return { data, shape }
}

/**
 * A multi-head layer, with parameters from a state dict that has one matrix per projection.
 *
 * @param {{ numHeads: number, kvHeads: number, headDim: number }} config
 * @param {Record<string, Numbers>} state  under the names q_proj.weight, q_proj.bias and so on, out_proj last
 * @param {Numbers[]} inputs  of query, key and value
 * @param {Options} [options]
 */
export function multiHead({ numHeads, kvHeads, headDim }, state, inputs, options) {
  const [q, k, v] = ['q_proj', 'k_proj', 'v_proj'].map((name, index) => {
    const { data, shape } = linear(inputs[index], state[`${name}.weight`], state[`${name}.bias`])
    return { data, shape: [...shape.slice(0, 2), index === 0 ? numHeads : kvHeads, headDim] }
  })
  const { output, weights } = attention(q, k, v, { ...options, layout: 'blhd' })
  const joined = { data: output, shape: [...q.shape.slice(0, 2), numHeads * headDim] }
  return { output: linear(joined, state['out_proj.weight'], state['out_proj.bias']).data, weights }
}
