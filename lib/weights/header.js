// Reads the header of a safetensors file, and validates everything in it. The format:
// https://github.com/huggingface/safetensors#format.

import { isArray } from '../checks/errors.js'
import { elements, isLength } from '../checks/tensor.js'
import { cutShort, malformed } from './faults.js'
import { formatOf } from './formats.js'
import { decoder } from './text.js'

/**
 * A tensor of a file: `bytes` is the range of its elements in the file.
 *
 * @typedef {{ name: string, shape: number[], dtype: string, bytes: [start: number, end: number] }} Entry
 */
/** @typedef {{ entries: Entry[], metadata: Record<string, string> }} Header  entries are sorted by name */

/** Size of the header length at the start of the file. */
export const LENGTH_BYTES = 8
/** The longest header, as in the reference implementation. */
export const MAX_HEADER_BYTES = 100_000_000
export const METADATA = '__metadata__'

/** The element types of the format and their widths in bits. @type {ReadonlyMap<string, number>} */
const BITS = new Map(
  Object.entries({
    64: 'F64 I64 U64 C64',
    32: 'F32 I32 U32',
    16: 'F16 BF16 I16 U16',
    8: 'I8 U8 BOOL F8_E5M2 F8_E4M3 F8_E8M0 F8_E4M3FNUZ F8_E5M2FNUZ',
    6: 'F6_E2M3 F6_E3M2',
    4: 'F4'
  }).flatMap(([bits, names]) => names.split(' ').map((name) => [name, Number(bits)]))
)

/**
 * The end of the header in a file of `size` bytes.
 *
 * @param {Uint8Array} start  the first bytes of the file: at least eight, or all of a shorter file
 * @param {number} size
 * @param {string} argument
 */
export function headerEnd(start, size, argument) {
  if (size < LENGTH_BYTES) throw cutShort(argument, LENGTH_BYTES, size)
  const length = new DataView(start.buffer, start.byteOffset).getBigUint64(0, true)
  const end = LENGTH_BYTES + Number(length)
  if (length <= MAX_HEADER_BYTES && end <= size) return end
  const format = formatOf(start)
  if (format) throw malformed(argument, format)
  if (length <= MAX_HEADER_BYTES) throw cutShort(argument, end, size)
  throw malformed(argument, `a header of ${length} bytes, more than the limit of ${MAX_HEADER_BYTES}`)
}

/**
 * Reads and checks a header.
 *
 * @param {Uint8Array} bytes  the header, without the length before it
 * @param {number} size  of the file
 * @param {string} argument
 * @returns {Header}
 */
export function parseHeader(bytes, size, argument) {
  const { __metadata__: metadata = null, ...tensors } = parseObject(bytes, argument, 'a header')
  if (metadata !== null && !isObjectOfStrings(metadata)) {
    throw malformed(argument, 'metadata that is not an object of strings')
  }
  const dataStart = LENGTH_BYTES + bytes.length
  const entries = Object.entries(tensors).map(([name, described]) => readEntry(name, described, dataStart, argument))
  checkPlaces(entries, dataStart, size, argument)
  entries.sort((a, b) => (a.name < b.name ? -1 : 1))
  return { entries, metadata: { ...metadata } }
}

/**
 * Parses an object from JSON. Duplicate names are an error, since parsers disagree on which member counts.
 *
 * @param {Uint8Array} bytes
 * @param {string} argument
 * @param {string} what
 * @returns {Record<string, any>}
 */
export function parseObject(bytes, argument, what) {
  /** @type {string} */
  let text
  try {
    text = decoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
  } catch {
    throw malformed(argument, `${what} that is not UTF-8`)
  }
  let object
  try {
    object = JSON.parse(text)
  } catch (error) {
    throw malformed(argument, `${what} that is not JSON: ${/** @type {Error} */ (error).message}`)
  }
  if (typeof object !== 'object' || object === null || isArray(object)) {
    throw malformed(argument, `${what} that is not an object`)
  }
  if (countMembers(object) !== countNames(text)) {
    throw malformed(argument, `${what} that gives two values to one name`)
  }
  return object
}

/**
 * The number of members of all objects in a JSON value.
 *
 * @param {unknown} root
 */
function countMembers(root) {
  let count = 0
  const rest = [root]
  while (rest.length > 0) {
    const value = rest.pop()
    if (typeof value !== 'object' || value === null) continue
    const members = Object.values(value)
    if (!isArray(value)) count += members.length
    // Lists of numbers, such as shapes, have no members.
    for (const member of members) if (typeof member === 'object') rest.push(member)
  }
  return count
}

/**
 * The number of names in a JSON text: the colons outside its strings.
 *
 * @param {string} text
 */
function countNames(text) {
  let count = 0
  let isInside = false
  for (let index = 0; index < text.length; index++) {
    const code = text.charCodeAt(index)
    if (code === 34) isInside = !isInside
    else if (isInside && code === 92) index++
    else if (!isInside && code === 58) count++
  }
  return count
}

/** @param {unknown} value */
const isObjectOfStrings = (value) =>
  typeof value === 'object' &&
  value !== null &&
  !isArray(value) &&
  Object.values(value).every((member) => typeof member === 'string')

/** @param {unknown} value @returns {value is number[]} */
const isSizes = (value) => isArray(value) && value.every(isLength)

/**
 * @param {string} name
 * @param {any} described
 * @param {number} dataStart
 * @param {string} argument
 * @returns {Entry}
 */
function readEntry(name, described, dataStart, argument) {
  const { dtype, shape, data_offsets: offsets } = described ?? {}
  if (typeof dtype !== 'string' || !isSizes(shape) || !isSizes(offsets) || offsets.length !== 2) {
    throw malformed(argument, `'${name}' without a dtype, a shape and two data_offsets`)
  }
  if (/\p{Cs}/u.test(name)) throw malformed(argument, 'a name with a lone surrogate')
  if (!BITS.has(dtype)) throw malformed(argument, `'${name}' of the unknown type ${dtype}`)
  return { name, shape, dtype, bytes: [dataStart + offsets[0], dataStart + offsets[1]] }
}

/**
 * Checks that the tensors fill the data without gaps or overlaps, and that each is as long as its shape and type
 * require.
 *
 * @param {readonly Entry[]} entries
 * @param {number} dataStart
 * @param {number} size
 * @param {string} argument
 */
function checkPlaces(entries, dataStart, size, argument) {
  let next = dataStart
  for (const { name, shape, dtype, bytes } of [...entries].sort(byPlace)) {
    const [start, end] = bytes
    if (start !== next || end < start) {
      const [from, to, expected] = [start, end, next].map((place) => place - dataStart)
      throw malformed(argument, `'${name}' at bytes ${from} to ${to} of the data, expected to begin at ${expected}`)
    }
    const bits = /** @type {number} */ (BITS.get(dtype))
    // Doubles lose digits only above 2^53, where the product exceeds every file.
    const length = (elements(shape) * bits) / 8
    if (length !== end - start) {
      throw malformed(argument, `'${name}' in ${end - start} bytes, not the ${length} of its shape in ${dtype}`)
    }
    next = end
  }
  if (next > size) throw cutShort(argument, next, size)
  if (next < size) {
    throw malformed(argument, `${size - dataStart} bytes of data, of which ${next - dataStart} are described`)
  }
}

/** @type {(a: Entry, b: Entry) => number} */
export const byPlace = (a, b) => a.bytes[0] - b.bytes[0] || a.bytes[1] - b.bytes[1]
