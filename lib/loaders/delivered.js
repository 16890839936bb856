// Modules and patches delivered as separate files next to the entries that fetch them.

import { fromFile } from '../runtime/async/spawn.js'
import { openSource } from './wasm.js'

// A literal, in the only form that bundlers recognize.
const worker = fromFile(() => new Worker(new URL('../runtime/async/worker.js', import.meta.url), { type: 'module' }))

/**
 * Returns a function that opens a given source, or the files delivered with an entry: esbuild and Rollup, for example,
 * deliver none.
 *
 * @param {string} name  the start of the files' names
 * @param {() => import('./wasm.js').Source} delivered
 */
export function openDelivered(name, delivered) {
  const remedy = [
    `Copy ${name}.simd.wasm and ${name}.relaxed.patch from node_modules/@ruvector/attention/packages/wasm to that`,
    'address, since the bundler did not, or tell init({ wasm, patch }) where the files are.'
  ].join(' ')
  return async (/** @type {import('./wasm.js').Source | undefined} */ source) => {
    const loaded = await (source ? openSource(source) : openSource(delivered(), remedy))
    return { ...loaded, spawns: [worker, ...(loaded.spawns ?? [])] }
  }
}
