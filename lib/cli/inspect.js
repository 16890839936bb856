#!/usr/bin/env node
// `npx @ruvector/attention inspect FILE.safetensors`: lists the tensors in a weights file, or in the shards of an
// index, and the layers they fit. Reads only headers.

import { basename } from 'node:path'
import { elements } from '../checks/tensor.js'
import { clean } from '../plot/text.js'
import { joinScales } from '../weights/elements.js'
import { closeAll, openContents } from '../weights/open.js'
import { findFits } from './fits.js'
import { Failure, UsageError, program } from './program.js'

const USAGE = `Usage: npx @ruvector/attention inspect FILE.safetensors [--json]

Lists the tensors of a weights file with shapes, element types and sizes, its metadata, and the layers of this package
that they fit, with the prefix to load each under. Also accepts the model.safetensors.index.json of a sharded model.
Reads only headers, so files may be of any size.

  --json    print the report as JSON
  --help    show this text

Exits with 0; with 1 if the file is missing or invalid; with 2 for a wrong command line.
`

/** @typedef {Awaited<ReturnType<typeof inspect>>} Inspection */

/** @param {string} path */
async function inspect(path) {
  const { sources, entries: given, metadata } = await openContents(path)
  await closeAll(sources)
  const entries = joinScales(given)
  const tensors = entries.map(({ name, shape, dtype, bytes: [from, to], scales }) => {
    const [start, end] = scales?.bytes ?? [0, 0]
    return { name, shape, dtype, parameters: elements(shape), bytes: to - from + end - start }
  })
  return {
    file: path,
    bytes: sources.reduce((sum, { size }) => sum + size, 0),
    parameters: tensors.reduce((sum, { parameters }) => sum + parameters, 0),
    metadata,
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

/** @param {Record<string, unknown>} config @returns {string} */
const formatConfig = (config) =>
  Object.entries(config)
    .map(([name, value]) => `${name} ${typeof value === 'object' ? `(${formatConfig({ ...value })})` : value}`)
    .join(', ')

/** @param {Inspection['fits']} group */
function formatFit(group) {
  const [{ layer, naming, config, prefix }] = group
  const last = group[group.length - 1].prefix
  const where = prefix === '' ? 'without a prefix' : `prefix ${clean(prefix)}`
  return [
    `  ${layer}: ${naming}; ${formatConfig(config)}`,
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
  // Norms are functions, so they have no state dict.
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
  const { message, cause } = /** @type {Error & { cause?: NodeJS.ErrnoException }} */ (error)
  const known = /** @type {Record<string, string>} */ ({
    ENOENT: 'no such file',
    EACCES: 'no permission to read the file',
    EISDIR: 'not a file'
  })
  // The command's own message names the file.
  return known[cause?.code ?? ''] ?? message.split('\n')[0].replace(/^source: /, '')
}

await program(USAGE, { positionals: true }, async ({ json, positionals }) => {
  const [file, ...more] = positionals
  if (file === undefined || more.length > 0) throw new UsageError('expected exactly one file')
  try {
    const inspection = await inspect(file)
    return { text: json ? `${JSON.stringify(inspection, null, 2)}\n` : formatInspection(inspection) }
  } catch (error) {
    throw new Failure(`${clean(file)}: ${reasonOf(error)}`)
  }
})
