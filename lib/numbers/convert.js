// Conversion between the types of weights: 32-bit floats, 16-bit floats, and 8 bits in groups.

import { describe, fault } from '../checks/errors.js'
import { refuseMore } from '../checks/options.js'
import {
  GROUP,
  WEIGHT_ARRAYS,
  allocateArray,
  attached,
  checkAttached,
  checkWeight,
  copyOf,
  elements,
  formatShape,
  scalesShape
} from '../checks/tensor.js'
import { widenHalves } from './halves.js'

/** @typedef {import('../checks/tensor.js').CheckedWeight} CheckedWeight */
/** @typedef {import('../../index.d.ts').WeightType} WeightType */

/**
 * The values of weights as 32-bit floats: new memory, unless they already are.
 *
 * @param {CheckedWeight} weight
 * @returns {Float32Array}
 */
export function widen({ type, data, scales, shape }) {
  if (type === 'f32') return /** @type {Float32Array} */ (data)
  if (type !== 'q8_0') return widenHalves('output', type, /** @type {Uint16Array} */ (data))
  const values = allocateArray('output', 'Float32Array', data.length)
  const factors = widenHalves('output', 'f16', /** @type {Uint16Array} */ (scales))
  forEachGroup(shape, (start, end, group) => {
    const factor = factors[group]
    for (let index = start; index < end; index++) values[index] = data[index] * factor
  })
  return values
}

/**
 * Visits the groups of a tensor: their first and last element, and their index.
 *
 * @param {readonly number[]} shape
 * @param {(start: number, end: number, group: number) => void} visit
 */
function forEachGroup(shape, visit) {
  const width = shape.at(-1) ?? 0
  const rows = width && elements(shape) / width
  let group = 0
  for (let row = 0; row < rows; row++) {
    const end = (row + 1) * width
    for (let start = row * width; start < end; start += GROUP) visit(start, Math.min(start + GROUP, end), group++)
  }
}

/**
 * Rounds the bits of a 32-bit float to the nearest f16, halves to even.
 *
 * @param {number} bits
 */
function narrowF16(bits) {
  const sign = (bits >>> 16) & 0x8000
  const magnitude = bits & 0x7fffffff
  // NaN stays NaN and keeps the upper part of its payload.
  if (magnitude > 0x7f800000) return sign | 0x7e00 | ((magnitude >>> 13) & 0x3ff)
  // From 65,520 on, values round to infinity.
  if (magnitude >= 0x477ff000) return sign | 0x7c00
  if (magnitude >= 0x38800000) {
    // The exponent's bias falls from 127 to 15; adding half of the last place, less one if that is even, rounds.
    return sign | ((magnitude - 0x38000000 + 0xfff + ((magnitude >>> 13) & 1)) >>> 13)
  }
  // Subnormal: a multiple of 2⁻²⁴. Below half of it, the shift would exceed 31 bits.
  if (magnitude < 0x33000000) return sign
  const shift = 126 - (magnitude >>> 23)
  const mantissa = (magnitude & 0x7fffff) | 0x800000
  const rest = mantissa & ((1 << shift) - 1)
  const half = 1 << (shift - 1)
  const kept = mantissa >>> shift
  return sign | (kept + Number(rest > half || (rest === half && (kept & 1) === 1)))
}

/**
 * Rounds the bits of a 32-bit float to the nearest bfloat16, halves to even.
 *
 * @param {number} bits
 */
function narrowBf16(bits) {
  if ((bits & 0x7fffffff) > 0x7f800000) return (bits >>> 16) | 0x40
  return (bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16
}

/**
 * @param {'f16' | 'bf16'} type
 * @param {Float32Array} values
 */
function narrow(type, values) {
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length)
  const data = allocateArray('output', 'Uint16Array', values.length)
  const round = type === 'f16' ? narrowF16 : narrowBf16
  for (let index = 0; index < data.length; index++) data[index] = round(bits[index])
  return data
}

/**
 * Quantizes to 8 bits in groups, to the bit like GGUF's Q8_0.
 *
 * @param {Float32Array} values
 * @param {readonly number[]} shape
 */
function quantize(values, shape) {
  const { fround, abs, floor, sign } = Math
  const data = allocateArray('output', 'Int8Array', values.length)
  /** @type {Float32Array} */
  const factors = allocateArray('output', 'Float32Array', elements(scalesShape(shape)))
  forEachGroup(shape, (start, end, group) => {
    let largest = 0
    for (let index = start; index < end; index++) {
      const magnitude = abs(values[index])
      // False for NaN, too.
      if (!(magnitude <= LARGEST)) {
        const expected = 'numbers whose scale, the largest of a group divided by 127, fits f16'
        throw fault('DOMAIN', 'tensor', expected, `${values[index]} at index ${index}`)
      }
      if (magnitude > largest) largest = magnitude
    }
    factors[group] = largest / 127
    const inverse = fround(1 / factors[group])
    // A scale of 0, or one whose inverse overflows, leaves zeros.
    if (!Number.isFinite(inverse)) return
    for (let index = start; index < end; index++) {
      const scaled = fround(values[index] * inverse)
      data[index] = sign(scaled) * floor(abs(scaled) + 0.5)
    }
  })
  return { data, scales: narrow('f16', factors) }
}

/** The largest magnitude whose scale rounds to a finite f16: scales from 65,520 on are infinite. */
const LARGEST = largestMagnitude()

function largestMagnitude() {
  const value = new Float32Array([65520 * 127])
  const bits = new Uint32Array(value.buffer)
  while (Math.fround(value[0] / 127) >= 65520) bits[0]--
  return value[0]
}

/**
 * @param {unknown} tensor
 * @param {unknown} type
 * @param {...unknown} more
 * @returns {any}
 */
export function convert(tensor, type, ...more) {
  refuseMore('convert', more)
  const weight = checkWeight('tensor', tensor)
  if (typeof type !== 'string' || !Object.hasOwn(WEIGHT_ARRAYS, type)) {
    throw fault('OPTION', 'type', "'f32', 'f16', 'bf16' or 'q8_0'", describe(type))
  }
  // A getter of the shape may have detached the array.
  checkAttached('tensor', weight)
  const { shape } = weight
  if (type === weight.type) {
    const { data, scales } = weight
    if (type === 'f32') return { data: copyOf(data), shape }
    return { type, data: copyOf(data), ...(scales && { scales: copyOf(scales) }), shape }
  }
  // An empty array may be detached all the same.
  const values = attached(widen(weight))
  if (type === 'f32') return { data: values, shape }
  if (type !== 'q8_0') return { type, data: narrow(/** @type {'f16' | 'bf16'} */ (type), values), shape }
  if (shape.length === 0) throw fault('SHAPE', 'tensor', 'at least 1 dimension', formatShape(shape))
  return { type, ...quantize(values, shape), shape }
}
