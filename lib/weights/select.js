// The options with which loadSafetensors and openSafetensors select the entries to read.

import { describe, fault, isFunction } from '../checks/errors.js'
import { checkPrefix, pickOptions } from '../checks/options.js'
import { checkEntry, checkHalves, isSupported } from './elements.js'

/** @typedef {import('./header.js').Entry} Entry */

/**
 * @typedef {object} Selection
 * @property {string} prefix  including the final dot
 * @property {((name: string) => unknown) | undefined} filter
 * @property {boolean} skips  true to skip entries of types that tensors cannot hold
 * @property {import('./elements.js').Halves} halves
 */

/**
 * Reads the options of a selection, each exactly once.
 *
 * @param {unknown} options
 * @param {readonly ('prefix' | 'filter' | 'unsupported' | 'halves')[]} names  the options that the caller takes
 * @returns {Selection}
 */
export function readSelection(options, names) {
  const { prefix, filter, unsupported = 'throw', halves } = pickOptions(options, names)
  if (filter !== undefined && !isFunction(filter)) throw fault('OPTION', 'filter', 'a function', describe(filter))
  if (unsupported !== 'throw' && unsupported !== 'skip') {
    throw fault('OPTION', 'unsupported', "'throw' or 'skip'", describe(unsupported))
  }
  return { prefix: checkPrefix(prefix), filter, skips: unsupported === 'skip', halves: checkHalves(halves) }
}

/**
 * The selected entries, all of them checked.
 *
 * @template {Entry} E
 * @param {readonly E[]} entries
 * @param {Selection} selection
 */
export function select(entries, { prefix, filter, skips }) {
  const selected = entries.filter(
    ({ name, dtype }) =>
      name.startsWith(prefix) && (!skips || isSupported(dtype)) && (filter === undefined || filter(name))
  )
  selected.forEach(checkEntry)
  return selected
}

/**
 * The names in the file, for each state dict that is empty because of its prefix.
 *
 * @type {WeakMap<object, Unmatched>}
 */
const unmatched = new WeakMap()
/** @typedef {{ prefix: string, names: readonly string[] }} Unmatched */

/**
 * The state dict of the selected entries and their tensors.
 *
 * @param {readonly (readonly [entry: Entry, tensor: import('./elements.js').StateEntry])[]} tensors
 * @param {Selection} selection
 * @param {readonly Entry[]} entries  all entries of the file
 */
export function toState(tensors, { prefix }, entries) {
  // Assignment would misinterpret a tensor named __proto__.
  const state = Object.fromEntries(tensors.map(([{ name }, tensor]) => [name.slice(prefix.length), tensor]))
  if (tensors.length === 0 && prefix !== '') unmatched.set(state, { prefix, names: entries.map(({ name }) => name) })
  return state
}

/**
 * The prefix and names that explain why a state dict is empty, if its prefix is the reason.
 *
 * @param {object} state
 */
export const reasonOfEmpty = (state) => unmatched.get(state)
