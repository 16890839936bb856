// 16-bit floats, widened to 32 bits exactly.

import { allocateArray } from '../checks/tensor.js'

/** The bits of every f16 widened to 32 bits; computed on first use. @type {Uint32Array | undefined} */
let widened

function widenedBits() {
  if (widened) return widened
  widened = new Uint32Array(1 << 16)
  const value = new Float32Array(1)
  const bits = new Uint32Array(value.buffer)
  for (let half = 0; half < 1 << 15; half++) {
    const [exponent, mantissa] = [half >> 10, half & 0x3ff]
    // A denormal is a multiple of 2⁻²⁴, and that product is exact.
    value[0] = mantissa * 2 ** -24
    if (exponent === 31) bits[0] = 0x7f800000 | (mantissa << 13)
    else if (exponent > 0) bits[0] = ((exponent + 127 - 15) << 23) | (mantissa << 13)
    widened[half] = bits[0]
    widened[half | 0x8000] = bits[0] | 0x80000000
  }
  return widened
}

/**
 * The bits of floats. Copying them as integers preserves the payload of NaNs.
 *
 * @param {Float32Array} floats
 */
const bitsOf = (floats) => new Uint32Array(floats.buffer, floats.byteOffset, floats.length)

/**
 * @param {Uint16Array} halves
 * @param {Float32Array} data
 * @param {number} at  the place of the first value
 */
export function widenF16(halves, data, at) {
  const bits = bitsOf(data)
  const table = widenedBits()
  for (let index = 0; index < halves.length; index++) bits[at + index] = table[halves[index]]
}

/**
 * @param {Uint16Array} halves
 * @param {Float32Array} data
 * @param {number} at  the place of the first value
 */
export function widenBf16(halves, data, at) {
  const bits = bitsOf(data)
  for (let index = 0; index < halves.length; index++) bits[at + index] = halves[index] << 16
}

/**
 * @param {string} name
 * @param {'f16' | 'bf16'} type
 * @param {Uint16Array} halves
 * @returns {Float32Array}
 */
export function widenHalves(name, type, halves) {
  const data = allocateArray(name, 'Float32Array', halves.length)
  const widen = type === 'f16' ? widenF16 : widenBf16
  widen(halves, data, 0)
  return data
}
