// Attention objects that keep their settings: ScaledDotProductAttention and FlashAttention. They own no backend memory.

import { attend, prepareAttention } from './attention.js'
import { Callable } from './callable.js'
import { fault } from '../checks/errors.js'
import { showInConsole } from './inspect.js'
import { encodeConfig, readOptions, withDefaults } from '../checks/options.js'
import { checkTensor, formatShape } from '../checks/tensor.js'

/** @typedef {import('../checks/tensor.js').Checked} Checked */
/** @typedef {import('../runtime/backend.js').Backend} Backend */
/**
 * Results of a call; index.d.ts derives their types from the requested options.
 *
 * @typedef {Required<import('../../index.d.ts').AttentionOutput>} AttentionOutput
 */

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
 * The options that calls of these objects start from, by object.
 *
 * @type {WeakMap<object, { operation: 'scaledDotProductAttention' | 'flashAttention', headDim: number, defaults:
 *   Record<string, unknown> }>}
 */
export const settings = new WeakMap()

/**
 * @param {Backend} backend
 * @param {ReturnType<typeof import('./attention.js').createFunctions>} functions
 */
export function createHeads(backend, functions) {
  /** @extends {Callable<AttentionOutput>} */
  class ScaledDotProductAttention extends Callable {
    #headDim
    #scale
    #defaults

    /**
     * @param {number} headDim
     * @param {unknown} [options]
     */
    constructor(headDim, options) {
      super(ScaledDotProductAttention.#prepare)
      this.#defaults = readSettings(backend, 'scaledDotProductOptions', headDim, options)
      this.#headDim = headDim
      settings.set(this, { operation: 'scaledDotProductAttention', headDim, defaults: this.#defaults })
      this.#scale = /** @type {number | undefined} */ (this.#defaults.scale) ?? 1 / Math.sqrt(headDim)
    }

    get headDim() {
      return this.#headDim
    }

    get scale() {
      return this.#scale
    }

    /**
     * @param {ScaledDotProductAttention} attention
     * @param {import('../runtime/async/watch.js').Watch | undefined} watch
     * @param {unknown} q
     * @param {unknown} k
     * @param {unknown} v
     * @param {unknown} [options]
     */
    static #prepare(attention, watch, q, k, v, options) {
      const query = checkQuery(q, attention.#headDim)
      return prepareAttention(backend, query, k, v, withDefaults(attention.#defaults, options), watch)
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

  /** @extends {Callable<AttentionOutput>} */
  class FlashAttention extends Callable {
    #headDim
    #blockSize

    /**
     * @param {number} headDim
     * @param {unknown} [options]
     */
    constructor(headDim, options) {
      super(FlashAttention.#prepare)
      const { blockSize = 64 } = readSettings(backend, 'flashOptions', headDim, options)
      this.#headDim = headDim
      this.#blockSize = /** @type {number} */ (blockSize)
      settings.set(this, { operation: 'flashAttention', headDim, defaults: { blockSize } })
    }

    get headDim() {
      return this.#headDim
    }

    get blockSize() {
      return this.#blockSize
    }

    /**
     * @param {FlashAttention} attention
     * @param {import('../runtime/async/watch.js').Watch | undefined} watch
     * @param {unknown} q
     * @param {unknown} k
     * @param {unknown} v
     * @param {unknown} [options]
     */
    static #prepare(attention, watch, q, k, v, options) {
      const query = checkQuery(q, attention.#headDim)
      const inputs = [query, checkTensor('k', k), checkTensor('v', v)]
      const given = readOptions(withDefaults({ blockSize: attention.#blockSize }, options), watch)
      return attend(backend, 'flashAttention', inputs, given)
    }
  }

  showInConsole(ScaledDotProductAttention, ({ headDim, scale }) => ({ headDim, scale }))
  showInConsole(FlashAttention, ({ headDim, blockSize }) => ({ headDim, blockSize }))

  return { ScaledDotProductAttention, FlashAttention }
}
