// Reads the header of a GGUF file: its metadata, and the places of its tensors. The format:
// https://github.com/ggml-org/ggml/blob/master/docs/gguf.md.

import { fault } from '../checks/errors.js'
import { elements } from '../checks/tensor.js'
import { cutShort, malformed } from './faults.js'
import { decoder } from './text.js'

/** @typedef {number | bigint | boolean | string} Scalar */
/** A value of the metadata. @typedef {Scalar | Scalar[]} Value */
/**
 * A tensor: `shape` has the last dimension contiguous.
 *
 * @typedef {{ name: string, type: string, shape: number[], bytes: [number, number] }} GgufEntry
 */
/** @typedef {{ metadata: Record<string, Value>, entries: GgufEntry[] }} GgufHeader */

/** The magic number `GGUF`, read as a little-endian integer. */
const MAGIC = 0x46554747
const DEFAULT_ALIGNMENT = 32
const MAX_DIMENSIONS = 4

/**
 * Types that tensors can be read from: elements of a block, and its bytes.
 *
 * @type {Readonly<Record<string, readonly [number, number]>>}
 */
export const BLOCKS = { F32: [1, 4], F16: [1, 2], BF16: [1, 2], Q4_0: [32, 18], Q4_1: [32, 20], Q8_0: [32, 34] }

/** Names of all types, by their numbers. */
const TYPES =
  'F32 F16 Q4_0 Q4_1 4 5 Q5_0 Q5_1 Q8_0 Q8_1 Q2_K Q3_K Q4_K Q5_K Q6_K Q8_K IQ2_XXS IQ2_XS IQ3_XXS IQ1_S IQ4_NL IQ3_S IQ2_S IQ4_XS I8 I16 I32 I64 F64 IQ1_M BF16'.split(
    ' '
  )

/**
 * Readers of metadata by the numbers of their types, and the bytes of a value.
 *
 * @type {readonly (readonly [number, (view: DataView, at: number) => Scalar] | undefined)[]}
 */
const SCALARS = [
  [1, (view, at) => view.getUint8(at)],
  [1, (view, at) => view.getInt8(at)],
  [2, (view, at) => view.getUint16(at, true)],
  [2, (view, at) => view.getInt16(at, true)],
  [4, (view, at) => view.getUint32(at, true)],
  [4, (view, at) => view.getInt32(at, true)],
  [4, (view, at) => view.getFloat32(at, true)],
  [1, (view, at) => view.getUint8(at) !== 0],
  undefined,
  undefined,
  [8, (view, at) => asNumber(view.getBigUint64(at, true))],
  [8, (view, at) => asNumber(view.getBigInt64(at, true))],
  [8, (view, at) => view.getFloat64(at, true)]
]
const STRING = 8
const ARRAY = 9

/** A number, if it has the value of the integer. @param {bigint} value */
const asNumber = (value) =>
  BigInt(Number(value)) === value && Number.isSafeInteger(Number(value)) ? Number(value) : value

/** Thrown inside the parser if the header goes on after the bytes that were read. */
class Short extends Error {}

class Parser {
  #bytes
  #view
  #label
  at = 0

  /**
   * @param {Uint8Array} bytes
   * @param {string} label
   */
  constructor(bytes, label) {
    this.#bytes = bytes
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    this.#label = label
  }

  /** @param {number} length  of the next bytes @returns {number} their place */
  #take(length) {
    const start = this.at
    if (start + length > this.#bytes.length) throw new Short()
    this.at += length
    return start
  }

  uint32() {
    return this.#view.getUint32(this.#take(4), true)
  }

  /** A length, which is less than the size of any file. */
  length() {
    const value = asNumber(this.#view.getBigUint64(this.#take(8), true))
    if (typeof value === 'number') return value
    throw malformed(this.#label, `a length of ${value} in the header`)
  }

  string() {
    const length = this.length()
    const start = this.#take(length)
    return decoder('utf-8').decode(this.#bytes.subarray(start, start + length))
  }

  /** @param {number} type @returns {Scalar} */
  scalar(type) {
    if (type === STRING) return this.string()
    const reader = SCALARS[type]
    if (reader === undefined) throw malformed(this.#label, `a value of the unknown type ${type} in the metadata`)
    const [size, read] = reader
    return read(this.#view, this.#take(size))
  }

  /** @returns {Value} */
  value() {
    const type = this.uint32()
    if (type !== ARRAY) return this.scalar(type)
    const inner = this.uint32()
    const count = this.length()
    /** @type {Scalar[]} */
    const list = []
    for (let index = 0; index < count; index++) list.push(this.scalar(inner))
    return list
  }
}

/**
 * Reads the header from the beginning of a file; undefined if the header is longer than `bytes`.
 *
 * @param {Uint8Array} bytes
 * @param {number} size  of the file
 * @param {string} label
 * @returns {GgufHeader | undefined}
 */
export function parseGguf(bytes, size, label) {
  try {
    return parse(new Parser(bytes, label), size, label)
  } catch (error) {
    if (!(error instanceof Short)) throw error
    if (bytes.length < size) return undefined
    throw malformed(label, 'a GGUF file that ends within its header: it is cut short')
  }
}

/**
 * @param {Parser} parser
 * @param {number} size
 * @param {string} label
 * @returns {GgufHeader}
 */
function parse(parser, size, label) {
  const magic = parser.uint32()
  if (magic !== MAGIC) throw malformed(label, "a file that does not begin with 'GGUF'")
  const version = parser.uint32()
  if (version !== 2 && version !== 3) {
    const actual = version > 0xffff ? 'a file of big-endian numbers' : `version ${version}`
    throw malformed(label, `${actual}, instead of GGUF version 2 or 3 in little-endian order`)
  }
  const [numTensors, numValues] = [parser.length(), parser.length()]
  /** @type {Record<string, Value>} */
  const metadata = {}
  for (let index = 0; index < numValues; index++) metadata[parser.string()] = parser.value()
  const places = Array.from({ length: Math.min(numTensors, size) }, () => {
    const name = parser.string()
    const rank = parser.uint32()
    if (rank > MAX_DIMENSIONS) throw fault('FORMAT', name, `at most ${MAX_DIMENSIONS} dimensions`, `${rank}`)
    const shape = Array.from({ length: rank }, () => parser.length()).reverse()
    const type = parser.uint32()
    return { name, shape, type: TYPES[type] ?? `${type}`, offset: parser.length() }
  })
  const { 'general.alignment': alignment = DEFAULT_ALIGNMENT } = metadata
  if (!Number.isInteger(alignment) || Number(alignment) < 1) {
    throw fault('FORMAT', 'general.alignment', 'a positive integer', String(alignment))
  }
  const start = Math.ceil(parser.at / Number(alignment)) * Number(alignment)
  return { metadata, entries: places.map((place) => entryOf(place, start, size, label)) }
}

/**
 * @param {{ name: string, shape: number[], type: string, offset: number }} place
 * @param {number} start  of all tensors
 * @param {number} size  of the file
 * @param {string} label
 * @returns {GgufEntry}
 */
function entryOf({ name, shape, type, offset }, start, size, label) {
  const [block, width] = BLOCKS[type] ?? [1, 0]
  if ((shape.at(-1) ?? 1) % block !== 0) {
    throw fault('FORMAT', name, `rows of whole blocks of ${block}`, `rows of ${shape.at(-1)}`)
  }
  const from = start + offset
  const to = from + (elements(shape) / block) * width
  if (to > size) throw cutShort(label, to, size)
  return { name, type, shape, bytes: [from, to] }
}
