// Formats numbers: shares, times, sizes.

/** A share as text of nearly the same width: 57 %, 5.3 %, 0.0 %, and 0 % if nothing is seen. */
export function percent(share: number) {
  const value = share * 100
  return `${value >= 9.95 ? value.toFixed(0) : value === 0 ? '0' : value.toFixed(1)} %`
}

export function duration(milliseconds: number) {
  if (milliseconds < 1) return `${(milliseconds * 1000).toFixed(0)} µs`
  if (milliseconds < 1000) return `${milliseconds.toPrecision(3)} ms`
  return `${(milliseconds / 1000).toPrecision(3)} s`
}

export function bytes(count: number) {
  if (count < 1000) return `${count} B`
  if (count < 1e6) return `${(count / 1000).toPrecision(3)} kB`
  return `${(count / 1e6).toPrecision(3)} MB`
}

export const count = (value: number, one: string, many = `${one}s`) =>
  `${value.toLocaleString('en')} ${value === 1 ? one : many}`

/** The indices of the largest values, descending; among equal values, the earlier first. */
export const largest = (values: ArrayLike<number>, most: number) =>
  Array.from(values, (_, index) => index)
    .sort((a, b) => values[b] - values[a])
    .slice(0, most)

/** “it” attends most to “trophy” (31 %), “suitcase” (12 %) and “was” (9.1 %). */
export function describeRow(tokens: readonly string[], token: number, row: Float32Array) {
  const seen = largest(row, 3).filter((key) => row[key] > 0)
  if (seen.length === 0) return `“${tokens[token]}” sees no token.`
  const parts = seen.map((key) => `${key === token ? 'itself' : `“${tokens[key]}”`} (${percent(row[key])})`)
  return `“${tokens[token]}” attends most to ${new Intl.ListFormat('en').format(parts)}.`
}
