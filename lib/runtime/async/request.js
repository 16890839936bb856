// A pending asynchronous call, with private copies of all its inputs.

import { AttentionError } from '../../checks/errors.js'
import { arrayType, asGiven, lengthOf } from '../../checks/tensor.js'

/** @typedef {import('../resident.js').Resident} Resident */
/** @typedef {import('../call-memory.js').Result} Result */
/**
 * - `bytes`: a copy of the call's memory.
 * - `operations`: approximate number of operations if the call can be split, otherwise 0.
 * - `names`: the caller's names for q, k and v.
 * - `build`: builds the value to return from the results.
 *
 * @typedef {object} Parts
 * @property {number} operation
 * @property {Uint8Array} bytes
 * @property {string | undefined} options
 * @property {any[] | undefined} arrays
 * @property {readonly Resident[]} residents
 * @property {readonly string[] | undefined} names
 * @property {number} operations
 * @property {(results: Result[]) => any} build
 * @property {Float32Array | undefined} out
 */

export class Request {
  #build
  #out

  /** @param {Parts} parts  the caller's arrays are copied */
  constructor({ operation, bytes, options, arrays, residents, names, operations, build, out }) {
    this.operation = operation
    this.bytes = bytes
    this.options = options
    this.names = names
    this.operations = operations
    this.#build = build
    this.#out = out
    this.arrays = arrays?.map(copy)
    /** The objects of the call, pinned in their current state. */
    this.objects = residents.map((resident) => resident.hold())
    /** The workers that may hold copies of the objects. */
    this.group = residents[0]?.group
  }

  /** Releases the objects of the call. */
  release() {
    for (const object of this.objects) object.release()
  }

  /**
   * Builds the value to return.
   *
   * @param {Result[]} results
   */
  finish(results) {
    const out = this.#out
    if (out !== undefined) {
      const made = results[0].data
      if (lengthOf(out) !== made.length) {
        throw new AttentionError('DTYPE', {
          argument: 'out',
          expected: `memory for ${made.length} elements until the call ends`,
          actual: `${lengthOf(out)} elements: it was detached or resized meanwhile`
        })
      }
      // An empty array may have been detached.
      if (made.length > 0) Float32Array.prototype.set.call(out, made)
      results[0].data = asGiven(out)
    }
    return this.#build(results)
  }
}

/** @type {WeakSet<ArrayBufferView>} */
const givenAway = new WeakSet()

/**
 * Hands an array over to the next asynchronous call, which needs no copy of it then. Nobody may use it afterwards.
 *
 * @template {ArrayBufferView} A
 * @param {A} array
 */
export function giveAway(array) {
  givenAway.add(array)
  return array
}

/** @type {Record<string, new (source: any) => any>} */
const CLASSES = { Float32Array, Float64Array, Uint16Array, Int8Array, Uint8Array, Int32Array }

/**
 * Copies an array without using its class, which may be a subclass defined by the caller.
 *
 * @param {ArrayBufferView} array
 */
function copy(array) {
  if (givenAway.has(array)) return array
  const Type = CLASSES[/** @type {string} */ (arrayType(array))]
  // A detached array is empty; the kernel crate checks its length against the shape.
  const length = lengthOf(array)
  if (length === 0) return new Type(0)
  try {
    return new Type(array)
  } catch (cause) {
    throw new AttentionError('MEMORY', {
      argument: 'inputs',
      expected: 'a size that fits into memory twice, as the call runs on a copy',
      actual: `${length} elements`,
      cause
    })
  }
}
