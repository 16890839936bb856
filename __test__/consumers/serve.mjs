// A minimal static server: files of a folder with their types, whole or in ranges, and the headers that a consumer asks
// for.

import { readFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import { extname, join, normalize } from 'node:path'

const types = /** @type {Record<string, string>} */ ({
  '.html': 'text/html',
  '.js': 'text/javascript',
  '.mjs': 'text/javascript',
  '.css': 'text/css',
  '.json': 'application/json',
  '.wasm': 'application/wasm'
})

/**
 * @param {string} folder
 * @param {Record<string, string>} [headers]
 * @returns {Promise<{ address: string, stop: () => void }>}
 */
export async function serveFolder(folder, headers = {}) {
  const server = createServer(async ({ url = '/', headers: { range = '' } }, response) => {
    const path = normalize(decodeURIComponent(new URL(url, 'http://localhost').pathname))
    const name = path.endsWith('/') ? `${path}index.html` : path
    try {
      const content = await readFile(join(folder, name))
      const type = { 'content-type': types[extname(name)] ?? 'application/octet-stream', ...headers }
      const [, first, last] = /^bytes=(\d+)-(\d+)$/.exec(range) ?? []
      if (first === undefined) return response.writeHead(200, type).end(content)
      const part = content.subarray(Number(first), Number(last) + 1)
      const place = `bytes ${first}-${Number(first) + part.length - 1}/${content.length}`
      response.writeHead(206, { ...type, 'content-range': place }).end(part)
    } catch {
      response.writeHead(404, { 'content-type': 'text/html' }).end('<!doctype html><title>Not found</title>')
    }
  })
  await new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve(undefined)))
  const { port } = /** @type {import('node:net').AddressInfo} */ (server.address())
  return {
    address: `http://127.0.0.1:${port}`,
    stop() {
      server.close()
      server.closeAllConnections()
    }
  }
}
