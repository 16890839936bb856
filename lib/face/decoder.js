// Decoder layers: blocks of decoder-only models and of encoder-decoders, and DeepSeek's attention.

import { freezeConfig, Layer, layerCall } from './layers.js'
import { encodeConfig } from '../checks/options.js'
import { Resident } from '../runtime/resident.js'

/** @typedef {import('./layers.js').AttentionOutput} AttentionOutput */
/** @typedef {'createDecoderLayer' | 'createTransformerDecoderLayer' | 'createLatentAttention'} Creation */

/** @param {import('../runtime/backend.js').Backend} backend */
export function createDecoders(backend) {
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
      const resident = new Resident(backend, operation, encodeConfig(config))
      super(resident, prepare)
      this.#config = freezeConfig(resident.describe())
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
