// A call that waits for its turn: everything it needs, in memory that is nobody else's.

import { AttentionError } from '../errors.js'
import { allocate, lengthOf } from '../tensor.js'
import { FIRST_OBJECT } from './worker-calls.js'

/** @typedef {import('../resident.js').Resident} Resident */
/**
 * - `operations`: about how many there are, where parts of the call can be computed apart; else 0.
 * - `names`: those under which the caller knows q, k and v.
 * - `result`: what the caller gets once the outputs are filled.
 *
 * @typedef {object} Parts
 * @property {number} operation
 * @property {Float64Array} header
 * @property {string | undefined} options
 * @property {(Float32Array | undefined)[]} inputs
 * @property {Uint8Array | undefined} bytes
 * @property {(Int32Array | undefined)[]} integers
 * @property {(Float32Array | undefined)[]} outputs
 * @property {Int32Array | undefined} indices
 * @property {readonly Resident[]} residents
 * @property {readonly string[] | undefined} names
 * @property {number} operations
 * @property {any} result
 * @property {Float32Array | undefined} out
 */

export class Request {
  /** @param {Parts} parts  what is the caller's is copied */
  constructor({ inputs, bytes, integers, outputs, out, residents, ...rest }) {
    const { operation, header, options, indices, names, operations, result } = rest
    this.operation = operation
    this.header = header
    this.options = options
    this.indices = indices
    this.names = names
    this.operations = operations
    this.result = result
    this.inputs = inputs.map((array) => copy(array, Float32Array))
    this.bytes = copy(bytes, Uint8Array)
    this.integers = integers.map((array) => copy(array, Int32Array))
    this.out = out
    // The caller may change `out`, or give it away, before there is a result.
    this.outputs = outputs.map((array) => (array && array === out ? allocate('output', array.length) : array))
    /** What the call works on, as it is now. */
    this.objects = residents.map((resident) => resident.hold())
    this.objects.forEach(({ id }, index) => (header[FIRST_OBJECT + index] = id))
  }

  /** Lets go of what the call works on. */
  release() {
    for (const object of this.objects) object.release()
  }

  /** What the caller gets, once the outputs are filled. */
  finish() {
    const { out } = this
    if (out !== undefined) {
      const made = /** @type {Float32Array} */ (this.outputs[0])
      if (out.length !== made.length) {
        throw new AttentionError('DTYPE', {
          argument: 'out',
          expected: `memory for ${made.length} elements until the call has ended`,
          actual: `${out.length} elements: it was detached or resized meanwhile`
        })
      }
      // An empty one may have been detached.
      if (made.length > 0) Float32Array.prototype.set.call(out, made)
    }
    return this.result
  }
}

/**
 * Without asking the array's own class, which may be a subclass of the caller's.
 *
 * @template {Float32Array | Int32Array | Uint8Array} T
 * @param {T | undefined} array
 * @param {new (array: T) => T} Type
 * @returns {T | undefined}
 */
function copy(array, Type) {
  if (array === undefined) return undefined
  // One that was detached has nothing to copy; its shape tells the kernel crate whether that is right.
  const length = lengthOf(array)
  if (length === 0) return new Type(/** @type {any} */ (0))
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
