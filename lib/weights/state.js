// State dicts: parameters by name, converted between the caller's form and the bindings'.

import { AttentionError, describe, fault, isArray, isFunction, isObject } from '../checks/errors.js'
import { checkPrefix, pickOptions } from '../checks/options.js'
import {
  allocate,
  arrayType,
  checkAnyTensor,
  checkWeight,
  elements,
  scalesShape,
  withoutMembers
} from '../checks/tensor.js'
import { widen } from '../numbers/convert.js'
import { reasonOfEmpty } from './select.js'
import { isBuffer } from './buffers.js'
import { toLayerNames } from '../names/translate.js'
import { noEntryUnder } from './prefixes.js'

/** @typedef {import('../checks/tensor.js').Checked} Checked */
/**
 * An entry of an object; 32-bit floats have no `type`.
 *
 * @typedef {{ name: string, shape: number[], type?: 'f16' | 'bf16' | 'q8_0' }} EntryDescription
 */
/** @typedef {EntryDescription[]} Entries */
/** @typedef {Float32Array | Int32Array | Uint8Array | Uint16Array | Int8Array} EntryData */
/**
 * A checked entry of a state dict; only 16-bit floats and 8 bits have a `type`.
 *
 * @typedef {{ name: string, shape: number[], data: EntryData, type?: 'f16' | 'bf16' | 'q8_0', scales?: Uint16Array
 *   }} CheckedEntry
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
    if (type === 'f16' || type === 'bf16' || type === 'q8_0') {
      return /** @type {CheckedEntry} */ ({ name, ...checkWeight(name, tensor) })
    }
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
  const keeps = layout().entries.some(({ type }) => type !== undefined)
  const floats = [...entries].map(([name, { shape, type, data, scales }]) => {
    const values = withoutMembers(/** @type {Float32Array} */ (data))
    if (type && keeps) return { name, shape, type, data: values, scales }
    return { name, shape, data: type ? widen({ type, data: values, scales, shape }) : values }
  })
  const translated = explaining(integers, () => toLayerNames(layout(), floats, { prefix, strict }))
  const named = translated.map(({ name, shape, type }) => ({ name, shape, type }))
  const data = translated.map((entry) => (entry.type ? toWords(entry.data, entry.scales) : entry.data))
  return { entries: JSON.stringify(named), data: /** @type {Float32Array[]} */ (data), prefix, strict, integers }
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
 * The bytes of weights of another type as words of 32 bits, as bindings take them: the scales start at a whole word.
 *
 * @param {ArrayBufferView} data
 * @param {Uint16Array} [scales]
 */
function toWords(data, scales) {
  const starts = Math.ceil(data.byteLength / 4)
  const words = allocate('weights', starts + Math.ceil((scales?.length ?? 0) / 2))
  const bytes = new Uint8Array(words.buffer)
  bytes.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength))
  if (scales) bytes.set(new Uint8Array(scales.buffer, scales.byteOffset, scales.byteLength), 4 * starts)
  return words
}

/**
 * The number of 32-bit words in which a binding passes an entry.
 *
 * @param {EntryDescription} entry
 */
function countWords({ shape, type }) {
  const count = elements(shape)
  if (type === undefined) return count
  if (type !== 'q8_0') return Math.ceil(count / 2)
  return Math.ceil(count / 4) + Math.ceil(elements(scalesShape(shape)) / 2)
}

/**
 * Reads every entry of an object as words.
 *
 * @param {readonly EntryDescription[]} entries
 * @param {(index: number, output: Float32Array) => void} read
 */
export function readWords(entries, read) {
  return entries.map((entry, index) => {
    const words = allocate(entry.name, countWords(entry))
    read(index, words)
    return words
  })
}

/**
 * Converts entries and their words to a state dict.
 *
 * @param {readonly EntryDescription[]} entries
 * @param {readonly Float32Array[]} words
 * @returns {Record<string, import('../../index.d.ts').Weight>}
 */
export function decodeState(entries, words) {
  const state = entries.map(({ name, shape, type }, index) => {
    const { buffer } = words[index]
    const count = elements(shape)
    if (type === undefined) return /** @type {const} */ ([name, { data: words[index], shape }])
    if (type !== 'q8_0') return /** @type {const} */ ([name, { type, data: new Uint16Array(buffer, 0, count), shape }])
    const data = new Int8Array(buffer, 0, count)
    const scales = new Uint16Array(buffer, 4 * Math.ceil(count / 4), elements(scalesShape(shape)))
    return /** @type {const} */ ([name, { type, data, scales, shape }])
  })
  // Assignment would misinterpret a tensor named __proto__.
  return Object.fromEntries(state)
}
