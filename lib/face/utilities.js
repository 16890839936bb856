// Mask constructors, statistics of tensors, and a stopwatch.

import { describe, fault } from '../checks/errors.js'
import { encodeConfig } from '../checks/options.js'
import {
  allocateBytes,
  allocateTensor,
  arrayType,
  asTensor,
  checkShape,
  checkTensor,
  listLengthOf
} from '../checks/tensor.js'

/** @typedef {import('../runtime/backend.js').Backend} Backend */
/** @typedef {import('../checks/tensor.js').Checked} Checked */

/**
 * @param {number} length
 * @param {number} [keyLength]
 * @returns {Checked}
 */
export function createCausalMask(length, keyLength = length) {
  const shape = [...checkShape('length', [length]), ...checkShape('keyLength', [keyLength])]
  const mask = allocateTensor('mask', shape)
  // Without keys, there is nothing to fill for any number of rows.
  const rows = keyLength === 0 ? 0 : length
  for (let i = 0; i < rows; i++)
    mask.data.fill(-Infinity, i * keyLength + Math.min(i + 1, keyLength), (i + 1) * keyLength)
  return mask
}

/**
 * @param {ArrayLike<number>} lengths
 * @param {number} maxLength
 * @returns {{ data: Uint8Array, shape: number[] }}
 */
export function createPaddingMask(lengths, maxLength) {
  const count = listLengthOf(lengths)
  if (count === undefined) throw fault('DTYPE', 'lengths', 'a list of integers', describe(lengths))
  const shape = checkShape('maxLength', [count, 1, 1, maxLength])
  const data = allocateBytes('mask', count * maxLength)
  for (let b = 0; b < count; b++) {
    const length = lengths[b]
    if (!Number.isInteger(length) || length < 0 || length > maxLength) {
      throw fault('OPTION', `lengths[${b}]`, `an integer from 0 to maxLength ${maxLength}`, describe(length))
    }
    data.fill(1, b * maxLength, b * maxLength + length)
  }
  return { data, shape }
}

/** Measures times between marks, in milliseconds. */
export class PerformanceMonitor {
  /** @type {Map<string, number>} */
  #marks = new Map()

  /** @param {string} label */
  mark(label) {
    if (typeof label !== 'string') throw fault('OPTION', 'label', 'a string', describe(label))
    this.#marks.set(label, performance.now())
  }

  /**
   * @param {string} start
   * @param {string} [end]
   */
  measure(start, end) {
    // Take the time first, before any other work.
    const now = performance.now()
    return (end === undefined ? now : this.#at('end', end)) - this.#at('start', start)
  }

  clear() {
    this.#marks.clear()
  }

  /**
   * @param {string} argument
   * @param {string} label
   */
  #at(argument, label) {
    const time = this.#marks.get(label)
    if (time === undefined) throw fault('OPTION', argument, 'the label of a mark', describe(label))
    return time
  }
}

/** @param {Backend} backend */
export function createUtilities(backend) {
  /** @param {unknown} tensor */
  function computeStats(tensor) {
    const values = arrayType(tensor) === 'Float32Array' ? asTensor('tensor', tensor) : checkTensor('tensor', tensor)
    const [mean, std, min, max] = backend.call('stats').input(values).run().data
    return { mean, std, min, max }
  }

  /**
   * @param {unknown} tensor
   * @param {unknown} [options]
   * @returns {Checked}
   */
  function normalize(tensor, options) {
    const input = checkTensor('tensor', tensor)
    const json = options === undefined || options === null ? undefined : encodeConfig(options, 'options')
    return backend.call('normalize').input(input).options(json).run()
  }

  return { createCausalMask, createPaddingMask, computeStats, normalize, PerformanceMonitor }
}
