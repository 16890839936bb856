// Tensors as callers hand them in: what they have to be, checked once, and the two functions that make them.

import { AttentionError, describe, fault } from './errors.js'

/** @typedef {import('../index.d.ts').TensorData} TensorData */
/**
 * A checked tensor: its data, and a copy of its shape that the caller can no longer change.
 *
 * @template {TensorData} [T=Float32Array]
 * @typedef {{ data: T, shape: number[] }} Checked
 */

export const MAX_RANK = 8

// The getter that every typed array of every realm answers to, and nothing else does.
const typeTag = /** @type {() => string | undefined} */ (
  Object.getOwnPropertyDescriptor(Object.getPrototypeOf(Uint8Array.prototype), Symbol.toStringTag)?.get
)

/**
 * The name of a typed array's class, or undefined for everything else.
 *
 * @param {unknown} value
 */
export function arrayType(value) {
  return typeTag.call(value)
}

/**
 * The number of elements that a checked shape stands for.
 *
 * @param {readonly number[]} shape
 */
export function elements(shape) {
  let product = 1
  for (let index = 0; index < shape.length; index++) product *= shape[index]
  return product
}

/** @param {readonly unknown[]} shape */
export function formatShape(shape) {
  return `[${shape.map((dim) => (typeof dim === 'number' ? dim : describe(dim))).join(', ')}]`
}

/**
 * @param {string} argument
 * @param {unknown} shape
 */
export function checkShape(argument, shape) {
  if (!Array.isArray(shape)) throw fault('SHAPE', argument, 'a shape that is an array of dimensions', describe(shape))
  const rank = shape.length
  if (rank > MAX_RANK) throw fault('SHAPE', argument, `at most ${MAX_RANK} dimensions`, `${rank}`)
  /** @type {number[]} */
  const dims = []
  for (let index = 0; index < rank; index++) {
    const dim = shape[index]
    if (!Number.isSafeInteger(dim) || dim < 0) {
      throw fault('SHAPE', argument, 'a shape of non-negative integers', formatShape(shape))
    }
    dims.push(dim)
  }
  return dims
}

/**
 * @param {string} argument
 * @param {number} length
 * @param {number[]} shape
 */
function checkLength(argument, length, shape) {
  const expected = elements(shape)
  if (length !== expected) {
    throw fault('SHAPE', argument, `${expected} elements for shape ${formatShape(shape)}`, `${length}`)
  }
}

/**
 * @template {TensorData} T
 * @param {string} argument
 * @param {any} tensor
 * @param {readonly string[]} types  the classes of typed array that will do
 * @returns {Checked<T>}
 */
function check(argument, tensor, types) {
  if (typeof tensor !== 'object' || tensor === null || arrayType(tensor) !== undefined) {
    throw fault('DTYPE', argument, `a tensor { data: ${types.join(' | ')}, shape: number[] }`, describe(tensor))
  }
  const { data, shape } = tensor
  if (!types.includes(/** @type {string} */ (arrayType(data)))) {
    throw fault('DTYPE', argument, `data in a ${types.join(' or ')}`, describe(data))
  }
  const dims = checkShape(argument, shape)
  checkLength(argument, data.length, dims)
  return { data, shape: dims }
}

const FLOATS = ['Float32Array']
const MASKS = ['Uint8Array', 'Float32Array']
const ANY = ['Float32Array', 'Uint8Array', 'Int32Array']

/**
 * A tensor of 32-bit floats, or an error that names `argument`.
 *
 * @param {string} argument
 * @param {unknown} tensor
 * @returns {Checked}
 */
export function checkTensor(argument, tensor) {
  return check(argument, tensor, FLOATS)
}

/**
 * A boolean or a float mask.
 *
 * @param {string} argument
 * @param {unknown} tensor
 * @returns {Checked<Uint8Array | Float32Array>}
 */
export function checkMask(argument, tensor) {
  return check(argument, tensor, MASKS)
}

/**
 * A typed array of one class.
 *
 * @template {TensorData} T
 * @param {string} argument
 * @param {unknown} array
 * @param {'Float32Array' | 'Int32Array' | 'Uint8Array'} type
 * @returns {T}
 */
export function checkArray(argument, array, type) {
  if (arrayType(array) !== type) {
    throw fault('DTYPE', argument, `${/^[AEIOU]/.test(type) ? 'an' : 'a'} ${type}`, describe(array))
  }
  return /** @type {T} */ (array)
}

/**
 * Fresh memory for a result.
 *
 * @param {string} what
 * @param {number} length
 */
export function allocate(what, length) {
  try {
    return new Float32Array(length)
  } catch (cause) {
    throw outOfMemory(what, length, cause)
  }
}

/**
 * @param {string} what
 * @param {number} length
 */
export function allocateIndices(what, length) {
  try {
    return new Int32Array(length)
  } catch (cause) {
    throw outOfMemory(what, length, cause)
  }
}

/**
 * @param {string} argument
 * @param {number} length
 * @param {unknown} cause
 */
function outOfMemory(argument, length, cause) {
  return new AttentionError('MEMORY', {
    argument,
    expected: 'a size that fits into memory',
    actual: `${length} elements`,
    cause
  })
}

/**
 * Memory for a result: the caller's `out`, or fresh.
 *
 * @param {Float32Array | undefined} out
 * @param {number[]} shape
 * @param {readonly (ArrayBufferView | undefined)[]} inputs
 * @returns {Checked}
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

/**
 * The shape of `x` with another last dimension.
 *
 * @param {readonly number[]} shape
 * @param {number} last
 */
export function withLast(shape, last) {
  const result = shape.slice()
  if (result.length > 0) result[result.length - 1] = last
  return result
}

/**
 * Fresh memory for a tensor.
 *
 * @param {string} what
 * @param {number[]} shape
 * @returns {Checked}
 */
export function allocateTensor(what, shape) {
  return { data: allocate(what, elements(shape)), shape }
}

/**
 * @param {Float32Array | ArrayLike<number>} data
 * @param {readonly number[]} shape
 * @returns {Checked}
 */
export function createTensor(data, shape) {
  const dims = checkShape('shape', shape)
  if (arrayType(data) === 'Float32Array') {
    checkLength('data', data.length, dims)
    return { data: /** @type {Float32Array} */ (data), shape: dims }
  }
  if (typeof data !== 'object' || data === null || !Number.isSafeInteger(data.length)) {
    throw fault('DTYPE', 'data', 'a Float32Array or a list of numbers', describe(data))
  }
  checkLength('data', data.length, dims)
  const floats = allocate('data', data.length)
  for (let index = 0; index < floats.length; index++) {
    const value = data[index]
    if (typeof value !== 'number') throw fault('DTYPE', `data[${index}]`, 'a number', describe(value))
    floats[index] = value
  }
  return { data: floats, shape: dims }
}

/**
 * @template {TensorData} T
 * @param {import('../index.d.ts').Tensor<T>} tensor
 * @param {readonly number[]} shape
 * @returns {Checked<T>}
 */
export function reshape(tensor, shape) {
  const { data } = /** @type {Checked<T>} */ (check('tensor', tensor, ANY))
  const dims = checkShape('shape', shape)
  checkLength('shape', data.length, dims)
  return { data, shape: dims }
}
