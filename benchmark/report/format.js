// Formats numbers and goals for display.

/** @typedef {import('../types.d.ts').Goal} Goal */
/** @typedef {import('../types.d.ts').Row} Row */

/** Explains the names of cases. */
export const LETTERS =
  'B: batch, H: heads, G: key/value heads if fewer, S: length (decoding has one query), D: size of a head.'

/** @param {number} value @param {number} [digits] */
export function significant(value, digits = 3) {
  if (!Number.isFinite(value)) return '–'
  const decimals = value === 0 ? 0 : Math.max(0, digits - 1 - Math.floor(Math.log10(Math.abs(value))))
  return value.toFixed(Math.min(decimals, 4))
}

/** @param {number} milliseconds */
export function duration(milliseconds) {
  if (milliseconds < 1) return `${significant(milliseconds * 1000)} µs`
  if (milliseconds < 1000) return `${significant(milliseconds)} ms`
  return `${significant(milliseconds / 1000)} s`
}

/** @param {Row} row  @returns the speed in the unit of the case, or '' if the case has only a time */
export function speed({ case: { unit, batch }, gflops, gbps, rate }) {
  if (unit === 'µs') return ''
  if (unit === 'op/s') return `${significant(rate)} ${unit}`
  if (unit === 'texts/s') return `${significant(rate * batch)} ${unit}`
  return `${significant(unit === 'GB/s' ? gbps : gflops)} ${unit}`
}

/** @param {number} value @param {string} unit */
export function quantity(value, unit) {
  if (unit === '') return `${significant(value * 100)} %`
  if (unit.startsWith('of ')) return `${value} ${unit}`
  return unit === '×' ? `${significant(value)}×` : `${significant(value)} ${unit}`
}

/** @param {Goal} goal */
export const limit = ({ limit, atLeast, unit }) => `${atLeast ? '≥' : '≤'} ${quantity(limit, unit)}`

/**
 * Aligns the columns in `left` to the left, and all others to the right.
 *
 * @param {string[][]} lines
 * @param {number[]} [left]
 * @param {string} [between]
 */
export function columns(lines, left = [0], between = '  ') {
  const count = Math.max(0, ...lines.map((line) => line.length))
  const widths = Array.from({ length: count }, (_, i) => Math.max(...lines.map((line) => (line[i] ?? '').length)))
  return lines.map((line) =>
    line
      .map((cell, i) => (left.includes(i) ? cell.padEnd(widths[i]) : cell.padStart(widths[i])))
      .join(between)
      .trimEnd()
  )
}
