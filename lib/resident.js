// What lives in a backend's memory between calls: made, found again after a fault, and freed.

import { AttentionError } from './errors.js'
import { decodeState } from './state.js'

/** @typedef {import('./backend.js').Backend} Backend */
/** @typedef {import('./binding.d.ts').Binding} Binding */

/** Frees what nobody disposed of. */
const forgotten = new FinalizationRegistry(release)

/** @param {{ binding: Binding, id: number }} held */
function release({ binding, id }) {
  try {
    binding.free(id)
  } catch {
    // A trapped instance may refuse; it goes as a whole.
  }
}

export class Resident {
  /** Whether a layer trains. */
  training = false
  /** @type {{ binding: Binding, id: number } | undefined} */
  #held
  #backend
  #make

  /**
   * @param {Backend} backend
   * @param {string} kind
   * @param {string} config  as JSON
   * @param {Int32Array} [integers1]
   * @param {Int32Array} [integers2]
   */
  constructor(backend, kind, config, integers1, integers2) {
    this.#backend = backend
    this.#make = (/** @type {Binding} */ binding) => ({
      binding,
      id: binding.create(kind, config, integers1, integers2)
    })
    this.#hold(this.#guard(this.#make))
  }

  /** The number of the object in the binding that runs now. */
  use() {
    if (this.#held === undefined) {
      throw new AttentionError('DISPOSED', {
        expected: 'an object that has not been disposed',
        message: 'this object has been disposed: make a new one, or dispose it later'
      })
    }
    if (this.#held.binding !== this.#backend.binding) this.#revive(this.#held)
    return this.#held.id
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
  }

  dispose() {
    if (this.#held === undefined) return
    forgotten.unregister(this)
    release(this.#held)
    this.#held = undefined
  }

  /** @param {{ binding: Binding, id: number }} held */
  #hold(held) {
    this.#held = held
    forgotten.register(this, held, this)
  }

  /**
   * Carries the object over from an instance that trapped; its memory can still be read.
   *
   * @param {{ binding: Binding, id: number }} old
   */
  #revive(old) {
    const held = this.#guard((binding) => {
      const entries = old.binding.stateEntries(old.id)
      const state = decodeState(JSON.parse(entries), (index, output) => old.binding.readState(old.id, index, output))
      const fresh = this.#make(binding)
      const data = Object.values(state).map((tensor) => tensor.data)
      if (data.length > 0) binding.loadState(fresh.id, entries, data, '')
      return fresh
    })
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
