// Reads the bytes of a safetensors file as a state dict.

import { describe, fault } from '../checks/errors.js'
import { arrayType, bytesBetween, checkArray, isShared, lengthOf } from '../checks/tensor.js'
import { checkQuantizedEntry, joinScales, prepareQuantized, readTensor } from './elements.js'
import { LENGTH_BYTES, headerEnd, parseHeader } from './header.js'
import { readSelection, select, toState } from './select.js'

/** @param {unknown} bytes @returns {Uint8Array} */
function checkBytes(bytes) {
  if (arrayType(bytes) === 'Uint8Array') return checkArray('bytes', bytes, 'Uint8Array')
  const buffer = /** @type {ArrayBuffer} */ (bytes)
  // Only genuine buffers have memory; other objects may pretend to be buffers.
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

/** @param {Uint8Array} file */
function readHeader(file) {
  // Copy the header out of shared memory, which another thread could change meanwhile.
  const part = (/** @type {number} */ from, /** @type {number} */ to) => {
    const bytes = bytesBetween(file, from, Math.min(to, file.length))
    return isShared(bytes) ? bytes.slice() : bytes
  }
  const end = headerEnd(part(0, 1024), file.length, 'bytes')
  return parseHeader(part(LENGTH_BYTES, end), file.length, 'bytes')
}

/**
 * @param {unknown} bytes
 * @param {unknown} [options]
 * @returns {any}
 */
export function loadSafetensors(bytes, options) {
  const file = checkBytes(bytes)
  const selection = readSelection(options, ['prefix', 'filter', 'unsupported', 'halves'])
  const { length } = file
  const entries = joinScales(readHeader(file).entries)
  const wanted = select(entries, selection)
  // A filter may have transferred the bytes.
  if (lengthOf(file) !== length) throw fault('DTYPE', 'bytes', `${length} bytes`, `${lengthOf(file)} bytes`)
  const tensors = wanted.map((entry) => {
    const bytes = bytesBetween(file, ...entry.bytes)
    if (!entry.scales) return /** @type {const} */ ([entry, readTensor(entry, bytes, selection.halves)])
    const prepared = prepareQuantized(entry)
    prepared.bytes.set(bytes)
    prepared.scaleBytes.set(bytesBetween(file, ...entry.scales.bytes))
    return /** @type {const} */ ([entry, checkQuantizedEntry(entry.name, prepared.tensor)])
  })
  return toState(tensors, selection, entries)
}
