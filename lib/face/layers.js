// Layers with parameters in a backend's memory, and the three attention layers.

import { attentionOutput } from './attention.js'
import { Callable } from './callable.js'
import { cacheResident } from './cache-registry.js'
import { describe, fault, isObject } from '../checks/errors.js'
import { showInConsole } from './inspect.js'
import { encodeConfig, pickOptions, readOptions, withDefaults } from '../checks/options.js'
import { toFamilyNames } from '../names/translate.js'
import { lengthOfPositions } from './rotary.js'
import { checkRotary, readRotaryOptions } from './rotary-options.js'
import { Holder, Resident } from '../runtime/resident.js'
import { widen } from '../numbers/convert.js'
import { encodeState } from '../weights/state.js'
import { checkTensor, elements, withoutMembers } from '../checks/tensor.js'

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
 * True for a layer itself, but not for an object that inherits from one.
 *
 * @type {(value: unknown) => value is Layer<any>}
 */
export let isLayer

/**
 * Replaces the parameters of a layer while its adapters train.
 *
 * @type {WeakMap<object, { stateDict: (options: unknown) => Record<string, Checked>, loadStateDict: (state: unknown,
 *   options: unknown) => void, trainable: () => import('../runtime/resident.js').Trainable }>}
 */
export const overlays = new WeakMap()

