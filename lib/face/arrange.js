// Copies of tensors in another arrangement: other orders of axes, joined parts, and patches as rows.

import { describe, fault, isArray } from '../checks/errors.js'
import { pickOptions, refuseMore } from '../checks/options.js'
import {
  allocateTensor,
  checkAttached,
  checkTensor,
  elements,
  formatShape,
  isLength,
  withoutMembers
} from '../checks/tensor.js'

/** Upper limit for the tensors that one call joins. */
const MAX_PARTS = 1 << 20

/** @typedef {import('../checks/tensor.js').Checked} Checked */

/**
 * Checks the index of an axis, where negative ones count from the end.
 *
 * @param {string} argument
 * @param {unknown} axis
 * @param {number} rank
 */
function checkAxis(argument, axis, rank) {
  const number = typeof axis === 'number' ? axis : NaN
  if (!Number.isInteger(number) || number < -rank || number >= rank) {
    throw fault('OPTION', argument, `an axis from ${-rank} to ${rank - 1}`, describe(axis))
  }
  return number < 0 ? number + rank : number
}

/**
 * @param {unknown} order
 * @param {number} rank
 */
function checkOrder(order, rank) {
  const expected = `each axis of ${rank} once`
  if (order === undefined || order === null) {
    if (rank < 2) throw fault('SHAPE', 'x', 'at least 2 dimensions, or an order', `${rank}`)
    return Array.from({ length: rank }, (_, axis) => (axis < rank - 2 ? axis : 2 * rank - 3 - axis))
  }
  if (!isArray(order) || order.length !== rank) throw fault('OPTION', 'order', expected, describe(order))
  const axes = Array.from({ length: rank }, (_, index) => checkAxis(`order[${index}]`, order[index], rank))
  if (new Set(axes).size !== rank) throw fault('OPTION', 'order', expected, `[${axes.join(', ')}]`)
  return axes
}

/**
 * @param {unknown} x
 * @param {unknown} [order]
 * @param {...unknown} more
 * @returns {Checked}
 */
export function transpose(x, order, ...more) {
  refuseMore('transpose', more)
  const { data, shape } = checkTensor('x', x)
  const axes = checkOrder(order, shape.length)
  const strides = shape.map((_, axis) => elements(shape.slice(axis + 1)))
  const result = allocateTensor(
    'output',
    axes.map((axis) => shape[axis])
  )
  const { data: to, shape: dims } = result
  const steps = axes.map((axis) => strides[axis])
  const [length, step] = [dims.at(-1) ?? 1, steps.at(-1) ?? 1]
  /** The position along each axis but the last one. */
  const position = dims.slice(0, -1).fill(0)
  let from = 0
  for (let start = 0; start < to.length; start += length) {
    for (let index = 0; index < length; index++) to[start + index] = data[from + index * step]
    for (let axis = position.length - 1; axis >= 0; axis--) {
      from += steps[axis]
      if (++position[axis] < dims[axis]) break
      from -= dims[axis] * steps[axis]
      position[axis] = 0
    }
  }
  return result
}

/**
 * @param {unknown} parts
 * @param {unknown} [axis]
 * @param {...unknown} more
 * @returns {Checked}
 */
export function concat(parts, axis, ...more) {
  refuseMore('concat', more)
  if (!isArray(parts)) throw fault('OPTION', 'parts', 'a list of tensors', describe(parts))
  const { length } = parts
  if (!isLength(length) || length < 1 || length > MAX_PARTS) {
    throw fault('OPTION', 'parts', `a list of 1 to ${MAX_PARTS} tensors`, `a length of ${describe(length)}`)
  }
  const tensors = Array.from({ length }, (_, index) => checkTensor(`parts[${index}]`, parts[index]))
  const [{ shape: first }] = tensors
  if (first.length === 0) throw fault('SHAPE', 'parts[0]', 'at least 1 dimension', '0')
  const along = checkAxis('axis', axis ?? 0, first.length)
  tensors.forEach(({ shape }, index) => {
    if (shape.length !== first.length || shape.some((dim, at) => at !== along && dim !== first[at])) {
      const expected = formatShape(first.map((dim, at) => (at === along ? 'any' : dim)))
      throw fault('SHAPE', `parts[${index}]`, expected.replaceAll("'", ''), formatShape(shape))
    }
  })
  tensors.forEach((tensor, index) => checkAttached(`parts[${index}]`, tensor))
  const shape = [...first]
  shape[along] = tensors.reduce((sum, tensor) => sum + tensor.shape[along], 0)
  const result = allocateTensor('output', shape)
  const runs = elements(first.slice(0, along))
  const lengths = tensors.map((tensor) => elements(tensor.shape.slice(along)))
  const arrays = tensors.map(({ data }) => withoutMembers(data))
  let to = 0
  for (let run = 0; run < runs && to < result.data.length; run++) {
    arrays.forEach((data, index) => {
      result.data.set(data.subarray(run * lengths[index], (run + 1) * lengths[index]), to)
      to += lengths[index]
    })
  }
  return result
}

