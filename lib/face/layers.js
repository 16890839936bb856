// Layers with parameters in a backend's memory, and the three attention layers.

import { later } from '../runtime/async/watch.js'
import { attentionOutput } from './attention.js'
import { describe, fault } from '../checks/errors.js'
import { showInConsole } from './inspect.js'
import { encodeConfig, readOptions, withDefaults } from '../checks/options.js'
import { Resident } from '../runtime/resident.js'
import { encodeState } from '../weights/state.js'
import { checkTensor, elements } from '../checks/tensor.js'

/** @typedef {import('../checks/tensor.js').Checked} Checked */
/** @typedef {import('../runtime/backend.js').Backend} Backend */
/** Results of a call; index.d.ts types them by the options that ask for them. @typedef {Required<import('../../index.d.ts').AttentionOutput>} AttentionOutput */
/** @typedef {import('../../index.d.ts').MultiHeadAttention['config']} Config */

/**
 * If an engine lacks Symbol.dispose, compilers' `using` helpers fall back to this registered symbol.
 *
 * @type {typeof Symbol.dispose}
 */
export const disposeSymbol = /** @type {typeof Symbol.dispose} */ (Symbol.dispose ?? Symbol.for('Symbol.dispose'))

/**
 * The resident part of a layer.
 *
 * @type {(layer: Layer) => Resident}
 */
export let residentOf

export class Layer {
  /** @type {Resident | undefined} */
  #resident

  /**
   * Only for subclasses inside the package; subclasses by users cannot construct a layer.
   *
   * @param {Resident} [resident]
   */
  constructor(resident) {
    if (!(resident instanceof Resident)) throw new TypeError('Layer is abstract; use one of its subclasses')
    this.#resident = resident
  }

  static {
    residentOf = (layer) => /** @type {Resident} */ (layer.#resident)
  }

  get numParameters() {
    return residentOf(this)
      .entries()
      .reduce((sum, { shape }) => sum + elements(shape), 0)
  }

  /** @returns {Record<string, Checked>} */
  stateDict() {
    return residentOf(this).state()
  }

  /**
   * @param {unknown} state
   * @param {unknown} [options]
   */
  loadStateDict(state, options) {
    residentOf(this).load(encodeState(state, options))
    return this
  }

  /** @param {boolean} [mode] */
  train(mode = true) {
    if (typeof mode !== 'boolean') throw fault('OPTION', 'mode', 'a boolean', describe(mode))
    const resident = residentOf(this)
    resident.use()
    resident.training = mode
    return this
  }

  dispose() {
    residentOf(this).dispose()
  }

  [disposeSymbol]() {
    this.dispose()
  }
}

showInConsole(Layer, (layer) => ({
  .../** @type {{ config?: object }} */ (/** @type {unknown} */ (layer)).config,
  numParameters: layer.numParameters,
  backend: residentOf(layer).backendKind
}))

/**
 * Prepares one call of a layer that contains attention; `names` are the caller's names of its arguments.
 *
 * @param {Backend} backend
 * @param {Layer} layer
 * @param {readonly string[]} names
 * @param {unknown} q
 * @param {unknown} k
 * @param {unknown} v
 * @param {unknown} options
 * @param {import('../runtime/async/watch.js').Watch} [watch]
 * @param {'multiHeadAttention' | 'transformerEncoderLayer'} [operation]
 * @returns {import('../runtime/call.js').PreparedCall<AttentionOutput>}
 */
export function attend(backend, layer, names, q, k, v, options, watch, operation = 'multiHeadAttention') {
  const query = checkTensor(names[0], q)
  const key = k === undefined || k === null ? undefined : checkTensor(names[1], k)
  const value = v === undefined || v === null ? undefined : checkTensor(names[2], v)
  const given = readOptions(options, watch)
  const call = backend.call(operation, residentOf(layer)).input(query)
  if (operation === 'multiHeadAttention') call.input(key).input(value)
  return call.given(given).named(names).returning(attentionOutput)
}

/**
 * The configuration with the head size that follows from the size of the input, unless it is given.
 *
 * @param {unknown} config
 */
function withHeadDim(config) {
  const given = withDefaults({}, config ?? undefined, 'config')
  const { headDim, modelDim, numHeads } = given
  if (headDim === undefined && typeof modelDim === 'number' && typeof numHeads === 'number') {
    const size = modelDim / numHeads
    if (Number.isInteger(size)) given.headDim = size
  }
  return config === undefined || config === null ? config : given
}

/** @param {Backend} backend */
export function createLayers(backend) {
  class AttentionLayer extends Layer {
    /** @type {Config} */
    #config

    /**
     * @param {'createMultiHeadAttention' | 'createSelfAttention' | 'createCrossAttention'} operation
     * @param {unknown} config
     */
    constructor(operation, config) {
      const resident = new Resident(backend, operation, encodeConfig(withHeadDim(config)))
      super(resident)
      const described = resident.describe()
      if (described.rotary) Object.freeze(described.rotary)
      this.#config = Object.freeze(described)
    }

    get config() {
      return this.#config
    }
  }

  class MultiHeadAttention extends AttentionLayer {
    /** @param {unknown} config */
    constructor(config) {
      super('createMultiHeadAttention', config)
    }

    /**
     * @param {unknown} q
     * @param {unknown} [k]
     * @param {unknown} [v]
     * @param {unknown} [options]
     */
    forward(q, k, v, options) {
      return attend(backend, this, ['q', 'k', 'v'], q, k, v, options).run()
    }

    /**
     * @param {unknown} q
     * @param {unknown} [k]
     * @param {unknown} [v]
     * @param {unknown} [options]
     */
    forwardAsync(q, k, v, options) {
      return later((watch) => attend(backend, this, ['q', 'k', 'v'], q, k, v, options, watch))
    }
  }

  class SelfAttention extends AttentionLayer {
    /** @param {unknown} config */
    constructor(config) {
      super('createSelfAttention', config)
    }

    /**
     * @param {unknown} x
     * @param {unknown} [options]
     */
    forward(x, options) {
      return attend(backend, this, ['x'], x, undefined, undefined, options).run()
    }

    /**
     * @param {unknown} x
     * @param {unknown} [options]
     */
    forwardAsync(x, options) {
      return later((watch) => attend(backend, this, ['x'], x, undefined, undefined, options, watch))
    }
  }

  class CrossAttention extends AttentionLayer {
    /** @param {unknown} config */
    constructor(config) {
      super('createCrossAttention', config)
    }

    /**
     * @param {unknown} query
     * @param {unknown} context
     * @param {unknown} [options]
     */
    forward(query, context, options) {
      return this.#attend(query, context, options).run()
    }

    /**
     * @param {unknown} query
     * @param {unknown} context
     * @param {unknown} [options]
     */
    forwardAsync(query, context, options) {
      return later((watch) => this.#attend(query, context, options, watch))
    }

    /**
     * @param {unknown} query
     * @param {unknown} context
     * @param {unknown} options
     * @param {import('../runtime/async/watch.js').Watch} [watch]
     */
    #attend(query, context, options, watch) {
      // Required here, although the other layers accept its absence.
      checkTensor('context', context)
      return attend(backend, this, ['query', 'context'], query, context, undefined, options, watch)
    }
  }

  return { MultiHeadAttention, SelfAttention, CrossAttention }
}
