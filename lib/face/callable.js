// The base of every class with `forward` and `forwardAsync`, which are both derived from the function that prepares a
// call.

import { later } from '../runtime/async/watch.js'

/** @typedef {import('../runtime/async/watch.js').Watch} Watch */
/**
 * Checks the arguments of a call, reads its options, and prepares it. Only an asynchronous call has a `watch`, which
 * receives some of the options.
 *
 * @template Result
 * @typedef {(target: any, watch: Watch | undefined, ...given: any[]) =>
 *   import('../runtime/call.js').PreparedCall<Result>} Prepare
 */

/**
 * The resident part of mechanisms that have one, by object; layers have `residentOf`.
 *
 * @type {WeakMap<object, import('../runtime/resident.js').Resident>}
 */
export const residents = new WeakMap()

/** @template Result */
export class Callable {
  #prepare

  /** @param {Prepare<Result>} prepare */
  constructor(prepare) {
    this.#prepare = prepare
  }

  /** @param {...unknown} given */
  forward(...given) {
    return this.#prepare(this, undefined, ...given).run()
  }

  /** @param {...unknown} given */
  forwardAsync(...given) {
    return later((watch) => this.#prepare(this, watch, ...given))
  }
}
