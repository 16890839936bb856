// Options as callers write them, split into what a binding takes: arrays as they are, everything else as one JSON text.
// Names and values of the scalar options are judged in the kernel crate alone, so nothing here knows which exist.

import { describe, fault, isArray, isObject } from './errors.js'
import { arrayType, checkArray, checkMask, isLength } from './tensor.js'

/** More entries of a list than any option takes, and than an error repeats. */
const MOST_ENTRIES = 64

/**
 * Text as JSON. Half of a surrogate pair, which is no character, becomes the one that stands for such.
 *
 * @param {string} text
 */
function quote(text) {
  const json = JSON.stringify(text)
  return json.includes('\\ud') ? JSON.stringify(text.replace(/\p{Cs}/gu, '\ufffd')) : json
}

/**
 * The value of one option as JSON. JSON has no NaN or infinity: they travel as strings. An object, which no scalar option
 * can be, travels as `{}`, so that the kernel crate can say whether its name or its value is wrong.
 *
 * @param {string} name
 * @param {unknown} value
 * @param {boolean} [nested]  whether it is an entry of a list
 * @returns {string}
 */
function encodeValue(name, value, nested = false) {
  switch (typeof value) {
    case 'boolean':
      return value ? 'true' : 'false'
    case 'number':
      return Number.isFinite(value) ? String(value) : `"${value}"`
    case 'string':
      return quote(value)
    case 'object':
      if (value === null) return 'null'
      if (!isArray(value)) return '{}'
      return nested ? '[]' : encodeList(name, value)
    case 'undefined':
      return 'null'
    default:
      throw fault('OPTION', name, 'a number, a boolean, a string or a list', describe(value))
  }
}

/**
 * @param {string} name
 * @param {readonly unknown[]} list
 */
function encodeList(name, list) {
  const { length } = list
  if (!isLength(length)) throw fault('OPTION', name, 'a list that has a length', describe(length))
  /** @type {string[]} */
  const entries = []
  for (let index = 0; index < Math.min(length, MOST_ENTRIES); index++)
    entries.push(encodeValue(name, list[index], true))
  return `[${entries.join(',')}]`
}

/**
 * @param {string} argument
 * @param {unknown} options
 */
function checkObject(argument, options) {
  if (!isObject(options) || isArray(options) || ArrayBuffer.isView(options)) {
    throw fault('OPTION', argument, 'an object', describe(options))
  }
  return /** @type {Record<string, unknown>} */ (options)
}

/**
 * A layer's configuration, or options that are no arrays, as JSON; absent values are left out. A value may be an object of
 * options itself.
 *
 * @param {unknown} config
 * @param {string} [argument]  what the caller calls it
 */
export function encodeConfig(config, argument = 'config') {
  return encodeMembers(checkObject(argument, config), (name, value) =>
    !isObject(value) || isArray(value) || ArrayBuffer.isView(value)
      ? encodeValue(name, value)
      : encodeMembers(/** @type {Record<string, unknown>} */ (value), encodeValue)
  )
}

/**
 * @param {Record<string, unknown>} object
 * @param {(name: string, value: unknown) => string} encode
 */
function encodeMembers(object, encode) {
  let json = ''
  for (const name in object) {
    const value = object[name]
    if (value === undefined || value === null) continue
    json += `${json && ','}${quote(name)}:${encode(name, value)}`
  }
  return `{${json}}`
}

/**
 * Options with defaults in place of those that are absent.
 *
 * @param {Record<string, unknown>} defaults
 * @param {unknown} options
 */
export function withDefaults(defaults, options) {
  /** @type {Record<string, unknown>} */
  const merged = Object.assign(Object.create(null), defaults)
  if (options === undefined || options === null) return merged
  const object = checkObject('options', options)
  for (const name in object) {
    const value = object[name]
    if (value !== undefined && value !== null) merged[name] = value
  }
  return merged
}

/**
 * Options split into those of these names, as they are, and all others as JSON; absent ones are left out of both.
 *
 * @param {string} argument
 * @param {unknown} options
 * @param {readonly string[]} names
 * @param {import('./async/watch.js').Watch} [watch]  takes the options of a call that runs elsewhere
 */
export function splitOptions(argument, options, names, watch) {
  /** @type {Record<string, unknown>} */
  const values = Object.create(null)
  let json = ''
  const object = options === undefined || options === null ? {} : checkObject(argument, options)
  for (const name in object) {
    const value = object[name]
    if (value === undefined || value === null) continue
    if (watch?.take(name, value)) continue
    values[name] = value
    if (!names.includes(name)) json += `${json && ','}${quote(name)}:${encodeValue(name, value)}`
  }
  return { values, json: `{${json}}` }
}

