// A minimal static server for the built page, with the page's own policy as a header.

import { readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { extname, join, normalize } from 'node:path'
import { fileURLToPath } from 'node:url'
import { policy } from '../vite.config.js'

const folder = fileURLToPath(new URL('../dist/', import.meta.url))

/** @type {Record<string, string>} */
const types = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript',
  '.css': 'text/css',
  '.json': 'application/json',
  '.svg': 'image/svg+xml',
  '.wasm': 'application/wasm',
  '.safetensors': 'application/octet-stream'
}

/**
 * @param {import('node:http').IncomingMessage} request
 * @param {import('node:http').ServerResponse} response
 */
function answer({ url = '/' }, response) {
  const { pathname } = new URL(url, 'http://localhost')
  const name = pathname.endsWith('/') ? `${pathname}index.html` : pathname
  try {
    const body = readFileSync(join(folder, normalize(name)))
    const type = types[extname(name)] ?? 'application/octet-stream'
    const headers = { 'content-type': type, 'content-length': body.length, 'content-security-policy': policy }
    response.writeHead(200, headers).end(body)
  } catch {
    response.writeHead(404).end()
  }
}

/** @returns {Promise<{ address: string, close: () => void }>} */
export async function serve() {
  const server = createServer(answer).listen(0, '127.0.0.1')
  await new Promise((resolve) => server.once('listening', resolve))
  const { port } = /** @type {import('node:net').AddressInfo} */ (server.address())
  const close = () => {
    server.close()
    server.closeAllConnections()
  }
  return { address: `http://127.0.0.1:${port}/`, close }
}
