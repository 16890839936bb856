// Faults that must not end a process or an instance: workers that die or trap, exhausted memory, exits during calls.
import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import test from 'ava'
import { createApi } from '../../lib/face/api.js'
import { spawns } from '../../lib/runtime/async/spawn.js'
import { Backend } from '../../lib/runtime/backend.js'
import { loader } from '../../lib/loaders/loader.js'
import { onBothBackends } from '../support/backends.js'
import { bits, faultOf, normal } from '../support/tensors.js'
import { program } from '../../packages/wasm/attention.worker.js'

/** @typedef {import('@ruvector/attention').Attention} Attention */

const folder = fileURLToPath(new URL('../..', import.meta.url))
const execute = promisify(execFile)

/**
 * Runs a program in a separate process, with the package as `attention`.
 *
 * @param {string} text
 * @param {{ args?: string[], env?: Record<string, string> }} [options]
 */
const run = (text, { args = [], env = {} } = {}) =>
  execute(
    process.execPath,
    [...args, '--input-type=module', '-e', `import * as attention from '@ruvector/attention'\n${text}`],
    { cwd: folder, env: { ...process.env, ...env }, timeout: 120_000 }
  )

const x = normal([1, 4, 16], 1)
const long = () => normal([1, 8, 2048, 64], 1)

/**
 * A WebAssembly backend whose workers the test can reach.
 *
 * @param {{ threads?: number, most?: number }} [options]  `most`: the number of workers that can start
 */
async function openWorkers({ threads = 2, most = Infinity } = {}) {
  /**
   * @type {{ worker: import('../../lib/runtime/async/spawn.js').Spawned, events:
   *   import('../../lib/runtime/async/spawn.js').Events, posts: any[], ended: Promise<unknown> }[]}
   */
  const workers = []
  const loaded = await loader.load('wasm')
  const [spawn] = spawns(program)
  const backend = new Backend(() => ({
    ...loaded,
    spawns: [
      {
        ...spawn,
        open(events) {
          if (workers.length >= most) throw new Error('no more')
          /** @type {(error: Error) => void} */
          let end = () => {}
          const ended = new Promise((resolve) => {
            end = resolve
          })
          const lost = (/** @type {Error} */ error) => {
            events.lost(error)
            end(error)
          }
          const worker = spawn.open({ ...events, lost })
          const { post } = worker
          /** @type {any[]} */
          const posts = []
          worker.post = (message, transfer) => {
            posts.push(message)
            post(message, transfer)
          }
          workers.push({ worker, events, posts, ended })
          return worker
        }
      }
    ]
  }))
  backend.start()
  backend.limitThreads(threads)
  return { workers, attention: /** @type {Attention} */ (/** @type {unknown} */ (createApi(backend))) }
}

test('a killed worker rejects only its own call, and the next calls work', async (t) => {
  const { workers, attention } = await openWorkers()
  const layer = new attention.SelfAttention({ numHeads: 2, headDim: 8, seed: 1 })
  const expected = bits(layer.forward(x).output)
  for (let repeat = 0; repeat < 4; repeat++) {
    await Promise.all([layer.forwardAsync(x), layer.forwardAsync(x)])
    const q = long()
    const calls = [0, 1, 2].map(() => attention.scaledDotProductAttentionAsync(q, q, q))
    await new Promise((resolve) => setTimeout(resolve, 10))
    const outcomes = Promise.allSettled(calls)
    workers[workers.length - 1].worker.end()
    const lost = (await outcomes).filter(({ status }) => status === 'rejected')
    t.true(lost.length <= 1)
    for (const { reason } of /** @type {any[]} */ (lost)) t.regex(reason.message, /worker/)
    const results = await Promise.all(Array.from({ length: 5 }, () => layer.forwardAsync(x)))
    t.true(results.every(({ output }) => bits(output) === expected))
  }
  t.is(attention.backend().threads, 2)
})

