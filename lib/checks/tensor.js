// Checks of tensors, arrays and shapes that callers pass in, and allocation of results.

import { AttentionError, describe, fault, isArray, isObject } from './errors.js'

/** @typedef {import('../../index.d.ts').TensorData} TensorData */
/**
 * A checked tensor: its data, and a private copy of its shape.
 *
 * @template {TensorData} [T=Float32Array]
 * @typedef {{ data: T, shape: number[] }} Checked
 */

export const MAX_RANK = 8

const TypedArray = Object.getPrototypeOf(Uint8Array)

/**
 * A getter that reads a typed array of any realm directly, bypassing overrides in its class or on the array itself.
 *
 * @param {string | symbol} name
 */
const getter = (name) => /** @type {() => any} */ (Object.getOwnPropertyDescriptor(TypedArray.prototype, name)?.get)

/** Undefined for anything but a typed array. @type {() => string | undefined} */
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
const TYPES = { Float32Array, Int32Array, Uint8Array, Uint16Array, Int8Array }

/**
 * The current number of elements of a typed array.
 *
 * @param {ArrayBufferView} array
 */
export function lengthOf(array) {
  return length.call(array)
}

/**
 * An array over the same memory without user code: subclasses, and arrays with overridden members, could re-enter the
 * API or misreport their length.
 *
 * @template {ArrayBufferView} T
 * @param {T} array
 * @param {string} type
 * @returns {T}
 */
function asPlain(array, type) {
  const Type = TYPES[type]
  if (
    Object.getPrototypeOf(array) === Type.prototype &&
    !Object.hasOwn(array, 'length') &&
    !Object.hasOwn(array, 'set')
  ) {
    return array
  }
  const plain = withoutMembers(array, Type)
  callerArrays.set(plain, array)
  return plain
}

/**
 * An array over the same memory, empty if it is detached, whose methods are those of its class: a checked array may
 * still have members of its own, such as `slice`.
 *
 * @template {ArrayBufferView} T
 * @param {T} array
 * @returns {T}
 */
export function withoutMembers(array, Type = TYPES[/** @type {string} */ (arrayType(array))]) {
  const count = lengthOf(array)
  return count === 0 ? new Type(0) : new Type(buffer.call(array), byteOffset.call(array), count)
}

/**
 * A copy of a checked array.
 *
 * @template {TensorData | Uint16Array | Int8Array | undefined} T
 * @param {T} array
 * @returns {T}
 */
export const copyOf = (array) => /** @type {T} */ (array && withoutMembers(array).slice())

/** Maps the plain arrays to the caller's arrays that they replace. @type {WeakMap<object, any>} */
const callerArrays = new WeakMap()

/**
 * The array that the caller passed in, so that a result written to `out` is returned as the same object.
 *
 * @param {Float32Array} array
 * @returns {Float32Array}
 */
export const asGiven = (array) => callerArrays.get(array) ?? array

/** An empty array of each class. */
const EMPTY = Object.fromEntries(Object.entries(TYPES).map(([name, Type]) => [name, new Type(0)]))

/**
 * The array itself, or an empty one if it is detached; a getter may have detached it after it was checked.
 *
 * @template {TensorData | Uint16Array | Int8Array} T
 * @param {T} array
 * @returns {T}
 */
export function attached(array) {
  return lengthOf(array) > 0 ? array : EMPTY[/** @type {string} */ (arrayType(array))]
}

/**
 * Rejects a checked tensor whose array was detached since, by a getter of another argument.
 *
 * @param {string} argument
 * @param {{ data: TensorData | Uint16Array | Int8Array, scales?: Uint16Array, shape: readonly number[] }} tensor
 */
export function checkAttached(argument, { data, scales, shape }) {
  const [expected, length] = [elements(shape), lengthOf(/** @type {TensorData} */ (data))]
  if (length !== expected) throw fault('SHAPE', argument, `${expected} elements`, `${length}`)
  if (scales) checkAttached(`${argument}.scales`, { data: scales, shape: scalesShape(shape) })
}

/**
 * A view of part of an array, without calling the array's own methods.
 *
 * @param {Float32Array} array
 * @param {number} start
 * @param {number} end
 */
export function floatsBetween(array, start, end) {
  return new Float32Array(buffer.call(array), byteOffset.call(array) + 4 * start, end - start)
}

