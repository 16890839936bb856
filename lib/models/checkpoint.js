// The entries of a model's weights: below the root of the base model, or with their whole names.

import { describe, fault } from '../checks/errors.js'
import { convert } from '../numbers/convert.js'
import { CHECKPOINTS } from './checkpoints.js'

/** @typedef {{ data: Float32Array, shape: number[] }} Matrix */
/** @typedef {import('../../index.d.ts').Weight} Weight */

/**
 * The entries of a model, in a file of any format.
 *
 * @typedef {object} Weights
 * @property {readonly string[]} names
 * @property {(name: string) => { shape: readonly number[], type?: string }} describe  the type if loading keeps it
 * @property {(name: string) => Promise<Weight>} tensor
 * @property {(options: { prefix: string }) => Promise<Record<string, Weight>>} stateDict
 * @property {() => Promise<void>} close
 */

/**
 * The rows of the family, one for texts and one for images if it has both.
 *
 * @param {Record<string, any>} config
 */
export function rowsOf({ model_type: family }) {
  if (typeof family === 'string' && Object.hasOwn(CHECKPOINTS, family)) return [CHECKPOINTS[family]].flat()
  const expected = `one of ${Object.keys(CHECKPOINTS).join(', ')}`
  throw fault('FORMAT', 'config.json: model_type', expected, describe(family))
}

/**
 * The entries that keep 32 bits in a model of any type, with every root: positions, token types, biases of the distance
 * and the projection of the words.
 *
 * @param {readonly import('./checkpoints.js').Row[]} rows
 */
export function exactNames(rows) {
  const names = rows.flatMap(({ roots, positions, types, relativeBias, layerBias, patches, projection }) => {
    const exact = [positions, types, relativeBias, layerBias?.[0], patches?.positions]
    return [...exact, projection && `${projection}.weight`].flatMap((name) =>
      name ? roots.map((root) => root + name) : []
    )
  })
  return new Set(names)
}

/**
 * The rows of a family that a file has, each with the prefix of its base model.
 *
 * @param {Weights} file
 * @param {readonly import('./checkpoints.js').Row[]} rows
 */
export function rootsOf(file, rows) {
  const first = (/** @type {import('./checkpoints.js').Row} */ { mark, words, patches }) =>
    mark ?? words ?? `${patches?.weight}.weight`
  const found = rows.flatMap((row) => {
    const root = row.roots.find((prefix) => file.names.includes(prefix + first(row)))
    return root === undefined ? [] : [{ row, root }]
  })
  if (found.length > 0) return found
  const names = rows.flatMap((row) => row.roots.map((prefix) => prefix + first(row)))
  throw fault('FORMAT', 'model.safetensors', `an entry ${names.join(' or ')}`, 'none')
}

export class Checkpoint {
  #file
  #root
  #onEntry
  /** Bytes of the entries around the layers. */
  bytes = 0

  /**
   * @param {Weights} file
   * @param {string} root  the prefix of the base model
   * @param {(elements: number) => void} onEntry  called with the number of elements that were read
   */
  constructor(file, root, onEntry) {
    this.#file = file
    this.#root = root
    this.#onEntry = onEntry
  }

  /** @param {string} name  with `^` at the front if it is below the root */
  #full(name) {
    return name.startsWith('^') ? this.#root + name.slice(1) : name
  }

  /** @param {string} name */
  has(name) {
    return this.#file.names.includes(this.#full(name))
  }

  /**
   * Reads an entry in the type of the file, if that is 8 bits, else as 32-bit floats.
   *
   * @param {string} name
   * @returns {Promise<Weight>}
   */
  async weight(name) {
    const full = this.#full(name)
    const tensor = await this.#file.tensor(full)
    if (!(tensor.data instanceof Float32Array || 'scales' in tensor)) {
      throw fault('FORMAT', full, 'an entry of floats', describe(tensor.data))
    }
    this.bytes += 4 * tensor.data.length
    this.#onEntry(tensor.data.length)
    return tensor
  }

  /**
   * Reads an entry as 32-bit floats.
   *
   * @param {string} name
   * @returns {Promise<Matrix>}
   */
  async tensor(name) {
    const weight = await this.weight(name)
    return /** @type {Matrix} */ ('type' in weight ? convert(weight, 'f32') : weight)
  }

  /** @param {string} name */
  async optional(name) {
    return this.has(name) ? this.tensor(name) : undefined
  }

  /** The entries below a prefix. @param {string} prefix */
  async state(prefix) {
    const state = await this.#file.stateDict({ prefix: this.#full(prefix) })
    for (const tensor of Object.values(state)) this.#onEntry(/** @type {Matrix} */ (tensor).data.length)
    return state
  }
}
