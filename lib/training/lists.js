// Lists of the caller, whose own iterators are never called.

import { describe, fault } from '../checks/errors.js'
import { isLength } from '../checks/tensor.js'

/** More members than any list of layers, gradients or names has. */
const MOST = 1 << 20

/**
 * The members of a list, read by their index.
 *
 * @param {string} argument
 * @param {any[]} list
 * @returns {any[]}
 */
export function membersOf(argument, list) {
  const { length } = list
  if (!isLength(length) || length > MOST) {
    throw fault('OPTION', argument, `a list of at most ${MOST} members`, `a length of ${describe(length)}`)
  }
  return Array.from({ length }, (_, at) => list[at])
}
