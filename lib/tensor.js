// Tensors as callers hand them in: what they have to be, checked once, and the two functions that make them.

import { AttentionError, describe, fault, isArray, isObject } from './errors.js'

/** @typedef {import('../index.d.ts').TensorData} TensorData */
/**
 * A checked tensor: its data, and a copy of its shape that the caller can no longer change.
 *
 * @template {TensorData} [T=Float32Array]
 * @typedef {{ data: T, shape: number[] }} Checked
 */

export const MAX_RANK = 8

const TypedArray = Object.getPrototypeOf(Uint8Array)

/**
 * A getter that every typed array of every realm answers to, whatever its class or the array itself says.
 *
 * @param {string | symbol} name
 */
const getter = (name) => /** @type {() => any} */ (Object.getOwnPropertyDescriptor(TypedArray.prototype, name)?.get)

/** Undefined for what is no typed array. @type {() => string | undefined} */
const typeTag = getter(Symbol.toStringTag)
/** @type {() => number} */
const length = getter('length')
/** @type {() => number} */
const byteOffset = getter('byteOffset')
/** @type {() => number} */
const byteLength = getter('byteLength')
/** @type {() => ArrayBufferLike} */
const buffer = getter('buffer')

/** @type {Record<string, new (buffer: any, start?: number, length?: number) => any>} */
const TYPES = { Float32Array, Int32Array, Uint8Array }

/**
 * How many elements a typed array has now.
 *
 * @param {ArrayBufferView} array
 */
export function lengthOf(array) {
  return length.call(array)
}

/**
 * The same memory as an array without anything of the caller's own: subclasses and arrays with members of their own could
 * call back in, or say what is not true.
 *
 * @template {ArrayBufferView} T
 * @param {T} array
 * @param {string} type
 * @returns {T}
 */
function plain(array, type) {
  const Type = TYPES[type]
  if (
    Object.getPrototypeOf(array) === Type.prototype &&
    !Object.hasOwn(array, 'length') &&
    !Object.hasOwn(array, 'set')
  ) {
    return array
  }
  const count = lengthOf(array)
  // One that was detached has no memory to look at.
  const own = count === 0 ? new Type(0) : new Type(buffer.call(array), byteOffset.call(array), count)
  givenArrays.set(own, array)
  return own
}

/** The callers' own arrays behind plain ones. @type {WeakMap<object, any>} */
const givenArrays = new WeakMap()

/**
 * The array as the caller gave it: a result that was written there comes back as it.
 *
 * @param {Float32Array} array
 * @returns {Float32Array}
 */
export const asGiven = (array) => givenArrays.get(array) ?? array

const NO_FLOATS = new Float32Array(0)
const NO_INTEGERS = new Int32Array(0)
const NO_BYTES = new Uint8Array(0)

/**
 * The array, or an empty one in place of one that was detached: a getter may have done so after it was checked.
 *
 * @template {TensorData} T
 * @param {T} array
 * @returns {T}
 */
export function attached(array) {
  if (lengthOf(array) > 0) return array
  const type = arrayType(array)
  return /** @type {T} */ (type === 'Float32Array' ? NO_FLOATS : type === 'Int32Array' ? NO_INTEGERS : NO_BYTES)
}

/**
 * Part of an array, without asking the array itself.
 *
 * @param {Float32Array} array
 * @param {number} start
 * @param {number} end
 */
export function floatsBetween(array, start, end) {
  return new Float32Array(buffer.call(array), byteOffset.call(array) + 4 * start, end - start)
}

/**
 * Part of a typed array's bytes.
 *
 * @param {ArrayBufferView} array
 * @param {number} start
 * @param {number} end
 */
export function bytesBetween(array, start, end) {
  return start >= end
    ? new Uint8Array(0)
    : new Uint8Array(buffer.call(array), byteOffset.call(array) + start, end - start)
}

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
  /** @type {unknown[]} */
  const dims = []
  for (let index = 0; index < Math.min(shape.length, MAX_RANK); index++) {
    const dim = shape[index]
    dims.push(typeof dim === 'number' ? dim : describe(dim))
  }
  return `[${dims.join(', ')}]`
}

