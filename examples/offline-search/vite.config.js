// Builds the page, its worker, and a service worker that knows the files of this build.

import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'

/** Files that only the model's cache keeps, under names that change with their contents. */
const isModel = (/** @type {string} */ name) => name.startsWith('assets/model/')

const offline = {
  name: 'offline',
  apply: /** @type {const} */ ('build'),
  enforce: /** @type {const} */ ('post'),
  /** @this {any} @param {unknown} _ @param {Record<string, any>} bundle */
  generateBundle(_, bundle) {
    const names = Object.keys(bundle).filter((name) => !isModel(name))
    const hash = createHash('sha256')
    for (const name of names) hash.update(name).update(bundle[name].code ?? bundle[name].source)
    const files = ['./', ...names.filter((name) => !name.endsWith('.html')).map((name) => `./${name}`)]
    const source = readFileSync(new URL('offline.js', import.meta.url), 'utf8')
      .replace('__FILES__', () => JSON.stringify(files))
      .replace('__VERSION__', () => hash.digest('hex').slice(0, 12))
    this.emitFile({ type: 'asset', fileName: 'offline.js', source })
  }
}

/** The files of the model are in a folder of their own. @param {{ originalFileNames: string[] }} asset */
const assetFileNames = ({ originalFileNames: [name = ''] }) =>
  name.startsWith('model/') ? 'assets/model/[name]-[hash][extname]' : 'assets/[name]-[hash][extname]'

export default {
  base: './',
  assetsInclude: ['**/*.safetensors'],
  // A missing file is an error, not the page.
  appType: /** @type {const} */ ('mpa'),
  worker: { format: /** @type {const} */ ('es'), rollupOptions: { output: { assetFileNames } } },
  build: { target: 'es2022', assetsInlineLimit: 0, rollupOptions: { output: { assetFileNames } } },
  plugins: [offline]
}
