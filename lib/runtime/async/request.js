// A pending asynchronous call, with private copies of all its inputs.

import { AttentionError } from '../../checks/errors.js'
import { allocate, lengthOf } from '../../checks/tensor.js'
import { FIRST_OBJECT } from './worker-calls.js'

/** @typedef {import('../resident.js').Resident} Resident */
/**
 * - `operations`: approximate number of operations if the call can be split, otherwise 0.
 * - `names`: the caller's names for q, k and v.
 * - `result`: the value to return once the outputs are filled.
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
  /** @param {Parts} parts  the caller's arrays are copied */
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
    // The caller may change or transfer `out` before the result is ready.
    this.outputs = outputs.map((array) => (array && array === out ? allocate('output', array.length) : array))
    /** The objects of the call, pinned in their current state. */
    this.objects = residents.map((resident) => resident.hold())
    this.objects.forEach(({ id }, index) => (header[FIRST_OBJECT + index] = id))
  }

  /** Releases the objects of the call. */
  release() {
    for (const object of this.objects) object.release()
  }

  /** Completes the result once the outputs are filled. */
  finish() {
    const { out } = this
    if (out !== undefined) {
      const made = /** @type {Float32Array} */ (this.outputs[0])
      if (out.length !== made.length) {
        throw new AttentionError('DTYPE', {
          argument: 'out',
          expected: `memory for ${made.length} elements until the call ends`,
          actual: `${out.length} elements: it was detached or resized meanwhile`
        })
      }
      // An empty array may have been detached.
      if (made.length > 0) Float32Array.prototype.set.call(out, made)
    }
    return this.result
  }
}

/**
 * Copies an array without using its class, which may be a subclass defined by the caller.
 *
 * @template {Float32Array | Int32Array | Uint8Array} T
 * @param {T | undefined} array
 * @param {new (array: T) => T} Type
 * @returns {T | undefined}
 */
function copy(array, Type) {
  if (array === undefined) return undefined
  // A detached array is empty; the kernel crate checks its length against the shape.
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
