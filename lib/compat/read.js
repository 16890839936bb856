// Converts arguments of the plan's interface (bare arrays, shapes and a mask) into tensors and options of the main
// entry.

import { describe, fault, isArray } from '../checks/errors.js'
import { arrayType, checkArray, checkShape, elements, formatShape, lengthOf } from '../checks/tensor.js'
import { MaskType } from './config.js'
import { WasmErrorInfo } from './errors.js'

/** @typedef {import('../../index.d.ts').Tensor} Tensor */
/** @typedef {import('../../index.d.ts').MaskOptions} MaskOptions */
/** @typedef {{ tensors: Tensor[], options: MaskOptions, watch: unknown }} Read */

/**
 * Masks from `createPaddingMask`, which are padding even if another shape fits their length.
 *
 * @type {WeakSet<Float32Array>}
 */
const paddingMasks = new WeakSet()

/** @param {Float32Array} mask */
export function markAsPadding(mask) {
  paddingMasks.add(mask)
  return mask
}

/** @param {unknown} value */
const isShape = (value) => isArray(value) || arrayType(value) === 'Uint32Array'

/**
 * Reads a list of dimensions: an array or a Uint32Array.
 *
 * @param {string} argument
 * @param {unknown} shape
 */
export function readShape(argument, shape) {
  return checkShape(
    argument,
    arrayType(shape) === 'Uint32Array' ? Array.from(/** @type {Uint32Array} */ (shape)) : shape
  )
}

/**
 * @param {string} argument
 * @param {unknown} array
 * @returns {Float32Array}
 */
const readArray = (argument, array) => checkArray(argument, array, 'Float32Array')

/**
 * @param {string} argument
 * @param {Float32Array} data
 * @param {number[]} shape
 * @returns {Tensor}
 */
function toTensor(argument, data, shape) {
  if (elements(shape) !== data.length) {
    throw fault('SHAPE', argument, `the shape of ${data.length} elements`, formatShape(shape))
  }
  return { data, shape }
}

/**
 * Splits `arrays…, shapes…, mask?, watch?` into tensors and options. An omitted shape equals that of the previous
 * array.
 *
 * @param {readonly string[]} names  of the arrays
 * @param {readonly unknown[]} given
 * @param {number} [extras]  number of arguments that may follow the shapes: a mask, and `{ signal, onProgress }`
 * @param {number} [heads]  of the layer behind the call
 * @returns {Read}
 */
export function readCall(names, given, extras = 1, heads) {
  const arrays = names.map((name, index) => readArray(name, given[index]))
  const rest = given.slice(names.length)
  const end = rest.findIndex((value, index) => index >= names.length || !isShape(value))
  const shapes = rest
    .splice(0, end < 0 ? rest.length : end)
    .map((shape, index) => readShape(`${names[index]}Shape`, shape))
  if (shapes.length === 0) throw fault('SHAPE', `${names[0]}Shape`, 'a list of dimensions', describe(rest[0]))
  checkCount(rest, extras, `${names.length} arrays, their shapes${extras > 0 ? ' and a mask' : ''}`)
  const tensors = arrays.map((data, index) => {
    const place = Math.min(index, shapes.length - 1)
    return toTensor(`${names[index]}Shape`, data, shapes[place])
  })
  return { tensors, options: readMask(rest[0], tensors, heads), watch: rest[1] }
}

/**
 * @param {readonly unknown[]} rest
 * @param {number} most
 * @param {string} expected
 */
function checkCount(rest, most, expected) {
  if (rest.length > most) throw fault('OPTION', 'arguments', expected, `${rest.length - most} more`)
}

/**
 * Reads a call of multi-head attention: `query, key, value, [batch, queryLength, keyLength, modelDim], mask?, watch?`.
 *
 * @param {readonly unknown[]} given
 * @param {{ kDim: number, vDim: number, numHeads: number }} config
 * @param {number} [extras]
 * @returns {Read}
 */
