// Layers with parameters in a backend's memory, and the three attention layers.

import { attentionOutput } from './attention.js'
import { Callable } from './callable.js'
import { describe, fault } from '../checks/errors.js'
import { showInConsole } from './inspect.js'
import { encodeConfig, pickOptions, readOptions } from '../checks/options.js'
import { toFamilyNames } from '../names/translate.js'
import { Resident } from '../runtime/resident.js'
import { widen } from '../weights/convert.js'
import { encodeState } from '../weights/state.js'
import { checkTensor, elements } from '../checks/tensor.js'

/** @typedef {import('../checks/tensor.js').Checked} Checked */
/** @typedef {import('../runtime/backend.js').Backend} Backend */
/**
 * Results of a call; index.d.ts derives their types from the requested options.
 *
 * @typedef {Required<import('../../index.d.ts').AttentionOutput>} AttentionOutput
 */
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
 * @type {(layer: Layer<any>) => Resident}
 */
export let residentOf

/**
 * @template [Result=AttentionOutput]
 * @extends {Callable<Result>}
 */
export class Layer extends Callable {
  /** @type {Resident | undefined} */
  #resident

  /**
   * Only for subclasses inside the package; subclasses by users cannot construct a layer.
   *
   * @param {Resident} [resident]
   * @param {import('./callable.js').Prepare<Result>} [prepare]
   */
  constructor(resident, prepare) {
    super(/** @type {import('./callable.js').Prepare<Result>} */ (prepare))
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

  /**
   * @param {unknown} [options]
   * @returns {Record<string, import('../names/translate.js').Parameter>}
   */
  stateDict(options) {
    const { names, type = 'f32' } = pickOptions(options, ['names', 'type'])
    if (type !== 'f32' && type !== 'own') throw fault('OPTION', 'type', "'f32' or 'own'", describe(type))
    const resident = residentOf(this)
    const own = resident.state()
    const state = /** @type {Record<string, Checked>} */ (type === 'own' ? own : widenState(own))
    if (names === undefined) return state
    if (typeof names !== 'string') throw fault('OPTION', 'names', "the name of a family, as 'bert'", describe(names))
    return toFamilyNames(resident.layout(), state, names)
  }

  /**
   * @param {unknown} state
   * @param {unknown} [options]
   */
  loadStateDict(state, options) {
    const resident = residentOf(this)
    resident.load(encodeState(state, options, () => resident.layout()))
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
 * The same parameters as 32-bit floats.
 *
 * @param {Record<string, import('../../index.d.ts').Weight>} state
 */
function widenState(state) {
  const entries = Object.entries(state).map(([name, weight]) => {
    const { type = 'f32', shape, ...rest } = /** @type {import('../checks/tensor.js').CheckedWeight} */ (weight)
    return /** @type {const} */ ([name, { data: widen({ type, shape, ...rest }), shape }])
  })
  return Object.fromEntries(entries)
}

showInConsole(Layer, (layer) => ({
  .../** @type {{ config?: object }} */ (/** @type {unknown} */ (layer)).config,
  numParameters: layer.numParameters,
  backend: residentOf(layer).backendKind
}))

/** The number of tensors that each operation takes. */
const SLOTS = {
  multiHeadAttention: 3,
  transformerEncoderLayer: 1,
  transformerDecoderLayer: 2,
  decoderLayer: 1,
  latentAttention: 1
}

/** Array options of attention that calls of layers do not have: sinks are a parameter. */
const WITHOUT = ['sinks', 'contextLengths']
const WITHOUT_PACKED = ['sinks', 'relativeBias', 'cuSeqlens', 'cuSeqlensKeys']

/** The same for each operation. */
const MISSING = {
  multiHeadAttention: WITHOUT,
  transformerEncoderLayer: WITHOUT,
  transformerDecoderLayer: WITHOUT_PACKED,
  decoderLayer: [...WITHOUT_PACKED, 'contextLengths'],
  latentAttention: [...WITHOUT_PACKED, 'contextLengths']
}

/**
 * Returns the function that prepares calls of a layer with attention, whose arguments are tensors followed by options.
 *
 * @param {Backend} backend
 * @param {keyof typeof SLOTS} operation
 * @param {readonly string[]} names  of the tensors
 * @param {number} [required]  number of tensors that must be given
 * @returns {import('./callable.js').Prepare<AttentionOutput>}
 */
export function layerCall(backend, operation, names, required = names.length) {
  const slots = SLOTS[operation]
  const hasContext = operation === 'transformerDecoderLayer'
  return (layer, watch, ...given) => {
    /** @type {(Checked | undefined)[]} */
    const inputs = []
    for (let index = 0; index < slots; index++) {
      const value = index < names.length ? given[index] : undefined
      const isAbsent = index >= required && (value === undefined || value === null)
      inputs.push(isAbsent ? undefined : checkTensor(names[index], value))
    }
    const options = readOptions(given[names.length], watch, MISSING[operation])
    const call = backend.call(operation, residentOf(layer))
    for (const input of inputs) call.input(input)
    call.given(options)
    if (hasContext) call.integers(options.contextLengths)
    return call.named(names).returning(attentionOutput)
  }
}

/**
 * Freezes a configuration and the objects in it.
 *
 * @template {object} Config
 * @param {Config} config
 */
export function freezeConfig(config) {
  for (const value of Object.values(config)) {
    if (value !== null && typeof value === 'object') freezeConfig(value)
  }
  return Object.freeze(config)
}

/** @param {Backend} backend */
export function createLayers(backend) {
  class AttentionLayer extends Layer {
    /** @type {Config} */
    #config

    /**
     * @param {'createMultiHeadAttention' | 'createSelfAttention' | 'createCrossAttention'} operation
     * @param {unknown} config
     * @param {import('./callable.js').Prepare<AttentionOutput>} prepare
     */
    constructor(operation, config, prepare) {
      const resident = new Resident(backend, operation, encodeConfig(config))
      super(resident, prepare)
      this.#config = freezeConfig(resident.describe())
    }

    get config() {
      return this.#config
    }
  }

  const prepareMultiHead = layerCall(backend, 'multiHeadAttention', ['q', 'k', 'v'], 1)
  const prepareSelf = layerCall(backend, 'multiHeadAttention', ['x'])
  const prepareCross = layerCall(backend, 'multiHeadAttention', ['query', 'context'])

  class MultiHeadAttention extends AttentionLayer {
    /** @param {unknown} config */
    constructor(config) {
      super('createMultiHeadAttention', config, prepareMultiHead)
    }
  }

  class SelfAttention extends AttentionLayer {
    /** @param {unknown} config */
    constructor(config) {
      super('createSelfAttention', config, prepareSelf)
    }
  }

  class CrossAttention extends AttentionLayer {
    /** @param {unknown} config */
    constructor(config) {
      super('createCrossAttention', config, prepareCross)
    }
  }

  return { MultiHeadAttention, SelfAttention, CrossAttention }
}
