// Attention objects that keep their settings: ScaledDotProductAttention and FlashAttention. They own no backend memory.

import { attend } from './attention.js'
import { later } from '../runtime/async/watch.js'
import { fault } from '../checks/errors.js'
import { showInConsole } from './inspect.js'
import { encodeConfig, readOptions, withDefaults } from '../checks/options.js'
import { checkTensor, formatShape } from '../checks/tensor.js'

/** @typedef {import('../checks/tensor.js').Checked} Checked */
/** @typedef {import('../runtime/backend.js').Backend} Backend */
/** Results of a call; index.d.ts types them by the options that ask for them. @typedef {Required<import('../../index.d.ts').AttentionOutput>} AttentionOutput */

/**
 * Reads the options of a constructor, and checks them together with the head size.
 *
 * @param {Backend} backend
 * @param {'scaledDotProductOptions' | 'flashOptions'} operation
 * @param {unknown} headDim
 * @param {unknown} options
 */
function readSettings(backend, operation, headDim, options) {
  const given = withDefaults({}, options)
  if (given.headDim !== undefined)
    throw fault('OPTION', 'headDim', 'no such option, as it is the first argument', 'an option')
  // Encode before the call begins: values may have getters that re-enter the API.
  const json = encodeConfig({ ...given, headDim })
  backend.call(operation).options(json).run()
  return given
}

/**
 * @param {unknown} q
 * @param {number} headDim
 */
function checkQuery(q, headDim) {
  const query = checkTensor('q', q)
  if ((query.shape.at(-1) ?? 1) !== headDim) throw fault('SHAPE', 'q', `head size ${headDim}`, formatShape(query.shape))
  return query
}

/**
 * @param {Backend} backend
 * @param {ReturnType<typeof import('./attention.js').createFunctions>} functions
 */
export function createHeads(backend, functions) {
  class ScaledDotProductAttention {
    #headDim
    #scale
    #defaults

    /**
     * @param {number} headDim
     * @param {unknown} [options]
     */
    constructor(headDim, options) {
      this.#defaults = readSettings(backend, 'scaledDotProductOptions', headDim, options)
      this.#headDim = headDim
      this.#scale = /** @type {number | undefined} */ (this.#defaults.scale) ?? 1 / Math.sqrt(headDim)
    }

    get headDim() {
      return this.#headDim
    }

    get scale() {
      return this.#scale
    }

    /**
     * @param {unknown} q
     * @param {unknown} k
     * @param {unknown} v
     * @param {unknown} [options]
     * @returns {AttentionOutput}
     */
    forward(q, k, v, options) {
      const query = checkQuery(q, this.#headDim)
      return functions.scaledDotProductAttention(query, k, v, withDefaults(this.#defaults, options))
    }

    /**
     * @param {unknown} q
     * @param {unknown} k
     * @param {unknown} v
     * @param {unknown} [options]
     * @returns {Promise<AttentionOutput>}
     */
    async forwardAsync(q, k, v, options) {
      const query = checkQuery(q, this.#headDim)
      return functions.scaledDotProductAttentionAsync(query, k, v, withDefaults(this.#defaults, options))
    }

    /**
     * @param {unknown} q
     * @param {unknown} k
     * @param {unknown} [options]
     * @returns {Checked}
     */
    attentionWeights(q, k, options) {
      const query = checkQuery(q, this.#headDim)
      return functions.attentionWeights(query, k, withDefaults(this.#defaults, options))
    }
  }

  class FlashAttention {
    #headDim
    #blockSize

    /**
     * @param {number} headDim
     * @param {unknown} [options]
     */
    constructor(headDim, options) {
      const { blockSize = 64 } = readSettings(backend, 'flashOptions', headDim, options)
      this.#headDim = headDim
      this.#blockSize = /** @type {number} */ (blockSize)
    }

    get headDim() {
      return this.#headDim
    }

    get blockSize() {
      return this.#blockSize
    }

    /**
     * @param {unknown} q
     * @param {unknown} k
     * @param {unknown} v
     * @param {unknown} [options]
     * @returns {AttentionOutput}
     */
    forward(q, k, v, options) {
      return this.#attend(q, k, v, options).run()
    }

    /**
     * @param {unknown} q
     * @param {unknown} k
     * @param {unknown} v
     * @param {unknown} [options]
     * @returns {Promise<AttentionOutput>}
     */
    forwardAsync(q, k, v, options) {
      return later((watch) => this.#attend(q, k, v, options, watch))
    }

    /**
     * @param {unknown} q
     * @param {unknown} k
     * @param {unknown} v
     * @param {unknown} options
     * @param {import('../runtime/async/watch.js').Watch} [watch]
     */
    #attend(q, k, v, options, watch) {
      const query = checkQuery(q, this.#headDim)
      const inputs = [query, checkTensor('k', k), checkTensor('v', v)]
      const given = readOptions(withDefaults({ blockSize: this.#blockSize }, options), watch)
      return attend(backend, 'flashAttention', inputs, given)
    }
  }

  showInConsole(ScaledDotProductAttention, ({ headDim, scale }) => ({ headDim, scale }))
  showInConsole(FlashAttention, ({ headDim, blockSize }) => ({ headDim, blockSize }))

  return { ScaledDotProductAttention, FlashAttention }
}
