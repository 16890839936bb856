// Converts the elements of a safetensors file to the typed arrays of tensors.

import { describe, fault } from '../checks/errors.js'
import { MAX_RANK, allocateArray, elements, formatShape, infiniteScale, scalesShape } from '../checks/tensor.js'
import { widenBf16, widenF16 } from '../numbers/halves.js'

/** @typedef {import('./header.js').Entry} Entry */
/** How 16-bit floats are returned. @typedef {'widen' | 'keep'} Halves */
/** @typedef {import('../../index.d.ts').StateEntry} StateEntry */

/** @type {Readonly<Record<string, 'f16' | 'bf16'>>} */
const HALVES = { F16: 'f16', BF16: 'bf16' }

/** Types whose bytes in the file equal those of an array. @type {Readonly<Record<string, string>>} */
const STORED = { F32: 'Float32Array', I32: 'Int32Array', U8: 'Uint8Array', BOOL: 'Uint8Array' }

/**
 * Writes converted elements to `data`, starting at index `at`.
 *
 * @typedef {(bytes: Uint8Array, data: any, at: number, name: string) => void} Convert
 */

/**
 * All other types: the resulting array class, and the conversion.
 *
 * @type {Readonly<Record<string, readonly [type: string, convert: Convert]>>}
 */
const CONVERTED = {
  F16: ['Float32Array', (bytes, data, at) => widenF16(view(bytes, Uint16Array), data, at)],
  BF16: ['Float32Array', (bytes, data, at) => widenBf16(view(bytes, Uint16Array), data, at)],
  F64: ['Float32Array', (bytes, data, at) => data.set(view(bytes, Float64Array), at)],
  I8: ['Int32Array', (bytes, data, at) => data.set(view(bytes, Int8Array), at)],
  I16: ['Int32Array', (bytes, data, at) => data.set(view(bytes, Int16Array), at)],
  U16: ['Int32Array', (bytes, data, at) => data.set(view(bytes, Uint16Array), at)],
  U32: ['Int32Array', narrowU32],
  I64: ['Int32Array', (bytes, data, at, name) => narrow64(bytes, data, at, name, 'I64')],
  U64: ['Int32Array', (bytes, data, at, name) => narrow64(bytes, data, at, name, 'U64')]
}

/** 8 bits in groups: an entry of I8 whose scales are another entry. */
const QUANTIZED = 'Q8_0'

/**
 * Joins each entry of I8 with the F16 entry of its scales, named like it with `.scales` at the end. Without scales of a
 * fitting shape, an entry of I8 holds plain integers.
 *
 * @template {Entry} E
 * @param {readonly E[]} entries
 * @returns {(E & { scales?: E })[]}
 */
export function joinScales(entries) {
  const halves = new Map(entries.filter(({ dtype }) => dtype === 'F16').map((entry) => [entry.name, entry]))
  /** @type {Set<Entry>} */
  const joined = new Set()
  const result = entries.map((entry) => {
    const scales = entry.dtype === 'I8' && entry.shape.length > 0 ? halves.get(`${entry.name}.scales`) : undefined
    if (!scales || formatShape(scales.shape) !== formatShape(scalesShape(entry.shape))) return entry
    joined.add(scales)
    return { ...entry, dtype: QUANTIZED, scales }
  })
  return result.filter((entry) => !joined.has(entry))
}

/**
 * Allocates a tensor of 8 bits, with the bytes of its values and of its scales still to be filled.
 *
 * @param {Entry} entry
 */
export function prepareQuantized({ name, shape }) {
  const data = allocateArray(name, 'Int8Array', elements(shape))
  const scales = allocateArray(name, 'Uint16Array', elements(scalesShape(shape)))
  /** @type {import('../../index.d.ts').QuantizedTensor} */
  const tensor = { type: 'q8_0', data, scales, shape }
  return { tensor, bytes: new Uint8Array(data.buffer), scaleBytes: new Uint8Array(scales.buffer) }
}

/**
 * The place of the first -128, or -1. Node's Buffer searches ten times as fast as an array.
 *
 * @param {Int8Array} data
 */
function placeOfLowest(data) {
  const { Buffer } = /** @type {any} */ (globalThis)
  return Buffer ? Buffer.from(data.buffer, data.byteOffset, data.length).indexOf(0x80) : data.indexOf(-128)
}

/**
 * Checks the values and scales of a tensor that was read.
 *
 * @param {string} name
 * @param {import('../../index.d.ts').QuantizedTensor} tensor
 */
export function checkQuantizedEntry(name, tensor) {
  const low = placeOfLowest(tensor.data)
  if (low >= 0) throw fault('FORMAT', name, 'integers from -127 to 127', `-128 at ${low}`)
  const wrong = infiniteScale(tensor.scales)
  if (wrong >= 0) throw fault('FORMAT', `${name}.scales`, 'finite scales', `NaN or infinity at ${wrong}`)
  return tensor
}