/**
 * A view of part of a typed array's bytes.
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
 * The class name of a typed array, or undefined for any other value.
 *
 * @param {unknown} value
 */
export function arrayType(value) {
  return typeTag.call(value)
}

/**
 * The number of elements in a checked shape.
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
  if (!isArray(shape)) throw fault('SHAPE', argument, 'an array of dimensions', describe(shape))
  const rank = shape.length
  if (!isLength(rank)) throw fault('SHAPE', argument, 'an array with a valid length', describe(rank))
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
 * @param {readonly string[]} types  the accepted classes of typed arrays
 * @param {string} [lists]  these classes and lists of integers, if lists are accepted
 * @returns {Checked<T>}
 */
function read(argument, tensor, types, lists) {
  if (!isObject(tensor) || arrayType(tensor) !== undefined) {
    throw fault('DTYPE', argument, `a tensor { data: ${types.join(' | ')}, shape: number[] }`, describe(tensor))
  }
  const { data, shape } = /** @type {any} */ (tensor)
  const isTyped = types.includes(/** @type {string} */ (arrayType(data)))
  const length = isTyped ? lengthOf(data) : lists && integersIn(data)
  if (length === undefined) {
    throw fault('DTYPE', argument, `data in a ${lists ?? types.join(' or ')}`, describe(data))
  }
  const dims = checkShape(argument, shape)
  checkLength(argument, /** @type {number} */ (length), dims)
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
  checked.data = asPlain(checked.data, /** @type {string} */ (arrayType(checked.data)))
  return /** @type {Checked<T>} */ (checked)
}

const FLOATS = ['Float32Array']
const MASKS = ['Uint8Array', 'Float32Array']
const ANY = ['Float32Array', 'Uint8Array', 'Int32Array']
const HALVES = ['Uint16Array']

/**
 * Checks a tensor of 32-bit floats; errors name `argument`.
 *
 * @param {string} argument
 * @param {unknown} tensor
 * @returns {Checked}
 */
export function checkTensor(argument, tensor) {
  return check(argument, tensor, FLOATS)
}

/**
 * Checks a tensor of floats, integers or bytes; errors name `argument`.
 *
 * @param {string} argument
 * @param {unknown} tensor
 * @returns {Checked<TensorData>}
 */
export function checkAnyTensor(argument, tensor) {
  return check(argument, tensor, ANY)
}

/**
 * Checks a tensor of 16-bit floats, given as bits.
 *
 * @param {string} argument
 * @param {unknown} tensor
 * @returns {{ data: Uint16Array, shape: number[] }}
 */
export function checkHalfTensor(argument, tensor) {
  return /** @type {any} */ (check(argument, tensor, HALVES))
}

/**
 * A checked tensor of weights. Only 8 bits have scales.
 *
 * @typedef {{ type: import('../../index.d.ts').WeightType, data: Float32Array | Uint16Array | Int8Array, scales?:
 *   Uint16Array,
 *   shape: number[] }} CheckedWeight
 */

/** Values of a row that share a scale. */
export const GROUP = 32

/**
 * The shape of the scales of a tensor of 8 bits: one for each group along the last dimension.
 *
 * @param {readonly number[]} shape
 */
export const scalesShape = (shape) => [...shape.slice(0, -1), Math.ceil((shape.at(-1) ?? 0) / GROUP)]

/** The types of weights with the class of their arrays. */
export const WEIGHT_ARRAYS = Object.freeze({
  f32: 'Float32Array',
  f16: 'Uint16Array',
  bf16: 'Uint16Array',
  q8_0: 'Int8Array'
})

/**
 * Checks a tensor of weights of any type. A Float16Array holds f16.
 *
 * @param {string} argument
 * @param {unknown} weight
 * @returns {CheckedWeight}
 */
export function checkWeight(argument, weight) {
  const given = isObject(weight) && arrayType(weight) === undefined ? /** @type {any} */ (weight) : undefined
  const type = given?.type ?? undefined
  if (type === undefined || type === 'f32') {
    const data = given?.data
    if (arrayType(data) === 'Float16Array') {
      return {
        type: 'f16',
        ...checkHalfTensor(argument, { data: withoutMembers(data, Uint16Array), shape: given.shape })
      }
    }
    return { type: 'f32', ...checkTensor(argument, weight) }
  }
  if (type === 'f16' || type === 'bf16') return { type, ...checkHalfTensor(argument, weight) }
  if (type === 'q8_0') return checkQuantized(argument, given)
  throw fault('OPTION', `${argument}.type`, "'f32', 'f16', 'bf16' or 'q8_0'", describe(type))
}

