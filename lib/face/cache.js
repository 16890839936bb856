// The key/value cache, which keeps keys and values in the backend's memory during decoding.

import { attend } from './attention.js'
import { showInConsole } from './inspect.js'
import { disposeSymbol } from './layers.js'
import { encodeConfig, readOptions, splitOptions } from '../checks/options.js'
import { Resident } from '../runtime/resident.js'
import { checkTensor } from '../checks/tensor.js'

/**
 * @typedef {{ batch: number, kvHeads: number, headDim: number, valueDim: number, capacity: number, window?: number }}
 *   Config
 */

/** @param {import('../runtime/backend.js').Backend} backend */
export function createCache(backend) {
  class KVCache {
    #resident
    /** @type {Readonly<Config>} */
    #config
    #length = 0

    /** @param {unknown} config */
    constructor(config) {
      this.#resident = new Resident(backend, 'createKVCache', encodeConfig(config))
      this.#config = Object.freeze(this.#resident.describe())
    }

    get config() {
      return this.#config
    }

    get capacity() {
      return this.#config.capacity
    }

    get length() {
      this.#resident.use()
      return this.#length
    }

    /**
     * @param {unknown} k
     * @param {unknown} v
     * @param {unknown} [options]
     */
    append(k, v, options) {
      const [key, value] = [checkTensor('k', k), checkTensor('v', v)]
      const { values, json } = splitOptions('options', options, [])
      backend.call('kvCacheAppend', this.#resident).input(key).input(value).options(json).run()
      this.#length += key.shape[key.shape.length === 4 && values.layout === 'blhd' ? 1 : key.shape.length - 2]
      return this
    }

    /**
     * @param {unknown} q
     * @param {unknown} [options]
     * @returns {Required<import('../../index.d.ts').AttentionOutput>}
     */
    attend(q, options) {
      const query = checkTensor('q', q)
      const given = readOptions(options)
      return attend(backend, 'kvCacheAttend', [query], given, this.#resident).run()
    }

    /** @param {number} length */
    truncate(length) {
      const json = encodeConfig({ length })
      backend.call('kvCacheTruncate', this.#resident).options(json).run()
      this.#length = length
      return this
    }

    dispose() {
      this.#resident.dispose()
    }

    [disposeSymbol]() {
      this.dispose()
    }
  }

  showInConsole(KVCache, (cache) => ({ ...cache.config, length: cache.length, backend: backend.kind }))

  return { KVCache }
}
