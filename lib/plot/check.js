// Argument checks of the plot functions; checks of tensors are in ../tensor.js.

import { describe, fault, isArray } from '../checks/errors.js'
import { arrayType, checkArray, checkTensor, formatShape, isLength } from '../checks/tensor.js'

/** Upper limit for list lengths, more than any picture can show. */
const MAX_ENTRIES = 1_000_000

/** @typedef {import('./svg.js').Theme} Theme */

/**
 * @param {string} argument
 * @param {unknown} value
 * @param {string} [fallback]
 */
export function readText(argument, value, fallback = '') {
  if (value === undefined) return fallback
  if (typeof value !== 'string') throw fault('OPTION', argument, 'a string', describe(value))
  return value
}

/**
 * @template {string} Choice
 * @param {string} argument
 * @param {unknown} value
 * @param {readonly Choice[]} choices  the first is the default
 * @returns {Choice}
 */
export function readChoice(argument, value, choices) {
  if (value === undefined) return choices[0]
  const found = choices.find((choice) => choice === value)
  if (found === undefined) {
    throw fault('OPTION', argument, choices.map((choice) => `'${choice}'`).join(' or '), describe(value))
  }
  return found
}

/**
 * @param {unknown} value
 * @returns {Theme}
 */
export const readTheme = (value) => readChoice('theme', value, /** @type {const} */ (['auto', 'light', 'dark']))

/**
 * @template Fallback
 * @param {string} argument
 * @param {unknown} value
 * @param {Fallback} fallback
 */
export function readBoolean(argument, value, fallback) {
  if (value === undefined) return fallback
  if (typeof value !== 'boolean') throw fault('OPTION', argument, 'a boolean', describe(value))
  return value
}

/**
 * An integer from `low` to `high`.
 *
 * @param {string} argument
 * @param {unknown} value
 * @param {number} low
 * @param {number} high
 */
export function checkInteger(argument, value, low, high) {
  if (typeof value !== 'number' || !Number.isInteger(value) || value < low || value > high) {
    const range = high === Infinity ? `an integer of at least ${low}` : `an integer from ${low} to ${high}`
    throw fault('OPTION', argument, range, describe(value))
  }
  return value
}

/**
 * Reads each entry of a list once. Rejects lists longer than a picture can show.
 *
 * @template T
 * @param {string} argument
 * @param {readonly unknown[]} list
 * @param {(entry: unknown, index: number) => T} read
 */
export function readEntries(argument, list, read) {
  const { length } = list
  if (!isLength(length) || length > MAX_ENTRIES) {
    throw fault('SHAPE', argument, `at most ${MAX_ENTRIES} entries`, describe(length))
  }
  /** @type {T[]} */
  const entries = []
  for (let index = 0; index < length; index++) entries.push(read(list[index], index))
  return entries
}

/**
 * @template {unknown} T
 * @param {string} argument
 * @param {unknown} value
 * @param {string} expected
 * @param {(argument: string, entry: unknown) => T} read
 * @returns {T[] | undefined}
 */
export function readList(argument, value, expected, read) {
  if (value === undefined) return undefined
  if (!isArray(value)) throw fault('OPTION', argument, expected, describe(value))
  return readEntries(argument, value, (entry, index) => read(`${argument}[${index}]`, entry))
}

/**
 * One label for each of `count` items; null means none.
 *
 * @param {string} argument
 * @param {unknown} value
 * @param {number} count
 */
export function readLabels(argument, value, count) {
  const labels = readList(argument, value, 'a list of strings', (name, label) =>
    label === null || label === undefined ? '' : readText(name, label)
  )
  if (labels !== undefined && labels.length !== count) {
    throw fault('SHAPE', argument, `${count} labels`, `${labels.length}`)
  }
  return labels
}

/**
 * @param {string} argument
 * @param {unknown} value
 */
export const readLines = (argument, value) =>
  readList(argument, value, 'a list of strings', (name, line) => readText(name, line)) ?? []

/**
 * One number for each of `count` items, from a tensor, a typed array or a list.
 *
 * @param {string} argument
 * @param {unknown} value
 * @param {number} count
 */
export function readNumbers(argument, value, count) {
  if (value === undefined) return undefined
  const isFloats = arrayType(value) === 'Float32Array'
  const numbers = isFloats ? checkArray(argument, value, 'Float32Array') : listOf(argument, value)
  if (numbers.length !== count) throw fault('SHAPE', argument, `${count} numbers`, `${numbers.length}`)
  return numbers
}

/**
 * @param {string} argument
 * @param {unknown} value
 * @returns {ArrayLike<number>}
 */
function listOf(argument, value) {
  if (!isArray(value)) return checkTensor(argument, value).data
  return readEntries(argument, value, (entry, index) => {
    if (typeof entry !== 'number') throw fault('DTYPE', `${argument}[${index}]`, 'a number', describe(entry))
    return entry
  })
}

/**
 * Indices of nodes or points, each below `count`, from an Int32Array or a list.
 *
 * @param {string} argument
 * @param {unknown} value
 * @param {number} count
 */
export function readIndices(argument, value, count) {
  const isIntegers = arrayType(value) === 'Int32Array'
  if (!isIntegers && !isArray(value)) {
    throw fault('DTYPE', argument, 'an Int32Array or a list of integers', describe(value))
  }
  const list = /** @type {any} */ (isIntegers ? checkArray(argument, value, 'Int32Array') : value)
  return readEntries(argument, list, (entry, index) => checkIndex(`${argument}[${index}]`, entry, count))
}

/**
 * @param {string} argument
 * @param {unknown} value
 * @param {number} count
 */
export function checkIndex(argument, value, count) {
  if (typeof value === 'number' && Number.isInteger(value) && value >= 0 && value < count) return value
  const expected = count === 0 ? 'no index, as there are no entries' : `an integer from 0 to ${count - 1}`
  throw fault('OPTION', argument, expected, describe(value))
}

/**
 * Points in the plane, `[N,2]`, all finite.
 *
 * @param {string} argument
 * @param {unknown} value
 * @param {number} [count]
 */
export function checkPlane(argument, value, count) {
  const { data, shape } = checkTensor(argument, value)
  const [rows] = shape
  if (shape.length !== 2 || shape[1] !== 2 || (count !== undefined && rows !== count)) {
    throw fault('SHAPE', argument, `[${count ?? 'N'}, 2]`, formatShape(shape))
  }
  for (let row = 0; row < rows; row++) {
    const [x, y] = [data[2 * row], data[2 * row + 1]]
    if (!Number.isFinite(x) || !Number.isFinite(y)) {
      throw fault('DOMAIN', `${argument}[${row}]`, 'two finite numbers', `[${x}, ${y}]`)
    }
  }
  return { data, count: rows }
}
