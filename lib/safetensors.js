// Weights files: a safetensors file as a state dict and back. The format itself is read in the kernel crate.

import { describe, fault } from './errors.js'
import { readPrefix } from './options.js'
import { decodeState, encodeState } from './state.js'
import { MAX_RANK, arrayType } from './tensor.js'

/** @typedef {import('./tensor.js').Checked} Checked */
/** @typedef {import('./backend.js').Backend} Backend */
/** @typedef {{ name: string, shape: number[], dtype: string, bytes: [start: number, end: number] }} Entry */

/** The length of the header's length, the first thing in a file. */
const LENGTH_BYTES = 8

/** @param {unknown} bytes */
function checkBytes(bytes) {
  if (arrayType(bytes) === 'Uint8Array') return /** @type {Uint8Array} */ (bytes)
  const tag = Object.prototype.toString.call(bytes)
  if (tag === '[object ArrayBuffer]' || tag === '[object SharedArrayBuffer]') {
    return new Uint8Array(/** @type {ArrayBuffer} */ (bytes))
  }
  throw fault('DTYPE', 'bytes', 'a Uint8Array or an ArrayBuffer', describe(bytes))
}

/**
 * Where the header of a file ends, if it says so truly.
 *
 * @param {Uint8Array} file
 */
function headerEnd(file) {
  if (file.length < LENGTH_BYTES) return file.length
  const length = new DataView(file.buffer, file.byteOffset).getBigUint64(0, true)
  return LENGTH_BYTES + Number(length)
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
  if (typeof metadata !== 'object' || Array.isArray(metadata)) {
    throw fault('OPTION', 'metadata', 'an object of strings', describe(metadata))
  }
  const entries = Object.entries(metadata)
  for (const [name, value] of entries) {
    if (typeof value !== 'string') throw fault('OPTION', `metadata.${name}`, 'a string', describe(value))
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
      entries = JSON.parse(binding.safetensorsEntries(file.subarray(0, headerEnd(file)), file.length))
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
  function readEntry(file, { dtype, bytes }, output) {
    backend
      .call('widen')
      .options(dtype)
      .bytes(file.subarray(...bytes))
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
