// The interface of the project's original plan, as thin adapters that take and return bare Float32Arrays.

import { backendOf } from '../face/api.js'
import { guard, guardAsync } from './errors.js'
import { AttentionConfig, ownMembers } from './config.js'
import { readCall, readMultiHead, readPoints } from './read.js'
import * as tools from './tools.js'
import { describe, fault, isArray, isFunction, isObject } from '../checks/errors.js'
import { disposeSymbol } from '../face/layers.js'
import { pickOptions } from '../checks/options.js'
import { arrayType, lengthOf, listLengthOf } from '../checks/tensor.js'

/** @typedef {import('./read.js').Read} Read */
/** @typedef {import('../../index.d.ts').AttentionOutput} AttentionOutput */
/**
 * @typedef {Pick<typeof import('../../index.d.ts'), 'init' | 'memoryUsage' | 'BatchProcessor' |
 *   'ScaledDotProductAttention' | 'MultiHeadAttention' | 'HyperbolicAttention' | 'LinearAttention' | 'SelfAttention' |
 *   'FlashAttention'>} Package
 */
/**
 * @typedef {{ output: Float32Array, weights: Float32Array, metadata: { computeTime: number, memoryUsed: number } }}
 *   Result
 */
/** @param {AttentionOutput} result */
const dataOf = ({ output }) => output.data

const QKV = ['query', 'key', 'value']

/** Numbers of arguments that may follow the shapes: a mask; in asynchronous calls also `{ signal, onProgress }`. */
const MASK = 1
const MASK_AND_WATCH = 2

/**
 * Adds aliases of members to a class.
 *
 * @param {new (...args: any[]) => unknown} target
 * @param {Record<string, string>} aliases
 */
function alias(target, aliases) {
  for (const [name, original] of Object.entries(aliases)) {
    const descriptor = Object.getOwnPropertyDescriptor(target.prototype, original)
    Object.defineProperty(target.prototype, name, /** @type {PropertyDescriptor} */ (descriptor))
  }
}

