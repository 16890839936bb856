// Writes state dicts as safetensors files.

import { describe, fault, isArray, isObject } from '../checks/errors.js'
import { allocateBytes, arrayType, bytesBetween, lengthOf, scalesShape, withoutMembers } from '../checks/tensor.js'
import { checkState } from './state.js'
import { LENGTH_BYTES, METADATA } from './header.js'
import { encoder } from './text.js'

/** @typedef {import('./state.js').CheckedEntry} CheckedEntry */

/** @type {Readonly<Record<string, string>>} */
const TYPES = { Float32Array: 'F32', Int32Array: 'I32', Uint8Array: 'U8', Int8Array: 'I8' }

/** @param {CheckedEntry} entry */
const dtypeOf = ({ type, data }) => type?.toUpperCase() ?? TYPES[/** @type {string} */ (arrayType(data))]

/**
 * Divides a tensor of 8 bits into its integers and its scales, which are two entries of a file.
 *
 * @param {CheckedEntry} entry
 * @returns {CheckedEntry[]}
 */
function divide(entry) {
  const { name, type, data, scales, shape } = entry
  if (type !== 'q8_0' || !scales) return [entry]
  return [
    { name, data, shape },
    { name: `${name}.scales`, type: 'f16', data: scales, shape: scalesShape(shape) }
  ]
}

/** @type {(a: string, b: string) => number} */
const byName = (a, b) => (a < b ? -1 : Number(a > b))

/** @param {unknown} metadata @returns {Record<string, string>} */
function checkMetadata(metadata) {
  if (metadata === undefined || metadata === null) return {}
  if (!isObject(metadata) || isArray(metadata)) {
    throw fault('OPTION', 'metadata', 'an object of strings', describe(metadata))
  }
  const entries = Object.entries(metadata)
  for (const [name, value] of entries) {
    if (typeof value !== 'string') throw fault('OPTION', `metadata.${name}`, 'a string', describe(value))
    if (/\p{Cs}/u.test(name + value)) {
      throw fault('OPTION', `metadata.${name}`, 'text without lone surrogates', 'a lone surrogate')
    }
  }
  return Object.fromEntries(entries.sort(([a], [b]) => byName(a, b)))
}

/**
 * An object as JSON with its members in this order, even if names are numbers.
 *
 * @param {readonly (readonly [name: string, value: unknown])[]} members
 */
const toJson = (members) =>
  `{${members.map(([name, value]) => `${JSON.stringify(name)}:${JSON.stringify(value)}`).join(',')}}`

/**
 * An entry of a file to write, with the number of bytes of an element.
 *
 * @typedef {{ name: string, dtype: string, shape: readonly number[], width: number, bytes: number }} Planned
 */

/**
 * The start of a file up to its data, and the places of its entries, which are sorted.
 *
 * @template {Planned} Entry
 * @param {readonly Entry[]} entries
 * @param {Readonly<Record<string, string>>} metadata
 */
export function planFile(entries, metadata) {
  // Wide elements come first, which aligns all of them.
  const sorted = [...entries].sort((a, b) => b.width - a.width || byName(a.name, b.name))
  /** @type {Set<string>} */
  const names = new Set()
  let offset = 0
  const members = sorted.map(({ name, dtype, shape, bytes }) => {
    if (names.has(name)) throw fault('FORMAT', name, 'a name that no scales have', 'the scales of 8 bits')
    names.add(name)
    if (name === METADATA) throw fault('FORMAT', METADATA, 'a name that the format does not reserve', METADATA)
    const start = offset
    offset += bytes
    return /** @type {const} */ ([name, { dtype, shape, data_offsets: [start, offset] }])
  })
  const hasMetadata = Object.keys(metadata).length > 0
  const json = toJson([...(hasMetadata ? [/** @type {const} */ ([METADATA, metadata])] : []), ...members])
  const header = encoder().encode(json)
  // Spaces fill the header up to a multiple of eight bytes.
  const dataStart = LENGTH_BYTES + Math.ceil(header.length / 8) * 8
  const start = allocateBytes('safetensors file', dataStart)
  new DataView(start.buffer).setBigUint64(0, BigInt(dataStart - LENGTH_BYTES), true)
  start.fill(32, LENGTH_BYTES)
  start.set(header, LENGTH_BYTES)
  const places = sorted.map((entry, index) => ({ entry, start: dataStart + members[index][1].data_offsets[0] }))
  return { start, places, size: dataStart + offset }
}

/**
 * @param {unknown} state
 * @param {unknown} [metadata]
 * @returns {Uint8Array}
 */
export function saveSafetensors(state, metadata) {
  const given = checkState(state).flatMap(divide)
  const words = checkMetadata(metadata)
  const entries = given.map((entry) => {
    // Getters of later members may have detached earlier arrays.
    const data = withoutMembers(entry.data)
    const width = data.BYTES_PER_ELEMENT
    return { name: entry.name, dtype: dtypeOf(entry), shape: entry.shape, width, bytes: lengthOf(data) * width, data }
  })
  const { start, places, size } = planFile(entries, words)
  const file = allocateBytes('safetensors file', size)
  file.set(start)
  for (const { entry, start } of places) file.set(bytesBetween(entry.data, 0, entry.bytes), start)
  return file
}
