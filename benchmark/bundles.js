// Bundles the entries for pages, and measures the bytes that a server sends. Needs esbuild, as in the repository.

import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { brotliCompressSync, gzipSync } from 'node:zlib'

const root = fileURLToPath(new URL('..', import.meta.url))

/** @type {{ exports: Record<string, string | { default: string }> }} */
const manifest = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8'))

/** The subpaths of the package that are JavaScript: `.`, `./external`, and so on. */
export const subpaths = Object.entries(manifest.exports)
  .filter(([, target]) => typeof target === 'object')
  .map(([subpath]) => subpath)

/**
 * Bundles the script of a page that imports everything from a subpath.
 *
 * @param {string} subpath
 * @param {import('esbuild').Plugin[]} [plugins]
 */
export async function bundle(subpath, plugins = []) {
  const { build } = await import('esbuild')
  const { outputFiles } = await build({
    stdin: { contents: `export * from '${subpath.replace('.', '@ruvector/attention')}'`, resolveDir: root },
    bundle: true,
    minify: true,
    write: false,
    format: 'esm',
    target: 'es2022',
    platform: 'browser',
    plugins
  })
  return outputFiles[0].contents
}

/**
 * Returns the size in KB: uncompressed, and compressed by gzip and by brotli as servers do.
 *
 * @param {Uint8Array} bytes
 */
export function sizesOf(bytes) {
  const kb = (/** @type {{ length: number }} */ { length }) => Math.round(length / 100) / 10
  return [kb(bytes), kb(gzipSync(bytes, { level: 9 })), kb(brotliCompressSync(bytes))]
}
