// Rows of weights of any type: taken, joined and transposed when state dicts are translated.

import { GROUP, allocate, allocateArray } from '../checks/tensor.js'
import { widen } from '../numbers/convert.js'

/**
 * Elements of a parameter; 32-bit floats have no `type`.
 *
 * @typedef {{ data: import('../weights/state.js').EntryData, type?: 'f16' | 'bf16' | 'q8_0', scales?: Uint16Array }}
 *   Values
 */

/**
 * The elements as 32-bit floats.
 *
 * @param {Values} values
 * @param {readonly number[]} shape
 */
export const widened = ({ data, type, scales }, shape) =>
  widen(/** @type {import('../checks/tensor.js').CheckedWeight} */ ({ type: type ?? 'f32', data, scales, shape }))

/**
 * A view of `count` rows of `width` elements.
 *
 * @param {Values} values
 * @param {number} width
 * @param {number} start
 * @param {number} count
 * @returns {Values}
 */
export function takeRows({ data, type, scales }, width, start, count) {
  const rows = data.subarray(start * width, (start + count) * width)
  if (type === undefined) return { data: rows }
  if (scales === undefined) return { type, data: rows }
  const groups = Math.ceil(width / GROUP)
  return { type, data: rows, scales: scales.subarray(start * groups, (start + count) * groups) }
}

/**
 * Joins rows of `width` elements in their own type, or as 32-bit floats if their types differ.
 *
 * @param {string} what
 * @param {readonly Values[]} parts
 * @param {number} width
 * @returns {Values}
 */
export function joinRows(what, parts, width) {
  if (parts.length === 1) return parts[0]
  const [{ type, scales }] = parts
  if (parts.some((part) => part.type !== type)) {
    const floats = parts.map((part) => ({ data: widened(part, [part.data.length / width, width]) }))
    return {
      data: joinArrays(
        what,
        floats.map(({ data }) => data),
        'Float32Array'
      )
    }
  }
  const data = parts.map((part) => part.data)
  if (type === undefined) return { data: joinArrays(what, data, 'Float32Array') }
  if (scales === undefined) return { type, data: joinArrays(what, data, 'Uint16Array') }
  const factors = parts.map((part) => /** @type {Uint16Array} */ (part.scales))
  return {
    type,
    data: joinArrays(what, data, 'Int8Array'),
    scales: joinArrays(what, factors, 'Uint16Array')
  }
}

/**
 * @param {string} what
 * @param {readonly ArrayLike<number>[]} parts
 * @param {'Float32Array' | 'Uint16Array' | 'Int8Array'} kind
 */
function joinArrays(what, parts, kind) {
  const length = parts.reduce((sum, part) => sum + part.length, 0)
  const output = allocateArray(what, kind, length)
  let offset = 0
  for (const part of parts) {
    output.set(part, offset)
    offset += part.length
  }
  return output
}

/**
 * @param {string} what
 * @param {Float32Array} data
 * @param {readonly number[]} shape  `[rows, columns]`
 */
export function transpose(what, data, [rows, columns]) {
  const output = allocate(what, data.length)
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) output[column * rows + row] = data[row * columns + column]
  }
  return output
}
