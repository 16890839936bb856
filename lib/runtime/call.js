// Builds a call of a binding piece by piece: its header, and each array in its slot.

import { Request } from './async/request.js'
import { throwIfAborted } from './async/watch.js'
import { FIRST_OBJECT, HEADER } from './async/worker-calls.js'
import { renameArgument } from '../checks/errors.js'
import { attached, asGiven } from '../checks/tensor.js'

/** @typedef {import('./backend.js').Backend} Backend */
/** @typedef {import('../checks/tensor.js').Checked} Checked */
/** @typedef {import('../checks/options.js').CallOptions} CallOptions */

/** Allocated once: thread limit, training, part and number of parts, number of objects, their ids, then every shape. */
const header = new Float64Array(HEADER)

/** @type {readonly import('./resident.js').Resident[]} */
const NO_RESIDENTS = []

/**
 * A complete call: `run` makes it on the calling thread, `later` on another thread.
 *
 * @template T
 * @typedef {{ run: () => T, later: (watch: import('./async/watch.js').Watch) => Promise<T> }} PreparedCall
 */

/**
 * Builder of the current call. No user code may run between {@link Backend.call} and {@link Call.run}: a getter or proxy could
 * re-enter.
 */
export class Call {
  /** @type {Backend | undefined} */
  #backend
  #operation = 0
  #end = 0
  #input = 0
  #output = 0
  /** @type {string | undefined} */
  #options
  /** @type {(Float32Array | undefined)[]} */
  #inputs = [undefined, undefined, undefined, undefined]
  /** @type {Uint8Array | undefined} */
  #bytes
  /** @type {Int32Array | undefined} */
  #integers1
  /** @type {Int32Array | undefined} */
  #integers2
  /** @type {(Float32Array | undefined)[]} */
  #outputs = [undefined, undefined, undefined, undefined]
  /** @type {Int32Array | undefined} */
  #indices
  /** @type {readonly import('./resident.js').Resident[]} */
  #residents = []
  /** @type {readonly string[] | undefined} */
  #names
  /** @type {any} */
  #result
  #operations = 0

  /**
   * @param {Backend} backend
   * @param {number} operation
   * @param {readonly import('./resident.js').Resident[]} objects  the objects that the call uses; the first one determines whether it trains
   */
  start(backend, operation, objects) {
    this.#backend = backend
    this.#operation = operation
    let end = FIRST_OBJECT
    let training = 0
    for (const object of objects) {
      if (end === FIRST_OBJECT && object.training) training = 1
      header[end++] = object.use()
    }
    header[0] = backend.threads
    header[1] = training
    header[2] = 0
    header[3] = 1
    header[4] = objects.length
    this.#residents = objects
    this.#end = end
    this.#input = this.#output = 0
    return this
  }

