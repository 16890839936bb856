// Layers: parameters that live in a backend, and the three attention layers over them.

import { outputFor } from './attention.js'
import { AttentionError, describe, fault } from './errors.js'
import { addShape, header, startHeader } from './header.js'
import { encodeConfig, readOptions, readPrefix } from './options.js'
import { decodeState, encodeState } from './safetensors.js'
import { allocate, checkTensor, elements } from './tensor.js'

/** @typedef {import('./tensor.js').Checked} Checked */
/** @typedef {import('./backend.js').Backend} Backend */
/** @typedef {import('./binding.d.ts').LayerHandle} LayerHandle */
/** @typedef {import('./binding.d.ts').MultiHeadAttentionHandle} MultiHeadAttentionHandle */
/** @typedef {import('../index.d.ts').AttentionOutput} AttentionOutput */
/** @typedef {import('../index.d.ts').MultiHeadAttention['config']} Config */

/**
 * Where an engine has no such symbol, the `using` that compilers write falls back to this registered one.
 *
 * @type {typeof Symbol.dispose}
 */
const disposeSymbol = /** @type {typeof Symbol.dispose} */ (Symbol.dispose ?? Symbol.for('Symbol.dispose'))

/**
 * What a layer is made of. The generated classes of both bindings free a forgotten handle by a finalizer of their own.
 *
 * @template {LayerHandle} [Handle=LayerHandle]
 */
class Parts {
  training = false

  /**
   * @param {Backend} backend
   * @param {() => Handle} open  makes the handle anew in the backend's present binding
   */
  constructor(backend, open) {
    this.backend = backend
    this.open = open
    /** @type {Handle | undefined} */
    this.handle = undefined
    /** @type {Config} */
    this.config = guard(backend, () => {
      this.handle = open()
      return Object.freeze(JSON.parse(this.handle.config()))
    })
    this.generation = backend.generation
  }

  /** The handle, in the binding that runs now. */
  use() {
    if (this.handle === undefined) {
      throw new AttentionError('DISPOSED', {
        expected: 'a layer that has not been disposed',
        message: 'this layer has been disposed: make a new one, or dispose it later'
      })
    }
    return this.generation === this.backend.generation ? this.handle : this.revive(this.handle)
  }

  /**
   * Carries the parameters over from an instance that trapped; its memory can still be read.
   *
   * @param {Handle} old
   */
  revive(old) {
    const { backend, open } = this
    const handle = guard(backend, () => {
      const entries = old.stateEntries()
      const state = Object.values(decodeState(entries, (index, output) => old.readState(index, output)))
      const fresh = open()
      fresh.loadState(
        entries,
        state.map(({ data }) => data),
        ''
      )
      return fresh
    })
    release(old)
    this.handle = handle
    this.generation = backend.generation
    return handle
  }

  dispose() {
    if (this.handle) release(this.handle)
    this.handle = undefined
  }
}

/** @param {LayerHandle} handle */
function release(handle) {
  try {
    handle.free()
  } catch {
    // A trapped instance may refuse; it goes as a whole.
  }
}

/**
 * @template T
 * @param {Backend} backend
 * @param {() => T} call
 */
function guard(backend, call) {
  try {
    return call()
  } catch (error) {
    throw backend.fault(error)
  }
}

/** @type {(layer: Layer) => Parts<any>} */
let partsOf
/** @type {(layer: Layer, parts: Parts<any>) => void} */
let setParts

export class Layer {
  /** @type {Parts<any> | undefined} */
  #parts

