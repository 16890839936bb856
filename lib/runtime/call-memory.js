// The memory of a call, which lib/ and a binding share. Small inputs and results are copied into it, since passing an
// array costs more than copying a few hundred numbers.

import { BYTES, ELEMENTS, FLOATS, HEADER, INTEGERS, RESULTS } from './operations.js'

/** @typedef {import('../checks/tensor.js').Checked<any>} Tensor */
/**
 * A result: a tensor, the id of an object, or undefined if it was not requested.
 *
 * @typedef {any} Result
 */

/** Positions in the header. */
const [THREADS, TRAINING, PART, PARTS, USED_FLOATS, USED_INTEGERS, USED_BYTES, OBJECTS, FIRST_OBJECT] = Array(9).keys()

/** Inputs with more elements are passed as arrays. */
const MAX_COPIED = 512

/** Markers in the list of results: an object, and the end. */
const [OBJECT, END] = [7, -1]

const { Float32Array: F32, Int32Array: I32, Uint8Array: U8 } = ELEMENTS

const NOTHING = new Uint8Array(0)

/** Typed views of the memory of a call. */
export class CallViews {
  /** @type {Uint8Array<any>} */
  bytes = NOTHING
  /** The header, then the descriptions of the results. */
  numbers = new Float64Array(NOTHING.buffer)
  floats = new Float32Array(NOTHING.buffer)
  integers = new Int32Array(NOTHING.buffer)
  small = NOTHING

  /** @param {Uint8Array<any>} bytes */
  constructor(bytes) {
    this.setBytes(bytes)
  }

  /** @param {Uint8Array<any>} bytes */
  setBytes(bytes) {
    const { buffer, byteOffset } = bytes
    this.bytes = bytes
    this.numbers = new Float64Array(buffer, byteOffset, HEADER + RESULTS)
    const floats = byteOffset + 8 * (HEADER + RESULTS)
    this.floats = new Float32Array(buffer, floats, FLOATS)
    this.integers = new Int32Array(buffer, floats + 4 * FLOATS, INTEGERS)
    this.small = new Uint8Array(buffer, floats + 4 * (FLOATS + INTEGERS), BYTES)
  }

  /** @param {number} threads */
  setThreads(threads) {
    this.numbers[THREADS] = threads
  }

  /** @param {number} part  to compute @param {number} parts  of the call */
  setPart(part, parts) {
    this.numbers[PART] = part
    this.numbers[PARTS] = parts
  }

  /** Leaves the parameters of the created object zero, as they are about to be loaded. */
  setBlank() {
    this.numbers[TRAINING] = 1
  }

  /** @param {number} index @param {number} id */
  setObject(index, id) {
    this.numbers[FIRST_OBJECT + index] = id
  }

  /**
   * The results of the call that has just ended.
   *
   * @param {readonly any[] | undefined | null} made  the arrays of large results
   * @param {Float32Array} [out]  the array that the first result was written to
   * @returns {Result[]}
   */
  results(made, out) {
    const { numbers } = this
    /** @type {Result[]} */
    const results = []
    for (let at = HEADER; numbers[at] !== END;) {
      const element = numbers[at++]
      if (element === 0) results.push(undefined)
      else if (element === OBJECT) results.push(numbers[at++])
      else {
        const place = numbers[at++]
        const end = at + 1 + numbers[at]
        /** @type {number[]} */
        const shape = []
        let length = 1
        while (++at < end) {
          shape.push(numbers[at])
          length *= numbers[at]
        }
        if (out && results.length === 0) results.push({ data: out, shape })
        else if (place < 0) results.push({ data: /** @type {any[]} */ (made)[-1 - place], shape })
        else results.push({ data: (element === I32 ? this.integers : this.floats).slice(place, place + length), shape })
      }
    }
    return results
  }
}

/**
 * The memory of a binding's calls, as bytes. This call can make WebAssembly's memory grow, which detaches earlier
 * views.
 *
 * @param {import('./binding.d.ts').Binding} binding
 */
function memoryOf(binding) {
  const bytes = binding.callMemory()
  return bytes.length > 0 ? bytes : binding.callMemory()
}

/** Builds and runs calls of one binding. */
export class CallMemory extends CallViews {
  /** The arrays of the current call. @type {any[] | undefined} */
  arrays
  #binding
  #end = 0

