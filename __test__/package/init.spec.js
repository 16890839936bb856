// Failures and repeated calls of init(), in the entries of Node and browsers: offline, wrong answers, concurrent calls.
import { readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { execFile, spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import test from 'ava'
import { build } from 'esbuild'
import { createCompat } from '../../lib/compat/index.js'
import { createEntry } from '../../lib/entries/entry.js'
import { createApi } from '../../lib/face/api.js'
import * as inlined from '../../packages/wasm/attention.inline.js'
import { openInlined } from '../../lib/loaders/inlined.js'
import { loader } from '../../lib/loaders/loader.js'
import { openSource } from '../../lib/loaders/wasm.js'
import { webLoader } from '../../lib/loaders/web.js'

/** @typedef {import('ava').ExecutionContext} T */

const root = fileURLToPath(new URL('../../', import.meta.url))
const bytes = readFileSync(new URL('../../packages/wasm/attention.simd.wasm', import.meta.url))
const one = { data: Float32Array.of(0, 0), shape: [2] }

/**
 * A server with a changeable response.
 *
 * @param {T} t
 * @param {(response: import('node:http').ServerResponse) => void} answer
 */
async function serve(t, answer) {
  const server = createServer((_, response) => answer(response))
  t.teardown(() => server.close())
  await new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve(undefined)))
  const { port } = /** @type {import('node:net').AddressInfo} */ (server.address())
  return { server, address: `http://127.0.0.1:${port}/attention.wasm` }
}

/** The entry of browsers, here without its own module. */
const browserEntry = () => createEntry(webLoader(openSource), createApi)
/** Node's entry, forced to WebAssembly, so that the given module counts. */
const nodeEntry = () => createEntry({ ...loader, load: (kind, wasm) => loader.load(kind ?? 'wasm', wasm) }, createApi)

/** Both sources of a module in a browser: inlined in the JavaScript, and fetched. */
const inlinedEntry = () =>
  createEntry(
    webLoader(() => openInlined(inlined)),
    createApi
  )

/**
 * Replaces a member until the test ends.
 *
 * @param {T} t
 * @param {any} object
 * @param {string} name
 * @param {unknown} value
 */
function stub(t, object, name, value) {
  const descriptor = /** @type {PropertyDescriptor} */ (Object.getOwnPropertyDescriptor(object, name))
  Object.defineProperty(object, name, { configurable: true, writable: true, value })
  t.teardown(() => Object.defineProperty(object, name, descriptor))
}

const refuse = async () => {
  throw new WebAssembly.CompileError('wasm-simd is not enabled')
}
/** @param {string} format */
function refusesFormat(format) {
  throw new TypeError(`Unsupported compression format: '${format}'`)
}
const withoutInflate = /import @ruvector\/attention\/external, which does not need it\.$/
const INFLATE =
  "DecompressionStream('deflate-raw'), which requires at least Chrome or Edge 103, Firefox 113, Safari 16.4,"

for (const [what, reason, remedy, change] of /** @type {[string, string, RegExp, (t: T) => void][]} */ ([
  ['DecompressionStream', INFLATE, withoutInflate, (t) => stub(t, globalThis, 'DecompressionStream', undefined)],
  ['its format deflate-raw', INFLATE, withoutInflate, (t) => stub(t, globalThis, 'DecompressionStream', refusesFormat)],
  [
    'Blob.stream',
    'Blob.stream, which requires at least Chrome 76, Edge 79, Firefox 69, Safari 14.1,',
    withoutInflate,
    (t) => stub(t, Blob.prototype, 'stream', undefined)
  ]
])) {
  test.serial(
    `where an engine lacks ${what}, the module in the JavaScript reports it, and a given module runs`,
    async (t) => {
      const entry = inlinedEntry()
      // Node could decompress without any of these.
      stub(t, process, 'getBuiltinModule', undefined)
      change(t)
      const { message = '' } = (await t.throwsAsync(entry.init(), { code: 'BACKEND' })) ?? {}
      t.true(message.includes(`the inlined module: this engine lacks ${reason}`), message)
      t.regex(message, remedy)
      const other = browserEntry()
      await other.init({ wasm: new Uint8Array(bytes) })
      t.deepEqual([...other.softmax(one).data], [0.5, 0.5])
    }
  )
}

