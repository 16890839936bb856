// What lives in a backend's memory between calls: made, found again after a fault, and freed.

import { freeQuietly, makeObject } from './async/worker-calls.js'
import { AttentionError } from './errors.js'
import { decodeState } from './state.js'

/** @typedef {import('./backend.js').Backend} Backend */
/** @typedef {import('./binding.d.ts').Binding} Binding */

/** Where an object lives. @typedef {{ binding: Binding, id: number, version: Version }} Held */
/** @typedef {{ kind: string, config: string, integers: (Int32Array | undefined)[] }} Origin */
/**
 * What makes the same object elsewhere.
 *
 * @typedef {Origin & { key: string, entries: string, data: Float32Array[] }} Recipe
 */

/** Frees what nobody disposed of. */
const forgotten = new FinalizationRegistry(release)

/** @param {Held} held */
function release({ binding, id, version }) {
  version.release()
  freeQuietly(binding, id)
}

/** An object's contents as they are at one moment, under the name that workers know them by, until nobody has them any more. */
class Version {
  static #count = 0
  key = `${++Version.#count}`
  #holders = 1
  #backend

  /** @param {Backend} backend */
  constructor(backend) {
    this.#backend = backend
  }

  share() {
    this.#holders++
    return this
  }

  release() {
    if (--this.#holders === 0) this.#backend.forget(this.key)
  }
}

/**
 * What makes the same object elsewhere. The memory of an instance that trapped can still be read.
 *
 * @param {Held} held
 * @param {Origin} origin
 * @returns {Recipe}
 */
function recipeOf({ binding, id, version }, origin) {
  const entries = binding.stateEntries(id)
  const read = (/** @type {number} */ index, /** @type {Float32Array} */ output) => binding.readState(id, index, output)
  const data = Object.values(decodeState(JSON.parse(entries), read)).map((tensor) => tensor.data)
  return { key: version.key, ...origin, entries, data }
}

/** An object as it was at one moment, whatever becomes of it. */
class Hold {
  #held
  #origin

  /**
   * @param {Held} held  whose number and version are this one's own
   * @param {Origin} origin
   */
  constructor(held, origin) {
    this.#held = held
    this.#origin = origin
  }

  get id() {
    return this.#held.id
  }

  get key() {
    return this.#held.version.key
  }

  recipe() {
    return recipeOf(this.#held, this.#origin)
  }

  /** @param {Binding} binding */
  isOf(binding) {
    return binding === this.#held.binding
  }

  release() {
    release(this.#held)
  }
}

export class Resident {
  /** Whether a layer trains. */
  training = false
  /** @type {Held | undefined} */
  #held
  #backend
  /** @type {Origin} */
  #origin

  /**
   * @param {Backend} backend
   * @param {string} kind
   * @param {string} config  as JSON
   * @param {Int32Array} [integers1]
   * @param {Int32Array} [integers2]
   */
  constructor(backend, kind, config, integers1, integers2) {
    this.#backend = backend
    this.#origin = { kind, config, integers: [integers1, integers2] }
    this.#hold(
      this.#guard((binding) => ({
        binding,
        id: binding.create(kind, config, integers1, integers2),
        version: new Version(backend)
      }))
    )
  }

  /** The number of the object in the binding that runs now. */
  use() {
    if (this.#held === undefined) {
      throw new AttentionError('DISPOSED', {
        argument: 'this',
        expected: 'an object that has not been disposed',
        actual: 'one that has been',
        message: 'this object has been disposed: make a new one, or dispose it later'
      })
    }
    if (this.#held.binding !== this.#backend.binding) this.#revive(this.#held)
    return this.#held.id
  }

  /** The object as it is now, for a call that has still to run. */
  hold() {
    const id = this.use()
    const { binding, version } = /** @type {Held} */ (this.#held)
    const held = this.#guard(() => binding.hold(id))
    return new Hold({ binding, id: held, version: version.share() }, this.#origin)
  }

  /** The configuration with every default filled in. */
  describe() {
    const id = this.use()
    return JSON.parse(this.#guard((binding) => binding.describe(id)))
  }

  /** The names and shapes of its parameters. @returns {import('./state.js').Entries} */
  entries() {
    const id = this.use()
    return JSON.parse(this.#guard((binding) => binding.stateEntries(id)))
  }

  state() {
    const id = this.use()
    return this.#guard((binding) =>
      decodeState(JSON.parse(binding.stateEntries(id)), (index, output) => binding.readState(id, index, output))
    )
  }

  /**
   * @param {{ entries: string, data: Float32Array[] }} state
   * @param {string} prefix
   */
  load({ entries, data }, prefix) {
    const id = this.use()
    this.#guard((binding) => binding.loadState(id, entries, data, prefix))
    const held = /** @type {Held} */ (this.#held)
    held.version.release()
    held.version = new Version(this.#backend)
  }

  dispose() {
    if (this.#held === undefined) return
    forgotten.unregister(this)
    release(this.#held)
    this.#held = undefined
  }

  /** @param {Held} held */
  #hold(held) {
    this.#held = held
    forgotten.register(this, held, this)
  }

  /**
   * Carries the object over from an instance that trapped.
   *
   * @param {Held} old
   */
  #revive(old) {
    const held = this.#guard((binding) => ({
      binding,
      id: makeObject(binding, recipeOf(old, this.#origin)),
      version: old.version
    }))
    forgotten.unregister(this)
    this.#hold(held)
  }

  /**
   * @template T
   * @param {(binding: Binding) => T} call
   */
  #guard(call) {
    const backend = this.#backend
    const binding = backend.binding ?? backend.start()
    try {
      return call(binding)
    } catch (error) {
      throw backend.fault(error)
    }
  }
}
