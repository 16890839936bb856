// The stateless functions: scaled dot-product attention and its parts.

import { later } from '../runtime/async/watch.js'
import { readOptions, refuseMore } from '../checks/options.js'
import { checkTensor, checkWeight } from '../checks/tensor.js'

/** @typedef {import('../checks/tensor.js').Checked} Checked */
/** @typedef {import('../runtime/backend.js').Backend} Backend */
/**
 * Results of a call; index.d.ts derives their types from the requested options.
 *
 * @typedef {Required<import('../../index.d.ts').AttentionOutput>} AttentionOutput
 */

/**
 * Names the results of attention; those that were not requested are absent.
 *
 * @param {import('../runtime/call-memory.js').Result[]} results
 * @returns {AttentionOutput}
 */
export function attentionOutput([output, weights, logSumExp, values, indices]) {
  /** @type {any} */
  const result = { output }
  if (weights) result.weights = weights
  if (logSumExp) result.logSumExp = logSumExp
  if (values) result.topWeights = { values, indices }
  return result
}

/**
 * Adds the layout `blhd` to a result that may become part of a merge, since shapes do not always reveal it.
 *
 * @template {import('../../index.d.ts').AttentionOutput} Part
 * @param {Part} part
 * @param {unknown} layout
 * @returns {Part}
 */
export function withLayout(part, layout) {
  if (layout === 'blhd' && part.logSumExp && part.output.shape.length === 4) part.layout = layout
  return part
}

/** The same as `attentionOutput`, in layout `blhd`. @param {import('../runtime/call-memory.js').Result[]} results */
const headsLastOutput = (results) => withLayout(attentionOutput(results), 'blhd')

/**
 * Prepares one attention call.
 *
 * @param {Backend} backend
 * @param {import('../runtime/operations.js').Operation} operation
 * @param {readonly Checked[]} inputs
 * @param {Readonly<import('../checks/options.js').CallOptions>} given
 * @param {...import('../runtime/resident.js').Resident} objects
 * @returns {import('../runtime/call.js').PreparedCall<AttentionOutput>}
 */
export function attend(backend, operation, inputs, given, ...objects) {
  const call = backend.call(operation, ...objects)
  for (const input of inputs) call.input(input)
  return call.given(given).returning(given.layout === 'blhd' ? headsLastOutput : attentionOutput)
}

/**
 * Prepares one call of scaled dot-product attention.
 *
 * @param {Backend} backend
 * @param {unknown} q
 * @param {unknown} k
 * @param {unknown} v
 * @param {unknown} options
 * @param {import('../runtime/async/watch.js').Watch} [watch]
 */
export function prepareAttention(backend, q, k, v, options, watch) {
  const inputs = [checkTensor('q', q), checkTensor('k', k), checkTensor('v', v)]
  return attend(backend, 'scaledDotProductAttention', inputs, readOptions(options, watch))
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
    return prepareAttention(backend, q, k, v, options).run()
  }

  /**
   * @param {unknown} q
   * @param {unknown} k
   * @param {unknown} v
   * @param {unknown} [options]
   */
  function scaledDotProductAttentionAsync(q, k, v, options) {
    return later((watch) => prepareAttention(backend, q, k, v, options, watch))
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
    return backend.call('attentionWeights').input(query).input(key).given(given).run()
  }

  /**
   * @param {unknown} x
   * @param {...unknown} more
   * @returns {Checked}
   */
  function softmax(x, ...more) {
    refuseMore('softmax', more)
    const input = checkTensor('x', x)
    return backend.call('softmax').input(input).run()
  }

  /**
   * @param {unknown} x
   * @param {unknown} weight
   * @param {unknown} [bias]
   * @param {...unknown} more
   * @returns {Checked}
   */
  function linear(x, weight, bias, ...more) {
    refuseMore('linear', more)
    const input = checkTensor('x', x)
    const matrix = checkWeight('weight', weight)
    const offset = bias === undefined || bias === null ? undefined : checkTensor('bias', bias)
    const options = matrix.type === 'bf16' ? '{"weightType":"bf16"}' : undefined
    return backend.call('linear').input(input).weight(matrix).input(offset).options(options).run()
  }

  return { scaledDotProductAttention, scaledDotProductAttentionAsync, attentionWeights, softmax, linear }
}