test.serial("in a page, the plan's interface asks for init() first, with the plan's message", async (t) => {
  const { ruVector, WasmFlashAttention, WasmErrorInfo, memory_usage } = createCompat(inlinedEntry())
  const config = { numHeads: 1, headDim: 2 }
  for (const call of /** @type {(() => unknown)[]} */ ([
    () => ruVector.createScaledDotProduct(2),
    () => ruVector.createMultiHead(config),
    () => ruVector.createHyperbolic({ curvature: -1, numHeads: 1 }),
    () => ruVector.createLinear(2),
    () => ruVector.createCross(config),
    () => ruVector.createSelf(config),
    () => ruVector.createFlash(2),
    () => new WasmFlashAttention(2),
    () => ruVector.getMemoryUsage(),
    memory_usage
  ])) {
    const error = /** @type {any} */ (t.throws(call, { instanceOf: WasmErrorInfo }))
    t.is(error.message, 'RuVector WASM not initialized. Call init() first.')
    t.deepEqual([error.code, error.error_type], ['NOT_INITIALIZED', 'ComputationError'])
  }
  await ruVector.init()
  t.is(ruVector.createFlash(2).blockSize, 64)
  await ruVector.init()
})

test.serial('in an emulated DOM, whose blobs have no streams, the module in the JavaScript runs', async (t) => {
  const entry = inlinedEntry()
  stub(t, globalThis, 'Blob', undefined)
  stub(t, globalThis, 'DecompressionStream', undefined)
  await entry.init()
  t.deepEqual([...entry.softmax(one).data], [0.5, 0.5])
})

/**
 * Old engines, without WebAssembly or without one of its features. @type {[string, string, (t: T) => void][]}
 */
const early = [
  ['WebAssembly', 'WebAssembly, which requires', (t) => stub(t, globalThis, 'WebAssembly', undefined)],
  [
    'SIMD',
    'WebAssembly SIMD, which requires at least Chrome or Edge 91, Firefox 89, Safari 16.4,',
    (t) => {
      stub(t, WebAssembly, 'validate', () => false)
      stub(t, WebAssembly, 'compile', refuse)
    }
  ],
  [
    'reference types',
    'WebAssembly reference types, which requires at least Chrome or Edge 96, Firefox 79, Safari 15,',
    (t) => {
      const { validate } = WebAssembly
      // All but modules with a table.
      stub(
        t,
        WebAssembly,
        'validate',
        (/** @type {Uint8Array<ArrayBuffer>} */ probe) => probe[8] !== 4 && validate(probe)
      )
      stub(t, WebAssembly, 'compile', refuse)
    }
  ]
]
for (const [what, reason, change] of early) {
  test.serial(
    `where an engine lacks ${what}, every way to load a module reports it, with the first versions that have it`,
    async (t) => {
      const { address } = await serve(t, (response) => {
        response.writeHead(200, { 'content-type': 'application/octet-stream' }).end(bytes)
      })
      // Node itself compiles a module for its first fetch.
      await (await fetch(address)).arrayBuffer()
      change(t)
      const response = () => new Response(new Uint8Array(bytes), { headers: { 'content-type': 'text/plain' } })
      for (const init of [
        () => inlinedEntry().init(),
        () => browserEntry().init({ wasm: address }),
        () => browserEntry().init({ wasm: new Uint8Array(bytes) }),
        () => browserEntry().init({ wasm: response() })
      ]) {
        const { message = '' } = (await t.throwsAsync(init(), { code: 'BACKEND' })) ?? {}
        t.true(message.includes(`: this engine lacks ${reason}`), message)
        t.regex(message, /\nUpdate it\.$/)
      }
    }
  )
}

test.serial(
  'if no feature is missing, the reason is that of the engine, and the remedy is about a policy',
  async (t) => {
    stub(t, WebAssembly, 'compile', async () => {
      throw new WebAssembly.CompileError('unsafe-eval is not allowed')
    })
    const { message = '' } = (await t.throwsAsync(inlinedEntry().init(), { code: 'BACKEND' })) ?? {}
    t.regex(
      message,
      /the inlined module: unsafe-eval is not allowed\nUnder a content security policy, .*'wasm-unsafe-eval'/
    )
  }
)

