// Splits the caller's options into array options, which are passed as they are, and scalar options, passed as one JSON
// text.
// Only the kernel crate knows and checks the scalar options.

import { describe, fault, isArray, isObject, unknownOption } from './errors.js'
import { arrayType, asTensor, checkArray, checkIntegers, checkMask, checkTensor, isLength } from './tensor.js'

/** Upper limit for list entries passed on: more than any option takes, and than an error repeats. */
const MAX_ENTRIES = 64

/**
 * Quotes text as JSON. A lone surrogate, which is not a character, becomes U+FFFD.
 *
 * @param {string} text
 */
function quote(text) {
  const json = JSON.stringify(text)
  return json.includes('\\ud') ? JSON.stringify(text.replace(/\p{Cs}/gu, '\ufffd')) : json
}

/**
 * Encodes the value of one option as JSON. JSON has no NaN or infinity, so they are passed as strings. An object is
 * never a valid scalar value; it is passed as `{}`, so that the kernel crate can report whether the name or the value
 * is wrong.
 *
 * @param {string} name
 * @param {unknown} value
 * @param {boolean} [nested]  for an entry of a list
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
  if (!isLength(length)) throw fault('OPTION', name, 'a list with a valid length', describe(length))
  /** @type {string[]} */
  const entries = []
  for (let index = 0; index < Math.min(length, MAX_ENTRIES); index++) entries.push(encodeValue(name, list[index], true))
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

/** Upper limit for objects within objects: more than any configuration has. */
const MAX_DEPTH = 4

/**
 * Encodes a layer's configuration, or options without arrays, as JSON. Absent values are omitted. A value may itself be
 * an object of options.
 *
 * @param {unknown} config
 * @param {string} [argument]  the caller's name for it
 */
export function encodeConfig(config, argument = 'config') {
  return encodeMembers(checkObject(argument, config), MAX_DEPTH)
}

/**
 * @param {Record<string, unknown>} object
 * @param {number} depth  levels of objects that may follow; deeper ones are passed as `{}`
 */
function encodeMembers(object, depth) {
  let json = ''
  for (const name in object) {
    const value = object[name]
    if (value === undefined || value === null) continue
    const isNested = depth > 0 && isObject(value) && !isArray(value) && !ArrayBuffer.isView(value)
    const text = isNested
      ? encodeMembers(/** @type {Record<string, unknown>} */ (value), depth - 1)
      : encodeValue(name, value)
    json += `${json && ','}${quote(name)}:${text}`
  }
  return `{${json}}`
}

/**
 * Merges options over defaults; absent options keep their default.
 *
 * @param {Record<string, unknown>} defaults
 * @param {unknown} options
 * @param {string} [argument]  the caller's name for them
 */
export function withDefaults(defaults, options, argument = 'options') {
  /** @type {Record<string, unknown>} */
  const merged = Object.assign(Object.create(null), defaults)
  if (options === undefined || options === null) return merged
  const object = checkObject(argument, options)
  for (const name in object) {
    const value = object[name]
    if (value !== undefined && value !== null) merged[name] = value
  }
  return merged
}

/**
 * Rejects surplus arguments, such as options of a function without options, which would otherwise be ignored.
 *
 * @param {string} name  of the function
 * @param {readonly unknown[]} more
 */
export function refuseMore(name, more) {
  const isGiven = (/** @type {unknown} */ value) =>
    value !== undefined && value !== null && !(isObject(value) && Object.keys(value).length === 0)
  const extra = more.find(isGiven)
  if (extra !== undefined) throw fault('OPTION', name, 'no further argument', describe(extra))
}