/** What a call of attention was given beside its tensors. */
export class CallOptions {
  /** The scalar options, or undefined where there are none. @type {string | undefined} */
  json = undefined
  /** @type {import('./tensor.js').Checked<Uint8Array | Float32Array> | undefined} */
  mask = undefined
  /** @type {Uint8Array | undefined} */
  booleanMask = undefined
  /** @type {Float32Array | undefined} */
  floatMask = undefined
  /** @type {Int32Array | undefined} */
  queryOffset = undefined
  /** @type {Int32Array | undefined} */
  kvLengths = undefined
  /** @type {Float32Array | undefined} */
  out = undefined
  // The scalar options that decide which results there are, as the caller wrote them: judged in the kernel crate.
  /** @type {unknown} */
  layout = undefined
  /** @type {unknown} */
  weights = undefined
  /** @type {unknown} */
  averageWeights = undefined
  /** @type {unknown} */
  topWeights = undefined
  /** @type {unknown} */
  logSumExp = undefined
}

const NONE = Object.freeze(new CallOptions())

/**
 * Reads every option once.
 *
 * @param {unknown} options
 * @param {import('./async/watch.js').Watch} [watch]  takes the options of a call that runs elsewhere
 * @returns {Readonly<CallOptions>}
 */
export function readOptions(options, watch) {
  if (options === undefined || options === null) return NONE
  const object = checkObject('options', options)
  const call = new CallOptions()
  let json = ''
  for (const name in object) {
    const value = object[name]
    if (value === undefined || value === null) continue
    switch (name) {
      case 'mask':
        readMask(call, value)
        continue
      case 'kvLengths':
        call.kvLengths = checkArray(name, value, 'Int32Array')
        continue
      case 'out':
        call.out = checkArray(name, value, 'Float32Array')
        if (watch) watch.out = call.out
        continue
      case 'signal':
      case 'onProgress':
        // The kernel crate knows neither.
        if (watch === undefined) break
        watch.take(name, value)
        continue
      case 'queryOffset':
        if (typeof value === 'number') break
        call.queryOffset = checkArray(name, value, 'Int32Array')
        continue
      case 'layout':
      case 'weights':
      case 'averageWeights':
      case 'topWeights':
      case 'logSumExp':
        call[name] = value
    }
    json += `${json && ','}${quote(name)}:${encodeValue(name, value)}`
  }
  if (json) call.json = `{${json}}`
  return call
}

/**
 * @param {CallOptions} call
 * @param {unknown} value
 */
function readMask(call, value) {
  const mask = checkMask('mask', value)
  call.mask = mask
  // The class of the array says what the mask means.
  if (arrayType(mask.data) === 'Uint8Array') call.booleanMask = /** @type {Uint8Array} */ (mask.data)
  else call.floatMask = /** @type {Float32Array} */ (mask.data)
}

/**
 * The options of a function that has no kernel behind it, read once.
 *
 * @template {string} Name
 * @param {unknown} options
 * @param {readonly Name[]} names  every option there is
 * @returns {{ [name in Name]?: unknown }}
 */
export function pickOptions(options, names) {
  /** @type {{ [name in Name]?: unknown }} */
  const picked = {}
  if (options === undefined || options === null) return picked
  const object = checkObject('options', options)
  for (const name in object) {
    const value = object[name]
    if (value === undefined || value === null) continue
    const known = names.find((candidate) => candidate === name)
    if (known === undefined) {
      throw fault('OPTION', name, `a known option; the nearest is '${nearest(name, names)}'`, 'an unknown name')
    }
    picked[known] = value
  }
  return picked
}

/**
 * The candidate with the smallest edit distance to a name, the earliest of equals, as the kernel crate finds it for its own options.
 *
 * @param {string} name
 * @param {readonly string[]} candidates
 */
function nearest(name, candidates) {
  const fold = (/** @type {string} */ text) => text.replaceAll(/[-_]/g, '').slice(0, 64).toLowerCase()
  const distances = candidates.map((candidate) => editDistance(fold(name), fold(candidate)))
  return candidates[distances.indexOf(Math.min(...distances))]
}

/**
 * Levenshtein's distance: the insertions, deletions and substitutions that turn `a` into `b`.
 *
 * @param {string} a
 * @param {string} b
 */
function editDistance(a, b) {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j)
  for (let i = 0; i < a.length; i++) {
    const next = [i + 1]
    for (let j = 0; j < b.length; j++)
      next.push(Math.min(row[j] + (a[i] === b[j] ? 0 : 1), row[j + 1] + 1, next[j] + 1))
    row = next
  }
  return row[b.length]
}

/**
 * A dotted prefix of parameter names: `'encoder.0'` and `'encoder.0.'` mean the same.
 *
 * @param {unknown} options
 */
export function readPrefix(options) {
  const { prefix = '' } = pickOptions(options, ['prefix'])
  if (typeof prefix !== 'string') throw fault('OPTION', 'prefix', 'a string', describe(prefix))
  return prefix === '' || prefix.endsWith('.') ? prefix : `${prefix}.`
}
