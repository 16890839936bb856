// Serves the repository to a browser, with a page of the caller at the root.

import { existsSync } from 'node:fs'
import { createServer } from 'node:http'
import { fileURLToPath } from 'node:url'

const root = new URL('..', import.meta.url)

/**
 * Imports a module of the repository, which an installed package lacks.
 *
 * @param {string} path
 */
export async function fromRepository(path) {
  const file = new URL(path, root)
  if (!existsSync(file)) throw new Error('it needs the repository')
  return import(file.href)
}

/**
 * Serves `page`, and the files of the repository, also by ranges. Returns the address, which ends with a slash.
 *
 * @param {string} page
 */
export async function serve(page) {
  /** @type {typeof import('../__test__/support/files.js')} */
  const { rangesOf } = await fromRepository('__test__/support/files.js')
  const files = rangesOf(fileURLToPath(root))
  const server = createServer((request, response) => {
    const { pathname } = new URL(request.url ?? '/', 'http://localhost')
    if (pathname === '/') return void response.writeHead(200, { 'content-type': 'text/html' }).end(page)
    return files(request, response)
  })
  await new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve(undefined)))
  const { port } = /** @type {import('node:net').AddressInfo} */ (server.address())
  return { address: `http://127.0.0.1:${port}/`, close: () => server.close() }
}