/**
 * Scales that were checked once, of weights that no caller can reach: a table of words is too large to be checked in
 * each call.
 *
 * @type {WeakSet<Uint16Array>}
 */
export const ownScales = new WeakSet()

/** The place of the first scale that is infinite or NaN, or -1. @param {Uint16Array} scales  16-bit floats */
export function infiniteScale(scales) {
  for (let at = 0; at < scales.length; at++) if ((scales[at] & 0x7c00) === 0x7c00) return at
  return -1
}

/**
 * Checks a tensor of 8 bits, and that its scales are finite.
 *
 * @param {string} argument
 * @param {any} tensor
 * @returns {CheckedWeight}
 */
function checkQuantized(argument, tensor) {
  const { data, shape } = /** @type {any} */ (check(argument, tensor, ['Int8Array']))
  if (shape.length === 0) throw fault('SHAPE', argument, 'at least 1 dimension', '0')
  const name = `${argument}.scales`
  const given = tensor.scales
  if (arrayType(given) !== 'Uint16Array') throw fault('DTYPE', name, 'a Uint16Array', describe(given))
  const scales = asPlain(given, 'Uint16Array')
  const expected = elements(scalesShape(shape))
  if (lengthOf(scales) !== expected) {
    throw fault('SHAPE', name, `${expected} scales for shape ${formatShape(shape)}`, `${lengthOf(scales)}`)
  }
  const at = ownScales.has(scales) ? -1 : infiniteScale(scales)
  if (at >= 0) throw fault('DOMAIN', name, 'finite scales', `${scales[at] & 0x3ff ? 'NaN' : 'Infinity'} at ${at}`)
  return { type: 'q8_0', data, scales, shape }
}

/**
 * Checks a boolean or float mask. Lists of booleans, or of 0 and 1, become the bytes of a boolean mask.
 *
 * @param {string} argument
 * @param {unknown} tensor
 * @returns {Checked<Uint8Array | Float32Array>}
 */
export function checkMask(argument, tensor) {
  const checked = read(argument, tensor, MASKS, 'Uint8Array, Float32Array or a list of 0 and 1')
  const type = /** @type {string} */ (arrayType(checked.data))
  checked.data = MASKS.includes(type) ? asPlain(checked.data, type) : bytesOf(argument, checked.data)
  return /** @type {Checked<Uint8Array | Float32Array>} */ (checked)
}

/** Arrays of integers that are read like lists of numbers. */
const INTEGERS = new Set([
  'Int8Array',
  'Int16Array',
  'Int32Array',
  'Uint8Array',
  'Uint8ClampedArray',
  'Uint16Array',
  'Uint32Array',
  'BigInt64Array',
  'BigUint64Array'
])

/**
 * The length of a list of integers or booleans; undefined for any other value.
 *
 * @param {any} list
 * @returns {number | undefined}
 */
function integersIn(list) {
  const type = arrayType(list)
  return type === undefined || INTEGERS.has(type) ? listLengthOf(list) : undefined
}

/**
 * Copies the flags of a list.
 *
 * @param {string} argument
 * @param {any} list
 */
function bytesOf(argument, list) {
  const bytes = allocateBytes(argument, /** @type {number} */ (integersIn(list)))
  for (let index = 0; index < bytes.length; index++) {
    const flag = list[index]
    const value = typeof flag === 'boolean' || typeof flag === 'bigint' ? Number(flag) : flag
    if (value !== 0 && value !== 1) {
      const expected = 'only 0 and 1 outside of a Uint8Array; a Float32Array is added to the scores'
      throw fault('OPTION', argument, expected, `${describe(flag)} at index ${index}`)
    }
    bytes[index] = value
  }
  return bytes
}

/**
 * Copies the integers of a list.
 *
 * @param {string} argument
 * @param {any} list
 * @param {number} [length]  of the list
 */
