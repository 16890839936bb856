// What a caller says of a call that runs elsewhere: how it is cancelled, who hears how far it is, where its result goes.

import { describe, fault } from '../errors.js'

export class Watch {
  /** @type {AbortSignal | undefined} */
  signal = undefined
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
      if (typeof value?.aborted !== 'boolean' || typeof value.addEventListener !== 'function') {
        throw fault('OPTION', name, 'an AbortSignal', describe(value))
      }
      this.signal = value
      return true
    }
    if (name === 'onProgress') {
      if (typeof value !== 'function') throw fault('OPTION', name, 'a function', describe(value))
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
