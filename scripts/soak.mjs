// Runs a program for a long time on one backend, and measures growth:
// `npm run soak -- --seconds 600 --backend wasm --program objects`.
// - `calls` makes millions of small calls of every kind, some of which fail or are cancelled, and collects garbage for
//   each sample. Exits with an error if memory, threads or handles grow.
// - `objects` drops large objects of every kind without dispose(), also models and steps of training, cancels downloads
//   of models, and lets the engine decide when to collect them. Exits with an error if memory, threads or handles grow,
//   or if the objects occupy too much memory.

import { readdirSync } from 'node:fs'
import { createServer } from 'node:http'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { Worker } from 'node:worker_threads'
import { loadModel } from '@ruvector/attention/models'
import { loadBackend as loadTraining } from '@ruvector/attention/training'
import { loadBackend } from '../index.js'
import { OBJECTS, zeros } from '../tools/objects.mjs'
import { rangesOf } from '../tools/ranges.mjs'

setFlagsFromString('--expose-gc')
/** @type {() => void} */
const collect = runInNewContext('gc')

/** Allowed growth from beginning to end: some pages of memory, but nothing per call. */
const LIMITS = { rss: 40e6, heap: 4e6, total: 2e6, allocated: 1e6, threads: 1, handles: 2 }
/** Bytes that dropped objects may occupy in an instance, and the allowed growth of resident memory as a consequence. */
const [MOST_DROPPED, GROWTH_DROPPED] = [512e6, 100e6]
/** Milliseconds until a server of models responds, and until a download is cancelled. */
const PAUSE = 3
const DELAYS = [0, 1, 2, 4, 8, 16, 1000]
/** Share of the time until caches, code and pools have reached their final size. */
const WARM_UP = 0.15

/** @typedef {import('../index.d.ts').Attention} Attention */
/** @typedef {Record<keyof typeof LIMITS, number>} Sample */

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '60' },
    backend: { type: 'string' },
    program: { type: 'string', default: 'calls' }
  }
})
const kinds = /** @type {import('../index.d.ts').BackendKind[]} */ (
  values.backend === undefined ? ['native', 'wasm'] : [values.backend]
)

/** @param {number[]} shape @param {number} step */
function tensor(shape, step) {
  const length = shape.reduce((a, b) => a * b, 1)
  return { data: Float32Array.from({ length }, (_, at) => Math.sin(at * step)), shape }
}

/** Calls on one backend; each method counts the calls that it makes. */
class Program {
  calls = 0
  made = 0
  collected = 0
  #registry = new FinalizationRegistry(() => this.collected++)
  #x = tensor([1, 6, 8], 0.7)
  #q = tensor([1, 2, 6, 4], 0.3)
  #long = tensor([1, 2, 256, 32], 0.1)
  #api

  /** @param {Attention} api */
  constructor(api) {
    this.#api = api
  }

