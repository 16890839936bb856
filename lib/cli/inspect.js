#!/usr/bin/env node
// `npx @ruvector/attention inspect FILE.safetensors`: lists the tensors in a weights file and the layers they fit.
// Reads only the header.

import { closeSync, fstatSync, openSync, readSync } from 'node:fs'
import { basename } from 'node:path'
import { AttentionError, fromBinding } from '../checks/errors.js'
import { clean } from '../plot/text.js'
import { findFits } from './fits.js'
import { Failure, UsageError, program } from './program.js'

const USAGE = `Usage: npx @ruvector/attention inspect FILE.safetensors [--json]

Lists the tensors of a weights file with shapes, element types and sizes, its metadata, and the layers of this package that
they fit, with the prefix to load each under. Reads only the header, so files may be of any size.

  --json    print the report as JSON
  --help    show this text

Exits with 0; with 1 if the file is missing or invalid; with 2 for a wrong command line.
`

const LENGTH_BYTES = 8
/** The maximum length of a header. */
const MAX_HEADER_BYTES = 100_000_000
/** The address space of WebAssembly. */
const FOUR_GIB = 2 ** 32

/** @typedef {import('../face/safetensors.js').Entry} Entry */
/** @typedef {ReturnType<typeof inspect>} Inspection */

/**
 * Reads the header of a file, and the file's size.
 *
 * @param {string} path
 */
function readHeader(path) {
  const file = openSync(path, 'r')
  try {
    const stat = fstatSync(file)
    if (!stat.isFile()) throw new Error('not a file')
    const length = Math.min(LENGTH_BYTES, stat.size)
    const start = readBytes(file, length)
    if (length < LENGTH_BYTES) return { start, size: stat.size }
    const header = Number(new DataView(start.buffer).getBigUint64(0, true))
    const known = header <= MAX_HEADER_BYTES ? header : 64
    return { start: readBytes(file, Math.min(LENGTH_BYTES + known, stat.size)), size: stat.size }
  } finally {
    closeSync(file)
  }
}

/**
 * @param {number} file
 * @param {number} length
 */
function readBytes(file, length) {
  const bytes = new Uint8Array(length)
  for (let done = 0; done < length;) {
    const read = readSync(file, bytes, done, length - done, done)
    if (read === 0) return bytes.subarray(0, done)
    done += read
  }
  return bytes
}

/**
 * The tensors of the header, checked by the kernel crate.
 *
 * @param {Uint8Array} start
 * @param {number} size
 * @param {import('../runtime/backend.js').Loaded} loaded
 * @returns {Entry[]}
 */
function readEntries(start, size, { kind, binding }) {
  if (kind === 'wasm' && size >= FOUR_GIB) {
    throw new Error('it is larger than 4 GiB, which requires the native backend: see npx @ruvector/attention doctor')
  }
  try {
    return JSON.parse(binding.safetensorsEntries(start, size))
  } catch (error) {
    const { argument, expected, actual } = fromBinding(error)
    const where = argument === undefined || argument === 'bytes' ? '' : `${argument}: `
    throw new Error(`${where}expected ${expected}, got ${actual}`, { cause: error })
  }
}

/**
 * @param {string} path
 * @param {import('../runtime/backend.js').Loaded} loaded
 */
function inspect(path, loaded) {
  const { start, size } = readHeader(path)
  const entries = readEntries(start, size, loaded)
  const header = JSON.parse(new TextDecoder().decode(start.subarray(LENGTH_BYTES)))
  const tensors = entries.map(({ name, shape, dtype, bytes: [from, to] }) => ({
    name,
    shape,
    dtype,
    parameters: shape.reduce((product, dim) => product * dim, 1),
    bytes: to - from
  }))
  return {
    file: path,
    bytes: size,
    parameters: tensors.reduce((sum, { parameters }) => sum + parameters, 0),
    metadata: /** @type {Record<string, string>} */ (header.__metadata__ ?? {}),
    tensors,
    fits: findFits(entries)
  }
}

/** @param {number} bytes */
function formatBytes(bytes) {
  const units = ['B', 'KB', 'MB', 'GB', 'TB']
  const power = Math.min(Math.floor(Math.log10(Math.max(bytes, 1)) / 3), units.length - 1)
  const number = bytes / 1000 ** power
  return `${power === 0 ? number : number.toFixed(number < 10 ? 1 : 0)} ${units[power]}`
}

