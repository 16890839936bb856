// Registers the tests of the entries as a page loads them without a bundler.
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
  // The page's policy forbids scripts from blobs: this entry's calls run on the calling thread, and it says why.
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

test('where a page comes in place of the module, external.js says so with its address, and starts with another one', async (t) => {
  const entry = await import(/** @type {string} */ ('/without-wasm/lib/entries/external.js'))
  const error = await t.throwsAsync(entry.init(), { code: 'BACKEND' })
  t.regex(error.message, /without-wasm\/packages\/wasm\/attention\.\w+\.wasm.*HTML came instead of WebAssembly/)
  t.throws(() => entry.softmax(entry.createTensor([1], [1])), { code: 'NOT_INITIALIZED' })
  const missing = await t.throwsAsync(entry.init({ wasm: '/lib/no-such.wasm' }), { code: 'BACKEND' })
  t.regex(missing.message, /no-such\.wasm.*status 404/)
  await entry.init({ wasm: fetch('/packages/wasm/attention.simd.wasm') })
  t.is(entry.backend().simd, 'simd128')
})