  /** Drops an object without disposing of it. @template {object} T @param {T} object */
  #drop(object) {
    this.made++
    this.calls++
    this.#registry.register(object, undefined)
    return object
  }

  #functions() {
    const { scaledDotProductAttention, softmax, gelu, layerNorm, rotaryEmbedding, mergeAttention } = this.#api
    const q = this.#q
    for (let repeat = 0; repeat < 200; repeat++) {
      const part = scaledDotProductAttention(q, q, q, { logSumExp: true, weights: true, causal: true })
      mergeAttention([part, part])
      softmax(q)
      gelu(q)
      layerNorm(q)
      rotaryEmbedding(q)
    }
    this.calls += 1200
  }

  #failures() {
    const { scaledDotProductAttention, softmax, loadSafetensors, SelfAttention } = /** @type {any} */ (this.#api)
    const q = this.#q
    const wrong = [
      () => softmax({ data: q.data, shape: [3] }),
      () => scaledDotProductAttention(q, q, q, { scael: 1 }),
      () => scaledDotProductAttention(q, q, this.#x),
      () => loadSafetensors(new Uint8Array(100)),
      () => new SelfAttention({ numHeads: 2 ** 40, headDim: 4 })
    ]
    for (let repeat = 0; repeat < 40; repeat++) {
      for (const call of wrong) {
        try {
          call()
          throw new Error('an invalid call succeeded')
        } catch (error) {
          if (/** @type {any} */ (error).name !== 'AttentionError') throw error
        }
      }
    }
    this.calls += 40 * wrong.length
  }

  #objects() {
    const api = this.#api
    for (let repeat = 0; repeat < 10; repeat++) {
      const layer = this.#drop(new api.SelfAttention({ numHeads: 2, headDim: 4, seed: repeat }))
      layer.forward(this.#x)
      layer.loadStateDict(api.loadSafetensors(api.saveSafetensors(layer.stateDict())))
      const cache = this.#drop(new api.KVCache({ kvHeads: 2, headDim: 4, capacity: 12 }))
      cache.append(this.#q, this.#q).attend(this.#q)
      const graph = this.#drop(api.Graph.fromEdges({ numNodes: 6, source: [0, 1, 2, 3], target: [1, 2, 3, 4] }))
      const conv = this.#drop(new api.GraphAttention({ inFeatures: 8, outFeatures: 3, numHeads: 2 }))
      conv.forward(graph, { data: this.#x.data, shape: [6, 8] })
      const stream = this.#drop(new api.LinearAttention({ modelDim: 8, featureMap: 'favor+' }).stream())
      stream.step(this.#x, this.#x, this.#x)
      const space = this.#drop(new api.HyperbolicAttention({ curvature: -1, inputs: 'tangent' }))
      space.forward(this.#x, this.#x, this.#x)
      disposing(new api.TransformerEncoderLayer({ modelDim: 8, numHeads: 2, feedForwardDim: 16 }), (encoder) =>
        encoder.forward(this.#x)
      )
    }
    this.calls += 10 * 12
  }

  async #asynchronous() {
    const api = this.#api
    const layer = this.#drop(new api.SelfAttention({ numHeads: 2, headDim: 4 }))
    const calls = Array.from({ length: 40 }, () => layer.forwardAsync(this.#x))
    const failing = Array.from({ length: 10 }, () => layer.forwardAsync(this.#q).catch(() => {}))
    const waiting = Array.from({ length: 10 }, () => {
      const controller = new AbortController()
      const call = api.scaledDotProductAttentionAsync(this.#q, this.#q, this.#q, { signal: controller.signal })
      controller.abort()
      return call.catch(() => {})
    })
    await Promise.all([...calls, ...failing, ...waiting])
    await new api.BatchProcessor().process([this.#x, this.#x, this.#x], (x, options) => layer.forwardAsync(x, options))
    this.calls += 63
  }

  /** Cancels a running call, which costs a worker in WebAssembly. */
  async #cancelled() {
    const controller = new AbortController()
    const q = this.#long
    const call = this.#api.scaledDotProductAttentionAsync(q, q, q, { signal: controller.signal, onProgress: () => {} })
    setTimeout(() => controller.abort(), 1)
    await call.catch(() => {})
    this.calls++
  }

  async round() {
    this.#functions()
    this.#failures()
    this.#objects()
    await this.#asynchronous()
    await this.#cancelled()
  }
}

/** @template {{ dispose: () => void }} T @param {T} object @param {(object: T) => void} use */
function disposing(object, use) {
  use(object)
  object.dispose()
}

const isLinux = process.platform === 'linux'

/** Collects garbage first. @param {Attention} api */
async function measure(api) {
  // Finalizers run in separate turns.
  for (let turn = 0; turn < 3; turn++) {
    collect()
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
  return read(api)
}

/** @param {Attention} api @returns {Sample} */
function read(api) {
  const { allocated, total } = api.memoryUsage()
  return {
    rss: process.memoryUsage.rss(),
    heap: process.memoryUsage().heapUsed,
    total,
    allocated,
    threads: isLinux ? readdirSync('/proc/self/task').length : 0,
    handles: process.getActiveResourcesInfo().length
  }
}

/** @param {Sample[]} samples @param {keyof Sample} name */
function median(samples, name) {
  const sorted = samples.map((sample) => sample[name]).sort((a, b) => a - b)
  return sorted[Math.floor(sorted.length / 2)]
}

/** @param {readonly Sample[]} samples  eight medians of resident megabytes */
function eighthsOf(samples) {
  return Array.from({ length: 8 }, (_, part) => {
    const size = samples.length / 8
    const slice = samples.slice(Math.floor(part * size), Math.ceil((part + 1) * size))
    return (median(slice, 'rss') / 1e6).toFixed(0)
  }).join(' ')
}

/**
 * The samples after the warm-up, and those of their first and last quarter.
 *
 * @param {readonly { sample: Sample, time: number }[]} taken
 * @param {number} seconds
 */
function steadyOf(taken, seconds) {
  const steady = taken.filter(({ time }) => time > WARM_UP * seconds).map(({ sample }) => sample)
  const quarter = Math.max(1, Math.floor(steady.length / 4))
  return { steady, first: steady.slice(0, quarter), last: steady.slice(-quarter) }
}

/** @param {import('../index.d.ts').BackendKind} kind @param {number} seconds */
async function soakCalls(kind, seconds) {
  const api = await loadBackend(kind, { threads: 2 })
  const program = new Program(api)
  /** @type {{ sample: Sample, time: number }[]} */
  const taken = []
  const start = performance.now()
  const elapsed = () => (performance.now() - start) / 1000
  // About two hundred samples, whatever the duration.
  let next = 0
  while (elapsed() < seconds) {
    await program.round()
    if (elapsed() < next) continue
    taken.push({ sample: await measure(api), time: elapsed() })
    next = elapsed() + seconds / 200
  }
  await measure(api)
  const { steady, first, last } = steadyOf(taken, seconds)
  const problems = []
  console.log(
    `${kind}: ${program.calls} calls in ${seconds} s, ${taken.length} samples; medians of the first and the last quarter`
  )
  console.log(`  resident megabytes, eighth by eighth: ${eighthsOf(steady)}`)
  for (const name of /** @type {(keyof Sample)[]} */ (Object.keys(LIMITS))) {
    const [before, after] = [median(first, name), median(last, name)]
    console.log(`  ${name.padEnd(10)} ${before} → ${after} (${after - before >= 0 ? '+' : ''}${after - before})`)
    if (after - before > LIMITS[name]) problems.push(`${kind}: ${name} grew by ${after - before}`)
  }
  const left = program.made - program.collected
  console.log(`  objects dropped without dispose(): ${program.made}, collected: ${program.collected}`)
  if (left > 100) problems.push(`${kind}: ${left} dropped objects were not collected`)
  return problems
}

// ── Objects that are dropped ─────────────────────────────────────────────────────────────────────────────────────────

const turn = () => new Promise((resolve) => setImmediate(resolve))

/** Drops an object of each kind in a thread that then ends. @param {import('../index.d.ts').BackendKind} kind */
async function dropInWorker(kind) {
  const program = `
    import { loadBackend } from '${new URL('../index.js', import.meta.url)}'
    import { OBJECTS } from '${new URL('../tools/objects.mjs', import.meta.url)}'
    const attention = await loadBackend('${kind}')
    for (const make of Object.values(OBJECTS)) make(attention)`
  const worker = new Worker(new URL(`data:text/javascript,${encodeURIComponent(program)}`))
  await new Promise((resolve, reject) => worker.once('error', reject).once('exit', resolve))
}

const model = new URL('../__test__/golden/models/llama/', import.meta.url)

/**
 * A step of training: a layer, the pass that keeps its inputs, and an optimizer with its averages.
 *
 * @param {import('@ruvector/attention/training').Attention} training
 */
function train({ vjp, AdamW, TransformerEncoderLayer }) {
  const layer = new TransformerEncoderLayer({ modelDim: 256, numHeads: 4, feedForwardDim: 512, weightType: 'f32' })
  const pass = vjp(layer, zeros([1, 16, 256]))
  const optimizer = new AdamW(layer)
  optimizer.step(pass.backward(pass.output).parameters)
  return [layer, pass, optimizer]
}

/** Serves the model's folder, with pauses in which a download can be cancelled. */
async function serveSlowly() {
  const respond = rangesOf(fileURLToPath(model))
  const server = createServer((request, response) => void setTimeout(() => respond(request, response), PAUSE))
  await new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve(undefined)))
  const { port } = /** @type {import('node:net').AddressInfo} */ (server.address())
  return { url: `http://127.0.0.1:${port}/`, close: () => server.close() }
}

/**
 * Downloads a model, which is cancelled after some milliseconds; returns undefined if that was before its end.
 *
 * @param {Attention} api
 * @param {string} url
 * @param {number} delay
 */
async function download(api, url, delay) {
  const controller = new AbortController()
  const timer = setTimeout(() => controller.abort(), delay)
  try {
    return await loadModel(url, { attention: api, signal: controller.signal })
  } catch (error) {
    if (error !== controller.signal.reason) throw error
  } finally {
    clearTimeout(timer)
  }
}

/** @param {import('../index.d.ts').BackendKind} kind @param {number} seconds */
async function soakObjects(kind, seconds) {
  const api = await loadBackend(kind, { threads: 2 })
  const training = await loadTraining(kind, { threads: 2 })
  const x = zeros([1, 64, 512])
  const server = await serveSlowly()
  let [made, collected, mostAllocated, mostResident, cancelled] = [0, 0, 0, 0, 0]
  const registry = new FinalizationRegistry(() => collected++)
  /** @type {{ sample: Sample, time: number }[]} */
  const taken = []
  const start = performance.now()
  const elapsed = () => (performance.now() - start) / 1000
  let next = 0
  const drop = (/** @type {object} */ object) => {
    registry.register(object, undefined)
    made++
    const sample = read(api)
    mostAllocated = Math.max(mostAllocated, sample.allocated)
    mostResident = Math.max(mostResident, sample.rss)
    // A few thousand samples, whatever the duration, as they occupy memory themselves.
    if (elapsed() < next) return
    taken.push({ sample, time: elapsed() })
    next = elapsed() + seconds / 4000
  }
  /** Creates a layer that only its call refers to. */
  const call = () => {
    const layer = new api.SelfAttention({ modelDim: 512, numHeads: 8 })
    const result = layer.forwardAsync(x)
    drop(layer)
    return result
  }
  for (let round = 0; elapsed() < seconds; round++) {
    const calls = [call(), call(), call()]
    for (const make of Object.values(OBJECTS)) {
      drop(make(api))
      await turn()
    }
    await Promise.all(calls)
    for (const object of train(training)) drop(object)
    drop(await loadModel(model, { attention: api }))
    const downloaded = await download(api, server.url, DELAYS[round % DELAYS.length])
    if (downloaded) drop(downloaded)
    else cancelled++
    if (round % 20 === 0) await dropInWorker(kind)
  }
  server.close()
  const { steady, first, last } = steadyOf(taken, seconds)
  const { total } = read(api)
  // Only the memory that the last calls keep is left.
  const { allocated: kept } = await measure(api)
  const megabytes = (/** @type {number} */ bytes) => `${(bytes / 1e6).toFixed(0)} MB`
  const [before, after] = [median(first, 'rss'), median(last, 'rss')]
  console.log(`${kind}: ${made} objects dropped without dispose() in ${seconds} s, ${collected} collected`)
  console.log(`  ${cancelled} downloads cancelled`)
  console.log(`  resident megabytes, eighth by eighth: ${eighthsOf(steady)}; at most ${megabytes(mostResident)}`)
  console.log(`  allocated at most ${megabytes(mostAllocated)}, memory of the instance ${megabytes(total)}`)
  console.log(`  allocated after a last collection ${megabytes(kept)}`)
  const problems = []
  if (after - before > GROWTH_DROPPED) problems.push(`${kind}: resident memory grew by ${megabytes(after - before)}`)
  if (mostAllocated > MOST_DROPPED) problems.push(`${kind}: ${megabytes(mostAllocated)} were allocated`)
  for (const name of /** @type {const} */ (['threads', 'handles'])) {
    const growth = median(last, name) - median(first, name)
    if (growth > LIMITS[name]) problems.push(`${kind}: ${name} grew by ${growth}`)
  }
  if (kind === 'wasm' && total > MOST_DROPPED) problems.push(`${kind}: the memory grew to ${megabytes(total)}`)
  if (made - collected > 3) problems.push(`${kind}: ${made - collected} dropped objects were not collected`)
  return problems
}

const programs = /** @type {Record<string, typeof soakCalls>} */ ({ calls: soakCalls, objects: soakObjects })
const soak = programs[values.program]
if (!soak) throw new Error(`--program is one of ${Object.keys(programs).join(', ')}`)
const problems = []
for (const kind of kinds) problems.push(...(await soak(kind, Number(values.seconds))))
for (const problem of problems) console.error(`GREW ${problem}`)
if (problems.length > 0) process.exitCode = 1
