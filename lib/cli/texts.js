// Texts with ids from a file, one at a time: lines, JSON lines, or a CSV file with a header.

import { createReadStream } from 'node:fs'
import { createInterface } from 'node:readline'
import { Failure } from './program.js'

/** @typedef {{ id: string | number, text: string }} Text */

/** @param {string} path */
async function* linesOf(path) {
  const input = createReadStream(path, 'utf8')
  /** @type {Promise<never>} */
  const failed = new Promise((_, reject) => input.once('error', reject))
  failed.catch(() => {})
  // A reader of lines does not report errors of its stream.
  await Promise.race([failed, new Promise((resolve) => input.once('open', resolve))])
  let number = 0
  for await (const line of createInterface({ input, crlfDelay: Infinity })) {
    yield { line: number === 0 ? line.replace(/^\ufeff/, '') : line, number: ++number }
  }
}

/**
 * Reads the texts of a file by its extension: `.jsonl` and `.csv`; any other file has one text per line. Empty lines
 * are skipped. The id is the field `id` if there is one, else the number of the line.
 *
 * @param {string} path
 * @param {string} field  the field or column of the text
 * @returns {AsyncGenerator<Text>}
 */
export async function* readTexts(path, field) {
  if (/\.csv$/i.test(path)) yield* readCsv(path, field)
  else if (/\.(jsonl|ndjson)$/i.test(path)) yield* readJsonLines(path, field)
  else for await (const { line, number } of linesOf(path)) if (line.trim() !== '') yield { id: number, text: line }
}

/**
 * @param {string} path
 * @param {string} field
 * @returns {AsyncGenerator<Text>}
 */
async function* readJsonLines(path, field) {
  for await (const { line, number } of linesOf(path)) {
    if (line.trim() === '') continue
    let value
    try {
      value = JSON.parse(line)
    } catch {
      throw new Failure(`${path}, line ${number}: not JSON`)
    }
    const text = typeof value === 'string' ? value : value?.[field]
    if (typeof text !== 'string') throw new Failure(`${path}, line ${number}: no string in the field '${field}'`)
    const id = value?.id
    yield { id: typeof id === 'string' || typeof id === 'number' ? id : number, text }
  }
}

/**
 * @param {string} path
 * @param {string} field
 * @returns {AsyncGenerator<Text>}
 */
async function* readCsv(path, field) {
  /** @type {string[] | undefined} */
  let header
  for await (const { cells, number } of csvRows(path)) {
    if (header === undefined) {
      header = cells
      if (!header.includes(field)) {
        throw new Failure(`${path}: no column '${field}'; the columns are ${header.join(', ')}`)
      }
      continue
    }
    if (cells.length === 1 && cells[0] === '') continue
    const [text, id] = [cells[header.indexOf(field)], cells[header.indexOf('id')]]
    if (text === undefined) throw new Failure(`${path}, line ${number}: no column '${field}'`)
    yield { id: id ?? number, text }
  }
}

/**
 * The rows of a CSV file as RFC 4180 defines it: quoted cells may hold commas, quotes and line breaks.
 *
 * @param {string} path
 */
async function* csvRows(path) {
  /** @type {string[]} */
  let cells = []
  let cell = ''
  let isQuoted = false
  let first = 1
  for await (const { line, number } of linesOf(path)) {
    if (isQuoted) cell += '\n'
    else first = number
    for (let at = 0; at < line.length; at++) {
      const character = line[at]
      if (isQuoted && character === '"' && line[at + 1] === '"') {
        cell += '"'
        at++
      } else if (character === '"') {
        isQuoted = !isQuoted
      } else if (character === ',' && !isQuoted) {
        cells.push(cell)
        cell = ''
      } else {
        cell += character
      }
    }
    if (isQuoted) continue
    yield { cells: [...cells, cell], number: first }
    cells = []
    cell = ''
  }
  if (isQuoted) throw new Failure(`${path}, line ${first}: a quoted cell without an end`)
}
