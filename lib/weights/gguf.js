// Opens a GGUF file, and reads its tensors as 32-bit floats.

import { AttentionError, fault } from '../checks/errors.js'
import { MAX_RANK, allocateArray, arrayType, bytesBetween, elements, lengthOf } from '../checks/tensor.js'
import { widenHalves } from '../numbers/halves.js'
import { entryNamed } from './faults.js'
import { BLOCKS, parseGguf } from './gguf-header.js'
import { openSource } from './sources.js'

/** @typedef {import('./sources.js').Source} Source */
/** @typedef {import('./gguf-header.js').GgufEntry} GgufEntry */

/** Bytes of the header that are read at first; longer headers are read in doublings. */
const FIRST_BYTES = 1 << 20
/** The maximum number of elements that are converted at a time: a multiple of all blocks. */
const PIECE_ELEMENTS = 1 << 20

/** @type {typeof Symbol.asyncDispose} */
const asyncDisposeSymbol = /** @type {any} */ (Symbol.asyncDispose ?? Symbol.for('Symbol.asyncDispose'))

/**
 * Widens blocks of a type: `bytes` to `output`, which starts at index `at`.
 *
 * @typedef {(bytes: Uint8Array, output: Float32Array, at: number) => void} Widen
 */

/**
 * The 16-bit float at the beginning of each block, or after it.
 *
 * @param {Uint8Array} bytes
 * @param {number} width
 * @param {number} offset
 */
function factorsOf(bytes, width, offset) {
  const halves = new Uint16Array(bytes.length / width)
  for (let block = 0; block < halves.length; block++) {
    const at = block * width + offset
    halves[block] = bytes[at] | (bytes[at + 1] << 8)
  }
  return widenHalves('tensor', 'f16', halves)
}

/** @param {'f16' | 'bf16'} type @returns {Widen} */
const widenAll = (type) => (bytes, output, at) => {
  const halves = new Uint16Array(bytes.length / 2)
  new Uint8Array(halves.buffer).set(bytes)
  output.set(widenHalves('tensor', type, halves), at)
}

/**
 * The low halves of a block's 16 bytes come first, then the high halves.
 *
 * @param {number} width  of a block
 * @param {number} start  of the halves in a block
 * @param {(half: number, factor: number, offset: number) => number} value
 * @returns {Widen}
 */
const widenNibbles = (width, start, value) => (bytes, output, at) => {
  const factors = factorsOf(bytes, width, 0)
  const offsets = start > 2 ? factorsOf(bytes, width, 2) : factors
  for (let block = 0; block < factors.length; block++) {
    const [factor, offset] = [factors[block], offsets[block]]
    const first = at + 32 * block
    for (let index = 0; index < 16; index++) {
      const pair = bytes[block * width + start + index]
      output[first + index] = value(pair & 15, factor, offset)
      output[first + 16 + index] = value(pair >> 4, factor, offset)
    }
  }
}

/**
 * Conversions to 32-bit floats, to the bit those of the Python package `gguf`.
 *
 * @type {Readonly<Record<string, Widen>>}
 */
const WIDEN = {
  F32: (bytes, output, at) => new Uint8Array(output.buffer, output.byteOffset + 4 * at, bytes.length).set(bytes),
  F16: widenAll('f16'),
  BF16: widenAll('bf16'),
  Q4_0: widenNibbles(18, 2, (half, factor) => factor * (half - 8)),
  Q4_1: widenNibbles(20, 4, (half, factor, offset) => factor * half + offset),
  Q8_0: (bytes, output, at) => {
    const factors = factorsOf(bytes, 34, 0)
    const signed = new Int8Array(bytes.buffer, bytes.byteOffset, bytes.length)
    for (let block = 0; block < factors.length; block++) {
      for (let index = 0; index < 32; index++) {
        output[at + 32 * block + index] = factors[block] * signed[34 * block + 2 + index]
      }
    }
  }
}

export class GgufFile {
  /** @type {Map<string, GgufEntry>} */
  #entries
  /** @type {Source | undefined} */
  #source
  /** @type {readonly string[]} */
  names
  /** @type {Readonly<Record<string, import('./gguf-header.js').Value>>} */
  metadata

  /**
   * @param {Source} source
   * @param {import('./gguf-header.js').GgufHeader} header
   */
  constructor(source, { metadata, entries }) {
    this.#source = source
    this.#entries = new Map(entries.map((entry) => [entry.name, entry]))
    this.names = Object.freeze([...this.#entries.keys()])
    this.metadata = Object.freeze(metadata)
  }

  /** @param {unknown} name */
  describe(name) {
    const { type, shape, bytes } = entryNamed(this.#entries, name, 'a tensor')
    return { type, shape: [...shape], bytes: Object.hasOwn(BLOCKS, type) ? bytes[1] - bytes[0] : undefined }
  }

  /**
   * @param {unknown} name
   * @returns {Promise<{ data: Float32Array, shape: number[] }>}
   */
  async tensor(name) {
    const source = this.#source
    if (source === undefined) {
      throw new AttentionError('DISPOSED', {
        argument: 'this',
        expected: 'an open file',
        actual: 'a closed file',
        message: 'this file has been closed; open it again, or close it later'
      })
    }
    const entry = entryNamed(this.#entries, name, 'a tensor')
    const { type, shape } = entry
    if (!Object.hasOwn(BLOCKS, type)) {
      throw fault('FORMAT', entry.name, `a tensor of ${Object.keys(BLOCKS).join(', ')}`, `one of type ${type}`)
    }
    if (shape.length > MAX_RANK) throw fault('FORMAT', entry.name, `at most ${MAX_RANK} dimensions`, `${shape.length}`)
    const count = elements(shape)
    const data = /** @type {Float32Array} */ (allocateArray(entry.name, 'Float32Array', count))
    const [block, width] = BLOCKS[type]
    for (let at = 0; at < count; at += PIECE_ELEMENTS) {
      const bytes = new Uint8Array((Math.min(PIECE_ELEMENTS, count - at) / block) * width)
      await source.read(bytes, entry.bytes[0] + (at / block) * width)
      WIDEN[type](bytes, data, at)
    }
    return { data, shape: [...shape] }
  }

  async close() {
    const source = this.#source
    this.#source = undefined
    await source?.close()
  }

  [asyncDisposeSymbol]() {
    return this.close()
  }
}

/**
 * Opens a file, whose header is read at once.
 *
 * @param {unknown} given  a path, a URL, a Blob, a FileHandle, `{ size, read }`, or bytes
 */
export async function openGguf(given) {
  const source =
    arrayType(given) === 'Uint8Array'
      ? bytesSource('source', /** @type {Uint8Array} */ (given))
      : await openSource(given)
  try {
    for (let length = FIRST_BYTES; ; length *= 2) {
      const bytes = new Uint8Array(Math.min(length, source.size))
      await source.read(bytes, 0)
      const header = parseGguf(bytes, source.size, source.label)
      if (header) return new GgufFile(source, header)
    }
  } catch (error) {
    await source.close()
    throw error
  }
}

/**
 * @param {string} label
 * @param {Uint8Array} bytes
 * @returns {Source}
 */
export function bytesSource(label, bytes) {
  return {
    label,
    size: lengthOf(bytes),
    read: async (target, offset) => target.set(bytesBetween(bytes, offset, offset + target.length)),
    close: async () => {}
  }
}
