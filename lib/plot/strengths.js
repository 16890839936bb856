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
 * Draws samples of strengths with their values, in a row starting at `x`.
 *
 * @param {import('./svg.js').Palette} palette
 * @param {number} x
 * @param {number} y
 * @param {readonly { largest: number, label: string, sign: 'disc' | 'line' }[]} scales
 */
export function strengthKeys(palette, x, y, scales) {
  /** @type {string[]} */
  const parts = []
  let left = x
  for (const { largest, label, sign } of scales) {
    parts.push(text(palette, left, y, `weight of ${label}`, { size: 12, fill: 'muted' }))
    left += widthOf(`weight of ${label}`, 12) + 18
    for (const value of samplesUpTo(largest)) {
      const strength = value / (largest || 1)
      parts.push(
        sign === 'disc'
          ? `<circle cx="${round(left + 6)}" cy="${round(y - 4)}" r="${round(1.5 + 4 * strength)}" ${palette.paint({ fill: 'accent' })} fill-opacity="${round(0.3 + 0.7 * strength)}"/>`
          : `<path d="M${round(left - 8)} ${round(y - 4)}h24" stroke-linecap="round" ${palette.paint({ stroke: 'edge' })} stroke-width="${lineStyle(strength).width}" stroke-opacity="${lineStyle(strength).opacity}"/>`
      )
      parts.push(text(palette, left + (sign === 'disc' ? 18 : 24), y, short(value), { size: 12, fill: 'muted' }))
      left += 48 + widthOf(short(value), 12)
    }
    left += 16
  }
  return { parts, right: left, height: scales.length > 0 ? 20 : 0 }
}