const numberFormat = new Intl.NumberFormat('en')

/**
 * Formats rows with aligned columns; the last column, with numbers, is aligned to the right.
 *
 * @param {readonly (readonly string[])[]} rows
 */
function table(rows) {
  const widths = rows.reduce(
    (most, row) => row.map((cell, at) => Math.max(most[at] ?? 0, cell.length)),
    /** @type {number[]} */ ([])
  )
  return rows.map(
    (row) =>
      `  ${row.map((cell, at) => (at === row.length - 1 ? cell.padStart(widths[at]) : cell.padEnd(widths[at]))).join('  ')}`
  )
}

/**
 * Groups fits whose prefixes differ only in numbers.
 *
 * @param {Inspection['fits']} fits
 */
function groupFits(fits) {
  /** @type {Map<string, Inspection['fits']>} */
  const groups = new Map()
  for (const fit of fits) {
    const key = JSON.stringify([fit.layer, fit.naming, fit.config, fit.prefix.replace(/\d+/g, '#')])
    const group = groups.get(key)
    if (group) group.push(fit)
    else groups.set(key, [fit])
  }
  return [...groups.values()]
}

/** @param {Inspection['fits']} group */
function formatFit(group) {
  const [{ layer, naming, config, prefix }] = group
  const last = group[group.length - 1].prefix
  const sizes = Object.entries(config).map(([name, value]) => `${name} ${value}`)
  const where = prefix === '' ? 'without a prefix' : `prefix ${clean(prefix)}`
  return [
    `  ${layer}: ${naming}; ${sizes.join(', ')}`,
    `    ${where}${group.length > 1 ? ` … ${clean(last)}, ${group.length} of them` : ''}`
  ]
}

/** @param {Inspection} inspection */
function formatInspection({ file, bytes, parameters, metadata, tensors, fits }) {
  const counts = [
    `${tensors.length} ${tensors.length === 1 ? 'tensor' : 'tensors'}`,
    `${numberFormat.format(parameters)} parameters`
  ]
  const rows = tensors.map(({ name, shape, dtype, bytes }) => [
    clean(name),
    `[${shape.join(', ')}]`,
    dtype,
    formatBytes(bytes)
  ])
  const words = Object.entries(metadata).map(
    ([name, value]) => `  ${clean(name)}: ${clean(value.length > 200 ? `${value.slice(0, 200)}…` : value)}`
  )
  // Norms are functions and load nothing.
  const example = fits.find(({ layer }) => !layer.endsWith('Norm'))
  const lines = [
    `${clean(basename(file))}: ${[...counts, formatBytes(bytes)].join(', ')}`,
    ...(rows.length > 0 ? ['', ...table(rows)] : []),
    ...(words.length > 0 ? ['', 'metadata', ...words] : []),
    '',
    ...(fits.length > 0 ? ['fits', ...groupFits(fits).flatMap(formatFit)] : ['fits no layer of this package']),
    ...(example
      ? ['', `layer.loadStateDict(loadSafetensors(bytes, { prefix: ${JSON.stringify(example.prefix)} }))`]
      : [])
  ]
  return `${lines.join('\n')}\n`
}

/** @param {unknown} error */
function reasonOf(error) {
  const { code, message } = /** @type {NodeJS.ErrnoException} */ (error)
  const known = /** @type {Record<string, string>} */ ({
    ENOENT: 'no such file',
    EACCES: 'no permission to read the file',
    EISDIR: 'not a file'
  })
  return known[code ?? ''] ?? message.split('\n')[0]
}

await program(USAGE, { positionals: true }, async ({ json, positionals }) => {
  const [file, ...more] = positionals
  if (file === undefined || more.length > 0) throw new UsageError('expected exactly one file')
  try {
    const { loader } = await import('../loaders/loader.js')
    const inspection = inspect(file, loader.loadSync())
    return { text: json ? `${JSON.stringify(inspection, null, 2)}\n` : formatInspection(inspection) }
  } catch (error) {
    if (error instanceof AttentionError && error.code === 'BACKEND') throw new Failure(`${error.message}`)
    throw new Failure(`${clean(file)}: ${reasonOf(error)}`)
  }
})