/**
 * Checks one number for all spatial axes, or a list of one for each.
 *
 * @param {string} argument
 * @param {unknown} given
 * @param {number} axes
 * @param {number} smallest
 * @returns {number[]}
 */
function checkSizes(argument, given, axes, smallest) {
  const isList = isArray(given) && given.length === axes
  const list = isList
    ? Array.from({ length: axes }, (_, at) => given[at])
    : Array(isArray(given) ? 0 : axes).fill(given)
  if (list.length !== axes || !list.every((size) => Number.isSafeInteger(size) && size >= smallest)) {
    const expected = `an integer of at least ${smallest}, or a list of ${axes}`
    throw fault('OPTION', argument, expected, isArray(given) ? formatShape(list) : describe(given))
  }
  return list
}

/**
 * The input index of each place of a kernel at each of its positions along one axis; −1 in the padding.
 *
 * @param {number} size
 * @param {number} count
 * @param {number} kernel
 * @param {number} stride
 * @param {number} padding
 */
function indicesAlong(size, count, kernel, stride, padding) {
  return Array.from({ length: count }, (_, position) =>
    Array.from({ length: kernel }, (_, place) => {
      const index = position * stride + place - padding
      return index < size ? index : -1
    }).map((index) => Math.max(-1, index))
  )
}

/**
 * @param {unknown} x
 * @param {unknown} options
 * @returns {Checked}
 */
export function unfold(x, options) {
  const { data, shape } = checkTensor('x', x)
  const picked = pickOptions(options, ['kernel', 'stride', 'padding'])
  const axes = shape.length - 2
  if (axes < 1 || axes > 2) throw fault('SHAPE', 'x', '[B, C, L] or [B, C, H, W]', formatShape(shape))
  const kernel = checkSizes('kernel', picked.kernel, axes, 1)
  const stride = checkSizes('stride', picked.stride ?? 1, axes, 1)
  const padding = checkSizes('padding', picked.padding ?? 0, axes, 0)
  const [batch, channels, ...sizes] = shape
  sizes.forEach((size, axis) => {
    if (kernel[axis] > size + 2 * padding[axis]) {
      throw fault('OPTION', 'kernel', `at most ${size + 2 * padding[axis]}, the padded size`, `${kernel[axis]}`)
    }
  })
  const counts = sizes.map((size, axis) => Math.floor((size + 2 * padding[axis] - kernel[axis]) / stride[axis]) + 1)
  const result = allocateTensor('output', [batch, elements(counts), channels * elements(kernel)])
  // Positions without elements may be too many for lists.
  if (result.data.length === 0) return result
  const along = sizes.map((size, axis) => indicesAlong(size, counts[axis], kernel[axis], stride[axis], padding[axis]))
  // A sequence is an image of one row.
  const [rows, columns] = axes === 1 ? [[[0]], along[0]] : along
  const width = sizes[axes - 1]
  const plane = elements(sizes)
  let to = 0
  for (let b = 0; b < batch; b++) {
    for (const row of rows) {
      for (const column of columns) {
        for (let c = 0; c < channels; c++) {
          const start = (b * channels + c) * plane
          for (const i of row) {
            for (const j of column) result.data[to++] = i < 0 || j < 0 ? 0 : data[start + i * width + j]
          }
        }
      }
    }
  }
  return result
}
