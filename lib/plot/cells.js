// Heatmap cells of attention weights: selects heads, downsamples long sequences, and maps values to the color scale.

import { describe, fault, isArray } from '../checks/errors.js'
import { checkTensor, floatsBetween, formatShape } from '../checks/tensor.js'
import { checkIndex, readChoice, readEntries } from './check.js'
import { LEVELS } from './color.js'
import { brief } from './text.js'

/** @typedef {'sum' | 'mean' | 'max'} Reduce */
/** @typedef {'sqrt' | 'linear'} Scale */
/**
 * The weights to draw: for each head its index and its values, row by row.
 *
 * @typedef {object} Chosen
 * @property {{ head: number, values: Float32Array }[]} heads
 * @property {number} queries
 * @property {number} keys
 * @property {number} numHeads  in the tensor, selected or not
 * @property {number} batch
 * @property {number} batches
 */

/** Markers in position of a level, for values without one. */
export const NOT_A_NUMBER = -1
export const INFINITE = -2
export const HIDDEN = -3

/**
 * @param {unknown} weights
 * @param {{ head?: unknown, batch?: unknown }} options
 * @returns {Chosen}
 */
export function chooseHeads(weights, options) {
  const { data, shape } = checkTensor('weights', weights)
  if (shape.length < 2 || shape.length > 4 || shape.includes(0)) {
    throw fault('SHAPE', 'weights', '[L, S], [H, L, S] or [B, H, L, S], none of them 0', formatShape(shape))
  }
  const [batches, numHeads, queries, keys] = [1, 1, ...shape].slice(-4)
  const batch = options.batch === undefined ? 0 : checkIndex('batch', options.batch, batches)
  const heads = readHeads(options.head, numHeads).map((head) => {
    const start = (batch * numHeads + head) * queries * keys
    return { head, values: floatsBetween(data, start, start + queries * keys) }
  })
  return { heads, queries, keys, numHeads, batch, batches }
}

/**
 * @param {unknown} head
 * @param {number} count
 * @returns {number[]}
 */
function readHeads(head, count) {
  if (head === undefined) return Array.from({ length: count }, (_, index) => index)
  if (!isArray(head)) return [checkIndex('head', head, count)]
  if (head.length === 0) throw fault('OPTION', 'head', 'at least one head', 'an empty list')
  return readEntries('head', head, (entry, index) => checkIndex(`head[${index}]`, entry, count))
}

/**
 * True if every row sums to 1, as attention weights do, or to 0, as the weights of a query without visible keys do.
 *
 * @param {Chosen} chosen
 */
export function areShares({ heads, queries, keys }) {
  return heads.every(({ values }) => {
    for (let row = 0; row < queries; row++) {
      let sum = 0
      for (let key = 0; key < keys; key++) {
        const value = values[row * keys + key]
        if (value < 0) return false
        sum += value
      }
      // NaN passes these comparisons: it is drawn as such and does not affect the decision.
      if (sum !== 0 && Math.abs(sum - 1) > 1e-3) return false
    }
    return true
  })
}

/**
 * How a cell combines the values of several tokens. Summing over keys and averaging over queries preserves row sums, so
 * it is the default for rows that sum to 1.
 *
 * @param {unknown} reduce
 * @param {boolean} shares
 * @returns {Reduce}
 */
export function readReduce(reduce, shares) {
  if (reduce === undefined) return shares ? 'sum' : 'mean'
  return readChoice('reduce', reduce, /** @type {const} */ (['sum', 'mean', 'max']))
}

/**
 * @typedef {object} CellGrid
 * @property {number} rows
 * @property {number} columns
 * @property {number} queriesPerCell
 * @property {number} keysPerCell
 * @property {{ head: number, values: Float64Array }[]} heads
 */

/**
 * Combines tokens into at most `most.rows` × `most.columns` cells per head. All cells cover equally many tokens, except
 * smaller ones at the ends.
 *
 * @param {Chosen} chosen
 * @param {{ rows: number, columns: number }} most
 * @param {Reduce} reduce
 * @returns {CellGrid}
 */
export function downsample({ heads, queries, keys }, most, reduce) {
  const [queriesPerCell, keysPerCell] = [Math.ceil(queries / most.rows), Math.ceil(keys / most.columns)]
  const [rows, columns] = [Math.ceil(queries / queriesPerCell), Math.ceil(keys / keysPerCell)]
  return {
    rows,
    columns,
    queriesPerCell,
    keysPerCell,
    heads: heads.map(({ head, values }) => {
      const cells = new Float64Array(rows * columns)
      for (let cell = 0; cell < cells.length; cell++) {
        const [top, left] = [Math.floor(cell / columns) * queriesPerCell, (cell % columns) * keysPerCell]
        const [bottom, right] = [Math.min(top + queriesPerCell, queries), Math.min(left + keysPerCell, keys)]
        cells[cell] = reduceCell(values, keys, [top, bottom], [left, right], reduce)
      }
      return { head, values: cells }
    })
  }
}

/**
 * The value of one cell. NaN and infinity take precedence. −∞, which hides a key, only shows if the cell contains
 * nothing else.
 *
 * @param {Float32Array} values
 * @param {number} keys
 * @param {readonly [number, number]} rows
 * @param {readonly [number, number]} columns
 * @param {Reduce} reduce
 */
