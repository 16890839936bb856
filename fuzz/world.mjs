// The environment of one fuzzer case: its random choices, the arrays that no call may write to, and its own errors.

import { Random } from './random.mjs'

/** Thrown by the fuzzer's own getters, iterators and jobs. */
export class OwnError extends Error {}

/** Elements around each array that no call may touch. */
const MARGIN = 4
const TYPES = /** @type {const} */ ({ Float32Array, Int32Array, Uint8Array })

export class World {
  /** Exceptions that are allowed besides AttentionErrors. @type {Set<unknown>} */
  own = new Set()
  /** True if two backends may differ because of overflow or saturated softmax. */
  isExtreme = false
  /** True if the outcome depends on timing, such as late signals. */
  isRacy = false
  /** True if sizes exceed 32 bits: one backend may throw OPTION or SHAPE where the other throws MEMORY. */
  isHuge = false
  /** The mutations made, for a report. @type {string[]} */
  changes = []
  /** Objects to dispose at the end. @type {any[]} */
  objects = []
  /** Arrays that calls write to. @type {WeakSet<object>} */
  outputs = new WeakSet()
  /** @type {{ bytes: Uint8Array, before: Uint8Array, free?: [number, number] }[]} */
  #tracked = []

  /**
   * @param {any} api
   * @param {number} seed
   * @param {() => void} reenter  re-enters the API
   */
  constructor(api, seed, reenter) {
    this.api = api
    this.r = new Random(seed)
    this.reenter = reenter
  }

  /** An error that a call may rethrow. @param {string} what */
  error(what) {
    const error = new OwnError(what)
    this.own.add(error)
    return error
  }

  /**
   * A typed array inside a larger buffer, which is checked for changes.
   *
   * @template {keyof typeof TYPES} T
   * @param {T} type
   * @param {number} length
   * @param {() => number} draw
   * @param {boolean} [isOutput]
   * @returns {InstanceType<(typeof TYPES)[T]>}
   */
  array(type, length, draw, isOutput = false) {
    const Type = TYPES[type]
    const margin = this.r.chance(0.5) ? MARGIN : 0
    const whole = new Type(length + 2 * margin).fill(7)
    const array = whole.subarray(margin, margin + length)
    for (let index = 0; index < length; index++) array[index] = draw()
    if (isOutput) this.outputs.add(array)
    if (isOutput) this.track(whole.buffer, [array.byteOffset, array.byteOffset + array.byteLength])
    else this.track(whole.buffer)
    return /** @type {any} */ (array)
  }

  /** @param {ArrayBufferLike} buffer @param {[number, number]} [free]  the bytes that may change */
  track(buffer, free) {
    const bytes = new Uint8Array(buffer)
    this.untrack(buffer)
    this.#tracked.push({ bytes, before: bytes.slice(), ...(free && { free }) })
  }

  /** Stops checking a buffer that its owner changes. @param {ArrayBufferLike} buffer */
  untrack(buffer) {
    this.#tracked = this.#tracked.filter(({ bytes }) => bytes.buffer !== buffer)
  }

  /** True if every array is unchanged. */
  isUntouched() {
    return this.#tracked.every(({ bytes, before, free: [start, end] = [0, 0] }) => {
      if (bytes.length === 0) return true
      for (let at = 0; at < before.length; at++) {
        if (bytes[at] !== before[at] && !(at >= start && at < end)) return false
      }
      return true
    })
  }

  /** @param {number} length */
  floats(length) {
    return this.array('Float32Array', length, () => this.r.normal())
  }

  /** @param {number} length @param {number} least @param {number} most */
  ints(length, least, most) {
    return this.array('Int32Array', length, () => this.r.int(least, most))
  }

  /** @param {number[]} shape @param {number} [size]  the factor of the numbers */
  tensor(shape, size = 1) {
    const length = shape.reduce((a, b) => a * b, 1)
    return { data: this.array('Float32Array', length, () => size * this.r.normal()), shape }
  }

  /** A dimension, sometimes 0. */
  dim() {
    return this.r.chance(0.05) ? 0 : this.r.int(1, 6)
  }

  /**
   * Some of the members, each with a probability. @param {Record<string, () => unknown>} members @param {number}
   * [chance]
   */
  some(members, chance = 0.2) {
    /** @type {Record<string, unknown>} */
    const chosen = {}
    for (const [name, make] of Object.entries(members)) if (this.r.chance(chance)) chosen[name] = make()
    return chosen
  }

  /** @template T @param {T} object */
  keep(object) {
    this.objects.push(object)
    return object
  }

  dispose() {
    for (const object of this.objects) object?.dispose?.()
  }
}
