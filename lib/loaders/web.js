// Shared by the entries without native code: 'native' is not available, and most throw before init().

import { AttentionError } from '../checks/errors.js'
import { noBackend, openSource, openWasm } from './wasm.js'

/** @typedef {import('../entries/entry.js').Loader} Loader */

/**
 * @param {(source: import('./wasm.js').Source | undefined) => Promise<import('../runtime/backend.js').Loaded>} open
 *   opens the shipped module, or the
 *   given one
 * @returns {Loader}
 */
export function webLoader(open) {
  return {
    loadSync() {
      throw new AttentionError('NOT_INITIALIZED', {
        expected: 'init() to have finished',
        message: 'not initialized: await init() once before the first call'
      })
    },
    async load(kind, source) {
      if (kind === 'native') throw noNative()
      return open(source)
    }
  }
}

/**
 * The loader of runtimes that compile no bytes: it has a compiled module, and starts at once.
 *
 * @param {WebAssembly.Module} module
 * @returns {Loader}
 */
export const compiledLoader = (module) => ({
  loadSync: () => openWasm(module),
  async load(kind, source) {
    if (kind === 'native') throw noNative()
    return source === undefined ? openWasm(module) : openSource(source)
  }
})

function noNative() {
  const error = new Error('this runtime does not load addons')
  return noBackend([{ candidate: 'native', error }], "Use the backend 'wasm' here.")
}