test('a worker whose instance traps is replaced, together with its layers', async (t) => {
  const { workers, attention } = await openWorkers()
  const layer = new attention.SelfAttention({ numHeads: 2, headDim: 8, seed: 1 })
  const expected = bits((await layer.forwardAsync(x)).output)
  const started = workers.length
  for (const { worker, events } of workers.slice()) {
    const { post } = worker
    worker.post = (message, transfer) => {
      worker.post = post
      // The answer of an instance that trapped.
      if (message.call) setTimeout(() => events.message({ error: 'unreachable', lacks: [] }))
      else post(message, transfer)
    }
  }
  const error = /** @type {any} */ (await t.throwsAsync(layer.forwardAsync(x)))
  t.like(error, { name: 'AttentionError', code: 'INTERNAL' })
  t.is(bits((await layer.forwardAsync(x)).output), expected)
  t.true(workers.length > started)
})

test('workers hold no disposed layer, whenever it was disposed', async (t) => {
  const { workers, attention } = await openWorkers()
  const layer = () => new attention.SelfAttention({ numHeads: 2, headDim: 8, seed: 1 })
  const other = layer()
  const expected = bits(other.forward(x).output)
  for (let repeat = 0; repeat < 3; repeat++) {
    const gone = layer()
    const during = gone.forwardAsync(x)
    gone.dispose()
    t.is(bits((await during).output), expected)
    const changed = layer()
    const before = [changed.forwardAsync(x), changed.forwardAsync(x), changed.forwardAsync(x)]
    changed.loadStateDict(new attention.SelfAttention({ numHeads: 2, headDim: 8, seed: 2 }).stateDict())
    for (const { output } of await Promise.all(before)) t.is(bits(output), expected)
    t.not(bits((await changed.forwardAsync(x)).output), expected)
    changed.dispose()
  }
  await other.forwardAsync(x)
  for (const { posts } of workers) {
    const made = posts.flatMap(({ call }) => call?.make.map((/** @type {{ key: string }} */ { key }) => key) ?? [])
    const forgotten = posts.flatMap(({ forget }) => forget ?? [])
    t.is(new Set(made).size, made.length)
    t.deepEqual(made.slice(0, forgotten.length).sort(), [...forgotten].sort())
    t.true(made.length - forgotten.length <= 1)
  }
})

test('a worker that could not create a layer, or load its parameters, creates it for the next call', async (t) => {
  const { workers, attention } = await openWorkers({ threads: 1 })
  await new attention.SelfAttention({ numHeads: 2, headDim: 8 }).forwardAsync(x)
  const [{ worker }] = workers
  const { post } = worker
  for (const spoil of [
    () => ({ config: '{}' }),
    (/** @type {{ data: Float32Array[] }} */ { data }) => ({ data: [data[0].subarray(1), ...data.slice(1)] })
  ]) {
    const layer = new attention.SelfAttention({ numHeads: 2, headDim: 8, seed: 1 })
    worker.post = (message, transfer) => {
      worker.post = post
      const make = message.call.make.map((/** @type {any} */ recipe) => ({ ...recipe, ...spoil(recipe) }))
      post({ call: { ...message.call, make } }, transfer)
    }
    t.not(/** @type {any} */ (await t.throwsAsync(layer.forwardAsync(x))).code, 'INTERNAL')
    t.is(bits((await layer.forwardAsync(x)).output), bits(layer.forward(x).output))
  }
  t.is(workers.length, 1)
})

test('if only some workers start, calls share those', async (t) => {
  const { workers, attention } = await openWorkers({ threads: 4, most: 2 })
  const q = normal([1, 4, 1024, 64], 1)
  const expected = bits(attention.scaledDotProductAttention(q, q, q).output)
  for (let repeat = 0; repeat < 2; repeat++) {
    const calls = Array.from({ length: 6 }, () => attention.scaledDotProductAttentionAsync(q, q, q))
    for (const { output } of await Promise.all(calls)) t.is(bits(output), expected)
  }
  t.deepEqual(attention.backend().rejected, [])
  // If no worker is left and none can start, this thread runs the call.
  for (const { worker } of workers) worker.end()
  await Promise.all(workers.map(({ ended }) => ended))
  t.is(bits((await attention.scaledDotProductAttentionAsync(q, q, q)).output), expected)
})

