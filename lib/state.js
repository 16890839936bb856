// State dicts: parameters by name, as callers hold them and as bindings take them.

import { describe, fault, isArray, isObject } from './errors.js'
import { allocate, arrayType, attached, checkTensor, elements } from './tensor.js'

/** @typedef {import('./tensor.js').Checked} Checked */
/** @typedef {{ name: string, shape: number[] }[]} Entries */

/**
 * A state dict, or what of it lies under `prefix`, as a binding takes it.
 *
 * @param {unknown} state
 * @param {string} [prefix]
 */
export function encodeState(state, prefix = '') {
  if (!isObject(state) || isArray(state) || arrayType(state) !== undefined) {
    throw fault('DTYPE', 'state', 'an object of tensors by name', describe(state))
  }
  /** @type {Entries} */
  const entries = []
  /** @type {Float32Array[]} */
  const data = []
  for (const [name, tensor] of Object.entries(state)) {
    if (!name.startsWith(prefix)) continue
    if (/\p{Cs}/u.test(name)) throw fault('FORMAT', name, 'a name of whole characters', 'half of a surrogate pair')
    const checked = checkTensor(name, tensor)
    entries.push({ name, shape: checked.shape })
    data.push(checked.data)
  }
  // Members that are getters may have detached what came before them.
  return { entries: JSON.stringify(entries), data: data.map(attached) }
}

/**
 * The tensors of a state dict, each filled by `read`.
 *
 * @template {{ name: string, shape: number[] }} Entry
 * @param {readonly Entry[]} entries
 * @param {(index: number, output: Float32Array, entry: Entry) => void} read
 * @param {string} [prefix]  takes only the entries under it, and takes it off their names
 * @returns {Record<string, Checked>}
 */
export function decodeState(entries, read, prefix = '') {
  /** @type {[string, Checked][]} */
  const state = []
  for (const [index, entry] of entries.entries()) {
    if (!entry.name.startsWith(prefix)) continue
    const data = allocate(entry.name, elements(entry.shape))
    read(index, data, entry)
    state.push([entry.name.slice(prefix.length), { data, shape: entry.shape }])
  }
  // Not by assignment, which a tensor named __proto__ would turn into something else.
  return Object.fromEntries(state)
}
