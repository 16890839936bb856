// What a caller says of a call that runs elsewhere: how it is cancelled, who hears how far it is, where its result goes.

import { describe, fault, isFunction, isObject } from '../errors.js'

/**
 * Throws the signal's reason where it is aborted. A signal may be one of the caller's own making.
 *
 * @param {AbortSignal | undefined} signal
 */
export function throwIfAborted(signal) {
  if (signal?.aborted) throw signal.reason
}

export class Watch {
  /** @type {AbortSignal | undefined} */
  signal = undefined
  /** Whether it was aborted when the options were read, and why. */
  isAborted = false
  /** @type {unknown} */
  reason = undefined
  /** @type {((fraction: number) => void) | undefined} */
  onProgress = undefined
  /** The caller's own memory for the result. @type {Float32Array | undefined} */
  out = undefined

  /**
   * Takes an option if it is one of these.
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
 * Puts a call together now, and runs it elsewhere. Whatever goes wrong rejects the promise.
 *
 * @template T
 * @param {(watch: Watch) => import('../call.js').Ready<T>} prepare
 * @returns {Promise<T>}
 */
export async function later(prepare) {
  const watch = new Watch()
  return prepare(watch).later(watch)
}