export function readMultiHead(given, { kDim, vDim, numHeads }, extras = 1) {
  const [query, key, value] = ['query', 'key', 'value'].map((name, index) => readArray(name, given[index]))
  const shape = isShape(given[3]) ? readShape('shape', given[3]) : []
  if (shape.length !== 4) {
    const expected = '[batch, seq_q, seq_k, model_dim]'
    const error = fault('SHAPE', 'shape', expected, isShape(given[3]) ? formatShape(shape) : describe(given[3]))
    throw new WasmErrorInfo(error, `Invalid dimensions: Shape must be ${expected}, got ${error.actual}`)
  }
  const [batch, queryLength, keyLength, modelDim] = shape
  const rest = given.slice(4)
  checkCount(rest, extras, '3 arrays, one shape and a mask')
  const fit = (/** @type {string} */ name, /** @type {Float32Array} */ data, /** @type {number[]} */ dims) => {
    if (elements(dims) !== data.length) {
      throw fault('SHAPE', name, `${elements(dims)} elements for ${formatShape(dims)}`, `${data.length} elements`)
    }
    return { data, shape: dims }
  }
  const tensors = [
    fit('query', query, [batch, queryLength, modelDim]),
    fit('key', key, [batch, keyLength, kDim]),
    fit('value', value, [batch, keyLength, vDim])
  ]
  return { tensors, options: readMask(rest[0], tensors, numHeads), watch: rest[1] }
}

/**
 * Converts a mask into options of a call. The length of a bare array determines its shape; the first match counts.
 *
 * @param {unknown} mask
 * @param {readonly Tensor[]} tensors
 * @param {number} [heads]
 * @returns {MaskOptions}
 */
function readMask(mask, [query, key = query], heads = query.shape.length === 4 ? query.shape[1] : 1) {
  if (mask === undefined || mask === null || mask === MaskType.None) return {}
  if (mask === MaskType.Causal) return { causal: true }
  if (mask === MaskType.Padding) {
    throw fault('OPTION', 'mask', 'the mask itself, which createPaddingMask(lengths, maxLen) makes', "'padding'")
  }
  const type = arrayType(mask)
  if (type !== 'Float32Array' && type !== 'Uint8Array') {
    if (typeof mask === 'object') return { mask: /** @type {Tensor} */ (mask) }
    throw fault('OPTION', 'mask', "'causal', 'none', an array or a tensor", describe(mask))
  }
  /** @type {Float32Array} */
  const data = checkArray('mask', mask, type)
  const [batch, length, keys] = [query.shape[0], query.shape.at(-2) ?? 0, key.shape.at(-2) ?? 0]
  const padding = [batch, 1, 1, keys]
  const forms = paddingMasks.has(/** @type {Float32Array} */ (mask))
    ? [padding]
    : [[length, keys], padding, [batch, 1, length, keys], [batch, heads, length, keys], [1, keys]]
  const shape = forms.find((form) => elements(form) === data.length)
  if (!shape) {
    throw fault('SHAPE', 'mask', `as many elements as one of ${forms.map(formatShape).join(', ')}`, `${data.length}`)
  }
  return { mask: { data, shape } }
}

/**
 * Reads points with their shapes. Without shapes, each array is one point; an omitted second shape equals the first.
 *
 * @param {readonly string[]} names
 * @param {readonly unknown[]} given  arrays, then shapes
 * @returns {Tensor[]}
 */
export function readPoints(names, given) {
  const count = names.length
  checkCount(given.slice(count), count, `${count} arrays and their shapes`)
  return names.map((name, index) => {
    const data = readArray(name, given[index])
    const shape = given[count + index] ?? (index > 0 ? given[count] : undefined) ?? [1, lengthOf(data)]
    return toTensor(`${name}Shape`, data, readShape(`${name}Shape`, shape))
  })
}