  /** @param {import('./binding.d.ts').Binding} binding */
  constructor(binding) {
    super(memoryOf(binding))
    this.#binding = binding
  }

  /**
   * Begins a call.
   *
   * @param {number} threads
   * @param {boolean} training  true if a layer trains; when one is created, if its parameters are about to be loaded
   * @param {readonly number[]} ids  of the objects
   */
  start(threads, training, ids) {
    this.#refresh()
    const { numbers } = this
    this.arrays = undefined
    numbers[THREADS] = threads
    numbers[TRAINING] = training ? 1 : 0
    numbers[PART] = 0
    numbers[PARTS] = 1
    numbers[USED_FLOATS] = numbers[USED_INTEGERS] = numbers[USED_BYTES] = 0
    numbers[OBJECTS] = ids.length
    for (let index = 0; index < ids.length; index++) numbers[FIRST_OBJECT + index] = ids[index]
    this.#end = FIRST_OBJECT + ids.length
  }

  /** Views of WebAssembly's memory are detached when that memory grows. */
  #refresh() {
    if (this.bytes.length === 0) this.setBytes(memoryOf(this.#binding))
  }

  /**
   * Adds the next input.
   *
   * @param {number} element  the number of its element type
   * @param {any} data
   * @param {number} length  of the data
   * @param {readonly number[]} shape
   */
  add(element, data, length, shape) {
    const { numbers } = this
    const start = this.#end
    let volume = 1
    let end = start + 3
    // The last slot is never filled: an input that does not fit is rejected below.
    for (let index = 0; index < shape.length; index++) {
      volume *= shape[index]
      numbers[end++] = shape[index]
    }
    if (end > HEADER) throw new RangeError('too many inputs for one call')
    numbers[start] = element
    // Data whose length does not match its shape is passed on unchanged; the kernel crate rejects it.
    numbers[start + 1] =
      volume === length && length <= MAX_COPIED ? this.#copy(element, data, length) : this.#keep(data)
    numbers[start + 2] = shape.length
    this.#end = end
  }

  /** Omits the next input. */
  skip() {
    this.numbers[this.#end++] = 0
  }

  /**
   * Copies an input into its area.
   *
   * @param {number} element
   * @param {any} data
   * @param {number} length
   */
  #copy(element, data, length) {
    const used =
      element === F32 ? USED_FLOATS : element === I32 ? USED_INTEGERS : element === U8 ? USED_BYTES : undefined
    if (used === undefined) return this.#keep(data)
    const area = element === F32 ? this.floats : element === I32 ? this.integers : this.small
    const place = this.numbers[used]
    if (place + length > area.length) return this.#keep(data)
    area.set(data, place)
    this.numbers[used] = place + length
    return place
  }

  /** @param {any} data */
  #keep(data) {
    this.arrays ??= []
    return -this.arrays.push(data)
  }

  /** The shapes of the inputs so far. @returns {number[][]} */
  shapes() {
    const { numbers } = this
    const shapes = []
    let at = FIRST_OBJECT + numbers[OBJECTS]
    while (at < this.#end) {
      if (numbers[at++] === 0) continue
      const end = at + 2 + numbers[at + 1]
      shapes.push([...numbers.subarray(at + 2, end)])
      at = end
    }
    return shapes
  }

  /**
   * Runs the call.
   *
   * @param {number} operation
   * @param {string | undefined} options
   * @param {Float32Array} [out]  memory for the first result
   */
  run(operation, options, out) {
    const made = this.#binding.call(operation, options, this.arrays, out)
    this.#refresh()
    return this.results(made, out)
  }

  /**
   * Runs a call that was built elsewhere.
   *
   * @param {Uint8Array} bytes
   * @param {(views: CallViews) => void} change
   * @param {number} operation
   * @param {string | undefined} options
   * @param {any[] | undefined} arrays
   */
  runCopy(bytes, change, operation, options, arrays) {
    this.#refresh()
    this.bytes.set(bytes)
    change(this)
    this.arrays = arrays
    return this.run(operation, options)
  }

  /**
   * The number of operations of the current call if parts of it can be computed separately, otherwise 0.
   *
   * @param {number} operation
   * @param {string | undefined} options
   */
  divisible(operation, options) {
    return this.#binding.divisible?.(operation, options) ?? 0
  }
}
