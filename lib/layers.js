// Layers: parameters that live in a backend, and the three attention layers over them.

import { later } from './async/watch.js'
import { describe, fault } from './errors.js'
import { encodeConfig, readOptions, readPrefix } from './options.js'
import { Resident } from './resident.js'
import { encodeState } from './state.js'
import { allocateTensor, checkTensor, elements, outputFor, withLast } from './tensor.js'

/** @typedef {import('./tensor.js').Checked} Checked */
/** @typedef {import('./backend.js').Backend} Backend */
/** @typedef {import('../index.d.ts').AttentionOutput} AttentionOutput */
/** @typedef {import('../index.d.ts').MultiHeadAttention['config']} Config */

/**
 * Where an engine has no such symbol, the `using` that compilers write falls back to this registered one.
 *
 * @type {typeof Symbol.dispose}
 */
export const disposeSymbol = /** @type {typeof Symbol.dispose} */ (Symbol.dispose ?? Symbol.for('Symbol.dispose'))

/**
 * The part of a layer that lives in the backend's memory.
 *
 * @type {(layer: Layer) => Resident}
 */
export let residentOf

export class Layer {
  /** @type {Resident | undefined} */
  #resident

  /**
   * What subclasses of the package hand up; a subclass of a user's cannot make one.
   *
   * @param {Resident} [resident]
   */
  constructor(resident) {
    if (!(resident instanceof Resident)) throw new TypeError('Layer is abstract: make one of its subclasses')
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
    const prefix = readPrefix(options)
    residentOf(this).load(encodeState(state, prefix), prefix)
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

/**
 * One call of a layer with attention inside; `names` are those of its arguments.
 *
 * @param {Backend} backend
 * @param {Layer & { config: Pick<Config, 'modelDim' | 'numHeads'> & { feedForwardDim?: number } }} layer
 * @param {readonly string[]} names
 * @param {unknown} q
 * @param {unknown} k
 * @param {unknown} v
 * @param {unknown} options
 * @param {import('./async/watch.js').Watch} [watch]
 * @param {string} [operation]
 * @returns {import('./call.js').Ready<AttentionOutput>}
 */
export function attend(backend, layer, names, q, k, v, options, watch, operation = 'multiHeadAttention') {
  const query = checkTensor(names[0], q)
  const key = k === undefined || k === null ? undefined : checkTensor(names[1], k)
  const value = v === undefined || v === null ? undefined : checkTensor(names[2], v)
  const given = readOptions(options, watch)
  // Once: a subclass may have a getter of its own.
  const { config } = layer
  const { modelDim, numHeads } = config

  const inputs = given.out && [query.data, key?.data, value?.data, given.floatMask, given.booleanMask]
  const output = outputFor(given.out, withLast(query.shape, modelDim), inputs ?? [])
  /** @type {AttentionOutput} */
  const result = { output }
  if ((given.weights === true || given.averageWeights === true) && query.shape.length === 3) {
    const [batch, length] = query.shape
    const keys = (key ?? query).shape[1] ?? 0
    const rows = given.averageWeights === true ? [batch, length, keys] : [batch, numHeads, length, keys]
    result.weights = allocateTensor('weights', rows)
  }

  const call = backend
    .call(operation, residentOf(layer))
    .input(query)
    .input(key)
    .input(value)
    .given(given)
    .output(output.data)
    .output(result.weights?.data)
    .named(names)
  // Rows of one sequence can be computed apart.
  if (query.shape[0] === 1 && !result.weights) call.divisible(operationsOf(query, key ?? query, config))
  return call.returning(result)
}

/**
 * About how many operations a layer takes: projections, attention, and the network behind it where there is one.
 *
 * @param {Checked} query
 * @param {Checked} key
 * @param {{ modelDim: number, feedForwardDim?: number }} config
 */
const operationsOf = (query, key, { modelDim, feedForwardDim = 0 }) =>
  4 * query.data.length * (2 * modelDim + (key.shape[1] ?? 0) + feedForwardDim)

/** @param {Backend} backend */
export function createLayers(backend) {
  class AttentionLayer extends Layer {
    /** @type {Config} */
    #config

    /**
     * @param {string} kind
     * @param {unknown} config
     */
    constructor(kind, config) {
      const resident = new Resident(backend, kind, encodeConfig(config))
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
      super('multi-head', config)
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
      super('self', config)
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
      super('cross', config)
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
     * @param {import('./async/watch.js').Watch} [watch]
     */
    #attend(query, context, options, watch) {
      // Required here, where the other layers may leave it out.
      checkTensor('context', context)
      return attend(backend, this, ['query', 'context'], query, context, undefined, options, watch)
    }
  }

  return { MultiHeadAttention, SelfAttention, CrossAttention }
}
