// Merges attention over separate parts of the keys into attention over all keys.

import { withLayout } from './attention.js'
import { describe, fault, isArray, isObject } from '../checks/errors.js'
import { encodeConfig } from '../checks/options.js'
import {
  allocateTensor,
  checkTensor,
  elements,
  formatShape,
  isLength,
  lengthOf,
  withoutMembers
} from '../checks/tensor.js'

/** @typedef {import('../checks/tensor.js').Checked} Checked */

/**
 * Concatenates tensors along a new first dimension. All must have the first tensor's shape.
 *
 * @param {string} kind
 * @param {readonly Checked[]} tensors
 * @returns {Checked}
 */
function stack(kind, tensors) {
  const [{ shape }] = tensors
  const size = elements(shape)
  const stacked = allocateTensor('parts', [tensors.length, ...shape])
  for (const [index, tensor] of tensors.entries()) {
    if (tensor.shape.length !== shape.length || tensor.shape.some((dim, axis) => dim !== shape[axis])) {
      const expected = `${formatShape(shape)}, as in parts[0]`
      throw fault('SHAPE', `parts[${index}].${kind}`, expected, formatShape(tensor.shape))
    }
    // A getter of a later part may have detached it.
    const data = withoutMembers(tensor.data)
    if (lengthOf(data) !== size) {
      throw fault('SHAPE', `parts[${index}].${kind}`, `${size} elements`, `${lengthOf(data)}`)
    }
    stacked.data.set(data, index * size)
  }
  return stacked
}

/**
 * @param {any} part
 * @param {number} index
 */
function readPart(part, index) {
  const name = `parts[${index}]`
  if (!isObject(part)) throw fault('DTYPE', name, 'an attention result', describe(part))
  const { output, logSumExp, layout } = /** @type {any} */ (part)
  if (logSumExp === undefined || logSumExp === null) {
    const expected = 'a logSumExp, which attention returns with the option logSumExp: true'
    throw fault('DTYPE', `${name}.logSumExp`, expected, String(logSumExp))
  }
  return {
    output: checkTensor(`${name}.output`, output),
    logSumExp: checkTensor(`${name}.logSumExp`, logSumExp),
    isHeadsLast: layout === 'blhd'
  }
}

/**
 * True if the outputs are in layout `blhd`: either every part states it, or the shapes prove it because the numbers of
 * heads and rows differ.
 *
 * @param {ReturnType<typeof readPart>[]} parts
 */
function areHeadsLast(parts) {
  if (parts.every(({ isHeadsLast }) => isHeadsLast)) return true
  const [{ output, logSumExp }] = parts
  const [, first, second] = output.shape
  const [, heads, length] = logSumExp.shape
  return output.shape.length === 4 && first !== second && first === length && second === heads
}

/** @param {import('../runtime/backend.js').Backend} backend */
export function createMerge(backend) {
  /**
   * @param {unknown} parts
   * @param {unknown} [options]
   * @returns {import('../../index.d.ts').AttentionResult<{ logSumExp: true }>}
   */
  function mergeAttention(parts, options) {
    const count = isArray(parts) ? parts.length : undefined
    if (!isArray(parts) || !isLength(count)) {
      throw fault('DTYPE', 'parts', 'an array of attention results', describe(parts))
    }
    if (count === 0) throw fault('SHAPE', 'parts', 'at least one part', 'none')
    /** @type {ReturnType<typeof readPart>[]} */
    const read = []
    for (let index = 0; index < count; index++) read.push(readPart(parts[index], index))
    const given = options === undefined || options === null ? {} : JSON.parse(encodeConfig(options, 'options'))
    given.layout ??= areHeadsLast(read) ? 'blhd' : 'bhld'
    const outputs = stack(
      'output',
      read.map(({ output }) => output)
    )
    const sums = stack(
      'logSumExp',
      read.map(({ logSumExp }) => logSumExp)
    )
    return backend
      .call('mergeAttention')
      .input(outputs)
      .input(sums)
      .options(JSON.stringify(given))
      .returning(([output, logSumExp]) => withLayout({ output, logSumExp }, given.layout))
      .run()
  }

  return { mergeAttention }
}
