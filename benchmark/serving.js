// Serves the repository to a browser. An installed package has no browser tests, which drive the browsers.

import { existsSync } from 'node:fs'
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

/** Serves the repository; `address` has no slash at its end. */
export async function serveRepository() {
  /** @type {typeof import('../__test__/consumers/serve.mjs')} */
  const { serveFolder } = await fromRepository('__test__/consumers/serve.mjs')
  return serveFolder(fileURLToPath(root))
}
