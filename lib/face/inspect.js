// Objects in Node's console: their settings and their state in place of private members, which it cannot see.

import { AttentionError } from '../checks/errors.js'

const custom = Symbol.for('nodejs.util.inspect.custom')

/**
 * Makes console.log show what `details` returns for an object of this class, and that it was disposed if asking for them throws
 * that.
 *
 * @template T
 * @param {new (...args: any[]) => T} target
 * @param {(object: T) => Record<string, unknown>} details
 */
export function showInConsole(target, details) {
  /** @type {(this: any, depth: number, options: object, inspect: (value: unknown, options: object) => string) => string} */
  function show(_, options, inspect) {
    const { name } = this.constructor
    try {
      return `${name} ${inspect({ ...details(this) }, options)}`
    } catch (error) {
      // The prototype itself is no such object.
      return error instanceof AttentionError && error.code === 'DISPOSED' ? `${name} (disposed)` : `[class ${name}]`
    }
  }
  Object.defineProperty(target.prototype, custom, { value: show, configurable: true, writable: true })
}
