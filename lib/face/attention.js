// The stateless functions: scaled dot-product attention and its parts.

import { later } from '../runtime/async/watch.js'
import { readOptions } from '../checks/options.js'
import { asGiven, allocateIndices, allocateTensor, checkTensor, outputFor, withLast } from '../checks/tensor.js'

/** @typedef {import('../checks/tensor.js').Checked} Checked */
/** @typedef {import('../runtime/backend.js').Backend} Backend */
/** Results of a call; index.d.ts types them by the options that ask for them. @typedef {Required<import('../../index.d.ts').AttentionOutput>} AttentionOutput */

/** @param {readonly number[]} shape */
export const lastOf = (shape) => (shape.length === 0 ? 1 : shape[shape.length - 1])

/**
 * [B, H, L] of the queries; [0] if the rank fits no layout, which the kernel crate then rejects.
 *
 * @param {readonly number[]} shape
 * @param {unknown} layout
 */
function rowsOf([a, b, c, d, ...more], layout) {
  if (c === undefined || more.length > 0) return [0]
  if (d === undefined) return [a, 1, b]
  return layout === 'blhd' ? [a, c, b] : [a, b, c]
}

/** Log-sum-exps whose outputs are in layout `blhd`, which shapes alone cannot prove. @type {WeakSet<object>} */
const headsLastResults = new WeakSet()

/** @param {object} logSumExp */
export const markHeadsLast = (logSumExp) => void headsLastResults.add(logSumExp)

/** True if a log-sum-exp belongs to an output in layout `blhd`. @param {unknown} logSumExp */
export const isHeadsLast = (logSumExp) => headsLastResults.has(/** @type {object} */ (logSumExp))

/**
 * The number of keys S; 0 if the keys do not fit the queries.
 *
 * @param {Checked} q
 * @param {Checked} k
 * @param {unknown} layout
 */
function keysOf(q, k, layout) {
  if (q.shape.length !== k.shape.length) return 0
  return k.shape[k.shape.length === 4 && layout !== 'blhd' ? 2 : 1] ?? 0
}

/**
 * Prepares one attention call, with memory for the requested results.
 *
 * @param {Backend} backend
 * @param {string} operation
 * @param {{ query: Checked, key?: Checked, value?: Checked, resident?: import('../runtime/resident.js').Resident }} inputs
 * @param {Readonly<import('../checks/options.js').CallOptions>} given
 * @param {number} valueSize
 * @param {number} [keyCount]  the number of keys, if they are in a cache
 * @returns {import('../runtime/call.js').PreparedCall<AttentionOutput>}
 */
export function attend(backend, operation, { query, key, value, resident }, given, valueSize, keyCount) {
  const { topWeights: top } = given
  const inputs = given.out && [query.data, key?.data, value?.data, given.floatMask, given.booleanMask]
  const output = outputFor(given.out, withLast(query.shape, valueSize), inputs ?? [])
  /** @type {AttentionOutput} */
  const result = /** @type {any} */ ({ output })
  if (given.json !== undefined) {
    const rows = rowsOf(query.shape, given.layout)
    const keys = keyCount ?? (key ? keysOf(query, key, given.layout) : 0)
    if (given.weights === true) result.weights = allocateTensor('weights', [...rows, keys])
    if (given.logSumExp === true) {
      result.logSumExp = allocateTensor('logSumExp', rows)
      if (given.layout === 'blhd' && query.shape.length === 4) markHeadsLast(result.logSumExp)
    }
    if (typeof top === 'number' && Number.isInteger(top) && top >= 1 && top <= keys) {
      const values = allocateTensor('topWeights', [...rows, top])
      const indices = allocateIndices('topWeights', values.data.length)
      result.topWeights = { values, indices: { data: indices, shape: values.shape.slice() } }
    }
  }
  const operations = key && !result.weights && !result.topWeights ? operationsOf(query, key, given.layout) : 0
  const call = resident ? backend.call(operation, resident).input(query) : backend.call(operation).input(query)
  // A cache already has its keys and values.
  if (key) call.input(key).input(value)
  // Weights come from a second pass over all rows, so such calls are not split.
  call.divisible(operations)
  return call
    .given(given)
    .output(output.data)
    .output(result.weights?.data)
    .output(result.logSumExp?.data)
    .output(result.topWeights?.values.data)
    .indices(result.topWeights?.indices.data)
    .returning(result)
}

/**
 * Approximate number of operations in an attention call.
 *
 * @param {Checked} q
 * @param {Checked} k
 * @param {unknown} layout
 */
const operationsOf = (q, k, layout) => 4 * q.data.length * keysOf(q, k, layout)

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
    return prepare(q, k, v, options).run()
  }

  /**
   * @param {unknown} q
   * @param {unknown} k
   * @param {unknown} v
   * @param {unknown} [options]
   */
  function scaledDotProductAttentionAsync(q, k, v, options) {
    return later((watch) => prepare(q, k, v, options, watch))
  }

  /**
   * @param {unknown} q
   * @param {unknown} k
   * @param {unknown} v
   * @param {unknown} options
   * @param {import('../runtime/async/watch.js').Watch} [watch]
   */
  function prepare(q, k, v, options, watch) {
    const inputs = { query: checkTensor('q', q), key: checkTensor('k', k), value: checkTensor('v', v) }
    const given = readOptions(options, watch)
    return attend(backend, 'scaledDotProductAttention', inputs, given, lastOf(inputs.value.shape))
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
    const shape = [...rowsOf(query.shape, given.layout), keysOf(query, key, given.layout)]
    const inputs = given.out && [query.data, key.data, given.floatMask, given.booleanMask]
    const weights = outputFor(given.out, shape, inputs ?? [])

    backend.call('attentionWeights').input(query).input(key).given(given).output(weights.data).run()
    return { data: asGiven(weights.data), shape: weights.shape }
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

  return { scaledDotProductAttention, scaledDotProductAttentionAsync, attentionWeights, softmax, linear }
}
