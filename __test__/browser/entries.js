// Registers tests of the entries, loaded by a page without a bundler.
import test from './ava.js'
import { smoke } from './smoke.js'

for (const name of ['browser', 'external']) {
  test(`the entry ${name}.js starts and computes as the server hands it out`, async (t) => {
    t.regex(await smoke(await import(`/lib/entries/${name}.js`)), /^(simd128|relaxed-simd)$/)
  })
}

test('the entry browser.js starts and computes in a module worker', async (t) => {
  const worker = new Worker('/__test__/browser/worker.js', { type: 'module' })
  t.teardown(() => worker.terminate())
  const answer = await new Promise((resolve, reject) => {
    worker.addEventListener('message', ({ data }) => resolve(data))
    worker.addEventListener('error', ({ message }) => reject(new Error(message || 'the worker did not load')))
  })
  t.is(answer.error, undefined)
})

test('the content security policy holds: text is not run as code', (t) => {
  t.throws(() => new Function('return 1'), { instanceOf: EvalError })
})

for (const { name, workers } of [
  // The page's policy forbids scripts from blobs, so this entry runs calls on the calling thread, and reports the
  // reason.
  { name: 'browser', workers: false },
  { name: 'external', workers: true }
]) {
  test(`asynchronous calls of the entry ${name}.js run ${workers ? 'on workers' : 'here'} under the strict policy`, async (t) => {
    const attention = await import(`/lib/entries/${name}.js`)
    await attention.init()
    const x = { data: Float32Array.of(1, 2, 3, 4), shape: [1, 2, 2] }
    const { output } = await attention.scaledDotProductAttentionAsync(x, x, x)
    t.deepEqual(output, attention.scaledDotProductAttention(x, x, x).output)
    const { threads, rejected } = attention.backend()
    t.is(threads > 1, workers)
    t.is(rejected.length, workers ? 0 : 1)
    if (!workers) t.regex(rejected[0].error.message, /content security policy/)
  })
}

test('where an engine refuses workers at once, as WebKit does, calls run here and the reason is reported', async (t) => {
  const attention = await import(/** @type {string} */ ('/lib/entries/browser.js'))
  const { Worker } = globalThis
  globalThis.Worker = /** @type {any} */ (
    function refuse() {
      throw new DOMException('The operation is insecure.', 'SecurityError')
    }
  )
  t.teardown(() => (globalThis.Worker = Worker))
  const own = await attention.loadBackend('wasm')
  const x = { data: Float32Array.of(1, 2, 3, 4), shape: [1, 2, 2] }
  const { output } = await own.scaledDotProductAttentionAsync(x, x, x)
  t.deepEqual(output, own.scaledDotProductAttention(x, x, x).output)
  const { threads, rejected } = own.backend()
  t.is(threads, 1)
  t.is(rejected[0].error.message, 'The operation is insecure: a content security policy may forbid it')
})

test('where a page comes in place of the module, external.js says so with its address, and starts with another one', async (t) => {
  const entry = await import(/** @type {string} */ ('/without-wasm/lib/entries/external.js'))
  const error = await t.throwsAsync(entry.init(), { code: 'BACKEND' })
  t.regex(error.message, /without-wasm\/packages\/wasm\/attention\.\w+\.wasm.*got HTML instead of WebAssembly/)
  t.throws(() => entry.softmax(entry.createTensor([1], [1])), { code: 'NOT_INITIALIZED' })
  const missing = await t.throwsAsync(entry.init({ wasm: '/lib/no-such.wasm' }), { code: 'BACKEND' })
  t.regex(missing.message, /no-such\.wasm.*status 404/)
  const [wasm, patch] = ['simd.wasm', 'relaxed.patch'].map((name) => fetch(`/packages/wasm/attention.${name}`))
  await entry.init({ wasm, patch })
  t.regex(entry.backend().simd, /^(simd128|relaxed-simd)$/)
})

for (const { lacking, stub, reason } of [
  {
    lacking: 'DecompressionStream',
    stub: undefined,
    reason: /DecompressionStream\('deflate-raw'\).*Chrome or Edge 103/
  },
  {
    lacking: 'the format deflate-raw',
    stub() {
      throw new TypeError('Unsupported compression format')
    },
    reason: /DecompressionStream\('deflate-raw'\).*Firefox 113/
  }
]) {
  test(`where a page lacks ${lacking}, browser.js says so, and external.js starts`, async (t) => {
    const [browser, external] = await Promise.all(
      ['browser', 'external'].map((name) => import(/** @type {string} */ (`/lib/entries/${name}.js`)))
    )
    const { DecompressionStream } = globalThis
    t.teardown(() => Object.assign(globalThis, { DecompressionStream }))
    Object.assign(globalThis, { DecompressionStream: stub })
    const error = await t.throwsAsync(browser.loadBackend('wasm'), { code: 'BACKEND', message: reason })
    t.regex(error.message, /attention\/external/)
    t.is((await external.loadBackend('wasm')).backend().kind, 'wasm')
  })
}

test('init({ log }) of a page has a line for the backend and one for each call', async (t) => {
  const entry = await import(/** @type {string} */ ('/lib/entries/external.js'))
  /** @type {string[]} */
  const lines = []
  await entry.init({ log: (/** @type {string} */ line) => lines.push(line) })
  const x = { data: Float32Array.of(1, 2), shape: [1, 1, 2] }
  entry.softmax(x)
  await entry.scaledDotProductAttentionAsync(x, x, x)
  t.regex(
    lines.join('\n'),
    /wasm \((simd128|relaxed-simd)\), \d+ threads?, version .*\n.*softmax \[1,1,2\]: [\d.]+ ms\n/
  )
  t.regex(lines.at(-1) ?? '', /scaledDotProductAttention \[1,1,2\] \[1,1,2\] \[1,1,2\] elsewhere: [\d.]+ ms$/)
})
