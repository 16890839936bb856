// Weights files: a safetensors file as a state dict and back. The format itself is read in the kernel crate.

import { describe, fault, isArray, isObject } from './errors.js'
import { readPrefix } from './options.js'
import { decodeState, encodeState } from './state.js'
import { MAX_RANK, arrayType, bytesBetween, checkArray, isShared } from './tensor.js'

/** @typedef {import('./tensor.js').Checked} Checked */
/** @typedef {import('./backend.js').Backend} Backend */
/** @typedef {{ name: string, shape: number[], dtype: string, bytes: [start: number, end: number] }} Entry */

/** The length of the header's length, the first thing in a file. */
const LENGTH_BYTES = 8

/** @param {unknown} bytes @returns {Uint8Array} */
function checkBytes(bytes) {
  if (arrayType(bytes) === 'Uint8Array') return checkArray('bytes', bytes, 'Uint8Array')
  const buffer = /** @type {ArrayBuffer} */ (bytes)
  // Whatever else says that it is one has no memory to look at.
  if (lengthOfBuffer(buffer) !== undefined) return isDetached(buffer) ? new Uint8Array(0) : new Uint8Array(buffer)
  throw fault('DTYPE', 'bytes', 'a Uint8Array or an ArrayBuffer', describe(bytes))
}

/** @type {((this: any) => number)[]} */
const byteLengths = [ArrayBuffer, globalThis.SharedArrayBuffer]
  .filter(Boolean)
  .map(({ prototype }) => /** @type {any} */ (Object.getOwnPropertyDescriptor(prototype, 'byteLength')).get)

/**
 * How many bytes a buffer of any realm has, or undefined for what is none.
 *
 * @param {unknown} buffer
 * @returns {number | undefined}
 */
function lengthOfBuffer(buffer) {
  for (const byteLength of byteLengths) {
    try {
      return byteLength.call(buffer)
    } catch {
      // It is not of this kind.
    }
  }
  return undefined
}

/** @param {ArrayBuffer} buffer */
function isDetached(buffer) {
  try {
    new Uint8Array(buffer)
    return false
  } catch {
    return true
  }
}

/**
 * Where the header of a file ends, if it says so truly.
 *
 * @param {Uint8Array} file
 */
function headerEnd(file) {
  if (file.length < LENGTH_BYTES) return file.length
  const start = bytesBetween(file, 0, LENGTH_BYTES)
  const length = new DataView(start.buffer, start.byteOffset).getBigUint64(0, true)
  return Math.min(LENGTH_BYTES + Number(length), file.length)
}

/** @param {Entry} entry */
function checkEntry({ name, shape, dtype }) {
  if (!['F32', 'F16', 'BF16'].includes(dtype)) {
    throw fault('FORMAT', name, 'elements of type F32, F16 or BF16', dtype)
  }
  if (shape.length > MAX_RANK) throw fault('FORMAT', name, `at most ${MAX_RANK} dimensions`, `${shape.length}`)
}

/** @param {unknown} metadata */
function encodeMetadata(metadata) {
  if (metadata === undefined || metadata === null) return '{}'
  if (!isObject(metadata) || isArray(metadata)) {
    throw fault('OPTION', 'metadata', 'an object of strings', describe(metadata))
  }
  const entries = Object.entries(metadata)
  for (const [name, value] of entries) {
    if (typeof value !== 'string') throw fault('OPTION', `metadata.${name}`, 'a string', describe(value))
    if (/\p{Cs}/u.test(name + value)) {
      throw fault('OPTION', `metadata.${name}`, 'text of whole characters', 'half of a surrogate pair')
    }
  }
  return JSON.stringify(Object.fromEntries(entries))
}

/** @param {Backend} backend */
export function createSafetensors(backend) {
  /**
   * @param {unknown} bytes
   * @param {unknown} [options]
   * @returns {Record<string, Checked>}
   */
  function loadSafetensors(bytes, options) {
    const file = checkBytes(bytes)
    const prefix = readPrefix(options)
    const binding = backend.binding ?? backend.start()
    /** @type {Entry[]} */
    let entries
    try {
      const header = bytesBetween(file, 0, headerEnd(file))
      // Another thread may write to shared memory while it is read.
      entries = JSON.parse(binding.safetensorsEntries(isShared(file) ? header.slice() : header, file.length))
    } catch (error) {
      throw backend.fault(error)
    }
    const wanted = entries.filter(({ name }) => name.startsWith(prefix))
    // Before memory is taken for any of them.
    wanted.forEach(checkEntry)
    return decodeState(wanted, (_, output, entry) => readEntry(file, entry, output), prefix)
  }

  /**
   * @param {Uint8Array} file
   * @param {Entry} entry
   * @param {Float32Array} output
   */
  function readEntry(file, { dtype, bytes: [start, end] }, output) {
    backend
      .call('widen')
      .options(dtype)
      .bytes(bytesBetween(file, start, end))
      .output(output)
      .run()
  }

  /**
   * @param {unknown} state
   * @param {unknown} [metadata]
   * @returns {Uint8Array}
   */
  function saveSafetensors(state, metadata) {
    const { entries, data } = encodeState(state)
    const words = encodeMetadata(metadata)
    const binding = backend.binding ?? backend.start()
    try {
      return binding.saveSafetensors(entries, data, words)
    } catch (error) {
      throw backend.fault(error)
    }
  }

  return { loadSafetensors, saveSafetensors }
}