for (const [name, make] of /** @type {const} */ ([
  ['of browsers', browserEntry],
  ['of Node', nodeEntry]
])) {
  test(`the entry ${name}: offline, init() names the address, and it starts once the server responds`, async (t) => {
    const entry = make()
    const { server, address } = await serve(t, (response) => {
      response.writeHead(200, { 'content-type': 'application/wasm' }).end(bytes)
    })
    const { port } = new URL(address)
    await new Promise((resolve) => server.close(resolve))
    const error = await t.throwsAsync(entry.init({ wasm: address }), { code: 'BACKEND' })
    t.regex(error?.message ?? '', /127\.0\.0\.1:\d+\/attention\.wasm/)
    await new Promise((resolve) => server.listen(Number(port), '127.0.0.1', () => resolve(undefined)))
    await entry.init({ wasm: address })
    t.deepEqual([...entry.softmax(one).data], [0.5, 0.5])
  })

  test(`the entry ${name}: concurrent calls of init() fetch once, fail together, and start together`, async (t) => {
    const entry = make()
    let [asked, isAvailable] = [0, false]
    const { address } = await serve(t, (response) => {
      asked++
      if (isAvailable) response.writeHead(200, { 'content-type': 'application/wasm' }).end(bytes)
      else response.writeHead(503, { 'content-type': 'text/plain' }).end('later')
    })
    const failed = await Promise.allSettled([1, 2, 3].map(() => entry.init({ wasm: address })))
    const reasons = failed.map((outcome) => (outcome.status === 'rejected' ? outcome.reason : undefined))
    t.is(reasons[0].code, 'BACKEND')
    t.regex(reasons[0].message, /status 503/)
    t.is(new Set(reasons).size, 1)
    t.is(asked, 1)
    isAvailable = true
    await Promise.all([1, 2, 3].map(() => entry.init({ wasm: address })))
    t.is(asked, 2)
    t.is(entry.backend().kind, 'wasm')
    await entry.init({ wasm: address })
    t.is(asked, 2, 'what has started does not start again')
  })

  test(`the entry ${name}: a module is accepted with a MIME type with charset, in capitals, and without one`, async (t) => {
    for (const type of ['application/wasm', 'application/wasm; charset=utf-8', 'Application/WASM', '']) {
      const { address } = await serve(t, (response) => {
        response.writeHead(200, type ? { 'content-type': type } : {}).end(bytes)
      })
      const entry = make()
      await entry.init({ wasm: address })
      t.deepEqual([...entry.softmax(one).data], [0.5, 0.5], type)
    }
  })

  test(`the entry ${name}: a Response that failed, or was already read, is rejected with the reason`, async (t) => {
    const read = new Response(new Uint8Array(bytes), { headers: { 'content-type': 'application/wasm' } })
    await read.arrayBuffer()
    for (const [wasm, reason] of /** @type {[any, RegExp][]} */ ([
      [new Response('no', { status: 404 }), /status 404/],
      [new Response('<!doctype html>', { headers: { 'content-type': 'text/html' } }), /got HTML instead/],
      [read, /./],
      [Promise.reject(new TypeError('fetch failed')), /fetch failed/]
    ])) {
      const entry = make()
      const error = await t.throwsAsync(entry.init({ wasm }), { code: 'BACKEND' })
      t.regex(error?.message ?? '', reason)
      await entry.init({ wasm: new Uint8Array(bytes) })
      t.is(entry.backend().kind, 'wasm')
    }
  })
}

test("the entry of Node: a call before init() has finished starts the package's own module, which stays", async (t) => {
  const entry = nodeEntry()
  const { address } = await serve(t, (response) => {
    setTimeout(() => response.writeHead(404).end(), 100)
  })
  const starting = entry.init({ wasm: address })
  t.deepEqual([...entry.softmax(one).data], [0.5, 0.5])
  await t.throwsAsync(starting, { code: 'BACKEND' })
  await entry.init()
  t.deepEqual([...entry.softmax(one).data], [0.5, 0.5])
})

