// Converts the matrices of a safetensors file to another type, one tensor after the other.

import { open, rename, rm } from 'node:fs/promises'
import { AttentionError, fault } from '../checks/errors.js'
import { elements, scalesShape } from '../checks/tensor.js'
import { convert } from '../numbers/convert.js'
import { joinScales } from '../weights/elements.js'
import { closeAll, openContents, readEntry } from '../weights/open.js'
import { planFile } from '../weights/save.js'

/** @typedef {import('../../index.d.ts').WeightType} WeightType */
/** @typedef {import('../weights/open.js').Placed} Placed */
/** A range of bytes, or the array, of an entry of the new file. @typedef {import('../weights/save.js').Planned & { source: Placed, part: 'data' | 'scales' | 'copy' }} Target */

/** The types of a file that are converted. */
const FLOATS = ['F64', 'F32', 'F16', 'BF16', 'Q8_0']

/** The number of bytes that are copied or written at a time. */
const PIECE_BYTES = 1 << 22

const WIDTHS = { f32: 4, f16: 2, bf16: 2 }

/**
 * The entries of the new file that hold an entry of the old one: floats with two dimensions are converted, all others
 * are copied.
 *
 * @param {Placed} source
 * @param {WeightType} type
 * @returns {Target[]}
 */
function targetsOf(source, type) {
  const { name, shape, dtype, scales } = source
  const isConverted = shape.length === 2 && FLOATS.includes(dtype) && dtype !== type.toUpperCase()
  if (!isConverted) {
    const copied = scales ? [{ ...source, dtype: 'I8' }, scales] : [source]
    return copied.map((entry) => {
      const bytes = entry.bytes[1] - entry.bytes[0]
      const width = Math.max(1, Math.floor(bytes / Math.max(1, elements(entry.shape))))
      return { name: entry.name, dtype: entry.dtype, shape: entry.shape, width, bytes, source: entry, part: 'copy' }
    })
  }
  const count = elements(shape)
  if (type !== 'q8_0') {
    const width = WIDTHS[type]
    return [{ name, dtype: type.toUpperCase(), shape, width, bytes: count * width, source, part: 'data' }]
  }
  const groups = scalesShape(shape)
  const half = { dtype: 'F16', shape: groups, width: 2, bytes: 2 * elements(groups) }
  return [
    { name, dtype: 'I8', shape, width: 1, bytes: count, source, part: 'data' },
    { name: `${name}.scales`, ...half, source, part: 'scales' }
  ]
}

/**
 * Reads and converts an entry; errors name it.
 *
 * @param {Placed} source
 * @param {WeightType} type
 * @returns {Promise<any>}
 */
async function readAs(source, type) {
  const tensor = await readEntry(source, 'keep')
  try {
    return convert(tensor, type)
  } catch (error) {
    if (!(error instanceof AttentionError) || error.argument !== 'tensor') throw error
    throw fault(error.code, source.name, `${error.expected}`, `${error.actual}`)
  }
}

/**
 * Writes a safetensors file whose matrices have another type, from a file or the index of a sharded one. Holds one
 * tensor at a time; `output` appears once it is whole.
 *
 * @param {string} input
 * @param {string} output
 * @param {{ type: WeightType, onProgress?: (done: number, total: number) => void }} options  done and total in bytes of
 *   the input
 */
export async function quantizeFile(input, output, { type, onProgress = () => {} }) {
  const { sources, entries, metadata } = await openContents(input)
  const partial = `${output}.partial`
  try {
    const given = /** @type {Placed[]} */ (joinScales(entries))
    const targets = given.flatMap((entry) => targetsOf(entry, type))
    const { start, places, size } = planFile(targets, metadata)
    const file = await open(partial, 'w')
    try {
      await writeBytes(start, file, 0)
      /** @type {Map<Placed, typeof places>} */
      const bySource = new Map()
      for (const place of places) {
        const known = bySource.get(place.entry.source)
        if (known) known.push(place)
        else bySource.set(place.entry.source, [place])
      }
      const bytesOf = (/** @type {Placed} */ { bytes: [from, to] }) => to - from
      const total = [...bySource.keys()].reduce((sum, source) => sum + bytesOf(source), 0)
      let done = 0
      for (const [source, own] of bySource) {
        if (own[0].entry.part === 'copy') await copyBytes(source, file, own[0].start)
        else await writeTensor(await readAs(source, type), own, file)
        done += bytesOf(source)
        onProgress(done, total)
      }
    } finally {
      await file.close()
    }
    await rename(partial, output)
    const converted = new Set(targets.filter(({ part }) => part !== 'copy').map(({ source }) => source)).size
    return { converted, tensors: given.length, bytes: size }
  } catch (error) {
    await rm(partial, { force: true })
    throw error
  } finally {
    await closeAll(sources)
  }
}

/**
 * @param {any} tensor
 * @param {readonly { entry: Target, start: number }[]} places
 * @param {import('node:fs/promises').FileHandle} file
 */
async function writeTensor(tensor, places, file) {
  for (const { entry, start } of places) {
    const { buffer, byteOffset, byteLength } = entry.part === 'scales' ? tensor.scales : tensor.data
    await writeBytes(new Uint8Array(buffer, byteOffset, byteLength), file, start)
  }
}

/**
 * @param {Uint8Array} bytes
 * @param {import('node:fs/promises').FileHandle} file
 * @param {number} start
 */
async function writeBytes(bytes, file, start) {
  for (let at = 0; at < bytes.length;) {
    const { bytesWritten } = await file.write(bytes, at, Math.min(PIECE_BYTES, bytes.length - at), start + at)
    at += bytesWritten
  }
}

/**
 * @param {Placed} entry
 * @param {import('node:fs/promises').FileHandle} file
 * @param {number} start
 */
async function copyBytes({ source, bytes: [from, to] }, file, start) {
  const buffer = new Uint8Array(Math.min(PIECE_BYTES, to - from))
  for (let at = from; at < to; at += PIECE_BYTES) {
    const piece = buffer.subarray(0, Math.min(PIECE_BYTES, to - at))
    await source.read(piece, at)
    await writeBytes(piece, file, start + at - from)
  }
}
