// Serves an example's page and the package, and nothing else, as a static file server.
import { readFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import { extname, join, normalize } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('../', import.meta.url))
const types = /** @type {Record<string, string>} */ ({ '.html': 'text/html', '.js': 'text/javascript' })

/**
 * @param {string} example  name of the folder
 * @param {number} [port]  default: any free port
 * @returns {Promise<{ address: string, close: () => void }>}
 */
export function serveExample(example, port = 0) {
  const folders = ['/lib/', '/packages/wasm/', `/examples/${example}/`]
  const server = createServer(async ({ url = '/' }, response) => {
    const path = normalize(decodeURIComponent(new URL(url, 'http://localhost').pathname))
    if (path === '/') return response.writeHead(302, { location: `/examples/${example}/` }).end()
    const name = path.endsWith('/') ? join(path, 'index.html') : path
    try {
      const type = types[extname(name)]
      if (type === undefined || !folders.some((folder) => name.startsWith(folder))) throw new Error('not served')
      response.writeHead(200, { 'content-type': type }).end(await readFile(join(root, name)))
    } catch {
      response.writeHead(404, { 'content-type': 'text/plain' }).end('not found')
    }
  })
  return new Promise((resolve, reject) => {
    server.once('error', reject).listen(port, '127.0.0.1', () => {
      const { port: taken } = /** @type {import('node:net').AddressInfo} */ (server.address())
      resolve({ address: `http://127.0.0.1:${taken}/`, close: () => server.close() })
    })
  })
}
