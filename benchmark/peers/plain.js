// Straightforward attention over sequences and graphs in plain JavaScript: loops over Float32Arrays.

import { additiveMask } from '../inputs.js'

/** @typedef {import('../types.d.ts').Case} Case */
/** @typedef {import('../types.d.ts').Inputs} Inputs */

/**
 * @param {Case} problem
 * @param {{ q: Float32Array, k: Float32Array, v: Float32Array, bias?: Float32Array }} inputs  `[B,H,L,D]`, `[B,G,S,D]`
 */
function attention({ batch, heads, kvHeads, queries, keys, dim, causal }, { q, k, v, bias }) {
  const output = new Float32Array(q.length)
  const weights = new Float32Array(keys)
  const scale = 1 / Math.sqrt(dim)
  for (let head = 0; head < batch * heads; head++) {
    const kvHead = Math.floor(head / (heads / kvHeads))
    for (let i = 0; i < queries; i++) {
      const row = (head * queries + i) * dim
      const visible = causal ? Math.min(i + 1, keys) : keys
      let max = -Infinity
      for (let j = 0; j < visible; j++) {
        const key = (kvHead * keys + j) * dim
        let sum = 0
        for (let d = 0; d < dim; d++) sum += q[row + d] * k[key + d]
        weights[j] = sum * scale + (bias ? bias[i * keys + j] : 0)
        if (weights[j] > max) max = weights[j]
      }
      let total = 0
      for (let j = 0; j < visible; j++) {
        weights[j] = Math.exp(weights[j] - max)
        total += weights[j]
      }
      for (let j = 0; j < visible; j++) {
        const weight = weights[j] / total
        const value = (kvHead * keys + j) * dim
        for (let d = 0; d < dim; d++) output[row + d] += weight * v[value + d]
      }
    }
  }
  return output
}

/**
 * GAT or GATv2 over the edges in the given order, with a self-loop for each node.
 *
 * @param {Case} problem
 * @param {Inputs} inputs
 */
function graphAttention({ queries: nodes, heads, dim, version }, { x, state, edges }) {
  if (!edges) throw new TypeError('a graph has edges')
  const width = heads * dim
  const kept = [...edges.source.keys()].filter((edge) => edges.source[edge] !== edges.target[edge])
  const loops = Array.from({ length: nodes }, (_, node) => node)
  const source = Int32Array.from([...kept.map((edge) => edges.source[edge]), ...loops])
  const target = Int32Array.from([...kept.map((edge) => edges.target[edge]), ...loops])

  const [values, targets] =
    version === 2 ? ['lin_l', 'lin_r'].map((name) => project(x, state, name)) : [project(x, state, 'lin')]
  const leaky = (/** @type {number} */ score) => (score > 0 ? score : 0.2 * score)
  const scores = new Float32Array(source.length * heads)
  const max = new Float32Array(nodes * heads).fill(-Infinity)
  for (let edge = 0; edge < source.length; edge++) {
    for (let head = 0; head < heads; head++) {
      let score = 0
      for (let c = head * dim; c < (head + 1) * dim; c++) {
        const [from, to] = [source[edge] * width + c, target[edge] * width + c]
        if (targets) score += state.att.data[c] * leaky(values[from] + targets[to])
        else score += state.att_src.data[c] * values[from] + state.att_dst.data[c] * values[to]
      }
      if (!targets) score = leaky(score)
      scores[edge * heads + head] = score
      const at = target[edge] * heads + head
      if (score > max[at]) max[at] = score
    }
  }
  const sums = new Float32Array(nodes * heads)
  const output = new Float32Array(nodes * width)
  for (let edge = 0; edge < source.length; edge++) {
    for (let head = 0; head < heads; head++) {
      const at = target[edge] * heads + head
      const weight = Math.exp(scores[edge * heads + head] - max[at])
      sums[at] += weight
      for (let c = head * dim; c < (head + 1) * dim; c++) {
        output[target[edge] * width + c] += weight * values[source[edge] * width + c]
      }
    }
  }
  return output.map((sum, index) => sum / sums[Math.floor(index / dim)] + state.bias.data[index % width])
}

/**
 * @param {Inputs['x']} x
 * @param {Inputs['state']} state
 * @param {string} name
 */
function project({ data, shape: [rows, inputs] }, state, name) {
  const weight = state[`${name}.weight`].data
  const outputs = weight.length / inputs
  const result = new Float32Array(rows * outputs)
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < outputs; column++) {
      let sum = state[`${name}.bias`]?.data[column] ?? 0
      for (let i = 0; i < inputs; i++) sum += data[row * inputs + i] * weight[column * inputs + i]
      result[row * outputs + column] = sum
    }
  }
  return result
}

/** @returns {Promise<import('../types.d.ts').Found>} */
export async function plain() {
  return {
    contenders: [
      {
        name: 'plain JavaScript',
        family: 'plain JavaScript',
        side: 'peer',
        version: process.version,
        warmsUp: true,
        threaded: false,
        kinds: ['attention', 'graph'],
        mostFlops: 6e8,
        prepare(problem, inputs) {
          if (problem.kind === 'graph') return { run: () => graphAttention(problem, inputs), read: (output) => output }
          const bias = additiveMask(problem, inputs, false)?.data
          const arrays = { q: inputs.q.data, k: inputs.k.data, v: inputs.v.data, ...(bias && { bias }) }
          return { run: () => attention(problem, arrays), read: (output) => output }
        }
      }
    ]
  }
}
