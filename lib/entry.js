// What every entry exports, given how its runtime finds a backend.

import { createApi } from './api.js'
import { Backend, checkThreads } from './backend.js'
import { describe, fault } from './errors.js'
import { pickOptions } from './options.js'

/** @typedef {import('./backend.js').Loaded} Loaded */
/** @typedef {import('../index.d.ts').BackendKind} BackendKind */
/**
 * How a runtime finds a backend: at once, or throwing NOT_INITIALIZED; and with time to wait, of one kind or the best
 * there is, from one WebAssembly source or the one shipped.
 *
 * @typedef {{ loadSync: () => Loaded, load: (kind?: BackendKind, wasm?: unknown) => Promise<Loaded> }} Loader
 */

/** @param {unknown} options */
function readInit(options) {
  const { wasm, threads } = pickOptions(options, ['wasm', 'threads'])
  return { wasm, threads: checkThreads(threads) }
}

/** @param {Loader} loader */
export function createEntry(loader) {
  const backend = new Backend(loader.loadSync)
  /** @type {Promise<void> | undefined} */
  let running

  /**
   * @param {unknown} [options]
   * @returns {Promise<void>}
   */
  function init(options) {
    let given
    try {
      given = readInit(options)
    } catch (error) {
      return Promise.reject(error)
    }
    if (given.threads !== undefined) backend.limitThreads(given.threads)
    running ??= begin(given.wasm).catch((error) => {
      running = undefined
      throw error
    })
    return running
  }

  /** @param {unknown} wasm */
  async function begin(wasm) {
    if (backend.binding) return
    const loaded = await loader.load(undefined, wasm)
    // A call may have come first.
    if (!backend.binding) backend.start(loaded)
  }

  /**
   * @param {BackendKind} kind
   * @param {unknown} [options]
   */
  async function loadBackend(kind, options) {
    if (kind !== 'native' && kind !== 'wasm') throw fault('OPTION', 'kind', "'native' or 'wasm'", describe(kind))
    const { wasm, threads } = readInit(options)
    if (kind === 'native' && wasm !== undefined) {
      throw fault('OPTION', 'wasm', "nothing for the backend 'native'", describe(wasm))
    }
    const loaded = await loader.load(kind, wasm)
    const own = new Backend(() => loaded)
    own.start()
    own.limitThreads(threads)
    return createApi(own)
  }

  return { init, loadBackend, ...createApi(backend) }
}
