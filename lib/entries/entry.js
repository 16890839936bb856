// The exports of every entry, made from a loader for its runtime.

import { Backend, checkThreads } from '../runtime/backend.js'
import { describe, fault } from '../checks/errors.js'
import { checkLog } from '../runtime/log.js'
import { pickOptions } from '../checks/options.js'

/** @typedef {import('../runtime/backend.js').Loaded} Loaded */
/** @typedef {import('../../index.d.ts').BackendKind} BackendKind */
/**
 * Finds the backend of a runtime.
 *
 * - `loadSync`: loads at once, or throws NOT_INITIALIZED.
 * - `load`: asynchronously loads one kind of backend, or the best available; WebAssembly comes from `source` or the
 *   package.
 * - `log`: returns the receiver of log lines if the environment asks for a log.
 *
 * @typedef {object} Loader
 * @property {() => Loaded} loadSync
 * @property {(kind?: BackendKind, source?: import('../loaders/wasm.js').Source) => Promise<Loaded>} load
 * @property {() => import('../runtime/log.js').Write | undefined} [log]
 */

/** @param {unknown} options */
function readInit(options) {
  const { wasm, patch, threads, log, amx } = pickOptions(options, ['wasm', 'patch', 'threads', 'log', 'amx'])
  if (wasm === undefined && patch !== undefined) {
    throw fault('OPTION', 'patch', 'nothing without the option `wasm`', describe(patch))
  }
  const source = wasm === undefined ? undefined : { wasm, patch }
  if (amx !== undefined && typeof amx !== 'boolean') throw fault('OPTION', 'amx', 'a boolean', describe(amx))
  return { source, threads: checkThreads(threads), log: checkLog(log), amx }
}

/**
 * @template {object} Api
 * @param {Loader} loader
 * @param {(backend: Backend) => Api} createApi
 */
export function createEntry(loader, createApi) {
  const backend = new Backend(loader.loadSync, loader.log)
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
    if (given.amx) backend.requestAmx()
    backend.logTo(given.log)
    running ??= begin(given.source).catch((error) => {
      running = undefined
      throw error
    })
    return running
  }

  /** @param {import('../loaders/wasm.js').Source | undefined} source */
  async function begin(source) {
    if (!backend.binding) await backend.startWith(() => loader.load(undefined, source))
  }

  /**
   * @param {BackendKind} kind
   * @param {unknown} [options]
   */
  async function loadBackend(kind, options) {
    if (kind !== 'native' && kind !== 'wasm') throw fault('OPTION', 'kind', "'native' or 'wasm'", describe(kind))
    const { source, threads, log, amx } = readInit(options)
    if (kind === 'native' && source !== undefined) {
      throw fault('OPTION', 'wasm', "nothing for the backend 'native'", describe(source.wasm))
    }
    const own = new Backend(loader.loadSync, loader.log)
    own.limitThreads(threads)
    if (amx) own.requestAmx()
    own.logTo(log)
    await own.startWith(() => loader.load(kind, source))
    return createApi(own)
  }

  return { init, loadBackend, ...createApi(backend) }
}