test('if no worker starts, calls run on the calling thread, and the backend reports why', async (t) => {
  const loaded = await loader.load('wasm')
  const refused = {
    candidate: 'workers of a test',
    open: () => {
      throw new Error('not today')
    }
  }
  const silent = {
    candidate: 'workers that end',
    open: (/** @type {any} */ { lost }) => {
      setTimeout(() => lost(new Error('ended at once')))
      return { post() {}, hold() {}, end() {} }
    }
  }
  const deaf = {
    candidate: 'workers that take no module',
    open: () => ({
      post() {
        throw new Error('not to be cloned')
      },
      hold() {},
      end() {}
    })
  }
  for (const spawns of [[], [refused], [silent, refused], [deaf]]) {
    const backend = new Backend(() => ({ ...loaded, spawns }))
    backend.start()
    const attention = /** @type {Attention} */ (/** @type {unknown} */ (createApi(backend)))
    const layer = new attention.SelfAttention({ numHeads: 2, headDim: 8, seed: 1 })
    const expected = bits(layer.forward(x).output)
    const first = [0, 1, 2].map(() => layer.forwardAsync(x))
    layer.loadStateDict(new attention.SelfAttention({ numHeads: 2, headDim: 8, seed: 2 }).stateDict())
    for (const { output } of await Promise.all(first)) t.is(bits(output), expected)
    t.is(bits((await layer.forwardAsync(x)).output), bits(layer.forward(x).output))
    const { threads, rejected } = attention.backend()
    t.is(threads, 1)
    t.is(rejected.length, Math.max(1, spawns.length))
    t.like(await t.throwsAsync(layer.forwardAsync(normal([3], 1))), { code: 'SHAPE' })
    const mismatched = attention.scaledDotProductAttentionAsync(x, normal([1, 4, 8], 1), x)
    t.like(await t.throwsAsync(mismatched), { code: 'SHAPE', argument: 'k' })
  }
})

onBothBackends((kind, attention) => {
  test(`${kind}: a failed allocation is a MEMORY error, and the next call works`, async (t) => {
    const expected = bits(attention.softmax(x))
    const cache = (/** @type {number} */ capacity) =>
      new attention.KVCache({ kvHeads: 1024, headDim: 1024, capacity }).dispose()
    for (const capacity of [2 ** 16, 2 ** 20, 2 ** 31 - 1]) t.is(faultOf(t, () => cache(capacity)).code, 'MEMORY')
    t.notThrows(() => cache(4))
    t.is(bits(attention.softmax(x)), expected)
    if (kind === 'native') return
    // Lengths beyond 32 bits; the pages are never touched.
    for (const length of [2 ** 29, 2 ** 30]) {
      const large = { data: new Float32Array(length), shape: [length] }
      t.is(faultOf(t, () => attention.softmax(large)).code, 'MEMORY')
    }
    const long = { data: new Float32Array(2 ** 15), shape: [1, 2 ** 15, 1] }
    const weights = () => attention.scaledDotProductAttention(long, long, long, { weights: true })
    t.is(faultOf(t, weights).code, 'MEMORY')
    t.is(bits(attention.softmax(x)), expected)
  })

  test(`${kind}: a process exits with 0 while calls are running`, async (t) => {
    // These calls would take a minute.
    const program = `const q = attention.createTensor(new Float32Array(32768 * 64), [1, 1, 32768, 64])
      for (let call = 0; call < 8; call++) attention.scaledDotProductAttentionAsync(q, q, q)
      setTimeout(() => process.exit(0), 30)`
    const start = performance.now()
    await t.notThrowsAsync(run(program, { env: { RUVECTOR_ATTENTION_BACKEND: kind } }))
    t.true(performance.now() - start < 30_000)
  })

  test(`${kind}: a process that only waits for its calls ends when they finish`, async (t) => {
    const program = `const q = attention.createTensor(new Float32Array(64), [1, 1, 8, 8])
      for (let call = 0; call < 8; call++) attention.scaledDotProductAttentionAsync(q, q, q).then(() => console.log('done'))`
    const { stdout } = await run(program, { env: { RUVECTOR_ATTENTION_BACKEND: kind } })
    t.is(stdout, 'done\n'.repeat(8))
  })

  test(`${kind}: fifty worker_threads end, or are terminated, during calls, and the process exits with 0`, async (t) => {
    const program = `import { Worker } from 'node:worker_threads'
      const text = \`import('@ruvector/attention').then((attention) => {
        const q = attention.createTensor(new Float32Array(8 * 512 * 64), [1, 8, 512, 64])
        for (let call = 0; call < 3; call++) attention.scaledDotProductAttentionAsync(q, q, q).catch(() => {})
        require('node:worker_threads').parentPort.postMessage('at work')
        if (require('node:worker_threads').workerData % 3 === 0) process.exit(0)
      })\`
      const one = (index) => new Promise((resolve, reject) => {
        const worker = new Worker(text, { eval: true, execArgv: [], workerData: index })
        worker.once('error', reject)
        worker.once('exit', resolve)
        worker.once('message', () => { if (index % 3 === 1) worker.terminate() })
      })
      for (let index = 0; index < 50; index += 5) await Promise.all([0, 1, 2, 3, 4].map((more) => one(index + more)))
      console.log('all ended')`
    const { stdout } = await run(program, { env: { RUVECTOR_ATTENTION_BACKEND: kind } })
    t.is(stdout, 'all ended\n')
  })
})

