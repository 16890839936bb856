// Encoder layers, and other transformer building blocks: norms, activations, and the mean over tokens.

import { freezeConfig, Layer, layerCall, splitRotary } from './layers.js'
import { encodeConfig, refuseMore, splitOptions } from '../checks/options.js'
import { Resident } from '../runtime/resident.js'
import { checkArray, checkTensor } from '../checks/tensor.js'

/** @typedef {import('../checks/tensor.js').Checked} Checked */
/** @typedef {import('../runtime/backend.js').Backend} Backend */

/**
 * @param {Backend} backend
 * @param {ReturnType<typeof import('./cache.js').createCache>['createCacheOf']} createCacheOf
 */
export function createEncoder(backend, createCacheOf) {
  /**
   * @param {'layerNorm' | 'rmsNorm' | 'gelu' | 'silu'} operation
   * @param {unknown} x
   * @param {unknown} options
   * @param {readonly string[]} vectors  options that are tensors
   */
  function applyElementwise(operation, x, options, vectors) {
    const input = checkTensor('x', x)
    const { values, json } = splitOptions('options', options, vectors)
    const given = vectors.map((name) => (values[name] === undefined ? undefined : checkTensor(name, values[name])))
    const call = backend.call(operation).input(input).options(json)
    for (const vector of given) call.input(vector)
    return call.run()
  }

  /**
   * @param {unknown} x
   * @param {unknown} [options]
   */
  function layerNorm(x, options) {
    return applyElementwise('layerNorm', x, options, ['weight', 'bias'])
  }

  /**
   * @param {unknown} x
   * @param {unknown} [options]
   */
  function rmsNorm(x, options) {
    return applyElementwise('rmsNorm', x, options, ['weight'])
  }

  /**
   * @param {unknown} x
   * @param {unknown} [options]
   */
  function gelu(x, options) {
    return applyElementwise('gelu', x, options, [])
  }

  /** @param {unknown} x @param {...unknown} more */
  function silu(x, ...more) {
    refuseMore('silu', more)
    return applyElementwise('silu', x, undefined, [])
  }

  /**
   * @param {unknown} x
   * @param {unknown} [options]
   */
  function meanPool(x, options) {
    const input = checkTensor('x', x)
    const { values, json } = splitOptions('options', options, ['lengths', 'cuSeqlens'])
    /** @type {(Int32Array | undefined)[]} */
    const [lengths, offsets] = ['lengths', 'cuSeqlens'].map((name) =>
      values[name] === undefined ? undefined : checkArray(name, values[name], 'Int32Array')
    )
    return backend.call('meanPool').input(input).integers(lengths).integers(offsets).options(json).run()
  }

  const prepare = layerCall(backend, 'transformerEncoderLayer', ['x'])

  class TransformerEncoderLayer extends Layer {
    /** @type {import('../../index.d.ts').TransformerEncoderLayer['config']} */
    #config

    /** @param {unknown} config */
    constructor(config) {
      const { config: rest, complete } = splitRotary(config, 'attention')
      const resident = new Resident(backend, 'createTransformerEncoderLayer', encodeConfig(rest))
      super(resident, prepare)
      this.#config = freezeConfig(complete(this, resident.describe()))
    }

    get config() {
      return this.#config
    }

    /** @param {unknown} options */
    createCache(options) {
      const { numHeads, modelDim } = this.#config
      return createCacheOf({ kvHeads: numHeads, headDim: modelDim / numHeads }, options)
    }
  }

  return { layerNorm, rmsNorm, gelu, silu, meanPool, TransformerEncoderLayer }
}
