// Measures the mechanism named by the argument on both backends, and writes JSON. It runs in a separate process, so
// that the peak of memory belongs to one mechanism. `problems` lists missing backends and results that differ.

import { loadBackend } from '@ruvector/attention'
import { measure } from './measure.js'
import { mechanisms } from './mechanisms.js'

/**
 * @typedef {Omit<ReturnType<typeof measure>, 'output'> & { kind: string, simd: string, shape: readonly number[] }}
 *   Measured
 */
/** @typedef {{ results: Measured[], difference?: number, problems: string[] }} Visit */

/** The largest difference between correct results, relative for numbers beyond 1. */
const TOLERANCE = 1e-4

/** @param {ArrayLike<number>} one @param {ArrayLike<number>} other */
const largestDifference = (one, other) =>
  Array.from(one, (value, index) => Math.abs(value - other[index]) / Math.max(1, Math.abs(value))).reduce(
    // NaN stays.
    (largest, difference) => (difference <= largest ? largest : difference),
    0
  )

const mechanism = mechanisms.find(({ name }) => name === process.argv[2])
if (!mechanism) throw new Error(`there is no mechanism ${process.argv[2]}`)

/** @type {Visit} */
const visit = { results: [], problems: [] }
const outputs = []
for (const kind of /** @type {const} */ (['native', 'wasm'])) {
  try {
    const attention = await loadBackend(kind)
    const { output, ...needs } = measure(attention, mechanism)
    outputs.push(output.data)
    visit.results.push({ kind, simd: attention.backend().simd, shape: output.shape, ...needs })
  } catch (error) {
    visit.problems.push(`${mechanism.name}, ${kind}: ${error instanceof Error ? error.message : error}`)
  }
}
if (outputs.length === 2) {
  visit.difference = largestDifference(outputs[0], outputs[1])
  if (!(visit.difference <= TOLERANCE)) visit.problems.push(`${mechanism.name}: native and wasm do not agree`)
}
console.log(JSON.stringify(visit))
