// The parameters of a model's first part: they stay in JavaScript's memory, under the interface of objects in a
// backend's.

import { AttentionError, fault } from '../checks/errors.js'
import { formatShape, ownScales } from '../checks/tensor.js'
import { residentOf } from '../face/layers.js'
import { convert } from '../numbers/convert.js'
import { Holder } from '../runtime/resident.js'
import { decodeState, explaining } from '../weights/state.js'

/** @typedef {import('../../index.d.ts').Weight} Weight */

/** @param {Weight} weight */
const typeOf = (weight) => ('type' in weight ? weight.type : undefined)

/** @param {any} weight @returns {any} */
const copied = ({ data, scales, shape, ...rest }) => ({
  ...rest,
  data: data.slice(),
  ...(scales && { scales: scales.slice() }),
  shape: [...shape]
})

/**
 * Marks a weight as one that no caller can reach.
 *
 * @template {Weight} W
 * @param {W} weight
 */
export function owned(weight) {
  if ('scales' in weight) ownScales.add(weight.scales)
  return weight
}

export class Tables extends Holder {
  /** @type {Map<string, Weight> | undefined} */
  #weights = new Map()
  #layers
  #version = 0
  /** The names of parameters whose arrays no one else can hold. @type {Set<string>} */
  #writable = new Set()

  /**
   * @param {readonly import('../face/layers.js').Layer<any>[]} layers  the layers of the network, of the same backend
   */
  constructor(layers) {
    super()
    this.#layers = layers
  }

  /** Adds a parameter, and returns its name. @param {string} name @param {Weight} weight */
  add(name, weight) {
    this.#open().set(name, weight)
    return name
  }

  #open() {
    if (this.#weights) return this.#weights
    throw new AttentionError('DISPOSED', {
      argument: 'this',
      expected: 'embeddings in use',
      actual: 'disposed ones',
      message: 'the embeddings were disposed with their model; load it again, or dispose of it later'
    })
  }

  /** @param {string} name */
  get(name) {
    return /** @type {Weight} */ (this.#open().get(name))
  }

  /** A parameter that keeps 32 bits. @param {string} name @returns {{ data: Float32Array, shape: number[] }} */
  tensor(name) {
    return /** @type {any} */ (this.get(name))
  }

  use() {
    this.#open()
    return 0
  }

  get version() {
    this.use()
    return `${this.#version}`
  }

  /** @param {any} backend */
  isOf(backend) {
    return residentOf(this.#layers[0]).isOf(backend)
  }

  get backendKind() {
    return residentOf(this.#layers[0]).backendKind
  }

  entries() {
    return Array.from(this.#open(), ([name, weight]) => ({ name, shape: [...weight.shape], type: typeOf(weight) }))
  }

  layout() {
    return { operation: 'embeddings', config: {}, entries: this.entries() }
  }

  state() {
    return Object.fromEntries(Array.from(this.#open(), ([name, weight]) => [name, copied(weight)]))
  }

  /**
   * Replaces all parameters, or none if one does not fit.
   *
   * @param {ReturnType<typeof import('../weights/state.js').encodeState>} state
   */
  load({ entries, data, prefix, strict, integers }) {
    const given = decodeState(JSON.parse(entries), data)
    const weights = explaining(integers, () => this.#read(given, prefix, strict))
    this.#weights = weights
    this.#writable = new Set(weights.keys())
    this.#version++
  }

  /** @returns {import('../runtime/resident.js').Trainable} */
  trainable() {
    return {
      entries: this.entries(),
      array: (name) => {
        // A table that was read from a checkpoint may be part of the caller's memory.
        if (!this.#writable.has(name)) this.#open().set(name, copied(this.get(name)))
        this.#writable.add(name)
        return this.tensor(name).data
      },
      changed: () => {
        this.#version++
      }
    }
  }

  /**
   * @param {Record<string, Weight>} given
   * @param {string} prefix
   * @param {boolean} strict
   */
  #read(given, prefix, strict) {
    const own = this.#open()
    const known = [...own.keys()].map((name) => `'${prefix}${name}'`).join(', ')
    const unknown = Object.keys(given).find((name) => !own.has(name.slice(prefix.length)))
    const loaded = Array.from(own, ([name, { shape, ...weight }]) => {
      const full = prefix + name
      const entry = Object.hasOwn(given, full) ? given[full] : undefined
      if (entry === undefined) throw fault('FORMAT', full, `an entry of shape ${formatShape(shape)}`, 'no such entry')
      if (`${entry.shape}` !== `${shape}`) throw fault('SHAPE', full, formatShape(shape), formatShape(entry.shape))
      const type = typeOf({ shape, .../** @type {any} */ (weight) })
      const fits = typeOf(entry) === type ? copied(entry) : convert(entry, type ?? 'f32')
      return /** @type {const} */ ([name, owned(fits)])
    })
    if (strict && unknown !== undefined) {
      throw fault('FORMAT', unknown, `one of ${known}`, 'an entry that is no parameter of this layer')
    }
    return new Map(loaded)
  }

  dispose() {
    this.#weights = undefined
  }
}