function reduceCell(values, keys, rows, columns, reduce) {
  let [sum, largest, finite] = [0, -Infinity, 0]
  for (let row = rows[0]; row < rows[1]; row++) {
    for (let column = columns[0]; column < columns[1]; column++) {
      const value = values[row * keys + column]
      if (Number.isNaN(value)) return NaN
      if (value > largest) largest = value
      if (Number.isFinite(value)) {
        sum += value
        finite += 1
      }
    }
  }
  if (reduce === 'max' || finite === 0 || largest === Infinity) return largest
  return sum / (reduce === 'sum' ? rows[1] - rows[0] : finite)
}

/**
 * The scale of the values: its range, and the position of a value on it.
 *
 * @param {CellGrid} grid
 * @param {{ range?: unknown, scale?: unknown }} options
 */
export function readScale(grid, options) {
  const [low, high] = options.range === undefined ? rangeOf(grid) : checkRange(options.range)
  const [first, second] =
    low < 0 ? /** @type {const} */ (['linear', 'sqrt']) : /** @type {const} */ (['sqrt', 'linear'])
  const scale = readChoice('scale', options.scale, [first, second])
  const position = (/** @type {number} */ value) => {
    const share = Math.min(Math.max((value - low) / (high - low || 1), 0), 1)
    return scale === 'sqrt' ? Math.sqrt(share) : share
  }
  return {
    /** Number of decimals that distinguishes values on this scale. */
    decimals: Math.min(Math.max(2 - Math.floor(Math.log10(high - low)), 0), 20),
    /** @param {number} value */
    levelOf(value) {
      if (Number.isNaN(value)) return NOT_A_NUMBER
      if (!Number.isFinite(value)) return value > 0 ? INFINITE : HIDDEN
      return Math.round(position(value) * LEVELS)
    },
    /** The value at a position from 0 to 1. @param {number} position */
    valueAt: (position) => low + (high - low) * (scale === 'sqrt' ? position ** 2 : position)
  }
}

/** @param {CellGrid} grid */
function rangeOf({ heads }) {
  let [low, high] = [0, -Infinity]
  for (const { values } of heads) {
    for (const value of values) {
      if (!Number.isFinite(value)) continue
      low = Math.min(low, value)
      high = Math.max(high, value)
    }
  }
  return high > low ? [low, high] : [low, low + 1]
}

/** @param {unknown} range */
function checkRange(range) {
  const [low, high] = isArray(range) && range.length === 2 ? readEntries('range', range, (end) => end) : []
  if (typeof low !== 'number' || typeof high !== 'number' || !Number.isFinite(low) || !Number.isFinite(high)) {
    throw fault('OPTION', 'range', 'two finite numbers', describe(range))
  }
  if (low >= high) throw fault('OPTION', 'range', 'a lower end below the upper one', `[${low}, ${high}]`)
  return [low, high]
}

/**
 * Formats a value: shares in percent, other numbers to three significant digits or to `decimals`.
 *
 * @param {number} value
 * @param {boolean} shares
 * @param {number} [decimals]
 */
export function formatValue(value, shares, decimals) {
  if (!Number.isFinite(value)) return Number.isNaN(value) ? 'NaN' : value > 0 ? '∞' : '−∞'
  if (shares) {
    const percent = value * 100
    return `${Number(percent >= 10 ? percent.toFixed(0) : percent.toPrecision(percent < 1 ? 1 : 2))} %`
  }
  return String(Number(decimals === undefined ? value.toPrecision(3) : value.toFixed(decimals))).replace('-', '−')
}

/**
 * Describes the downsampling, for the picture's text.
 *
 * @param {CellGrid} grid
 * @param {Reduce} reduce
 */
export function describeDownsampling({ queriesPerCell, keysPerCell }, reduce) {
  if (queriesPerCell === 1 && keysPerCell === 1) return undefined
  const what = {
    sum: 'the sum over its keys, mean over its queries',
    mean: 'the mean over its tokens',
    max: 'its largest value'
  }
  const size = [
    `${queriesPerCell} ${queriesPerCell === 1 ? 'query' : 'queries'}`,
    `${keysPerCell} ${keysPerCell === 1 ? 'key' : 'keys'}`
  ]
  return `Downsampled: each cell covers ${size.join(' × ')} and shows ${what[reduce]}.`
}

/**
 * Describes the picture: its dimensions, and the largest value of each head.
 *
 * @param {Chosen} chosen
 * @param {{ shares: boolean, queryLabels?: readonly string[], keyLabels?: readonly string[] }} reading
 */
export function describeWeights({ heads, queries, keys, batch, batches }, { shares, queryLabels, keyLabels }) {
  const described = heads.slice(0, 16).map(({ head, values }) => {
    let best = 0
    for (let index = 0; index < values.length; index++) {
      if (values[index] > values[best] || Number.isNaN(values[best])) best = index
    }
    const [query, key] = [Math.floor(best / keys), best % keys]
    const names = [queryLabels?.[query] || `query ${query}`, keyLabels?.[key] || `key ${key}`].map(brief)
    return `Head ${head}: largest ${formatValue(values[best], shares)}, ${names.join(' → ')}.`
  })
  const what = shares ? 'Attention weights' : 'Values'
  const entry = batches > 1 ? `, batch entry ${batch}` : ''
  const sizes = `${what} of ${heads.length} ${heads.length === 1 ? 'head' : 'heads'}${entry}: ${queries} queries in rows, ${keys} keys in columns.`
  return [sizes, ...described].join(' ')
}
