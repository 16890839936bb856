// Loads the model, embeds the texts of a file in parts, and searches the parts that are done.

import { init, topK } from '@ruvector/attention/core'
import { loadModel } from '@ruvector/attention/models'
import { modelFiles } from './model.js'
import { readTexts } from './texts.js'

/** Texts in a part, and results of a search. */
const [PART, HITS] = [64, 10]
/** Each of the package's workers has a copy of the model. */
const THREADS = Math.min(navigator.hardwareConcurrency, 4)

/** @typedef {import('./messages.d.ts').FromWorker} FromWorker */
/** @typedef {import('./messages.d.ts').ToWorker} ToWorker */

const send = (/** @type {FromWorker} */ message) => /** @type {any} */ (globalThis).postMessage(message, [])

async function load() {
  await init({ threads: THREADS })
  const files = await modelFiles((bytes) => send({ type: 'downloading', bytes }))
  return loadModel(files)
}
const loading = load()

/** The texts of the current file, and the vectors of the first `done` of them, one after the other. */
let index = { texts: /** @type {{ line: number, text: string }[]} */ ([]), vectors: new Float32Array(0), done: 0 }
let running = new AbortController()

/** @param {File} file */
async function embed(file) {
  running.abort()
  const { signal } = (running = new AbortController())
  try {
    const texts = await readTexts(file, signal)
    await embedTexts(await loading, texts, signal)
  } catch (error) {
    // Nobody waits for a file that another one has replaced.
    if (signal !== running.signal) return
    if (!signal.aborted) throw error
    send({ type: 'cancelled', done: index.done, total: index.texts.length })
  }
}

/**
 * @param {import('@ruvector/attention/models').Model} model
 * @param {typeof index.texts} texts
 * @param {AbortSignal} signal
 */
async function embedTexts(model, texts, signal) {
  const own = (index = { texts, vectors: new Float32Array(0), done: 0 })
  const start = performance.now()
  const report = () => {
    const seconds = (performance.now() - start) / 1000
    send({ type: 'embedded', done: own.done, total: texts.length, seconds })
  }
  while (own.done < texts.length) {
    report()
    const part = texts.slice(own.done, own.done + PART).map(({ text }) => text)
    const { data, shape } = await model.embed(part, { signal })
    signal.throwIfAborted()
    if (own.done === 0) own.vectors = new Float32Array(texts.length * shape[1])
    own.vectors.set(data, own.done * shape[1])
    own.done += part.length
  }
  report()
}

/** @param {string} query @param {number} id */
async function search(query, id) {
  const vector = await (await loading).embed(query)
  const { texts, vectors, done } = index
  if (done === 0) return send({ type: 'found', id, hits: [], among: 0 })
  const size = vector.shape[1]
  const among = { data: vectors.subarray(0, done * size), shape: [done, size] }
  const { indices, values } = topK(vector, among, Math.min(HITS, done), { metric: 'cosine' })
  const hits = Array.from(indices.data, (at, rank) => ({ ...texts[at], score: values.data[rank] }))
  send({ type: 'found', id, hits, among: done })
}

/**
 * The search that waits for the one that runs; older ones are of no interest.
 *
 * @type {(() => Promise<void>) | undefined}
 */
let next
let isSearching = false

async function runSearches() {
  if (isSearching) return
  isSearching = true
  while (next) {
    const current = next
    next = undefined
    await current().catch(fail)
  }
  isSearching = false
}

/** @param {unknown} error */
const fail = (error) => send({ type: 'failed', reason: error instanceof Error ? error.message : String(error) })

addEventListener('message', (/** @type {MessageEvent<ToWorker>} */ { data }) => {
  if (data.type === 'embed') embed(data.file).catch(fail)
  else if (data.type === 'cancel') running.abort()
  else {
    next = () => search(data.query, data.id)
    void runSearches()
  }
})
loading.then((model) => send({ type: 'ready', bytes: model.bytes }), fail)
