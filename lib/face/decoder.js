// Decoder layers: blocks of decoder-only models and of encoder-decoders, and DeepSeek's attention.

import { freezeConfig, Layer, layerCall, splitRotary } from './layers.js'
import { encodeConfig, withDefaults } from '../checks/options.js'
import { isObject } from '../checks/errors.js'
import { Resident } from '../runtime/resident.js'

/** @typedef {import('./layers.js').AttentionOutput} AttentionOutput */
/** @typedef {'createDecoderLayer' | 'createTransformerDecoderLayer' | 'createLatentAttention'} Creation */

/**
 * @param {import('../runtime/backend.js').Backend} backend
 * @param {ReturnType<typeof import('./cache.js').createCache>['createCacheOf']} createCacheOf
 */
export function createDecoders(backend, createCacheOf) {
  /** A layer that describes its configuration. */
  class Configured extends Layer {
    /** @type {any} */
    #config

    /**
     * @param {Creation} operation
     * @param {ReturnType<typeof splitRotary>} split
     * @param {import('./callable.js').Prepare<AttentionOutput>} prepare
     */
    constructor(operation, { config, complete }, prepare) {
      const resident = new Resident(backend, operation, encodeConfig(config))
      super(resident, prepare)
      this.#config = freezeConfig(complete(this, resident.describe()))
    }

    get config() {
      return this.#config
    }
  }

  const prepareDecoder = layerCall(backend, 'decoderLayer', ['x'])
  const prepareTransformerDecoder = layerCall(backend, 'transformerDecoderLayer', ['x', 'context'])
  const prepareLatent = layerCall(backend, 'latentAttention', ['x'])

  /** A layer with a self-attention. */
  class Cached extends Configured {
    /** @param {unknown} options */
    createCache(options) {
      return createCacheOf(this.config.attention, options)
    }
  }

  class DecoderLayer extends Cached {
    /** @param {unknown} config */
    constructor(config) {
      super('createDecoderLayer', splitRotary(config, 'attention'), prepareDecoder)
    }
  }

  class TransformerDecoderLayer extends Cached {
    /** @param {unknown} config */
    constructor(config) {
      super('createTransformerDecoderLayer', splitRotary(config, 'attention'), prepareTransformerDecoder)
    }
  }

  class LatentAttention extends Configured {
    /** @param {unknown} config */
    constructor(config) {
      super('createLatentAttention', splitRotary(withScale(config)), prepareLatent)
    }

    /** @param {unknown} options */
    createCache(options) {
      const { latentRank, rotaryDim } = this.config
      const sizes = { kvHeads: 1, headDim: latentRank + rotaryDim, valueDim: latentRank }
      return createCacheOf({ ...sizes, valuesInKeys: true }, options)
    }
  }

  return { DecoderLayer, TransformerDecoderLayer, LatentAttention }
}

/**
 * Returns a configuration of latent attention with its scale: a scaling of rotary positions with `mscale_all_dim`
 * multiplies the default by the square of its mscale, as in DeepSeek.
 *
 * @param {unknown} config
 */
function withScale(config) {
  const { scale, nopeDim, rotaryDim, rotary } = membersOf(config)
  const { rope_type: type, type: older, factor, mscale_all_dim: all } = membersOf(membersOf(rotary).scaling)
  // Anything but numbers is rejected where the configuration is read.
  const hasNumbers = [all, factor, nopeDim, rotaryDim].every((value) => typeof value === 'number')
  const isPlain = !(hasNumbers && all && factor > 1) || (type ?? older ?? 'default') === 'default'
  if (isPlain || (scale !== undefined && scale !== null)) return config
  const mscale = 0.1 * all * Math.log(factor) + 1
  return withDefaults({ scale: mscale ** 2 / Math.sqrt(nopeDim + rotaryDim) }, config, 'config')
}

/** The value if it is an object whose members can be read. @param {unknown} value @returns {any} */
const membersOf = (value) => (isObject(value) ? value : {})
