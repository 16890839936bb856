// Linear layers and embeddings, with their own parameters or a table of the caller's.

import { fault, unknownOption } from '../checks/errors.js'
import { encodeConfig, refuseMore, splitOptions } from '../checks/options.js'
import {
  allocateArray,
  arrayType,
  checkAttached,
  checkIntegers,
  checkTensor,
  checkWeight,
  formatShape,
  GROUP,
  withoutMembers
} from '../checks/tensor.js'
import { Resident } from '../runtime/resident.js'
import { widen } from '../numbers/convert.js'
import { Layer, residentOf } from './layers.js'

/** @typedef {import('../checks/tensor.js').Checked} Checked */
/** @typedef {import('../runtime/async/watch.js').Watch} Watch */

/**
 * Copies rows of a table as 32-bit floats.
 *
 * @param {unknown} table
 * @param {unknown} ids
 * @param {...unknown} more
 * @returns {Checked}
 */
export function embedding(table, ids, ...more) {
  refuseMore('embedding', more)
  const weight = checkWeight('table', table)
  const { shape } = weight
  if (shape.length !== 2) throw fault('SHAPE', 'table', '2 dimensions [V, M]', formatShape(shape))
  const { data: rows, shape: dims } = checkIntegers('ids', ids)
  checkAttached('table', weight)
  const [count, width] = shape
  rows.forEach((row, place) => {
    if (row < 0 || row >= count) {
      throw fault('OPTION', `ids[${place}]`, `an integer from 0 to ${count - 1}`, `${row}`)
    }
  })
  const data = gatherRows(weight.data, rows, width)
  const scales = weight.scales && gatherRows(weight.scales, rows, Math.ceil(width / GROUP))
  return { data: widen({ ...weight, data, scales, shape: [rows.length, width] }), shape: [...dims, width] }
}

/**
 * Copies rows of a matrix.
 *
 * @template {Float32Array | Uint16Array | Int8Array} T
 * @param {T} data
 * @param {Int32Array} rows
 * @param {number} width
 * @returns {T}
 */
function gatherRows(data, rows, width) {
  const values = withoutMembers(data)
  const gathered = /** @type {T} */ (
    allocateArray('output', /** @type {string} */ (arrayType(data)), rows.length * width)
  )
  rows.forEach((row, place) => gathered.set(values.subarray(row * width, (row + 1) * width), place * width))
  return gathered
}

/** @param {import('../runtime/backend.js').Backend} backend */
export function createDense(backend) {
  /**
   * Reads the options of an asynchronous call; a synchronous one has none.
   *
   * @param {string} name
   * @param {Watch | undefined} watch
   * @param {unknown} options
   * @param {readonly unknown[]} more
   */
  function readWatch(name, watch, options, more) {
    refuseMore(name, watch ? more : [options, ...more])
    if (!watch) return
    const { values } = splitOptions('options', options, [], watch)
    for (const name in values) throw unknownOption(name, ['signal', 'onProgress'])
  }

  /** @extends {Layer<Checked>} */
  class Linear extends Layer {
    /** @type {import('../../index.d.ts').Linear['config']} */
    #config

    /** @param {unknown} config */
    constructor(config) {
      const resident = new Resident(backend, 'createLinear', encodeConfig(config))
      super(resident, (layer, watch, x, options, ...more) => {
        const input = checkTensor('x', x)
        readWatch('forward', watch, options, more)
        return backend
          .call('linearLayer', residentOf(layer))
          .input(input)
          .returning(([output]) => output)
      })
      this.#config = Object.freeze(resident.describe())
    }

    get config() {
      return this.#config
    }
  }

  /** @extends {Layer<Checked>} */
  class Embedding extends Layer {
    /** @type {import('../../index.d.ts').Embedding['config']} */
    #config

    /** @param {unknown} config */
    constructor(config) {
      const resident = new Resident(backend, 'createEmbedding', encodeConfig(config))
      super(resident, (layer, watch, ids, options, ...more) => {
        const indices = checkIntegers('ids', ids)
        readWatch('forward', watch, options, more)
        return backend
          .call('embeddingLayer', residentOf(layer))
          .integers(indices.data, indices.shape)
          .returning(([output]) => output)
      })
      this.#config = Object.freeze(resident.describe())
    }

    get config() {
      return this.#config
    }
  }

  return { Linear, Embedding, embedding }
}
