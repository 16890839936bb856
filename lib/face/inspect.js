// The display of objects in Node's console: their settings and state, instead of private members, which it cannot see.

import { AttentionError } from '../checks/errors.js'

const custom = Symbol.for('nodejs.util.inspect.custom')

/**
 * Makes console.log show the result of `details` for an object of this class, or that the object was disposed if
 * `details` throws DISPOSED.
 *
 * @template T
 * @param {new (...args: any[]) => T} target
 * @param {(object: T) => Record<string, unknown>} details
 */
export function showInConsole(target, details) {
  /**
   * @type {(this: any, depth: number, options: object, inspect: (value: unknown, options: object) => string) => string}
   */
  function show(_, options, inspect) {
    const { name } = this.constructor
    try {
      return `${name} ${inspect({ ...details(this) }, options)}`
    } catch (error) {
      // The prototype itself is not an instance.
      return error instanceof AttentionError && error.code === 'DISPOSED' ? `${name} (disposed)` : `[class ${name}]`
    }
  }
  Object.defineProperty(target.prototype, custom, { value: show, configurable: true, writable: true })
}