test('two copies of the package work in one process', async (t) => {
  const program = `import { cpSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs'
    import { tmpdir } from 'node:os'
    import { join } from 'node:path'
    import { pathToFileURL } from 'node:url'
    const copy = mkdtempSync(join(tmpdir(), 'attention-copy-'))
    for (const part of ['index.js', 'package.json', 'lib', 'packages']) cpSync(part, join(copy, part), { recursive: true })
    const other = await import(pathToFileURL(join(copy, 'index.js')))
    const q = attention.createTensor(new Float32Array(8 * 512 * 64).fill(0.5), [1, 8, 512, 64])
    const [one, two] = await Promise.all([attention, other].map((api) => api.scaledDotProductAttentionAsync(q, q, q)))
    console.log(attention.scaledDotProductAttention === other.scaledDotProductAttention, one.output.data.every((value, i) => value === two.output.data[i]))
    rmSync(copy, { recursive: true })`
  for (const backend of ['native', 'wasm']) {
    const { stdout } = await run(program, { env: { RUVECTOR_ATTENTION_BACKEND: backend } })
    t.is(stdout, 'false true\n')
  }
})

test('concurrent calls from four worker_threads give the same results as one thread', async (t) => {
  const program = `import { Worker } from 'node:worker_threads'
    const text = \`import('@ruvector/attention').then(async (attention) => {
      const layer = new attention.SelfAttention({ numHeads: 4, headDim: 16, seed: 3 })
      const sums = []
      for (let length = 1; length < 40; length++) {
        const x = attention.createTensor(Float32Array.from({ length: length * 64 }, (_, i) => Math.sin(i)), [1, length, 64])
        const results = await Promise.all([layer.forwardAsync(x), layer.forwardAsync(x), layer.forward(x)])
        sums.push(...results.map(({ output }) => Buffer.from(output.data.buffer).toString('base64')))
      }
      require('node:worker_threads').parentPort.postMessage(sums.join())
    })\`
    const one = () => new Promise((resolve, reject) => {
      new Worker(text, { eval: true, execArgv: [] }).once('error', reject).once('message', resolve)
    })
    const alone = await one()
    console.log((await Promise.all([one(), one(), one(), one()])).every((found) => found === alone))`
  for (const backend of ['native', 'wasm']) {
    const { stdout } = await run(program, { env: { RUVECTOR_ATTENTION_BACKEND: backend } })
    t.is(stdout, 'true\n')
  }
})
