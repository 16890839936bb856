// The tape: values with the calls that computed them, from which gradients are computed in reverse.

import { allocateTensor } from '../checks/tensor.js'

/** @typedef {import('../checks/tensor.js').Checked} Checked */
/** @typedef {readonly (Checked | undefined)[]} Gradients */
/**
 * A call of a backward operation that gives gradients.
 *
 * @typedef {import('../runtime/call.js').PreparedCall<Gradients>} PullCall
 */
/**
 * Returns the gradients of a step's inputs from those of its outputs: at once, by a call, or by several.
 *
 * @typedef {Gradients | PullCall | Generator<PullCall, Gradients, Gradients>} Pulled
 * @typedef {(...gradients: (Checked | undefined)[]) => Pulled} Pull
 */
/** @typedef {{ inputs: readonly (Value | undefined)[], outputs: readonly Value[], pull: Pull }} Step */

/** A tensor on the tape. */
export class Value {
  /**
   * @param {Checked} tensor
   * @param {boolean} isNeeded  true if something that a gradient is wanted of went into it
   */
  constructor({ data, shape }, isNeeded) {
    this.data = data
    this.shape = shape
    this.isNeeded = isNeeded
  }

  /** A value that no gradient is wanted of. @param {Checked} tensor */
  static constant(tensor) {
    return new Value(tensor, false)
  }
}

export class Tape {
  /** @type {Step[]} */
  #steps = []
  #keeps

  /** @param {boolean} keeps  false if there is no backward pass */
  constructor(keeps) {
    this.#keeps = keeps
  }

  /**
   * Records a step. Steps whose inputs need no gradient are not kept.
   *
   * @param {readonly (Value | undefined)[]} inputs
   * @param {readonly Checked[]} outputs
   * @param {Pull} pull
   * @returns {Value[]}
   */
  record(inputs, outputs, pull) {
    const isNeeded = inputs.some((input) => input?.isNeeded)
    const values = outputs.map((output) => new Value(output, isNeeded))
    if (isNeeded && this.#keeps) this.#steps.push({ inputs, outputs: values, pull })
    return values
  }

  /** The number of steps, for progress. */
  get length() {
    return this.#steps.length
  }

  /**
   * Computes the gradients of all values that went into `output`: yields each call, and must be resumed with its
   * results.
   *
   * @param {Value} output
   * @param {Checked} gradient
   * @returns {Generator<PullCall, Sums, Gradients>}
   */
  *backward(output, gradient) {
    const sums = new Sums(gradient.data, output.data)
    sums.add(output, gradient)
    // Each step is dropped when it is done, with the values that only it kept.
    for (let step = this.#steps.pop(); step; step = this.#steps.pop()) {
      const { inputs, outputs, pull } = step
      const given = outputs.map((value) => sums.take(value))
      if (given.every((own) => own === undefined)) continue
      const pulled = pull(...given)
      const results = 'next' in pulled ? yield* pulled : 'run' in pulled ? yield pulled : pulled
      inputs.forEach((input, at) => {
        const result = results[at]
        if (input?.isNeeded && result) sums.add(input, result)
      })
    }
    return sums
  }

  clear() {
    this.#steps = []
  }
}

/** Gradients of values, added up in the order in which they come. */
class Sums {
  /** @type {Map<Value, { tensor: Checked, isOwn: boolean }>} */
  #sums = new Map()
  /** Memory that the caller already has, or can still ask for. @type {Set<ArrayBufferLike>} */
  #handedOut

  /** @param {...Float32Array} outside  the gradient of the caller, and the output */
  constructor(...outside) {
    this.#handedOut = new Set(outside.map(({ buffer }) => buffer))
  }

  /**
   * @param {Value} value
   * @param {Checked} gradient
   */
  add(value, gradient) {
    const sum = this.#sums.get(value)
    if (sum === undefined) {
      this.#sums.set(value, { tensor: gradient, isOwn: false })
      return
    }
    // Others may hold the first gradient, too.
    const target = sum.isOwn ? sum.tensor : allocateTensor('gradient', value.shape)
    const [to, first, second] = [target.data, sum.tensor.data, gradient.data]
    for (let index = 0; index < to.length; index++) to[index] = first[index] + second[index]
    this.#sums.set(value, { tensor: target, isOwn: true })
  }

  /**
   * The gradient of a value, which is then complete.
   *
   * @param {Value} value
   */
  take(value) {
    const sum = this.#sums.get(value)?.tensor
    this.#sums.delete(value)
    return sum
  }

  /**
   * The gradient of an input as memory of its own; zeros if the output does not depend on it.
   *
   * @param {Value} value
   * @returns {Checked}
   */
  finish(value) {
    const { shape } = value
    const data = this.#sums.get(value)?.tensor.data
    if (data === undefined) return allocateTensor('gradient', shape)
    const { buffer } = data
    const isFree = data.byteLength === buffer.byteLength && !this.#handedOut.has(buffer)
    this.#handedOut.add(buffer)
    return { data: isFree ? data : data.slice(), shape: [...shape] }
  }
}
