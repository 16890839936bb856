// Decoder layers: blocks of decoder-only models and of encoder-decoders, and DeepSeek's attention.

import { freezeConfig, Layer, layerCall, splitRotary } from './layers.js'
import { encodeConfig } from '../checks/options.js'
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
     * @param {unknown} config
     * @param {import('./callable.js').Prepare<AttentionOutput>} prepare
     */
    constructor(operation, config, prepare) {
      const { config: rest, complete } =
        operation === 'createDecoderLayer' ? splitRotary(config, 'attention') : { config, complete: undefined }
      const resident = new Resident(backend, operation, encodeConfig(rest))
      super(resident, prepare)
      const described = resident.describe()
      this.#config = freezeConfig(complete ? complete(this, described) : described)
    }

    get config() {
      return this.#config
    }
  }

  const prepareDecoder = layerCall(backend, 'decoderLayer', ['x'])
  const prepareTransformerDecoder = layerCall(backend, 'transformerDecoderLayer', ['x', 'context'])
  const prepareLatent = layerCall(backend, 'latentAttention', ['x'])

  class DecoderLayer extends Configured {
    /** @param {unknown} config */
    constructor(config) {
      super('createDecoderLayer', config, prepareDecoder)
    }

    /** @param {unknown} options */
    createCache(options) {
      return createCacheOf(this.config.attention, options)
    }
  }

  class TransformerDecoderLayer extends Configured {
    /** @param {unknown} config */
    constructor(config) {
      super('createTransformerDecoderLayer', config, prepareTransformerDecoder)
    }
  }

  class LatentAttention extends Configured {
    /** @param {unknown} config */
    constructor(config) {
      super('createLatentAttention', config, prepareLatent)
    }
  }

  return { DecoderLayer, TransformerDecoderLayer, LatentAttention }
}
