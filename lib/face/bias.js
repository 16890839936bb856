// Biases that depend on the distance between a query and a key, for the option `relativeBias`.

import { describe, fault } from '../checks/errors.js'
import { pickOptions } from '../checks/options.js'
import { allocateTensor, checkShape, checkTensor, formatShape } from '../checks/tensor.js'

/** @typedef {import('../checks/tensor.js').Checked} Checked */

/**
 * Reads the arguments that both functions share.
 *
 * @param {unknown} queryLength
 * @param {unknown} keyLength
 * @param {unknown} queryOffset
 */
function readLengths(queryLength, keyLength, queryOffset = 0) {
  const [queries] = checkShape('queryLength', [queryLength])
  const keys = keyLength === undefined || keyLength === null ? queries : checkShape('keyLength', [keyLength])[0]
  if (typeof queryOffset !== 'number' || !Number.isInteger(queryOffset) || Math.abs(queryOffset) >= 2 ** 31) {
    throw fault('OPTION', 'queryOffset', 'an integer of 32 bits', describe(queryOffset))
  }
  // The bias at place p belongs to the distance p − L + 1 − queryOffset from the query to the key.
  return { length: Math.max(0, queries + keys - 1), first: 1 - queries - queryOffset }
}

/**
 * @param {string} name
 * @param {unknown} value
 * @param {boolean} fallback
 */
function readFlag(name, value, fallback) {
  if (value === undefined) return fallback
  if (typeof value !== 'boolean') throw fault('OPTION', name, 'a boolean', describe(value))
  return value
}

/**
 * The slope of each head: a geometric sequence for a power of two, else that of the next lower power, and every second
 * slope of the next higher one.
 *
 * @param {number} numHeads
 */
function alibiSlopes(numHeads) {
  const power = 2 ** Math.floor(Math.log2(numHeads))
  return Array.from(
    { length: numHeads },
    (_, h) => 2 ** (h < power ? (-8 * (h + 1)) / power : (-4 * (2 * (h - power) + 1)) / power)
  )
}

/**
 * @param {unknown} numHeads
 * @param {unknown} queryLength
 * @param {unknown} [keyLength]
 * @param {unknown} [options]
 * @returns {Checked}
 */
export function alibiBias(numHeads, queryLength, keyLength, options) {
  if (typeof numHeads !== 'number' || !Number.isSafeInteger(numHeads) || numHeads < 1) {
    throw fault('OPTION', 'numHeads', 'an integer of at least 1', describe(numHeads))
  }
  const given = pickOptions(options, ['queryOffset', 'symmetric'])
  const isSymmetric = readFlag('symmetric', given.symmetric, false)
  const { length, first } = readLengths(queryLength, keyLength, given.queryOffset)
  const bias = allocateTensor('bias', [numHeads, length])
  // Without elements, the other dimension may be too large to iterate over.
  if (bias.data.length === 0) return bias
  for (const [h, slope] of alibiSlopes(numHeads).entries()) {
    for (let place = 0; place < length; place++) {
      const distance = first + place
      bias.data[h * length + place] = slope * (isSymmetric ? 0 - Math.abs(distance) : distance)
    }
  }
  return bias
}

/**
 * The bucket of a distance, in single precision like the reference, whose logarithms decide between two buckets.
 *
 * @param {number} distance  from the query to the key
 * @param {number} count  the number of buckets
 * @param {boolean} isBidirectional
 * @param {number} maxDistance
 */
function bucketOf(distance, count, isBidirectional, maxDistance) {
  const { fround } = Math
  const half = isBidirectional ? Math.floor(count / 2) : count
  const start = isBidirectional && distance > 0 ? half : 0
  const steps = isBidirectional ? Math.abs(distance) : Math.max(0, -distance)
  const exact = Math.floor(half / 2)
  if (steps < exact) return start + steps
  const logarithm = fround(Math.log(fround(steps / exact)))
  const share = fround(fround(logarithm / fround(Math.log(maxDistance / exact))) * (half - exact))
  return start + Math.min(half - 1, exact + Math.floor(share))
}

/**
 * @param {unknown} table
 * @param {unknown} queryLength
 * @param {unknown} [keyLength]
 * @param {unknown} [options]
 * @returns {Checked}
 */
export function relativePositionBias(table, queryLength, keyLength, options) {
  const { data, shape } = checkTensor('table', table)
  const given = pickOptions(options, ['queryOffset', 'bidirectional', 'maxDistance'])
  const isBidirectional = readFlag('bidirectional', given.bidirectional, true)
  const [buckets, heads] = shape
  const least = isBidirectional ? 4 : 2
  if (shape.length !== 2 || buckets < least) {
    throw fault('SHAPE', 'table', `[buckets, H] with at least ${least} buckets`, formatShape(shape))
  }
  const { maxDistance = 128 } = given
  const exact = Math.floor(buckets / least)
  if (typeof maxDistance !== 'number' || !Number.isSafeInteger(maxDistance) || maxDistance <= exact) {
    throw fault('OPTION', 'maxDistance', `an integer above ${exact}`, describe(maxDistance))
  }
  const { length, first } = readLengths(queryLength, keyLength, given.queryOffset)
  const bias = allocateTensor('bias', [heads, length])
  if (bias.data.length === 0) return bias
  for (let place = 0; place < length; place++) {
    const bucket = bucketOf(first + place, buckets, isBidirectional, maxDistance)
    for (let h = 0; h < heads; h++) bias.data[h * length + place] = data[bucket * heads + h]
  }
  return bias
}
