// Objects in a backend's memory that outlive a call: created, recreated after a fault, and freed.

import { freeQuietly, makeObject } from './async/worker-calls.js'
import { AttentionError } from '../checks/errors.js'
import { decodeState, explaining, readWords } from '../weights/state.js'
import { OPERATIONS } from './operations.js'

/** @typedef {import('./backend.js').Backend} Backend */
/** @typedef {import('./binding.d.ts').Binding} Binding */
/** @typedef {import('./call-memory.js').CallMemory} CallMemory */

/** The binding and id of an object. @typedef {{ binding: Binding, id: number, version: Version }} Location */
/** The call that creates an object. @typedef {{ operation: number, config: string, arrays: Int32Array[] }} Origin */
/**
 * Everything needed to recreate an object in another instance.
 *
 * @typedef {Origin & { key: string, entries: string, data: Float32Array[] }} Recipe
 */

/**
 * The parameters of a layer for changes in place. Those of an object in a backend's memory have its `id`; of any
 * others, `array` returns the memory that an optimizer may write to. `changed` makes the changes known.
 *
 * @typedef {object} Trainable
 * @property {import('../weights/state.js').Entries} entries
 * @property {number} [id]
 * @property {(name: string) => Float32Array} [array]
 * @property {() => void} changed
 */

/** Frees objects that were never disposed of. */
const registry = new FinalizationRegistry(release)

/** True while objects are created whose parameters are about to be loaded. */
let isBlank = false

/**
 * Creates layers whose parameters the caller loads at once: none are drawn.
 *
 * @template T
 * @param {() => T} create
 * @returns {T}
 */
export function withoutDrawing(create) {
  isBlank = true
  try {
    return create()
  } finally {
    isBlank = false
  }
}

/** The smallest size in bytes of an object in WebAssembly that is reported to the engine. */
const MIN_REPORTED_BYTES = 1 << 16

/** @param {Location} location */
function release({ binding, id, version }) {
  version.release()
  freeQuietly(binding, id)
}

/** A reference-counted snapshot of an object's contents; `key` identifies it to workers. */
class Version {
  static #count = 0
  key = `${++Version.#count}`
  #references = 1
  #backend

  /** @param {Backend} backend */
  constructor(backend) {
    this.#backend = backend
  }

  retain() {
    this.#references++
    return this
  }

  release() {
    if (--this.#references === 0) this.#backend.forget(this.key)
  }
}

/**
 * Reads the recipe of an object. The memory of an instance that trapped can still be read.
 *
 * @param {Location} location
 * @param {Origin} origin
 * @returns {Recipe}
 */
function recipeOf({ binding, id, version }, origin) {
  const entries = binding.stateEntries(id)
  const read = (/** @type {number} */ index, /** @type {Float32Array} */ output) => binding.readState(id, index, output)
  const data = readWords(JSON.parse(entries), read)
  return { key: version.key, ...origin, entries, data }
}

/** The error of an object that was disposed. */
export const disposed = () =>
  new AttentionError('DISPOSED', {
    argument: 'this',
    expected: 'an object that has not been disposed',
    actual: 'a disposed object',
    message: 'this object has been disposed; create a new one, or dispose of it later'
  })

/** Keeps an object alive in its current state, independently of later changes to the original. */
class PinnedObject {
  #location
  #origin

  /**
   * @param {Location} location  exclusive to this object
   * @param {Origin} origin
   */
  constructor(location, origin) {
    this.#location = location
    this.#origin = origin
  }

  get id() {
    return this.#location.id
  }

  get key() {
    return this.#location.version.key
  }

