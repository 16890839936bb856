// Errors about files of weights; `argument` is the caller's name for the file.

import { AttentionError, fault } from '../checks/errors.js'

/**
 * @param {string} argument
 * @param {string} actual
 */
export const malformed = (argument, actual) => fault('FORMAT', argument, 'a well-formed safetensors file', actual)

/**
 * @param {string} argument
 * @param {number} expected  bytes that there have to be
 * @param {number} actual  bytes that there are
 */
export function cutShort(argument, expected, actual) {
  return new AttentionError('FORMAT', {
    argument,
    expected: `${expected} bytes`,
    actual: `${actual} bytes`,
    message: `${argument}: the file is cut short: expected ${expected} bytes, got ${actual}`
  })
}

/** @param {string} argument */
export const changed = (argument) =>
  fault('FORMAT', argument, 'a file that stays as it is', 'a file that changed while it was read')

/**
 * @param {string} argument
 * @param {unknown} error  of the file system or the network
 */
export function unreadable(argument, error) {
  const { message, cause } = error instanceof Error ? error : new Error(String(error))
  // Node's fetch names the reason in the cause alone.
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