test('the entry workerd.js: init() may be called at once and with a module; bytes that the runtime rejects are named', async (t) => {
  const contents = `import * as attention from './lib/entries/workerd.js'
    import module from './packages/wasm/attention.simd.wasm'
    const caught = (promise) => promise.then(() => 'nothing', ({ code, message }) => code + ' ' + message.split('\\n')[1].trim())
    // The runtime behaves this way.
    WebAssembly.compile = async () => { throw new WebAssembly.CompileError('Wasm code generation disallowed by embedder') }
    await Promise.all([attention.init(), attention.init({ wasm: module })])
    const other = await attention.loadBackend('wasm', { wasm: module })
    console.log(JSON.stringify([
      attention.backend().kind,
      other.backend().simd,
      await caught(attention.loadBackend('wasm', { wasm: new Uint8Array(8) })),
      await caught(attention.loadBackend('native'))
    ]))`
  const modules = /** @type {import('esbuild').Plugin} */ ({
    name: 'modules',
    setup({ onLoad }) {
      onLoad({ filter: /\.wasm$/ }, ({ path }) => ({
        contents: `import { readFileSync } from 'node:fs'; export default new WebAssembly.Module(readFileSync(${JSON.stringify(path)}))`
      }))
    }
  })
  const { outputFiles } = await build({
    stdin: { contents, resolveDir: root },
    bundle: true,
    write: false,
    platform: 'node',
    format: 'esm',
    plugins: [modules]
  })
  const running = promisify(execFile)(process.execPath, ['--input-type=module', '-'])
  // Longer than an argument may be.
  running.child.stdin?.end(outputFiles[0].text)
  const { stdout } = await running
  t.deepEqual(JSON.parse(stdout), [
    'wasm',
    'simd128',
    'BACKEND Uint8Array: Wasm code generation disallowed by embedder',
    'BACKEND native: this runtime does not load addons'
  ])
})

test('the entry of Node: if no variant can be compiled, init() lists each one tried', async (t) => {
  const program = `import { init } from '@ruvector/attention'
    // Node itself compiles small modules for fetch.
    for (const name of ['Module', 'compile']) {
      WebAssembly[name] = new Proxy(WebAssembly[name], {
        apply: (own, self, [bytes]) => (bytes.byteLength > 1e5 ? Promise.reject(new Error('no ' + name)) : own(bytes)),
        construct: (own, [bytes]) => { if (bytes.byteLength > 1e5) throw new Error('no ' + name); return new own(bytes) }
      })
    }
    await init().catch(({ code, message }) => console.log(code, message))`
  const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '--eval', program], {
    cwd: root,
    env: { ...process.env, RUVECTOR_ATTENTION_BACKEND: 'wasm' }
  })
  t.regex(stdout, /^BACKEND no backend/)
  t.regex(stdout, /attention\.simd\.wasm: no Module\n {2}the inlined module: no compile\nTo fix it/)
})

/** The message with which a call of `init()` fails in a separate process. @param {string} program */
function messageOf(program) {
  const { stdout, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', program], {
    cwd: root,
    encoding: 'utf8'
  })
  return stdout + stderr
}

test('the entry external.js: without the file, the message names it, the address and the option; for a given one, the option', (t) => {
  const message = messageOf(`globalThis.fetch = async () => new Response('no', { status: 404 })
process.getBuiltinModule = undefined
const { init } = await import('./lib/entries/external.js')
await init().catch((error) => console.log(error.code, error.message))
await init({ wasm: 'http://127.0.0.1/a.wasm' }).catch((error) => console.log(error.message))`)
  t.regex(message, /^BACKEND/)
  t.regex(message, /Copy attention\.simd\.wasm and attention\.relaxed\.patch from node_modules\/@ruvector\/attention\//)
  t.regex(message, /or tell init\(\{ wasm, patch \}\) where the files are/)
  t.regex(message, /Check `wasm` and `patch`: they must be/)
})

test('the entry browser.js in an Edge runtime: the message names the runtime, and what to do', (t) => {
  const message = messageOf(`globalThis.EdgeRuntime = 'edge-runtime'
WebAssembly.compile = async () => { throw new Error('not allowed') }
const { init } = await import('./lib/entries/browser.js')
await init().catch((error) => console.log(error.code, error.message))`)
  t.regex(message, /^BACKEND[^]*the Edge runtime compiles WebAssembly only while an app is built/)
  t.regex(message, /Use the runtime 'nodejs' for this route/)
})
