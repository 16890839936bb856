// The entries of a model's weights: below the root of the base model, or with their whole names.

import { describe, fault } from '../checks/errors.js'

/** @typedef {{ data: Float32Array, shape: number[] }} Matrix */

export class Checkpoint {
  #file
  #root
  #onEntry
  /** The number of elements that were read. */
  parameters = 0

  /**
   * @param {import('../weights/open.js').SafetensorsFile} file
   * @param {import('./checkpoints.js').Row} row
   * @param {(elements: number) => void} onEntry  called with the number of elements that were read
   */
  constructor(file, { roots, words }, onEntry) {
    this.#file = file
    const root = roots.find((prefix) => file.names.includes(prefix + words))
    if (root === undefined) {
      const expected = `an entry ${roots.map((prefix) => prefix + words).join(' or ')}`
      throw fault('FORMAT', 'model.safetensors', expected, 'none')
    }
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
    this.#count(tensor)
    return tensor
  }

  /** @param {string} name */
  async optional(name) {
    return this.has(name) ? this.tensor(name) : undefined
  }

  /** The entries below a prefix. @param {string} prefix */
  async state(prefix) {
    const state = await this.#file.stateDict({ prefix: this.#full(prefix) })
    for (const tensor of Object.values(state)) this.#count(/** @type {Matrix} */ (tensor))
    return state
  }

  /** @param {Matrix} tensor */
  #count({ data }) {
    this.parameters += data.length
    this.#onEntry(data.length)
  }
}
