// The entries of a model's weights: below the root of the base model, or with their whole names.

import { describe, fault } from '../checks/errors.js'

/** @typedef {{ data: Float32Array, shape: number[] }} Matrix */

/**
 * The entries of a model, in a file of any format.
 *
 * @typedef {object} Weights
 * @property {readonly string[]} names
 * @property {(name: string) => { shape: readonly number[] }} describe
 * @property {(name: string) => Promise<Matrix>} tensor
 * @property {(options: { prefix: string }) => Promise<Record<string, Matrix>>} stateDict
 * @property {() => Promise<void>} close
 */

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
   * @param {string} name
   * @returns {Promise<Matrix>}
   */
  async tensor(name) {
    const full = this.#full(name)
    const tensor = await this.#file.tensor(full)
    if (!(tensor.data instanceof Float32Array)) throw fault('FORMAT', full, 'an entry of floats', describe(tensor.data))
    this.bytes += tensor.data.byteLength
    this.#onEntry(tensor.data.length)
    return tensor
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
