// Texts with ids from a file: lines, JSON lines, or CSV with a header. Files are read in pieces.

import { describe, fault } from '../checks/errors.js'
import { pickOptions } from '../checks/options.js'
import { decoder } from '../weights/text.js'
import { piecesOf } from './disk.js'

/** @typedef {{ id: string | number, text: string }} Text */
/**
 * A reader of records takes the lines of a file in order, with their numbers from 1, and returns the text that a line
 * completes. `end` fails if the last record has no end.
 *
 * @typedef {object} Records
 * @property {(line: string, number: number) => Text | undefined} take
 * @property {() => void} end
 * @property {() => readonly string[] | undefined} columns  of a CSV file whose header was read
 */

const NEWLINE = 0x0a

/**
 * The lines of a file with their ends. Each is valid until the next one is requested.
 *
 * @param {string} path
 * @param {(piece: Uint8Array) => void} [onPiece]  receives all bytes of the file in order
 * @returns {AsyncGenerator<Uint8Array>}
 */
async function* linesOf(path, onPiece) {
  /** Pieces of a line whose end was not read yet. @type {Uint8Array[]} */
  let begun = []
  for await (const piece of piecesOf(path, path)) {
    onPiece?.(piece)
    let start = 0
    for (let at = piece.indexOf(NEWLINE); at >= 0; at = piece.indexOf(NEWLINE, start)) {
      yield joined([...begun, piece.subarray(start, at + 1)])
      begun = []
      start = at + 1
    }
    if (start < piece.length) begun.push(piece.slice(start))
  }
  if (begun.length > 0) yield joined(begun)
}

/** @param {readonly Uint8Array[]} pieces */
function joined(pieces) {
  if (pieces.length === 1) return pieces[0]
  const bytes = new Uint8Array(pieces.reduce((sum, { length }) => sum + length, 0))
  let at = 0
  for (const piece of pieces) {
    bytes.set(piece, at)
    at += piece.length
  }
  return bytes
}

/** A function that decodes lines without their ends; a file may begin with a byte order mark. */
function lineDecoder() {
  const utf8 = decoder('utf-8', { ignoreBOM: true })
  return (/** @type {Uint8Array} */ bytes, /** @type {number} */ number) => {
    const line = utf8.decode(bytes).replace(/\r?\n$/, '')
    return number === 1 && line.startsWith('\ufeff') ? line.slice(1) : line
  }
}

/**
 * The reader of a file's records by its extension: `.jsonl` or `.ndjson`, `.csv`; any other file has one text per line.
 *
 * @param {string} path
 * @param {string} field  the field or column of the text
 * @param {readonly string[]} [columns]  of a CSV file, if its header is not among the lines
 * @returns {Records}
 */
export function recordsOf(path, field, columns) {
  if (/\.csv$/i.test(path)) return csvRecords(path, field, columns)
  const take = /\.(jsonl|ndjson)$/i.test(path)
    ? (/** @type {string} */ line, /** @type {number} */ number) => jsonRecord(path, field, line, number)
    : (/** @type {string} */ text, /** @type {number} */ id) => ({ id, text })
  return {
    take: (line, number) => (line.trim() === '' ? undefined : take(line, number)),
    end() {},
    columns: () => undefined
  }
}

/**
 * @param {string} path
 * @param {string} field
 * @param {string} line
 * @param {number} number
 * @returns {Text}
 */
function jsonRecord(path, field, line, number) {
  const place = `${path}, line ${number}`
  let value
  try {
    value = JSON.parse(line)
  } catch {
    throw fault('FORMAT', place, 'JSON', 'something else')
  }
  const text = typeof value === 'string' ? value : value?.[field]
  if (typeof text !== 'string') throw fault('FORMAT', place, `a string in the field '${field}'`, describe(text))
  const id = value?.id
  return { id: typeof id === 'string' || typeof id === 'number' ? id : number, text }
}

/**
 * The rows of a CSV file as RFC 4180 defines it: quoted cells may hold commas, quotes and line breaks.
 *
 * @param {string} path
 * @param {string} field
 * @param {readonly string[] | undefined} header
 * @returns {Records}
 */
function csvRecords(path, field, header) {
  /** @type {string[]} */
  let cells = []
  let cell = ''
  let isQuoted = false
  let first = 1
  /** @param {string} line */
  const addCells = (line) => {
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
  }
  return {
    take(line, number) {
      if (isQuoted) cell += '\n'
      else first = number
      addCells(line)
      if (isQuoted) return undefined
      const row = [...cells, cell]
      cells = []
      cell = ''
      if (header !== undefined) return rowText(path, field, header, row, first)
      if (!row.includes(field)) throw fault('FORMAT', path, `a column '${field}'`, `the columns ${row.join(', ')}`)
      header = row
      return undefined
    },
    end() {
      if (isQuoted) throw fault('FORMAT', `${path}, line ${first}`, 'the end of a quoted cell', 'none')
    },
    columns: () => header
  }
}

/**
 * @param {string} path
 * @param {string} field
 * @param {readonly string[]} header
 * @param {readonly string[]} row
 * @param {number} number  of its first line
 * @returns {Text | undefined}
 */
function rowText(path, field, header, row, number) {
  if (row.length === 1 && row[0] === '') return undefined
  const [text, id] = [row[header.indexOf(field)], row[header.indexOf('id')]]
  if (text === undefined) throw fault('FORMAT', `${path}, line ${number}`, `a column '${field}'`, 'none')
  return { id: id ?? number, text }
}

/**
 * The lines of a file, each with its bytes and the text that it completes, if any.
 *
 * @param {string} path
 * @param {Records} records
 * @param {(piece: Uint8Array) => void} [onPiece]
 */
export async function* recordLines(path, records, onPiece) {
  const decode = lineDecoder()
  let number = 0
  for await (const bytes of linesOf(path, onPiece)) {
    number++
    yield { bytes, number, text: records.take(decode(bytes, number), number) }
  }
  records.end()
}

/**
 * The texts in some bytes of a file, which begin and end between records.
 *
 * @param {Uint8Array} bytes
 * @param {Records} records
 * @param {number} line  the number of the first line
 */
export function textsIn(bytes, records, line) {
  const decode = lineDecoder()
  /** @type {Text[]} */
  const texts = []
  let number = line
  for (let start = 0; start < bytes.length; number++) {
    const end = bytes.indexOf(NEWLINE, start) + 1 || bytes.length
    const text = records.take(decode(bytes.subarray(start, end), number), number)
    if (text !== undefined) texts.push(text)
    start = end
  }
  return texts
}

/**
 * @param {string} path
 * @param {unknown} [options]
 */
export async function* readTexts(path, options) {
  const { input, field } = checkInput(path, pickOptions(options, ['field']))
  for await (const { text } of recordLines(input, recordsOf(input, field))) if (text !== undefined) yield text
}

/**
 * @param {unknown} input
 * @param {{ field?: any }} options
 */
export function checkInput(input, { field = 'text' }) {
  if (typeof input !== 'string') throw fault('DTYPE', 'input', 'the path of a file', describe(input))
  if (typeof field !== 'string') throw fault('OPTION', 'field', 'a string', describe(field))
  return { input, field: /** @type {string} */ (field) }
}