/**
 * Splits options into those listed in `names`, unchanged, and all others as JSON. Absent options are omitted from both.
 *
 * @param {string} argument
 * @param {unknown} options
 * @param {readonly string[]} names
 * @param {import('../runtime/async/watch.js').Watch} [watch]  receives the options of an asynchronous call
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

/** The options of an attention call, split into arrays and JSON. */
export class CallOptions {
  /** The scalar options, or undefined if there are none. @type {string | undefined} */
  json = undefined
  /** @type {import('./tensor.js').Checked<Uint8Array | Float32Array> | undefined} */
  mask = undefined
  /** @type {Int32Array | undefined} */
  queryOffset = undefined
  /** @type {Int32Array | undefined} */
  kvLengths = undefined
  /** Valid rows of each context, of calls that have one. @type {Int32Array | undefined} */
  contextLengths = undefined
  /** @type {import('./tensor.js').Checked | undefined} */
  relativeBias = undefined
  /** @type {Int32Array | undefined} */
  cuSeqlens = undefined
  /** @type {Int32Array | undefined} */
  cuSeqlensKeys = undefined
  /** @type {import('./tensor.js').Checked | undefined} */
  sinks = undefined
  /** @type {Float32Array | undefined} */
  out = undefined
  /** The positions of rows, for layers. @type {import('./tensor.js').Checked<Int32Array> | undefined} */
  positions = undefined
  /** The cache of a layer. @type {any} */
  cache = undefined
  /** The cache of a layer's context. @type {any} */
  contextCache = undefined
  /** The offset of all queries as the caller passed it; checked by the kernel crate. @type {unknown} */
  offset = undefined
  /** The layout as the caller passed it; checked by the kernel crate. @type {unknown} */
  layout = undefined
}

const NO_OPTIONS = Object.freeze(new CallOptions())
/** @type {readonly string[]} */
const NO_NAMES = []

/**
 * Reads the options of an attention call, each exactly once.
 *
 * @param {unknown} options
 * @param {import('../runtime/async/watch.js').Watch} [watch]  receives the options of an asynchronous call
 * @param {readonly string[]} [more]  further options of this call: positions, cache, contextLengths
 * @param {readonly string[]} [without]  array options that the operation does not have, left to the kernel crate to
 *   report
 * @returns {Readonly<CallOptions>}
 */
export function readOptions(options, watch, more = NO_NAMES, without = NO_NAMES) {
  if (options === undefined || options === null) return NO_OPTIONS
  const object = checkObject('options', options)
  const call = new CallOptions()
  let json = ''
  for (const name in object) {
    const value = object[name]
    if (value === undefined || value === null) continue
    const known = without.includes(name) ? '' : name
    switch (known) {
      case 'mask':
        call.mask = checkMask(name, value)
        continue
      case 'kvLengths':
      case 'cuSeqlens':
      case 'cuSeqlensKeys':
        call[known] = checkArray(name, value, 'Int32Array')
        continue
      case 'relativeBias':
        call.relativeBias = checkTensor(name, value)
        continue
      case 'sinks':
        call.sinks = arrayType(value) === undefined ? checkTensor(name, value) : asTensor(name, value)
        continue
      case 'contextLengths':
        if (!more.includes(name)) break
        call.contextLengths = checkArray(name, value, 'Int32Array')
        continue
      case 'out':
        call.out = checkArray(name, value, 'Float32Array')
        if (watch) watch.out = call.out
        continue
      case 'signal':
      case 'onProgress':
        // The kernel crate knows neither option.
        if (watch === undefined) break
        watch.take(name, value)
        continue
      case 'queryOffset':
        call.offset = value
        if (typeof value === 'number') break
        call.queryOffset = checkArray(name, value, 'Int32Array')
        continue
      case 'cache':
      case 'contextCache':
        if (!more.includes(name)) break
        if (watch !== undefined) throw fault('OPTION', name, 'none in an asynchronous call', describe(value))
        call[known] = value
        continue
      case 'positions':
        if (!more.includes(name)) break
        call.positions = checkIntegers(name, value)
        continue
      case 'layout':
        call.layout = value
    }
    json += `${json && ','}${quote(name)}:${encodeValue(name, value)}`
  }
  if (json) call.json = `{${json}}`
  return call
}

/**
 * Reads the options of a function that has no kernel, each exactly once.
 *
 * @template {string} Name
 * @param {unknown} options
 * @param {readonly Name[]} names  all known options
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
      throw unknownOption(name, names)
    }
    picked[known] = value
  }
  return picked
}

/**
 * Checks a dotted prefix of parameter names, and ends it with a dot; `'encoder.0'` and `'encoder.0.'` are equivalent.
 *
 * @param {unknown} prefix
 */
export function checkPrefix(prefix = '') {
  if (typeof prefix !== 'string') throw fault('OPTION', 'prefix', 'a string', describe(prefix))
  return prefix === '' || prefix.endsWith('.') ? prefix : `${prefix}.`
}