export function integersOf(argument, list, length = integersIn(list)) {
  if (length === undefined) throw fault('DTYPE', argument, 'an Int32Array or a list of integers', describe(list))
  const integers = allocateIndices(argument, length)
  for (let index = 0; index < length; index++) {
    const given = list[index]
    const value = typeof given === 'bigint' ? Number(given) : given
    if (typeof value !== 'number') throw fault('DTYPE', `${argument}[${index}]`, 'a number', describe(given))
    integers[index] = value
    if (integers[index] !== value) throw fault('OPTION', `${argument}[${index}]`, 'a 32-bit integer', `${value}`)
  }
  return integers
}

/**
 * Checks a typed array of one class. Integers may also be a list or an array of another class, which is copied.
 *
 * @template {TensorData} T
 * @param {string} argument
 * @param {unknown} array
 * @param {'Float32Array' | 'Int32Array' | 'Uint8Array'} type
 * @returns {T}
 */
export function checkArray(argument, array, type) {
  if (arrayType(array) !== type) {
    if (type === 'Int32Array') return /** @type {any} */ (integersOf(argument, array))
    throw fault('DTYPE', argument, `a ${type}`, describe(array))
  }
  const plain = asPlain(/** @type {T} */ (array), type)
  // Copy checked integers out of shared memory, where another thread could still change them.
  return type === 'Int32Array' && isShared(plain)
    ? /** @type {any} */ (new Int32Array(/** @type {any} */ (plain)))
    : plain
}

/**
 * Checks a tensor of integers, or a list of them, which is a tensor of one dimension.
 *
 * @param {string} argument
 * @param {unknown} value
 * @returns {Checked<Int32Array>}
 */
export function checkIntegers(argument, value) {
  const isTensor = isObject(value) && !isArray(value) && arrayType(value) === undefined && 'shape' in value
  if (!isTensor) {
    /** @type {Int32Array} */
    const data = attached(checkArray(argument, value, 'Int32Array'))
    return { data, shape: [lengthOf(data)] }
  }
  const { data, shape } = read(argument, value, ['Int32Array'], 'Int32Array or a list of integers')
  return { data: attached(checkArray(argument, data, 'Int32Array')), shape }
}

/**
 * Checks a bare array and returns it as a one-dimensional tensor.
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
 * The length of a list, either an array or an array-like object; undefined for anything else. A proxy of a typed array
 * does not count, as its members cannot be read.
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
 * Allocates an array of zeros of one class.
 *
 * @param {string} what
 * @param {string} type
 * @param {number} length
 */
export function allocateArray(what, type, length) {
  try {
    return new TYPES[type](/** @type {any} */ (length))
  } catch (cause) {
    throw outOfMemory(what, length, cause)
  }
}

/**
 * Allocates the floats of a result.
 *
 * @type {(what: string, length: number) => Float32Array}
 */
export const allocate = (what, length) => allocateArray(what, 'Float32Array', length)

/** @type {(what: string, length: number) => Int32Array} */
export const allocateIndices = (what, length) => allocateArray(what, 'Int32Array', length)

/** @type {(what: string, length: number) => Uint8Array} */
export const allocateBytes = (what, length) => allocateArray(what, 'Uint8Array', length)

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
 * Checks that the caller's memory for a result shares none with an input.
 *
 * @param {Float32Array} out
 * @param {readonly ArrayBufferView[]} inputs
 */
export function checkOut(out, inputs) {
  const end = (/** @type {ArrayBufferView} */ array) => byteOffset.call(array) + byteLength.call(array)
  for (const input of inputs) {
    if (buffer.call(input) !== buffer.call(out)) continue
    const isDisjoint = end(input) <= byteOffset.call(out) || end(out) <= byteOffset.call(input)
    if (!isDisjoint)
      throw fault('OPTION', 'out', 'memory that does not overlap an input', 'memory shared with an input')
  }
  return out
}

/**
 * Allocates a tensor.
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
 * @param {import('../../index.d.ts').Tensor<T>} tensor
 * @param {readonly number[]} shape
 * @returns {Checked<T>}
 */
export function reshape(tensor, shape) {
  const { data } = /** @type {Checked<T>} */ (read('tensor', tensor, ANY))
  const dims = checkShape('shape', shape)
  checkLength('shape', lengthOf(data), dims)
  return { data, shape: dims }
}
