// The stateless functions: scaled dot-product attention and what it is made of.

import { readOptions } from './options.js'
import { allocateIndices, allocateTensor, checkTensor, outputFor, withLast } from './tensor.js'

/** @typedef {import('./tensor.js').Checked} Checked */
/** @typedef {import('./backend.js').Backend} Backend */
/** @typedef {import('../index.d.ts').AttentionOutput} AttentionOutput */

/** @param {readonly number[]} shape */
const lastOf = (shape) => (shape.length === 0 ? 1 : shape[shape.length - 1])

/**
 * [B, H, L] and S of queries and keys; empty where the ranks fit no layout, which the kernel crate then refuses.
 *
 * @param {Checked} q
 * @param {Checked} k
 * @param {unknown} layout
 */
function scoreRows(q, k, layout) {
  const [a, b, c, d] = q.shape
  if (q.shape.length === 3 && k.shape.length === 3) return { rows: [a, 1, b], keys: k.shape[1] }
  if (q.shape.length !== 4 || k.shape.length !== 4 || d === undefined) return { rows: [0], keys: 0 }
  return layout === 'blhd' ? { rows: [a, c, b], keys: k.shape[1] } : { rows: [a, b, c], keys: k.shape[2] }
}

/** @param {Backend} backend */
export function createFunctions(backend) {
  /**
   * @param {unknown} q
   * @param {unknown} k
   * @param {unknown} v
   * @param {unknown} [options]
   * @returns {AttentionOutput}
   */
  function scaledDotProductAttention(q, k, v, options) {
    const query = checkTensor('q', q)
    const key = checkTensor('k', k)
    const value = checkTensor('v', v)
    const given = readOptions(options)
    const { topWeights: top } = given

    const inputs = given.out && [query.data, key.data, value.data, given.floatMask, given.booleanMask]
    const output = outputFor(given.out, withLast(query.shape, lastOf(value.shape)), inputs ?? [])
    /** @type {AttentionOutput} */
    const result = { output }
    if (given.json !== undefined) {
      const { rows, keys } = scoreRows(query, key, given.layout)
      if (given.weights === true) result.weights = allocateTensor('weights', [...rows, keys])
      if (given.logSumExp === true) result.logSumExp = allocateTensor('logSumExp', rows)
      if (typeof top === 'number' && Number.isInteger(top) && top >= 1 && top <= keys) {
        const values = allocateTensor('topWeights', [...rows, top])
        const indices = allocateIndices('topWeights', values.data.length)
        result.topWeights = { values, indices: { data: indices, shape: values.shape.slice() } }
      }
    }
    backend
      .call('scaledDotProductAttention')
      .input(query)
      .input(key)
      .input(value)
      .given(given)
      .output(output.data)
      .output(result.weights?.data)
      .output(result.logSumExp?.data)
      .output(result.topWeights?.values.data)
      .indices(result.topWeights?.indices.data)
      .run()
    return result
  }

  /**
   * @param {unknown} q
   * @param {unknown} k
   * @param {unknown} [options]
   * @returns {Checked}
   */
  function attentionWeights(q, k, options) {
    const query = checkTensor('q', q)
    const key = checkTensor('k', k)
    const given = readOptions(options)
    const { rows, keys } = scoreRows(query, key, given.layout)
    const inputs = given.out && [query.data, key.data, given.floatMask, given.booleanMask]
    const weights = outputFor(given.out, [...rows, keys], inputs ?? [])

    backend.call('attentionWeights').input(query).input(key).given(given).output(weights.data).run()
    return weights
  }

  /**
   * @param {unknown} x
   * @returns {Checked}
   */
  function softmax(x) {
    const input = checkTensor('x', x)
    const output = allocateTensor('output', input.shape)
    backend.call('softmax').input(input).output(output.data).run()
    return output
  }

  /**
   * @param {unknown} x
   * @param {unknown} weight
   * @param {unknown} [bias]
   * @returns {Checked}
   */
  function linear(x, weight, bias) {
    const input = checkTensor('x', x)
    const matrix = checkTensor('weight', weight)
    const offset = bias === undefined || bias === null ? undefined : checkTensor('bias', bias)
    const output = allocateTensor('output', withLast(input.shape, matrix.shape.length === 0 ? 1 : matrix.shape[0]))
    backend.call('linear').input(input).input(matrix).input(offset).output(output.data).run()
    return output
  }

  return { scaledDotProductAttention, attentionWeights, softmax, linear }
}
