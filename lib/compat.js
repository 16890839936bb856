// The object model of the project's original plan, as thin adapters: bare Float32Arrays with their shapes in, Float32Arrays out.

import { describe, fault, isArray, isObject } from './errors.js'
import { arrayType, checkArray, checkShape, elements, formatShape, lengthOf } from './tensor.js'

/** @typedef {import('../index.d.ts').Tensor} Tensor */
/** @typedef {import('../index.d.ts').MaskOptions} MaskOptions */
/** @typedef {import('../index.d.ts').AttentionOutput} AttentionOutput */
/** @typedef {Pick<typeof import('../index.d.ts'), 'init' | 'memoryUsage' | 'ScaledDotProductAttention' | 'MultiHeadAttention' | 'HyperbolicAttention' | 'LinearAttention' | 'CrossAttention' | 'SelfAttention' | 'FlashAttention'>} Package */
/** @typedef {{ tensors: Tensor[], options: MaskOptions }} Read */

/** What a mask argument may be in place of an array. */
export const MaskType = Object.freeze({ None: 0, Causal: 1, Padding: 2, Custom: 3 })

// Classes, since the plan's callers write `new`.
// oxlint-disable-next-line typescript/no-extraneous-class
export class AttentionConfig {
  /**
   * @param {number} numHeads
   * @param {number} headDim
   */
  constructor(numHeads, headDim) {
    this.numHeads = numHeads
    this.headDim = headDim
  }
}

// oxlint-disable-next-line typescript/no-extraneous-class
export class HyperbolicConfig {
  /**
   * @param {number} curvature  below 0
   * @param {number} [numHeads]
   */
  constructor(curvature, numHeads = 1) {
    this.curvature = curvature
    this.numHeads = numHeads
  }
}

/** Milliseconds since it was made or last reset. */
export class PerfTimer {
  #start = performance.now()

  /** @param {string} [name] */
  constructor(name = '') {
    this.name = name
  }

  elapsed() {
    return performance.now() - this.#start
  }

  reset() {
    this.#start = performance.now()
  }
}

/**
 * Splits `arrays…, shapes…, mask?` into tensors and what the mask says. A shape that is left out is that of the tensor before.
 *
 * @param {readonly string[]} names  of the arrays
 * @param {readonly unknown[]} given
 * @returns {Read}
 */
function read(names, given) {
  const arrays = names.map((name, index) => {
    /** @type {Float32Array} */
    const array = checkArray(name, given[index], 'Float32Array')
    return array
  })
  const rest = given.slice(names.length)
  const shapes = rest
    .splice(0, countShapes(names, rest))
    .map((shape, index) => checkShape(`${names[index]}Shape`, shape))
  if (shapes.length === 0) throw fault('SHAPE', `${names[0]}Shape`, 'a list of dimensions', describe(rest[0]))
  const tensors = arrays.map((data, index) => {
    const shape = shapes[Math.min(index, shapes.length - 1)]
    if (elements(shape) !== data.length) {
      throw fault('SHAPE', `${names[index]}Shape`, `the shape of ${data.length} elements`, formatShape(shape))
    }
    return { data, shape }
  })
  if (rest.length > 1) throw fault('OPTION', 'arguments', `${names.length} arrays, their shapes and a mask`, 'more')
  return { tensors, options: readMask(rest[0], tensors) }
}

/**
 * @param {readonly string[]} names
 * @param {readonly unknown[]} rest
 */
function countShapes(names, rest) {
  let count = 0
  while (count < names.length && isArray(rest[count])) count++
  return count
}

/**
 * A mask as the options of a call. A bare array is as long as one of the shapes that masks have.
 *
 * @param {unknown} mask
 * @param {readonly Tensor[]} tensors
 * @returns {MaskOptions}
 */