/** The method that records a call for its gradients, of layers that no operation of a backend creates. */
export const recorded = Symbol('recorded')

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
    if (!(resident instanceof Holder)) throw new TypeError('Layer is abstract; use one of its subclasses')
    this.#resident = resident
  }

  static {
    residentOf = (layer) => /** @type {Resident} */ (layer.#resident)
    isLayer = /** @type {typeof isLayer} */ ((value) => isObject(value) && #resident in value)
  }

  get numParameters() {
    return residentOf(this)
      .entries()
      .reduce((sum, { shape }) => sum + elements(shape), 0)
  }

  /**
   * @param {unknown} [options]
   * @returns {Record<string, Checked>}
   */
  stateDict(options) {
    const overlay = overlays.get(this)
    if (overlay) return overlay.stateDict(options)
    const { names, type = 'f32' } = pickOptions(options, ['names', 'type'])
    if (type !== 'f32' && type !== 'own') throw fault('OPTION', 'type', "'f32' or 'own'", describe(type))
    const resident = residentOf(this)
    const own = resident.state()
    const state = /** @type {Record<string, Checked>} */ (type === 'own' ? own : widenState(own))
    if (names === undefined) return state
    if (typeof names !== 'string') throw fault('OPTION', 'names', "the name of a family, as 'bert'", describe(names))
    return /** @type {Record<string, Checked>} */ (toFamilyNames(resident.layout(), state, names))
  }

  /**
   * @param {unknown} state
   * @param {unknown} [options]
   */
  loadStateDict(state, options) {
    const resident = residentOf(this)
    const overlay = overlays.get(this)
    if (overlay) overlay.loadStateDict(state, options)
    else resident.load(encodeState(state, options, () => resident.layout()))
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

/** Sinks are a parameter of layers. */
const SINKS = ['sinks']
const SEQUENCE = ['positions', 'cache']
/**
 * The options of each operation that are not those of every attention.
 *
 * @type {Record<keyof typeof SLOTS, readonly string[]>}
 */
const MORE = {
  multiHeadAttention: SEQUENCE,
  transformerEncoderLayer: SEQUENCE,
  transformerDecoderLayer: [...SEQUENCE, 'contextLengths', 'contextCache'],
  decoderLayer: SEQUENCE,
  latentAttention: SEQUENCE
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
  const more = MORE[operation]
  return (layer, watch, ...given) => {
    /** @type {(Checked | undefined)[]} */
    const inputs = []
    for (let index = 0; index < slots; index++) {
      const value = index < names.length ? given[index] : undefined
      // A cache that is filled needs no second tensor.
      const isAbsent = index >= Math.min(required, 1) && (value === undefined || value === null)
      inputs.push(isAbsent ? undefined : checkTensor(names[index], value))
    }
    const options = readOptions(given[names.length], watch, more, SINKS)
    const missing = inputs.findIndex((input, index) => input === undefined && index < required)
    const hasContext = more.includes('contextLengths')
    const filled = hasContext ? options.contextCache : options.cache
    if (missing > 0 && filled === undefined) checkTensor(names[missing], given[missing])
    const length = () => lengthOf(hasContext ? inputs.slice(0, 1) : inputs, options)
    const frequencies = rotaries.get(layer)?.frequencies(length)
    const call = backend.call(operation, ...residentsOf(layer, options, backend))
    for (const input of inputs) call.input(input)
    call.given(options, true)
    if (hasContext) call.integers(options.contextLengths)
    if (more.includes('positions')) {
      call.integers(options.positions?.data, options.positions?.shape).doubles(frequencies)
    }
    return call.named(names).returning(attentionOutput)
  }
}

/**
 * The objects of a call: the layer, its cache, and that of its context. Before the latter, the layer itself stands for
 * an absent cache.
 *
 * @param {Layer} layer
 * @param {Readonly<import('../checks/options.js').CallOptions>} options
 * @param {Backend} backend
 */
function residentsOf(layer, { cache, contextCache }, backend) {
  const own = residentOf(layer)
  const first = cache === undefined ? [] : [cacheResident(cache, backend)]
  if (contextCache === undefined) return [own, ...first]
  return [own, first[0] ?? own, cacheResident(contextCache, backend, 'contextCache')]
}

/** The rotary positions of layers that have any. @type {WeakMap<object, import('./rotary-options.js').Rotary>} */
export const rotaries = new WeakMap()

/**
 * The length of the sequence whose positions a call rotates by.
 *
 * @param {(Checked | undefined)[]} inputs
 * @param {Readonly<import('../checks/options.js').CallOptions>} options
 */
export function lengthOf([query, key], { positions, queryOffset, offset, cache }) {
  const keys = key?.shape[1] ?? 0
  if (positions !== undefined) return Math.max(lengthOfPositions(positions), keys)
  if (cache !== undefined) return cache.length + (query?.shape[1] ?? 0)
  const single = typeof offset === 'number' ? offset : 0
  // Arguments of a function would be limited in number, unlike batch entries.
  const offsets = queryOffset && withoutMembers(queryOffset)
  const first = offsets === undefined ? single : offsets.reduce((a, b) => Math.max(a, b), -Infinity)
  return Math.max((query?.shape[1] ?? 0) + first, keys)
}

/**
 * Splits rotary options off a layer's configuration. Returns the configuration of the kernel crate, and a function that
 * completes a created layer's configuration as described by the kernel crate.
 *
 * @param {unknown} config
 * @param {string} [inner]  the option that holds the attention's settings, if they are not those of the layer
 */
export function splitRotary(config, inner) {
  const outer = withDefaults({}, config, 'config')
  const given = /** @type {any} */ (inner === undefined ? outer : outer[inner])
  const settings = isObject(given) ? /** @type {any} */ (withDefaults({}, given)) : {}
  if (settings.rotary === undefined) {
    return { config, complete: (/** @type {object} */ _layer, /** @type {any} */ shown) => shown }
  }
  const name = inner === undefined ? 'rotary' : `${inner}.rotary`
  const { headDim, modelDim, numHeads, rotaryDim } = /** @type {any} */ ({ ...outer, ...settings })
  const isDivided = typeof modelDim === 'number' && typeof numHeads === 'number'
  const size = headDim ?? rotaryDim ?? (isDivided ? modelDim / numHeads : undefined)
  const options = readRotaryOptions(name, settings.rotary)
  const rotary = checkRotary(`${name}.`, options, Number.isSafeInteger(size) ? size : undefined)
  settings.rotary = rotary.passed
  return {
    config: inner === undefined ? settings : { ...outer, [inner]: settings },
    /** @param {object} layer @param {any} shown */
    complete(layer, shown) {
      rotaries.set(layer, rotary)
      const attention = inner === undefined ? shown : shown[inner]
      const { base, factor, ...described } = attention.rotary
      // Frequencies replace the base, and a scaling has its own factor.
      if (!('frequencies' in rotary.shown)) described.base = base
      if (factor !== undefined && !('scaling' in rotary.shown)) described.factor = factor
      attention.rotary = { ...described, ...rotary.shown }
      return shown
    }
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

/**
 * @param {Backend} backend
 * @param {ReturnType<typeof import('./cache.js').createCache>['createCacheOf']} createCacheOf
 */
export function createLayers(backend, createCacheOf) {
  class AttentionLayer extends Layer {
    /** @type {Config} */
    #config

    /**
     * @param {'createMultiHeadAttention' | 'createSelfAttention' | 'createCrossAttention'} operation
     * @param {unknown} config
     * @param {import('./callable.js').Prepare<AttentionOutput>} prepare
     */
    constructor(operation, config, prepare) {
      const { config: rest, complete } = splitRotary(config)
      const resident = new Resident(backend, operation, encodeConfig(rest))
      super(resident, prepare)
      this.#config = freezeConfig(complete(this, resident.describe()))
    }

    get config() {
      return this.#config
    }

    /** @param {unknown} options */
    createCache(options) {
      return createCacheOf(/** @type {any} */ (this.#config), options)
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
