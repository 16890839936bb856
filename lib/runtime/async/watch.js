// The options of an asynchronous call: its signal, its progress listener, and the destination of its result.

import { describe, fault, isFunction, isObject } from '../../checks/errors.js'

/**
 * Throws the signal's reason if it is aborted. The signal may be defined by the caller.
 *
 * @param {AbortSignal | undefined} signal
 */
export function throwIfAborted(signal) {
  if (signal?.aborted) throw signal.reason
}

export class Watch {
  /** @type {AbortSignal | undefined} */
  signal = undefined
  /** The signal's state when the options were read, with its reason. */
  isAborted = false
  /** @type {unknown} */
  reason = undefined
  /** @type {((fraction: number) => void) | undefined} */
  onProgress = undefined
  /** The caller's array for the result. @type {Float32Array | undefined} */
  out = undefined

  /**
   * Stores the option if it is one of these, and returns true.
   *
   * @param {string} name
   * @param {any} value
   */
  take(name, value) {
    if (name === 'signal') {
      const aborted = isObject(value) ? /** @type {any} */ (value).aborted : undefined
      if (
        typeof aborted !== 'boolean' ||
        !isFunction(value.addEventListener) ||
        !isFunction(value.removeEventListener)
      ) {
        throw fault('OPTION', name, 'an AbortSignal', describe(value))
      }
      this.signal = value
      this.isAborted = aborted
      if (aborted) this.reason = value.reason
      return true
    }
    if (name === 'onProgress') {
      if (!isFunction(value)) throw fault('OPTION', name, 'a function', describe(value))
      this.onProgress = value
      return true
    }
    return false
  }
}

/**
 * The signal and the listener of a call that is asynchronous by itself. Throws if it is aborted already.
 *
 * @param {{ signal?: unknown, onProgress?: unknown }} given
 */
export function watchOf(given) {
  const watch = new Watch()
  for (const name of /** @type {const} */ (['signal', 'onProgress'])) {
    if (given[name] !== undefined) watch.take(name, given[name])
  }
  throwIfAborted(watch.signal)
  return watch
}

/**
 * Prepares a call now and runs it asynchronously. Every error rejects the promise.
 *
 * @template T
 * @param {(watch: Watch) => import('../call.js').PreparedCall<T>} prepare
 * @returns {Promise<T>}
 */
export async function later(prepare) {
  const watch = new Watch()
  return prepare(watch).later(watch)
}