function readMask(mask, [query, key = query]) {
  if (mask === undefined || mask === null || mask === MaskType.None) return {}
  if (mask === MaskType.Causal) return { causal: true }
  if (typeof mask === 'number') {
    throw fault('OPTION', 'mask', 'MaskType.None, MaskType.Causal, or the mask itself', describe(mask))
  }
  const type = arrayType(mask)
  if (type !== 'Float32Array' && type !== 'Uint8Array') return { mask: /** @type {Tensor} */ (mask) }
  /** @type {Float32Array} */
  const data = checkArray('mask', mask, /** @type {'Float32Array'} */ (type))
  const [batch, length, keys] = [query.shape[0], query.shape.at(-2) ?? 0, key.shape.at(-2) ?? 0]
  const heads = query.shape.length === 4 ? query.shape[1] : 1
  const shapes = [
    [length, keys],
    [batch, heads, length, keys],
    [batch, 1, length, keys],
    [batch, 1, 1, keys],
    [1, keys]
  ]
  const shape = shapes.find((candidate) => elements(candidate) === data.length)
  if (!shape) {
    const expected = `as many elements as one of ${shapes.map(formatShape).join(', ')}`
    throw fault('SHAPE', 'mask', expected, `${data.length}`)
  }
  return { mask: { data, shape } }
}

/**
 * What there is to copy of a configuration, which a revoked proxy has nothing of.
 *
 * @template T
 * @param {T} config
 * @returns {T}
 */
const members = (config) => (isObject(config) ? config : /** @type {any} */ ({}))

/**
 * The shape of one point.
 *
 * @param {unknown} array
 */
const pointShape = (array) => [1, arrayType(array) === undefined ? 0 : lengthOf(/** @type {Float32Array} */ (array))]

