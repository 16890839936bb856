// The attention that one writes in an afternoon: loops over Float32Arrays.

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
        mostFlops: 6e8,
        prepare(problem, inputs) {
          if (problem.kind !== 'attention') return 'attention only'
          const bias = additiveMask(problem, inputs, false)?.data
          const arrays = { q: inputs.q.data, k: inputs.k.data, v: inputs.v.data, ...(bias && { bias }) }
          return { run: () => attention(problem, arrays), read: (output) => output }
        }
      }
    ]
  }
}
