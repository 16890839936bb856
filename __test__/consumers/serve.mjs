// A minimal static server: files of a folder with their types, and the headers that a consumer asks for.

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
  const server = createServer(async ({ url = '/' }, response) => {
    const path = normalize(decodeURIComponent(new URL(url, 'http://localhost').pathname))
    const name = path.endsWith('/') ? `${path}index.html` : path
    try {
      const content = await readFile(join(folder, name))
      response.writeHead(200, { 'content-type': types[extname(name)] ?? 'application/octet-stream', ...headers })
      response.end(content)
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
