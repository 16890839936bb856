// Encoder layers, and what models have beside attention: norms, activations, means over tokens.

import { attend, Layer } from './layers.js'
import { encodeConfig, encodeOptions } from './options.js'
import { Resident } from './resident.js'
import { allocateTensor, checkArray, checkTensor } from './tensor.js'

/** @typedef {import('./tensor.js').Checked} Checked */
/** @typedef {import('./backend.js').Backend} Backend */

/** @param {Backend} backend */
export function createEncoder(backend) {
  /**
   * @param {string} operation
   * @param {unknown} x
   * @param {unknown} options
   * @param {readonly string[]} vectors  the options that are tensors
   */
  function normalised(operation, x, options, vectors) {
    const input = checkTensor('x', x)
    /** @type {Record<string, Checked>} */
    const given = {}
    const json = encodeOptions(options, (name, value) => {
      if (!vectors.includes(name)) return false
      given[name] = checkTensor(name, value)
      return true
    })
    const output = allocateTensor('output', input.shape)
    const call = backend.call(operation).input(input).options(json)
    for (const name of vectors) call.input(given[name])
    call.output(output.data).run()
    return output
  }

  /**
   * @param {unknown} x
   * @param {unknown} [options]
   */
  function layerNorm(x, options) {
    return normalised('layerNorm', x, options, ['weight', 'bias'])
  }

  /**
   * @param {unknown} x
   * @param {unknown} [options]
   */
  function rmsNorm(x, options) {
    return normalised('rmsNorm', x, options, ['weight'])
  }

  /**
   * @param {unknown} x
   * @param {unknown} [options]
   */
  function gelu(x, options) {
    return normalised('gelu', x, options, [])
  }

  /** @param {unknown} x */
  function silu(x) {
    return normalised('silu', x, undefined, [])
  }

  /**
   * @param {unknown} x
   * @param {unknown} [options]
   */
  function meanPool(x, options) {
    const input = checkTensor('x', x)
    /** @type {Int32Array | undefined} */
    let lengths
    const json = encodeOptions(options, (name, value) => {
      if (name !== 'lengths') return false
      lengths = checkArray(name, value, 'Int32Array')
      return true
    })
    const [batch = 0, , size = 0] = input.shape
    const output = allocateTensor('output', [batch, size])
    backend.call('meanPool').input(input).options(json).integers(lengths).output(output.data).run()
    return output
  }

  class TransformerEncoderLayer extends Layer {
    /** @type {import('../index.d.ts').TransformerEncoderLayer['config']} */
    #config

    /** @param {unknown} config */
    constructor(config) {
      const resident = new Resident(backend, 'encoder-layer', encodeConfig(config))
      super(resident)
      this.#config = Object.freeze(resident.describe())
    }

    get config() {
      return this.#config
    }

    /**
     * @param {unknown} x
     * @param {unknown} [options]
     */
    forward(x, options) {
      return attend(backend, this, ['x'], x, undefined, undefined, options, 'transformerEncoderLayer')
    }
  }

  return { layerNorm, rmsNorm, gelu, silu, meanPool, TransformerEncoderLayer }
}
