// The key/value cache, which keeps keys and values in the backend's memory during decoding.

import { attend } from './attention.js'
import { registerCache } from './cache-registry.js'
import { isArray } from '../checks/errors.js'
import { showInConsole } from './inspect.js'
import { disposeSymbol } from './layers.js'
import { arrayType, checkArray, checkTensor } from '../checks/tensor.js'
import { encodeConfig, pickOptions, readOptions, splitOptions } from '../checks/options.js'
import { Resident } from '../runtime/resident.js'

/**
 * @typedef {{ batch: number, kvHeads: number, headDim: number, valueDim: number, capacity: number, window?: number,
 *   valuesInKeys?: true }} Config
 */

/** @param {import('../runtime/backend.js').Backend} backend */
export function createCache(backend) {
  class KVCache {
    #resident
    /** @type {Readonly<Config>} */
    #config

    /** @param {unknown} config */
    constructor(config) {
      this.#resident = new Resident(backend, 'createKVCache', encodeConfig(config))
      this.#config = Object.freeze(this.#resident.describe())
      registerCache(this, this.#resident, backend)
    }

    get config() {
      return this.#config
    }

    get capacity() {
      return this.#config.capacity
    }

    get length() {
      return Math.max(...this.lengths)
    }

    /** @returns {Int32Array} */
    get lengths() {
      const { data } = backend.call('kvCacheLengths', this.#resident).run()
      return data
    }

    /**
     * @param {unknown} k
     * @param {unknown} v
     * @param {unknown} [options]
     */
    append(k, v, options) {
      const [key, value] = [checkTensor('k', k), checkTensor('v', v)]
      const { values, json } = splitOptions('options', options, ['lengths'])
      /** @type {Int32Array | undefined} */
      const lengths = values.lengths === undefined ? undefined : checkArray('lengths', values.lengths, 'Int32Array')
      const call = backend.call('kvCacheAppend', this.#resident).input(key).input(value)
      call.integers(lengths).options(json).run()
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

    /**
     * @param {unknown} length
     * @returns {this}
     */
    truncate(length) {
      const isList = isArray(length) || arrayType(length) !== undefined
      /** @type {Int32Array | undefined} */
      const lengths = isList ? checkArray('length', length, 'Int32Array') : undefined
      const json = isList ? undefined : encodeConfig({ length })
      backend.call('kvCacheTruncate', this.#resident).integers(lengths).options(json).run()
      return this
    }

    /** @param {unknown} entries */
    reorder(entries) {
      /** @type {Int32Array} */
      const indices = checkArray('entries', entries, 'Int32Array')
      backend.call('kvCacheReorder', this.#resident).integers(indices).run()
      return this
    }

    /** @returns {KVCache} */
    clone() {
      this.#resident.use()
      const copy = new KVCache(this.#config)
      try {
        backend.call('kvCacheCopy', copy.#resident, this.#resident).run()
      } catch (error) {
        copy.dispose()
        throw error
      }
      return copy
    }

    /** @param {unknown} [options] */
    read(options) {
      const json = encodeConfig(pickOptions(options, ['layout']), 'options')
      const call = backend.call('kvCacheRead', this.#resident).options(json)
      return call.returning(([keys, values, starts]) => ({ keys, values, starts: starts.data })).run()
    }

    dispose() {
      this.#resident.dispose()
    }

    [disposeSymbol]() {
      this.dispose()
    }
  }

  showInConsole(KVCache, (cache) => ({ ...cache.config, length: cache.length, backend: backend.kind }))

  /**
   * A cache for the keys and values of an attention layer.
   *
   * @param {Pick<Config, 'kvHeads' | 'headDim'> & Partial<Config>} sizes
   * @param {unknown} options
   */
  function createCacheOf({ kvHeads, headDim, valueDim, valuesInKeys }, options) {
    const given = pickOptions(options, ['batch', 'capacity', 'window', 'type'])
    return new KVCache({ ...given, kvHeads, headDim, valueDim, valuesInKeys })
  }

  return { KVCache, createCacheOf }
}
