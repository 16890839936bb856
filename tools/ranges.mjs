// Responds to requests for the files of a folder, also for ranges of them.

import { createReadStream } from 'node:fs'
import { stat } from 'node:fs/promises'
import { join, normalize } from 'node:path'

/**
 * Responds with a file of a folder, or the requested range of it.
 *
 * @param {string} folder
 * @returns {import('node:http').RequestListener}
 */
export const rangesOf = (folder) => async (request, response) => {
  const path = join(folder, normalize(decodeURIComponent(new URL(request.url ?? '/', 'http://localhost').pathname)))
  const found = await stat(path).catch(() => undefined)
  if (!found?.isFile()) return void response.writeHead(404).end()
  const headers = { 'accept-ranges': 'bytes', 'content-type': 'application/octet-stream', etag: `"${found.mtimeMs}"` }
  const [, from, to] = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? '') ?? []
  if (from === undefined) {
    response.writeHead(200, { ...headers, 'content-length': found.size })
    return void (request.method === 'HEAD' ? response.end() : createReadStream(path).pipe(response))
  }
  const [start, end] = [Number(from), Math.min(Number(to), found.size - 1)]
  if (start > end) return void response.writeHead(416, { 'content-range': `bytes */${found.size}` }).end()
  const range = { 'content-range': `bytes ${start}-${end}/${found.size}`, 'content-length': end - start + 1 }
  response.writeHead(206, { ...headers, ...range })
  createReadStream(path, { start, end }).pipe(response)
}
