// State dicts: parameters by name, converted between the caller's form and the bindings'.

import { AttentionError, describe, fault, isArray, isFunction, isObject } from '../checks/errors.js'
import { checkPrefix, pickOptions } from '../checks/options.js'
import { allocate, arrayType, attached, checkAnyTensor, checkHalfTensor, elements } from '../checks/tensor.js'
import { widenHalves } from './elements.js'
import { reasonOfEmpty } from './select.js'
import { isBuffer } from './buffers.js'
import { toLayerNames } from '../names/translate.js'
import { noEntryUnder } from './prefixes.js'

/** @typedef {import('../checks/tensor.js').Checked} Checked */
/** @typedef {{ name: string, shape: number[] }[]} Entries */
/** @typedef {Float32Array | Int32Array | Uint8Array | Uint16Array} EntryData */
/**
 * A checked entry of a state dict; only 16-bit floats have a `type`.
 *
 * @typedef {{ name: string, shape: number[], data: EntryData, type?: 'f16' | 'bf16' }} CheckedEntry
 */

/**
 * The entries of a state dict, or only those under `prefix`.
 *
 * @param {unknown} state
 * @param {string} [prefix]
 * @returns {CheckedEntry[]}
 */
export function checkState(state, prefix = '') {
  if (!isObject(state) || isArray(state) || arrayType(state) !== undefined) {
    throw fault('DTYPE', 'state', 'an object of tensors by name', describe(state))
  }
  const members = Object.entries(state).filter(([name]) => name.startsWith(prefix))
  return members.map(([name, tensor]) => {
    if (/\p{Cs}/u.test(name)) throw fault('FORMAT', name, 'a name without lone surrogates', 'a lone surrogate')
    const type = isObject(tensor) ? /** @type {any} */ (tensor).type : undefined
    if (type === 'f16' || type === 'bf16') return { name, type, ...checkHalfTensor(name, tensor) }
    return { name, ...checkAnyTensor(name, tensor) }
  })
}

/**
 * Converts a state dict to the binding's form: under the layer's own names, without known buffers and integer entries.
 *
 * @param {unknown} state
 * @param {unknown} options
 * @param {() => import('../names/translate.js').Layout} layout  of the layer
 */
export function encodeState(state, options, layout) {
  const { prefix: given, strict = true, rename } = pickOptions(options, ['prefix', 'strict', 'rename'])
  const prefix = checkPrefix(given)
  if (typeof strict !== 'boolean') throw fault('OPTION', 'strict', 'a boolean', describe(strict))
  const renamed = checkRename(rename)
  const checked = checkState(state, prefix)
  if (checked.length === 0) checkPrefixOf(/** @type {object} */ (state), prefix)
  /** @type {Map<string, CheckedEntry>} */
  const entries = new Map()
  /** The array classes of integer entries, by name. @type {Map<string, string>} */
  const integers = new Map()
  for (const entry of checked) {
    const below = renamed(entry.name.slice(prefix.length))
    if (below === null || isBuffer(below, entry.shape)) continue
    const name = prefix + below
    if (entries.has(name)) throw fault('FORMAT', name, 'one entry of this name', 'two')
    const type = /** @type {string} */ (arrayType(entry.data))
    if (type === 'Float32Array' || entry.type) entries.set(name, entry)
    else integers.set(name, type)
  }
  // Getters of later members may have detached earlier arrays.
  const floats = [...entries].map(([name, { shape, type, data }]) => {
    const widened = type && widenHalves(name, type, /** @type {Uint16Array} */ (data))
    return { name, shape, data: widened ?? attached(/** @type {Float32Array} */ (data)) }
  })
  const translated = explaining(integers, () => toLayerNames(layout(), floats, { prefix, strict }))
  const named = translated.map(({ name, shape }) => ({ name, shape }))
  return { entries: JSON.stringify(named), data: translated.map(({ data }) => data), prefix, strict, integers }
}

/**
 * Runs a function, and adds to its errors about missing parameters that an integer entry may be the reason.
 *
 * @template T
 * @param {ReadonlyMap<string, string>} integers
 * @param {() => T} run
 */
export function explaining(integers, run) {
  try {
    return run()
  } catch (error) {
    throw explainIntegers(error, integers)
  }
}

/**
 * @param {unknown} error
 * @param {ReadonlyMap<string, string>} integers
 */
function explainIntegers(error, integers) {
  if (!(error instanceof AttentionError) || error.code !== 'FORMAT' || integers.size === 0) return error
  const { argument = '', expected = '', actual = '' } = error
  const type = integers.get(argument)
  if (type) return fault('DTYPE', argument, 'data in a Float32Array', describeArray(type))
  const [[name, other]] = integers
  return actual.startsWith('no ')
    ? fault('FORMAT', argument, expected, `${actual}; '${name}' is ${describeArray(other)}`)
    : error
}

/** @param {string} type */
const describeArray = (type) => `${type === 'Uint8Array' ? 'a' : 'an'} ${type}`

/**
 * Throws if the state dict is empty because of a prefix, given here or when the state dict was read.
 *
 * @param {object} state
 * @param {string} prefix
 */
function checkPrefixOf(state, prefix) {
  const { prefix: missed, names } = reasonOfEmpty(state) ?? { prefix, names: Object.keys(state) }
  if (missed !== '') throw noEntryUnder(missed, names)
}

/** @typedef {(name: string) => string | null} Rename */

/**
 * @param {unknown} rename
 * @returns {Rename}
 */
function checkRename(rename) {
  if (rename === undefined) return (name) => name
  const isCallable = isFunction(rename)
  if (!isCallable && (!isObject(rename) || isArray(rename))) {
    throw fault('OPTION', 'rename', 'a function, or an object of names', describe(rename))
  }
  return (name) => {
    const result = isCallable
      ? rename(name)
      : Object.hasOwn(rename, name)
        ? /** @type {Record<string, unknown>} */ (rename)[name]
        : name
    if (result === null) return null
    if (typeof result !== 'string') throw fault('OPTION', 'rename', `a name or null for '${name}'`, describe(result))
    if (/\p{Cs}/u.test(result)) throw fault('FORMAT', name, 'a name without lone surrogates', 'a lone surrogate')
    return result
  }
}

/**
 * Converts entries to a state dict, each tensor filled by `read`.
 *
 * @template {{ name: string, shape: number[] }} Entry
 * @param {readonly Entry[]} entries
 * @param {(index: number, output: Float32Array) => void} read
 * @returns {Record<string, Checked>}
 */
export function decodeState(entries, read) {
  const state = entries.map(({ name, shape }, index) => {
    const data = allocate(name, elements(shape))
    read(index, data)
    return /** @type {const} */ ([name, { data, shape }])
  })
  // Assignment would misinterpret a tensor named __proto__.
  return Object.fromEntries(state)
}