/**
 * @param {string} argument
 * @param {unknown} shape
 */
export function checkShape(argument, shape) {
  if (!isArray(shape)) throw fault('SHAPE', argument, 'a shape that is an array of dimensions', describe(shape))
  const rank = shape.length
  if (!isLength(rank)) throw fault('SHAPE', argument, 'a shape that has a length', describe(rank))
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
 * @param {unknown} value
 * @returns {value is number}
 */
export function isLength(value) {
  return Number.isSafeInteger(value) && Number(value) >= 0
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
function read(argument, tensor, types) {
  if (!isObject(tensor) || arrayType(tensor) !== undefined) {
    throw fault('DTYPE', argument, `a tensor { data: ${types.join(' | ')}, shape: number[] }`, describe(tensor))
  }
  const { data, shape } = /** @type {any} */ (tensor)
  if (!types.includes(/** @type {string} */ (arrayType(data)))) {
    throw fault('DTYPE', argument, `data in a ${types.join(' or ')}`, describe(data))
  }
  const dims = checkShape(argument, shape)
  checkLength(argument, lengthOf(data), dims)
  return { data, shape: dims }
}

/**
 * @template {TensorData} T
 * @param {string} argument
 * @param {any} tensor
 * @param {readonly string[]} types
 * @returns {Checked<T>}
 */
function check(argument, tensor, types) {
  const checked = read(argument, tensor, types)
  checked.data = plain(checked.data, /** @type {string} */ (arrayType(checked.data)))
  return /** @type {Checked<T>} */ (checked)
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
  const own = plain(/** @type {T} */ (array), type)
  // What is checked has to stay so: another thread may write to shared memory meanwhile.
  return type === 'Int32Array' && isShared(own) ? /** @type {any} */ (new Int32Array(/** @type {any} */ (own))) : own
}

/**
 * A bare array as a tensor of one dimension.
 *
 * @param {string} argument
 * @param {unknown} array
 * @returns {Checked}
 */
export function asTensor(argument, array) {
  /** @type {Float32Array} */
  const data = checkArray(argument, array, 'Float32Array')
  return { data, shape: [lengthOf(data)] }
}

/**
 * How many entries a list has, an array or what looks like one; undefined for what is none. A proxy of a typed array, of any realm,
 * is none: its members refuse to be read.
 *
 * @param {any} list
 * @returns {number | undefined}
 */
export function listLengthOf(list) {
  if (!isObject(list)) return undefined
  if (arrayType(list) !== undefined) return lengthOf(/** @type {any} */ (list))
  if ('BYTES_PER_ELEMENT' in list) return undefined
  const { length } = /** @type {any} */ (list)
  return isLength(length) ? length : undefined
}

/** @param {ArrayBufferView} array */
export function isShared(array) {
  return Object.prototype.toString.call(buffer.call(array)) === '[object SharedArrayBuffer]'
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
 * @param {string} what
 * @param {number} length
 */
export function allocateBytes(what, length) {
  try {
    return new Uint8Array(length)
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
  const end = (/** @type {ArrayBufferView} */ array) => byteOffset.call(array) + byteLength.call(array)
  for (const input of inputs) {
    if (input === undefined || buffer.call(input) !== buffer.call(out)) continue
    const apart = end(input) <= byteOffset.call(out) || end(out) <= byteOffset.call(input)
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
    checkLength('data', lengthOf(/** @type {Float32Array} */ (data)), dims)
    return { data: /** @type {Float32Array} */ (data), shape: dims }
  }
  const length = listLengthOf(data)
  if (length === undefined) throw fault('DTYPE', 'data', 'a Float32Array or a list of numbers', describe(data))
  checkLength('data', length, dims)
  const floats = allocate('data', length)
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
  const { data } = /** @type {Checked<T>} */ (read('tensor', tensor, ANY))
  const dims = checkShape('shape', shape)
  checkLength('shape', lengthOf(data), dims)
  return { data, shape: dims }
}
