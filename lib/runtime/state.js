// State dicts: parameters by name, converted between the caller's form and the bindings'.

import { describe, fault, isArray, isObject } from '../checks/errors.js'
import { allocate, arrayType, attached, checkTensor, elements } from '../checks/tensor.js'

/** @typedef {import('../checks/tensor.js').Checked} Checked */
/** @typedef {{ name: string, shape: number[] }[]} Entries */

/**
 * Converts a state dict, or its part under `prefix`, to the binding's form.
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
    if (/\p{Cs}/u.test(name)) throw fault('FORMAT', name, 'a name without lone surrogates', 'a lone surrogate')
    const checked = checkTensor(name, tensor)
    entries.push({ name, shape: checked.shape })
    data.push(checked.data)
  }
  // Getters of later members may have detached earlier arrays.
  return { entries: JSON.stringify(entries), data: data.map(attached) }
}

/**
 * Converts entries to a state dict, each tensor filled by `read`.
 *
 * @template {{ name: string, shape: number[] }} Entry
 * @param {readonly Entry[]} entries
 * @param {(index: number, output: Float32Array, entry: Entry) => void} read
 * @param {string} [prefix]  includes only entries under this prefix, with the prefix removed
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
  // Assignment would misinterpret a tensor named __proto__.
  return Object.fromEntries(state)
}
