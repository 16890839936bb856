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
/**
 * A range of bytes, or the array, of an entry of the new file.
 *
 * @typedef {import('../weights/save.js').Planned & { source: Placed, part: 'data' | 'scales' | 'copy' }} Target
 */

/** The types of a file that are converted. */
const FLOATS = ['F64', 'F32', 'F16', 'BF16', 'Q8_0']

/** The number of bytes that are copied or written at a time. */
const PIECE_BYTES = 1 << 22

const WIDTHS = { f32: 4, f16: 2, bf16: 2 }

/**
 * The entries of the new file that hold an entry of the old one: floats with two dimensions are converted, unless they
 * are to stay exact, and all others are copied.
 *
 * @param {Placed} source
 * @param {WeightType} type
 * @param {ReadonlySet<string>} exact
 * @returns {Target[]}
 */
function targetsOf(source, type, exact) {
  const { name, shape, dtype, scales } = source
  const isMatrix = shape.length === 2 && FLOATS.includes(dtype) && !exact.has(name)
  const isConverted = isMatrix && dtype !== type.toUpperCase()
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
 * @param {{ type: WeightType, exact?: ReadonlySet<string>, onProgress?: (done: number, total: number) => void }}
 *   options
 *   the names of entries that are copied; done and total are bytes of the input
 */
export async function quantizeFile(input, output, { type, exact = new Set(), onProgress = () => {} }) {
  const { sources, entries, metadata } = await openContents(input)
  const partial = `${output}.partial`
  try {
    const given = /** @type {Placed[]} */ (joinScales(entries))
    const targets = given.flatMap((entry) => targetsOf(entry, type, exact))
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
    const read = sources.reduce((sum, source) => sum + source.size, 0)
    return { converted, tensors: given.length, bytes: size, read }
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
