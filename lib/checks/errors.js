// The error class of the package, the conversion of backend errors, and the description of values in messages.

import { meantNames } from './nearest.js'
import { shared } from './shared.js'

/** @typedef {import('../../index.d.ts').AttentionErrorCode} Code */
/** @typedef {{ argument?: string, expected?: string, actual?: string }} Report */

class OwnAttentionError extends Error {
  /**
   * @param {Code} code
   * @param {Report & { message?: string, cause?: unknown }} details
   */
  constructor(code, { argument, expected, actual, message, cause }) {
    super(message ?? `${argument}: expected ${expected}, got ${actual}`, cause === undefined ? undefined : { cause })
    this.code = code
    this.argument = argument
    this.expected = expected
    this.actual = actual
  }
}
Object.defineProperty(OwnAttentionError.prototype, 'name', {
  value: 'AttentionError',
  configurable: true,
  writable: true
})
Object.defineProperty(OwnAttentionError, 'name', { value: 'AttentionError' })

/** @typedef {OwnAttentionError} AttentionError */
export const AttentionError = shared('AttentionError', () => OwnAttentionError)

/**
 * Creates an error about one argument.
 *
 * @param {Code} code
 * @param {string} argument
 * @param {string} expected
 * @param {string} actual
 */
export function fault(code, argument, expected, actual) {
  return new AttentionError(code, { argument, expected, actual })
}

const UNKNOWN_NAME = 'an unknown name'
/** Begins the list of known options in reports of the kernel crate. */
const ONE_OF = 'one of '

/**
 * Creates the error for an unknown option, which suggests the intended name or lists all names.
 *
 * @param {string} argument  the option's name, after that of the option it is a member of
 * @param {readonly string[]} known
 */
export function unknownOption(argument, known) {
  const owner = argument.slice(0, argument.lastIndexOf('.') + 1)
  const meant = meantNames(argument.slice(owner.length), known)
  const list = [...new Set(meant.length > 0 ? meant : known)].map((name) => `'${owner}${name}'`)
  const expected = list.length > 1 ? `${list.slice(0, -1).join(', ')} or ${list.at(-1)}` : `${list[0] ?? 'no option'}`
  const hint = meant.length > 0 ? `did you mean ${expected}?` : `the options are ${list.join(', ') || 'none'}`
  const message = `unknown option '${argument}'; ${hint}`
  return new AttentionError('OPTION', { argument, expected, actual: UNKNOWN_NAME, message })
}

/**
 * Converts an exception from a backend to an AttentionError: reports keep their fields, anything else becomes INTERNAL.
 *
 * @param {unknown} error
 * @returns {AttentionError}
 */
export function fromBinding(error) {
  if (error instanceof AttentionError) return error
  const text = error instanceof Error ? error.message : String(error)
  const report = parseReport(text)
  if (report && report.code !== 'INTERNAL') {
    const { argument = '', expected = '', actual } = report
    if (actual === UNKNOWN_NAME && expected.startsWith(ONE_OF)) {
      return unknownOption(argument, expected.slice(ONE_OF.length).split(', '))
    }
    return new AttentionError(report.code, report)
  }
  const reason = report?.actual || text
  return new AttentionError('INTERNAL', {
    actual: reason,
    message: `internal fault: ${reason}. This is a bug in the package; please report it with the call that caused it`,
    cause: error
  })
}

/**
 * Renames the argument of an error from q, k or v to the caller's name for it.
 *
 * @param {readonly string[] | undefined} names
 * @param {AttentionError} error
 */
export function renameArgument(names, error) {
  const argument = names?.[['q', 'k', 'v'].indexOf(error.argument ?? '')]
  if (argument === undefined || error.code === 'INTERNAL') return error
  return new AttentionError(error.code, { argument, expected: error.expected, actual: error.actual })
}

/**
 * @param {string} text
 * @returns {(Report & { code: Code }) | undefined}
 */
function parseReport(text) {
  if (!text.startsWith('{')) return undefined
  try {
    const report = JSON.parse(text)
    return typeof report.code === 'string' ? report : undefined
  } catch {
    return undefined
  }
}

/**
 * True for a revoked proxy, or an object that inherits from one; any other operation on it would throw.
 *
 * @param {unknown} value
 */
function isRevoked(value) {
  try {
    // The latter asks all prototypes.
    if (!Array.isArray(value) && Object(value) === value) Reflect.has(/** @type {object} */ (value), 'data')
    return false
  } catch {
    return true
  }
}

/**
 * True for an array of any realm.
 *
 * @param {unknown} value
 * @returns {value is any[]}
 */
export function isArray(value) {
  return !isRevoked(value) && Array.isArray(value)
}

/**
 * True for an object whose members can be read.
 *
 * @param {unknown} value
 * @returns {value is object}
 */
export function isObject(value) {
  return typeof value === 'object' && value !== null && !isRevoked(value)
}

/**
 * True for a function that can be called.
 *
 * @param {unknown} value
 * @returns {value is (...args: any[]) => any}
 */
export function isFunction(value) {
  return typeof value === 'function' && !isRevoked(value)
}

/**
 * `value instanceof Class`, or false if the prototypes of the value cannot be read.
 *
 * @param {unknown} value
 * @param {Function} Class
 */
export function isInstance(value, Class) {
  try {
    return value instanceof Class
  } catch {
    return false
  }
}

/**
 * Describes a value for the `actual` field of an error.
 *
 * @param {unknown} value
 */
export function describe(value) {
  if (typeof value === 'string') return JSON.stringify(value.length > 60 ? `${value.slice(0, 57)}...` : value)
  if (typeof value === 'function' || typeof value === 'symbol') return `a ${typeof value}`
  if (typeof value === 'bigint') return `the bigint ${value}n`
  if (typeof value !== 'object' || value === null) return String(value)
  if (isRevoked(value)) return 'a revoked proxy'
  if (Array.isArray(value)) return 'an array'
  const tag = tagOf(value)
  return tag === 'Object' ? 'an object' : `${/^[AEIOU]/.test(tag) ? 'an' : 'a'} ${tag}`
}

/**
 * The name of an object's kind, `Object` where its members cannot be read.
 *
 * @param {object} value
 */
function tagOf(value) {
  try {
    return Object.prototype.toString.call(value).slice('[object '.length, -1)
  } catch {
    return 'Object'
  }
}
