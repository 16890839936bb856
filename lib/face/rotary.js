// Rotary position embeddings for queries and keys.

import { describe, fault } from '../checks/errors.js'
import { encodeConfig } from '../checks/options.js'
import { checkRotary, frequenciesOf, readRotaryOptions } from './rotary-options.js'
import { checkIntegers, checkTensor } from '../checks/tensor.js'

/** @typedef {import('../checks/tensor.js').Checked<Int32Array>} Positions */

/**
 * One more than the largest position, the length of a sequence that has them.
 *
 * @param {Positions} positions
 */
export function lengthOfPositions({ data }) {
  let largest = -1
  for (const position of data) if (position > largest) largest = position
  return largest + 1
}

/**
 * Reads the options of a call that rotates a tensor of some shape: positions, frequencies, and all others as JSON.
 *
 * @param {readonly number[]} shape
 * @param {unknown} options
 */
export function readRotaryCall(shape, options) {
  const { positions: given, layout, ...rest } = readRotaryOptions('options', options ?? {}, ['positions', 'layout'])
  const positions = given === undefined ? undefined : checkIntegers('positions', given)
  const { passed, frequencies } = checkRotary('', rest, shape.at(-1))
  const rows = shape.length === 4 && layout === 'blhd' ? shape[1] : (shape.at(-2) ?? 0)
  const own = frequencies(() => (positions === undefined ? rows : lengthOfPositions(positions)))
  return { positions, frequencies: own, json: encodeConfig({ ...passed, layout }, 'options') }
}

/** @param {import('../runtime/backend.js').Backend} backend */
export function createRotary(backend) {
  /**
   * @param {unknown} x
   * @param {unknown} [options]
   * @returns {import('../checks/tensor.js').Checked}
   */
  function rotaryEmbedding(x, options) {
    const input = checkTensor('x', x)
    const { positions, frequencies, json } = readRotaryCall(input.shape, options)
    const call = backend.call('rotaryEmbedding').input(input).integers(positions?.data, positions?.shape)
    return call.doubles(frequencies).options(json).run()
  }

  /** @param {unknown} options */
  function rotaryFrequencies(options) {
    const names = ['headDim', 'positions', 'layout']
    const { headDim, positions, layout, ...given } = readRotaryOptions('options', options, names)
    if (headDim !== undefined && (!Number.isSafeInteger(headDim) || Number(headDim) < 1)) {
      throw fault('OPTION', 'headDim', 'an integer of at least 1', describe(headDim))
    }
    if (layout !== undefined) throw fault('OPTION', 'layout', 'none: frequencies have no layout', describe(layout))
    const size = /** @type {number | undefined} */ (headDim)
    const length = positions === undefined ? 0 : lengthOfPositions(checkIntegers('positions', positions))
    return frequenciesOf(given, size, () => length)
  }

  return { rotaryEmbedding, rotaryFrequencies }
}