/** @param {Package} attention */
export function createCompat(attention) {
  const backend = backendOf(attention.memoryUsage)

  /** Base of every mechanism: a synchronous call, an asynchronous call, and the release of its memory. */
  class Mechanism {
    #inner
    #names
    #read
    #asked
    #begin
    #release

    /**
     * @param {any} inner  the object of the main entry
     * @param {object} [about]
     * @param {readonly string[]} [about.names]  of the arrays that a call takes
     * @param {number} [about.heads]  number of heads in a mask
     * @param {(given: unknown[], extras: number) => Read} [about.read]  reads the arguments of a call
     * @param {object} [about.asked]  options of every call
     * @param {() => (output: AttentionOutput) => any} [about.begin]  begins a call, and returns the function that
     *   converts its
     *   output
     * @param {() => void} [about.release]  frees the memory
     */
    constructor(inner, { names = QKV, heads, read, asked, begin = () => dataOf, release } = {}) {
      this.#inner = inner
      this.#names = names
      this.#read = read ?? ((given, extras) => readCall(names, given, extras, heads))
      this.#asked = asked
      this.#begin = begin
      this.#release = release
    }

    /** Names of the arrays that a call takes. */
    static namesOf(/** @type {Mechanism} */ mechanism) {
      return mechanism.#names
    }

    /** @param {unknown[]} given  arrays, shapes and a mask */
    forward(...given) {
      return guard(() => {
        const finish = this.#begin()
        const { tensors, options } = this.#read(given, MASK)
        return finish(this.#inner.forward(...tensors, { ...options, ...this.#asked }))
      })
    }

    /** @param {unknown[]} given  the arguments of `forward`, and `{ signal, onProgress }` */
    forwardAsync(...given) {
      return guardAsync(async () => {
        const finish = this.#begin()
        const { tensors, options, watch } = this.#read(given, MASK_AND_WATCH)
        const watched = pickOptions(watch, ['signal', 'onProgress'])
        return finish(await this.#inner.forwardAsync(...tensors, { ...options, ...watched, ...this.#asked }))
      })
    }

    free() {
      this.#release?.()
    }

    dispose() {
      this.free()
    }

    [disposeSymbol]() {
      this.free()
    }
  }

  class WasmScaledDotProduct extends Mechanism {
    #inner

    /**
     * @param {number} headDim
     * @param {number} [dropout]
     */
    constructor(headDim, dropout = 0) {
      const inner = guard(() => new attention.ScaledDotProductAttention(headDim, { dropout }))
      super(inner)
      this.#inner = inner
    }

    get scale() {
      return this.#inner.scale
    }

    /** @param {unknown[]} given */
    attentionWeights(...given) {
      return guard(() => {
        const { tensors, options } = readCall(QKV.slice(0, 2), given)
        return this.#inner.attentionWeights(tensors[0], tensors[1], options).data
      })
    }
  }
  alias(WasmScaledDotProduct, { attention_weights: 'attentionWeights' })

  /** Base of the mechanisms with parameters. */
  class LayerMechanism extends Mechanism {
    #layer

    /**
     * @param {import('../../index.d.ts').MultiHeadAttention | import('../../index.d.ts').SelfAttention} layer
     * @param {ConstructorParameters<typeof Mechanism>[1]} [about]
     */
    constructor(layer, about) {
      super(layer, { ...about, heads: layer.config.numHeads, release: () => layer.dispose() })
      this.#layer = layer
    }

    /** A copy of the configuration, with every default filled in. */
    get config() {
      const { numHeads, headDim } = this.#layer.config
      return Object.assign(new AttentionConfig(numHeads, headDim), this.#layer.config)
    }

    get numParameters() {
      return guard(() => this.#layer.numParameters)
    }

    num_parameters() {
      return this.numParameters
    }

    /** @param {boolean} [mode] */
    train(mode) {
      guard(() => void this.#layer.train(mode))
    }
  }

  class WasmMultiHeadAttention extends LayerMechanism {
    /** @param {unknown} config */
    constructor(config) {
      const layer = guard(() => new attention.MultiHeadAttention(ownMembers(config)))
      super(layer, {
        read: (given, extras) => readMultiHead(given, layer.config, extras),
        asked: { weights: true },
        begin
      })
    }
  }

  /** Starts to measure a call; the returned function converts its output into the plan's result. */
  function begin() {
    const readPeak = backend.measurePeak()
    const start = performance.now()
    return (/** @type {AttentionOutput} */ { output, weights }) => ({
      output: output.data,
      weights: /** @type {import('../../index.d.ts').Tensor} */ (weights).data,
      metadata: { computeTime: performance.now() - start, memoryUsed: readPeak() }
    })
  }

  class WasmHyperbolicAttention extends Mechanism {
    #inner

    /** @param {unknown} config */
    constructor(config) {
      const inner = guard(() => {
        const members = ownMembers(config)
        return new attention.HyperbolicAttention(isObject(members) ? { ...members, inputs: 'tangent' } : members)
      })
      super(inner, { heads: inner.config.numHeads, release: () => inner.dispose() })
      this.#inner = inner
    }

    get curvature() {
      return this.#inner.curvature
    }

    /**
     * Returns the geodesic distance between two points.
     *
     * @param {unknown} a
     * @param {unknown} b
     */
    distance(a, b) {
      return guard(() => {
        const [first, second] = readPoints(['a', 'b'], [a, b])
        return this.#inner.distance(first, second).data[0]
      })
    }

    /** @param {unknown[]} given  points `a [L,D]` and `b [S,D]`, and their shapes */
    distanceMatrix(...given) {
      return guard(() => {
        const [a, b] = readPoints(['a', 'b'], given)
        return this.#inner.distanceMatrix(a, b).data
      })
    }

    /** @param {unknown[]} given  points and their shape */
    projectToBall(...given) {
      return guard(() => this.#inner.projectToBall(readPoints(['points'], given)[0]).data)
    }
  }
  alias(WasmHyperbolicAttention, { distance_matrix: 'distanceMatrix', project_to_ball: 'projectToBall' })

  class WasmLinearAttention extends Mechanism {
    #inner

    /**
     * @param {number} modelDim
     * @param {number} [featureDim]  random features that estimate softmax; without it, elu + 1
     */
    constructor(modelDim, featureDim) {
      const features = featureDim === undefined || featureDim === null ? {} : { featureDim, featureMap: 'favor+' }
      const inner = guard(() => new attention.LinearAttention(/** @type {any} */ ({ modelDim, ...features })))
      super(inner, {
        read: (given, extras) => withoutMask(readCall(QKV, given, extras)),
        release: () => inner.dispose()
      })
      this.#inner = inner
    }

    get featureDim() {
      return this.#inner.featureDim
    }

    /** @param {unknown[]} given  rows of `modelDim` numbers, and their shape */
    featureMap(...given) {
      return guard(() => {
        const { modelDim } = this.#inner.config
        const [array, shape = [1, Math.floor(countOf(array) / modelDim), modelDim], ...more] = given
        return this.#inner.featureMap(readPoints(['input'], [array, shape, ...more])[0]).data
      })
    }
  }
  alias(WasmLinearAttention, { feature_dim: 'featureDim', feature_map: 'featureMap' })

  class WasmCrossAttention extends LayerMechanism {
    /** @param {unknown} config */
    constructor(config) {
      // Keys and values are separate arrays, which the main entry's multi-head attention accepts.
      const layer = guard(() => new attention.MultiHeadAttention(ownMembers(config)))
      super(layer)
    }
  }

  class WasmSelfAttention extends LayerMechanism {
    /** @param {unknown} config */
    constructor(config) {
      const layer = guard(() => new attention.SelfAttention(ownMembers(config)))
      super(layer, { names: ['x'] })
    }
  }

  class WasmFlashAttention extends Mechanism {
    #inner

    /**
     * @param {number} headDim
     * @param {number} [blockSize]
     */
    constructor(headDim, blockSize) {
      const inner = guard(() => new attention.FlashAttention(headDim, { blockSize }))
      super(inner)
      this.#inner = inner
    }

    get blockSize() {
      return this.#inner.blockSize
    }
  }
  alias(WasmFlashAttention, { block_size: 'blockSize' })

  class AsyncMultiHeadAttention extends WasmMultiHeadAttention {
    /** @param {unknown[]} given */
    forward_async(...given) {
      return this.forwardAsync(...given)
    }
  }

  /** Runs many calls, several at a time; results keep the order of the inputs. */
  class BatchProcessor {
    /**
     * @param {unknown} inputs
     * @param {unknown} [options]
     */
    process_batch(inputs, options) {
      return guardAsync(async () => {
        const list = entriesOf(inputs)
        if (!list) throw fault('OPTION', 'inputs', 'an array of inputs', describe(inputs))
        const { batchSize, isAsync, onProgress } = readBatchOptions(options)
        const layers = new Layers()
        const processor = new attention.BatchProcessor({ concurrency: isAsync ? batchSize : 1 })
        try {
          return await processor.process(
            list,
            async (input, watch) => {
              const { mechanism, given } = guard(() => readInput(input, layers))
              return isAsync ? mechanism.forwardAsync(...given, watch) : mechanism.forward(...given)
            },
            { onProgress }
          )
        } finally {
          layers.free()
        }
      })
    }

    free() {}

    [disposeSymbol]() {}
  }

  /** The layers that a batch creates, one per configuration. */
  class Layers {
    /** @type {Map<unknown, WasmMultiHeadAttention>} */
    #made = new Map()

    /** @param {unknown} config */
    of(config) {
      const layer = this.#made.get(config) ?? new WasmMultiHeadAttention(config)
      this.#made.set(config, layer)
      return layer
    }

    free() {
      for (const layer of this.#made.values()) layer.free()
    }
  }

  /**
   * Converts an input of a batch into its call.
   *
   * @param {unknown} input
   * @param {Layers} layers
   * @returns {{ mechanism: Mechanism, given: unknown[] }}
   */
  function readInput(input, layers) {
    if (!isObject(input)) throw fault('OPTION', 'input', 'an object', describe(input))
    const names = /** @type {const} */ (['attention', 'config', 'query', 'key', 'value', 'shape', 'shapes', 'mask'])
    const { attention: given, config, query, key, value, shape, shapes, mask } = pickOptions(input, names)
    if ((given === undefined) === (config === undefined)) {
      throw fault('OPTION', 'attention', 'either attention or config', given ? 'both' : 'neither')
    }
    const mechanism = given ?? layers.of(config)
    if (!(mechanism instanceof Mechanism)) {
      throw fault('OPTION', 'attention', 'an attention object of this entry', describe(mechanism))
    }
    if ((shape === undefined) === (shapes === undefined)) {
      throw fault('SHAPE', 'shape', 'either shape or shapes', shape ? 'both' : 'neither')
    }
    const list = shapes === undefined ? [shape] : entriesOf(shapes)
    if (!list || list.length > QKV.length) throw fault('SHAPE', 'shapes', 'a list of up to 3 shapes', describe(shapes))
    const arrays = [query, key, value].slice(0, Mechanism.namesOf(mechanism).length)
    if (arrays.length === 1 && [key, value].some((array) => array !== undefined && array !== query)) {
      throw fault('OPTION', 'key', 'nothing, or the query itself: self attention has one input', 'another array')
    }
    return { mechanism, given: [...arrays, ...list, mask] }
  }

  const memoryUsage = () => guard(() => attention.memoryUsage())

  class RuVectorAttention {
    /** @param {any} [options] */
    init(options) {
      return guardAsync(() => attention.init(options))
    }

    /**
     * @param {number} headDim
     * @param {number} [dropout]
     */
    createScaledDotProduct(headDim, dropout) {
      return new WasmScaledDotProduct(headDim, dropout)
    }

    /** @param {unknown} config */
    createMultiHead(config) {
      return new WasmMultiHeadAttention(config)
    }

    /** @param {unknown} config */
    createHyperbolic(config) {
      return new WasmHyperbolicAttention(config)
    }

    /**
     * @param {number} modelDim
     * @param {number} [featureDim]
     */
    createLinear(modelDim, featureDim) {
      return new WasmLinearAttention(modelDim, featureDim)
    }

    /** @param {unknown} config */
    createCross(config) {
      return new WasmCrossAttention(config)
    }

    /** @param {unknown} config */
    createSelf(config) {
      return new WasmSelfAttention(config)
    }

    /**
     * @param {number} headDim
     * @param {number} [blockSize]
     */
    createFlash(headDim, blockSize) {
      return new WasmFlashAttention(headDim, blockSize)
    }

    getMemoryUsage() {
      return memoryUsage()
    }

    free() {}

    [disposeSymbol]() {}
  }

  return {
    ...tools,
    RuVectorAttention,
    ruVector: new RuVectorAttention(),
    WasmScaledDotProduct,
    WasmMultiHeadAttention,
    WasmHyperbolicAttention,
    WasmLinearAttention,
    WasmCrossAttention,
    WasmSelfAttention,
    WasmFlashAttention,
    AsyncMultiHeadAttention,
    BatchProcessor,
    memory_usage: memoryUsage,
    get_memory_usage: memoryUsage
  }
}

/**
 * Returns the entries of an array, each read on demand; undefined for anything else, or without a valid length.
 *
 * @param {unknown} array
 */
function entriesOf(array) {
  const length = isArray(array) ? listLengthOf(array) : undefined
  if (length === undefined) return undefined
  return {
    length,
    *[Symbol.iterator]() {
      for (let index = 0; index < length; index++) yield /** @type {any[]} */ (array)[index]
    }
  }
}

/**
 * Returns the number of elements of a typed array, or 0 for anything else.
 *
 * @param {unknown} array
 */
const countOf = (array) => (arrayType(array) === undefined ? 0 : lengthOf(/** @type {Float32Array} */ (array)))

/**
 * Returns the call unless it has a mask; linear attention has no weights that a mask could apply to.
 *
 * @param {Read} read
 * @returns {Read}
 */
function withoutMask(read) {
  if (read.options.mask)
    throw fault('OPTION', 'mask', "'causal' or 'none': linear attention masks no weights", 'a mask')
  return read
}

/** @param {unknown} options */
function readBatchOptions(options) {
  const picked = pickOptions(options, ['batchSize', 'async', 'progressCallback'])
  const { batchSize, async: isAsync = true, progressCallback: onProgress } = picked
  if (batchSize !== undefined && !(Number.isSafeInteger(batchSize) && Number(batchSize) >= 1)) {
    throw fault('OPTION', 'batchSize', 'an integer of at least 1', describe(batchSize))
  }
  if (typeof isAsync !== 'boolean') throw fault('OPTION', 'async', 'a boolean', describe(isAsync))
  if (onProgress !== undefined && !isFunction(onProgress)) {
    throw fault('OPTION', 'progressCallback', 'a function', describe(onProgress))
  }
  return { batchSize: /** @type {number | undefined} */ (batchSize), isAsync, onProgress }
}