  /** @param {readonly number[]} shape */
  #shape(shape) {
    header[this.#end++] = shape.length
    for (let index = 0; index < shape.length; index++) header[this.#end++] = shape[index]
  }

  /** The shapes of all tensors added so far; the mask's comes last. @returns {number[][]} */
  get shapes() {
    const shapes = []
    let start = FIRST_OBJECT + this.#residents.length
    while (start < this.#end) {
      const end = start + 1 + header[start]
      shapes.push([...header.subarray(start + 1, end)])
      start = end
    }
    return shapes
  }

  /**
   * Adds the next tensor argument; an absent one leaves its slot empty.
   *
   * @param {Checked | undefined} tensor
   */
  input(tensor) {
    if (tensor) this.#shape(tensor.shape)
    return this.array(tensor?.data)
  }

  /**
   * Adds the next argument, an array without a shape.
   *
   * @param {Float32Array | undefined} array
   */
  array(array) {
    this.#inputs[this.#input++] = array && attached(array)
    return this
  }

  /**
   * Sets the scalar options, as JSON.
   *
   * @param {string | undefined} json
   */
  options(json) {
    this.#options = json
    return this
  }

  /**
   * Sets scalar options, mask, offsets and lengths; call it after all tensors.
   *
   * @param {Readonly<CallOptions>} given
   */
  given(given) {
    this.#options = given.json
    if (given.mask) this.#shape(given.mask.shape)
    this.#bytes = given.booleanMask && attached(given.booleanMask)
    this.#inputs[3] = given.floatMask && attached(given.floatMask)
    return this.integers(given.queryOffset, given.kvLengths)
  }

  /**
   * Sets offsets or positions, then lengths.
   *
   * @param {Int32Array | undefined} first
   * @param {Int32Array} [second]
   */
  integers(first, second) {
    this.#integers1 = first && attached(first)
    this.#integers2 = second && attached(second)
    return this
  }

  /**
   * Adds the array for the next result; a result that was not requested leaves its slot empty.
   *
   * @param {Float32Array | undefined} array
   */
  output(array) {
    this.#outputs[this.#output++] = array && attached(array)
    return this
  }

  /** @param {Int32Array | undefined} array  receives indices */
  indices(array) {
    this.#indices = array
    return this
  }

  /**
   * Sets the caller's names for q, k and v.
   *
   * @param {readonly string[]} names
   */
  named(names) {
    this.#names = names
    return this
  }

  /**
   * Declares that parts of the call can be computed separately, and the number of operations in total.
   *
   * @param {number} operations
   */
  divisible(operations) {
    this.#operations = operations
    return this
  }

  /**
   * Completes the call, which returns `result` after it has run.
   *
   * @template T
   * @param {T} result
   * @returns {PreparedCall<T>}
   */
  returning(result) {
    const { output } = /** @type {any} */ (result)
    if (output) output.data = asGiven(output.data)
    this.#result = result
    return this
  }

  /** Runs the call; throws an AttentionError. */
  run() {
    const backend = /** @type {Backend} */ (this.#backend)
    const { binding } = backend
    const inputs = this.#inputs
    const outputs = this.#outputs
    try {
      ;/** @type {import('./binding.d.ts').Binding} */ (binding).call(
        this.#operation,
        header,
        this.#options,
        inputs[0],
        inputs[1],
        inputs[2],
        inputs[3],
        this.#bytes,
        this.#integers1,
        this.#integers2,
        outputs[0],
        outputs[1],
        outputs[2],
        outputs[3],
        this.#indices
      )
      return this.#result
    } catch (error) {
      throw renameArgument(this.#names, backend.fault(error))
    } finally {
      this.#clear()
    }
  }

  /**
   * Runs the call on another thread, on copies of the caller's arrays; rejects with an AttentionError or the signal's reason.
   *
   * @param {import('./async/watch.js').Watch} watch
   * @returns {Promise<any>}
   */
  later(watch) {
    const backend = /** @type {Backend} */ (this.#backend)
    if (watch.isAborted) {
      this.#clear()
      return Promise.reject(watch.reason)
    }
    if (!backend.hasElsewhere) return this.#here(watch)
    try {
      const request = new Request({
        operation: this.#operation,
        header: header.slice(0, this.#end),
        options: this.#options,
        inputs: this.#inputs,
        bytes: this.#bytes,
        integers: [this.#integers1, this.#integers2],
        outputs: this.#outputs,
        indices: this.#indices,
        residents: this.#residents,
        names: this.#names,
        operations: this.#operations,
        result: this.#result,
        out: watch.out
      })
      return backend.queue.submit(request, watch)
    } finally {
      this.#clear()
    }
  }

  /**
   * Runs the call on the calling thread, then lets waiting tasks run.
   *
   * @param {import('./async/watch.js').Watch} watch
   */
  async #here({ signal, onProgress }) {
    const result = this.run()
    await new Promise((resolve) => setTimeout(resolve))
    throwIfAborted(signal)
    onProgress?.(1)
    return result
  }

  /** Releases all references, so that the builder does not keep the caller's arrays alive. */
  #clear() {
    const inputs = this.#inputs
    const outputs = this.#outputs
    inputs[0] = inputs[1] = inputs[2] = inputs[3] = undefined
    outputs[0] = outputs[1] = outputs[2] = outputs[3] = undefined
    this.#options = this.#bytes = this.#integers1 = this.#integers2 = this.#indices = undefined
    this.#names = this.#result = undefined
    this.#operations = 0
    this.#residents = NO_RESIDENTS
  }
}
