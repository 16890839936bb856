// Tools of the plan's interface that do not need a backend: tensors, masks, statistics and timers.

import { describe, fault, isObject } from '../checks/errors.js'
import { disposeSymbol } from '../face/layers.js'
import { allocate, checkArray, createTensor as toTensor, elements, withoutMembers } from '../checks/tensor.js'
import {
  PerformanceMonitor as Monitor,
  createCausalMask as causalMask,
  createPaddingMask as paddingMask
} from '../face/utilities.js'
import { version as packageVersion } from '../version.js'
import { WasmErrorInfo, guard } from './errors.js'
import { markAsPadding, readShape } from './read.js'

export { AttentionConfig, HyperbolicConfig, MaskType, MaskType as AttentionMaskType } from './config.js'
export { WasmErrorInfo } from './errors.js'

export const version = () => packageVersion

/**
 * @param {number[] | Float32Array} data
 * @param {readonly number[] | Uint32Array} shape
 */
export function createTensor(data, shape) {
  return guard(() => toTensor(data, readShape('shape', shape)))
}

/**
 * Returns true if a tensor has this number of dimensions.
 *
 * @param {unknown} tensor
 * @param {unknown} expectedDims
 */
export function validateTensorShape(tensor, expectedDims) {
  return guard(() => {
    if (!isObject(tensor)) throw fault('DTYPE', 'tensor', 'a tensor { data, shape }', describe(tensor))
    if (!Number.isInteger(expectedDims)) throw fault('OPTION', 'expectedDims', 'an integer', describe(expectedDims))
    return readShape('tensor', /** @type {{ shape?: unknown }} */ (tensor).shape).length === expectedDims
  })
}

/**
 * @param {Float32Array} data
 * @param {readonly number[] | Uint32Array} shape
 */
export function reshape(data, shape) {
  return guard(() => {
    /** @type {Float32Array} */
    const { length } = checkArray('data', data, 'Float32Array')
    const dims = readShape('shape', shape)
    if (elements(dims) === length) return data
    const error = fault('SHAPE', 'shape', `the shape of ${length} elements`, `[${dims}]`)
    throw new WasmErrorInfo(error, `Cannot reshape array of length ${length} into shape [${dims}]`)
  })
}

/** @param {number} seqLen */
export function createCausalMask(seqLen) {
  return guard(() => causalMask(seqLen).data)
}

/**
 * @param {ArrayLike<number>} lengths
 * @param {number} maxLen
 */
export function createPaddingMask(lengths, maxLen) {
  return guard(() => {
    const { data } = paddingMask(lengths, maxLen)
    const mask = allocate('mask', data.length)
    data.forEach((attends, index) => (mask[index] = attends ? 0 : -Infinity))
    return markAsPadding(mask)
  })
}

/**
 * Computes the mean, the standard deviation over n, the minimum and the maximum, in doubles.
 *
 * @param {Float32Array} data
 */
export function computeStats(data) {
  return guard(() => {
    const values = readValues(data)
    let sum = 0
    let min = Infinity
    let max = -Infinity
    for (const value of values) {
      sum += value
      min = Math.min(min, value)
      max = Math.max(max, value)
    }
    const mean = sum / values.length
    let squares = 0
    for (const value of values) squares += (value - mean) ** 2
    return { mean, std: Math.sqrt(squares / values.length), min, max }
  })
}

/** @param {Float32Array} data @returns {Float32Array} */
const readValues = (data) => withoutMembers(checkArray('data', data, 'Float32Array'))

/** @param {Float32Array} data */
export function normalize(data) {
  const { mean, std } = computeStats(data)
  return guard(() => {
    const values = readValues(data)
    const normalized = allocate('output', values.length)
    values.forEach((value, index) => (normalized[index] = (value - mean) / (std + 1e-8)))
    return normalized
  })
}

/** Measures milliseconds since its creation or last reset. */
export class PerfTimer {
  #start = performance.now()

  /** @param {string} [name] */
  constructor(name = '') {
    this.name = name
  }

  elapsed() {
    return performance.now() - this.#start
  }

  reset() {
    this.#start = performance.now()
  }

  free() {}

  [disposeSymbol]() {}
}

export class PerformanceMonitor extends Monitor {
  /**
   * @override
   * @param {string} label
   */
  mark(label) {
    guard(() => super.mark(label))
  }

  /**
   * @override
   * @param {string} startLabel
   * @param {string} [endLabel]
   */
  measure(startLabel, endLabel) {
    return guard(() => {
      try {
        return super.measure(startLabel, endLabel)
      } catch (error) {
        const missing = /** @type {import('../checks/errors.js').AttentionError} */ (error)
        const label = missing.argument === 'start' ? startLabel : endLabel
        throw new WasmErrorInfo(missing, `No mark found for: ${label}`)
      }
    })
  }

  free() {}

  [disposeSymbol]() {}
}
