// The tensors that a target's gradients are of: its inputs by name, and its parameters.

import { widen } from '../numbers/convert.js'
import { checkTensor, checkWeight, copyOf } from '../checks/tensor.js'
import { adapted } from './lora.js'
import { Frozen } from './recorder.js'
import { Value } from './tape.js'

/** @typedef {import('../checks/tensor.js').Checked} Checked */
/** @typedef {import('./recorder.js').Matrix} Matrix */

/** The inputs of a call, copied, so that later changes to the caller's arrays have no effect. */
export class Inputs {
  /** @type {Map<string, Value | Value[]>} */
  values = new Map()

  /**
   * Checks and adds a tensor.
   *
   * @param {string} name
   * @param {unknown} tensor
   */
  tensor(name, tensor) {
    const { data, shape } = checkTensor(name, tensor)
    return this.add(name, { data: copyOf(data), shape })
  }

  /**
   * The same, if it is there.
   *
   * @param {string} name
   * @param {unknown} tensor
   */
  optional(name, tensor) {
    return tensor === undefined || tensor === null ? undefined : this.tensor(name, tensor)
  }

  /**
   * Checks weights. Those of another type than 32-bit floats have no gradient.
   *
   * @param {string} name
   * @param {unknown} weight
   * @returns {Matrix}
   */
  weight(name, weight) {
    const { type, data, scales, shape } = checkWeight(name, weight)
    if (type === 'f32') return this.add(name, { data: copyOf(/** @type {Float32Array} */ (data)), shape })
    return new Frozen({ type, data: copyOf(data), ...(scales && { scales: copyOf(scales) }), shape })
  }

  /** @param {string} name @param {Checked} tensor */
  add(name, tensor) {
    const value = new Value(tensor, true)
    this.values.set(name, value)
    return value
  }
}

/**
 * An adapter on the tape, whose product is multiplied by `scale`.
 *
 * @typedef {{ down: Value, up: Value, scale: Value }} Adapter
 */

/** The parameters of a layer, by name. */
export class Parameters {
  /** @type {Map<string, Matrix>} */
  #values
  #prefix
  /** The complete names of the parameters that were read. @type {Set<string>} */
  #used

  /**
   * @param {Map<string, Matrix>} values
   * @param {string} [prefix]  of their complete names
   * @param {Set<string>} [used]
   */
  constructor(values, prefix = '', used = new Set()) {
    this.#values = values
    this.#prefix = prefix
    this.#used = used
  }

  /**
   * Reads the parameters of a layer. Weights of another type than 32-bit floats have no gradient, and those of a layer
   * with adapters are constants.
   *
   * @param {object} layer
   * @param {import('../runtime/resident.js').Resident} resident
   */
  static of(layer, resident) {
    const own = adapted.get(layer)
    if (own) return Parameters.#adapted(own)
    const entries = Object.entries(resident.state()).map(([name, entry]) => {
      const { type = 'f32', ...rest } = /** @type {any} */ (entry)
      return /** @type {const} */ ([
        name,
        type === 'f32' ? new Value(rest, true) : new Frozen(/** @type {any} */ (entry))
      ])
    })
    const parameters = new Parameters(new Map(entries))
    parameters.trained = entries.flatMap(([name, value]) => (value instanceof Value ? [[name, value]] : []))
    return parameters
  }

  /** @param {import('./lora.js').Adapted} adapted */
  static #adapted({ base, adapters, scale }) {
    const frozen = Object.entries(base).map(([name, entry]) => {
      const isTyped = 'type' in entry && entry.type !== 'f32'
      return /** @type {const} */ ([name, isTyped ? new Frozen(entry) : Value.constant(/** @type {Checked} */ (entry))])
    })
    const parameters = new Parameters(new Map(frozen))
    for (const { key, module, a, b } of adapters) {
      const [down, up] = [new Value(a, true), new Value(b, true)]
      parameters.#adapters.set(key, { down, up, scale: Value.constant({ data: Float32Array.of(scale), shape: [1] }) })
      parameters.trained.push([`${module}.lora_A.weight`, down], [`${module}.lora_B.weight`, up])
    }
    return parameters
  }

  /** The parameters that have gradients, by name. @type {[string, Value][]} */
  trained = []
  /** The adapters of projections, by role. @type {Map<string, Adapter>} */
  #adapters = new Map()

  /** The adapter of a projection. @param {string} role */
  adapter(role) {
    return this.#adapters.get(role)
  }

  /**
   * The first parameter with one of these names.
   *
   * @param {...string} names
   * @returns {Matrix | undefined}
   */
  matrix(...names) {
    const name = names.find((name) => this.#values.has(name))
    if (name === undefined) return undefined
    this.#used.add(this.#prefix + name)
    return this.#values.get(name)
  }

  /**
   * The same, as 32-bit floats.
   *
   * @param {...string} names
   * @returns {Value | undefined}
   */
  value(...names) {
    const found = this.matrix(...names)
    return found instanceof Frozen ? new Value({ data: widen(found.weight), shape: found.shape }, false) : found
  }

  /**
   * The parameters whose names start with a prefix, without it.
   *
   * @param {string} prefix
   */
  below(prefix) {
    const inner = [...this.#values].filter(([name]) => name.startsWith(prefix))
    const values = new Map(inner.map(([name, value]) => [name.slice(prefix.length), value]))
    const parameters = new Parameters(values, this.#prefix + prefix, this.#used)
    for (const [key, adapter] of this.#adapters) {
      if (key.startsWith(prefix)) parameters.#adapters.set(key.slice(prefix.length), adapter)
    }
    return parameters
  }

  /** The name of a parameter that was not read, if there is one. */
  get unused() {
    return [...this.#values.keys()].find((name) => !this.#used.has(name))
  }
}