  recipe() {
    return recipeOf(this.#location, this.#origin)
  }

  /** @param {Binding} binding */
  isOf(binding) {
    return binding === this.#location.binding
  }

  release() {
    release(this.#location)
  }
}

/** The base of objects that hold the parameters of a layer. */
export class Holder {
  /** True in training mode. */
  training = false
  /** The workers that may hold copies; undefined for any. @type {import('./async/workers.js').Group | undefined} */
  group = undefined
}

export class Resident extends Holder {
  /**
   * An untouched buffer of the object's size, which tells the engine how much it would free. WebAssembly only: the
   * native binding reports sizes itself.
   *
   * @type {ArrayBuffer | undefined}
   */
  #weight
  /** @type {Location | undefined} */
  #location
  #backend
  #operation
  /** @type {Origin} */
  #origin

  /**
   * @param {Backend} backend
   * @param {import('./operations.js').Operation} operation  creates the object
   * @param {string} config  as JSON
   * @param {...Int32Array} arrays
   */
  constructor(backend, operation, config, ...arrays) {
    super()
    this.#backend = backend
    this.#operation = operation
    this.#origin = { operation: OPERATIONS[operation].number, config, arrays }
    const call = backend.call(operation).options(config)
    if (isBlank) call.blank()
    for (const array of arrays) call.integers(array)
    const id = call.run()
    this.#setLocation({ binding: /** @type {Binding} */ (backend.binding), id, version: new Version(backend) })
  }

  /** The object's id in the current binding; recreates the object first if its instance trapped. */
  use() {
    if (this.#location === undefined) throw disposed()
    if (this.#location.binding !== this.#backend.binding) this.#revive(this.#location)
    return this.#location.id
  }

  /** True for an object of this backend. @param {Backend} backend */
  isOf(backend) {
    return this.#backend === backend
  }

  /** Identifies the object's contents: changes with each load and each step of training. */
  get version() {
    this.use()
    return /** @type {Location} */ (this.#location).version.key
  }

  /** The kind of backend that the object lives in. */
  get backendKind() {
    this.use()
    return this.#backend.kind
  }

  /** Pins the object in its current state, for a call that will run later. */
  hold() {
    const id = this.use()
    const { binding, version } = /** @type {Location} */ (this.#location)
    const pinnedId = this.#guard(() => binding.hold(id))
    return new PinnedObject({ binding, id: pinnedId, version: version.retain() }, this.#origin)
  }

  /** The configuration, including all defaults. */
  describe() {
    const id = this.use()
    return JSON.parse(this.#guard((binding) => binding.describe(id)))
  }

  /** The names and shapes of the parameters. @returns {import('../weights/state.js').Entries} */
  entries() {
    const id = this.use()
    return JSON.parse(this.#guard((binding) => binding.stateEntries(id)))
  }

  /**
   * The configuration and entries that determine the names and shapes of the parameters.
   *
   * @returns {import('../names/translate.js').Layout}
   */
  layout() {
    return { operation: this.#operation, config: this.describe(), entries: this.entries() }
  }

  /** The parameters in their own types. */
  state() {
    const id = this.use()
    return this.#guard((binding) => {
      const entries = JSON.parse(binding.stateEntries(id))
      return decodeState(
        entries,
        readWords(entries, (index, output) => binding.readState(id, index, output))
      )
    })
  }

  /** @param {ReturnType<typeof import('../weights/state.js').encodeState>} state */
  load({ entries, data, prefix, strict, integers }) {
    const id = this.use()
    explaining(integers, () => this.#guard((binding) => binding.loadState(id, entries, data, prefix, strict)))
    this.changed()
  }

  /** @returns {Trainable} */
  trainable() {
    return { id: this.use(), entries: this.entries(), changed: () => this.changed() }
  }

  /** Gives the object's contents another version, after a change. */
  changed() {
    const location = /** @type {Location} */ (this.#location)
    location.version.release()
    location.version = new Version(this.#backend)
    this.weigh()
  }

  /** Reports the object's current size to the engine; must be called after any change to it. */
  weigh() {
    const location = this.#location
    const bytes = location?.binding.bytesOf?.(location.id) ?? 0
    if (bytes === (this.#weight?.byteLength ?? 0)) return
    try {
      this.#weight = bytes < MIN_REPORTED_BYTES ? undefined : new ArrayBuffer(bytes)
    } catch {
      // If the buffer cannot be allocated, the engine already knows that memory is low.
    }
  }

  dispose() {
    if (this.#location === undefined) return
    registry.unregister(this)
    release(this.#location)
    this.#location = this.#weight = undefined
  }

  /** @param {Location} location */
  #setLocation(location) {
    this.#location = location
    this.weigh()
    registry.register(this, location, this)
  }

  /**
   * Recreates the object after its instance trapped.
   *
   * @param {Location} old
   */
  #revive(old) {
    const location = this.#guard((binding) => ({
      binding,
      id: makeObject(binding, /** @type {CallMemory} */ (this.#backend.memory), recipeOf(old, this.#origin)),
      version: old.version
    }))
    registry.unregister(this)
    this.#setLocation(location)
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
