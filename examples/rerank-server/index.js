// A re-ranking service over HTTP: all-MiniLM-L6-v2 ranks documents by how well they answer a query, in asynchronous
// calls, so that the server stays responsive. `npm run example -- rerank-server`, then
//   curl -d '{"query": "Why do ships not sink?", "top": 3}' http://127.0.0.1:8080/rerank
import { readFileSync } from 'node:fs'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { parseArgs } from 'node:util'
import { loadBackend } from '@ruvector/attention'
import { fetchModel, modelFolder } from '../../tools/model.mjs'
import { loadModel, search } from '../minilm-search/model.js'
import { createRerankServer } from './server.js'

const { values } = parseArgs({
  options: {
    port: { type: 'string', default: '8080' },
    backend: { type: 'string', default: 'native' },
    threads: { type: 'string' },
    /** Maximum number of concurrent requests. */
    queue: { type: 'string', default: '64' },
    /** Use synchronous calls, to show how they block the server. */
    sync: { type: 'boolean', default: false }
  }
})

await fetchModel()
const kind = /** @type {import('@ruvector/attention').BackendKind} */ (values.backend)
const attention = await loadBackend(kind, values.threads === undefined ? {} : { threads: Number(values.threads) })
const model = loadModel(attention, modelFolder)
const sentences = readFileSync(new URL('../minilm-search/sentences.txt', import.meta.url), 'utf8')
  .trim()
  .split('\n')
const vectors = model.embed(sentences)

/** @type {import('./server.js').Rank} */
async function rank(query, documents, signal) {
  const texts = [query, ...(documents ?? [])]
  const { data, shape } = values.sync ? model.embed(texts) : await model.embedAsync(texts, signal)
  const size = shape[1]
  const rows = (/** @type {number} */ start, /** @type {number} */ end) => ({
    data: data.subarray(start * size, end * size),
    shape: [end - start, size]
  })
  const candidates = documents ? rows(1, texts.length) : vectors
  return search(attention, rows(0, 1), candidates, candidates.shape[0])[0]
}

const delay = monitorEventLoopDelay({ resolution: 1 })
delay.enable()
const health = () => {
  const [p50, p99] = [50, 99].map((percentile) => delay.percentile(percentile) / 1e6)
  delay.reset()
  const { kind, simd, threads } = attention.backend()
  return { backend: kind, simd, threads, calls: values.sync ? 'sync' : 'async', eventLoopDelay: { p50, p99 } }
}

const { server, stop } = createRerankServer({ rank, sentences, most: Number(values.queue), health })
server.listen(Number(values.port), '127.0.0.1', () => {
  const { port } = /** @type {import('node:net').AddressInfo} */ (server.address())
  console.log(`listening on http://127.0.0.1:${port}`)
})

/** Exits once every accepted request has been answered. */
async function end() {
  await stop()
  delay.disable()
  model.dispose()
  console.log('stopped')
}
process.once('SIGTERM', end)
process.once('SIGINT', end)
