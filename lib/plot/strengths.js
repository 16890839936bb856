// Weights of points and edges as strengths from 0 to 1, and their samples in the legend.

import { fault } from '../checks/errors.js'
import { round, text } from './svg.js'
import { widthOf } from './text.js'

/** @typedef {{ values: ArrayLike<number>, strengths: Float64Array, largest: number }} Strengths */

/**
 * Weights relative to the largest, or undefined if there are none.
 *
 * @param {string} argument
 * @param {ArrayLike<number> | undefined} values
 * @returns {Strengths | undefined}
 */
export function readStrengths(argument, values) {
  if (values === undefined) return undefined
  let largest = 0
  for (let index = 0; index < values.length; index++) {
    const value = values[index]
    if (!(value >= 0) || value === Infinity) {
      throw fault('DOMAIN', `${argument}[${index}]`, 'a finite number of at least 0', `${value}`)
    }
    largest = Math.max(largest, value)
  }
  return { values, strengths: Float64Array.from(values, (value) => value / (largest || 1)), largest }
}

/**
 * The width and opacity of a line.
 *
 * @param {number} strength
 */
export const lineStyle = (strength) => ({
  width: round(0.6 + 4.4 * strength),
  opacity: Number((0.16 + 0.84 * Math.sqrt(strength)).toFixed(2))
})

/**
 * Formats a number for the legend: two significant digits.
 *
 * @param {number} value
 */
const short = (value) => String(Number(value.toPrecision(2)))

/**
 * Sample values for the legend: a round number up to the largest, its half, and its tenth.
 *
 * @param {number} largest
 */
function samplesUpTo(largest) {
  if (largest === 0) return [0]
  const magnitude = 10 ** Math.floor(Math.log10(largest))
  const round = magnitude * ([8, 6, 5, 4, 3, 2].find((factor) => factor * magnitude <= largest) ?? 1)
  return [0.1 * round, 0.5 * round, round]
}

/**
 * Draws samples of strengths with their values, in rows between `x` and `end`.
 *
 * @param {import('./svg.js').Palette} palette
 * @param {number} x
 * @param {number} y  baseline of the first row
 * @param {number} end
 * @param {readonly { largest: number, label: string, sign: 'disc' | 'line' }[]} scales
 */
export function strengthKeys(palette, x, y, end, scales) {
  /** @type {string[]} */
  const parts = []
  const style = { size: 12, fill: 'muted' }
  let [left, base] = [x, y]
  const makeRoom = (/** @type {number} */ width) => {
    if (left > x && left + width > end) [left, base] = [x, base + 20]
  }
  for (const { largest, label, sign } of scales) {
    const heading = `weight of ${label}`
    makeRoom(widthOf(heading, 12))
    parts.push(text(palette, left, base, heading, style))
    left += widthOf(heading, 12) + 18
    for (const value of samplesUpTo(largest)) {
      const words = short(value)
      makeRoom(24 + widthOf(words, 12))
      const strength = value / (largest || 1)
      parts.push(
        sign === 'disc' ? discSample(palette, left, base, strength) : lineSample(palette, left, base, strength),
        text(palette, left + (sign === 'disc' ? 18 : 24), base, words, style)
      )
      left += 48 + widthOf(words, 12)
    }
    left += 16
  }
  return { parts, height: scales.length > 0 ? base - y + 20 : 0 }
}

/** @param {import('./svg.js').Palette} palette @param {number} x @param {number} y @param {number} strength */
function discSample(palette, x, y, strength) {
  const geometry = `cx="${round(x + 6)}" cy="${round(y - 4)}" r="${round(1.5 + 4 * strength)}"`
  return `<circle ${geometry} ${palette.paint({ fill: 'accent' })} fill-opacity="${round(0.3 + 0.7 * strength)}"/>`
}

/** @param {import('./svg.js').Palette} palette @param {number} x @param {number} y @param {number} strength */
function lineSample(palette, x, y, strength) {
  const { width, opacity } = lineStyle(strength)
  const stroke = `${palette.paint({ stroke: 'edge' })} stroke-width="${width}" stroke-opacity="${opacity}"`
  return `<path d="M${round(x - 8)} ${round(y - 4)}h24" stroke-linecap="round" ${stroke}/>`
}
