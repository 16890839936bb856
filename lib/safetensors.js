// Weights files: a safetensors file as a state dict and back. The format itself is read in the kernel crate.

import { describe, fault } from './errors.js'
import { readPrefix } from './options.js'
import { allocate, arrayType, checkTensor, elements } from './tensor.js'

/** @typedef {import('./tensor.js').Checked} Checked */
/** @typedef {import('./backend.js').Backend} Backend */
/** @typedef {{ name: string, shape: number[] }[]} Entries */

/**
 * A state dict, or what of it lies under `prefix`, as a binding takes it.
 *
 * @param {unknown} state
 * @param {string} [prefix]
 */
export function encodeState(state, prefix = '') {
  if (typeof state !== 'object' || state === null || Array.isArray(state) || arrayType(state) !== undefined) {
    throw fault('DTYPE', 'state', 'an object of tensors by name', describe(state))
  }
  /** @type {Entries} */
  const entries = []
  /** @type {Float32Array[]} */
  const data = []
  for (const [name, tensor] of Object.entries(state)) {
    if (!name.startsWith(prefix)) continue
    const checked = checkTensor(name, tensor)
    entries.push({ name, shape: checked.shape })
    data.push(checked.data)
  }
  return { entries: JSON.stringify(entries), data }
}

/**
 * The tensors of a state dict, each filled by `read`.
 *
 * @param {string} json  the entries, as a binding lists them
 * @param {(index: number, output: Float32Array) => void} read
 * @param {string} [prefix]  takes only the entries under it, and takes it off their names
 * @returns {Record<string, Checked>}
 */
export function decodeState(json, read, prefix = '') {
  /** @type {[string, Checked][]} */
  const state = []
  const entries = /** @type {Entries} */ (JSON.parse(json))
  for (const [index, { name, shape }] of entries.entries()) {
    if (!name.startsWith(prefix)) continue
    const data = allocate(name, elements(shape))
    read(index, data)
    state.push([name.slice(prefix.length), { data, shape }])
  }
  // Not by assignment, which a tensor named __proto__ would turn into something else.
  return Object.fromEntries(state)
}

/** @param {unknown} bytes */
function checkBytes(bytes) {
  if (arrayType(bytes) === 'Uint8Array') return /** @type {Uint8Array} */ (bytes)
  const tag = Object.prototype.toString.call(bytes)
  if (tag === '[object ArrayBuffer]' || tag === '[object SharedArrayBuffer]') {
    return new Uint8Array(/** @type {ArrayBuffer} */ (bytes))
  }
  throw fault('DTYPE', 'bytes', 'a Uint8Array or an ArrayBuffer', describe(bytes))
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
    let reader
    try {
      reader = new binding.SafetensorsReader(file)
      const open = reader
      return decodeState(open.entries(), (index, output) => open.read(index, output), prefix)
    } catch (error) {
      throw backend.fault(error)
    } finally {
      // After a trap the reader belongs to an instance that is given up with all it holds.
      if (binding === backend.binding) reader?.free()
    }
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
