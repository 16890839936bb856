// Builds a call of a binding piece by piece: its inputs in the order of its operation's signature, options and objects.

import { Request } from './async/request.js'
import { throwIfAborted } from './async/watch.js'
import { renameArgument } from '../checks/errors.js'
import { ELEMENTS, OPERATIONS } from './operations.js'
import { nextTurn } from './turn.js'
import { arrayType, asGiven, attached, checkOut, lengthOf } from '../checks/tensor.js'

/** @typedef {import('./backend.js').Backend} Backend */
/** @typedef {import('../checks/tensor.js').Checked} Checked */
/** @typedef {import('../checks/options.js').CallOptions} CallOptions */
/** @typedef {import('./operations.js').Operation} Operation */
/** @typedef {import('./call-memory.js').Result} Result */

const { Float32Array: F32, Int32Array: I32, Uint8Array: U8, Uint16Array: U16, Int8Array: I8 } = ELEMENTS

/** The element type of each type of weights. */
const WEIGHT_ELEMENTS = { f32: F32, f16: U16, bf16: U16, q8_0: I8 }

/** @type {readonly import('./resident.js').Resident[]} */
const NO_RESIDENTS = []

/** @param {Result[]} results */
const first = (results) => results[0]

/**
 * A complete call: `run` makes it on the calling thread, `later` on another thread.
 *
 * @template T
 * @typedef {{ run: () => T, later: (watch: import('./async/watch.js').Watch) => Promise<T> }} PreparedCall
 */

/**
 * Builder of the current call. No user code may run between {@link Backend.call} and {@link Call.run}: a getter or
 * proxy could re-enter.
 */
export class Call {
  /** @type {Backend | undefined} */
  #backend
  /** @type {import('./call-memory.js').CallMemory} */
  #memory = /** @type {any} */ (undefined)
  /** @type {(typeof OPERATIONS)[Operation]} */
  #operation = OPERATIONS.softmax
  #inputs = 0
  /** All arrays among the inputs so far. @type {any[]} */
  #given = []
  /** @type {string | undefined} */
  #options
  /** @type {Float32Array | undefined} */
  #out
  /** @type {readonly import('./resident.js').Resident[]} */
  #residents = NO_RESIDENTS
  /** @type {readonly string[] | undefined} */
  #names
  /** @type {(results: Result[]) => any} */
  #build = first

  /**
   * @param {Backend} backend
   * @param {Operation} operation
   * @param {readonly import('./resident.js').Resident[]} residents  the objects of the call; the first one determines
   *   the training mode
   */
  start(backend, operation, residents) {
    // Recreating an object is a separate call, so it must happen before this one is built.
    const ids = residents.map((resident) => resident.use())
    this.#backend = backend
    this.#operation = OPERATIONS[operation]
    this.#memory = /** @type {import('./call-memory.js').CallMemory} */ (backend.memory)
    this.#memory.start(backend.threads, residents.length > 0 && residents[0].training, ids)
    this.#residents = residents
    this.#inputs = 0
    return this
  }

  /** Leaves the parameters of the created object zero: {@link CallViews.setBlank}. */
  blank() {
    this.#memory.setBlank()
    return this
  }

  /** The shapes of all inputs added so far. @returns {number[][]} */
  get shapes() {
    return this.#memory.shapes()
  }

