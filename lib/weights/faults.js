// Errors about weights files; `argument` is the caller's name for the file.

import { AttentionError, describe, fault } from '../checks/errors.js'
import { suggestion } from '../checks/nearest.js'

/**
 * @param {string} argument
 * @param {string} actual
 */
export const malformed = (argument, actual) => fault('FORMAT', argument, 'a well-formed safetensors file', actual)

/**
 * @param {string} argument
 * @param {number} expected  number of bytes
 * @param {number} actual
 */
export function cutShort(argument, expected, actual) {
  return new AttentionError('FORMAT', {
    argument,
    expected: `${expected} bytes`,
    actual: `${actual} bytes`,
    message: `${argument}: the file is truncated: expected ${expected} bytes, got ${actual}`
  })
}

/** @param {string} argument */
export const changed = (argument) =>
  fault('FORMAT', argument, 'an unchanged file', 'a file that changed while it was read')

/**
 * @param {string} argument
 * @param {unknown} error  of the file system or the network
 */
export function unreadable(argument, error) {
  const { message, cause } = error instanceof Error ? error : new Error(String(error))
  // Node's fetch gives the reason only in the cause.
  const actual = cause instanceof Error && cause.message ? `${message}: ${cause.message}` : message
  const expected = 'a file that can be read'
  return new AttentionError('FORMAT', {
    argument,
    expected,
    actual,
    message: `${argument}: expected ${expected}, got ${actual}`,
    cause: error
  })
}

/**
 * The entry of a file that the caller names.
 *
 * @template Entry
 * @param {ReadonlyMap<string, Entry>} entries
 * @param {unknown} name
 * @param {'an entry' | 'a tensor'} kind
 */
export function entryNamed(entries, name, kind) {
  if (typeof name !== 'string') throw fault('DTYPE', 'name', 'a string', describe(name))
  const entry = entries.get(name)
  if (entry) return entry
  const near = entries.size > 0 ? suggestion(name, [...entries.keys()]) : undefined
  throw fault('FORMAT', name, `${kind} of the file${near ? `; did you mean '${near}'?` : ''}`, 'none')
}