/**
 * Gives a class further names for what it has.
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
  const QKV = ['query', 'key', 'value']

  /** What every adapter has: the tensors of a call, and the same call as a promise. */
  class Adapter {
    #names
    #run
    #later

    /**
     * @param {readonly string[]} names
     * @param {(read: Read) => AttentionOutput} run
     * @param {(read: Read) => Promise<AttentionOutput>} later
     */
    constructor(names, run, later) {
      this.#names = names
      this.#run = run
      this.#later = later
    }

    /** @param {unknown[]} given */
    forward(...given) {
      return this.#run(read(this.#names, given)).output.data
    }

    /** @param {unknown[]} given */
    async forwardAsync(...given) {
      const { output } = await this.#later(read(this.#names, given))
      return output.data
    }
  }

  /**
   * A call of q, k and v, now and later.
   *
   * @param {Pick<import('../index.d.ts').FlashAttention, 'forward' | 'forwardAsync'>} inner
   * @returns {[(read: Read) => AttentionOutput, (read: Read) => Promise<AttentionOutput>]}
   */
  const calls = (inner) => [
    ({ tensors: [q, k, v], options }) => inner.forward(q, k, v, options),
    ({ tensors: [q, k, v], options }) => inner.forwardAsync(q, k, v, options)
  ]

  class ScaledDotProduct extends Adapter {
    /**
     * @param {number} headDim
     * @param {number} [dropout]
     */
    constructor(headDim, dropout = 0) {
      const inner = new attention.ScaledDotProductAttention(headDim, { dropout })
      super(QKV, ...calls(inner))
      this.scale = inner.scale
      this.inner = inner
    }

    /** @param {unknown[]} given */
    attentionWeights(...given) {
      const { tensors, options } = read(QKV.slice(0, 2), given)
      return this.inner.attentionWeights(tensors[0], tensors[1], options).data
    }
  }
  alias(ScaledDotProduct, { attention_weights: 'attentionWeights' })

  /** An adapter of a layer with parameters. */
  class LayerAdapter extends Adapter {
    /**
     * @param {import('../index.d.ts').Layer} layer
     * @param {readonly string[]} names
     * @param {(read: Read) => AttentionOutput} run
     * @param {(read: Read) => Promise<AttentionOutput>} later
     */
    constructor(layer, names, run, later) {
      super(names, run, later)
      this.layer = layer
    }

    get numParameters() {
      return this.layer.numParameters
    }

    dispose() {
      this.layer.dispose()
    }
  }
  alias(LayerAdapter, { num_parameters: 'numParameters', free: 'dispose' })

  class Hyperbolic extends Adapter {
    /** @param {import('../index.d.ts').HyperbolicConfig} config */
    constructor(config) {
      const inner = new attention.HyperbolicAttention({ ...members(config), inputs: 'tangent' })
      super(QKV, ...calls(inner))
      this.curvature = inner.curvature
      this.inner = inner
    }

    /**
     * The geodesic distance of two points of the ball.
     *
     * @param {Float32Array} a
     * @param {Float32Array} b
     */
    distance(a, b) {
      const { tensors } = read(['a', 'b'], [a, b, pointShape(a), pointShape(b)])
      return this.inner.distance(tensors[0], tensors[1]).data[0]
    }

    /** @param {unknown[]} given  points `a [L, D]` and `b [S, D]` with their shapes */
    distanceMatrix(...given) {
      const { tensors } = read(['a', 'b'], given)
      return this.inner.distanceMatrix(tensors[0], tensors[1]).data
    }

    /**
     * @param {Float32Array} x
     * @param {number[]} [shape]  one point unless given
     */
    projectToBall(x, shape = pointShape(x)) {
      return this.inner.projectToBall(read(['x'], [x, shape]).tensors[0]).data
    }
  }
  alias(Hyperbolic, { distance_matrix: 'distanceMatrix', project_to_ball: 'projectToBall' })

  class Linear extends Adapter {
    /**
     * @param {number} modelDim
     * @param {number} [featureDim]  random features that estimate softmax; without it, elu + 1
     */
    constructor(modelDim, featureDim) {
      const inner = new attention.LinearAttention(
        featureDim === undefined ? { modelDim } : { modelDim, featureDim, featureMap: 'favor+' }
      )
      const withoutMask = (/** @type {Read} */ { tensors, options: { mask, ...options } }) => {
        const expected = 'MaskType.Causal or none: linear attention has no weights to mask'
        if (mask) throw fault('OPTION', 'mask', expected, 'a mask')
        return { tensors, options }
      }
      const [run, later] = calls(/** @type {any} */ (inner))
      super(
        QKV,
        (read) => run(withoutMask(read)),
        (read) => later(withoutMask(read))
      )
      this.inner = inner
    }

    get featureDim() {
      return this.inner.featureDim
    }

    /**
     * @param {Float32Array} x
     * @param {number[]} shape
     */
    featureMap(x, shape) {
      return this.inner.featureMap(read(['x'], [x, shape]).tensors[0]).data
    }
  }
  alias(Linear, { feature_dim: 'featureDim', feature_map: 'featureMap' })

  class Flash extends Adapter {
    /**
     * @param {number} headDim
     * @param {number} [blockSize]
     */
    constructor(headDim, blockSize) {
      const inner = new attention.FlashAttention(headDim, blockSize === undefined ? {} : { blockSize })
      super(QKV, ...calls(inner))
      this.inner = inner
    }

    get blockSize() {
      return this.inner.blockSize
    }
  }
  alias(Flash, { block_size: 'blockSize' })

  const ruVector = {
    init: attention.init,
    createScaledDotProduct: (/** @type {number} */ headDim, /** @type {number} */ dropout) =>
      new ScaledDotProduct(headDim, dropout),
    /** @param {import('../index.d.ts').AttentionConfig} config */
    createMultiHead(config) {
      const layer = new attention.MultiHeadAttention({ ...members(config) })
      return new LayerAdapter(layer, QKV, ...calls(layer))
    },
    createHyperbolic: (/** @type {HyperbolicConfig} */ config) => new Hyperbolic(config),
    createLinear: (/** @type {number} */ modelDim, /** @type {number} */ featureDim) =>
      new Linear(modelDim, featureDim),
    /** @param {import('../index.d.ts').AttentionConfig} config */
    createCross(config) {
      const layer = new attention.CrossAttention({ ...members(config) })
      return new LayerAdapter(
        layer,
        ['query', 'context'],
        ({ tensors: [query, context], options }) => layer.forward(query, context, options),
        ({ tensors: [query, context], options }) => layer.forwardAsync(query, context, options)
      )
    },
    /** @param {import('../index.d.ts').AttentionConfig} config */
    createSelf(config) {
      const layer = new attention.SelfAttention({ ...members(config) })
      return new LayerAdapter(
        layer,
        ['x'],
        ({ tensors: [x], options }) => layer.forward(x, options),
        ({ tensors: [x], options }) => layer.forwardAsync(x, options)
      )
    },
    createFlash: (/** @type {number} */ headDim, /** @type {number} */ blockSize) => new Flash(headDim, blockSize),
    getMemoryUsage: attention.memoryUsage
  }
  return { ruVector, AttentionConfig, HyperbolicConfig, MaskType, PerfTimer }
}