  static {
    partsOf = (layer) => /** @type {Parts} */ (layer.#parts)
    setParts = (layer, parts) => {
      layer.#parts = parts
    }
  }

  constructor() {
    if (new.target === Layer) throw new TypeError('Layer is abstract: make one of its subclasses')
  }

  get numParameters() {
    const parts = partsOf(this)
    const handle = parts.use()
    return guard(parts.backend, () => handle.numParameters())
  }

  /** @returns {Record<string, Checked>} */
  stateDict() {
    const parts = partsOf(this)
    const handle = parts.use()
    return guard(parts.backend, () =>
      decodeState(handle.stateEntries(), (index, output) => handle.readState(index, output))
    )
  }

  /**
   * @param {unknown} state
   * @param {unknown} [options]
   */
  loadStateDict(state, options) {
    const prefix = readPrefix(options)
    const { entries, data } = encodeState(state, prefix)
    const parts = partsOf(this)
    const handle = parts.use()
    guard(parts.backend, () => handle.loadState(entries, data, prefix))
    return this
  }

  /** @param {boolean} [mode] */
  train(mode = true) {
    if (typeof mode !== 'boolean') throw fault('OPTION', 'mode', 'a boolean', describe(mode))
    const parts = partsOf(this)
    parts.use()
    parts.training = mode
    return this
  }

  dispose() {
    partsOf(this).dispose()
  }

  [disposeSymbol]() {
    this.dispose()
  }
}

/**
 * One call of an attention layer; `names` are those of its arguments.
 *
 * @param {Layer} layer
 * @param {readonly string[]} names
 * @param {unknown} q
 * @param {unknown} k
 * @param {unknown} v
 * @param {unknown} options
 * @returns {AttentionOutput}
 */
function attend(layer, names, q, k, v, options) {
  const query = checkTensor(names[0], q)
  const key = k === undefined || k === null ? undefined : checkTensor(names[1], k)
  const value = v === undefined || v === null ? undefined : checkTensor(names[2], v)
  const given = readOptions(options)
  const parts = partsOf(layer)
  const { modelDim, numHeads } = parts.config

  const shape = query.shape.slice()
  if (shape.length > 0) shape[shape.length - 1] = modelDim
  const inputs = given.out && [query.data, key?.data, value?.data, given.floatMask, given.booleanMask]
  const output = outputFor(given.out, shape, inputs ?? [])
  /** @type {AttentionOutput} */
  const result = { output }
  if ((given.weights === true || given.averageWeights === true) && query.shape.length === 3) {
    const [batch, length] = query.shape
    const keys = (key ?? query).shape[1] ?? 0
    const rows = given.averageWeights === true ? [batch, length, keys] : [batch, numHeads, length, keys]
    result.weights = { data: allocate('weights', elements(rows)), shape: rows }
  }

  const handle = /** @type {MultiHeadAttentionHandle} */ (parts.use())
  startHeader(parts.backend.threads)
  addShape(query.shape)
  if (key) addShape(key.shape)
  if (value) addShape(value.shape)
  if (given.mask) addShape(given.mask.shape)
  try {
    handle.forward(
      header,
      query.data,
      key?.data,
      value?.data,
      output.data,
      parts.training,
      given.json,
      given.booleanMask,
      given.floatMask,
      given.queryOffset,
      given.kvLengths,
      result.weights?.data
    )
  } catch (error) {
    throw inWordsOf(names, parts.backend.fault(error))
  }
  return result
}

/**
 * An error about an input under the name that the caller knows it by.
 *
 * @param {readonly string[]} names
 * @param {AttentionError} error
 */
function inWordsOf(names, error) {
  const argument = names[['q', 'k', 'v'].indexOf(error.argument ?? '')]
  if (argument === undefined || error.code === 'INTERNAL') return error
  return new AttentionError(error.code, { argument, expected: error.expected, actual: error.actual })
}

/** @param {Backend} backend */
export function createLayers(backend) {
  class AttentionLayer extends Layer {
    /**
     * @param {string} kind
     * @param {unknown} config
     */
    constructor(kind, config) {
      super()
      const json = encodeConfig(config)
      const open = () => new (backend.binding ?? backend.start()).MultiHeadAttention(json, kind)
      setParts(this, new Parts(backend, open))
    }

    get config() {
      return partsOf(this).config
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
      return attend(this, ['q', 'k', 'v'], q, k, v, options)
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
      return attend(this, ['x'], x, undefined, undefined, options)
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
      // Required here, where the other layers may leave it out.
      checkTensor('context', context)
      return attend(this, ['query', 'context'], query, context, undefined, options)
    }
  }

  return { MultiHeadAttention, SelfAttention, CrossAttention }
}
