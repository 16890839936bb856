// Builds the page from the repository: the package by alias, its files unchanged, a security policy, and a service
// worker.

import { createHash } from 'node:crypto'
import { cpSync, createReadStream, existsSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { generatorFile, hasGenerator } from '../../tools/model.mjs'

const path = (/** @type {string} */ name) => fileURLToPath(new URL(name, import.meta.url))
const size = (/** @type {string} */ name) => statSync(path(`../../packages/wasm/${name}`)).size

/**
 * No external resources, blobs for saving a picture, no inline scripts, and no inline styles except the one that
 * shrinks pictures in narrow columns.
 */
export const policy = [
  "default-src 'none'",
  "script-src 'self' 'wasm-unsafe-eval'",
  "style-src 'self' 'unsafe-hashes' 'sha256-OFZH/KmE1spbRSh4CjNax9vyG1iEwWYtQyOeXApqoN4='",
  "img-src 'self' blob:",
  "connect-src 'self'",
  "worker-src 'self'",
  "base-uri 'none'",
  "form-action 'none'"
].join('; ')

/** The policy inside the page, so that it applies on any server. */
const policyInPage = {
  name: 'policy',
  apply: /** @type {const} */ ('build'),
  transformIndexHtml: () => [
    {
      tag: 'meta',
      attrs: { 'http-equiv': 'Content-Security-Policy', content: policy },
      injectTo: /** @type {const} */ ('head-prepend')
    }
  ]
}

/** Folders of the whole model, the smaller first. `MODEL` names another, which a build copies into its own. */
const given = process.env.MODEL
const folders = [given ?? '', ...['-q8_0', ''].map((type) => path(`../../output/models/all-MiniLM-L6-v2${type}`))]
const modelFolder = folders.find((folder) => existsSync(join(folder, 'model.safetensors')))
const MODEL_FILES = ['config.json', 'tokenizer.json', 'tokenizer_config.json', 'model.safetensors']

/** Serves the models as the folder `model` of the page, if this machine has them. */
const wholeModel = {
  name: 'whole-model',
  /** @param {unknown} _ @param {{ command: string }} environment */
  config: (_, { command }) => ({
    define: {
      __SERVED_BYTES__: command === 'serve' || given !== undefined ? servedBytes() : 0,
      __GENERATOR_BYTES__: command === 'serve' && hasGenerator() ? statSync(generatorFile).size : 0
    }
  }),
  /** @param {any} server */
  configureServer({ middlewares }) {
    middlewares.use('/model', (/** @type {any} */ request, /** @type {any} */ response, /** @type {any} */ next) => {
      const file = fileAt(request.url)
      if (file === undefined) return next()
      response.setHeader('content-length', statSync(file).size)
      createReadStream(file).pipe(response)
    })
  },
  /** @param {{ dir: string }} options */
  writeBundle({ dir }) {
    if (given === undefined || modelFolder === undefined) return
    for (const name of MODEL_FILES) cpSync(join(modelFolder, name), join(dir, 'model', name))
  }
}

/** The file of a model at an address of the folder `model`. @param {string} url */
function fileAt(url) {
  if (url === '/generator.gguf') return hasGenerator() ? generatorFile : undefined
  const name = MODEL_FILES.find((name) => url === `/${name}`)
  return modelFolder && name && join(modelFolder, name)
}

const servedBytes = () =>
  modelFolder === undefined ? 0 : MODEL_FILES.reduce((sum, name) => sum + statSync(join(modelFolder, name)).size, 0)

/** The service worker, with the names of all files of the build. */
const offline = {
  name: 'offline',
  apply: /** @type {const} */ ('build'),
  enforce: /** @type {const} */ ('post'),
  /** @this {any} @param {unknown} _ @param {Record<string, any>} bundle */
  generateBundle(_, bundle) {
    const names = Object.keys(bundle).filter((name) => !name.endsWith('.html'))
    const files = ['./', './icon.svg', ...names.map((name) => `./${name}`)]
    const hash = createHash('sha256')
    for (const name of Object.keys(bundle)) hash.update(name).update(bundle[name].code ?? bundle[name].source)
    const source = readFileSync(path('src/offline.js'), 'utf8')
      .replace('__FILES__', () => JSON.stringify(files))
      .replace('__VERSION__', () => hash.digest('hex').slice(0, 12))
    this.emitFile({ type: 'asset', fileName: 'offline.js', source })
  }
}

export default {
  base: './',
  resolve: {
    // The package's exports map as aliases; queries such as `?url` are kept.
    alias: [
      {
        find: /^@ruvector\/attention\/(attention\.\w+\.(?:wasm|patch))/,
        replacement: `${path('../../packages/wasm/')}$1`
      },
      { find: /^@ruvector\/attention\/external$/, replacement: path('../../lib/entries/external.js') },
      { find: /^@ruvector\/attention\/models$/, replacement: path('../../lib/entries/models-browser.js') },
      { find: /^@ruvector\/attention\/plot$/, replacement: path('../../lib/plot/index.js') }
    ]
  },
  define: {
    __WASM_BYTES__: JSON.stringify({
      simd: size('attention.simd.wasm'),
      relaxed: size('attention.simd.wasm') + size('attention.relaxed.patch')
    })
  },
  assetsInclude: ['**/*.safetensors'],
  worker: { format: /** @type {const} */ ('es') },
  server: { fs: { allow: ['../..'] } },
  build: { target: 'es2023', assetsInlineLimit: 0, modulePreload: { polyfill: false } },
  plugins: [policyInPage, wholeModel, offline]
}