/**
 * Returns true if tensors can hold elements of a type.
 *
 * @param {string} dtype
 */
export const isSupported = (dtype) => dtype in STORED || dtype in CONVERTED || dtype === QUANTIZED

/**
 * Checks that an entry can become a tensor, before anything is allocated.
 *
 * @param {Entry} entry
 */
export function checkEntry({ name, shape, dtype }) {
  if (!isSupported(dtype)) throw fault('FORMAT', name, 'elements of 16 or 32 bits, of F64, or integers', dtype)
  if (shape.length > MAX_RANK) throw fault('FORMAT', name, `at most ${MAX_RANK} dimensions`, `${shape.length}`)
}

/**
 * Allocates the tensor of an entry, still without its elements. If `bytes` is present, the file's bytes are copied to
 * it unchanged; otherwise `convert` takes them in pieces, each a multiple of `width` bytes.
 *
 * @param {Entry} entry
 * @param {Halves} halves
 * @returns {{ tensor: StateEntry, bytes?: Uint8Array, width: number, convert: (piece: Uint8Array, at: number) => void
 *   }}
 */
export function prepareTensor(entry, halves) {
  const { name, shape, dtype } = entry
  checkEntry(entry)
  const count = elements(shape)
  const width = count && (entry.bytes[1] - entry.bytes[0]) / count
  const kept = halves === 'keep' ? HALVES[dtype] : undefined
  const stored = kept ? 'Uint16Array' : STORED[dtype]
  const [type, convert] = stored ? [stored] : CONVERTED[dtype]
  const data = allocateArray(name, type, count)
  const tensor = /** @type {StateEntry} */ (kept ? { type: kept, data, shape } : { data, shape })
  return {
    tensor,
    width,
    bytes: convert ? undefined : new Uint8Array(data.buffer),
    convert: (piece, at) => convert?.(piece, data, at, name)
  }
}

/**
 * The tensor of an entry, from all of its bytes.
 *
 * @param {Entry} entry
 * @param {Uint8Array} bytes
 * @param {Halves} halves
 */
export function readTensor(entry, bytes, halves) {
  const prepared = prepareTensor(entry, halves)
  if (prepared.bytes) prepared.bytes.set(bytes)
  else prepared.convert(bytes, 0)
  return prepared.tensor
}

/**
 * The bytes as elements of a type; copied if they are not aligned.
 *
 * @template T
 * @param {Uint8Array} bytes
 * @param {{ new (buffer: ArrayBufferLike, offset: number, length: number): T, BYTES_PER_ELEMENT: number }} Type
 */
function view(bytes, Type) {
  const width = Type.BYTES_PER_ELEMENT
  const aligned = bytes.byteOffset % width === 0 ? bytes : bytes.slice()
  return new Type(aligned.buffer, aligned.byteOffset, aligned.byteLength / width)
}

/**
 * @param {string} name
 * @param {string} dtype
 * @param {number | bigint} value
 */
const tooLarge = (name, dtype, value) => fault('FORMAT', name, `${dtype} values that fit into 32 bits`, `${value}`)

/** @type {Convert} */
function narrowU32(bytes, data, at, name) {
  const values = view(bytes, Uint32Array)
  for (let index = 0; index < values.length; index++) {
    if (values[index] > 0x7fffffff) throw tooLarge(name, 'U32', values[index])
    data[at + index] = values[index]
  }
}

/**
 * @param {Uint8Array} bytes
 * @param {Int32Array} data
 * @param {number} at
 * @param {string} name
 * @param {'I64' | 'U64'} dtype
 */
function narrow64(bytes, data, at, name, dtype) {
  // The words of a little-endian integer: the low one, then the high one.
  const words = view(bytes, Int32Array)
  for (let index = 0; 2 * index < words.length; index++) {
    const [low, high] = [words[2 * index], words[2 * index + 1]]
    const isNegative = low < 0
    const fits = dtype === 'I64' ? high === (isNegative ? -1 : 0) : high === 0 && !isNegative
    if (!fits) {
      const value = (BigInt(high) << 32n) | BigInt(low >>> 0)
      throw tooLarge(name, dtype, dtype === 'I64' ? value : BigInt.asUintN(64, value))
    }
    data[at + index] = low
  }
}

/**
 * @param {unknown} value
 * @returns {Halves}
 */
export function checkHalves(value = 'widen') {
  if (value !== 'widen' && value !== 'keep') throw fault('OPTION', 'halves', "'widen' or 'keep'", describe(value))
  return value
}
