// 16-bit floats, widened to 32 bits exactly.

import { allocateArray } from '../checks/tensor.js'

/** The unit of subnormal f16. */
const UNIT = 2 ** -24

/** The number of values from which a table of all f16 is faster. */
const MANY = 1 << 16

/** The bits of every f16 widened to 32 bits; computed on first use. @type {Uint32Array | undefined} */
let widened

function widenedBits() {
  if (widened) return widened
  const all = new Float32Array(1 << 16)
  widenEach(
    Uint16Array.from(all, (_, half) => half),
    all,
    0
  )
  widened = bitsOf(all)
  return widened
}

/**
 * The bits of floats. Copying them as integers preserves the payload of NaNs.
 *
 * @param {Float32Array} floats
 */
const bitsOf = (floats) => new Uint32Array(floats.buffer, floats.byteOffset, floats.length)

/**
 * Widens a few values, without a table.
 *
 * @param {Uint16Array} halves
 * @param {Float32Array} data
 * @param {number} at  the place of the first value
 */
function widenEach(halves, data, at) {
  const bits = bitsOf(data)
  for (let index = 0; index < halves.length; index++) {
    const half = halves[index]
    const magnitude = half & 0x7fff
    if (magnitude < 0x400) {
      data[at + index] = (half === magnitude ? UNIT : -UNIT) * magnitude
    } else {
      // The exponent's bias rises from 15 to 127, and the exponent of infinity and NaN to the largest.
      const bias = magnitude < 0x7c00 ? 0x38000000 : 0x70000000
      bits[at + index] = ((half & 0x8000) << 16) | ((magnitude << 13) + bias)
    }
  }
}

/**
 * @param {Uint16Array} halves
 * @param {Float32Array} data
 * @param {number} at  the place of the first value
 */
export function widenF16(halves, data, at) {
  if (halves.length < MANY) {
    widenEach(halves, data, at)
    return
  }
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