  /**
   * Adds the next input; an absent input leaves its slot empty.
   *
   * @param {number} element
   * @param {any} data
   * @param {readonly number[] | undefined} shape  by default that of a vector
   */
  #add(element, data, shape) {
    this.#inputs++
    if (data === undefined) this.#memory.skip()
    else {
      const array = attached(data)
      const length = lengthOf(array)
      this.#given.push(array)
      this.#memory.add(element, array, length, shape ?? [length])
    }
    return this
  }

  /**
   * Adds the next input, a tensor of floats.
   *
   * @param {Checked | undefined} tensor
   */
  input(tensor) {
    return this.#add(F32, tensor?.data, tensor?.shape)
  }

  /**
   * Adds the next two inputs, weights of any type and their scales.
   *
   * @param {import('../checks/tensor.js').CheckedWeight} weight
   */
  weight({ type, data, scales, shape }) {
    return this.#add(WEIGHT_ELEMENTS[type], data, shape).#add(U16, scales, undefined)
  }

  /**
   * Adds the next input, floats without a shape.
   *
   * @param {Float32Array | undefined} array
   */
  floats(array) {
    return this.#add(F32, array, undefined)
  }

  /**
   * Adds the next input, integers.
   *
   * @param {Int32Array | undefined} array
   * @param {readonly number[]} [shape]
   */
  integers(array, shape) {
    return this.#add(I32, array, shape)
  }

  /**
   * Adds the next input, doubles, as pairs of integers with their bits.
   *
   * @param {Float64Array | undefined} array
   */
  doubles(array) {
    return this.integers(array && new Int32Array(array.buffer, array.byteOffset, 2 * array.length))
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
   * Adds the inputs mask, queryOffset and kvLengths, and of relativeBias, cuSeqlens, cuSeqlensKeys and sinks those that
   * the operation has; sets the scalar options and the destination.
   *
   * @param {Readonly<CallOptions>} given
   * @param {boolean} [isFollowed]  true if further inputs follow those of packed sequences
   */
  given(
    { json, mask, queryOffset, kvLengths, relativeBias, cuSeqlens, cuSeqlensKeys, sinks, out },
    isFollowed = false
  ) {
    this.#options = json
    this.#out = out
    this.#add(mask && arrayType(mask.data) === 'Uint8Array' ? U8 : F32, mask?.data, mask?.shape)
    this.integers(queryOffset).integers(kvLengths)
    if (isFollowed || relativeBias || cuSeqlens || cuSeqlensKeys || sinks) {
      this.input(relativeBias).integers(cuSeqlens).integers(cuSeqlensKeys)
      if (sinks) this.input(sinks)
    }
    return this
  }

  /** @param {Float32Array | undefined} array  receives the first result */
  into(array) {
    this.#out = array
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
   * Completes the call. It returns the value that `build` builds from its results; by default, the first result.
   *
   * @template T
   * @param {(results: Result[]) => T} build
   * @returns {PreparedCall<T>}
   */
  returning(build) {
    this.#build = build
    return this
  }

  /** Leaves out all remaining inputs. */
  #complete() {
    while (this.#inputs < this.#operation.inputs) {
      this.#inputs++
      this.#memory.skip()
    }
  }

  /** Runs the call; throws an AttentionError. */
  run() {
    const backend = /** @type {Backend} */ (this.#backend)
    const build = this.#build
    const out = this.#out
    /** @type {Result[]} */
    let results
    try {
      this.#complete()
      const array = out && checkOut(attached(out), this.#given)
      results = this.#memory.run(this.#operation.number, this.#options, array)
    } catch (error) {
      throw renameArgument(this.#names, backend.fault(error))
    } finally {
      this.#clear()
    }
    if (out) results[0].data = asGiven(out)
    return build(results)
  }

  /**
   * Runs the call on another thread, on copies of the caller's arrays; rejects with an AttentionError or the signal's
   * reason.
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
    /** @type {Request} */
    let request
    try {
      this.#complete()
      const { number } = this.#operation
      if (this.#out) checkOut(attached(this.#out), this.#given)
      request = new Request({
        operation: number,
        bytes: this.#memory.bytes.slice(),
        options: this.#options,
        arrays: this.#memory.arrays,
        residents: this.#residents,
        names: this.#names,
        operations: this.#memory.divisible(number, this.#options),
        build: this.#build,
        out: this.#out
      })
    } catch (error) {
      return Promise.reject(renameArgument(this.#names, backend.fault(error)))
    } finally {
      this.#clear()
    }
    // The signal may be the caller's own object, which could make another call.
    return backend.queue.submit(request, watch)
  }

  /**
   * Runs the call on the calling thread, then lets waiting tasks run.
   *
   * @param {import('./async/watch.js').Watch} watch
   */
  async #here({ signal, onProgress }) {
    const result = this.run()
    await nextTurn()
    throwIfAborted(signal)
    onProgress?.(1)
    return result
  }

  /** Releases all references, so that the builder does not keep the caller's arrays alive. */
  #clear() {
    this.#memory.arrays = undefined
    this.#given.length = 0
    this.#options = this.#names = this.#out = undefined
    this.#build = first
    this.#residents = NO_RESIDENTS
  }
}
