// The stateless functions: scaled dot-product attention and what it is made of.

import { fault } from './errors.js'
import { addShape, header, startHeader } from './header.js'
import { readOptions } from './options.js'
import { allocate, allocateIndices, checkTensor, elements } from './tensor.js'

/** @typedef {import('./tensor.js').Checked} Checked */
/** @typedef {import('./backend.js').Backend} Backend */
/** @typedef {import('../index.d.ts').AttentionOutput} AttentionOutput */

/** @param {readonly number[]} shape */
const lastOf = (shape) => (shape.length === 0 ? 1 : shape[shape.length - 1])

/**
 * The shape of `x` with another last dimension.
 *
 * @param {readonly number[]} shape
 * @param {number} last
 */
function withLast(shape, last) {
  const result = shape.slice()
  if (result.length > 0) result[result.length - 1] = last
  return result
}

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

/**
 * Memory for a result: the caller's `out`, or fresh.
 *
 * @param {Float32Array | undefined} out
 * @param {number[]} shape
 * @param {readonly (ArrayBufferView | undefined)[]} inputs
 */
export function outputFor(out, shape, inputs) {
  const length = elements(shape)
  if (out === undefined) return { data: allocate('output', length), shape }
  if (out.length !== length) throw fault('SHAPE', 'out', `a length of ${length}`, `a length of ${out.length}`)
  for (const input of inputs) {
    if (input === undefined || input.buffer !== out.buffer) continue
    const apart =
      input.byteOffset + input.byteLength <= out.byteOffset || out.byteOffset + out.byteLength <= input.byteOffset
    if (!apart) throw fault('OPTION', 'out', 'memory that no input lies in', 'memory shared with an input')
  }
  return { data: out, shape }
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
    const { mask, topWeights: top } = given

    const inputs = given.out && [query.data, key.data, value.data, given.floatMask, given.booleanMask]
    const output = outputFor(given.out, withLast(query.shape, lastOf(value.shape)), inputs ?? [])
    /** @type {AttentionOutput} */
    const result = { output }
    if (given.json !== undefined) {
      const { rows, keys } = scoreRows(query, key, given.layout)
      if (given.weights === true) {
        const shape = [...rows, keys]
        result.weights = { data: allocate('weights', elements(shape)), shape }
      }
      if (given.logSumExp === true) result.logSumExp = { data: allocate('logSumExp', elements(rows)), shape: rows }
      if (typeof top === 'number' && Number.isInteger(top) && top >= 1 && top <= keys) {
        const shape = [...rows, top]
        const length = elements(shape)
        result.topWeights = {
          values: { data: allocate('topWeights', length), shape },
          indices: { data: allocateIndices('topWeights', length), shape: shape.slice() }
        }
      }
    }

    const binding = backend.binding ?? backend.start()
    startHeader(backend.threads)
    addShape(query.shape)
    addShape(key.shape)
    addShape(value.shape)
    if (mask) addShape(mask.shape)
    try {
      binding.scaledDotProductAttention(
        header,
        query.data,
        key.data,
        value.data,
        output.data,
        given.json,
        given.booleanMask,
        given.floatMask,
        given.queryOffset,
        given.kvLengths,
        result.weights?.data,
        result.logSumExp?.data,
        result.topWeights?.values.data,
        result.topWeights?.indices.data
      )
    } catch (error) {
      throw backend.fault(error)
    }
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

    const binding = backend.binding ?? backend.start()
    startHeader(backend.threads)
    addShape(query.shape)
    addShape(key.shape)
    if (given.mask) addShape(given.mask.shape)
    try {
      binding.attentionWeights(
        header,
        query.data,
        key.data,
        weights.data,
        given.json,
        given.booleanMask,
        given.floatMask,
        given.queryOffset,
        given.kvLengths
      )
    } catch (error) {
      throw backend.fault(error)
    }
    return weights
  }

  /**
   * @param {unknown} x
   * @returns {Checked}
   */
  function softmax(x) {
    const input = checkTensor('x', x)
    const output = { data: allocate('output', input.data.length), shape: input.shape }
    const binding = backend.binding ?? backend.start()
    startHeader(backend.threads)
    addShape(input.shape)
    try {
      binding.softmax(header, input.data, output.data)
    } catch (error) {
      throw backend.fault(error)
    }
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
    const shape = withLast(input.shape, matrix.shape.length === 0 ? 1 : matrix.shape[0])
    const output = { data: allocate('output', elements(shape)), shape }
    const binding = backend.binding ?? backend.start()
    startHeader(backend.threads)
    addShape(input.shape)
    addShape(matrix.shape)
    if (offset) addShape(offset.shape)
    try {
      binding.linear(header, input.data, matrix.data, offset?.data, output.data)
    } catch (error) {
      throw backend.fault(error)
    }
    return output
  }

  return { scaledDotProductAttention, attentionWeights, softmax, linear }
}
