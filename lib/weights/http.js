// Reads files at http(s) addresses by range requests.

import { fault } from '../checks/errors.js'
import { isLength } from '../checks/tensor.js'
import { cutShort, malformed, unreadable } from './faults.js'
import { formatOf } from './formats.js'
import { fill, piecesOf } from './streams.js'

/** @typedef {import('./sources.js').Source} Source */

/** Bytes of the first request: the whole header of most files. */
const FIRST_BYTES = 1 << 16
/** The longest index that is read from a server without range requests. */
const MAX_WHOLE_BYTES = 100_000_000

/**
 * @param {URL} url
 * @param {string} label
 * @returns {Promise<Source>}
 */
export async function openUrl(url, label) {
  const response = await request(url, label, 0, FIRST_BYTES)
  const { start, size } = response.status === 206 ? await startOf(response, url, label) : await wholeOf(response, label)
  const etag = response.headers.get('etag')
  return {
    label,
    size,
    async read(target, offset) {
      const end = offset + target.length
      if (end <= start.length) return target.set(start.subarray(offset, end))
      const part = await request(url, label, offset, target.length)
      const total = totalOf(part)
      const isSame = part.status === 206 && (total ?? size) === size && part.headers.get('etag') === etag
      if (!isSame) {
        await part.body?.cancel()
        if (part.status === 416 || (total !== undefined && total < end)) throw cutShort(label, size, total ?? offset)
        throw fault('FORMAT', label, 'an unchanged file', `another file, with status ${part.status}`)
      }
      const done = await fill(target, part.body, label)
      if (done < target.length) throw cutShort(label, size, offset + done)
    },
    close: async () => {},
    sibling: (name) => openUrl(new URL(name.split('/').map(encodeURIComponent).join('/'), url), name)
  }
}

/**
 * @param {URL} url
 * @param {string} label
 * @param {number} offset
 * @param {number} length
 */
async function request(url, label, offset, length) {
  let response
  try {
    response = await fetch(url, { headers: { range: `bytes=${offset}-${offset + length - 1}` } })
  } catch (cause) {
    throw unreadable(label, cause)
  }
  if (response.ok || response.status === 416) return response
  await response.body?.cancel()
  throw fault('FORMAT', label, `a file at ${url.href}`, `status ${response.status} ${response.statusText}`.trim())
}

/**
 * The size of the whole file, if the server reports it and the page may read it.
 *
 * @param {Response} response
 */
function totalOf(response) {
  const total = /\/(\d+)$/.exec(response.headers.get('content-range') ?? '')?.[1]
  return total === undefined ? undefined : Number(total)
}

/**
 * The first bytes of a file, and its size.
 *
 * @param {Response} response
 * @param {URL} url
 * @param {string} label
 */
async function startOf(response, url, label) {
  const size = totalOf(response) ?? (await sizeAt(url, label))
  const start = new Uint8Array(Math.min(FIRST_BYTES, size))
  const done = await fill(start, response.body, label)
  if (done < start.length) throw cutShort(label, size, done)
  return { start, size }
}

/**
 * The size from a HEAD request: other origins expose `content-length`, but not always `content-range`.
 *
 * @param {URL} url
 * @param {string} label
 */
async function sizeAt(url, label) {
  const response = await fetch(url, { method: 'HEAD' }).catch((error) => {
    throw unreadable(label, error)
  })
  const size = Number(response.headers.get('content-length') ?? NaN)
  if (response.ok && isLength(size)) return size
  throw fault('FORMAT', label, 'a server that shows the size in content-range or content-length', 'neither header')
}

/**
 * The contents from a server that sent the whole file instead of a range: a small index is accepted, anything else is
 * an error.
 *
 * @param {Response} response
 * @param {string} label
 */
async function wholeOf(response, label) {
  if (response.status === 416) throw cutShort(label, 8, 0)
  const body = /** @type {ReadableStream<Uint8Array>} */ (response.body)
  /** @type {Uint8Array[]} */
  const pieces = []
  let size = 0
  for await (const piece of piecesOf(body, label)) {
    pieces.push(piece.slice())
    size += piece.length
    const isIndex = pieces[0][0] === '{'.charCodeAt(0) && size <= MAX_WHOLE_BYTES
    if (isIndex || size < 64) continue
    break
  }
  const start = new Uint8Array(size)
  let at = 0
  for (const piece of pieces) {
    start.set(piece, at)
    at += piece.length
  }
  if (start[0] === '{'.charCodeAt(0) && size <= MAX_WHOLE_BYTES) return { start, size }
  const format = formatOf(start)
  if (format) throw malformed(label, format)
  throw fault(
    'FORMAT',
    label,
    'a server that supports range requests; otherwise fetch the file and use loadSafetensors',
    `the whole file, with status ${response.status}`
  )
}
