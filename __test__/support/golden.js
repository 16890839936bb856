// Reads the golden files of scripts/golden and compares results with them. Uses a separate safetensors reader, so that
// a fault in the package's own cannot hide itself.
import { readFileSync } from 'node:fs'

/** @typedef {{ readonly data: any, readonly shape: readonly number[] }} Tensor */
/** @typedef {{ name: string, tensors: Record<string, Tensor> } & Record<string, any>} Case */

const arrays = { F32: Float32Array, U16: Uint16Array, F16: Uint16Array, BF16: Uint16Array, BOOL: Uint8Array }

/**
 * The tensors of a safetensors file and its metadata; 16-bit floats are returned as bits.
 * @param {URL} file
 */
export function readTensors(file) {
  const bytes = readFileSync(file)
  const start = 8 + Number(bytes.readBigUInt64LE(0))
  const { __metadata__: metadata = {}, ...entries } = JSON.parse(bytes.subarray(8, start).toString())
  /** @type {Record<string, Tensor>} */
  const tensors = {}
  for (const [name, { dtype, shape, data_offsets: offsets }] of Object.entries(entries)) {
    const [from, to] = offsets
    const copy = new Uint8Array(bytes.subarray(start + from, start + to)).buffer
    tensors[name] = { data: new arrays[/** @type {keyof arrays} */ (dtype)](copy), shape }
  }
  return { bytes, tensors, metadata }
}

/**
 * The cases of a golden file, each with its tensors.
 * @param {string} name
 * @returns {{ bytes: Uint8Array, reference: string, cases: Case[], tensors: Record<string, Tensor> }}
 */
export function readGolden(name) {
  const { bytes, tensors, metadata } = readTensors(new URL(`../golden/${name}.safetensors`, import.meta.url))
  const { reference, cases } = JSON.parse(metadata.golden)
  const byName = new Map(cases.map((/** @type {Case} */ found) => [found.name, { ...found, tensors: {} }]))
  for (const [path, tensor] of Object.entries(tensors)) {
    const slash = path.lastIndexOf('/')
    const owner = byName.get(path.slice(0, slash))
    if (owner !== undefined) owner.tensors[path.slice(slash + 1)] = tensor
  }
  return { bytes, reference, cases: [...byName.values()], tensors }
}

/**
 * Compares each element with tolerance `absolute + relative · |expected|`. Returns the first difference as text, or
 * undefined. Infinities must be equal; NaN only equals NaN.
 * @param {Tensor | undefined} actual
 * @param {Tensor} expected
 * @param {{ absolute: number, relative?: number }} tolerance
 * @returns {string | undefined}
 */
export function difference(actual, expected, { absolute, relative = 0 }) {
  if (actual === undefined) return 'is missing'
  if (actual.shape.join() !== expected.shape.join()) return `has the shape [${actual.shape}], not [${expected.shape}]`
  if (actual.data.length !== expected.data.length)
    return `has ${actual.data.length} elements, not ${expected.data.length}`
  let worst = { excess: 0, index: -1 }
  for (let index = 0; index < expected.data.length; index++) {
    const [found, wanted] = [actual.data[index], expected.data[index]]
    if (Object.is(found, wanted)) continue
    const excess = Math.abs(found - wanted) - absolute - relative * Math.abs(wanted)
    // Also true for NaN, which exceeds any tolerance.
    if (!(excess <= worst.excess)) worst = { excess: Number.isNaN(excess) ? Infinity : excess, index }
  }
  if (worst.index < 0) return undefined
  const { index } = worst
  return `is ${actual.data[index]} at ${index}, not ${expected.data[index]}`
}
