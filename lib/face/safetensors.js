// Reads and writes safetensors files as state dicts. The kernel crate parses and checks the format.

import { describe, fault, isArray, isObject } from '../checks/errors.js'
import { readPrefix } from '../checks/options.js'
import { decodeState, encodeState } from '../runtime/state.js'
import { MAX_RANK, arrayType, bytesBetween, checkArray, isShared } from '../checks/tensor.js'

/** @typedef {import('../checks/tensor.js').Checked} Checked */
/** @typedef {import('../runtime/backend.js').Backend} Backend */
/** @typedef {{ name: string, shape: number[], dtype: string, bytes: [start: number, end: number] }} Entry */

/** Size of the header length, which starts the file. */
const LENGTH_BYTES = 8

/** @param {unknown} bytes @returns {Uint8Array} */
function checkBytes(bytes) {
  if (arrayType(bytes) === 'Uint8Array') return checkArray('bytes', bytes, 'Uint8Array')
  const buffer = /** @type {ArrayBuffer} */ (bytes)
  // Only genuine buffers have memory; other objects may claim to be buffers.
  if (lengthOfBuffer(buffer) !== undefined) return isDetached(buffer) ? new Uint8Array(0) : new Uint8Array(buffer)
  throw fault('DTYPE', 'bytes', 'a Uint8Array or an ArrayBuffer', describe(bytes))
}

/** @type {((this: any) => number)[]} */
const byteLengths = [ArrayBuffer, globalThis.SharedArrayBuffer]
  .filter(Boolean)
  .map(({ prototype }) => /** @type {any} */ (Object.getOwnPropertyDescriptor(prototype, 'byteLength')).get)

/**
 * The byte length of a buffer of any realm, or undefined for anything else.
 *
 * @param {unknown} buffer
 * @returns {number | undefined}
 */
function lengthOfBuffer(buffer) {
  for (const byteLength of byteLengths) {
    try {
      return byteLength.call(buffer)
    } catch {
      // Not a buffer of this kind.
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
 * The end of a file's header, limited to the size of the file.
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
      throw fault('OPTION', `metadata.${name}`, 'text without lone surrogates', 'a lone surrogate')
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
      // Copy the header out of shared memory, which another thread could change meanwhile.
      entries = JSON.parse(binding.safetensorsEntries(isShared(file) ? header.slice() : header, file.length))
    } catch (error) {
      throw backend.fault(error)
    }
    const wanted = entries.filter(({ name }) => name.startsWith(prefix))
    // Check all entries before allocating any.
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
