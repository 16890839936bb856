// Serves the page, as any server of files would.
//   npm run example -- browser-page [PORT]
import { readFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import { extname, join, normalize } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('../../', import.meta.url))
const types = /** @type {Record<string, string>} */ ({ '.html': 'text/html', '.js': 'text/javascript' })

const server = createServer(async ({ url = '/' }, response) => {
  const path = normalize(decodeURIComponent(new URL(url, 'http://localhost').pathname))
  if (path === '/') return response.writeHead(302, { location: '/examples/browser-page/' }).end()
  const name = path.endsWith('/') ? join(path, 'index.html') : path
  try {
    const type = types[extname(name)]
    if (type === undefined || !/^\/(lib|packages\/wasm|examples\/browser-page)\//.test(name))
      throw new Error('not served')
    response.writeHead(200, { 'content-type': type }).end(await readFile(join(root, name)))
  } catch {
    response.writeHead(404, { 'content-type': 'text/plain' }).end('not found')
  }
})

server.listen(Number(process.argv[2] ?? 8080), '127.0.0.1', () => {
  const { port } = /** @type {import('node:net').AddressInfo} */ (server.address())
  console.log(`http://127.0.0.1:${port}/ until Ctrl+C`)
})
