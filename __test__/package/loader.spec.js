// Backend selection: forced, missing, broken, of another version, bundled; and the options and errors of init().
import { execFile } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { createRequire } from 'node:module'
import { availableParallelism, tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { promisify } from 'node:util'
import test from 'ava'
import { build } from 'esbuild'
import * as contract from '@ruvector/attention'
import { createEntry } from '../../lib/entries/entry.js'
import { createApi } from '../../lib/face/api.js'
import { platformTriple } from '../../lib/loaders/platform.js'
import { openSource } from '../../lib/loaders/wasm.js'
import { webLoader } from '../../lib/loaders/web.js'

/** @typedef {import('@ruvector/attention').AttentionError} AttentionError */

const root = fileURLToPath(new URL('../../', import.meta.url))
const { version, dependencies, scripts } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
const addon = join(root, `packages/native/attention.${platformTriple()}.node`)
const simd = join(root, 'packages/wasm/attention.simd.wasm')

/**
 * Runs a program in a separate process, with the package as `attention`, and returns what it reports.
 *
 * @param {string} program  calls `report` once
 * @param {{ env?: Record<string, string>, folder?: string, start?: string, flags?: readonly string[] }} [how]
 * @returns {Promise<any>}
 */
async function run(
  program,
  { env = {}, folder = root, start = "import * as attention from '@ruvector/attention'", flags = [] } = {}
) {
  const helpers = `const report = (value) => console.log(JSON.stringify(value))
    const caught = (call) => { try { call() } catch ({ name, code, message, argument }) { return { name, code, message, argument } } }
    const one = attention.createTensor([1, 2], [2])
    const ran = () => attention.softmax(one).data.length === 2`
  const { RUVECTOR_ATTENTION_BACKEND: _, RUVECTOR_ATTENTION_NATIVE_PATH: __, ...inherited } = process.env
  const type = start.startsWith('import') ? 'module' : 'commonjs'
  const code =
    type === 'module' ? `${start}\n${helpers}\n${program}` : `${start}\n${helpers};(async () => { ${program} })()`
  const { stdout } = await promisify(execFile)(process.execPath, [...flags, `--input-type=${type}`, '--eval', code], {
    cwd: folder,
    env: { ...inherited, ...env }
  })
  return JSON.parse(stdout)
}

const tellBackend = `report({ ran: ran(), ...attention.backend(), rejected: attention.backend().rejected.map(({ candidate, error }) => ({ candidate, message: error.message })) })`

/**
 * A copy of the package as npm installs it, but without native code, in a folder that is removed when the test ends.
 *
 * @param {import('ava').ExecutionContext} t
 */
function installed(t) {
  const folder = mkdtempSync(join(tmpdir(), 'attention-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  const home = join(folder, 'node_modules/@ruvector/attention')
  for (const path of ['index.js', 'package.json', 'lib', 'packages/wasm']) {
    cpSync(join(root, path), join(home, path), { recursive: true })
  }
  return { folder, home }
}

test('in a clone, the local build runs, and nothing is rejected', async (t) => {
  const { kind, rejected, version: found, ran, threads } = await run(tellBackend)
  t.deepEqual({ kind, rejected, found, ran }, { kind: 'native', rejected: [], found: version, ran: true })
  t.true(threads >= 1)
})

for (const kind of ['native', 'wasm']) {
  test(`RUVECTOR_ATTENTION_BACKEND=${kind} forces the backend`, async (t) => {
    t.like(await run(tellBackend, { env: { RUVECTOR_ATTENTION_BACKEND: kind } }), { kind, rejected: [], ran: true })
  })
}

test('an unknown RUVECTOR_ATTENTION_BACKEND is rejected by the first call and not by the import', async (t) => {
  const error = await run('report(caught(ran))', { env: { RUVECTOR_ATTENTION_BACKEND: 'gpu' } })
  t.like(error, { name: 'AttentionError', code: 'BACKEND', argument: 'RUVECTOR_ATTENTION_BACKEND' })
  t.regex(error.message, /'native' or 'wasm', got "gpu"/)
})

/**
 * Runs a program with a value of RUVECTOR_ATTENTION_DEBUG, and returns its standard error.
 *
 * @param {string} value
 * @param {string} program
 */
async function written(value, program, env = {}) {
  const code = `import * as attention from '@ruvector/attention'
    const one = attention.createTensor([1, 2], [2])
    ${program}`
  const { stderr } = await promisify(execFile)(process.execPath, ['--input-type=module', '--eval', code], {
    cwd: root,
    env: { ...process.env, RUVECTOR_ATTENTION_DEBUG: value, ...env }
  })
  return stderr
}

for (const kind of ['native', 'wasm']) {
  test(`${kind}: RUVECTOR_ATTENTION_DEBUG=1 writes the backend and each operation to standard error, from the first call on`, async (t) => {
    const env = { RUVECTOR_ATTENTION_BACKEND: kind }
    t.regex(
      await written('1', 'attention.softmax(one); await attention.init(); attention.gelu(one)', env),
      new RegExp(
        String.raw`^ruvector-attention: ${kind} \([\w-]+\), \d+ threads?, version ${version}
ruvector-attention: softmax \[2\]: \d+\.\d{3} ms
ruvector-attention: gelu \[2\]: \d+\.\d{3} ms
$`
      )
    )
    for (const value of ['', '0']) t.is(await written(value, 'attention.softmax(one)', env), '')
  })
}

test('RUVECTOR_ATTENTION_DEBUG=1 writes one line per skipped candidate, and one if no backend is found', async (t) => {
  const env = { RUVECTOR_ATTENTION_NATIVE_PATH: '/no/such.node' }
  const [first, second] = (await written('1', 'attention.softmax(one)', env)).split('\n')
  t.regex(first, /^ruvector-attention: rejected \/no\/such\.node: Cannot find module/)
  t.regex(second, /^ruvector-attention: wasm /)
  const program = `for (const call of [() => attention.softmax(one), () => attention.init()]) await (async () => call())().catch(() => {})`
  const lines = (await written('1', program, { ...env, RUVECTOR_ATTENTION_BACKEND: 'native' })).trimEnd().split('\n')
  t.is(lines.length, 2)
  for (const line of lines) t.regex(line, /^ruvector-attention: no backend: \/no\/such\.node: Cannot find module/)
})

test('RUVECTOR_ATTENTION_DEBUG=1 applies to loadBackend too, unless that has its own log', async (t) => {
  const program = `const log = (line) => console.error('own ' + line.split(' ')[1])
    for (const options of [{}, { log }]) (await attention.loadBackend('wasm', options)).softmax(one)`
  const lines = (await written('1', program)).trimEnd().split('\n')
  t.deepEqual(lines.slice(2), ['own wasm', 'own softmax'])
  t.regex(lines[1], /^ruvector-attention: softmax \[2\]: /)
})

test('an unknown RUVECTOR_ATTENTION_DEBUG is rejected when a backend starts, and not by the import', async (t) => {
  const program = `const rejection = (promise) => promise.then(() => 'none', ({ code, argument, message }) => ({ code, argument, message }))
    report([caught(ran), await rejection(attention.init()), await rejection(attention.loadBackend('wasm'))])`
  for (const error of await run(program, { env: { RUVECTOR_ATTENTION_DEBUG: 'yes' } })) {
    t.like(error, { code: 'BACKEND', argument: 'RUVECTOR_ATTENTION_DEBUG' })
    t.regex(error.message, /expected '0' or '1', got "yes"/)
  }
})

test('init({ log }) reports a backend that already runs, and a later log replaces an earlier one', async (t) => {
  const program = `const [first, second] = [[], []]
    ran()
    const log = (line) => first.push(line.split(' ')[1])
    await attention.init({ log })
    await attention.init({ log })
    ran()
    await attention.init({ log: (line) => second.push(line.split(' ')[1]), threads: 1 })
    ran()
    report({ first, second })`
  const { first, second } = await run(program, { env: { RUVECTOR_ATTENTION_BACKEND: 'wasm' } })
  t.deepEqual({ first, second }, { first: ['wasm', 'softmax'], second: ['wasm', 'softmax'] })
})

test('RUVECTOR_ATTENTION_NATIVE_PATH is loaded exclusively', async (t) => {
  t.like(await run(tellBackend, { env: { RUVECTOR_ATTENTION_NATIVE_PATH: addon } }), { kind: 'native', rejected: [] })
  const missing = join(tmpdir(), 'no-such.node')
  const found = await run(tellBackend, { env: { RUVECTOR_ATTENTION_NATIVE_PATH: missing } })
  t.like(found, { kind: 'wasm', ran: true, threads: availableParallelism() })
  t.is(found.rejected.length, 1)
  t.is(found.rejected[0].candidate, missing)
  t.regex(found.rejected[0].message, /Cannot find module/)
})

test('an addon that cannot be loaded, or is of another version, is skipped with the reason', async (t) => {
  const { folder } = installed(t)
  const broken = join(folder, 'broken.node')
  writeFileSync(broken, 'no addon')
  const old = join(folder, 'old.cjs')
  writeFileSync(old, "exports.version = () => '0.0.1'")
  for (const [path, reason] of /** @type {const} */ ([
    [broken, /./],
    [old, new RegExp(`version 0\\.0\\.1.*version ${version.replaceAll('.', '\\.')}`)]
  ])) {
    const { kind, rejected } = await run(tellBackend, { env: { RUVECTOR_ATTENTION_NATIVE_PATH: path } })
    t.is(kind, 'wasm')
    t.is(rejected[0].candidate, path)
    t.regex(rejected[0].message, reason)
  }
})

test('if native is forced and none loads, each call throws BACKEND with every reason and the fix', async (t) => {
  const env = { RUVECTOR_ATTENTION_BACKEND: 'native', RUVECTOR_ATTENTION_NATIVE_PATH: '/no/such.node' }
  const program = `report([caught(ran), caught(() => attention.backend()), await attention.init().catch((error) => ({ ...error, message: error.message })), one.shape])`
  const [first, second, third, shape] = await run(program, { env })
  for (const error of [first, second, third]) {
    t.is(error.code, 'BACKEND')
    t.regex(error.message, /\/no\/such\.node: Cannot find module/)
    t.regex(error.message, /npm install @ruvector\/attention-\S+@\d.* npm run build/)
  }
  t.deepEqual(shape, [2])
})

test('installed without native code, the package runs on WebAssembly and reports the missing addon', async (t) => {
  const { folder } = installed(t)
  const { kind, ran, rejected } = await run(tellBackend, { folder })
  t.deepEqual({ kind, ran }, { kind: 'wasm', ran: true })
  const candidates = rejected.map((/** @type {any} */ { candidate }) => candidate)
  t.deepEqual(candidates, [
    `packages/native/attention.${platformTriple()}.node`,
    `@ruvector/attention-${platformTriple()}`
  ])
})

test("installed with its platform's package, the package runs native code", async (t) => {
  const { folder } = installed(t)
  const platform = join(folder, `node_modules/@ruvector/attention-${platformTriple()}`)
  mkdirSync(platform)
  cpSync(addon, join(platform, 'attention.node'))
  writeFileSync(join(platform, 'package.json'), JSON.stringify({ main: 'attention.node', version }))
  t.like(await run(tellBackend, { folder }), { kind: 'native', ran: true, rejected: [] })
})

test('a RUVECTOR_ATTENTION_SIMD that this machine does not have is an error, not another instruction set', async (t) => {
  for (const level of ['foo', process.arch === 'x64' ? 'neon' : 'avx2']) {
    const env = { RUVECTOR_ATTENTION_SIMD: level, RUVECTOR_ATTENTION_BACKEND: 'native' }
    for (const error of await run('report([caught(ran), caught(() => attention.backend())])', { env })) {
      t.like(error, { code: 'BACKEND', argument: 'RUVECTOR_ATTENTION_SIMD' })
      t.regex(error.message, new RegExp(`'portable', .* got "${level}"`))
    }
  }
  const env = { RUVECTOR_ATTENTION_SIMD: 'portable', RUVECTOR_ATTENTION_BACKEND: 'native' }
  t.like(await run('report({ simd: attention.backend().simd })', { env }), { simd: 'portable' })
})

test('detecting the C library contacts no name server, and leaves the report settings unchanged', async (t) => {
  const program = `const { platformTriple } = await import(${JSON.stringify(new URL('../../lib/loaders/platform.js', import.meta.url).href)})
    const { getBuiltinModule } = process
    process.getBuiltinModule = (name) => (name === 'node:fs' ? { readFileSync() { throw new Error('no such file') } } : getBuiltinModule(name))
    const seen = []
    process.report.getReport = () => {
      seen.push(process.report.excludeNetwork)
      if (seen.length === 2) throw new Error('no report')
      return { header: { glibcVersionRuntime: '2.36' } }
    }
    process.report.excludeNetwork = false
    report({ names: [platformTriple(), platformTriple()], seen, after: process.report.excludeNetwork })`
  const { names, seen, after } = await run(program)
  if (process.platform !== 'linux') return t.pass()
  t.deepEqual(names, [`linux-${process.arch}-gnu`, `linux-${process.arch}-gnu`])
  t.deepEqual({ seen, after }, { seen: [true, true], after: false })
})

test('installed without any backend, importing works and the first call lists every candidate', async (t) => {
  const { folder, home } = installed(t)
  rmSync(join(home, 'packages/wasm/attention.simd.wasm'))
  const { code, message } = await run('report(caught(ran))', { folder })
  t.is(code, 'BACKEND')
  for (const candidate of ['packages/native', `@ruvector/attention-${platformTriple()}`, 'attention.simd.wasm']) {
    t.true(message.includes(candidate), message)
  }
})

test('if the environment may not be read, as in Deno, the package still finds a backend', async (t) => {
  const program = `const { env } = process
    process.env = new Proxy(env, {
      get(env, name) {
        if (String(name).startsWith('RUVECTOR_')) throw new Error('NotCapable')
        return env[name]
      }
    })
    const found = attention.backend()
    process.env = env
    report({ kind: found.kind, rejected: found.rejected.length })`
  const found = await run(program, { env: { RUVECTOR_ATTENTION_BACKEND: 'wasm' } })
  t.deepEqual(found, { kind: 'native', rejected: 0 })
})

test('if the engine supports relaxed SIMD, that variant runs', async (t) => {
  const program = `const { variants } = await import('./lib/loaders/wasm.js')
    report({ variants: variants(), simd: attention.backend().simd, ran: ran() })`
  const flags = Number(process.versions.node.split('.')[0]) < 22 ? ['--experimental-wasm-relaxed-simd'] : []
  const found = await run(program, { env: { RUVECTOR_ATTENTION_BACKEND: 'wasm' }, flags })
  t.deepEqual(found, { variants: ['relaxed', 'simd'], simd: 'relaxed-simd', ran: true })
})

test("each machine's package is named after its platform, processor and C library", async (t) => {
  const alpine = '#!/bin/sh\nexec /lib/ld-musl-x86_64.so.1 --list "$@"\n'
  const debian = '#! /bin/bash\n# This file is part of the GNU C Library.\nGNU libc\n'
  const machines = /** @type {[string, string, string | null, string | undefined, string][]} */ ([
    ['linux', 'x64', alpine, '2.36', 'linux-x64-musl'],
    ['linux', 'arm64', debian, undefined, 'linux-arm64-gnu'],
    // Without a script `ldd`, or if it names no C library, the process report decides.
    ['linux', 'x64', null, '2.36', 'linux-x64-gnu'],
    ['linux', 'x64', null, undefined, 'linux-x64-musl'],
    ['linux', 'arm64', '#!/bin/sh\n', undefined, 'linux-arm64-musl'],
    ['darwin', 'arm64', null, undefined, 'darwin-arm64'],
    ['win32', 'x64', null, undefined, 'win32-x64-msvc']
  ])
  const program = `const { platformTriple } = await import('./lib/loaders/platform.js')
    const fs = process.getBuiltinModule('node:fs')
    const be = (name, value) => Object.defineProperty(process, name, { value })
    report(${JSON.stringify(machines)}.map(([platform, arch, ldd, glibcVersionRuntime]) => {
      be('platform', platform)
      be('arch', arch)
      be('report', { getReport: () => ({ header: { glibcVersionRuntime } }) })
      fs.readFileSync = () => { if (ldd === null) throw new Error('ENOENT'); return ldd }
      return platformTriple()
    }))`
  t.deepEqual(
    await run(program),
    machines.map(([, , , , triple]) => triple)
  )
})

test('require() loads the package like import', async (t) => {
  const start = "const attention = require('@ruvector/attention')"
  t.like(await run(tellBackend, { start }), { kind: 'native', ran: true })
  const required = createRequire(import.meta.url)('@ruvector/attention')
  t.is(required.scaledDotProductAttention, contract.scaledDotProductAttention)
})

test('loadBackend gives both backends in one process, each with its own threads', async (t) => {
  const program = `const [a, b, c] = await Promise.all([attention.loadBackend('native', { threads: 3 }), attention.loadBackend('native'), attention.loadBackend('wasm', { threads: 2 })])
    const shown = [a, b, c, attention].map((api) => [api.backend().kind, api.backend().threads])
    report({ shown, results: [a, b, c].map((api) => [...api.softmax(one).data]) })`
  const { shown, results } = await run(program)
  t.deepEqual(shown[0], ['native', 3])
  t.deepEqual(shown[1], shown[3])
  t.deepEqual(shown[2], ['wasm', 2])
  t.deepEqual(results[0], results[1])
})

test('loadBackend ignores the backend forced for the default API', async (t) => {
  const program = `const api = await attention.loadBackend('native'); report([api.backend().kind, attention.backend().kind])`
  t.deepEqual(await run(program, { env: { RUVECTOR_ATTENTION_BACKEND: 'wasm' } }), ['native', 'wasm'])
})

test('loadBackend and init reject unknown options', async (t) => {
  const { init, loadBackend } = /** @type {any} */ (contract)
  for (const [call, code, argument] of /** @type {[() => Promise<unknown>, string, string][]} */ ([
    [() => loadBackend('gpu'), 'OPTION', 'kind'],
    [() => loadBackend(), 'OPTION', 'kind'],
    [() => loadBackend('wasm', { thread: 2 }), 'OPTION', 'thread'],
    [() => loadBackend('wasm', { threads: 0 }), 'OPTION', 'threads'],
    [() => loadBackend('wasm', { threads: 1.5 }), 'OPTION', 'threads'],
    [() => loadBackend('wasm', { threads: '2' }), 'OPTION', 'threads'],
    [() => loadBackend('wasm', { wasm: 5 }), 'OPTION', 'wasm'],
    [() => loadBackend('native', { wasm: simd }), 'OPTION', 'wasm'],
    [() => init({ threads: NaN }), 'OPTION', 'threads'],
    [() => loadBackend('wasm', { log: 'console' }), 'OPTION', 'log'],
    [() => init({ log: {} }), 'OPTION', 'log'],
    [() => init({ worker: true }), 'OPTION', 'worker'],
    [() => init({ amx: 1 }), 'OPTION', 'amx'],
    [() => init('wasm'), 'OPTION', 'options']
  ])) {
    const error = await t.throwsAsync(call, { name: 'AttentionError', code })
    t.is(/** @type {AttentionError} */ (error).argument, argument, error?.message)
  }
})

test('init is optional, can be called again, and sets the threads', async (t) => {
  const program = `const before = ran(); await attention.init(); await attention.init({ threads: 3 }); await attention.init()
    report([before, attention.backend().threads, ran()])`
  t.deepEqual(await run(program), [true, 3, true])
})

test('init({ amx: true }) uses AMX, or gives the reason why not', async (t) => {
  const program = `await attention.init(); await attention.init({ amx: true })
    const reasons = (api) => api.backend().rejected.filter(({ candidate }) => candidate === 'amx')
    const wasm = await attention.loadBackend('wasm', { amx: true })
    report([attention.backend().simd, ...[attention, wasm].map((api) => reasons(api).map(({ error }) => error.message))])`
  const [level, native, wasm] = await run(program, { env: { RUVECTOR_ATTENTION_BACKEND: 'native' } })
  t.is(native.length, level === 'amx' ? 0 : 1)
  for (const reason of native) t.regex(reason, /^AMX is not in use: \w/)
  t.deepEqual(wasm, ['AMX is not in use: only native code has it'])
})

test('a RUVECTOR_ATTENTION_SIMD of amx is an error without AMX, and its emulation is as exact as vectors', async (t) => {
  const program = `const numbers = (seed, ...shape) => attention.createTensor(
      Float32Array.from({ length: shape.reduce((a, b) => a * b) }, (_, i) => Math.sin(seed + i * i)), shape)
    const [x, weight] = [numbers(0, 40, 96), numbers(1, 48, 96)]
    const [q, k, v] = [numbers(2, 1, 2, 40, 64), numbers(3, 1, 2, 70, 64), numbers(4, 1, 2, 70, 64)]
    const compute = (api) => [api.linear(x, weight), api.scaledDotProductAttention(q, k, v, { causal: true }).output]
    const [found, expected] = [attention, await attention.loadBackend('wasm')].map(compute)
    const largest = (values) => Math.max(...values.map(Math.abs))
    report({ simd: attention.backend().simd, errors: found.map(({ data }, i) =>
      largest(data.map((value, at) => value - expected[i].data[at])) / largest(data)) })`
  const env = { RUVECTOR_ATTENTION_BACKEND: 'native', RUVECTOR_ATTENTION_SIMD: 'amx-emulated' }
  const { simd, errors } = await run(program, { env })
  t.is(simd, 'amx-emulated')
  for (const error of errors) t.true(error > 0 && error < 1e-6, String(error))
  const level = 'report([caught(() => attention.backend().simd)])'
  const [real] = await run(level, { env: { ...env, RUVECTOR_ATTENTION_SIMD: 'amx' } })
  if (real !== 'amx') t.like(real, { code: 'BACKEND', argument: 'RUVECTOR_ATTENTION_SIMD' })
})

const module = new WebAssembly.Module(readFileSync(simd))
const bytes = () => new Uint8Array(readFileSync(simd))

for (const [title, source] of /** @type {[string, () => any][]} */ ([
  ['a path', () => simd],
  ['a file URL', () => pathToFileURL(simd)],
  ['the text of a file URL', () => pathToFileURL(simd).href],
  ['a Uint8Array', bytes],
  ['a view into a larger buffer', () => new Uint8Array([7, 7, 7, ...bytes()]).subarray(3)],
  ['an ArrayBuffer', () => bytes().buffer],
  ['a Response of the right type', () => new Response(bytes(), { headers: { 'content-type': 'application/wasm' } })],
  ['a Response of another type', () => new Response(bytes(), { headers: { 'content-type': 'text/plain' } })],
  ['a promise of a Response', async () => new Response(bytes())],
  ['a compiled module', () => module],
  ['a data URL', () => `data:application/wasm;base64,${readFileSync(simd, 'base64')}`]
])) {
  test(`WebAssembly is loaded from ${title}`, async (t) => {
    const api = await contract.loadBackend('wasm', { wasm: source() })
    t.is(api.backend().simd, 'simd128')
    t.deepEqual([...api.softmax({ data: Float32Array.of(0, 0), shape: [2] }).data], [0.5, 0.5])
  })
}

/**
 * A server with a fixed response per path.
 *
 * @param {import('ava').ExecutionContext} t
 */
async function serve(t) {
  const server = createServer(({ url = '/' }, response) => {
    const send = (/** @type {number} */ status, /** @type {string} */ type, /** @type {string | Uint8Array} */ body) =>
      response.writeHead(status, { 'content-type': type }).end(body)
    if (url === '/right.wasm') return send(200, 'application/wasm', bytes())
    if (url === '/plain.wasm') return send(200, 'application/octet-stream', bytes())
    if (url === '/page.wasm') return send(200, 'text/html', '<!doctype html><title>Home</title>')
    if (url === '/lying.wasm') return send(200, 'application/wasm', '<!doctype html><title>Home</title>')
    if (url === '/cut.wasm') return send(200, 'application/octet-stream', bytes().subarray(0, 1000))
    return send(404, 'text/html', '<h1>Not found</h1>')
  })
  t.teardown(() => server.close())
  await new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve(undefined)))
  return `http://127.0.0.1:${/** @type {import('node:net').AddressInfo} */ (server.address()).port}`
}

test('WebAssembly is fetched by URL with any MIME type', async (t) => {
  const address = await serve(t)
  for (const url of [`${address}/right.wasm`, new URL(`${address}/plain.wasm`)]) {
    const api = await contract.loadBackend('wasm', { wasm: url })
    t.is(api.backend().kind, 'wasm')
  }
})

test('anything but WebAssembly of this version is rejected with BACKEND, naming its address and the reason', async (t) => {
  const address = await serve(t)
  const empty = Uint8Array.of(0, 97, 115, 109, 1, 0, 0, 0)
  for (const [wasm, candidate, reason] of /** @type {[any, RegExp, RegExp][]} */ ([
    [`${address}/page.wasm`, /page\.wasm/, /got HTML instead of WebAssembly/],
    [`${address}/lying.wasm`, /lying\.wasm/, /./],
    [`${address}/cut.wasm`, /cut\.wasm/, /./],
    [`${address}/none.wasm`, /none\.wasm/, /status 404/],
    ['http://127.0.0.1:1/closed.wasm', /closed\.wasm/, /./],
    ['no-such.wasm', /no-such\.wasm/, /ENOENT/],
    [new Uint8Array(10), /Uint8Array/, /./],
    [new TextEncoder().encode('  <html>'), /Uint8Array/, /got HTML/],
    [empty, /Uint8Array/, /./],
    [new WebAssembly.Module(empty), /WebAssembly\.Module/, /./]
  ])) {
    const error = await t.throwsAsync(() => contract.loadBackend('wasm', { wasm }), { code: 'BACKEND' })
    t.regex(error?.message ?? '', candidate)
    t.regex(error?.message ?? '', reason)
  }
})

// ── Entries for browsers, run here ───────────────────────────────────────────────────────────────────────────────────

const one = { data: Float32Array.of(0, 0), shape: [2] }

test('before init every call of a browser entry throws NOT_INITIALIZED, but tensors are created, saved and loaded', async (t) => {
  const entry = createEntry(webLoader(openSource), createApi)
  const config = { numHeads: 1, headDim: 2 }
  for (const call of [
    () => entry.softmax(one),
    () => entry.scaledDotProductAttention(one, one, one),
    () => entry.backend(),
    () => new entry.SelfAttention(config)
  ]) {
    const error = t.throws(call, { code: 'NOT_INITIALIZED' })
    t.regex(error?.message ?? '', /await init\(\)/)
  }
  t.deepEqual(entry.createTensor([0, 0], [2]), one)
  t.deepEqual(entry.loadSafetensors(entry.saveSafetensors({ one })), { one })
  await entry.init({ wasm: module })
  t.deepEqual([...entry.softmax(one).data], [0.5, 0.5])
  t.is(new entry.SelfAttention(config).numParameters, 24)
})

test('concurrent calls of init share one promise, and a failed one can be retried', async (t) => {
  let opened = 0
  const entry = createEntry(
    webLoader((source) => (opened++, openSource(source))),
    createApi
  )
  const failing = [entry.init({ wasm: 'no-such.wasm' }), entry.init({ wasm: 'no-such.wasm' })]
  t.is(failing[0], failing[1])
  await t.throwsAsync(failing[0], { code: 'BACKEND', message: /no-such\.wasm/ })
  t.throws(() => entry.softmax(one), { code: 'NOT_INITIALIZED' })
  const starting = [entry.init({ wasm: module }), entry.init({ wasm: module })]
  t.is(starting[0], starting[1])
  await Promise.all(starting)
  await entry.init({ wasm: 'no-such.wasm' })
  t.is(opened, 2)
  t.deepEqual([...entry.softmax(one).data], [0.5, 0.5])
})

for (const name of ['browser', 'external']) {
  test(`the entry ${name}.js starts with the modules of the package, and has the same exports as index.js`, async (t) => {
    const entry = await import(`../../lib/entries/${name}.js`)
    t.deepEqual(Object.keys(entry).sort(), Object.keys(contract).sort())
    t.throws(() => entry.softmax(one), { code: 'NOT_INITIALIZED' })
    await entry.init()
    t.is(entry.backend().kind, 'wasm')
    t.deepEqual([...entry.softmax(one).data], [0.5, 0.5])
    await t.throwsAsync(() => entry.loadBackend('native'), { code: 'BACKEND', message: /not load addons/ })
    t.is((await entry.loadBackend('wasm')).backend().kind, 'wasm')
  })
}

/**
 * Bundles a module into a file far away from the package, which it resolves as an installed one.
 *
 * @param {import('ava').ExecutionContext} t
 * @param {string} contents
 * @param {import('esbuild').BuildOptions} options
 */
async function bundled(t, contents, options) {
  const folder = mkdtempSync(join(tmpdir(), 'attention-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  mkdirSync(join(folder, 'node_modules/@ruvector'), { recursive: true })
  symlinkSync(root, join(folder, 'node_modules/@ruvector/attention'), 'junction')
  const outfile = join(folder, options.format === 'cjs' ? 'bundle.cjs' : 'bundle.mjs')
  const shared = { bundle: true, outfile, logLevel: /** @type {const} */ ('silent') }
  const result = await build({ stdin: { contents, resolveDir: root }, ...shared, ...options })
  t.deepEqual(result.errors, [])
  const { stdout } = await promisify(execFile)(process.execPath, [outfile], { cwd: folder })
  return stdout.trim()
}

for (const format of /** @type {const} */ (['cjs', 'esm'])) {
  test(`bundled for Node as ${format}, away from its files, the package still finds a backend`, async (t) => {
    const contents = `import { backend, createTensor, softmax } from '@ruvector/attention'
      console.log(softmax(createTensor([1], [1])).data[0], backend().kind)`
    t.regex(await bundled(t, contents, { platform: 'node', format }), /^1 (native|wasm)$/)
  })
}

test('bundled for Node without any file of the package, it starts with init(), as the error of the first call says', async (t) => {
  const contents = `import { backend, createTensor, init, softmax } from '@ruvector/attention'
    const one = createTensor([1], [1])
    try { softmax(one) } catch ({ code, message }) { console.log(code, message.includes('await init()')) }
    await Promise.all([init(), init()])
    console.log(softmax(one).data[0], backend().kind, backend().rejected.length)`
  const alone = mkdtempSync(join(tmpdir(), 'attention-'))
  t.teardown(() => rmSync(alone, { recursive: true }))
  const outfile = join(alone, 'bundle.mjs')
  const stdin = { contents, resolveDir: root }
  await build({ stdin, bundle: true, outfile, platform: 'node', format: 'esm', logLevel: 'silent' })
  const { stdout } = await promisify(execFile)(process.execPath, [outfile], { cwd: alone })
  const [first, second] = stdout.trim().split('\n')
  t.is(first, 'BACKEND true')
  t.regex(second, /^1 wasm [34]$/)
})

test('the entry workerd.js starts at the first call with the module from the runtime', async (t) => {
  const contents = `import { backend, createTensor, init, softmax } from './lib/entries/workerd.js'
    console.log(softmax(createTensor([1], [1])).data[0], backend().kind, backend().simd)
    await init()`
  const modules = {
    name: 'modules',
    setup(/** @type {import('esbuild').PluginBuild} */ { onLoad }) {
      onLoad({ filter: /\.wasm$/ }, ({ path }) => ({
        contents: `import { readFileSync } from 'node:fs'; export default new WebAssembly.Module(readFileSync(${JSON.stringify(path)}))`
      }))
    }
  }
  const options = /** @type {const} */ ({ platform: 'node', format: 'esm' })
  t.is(await bundled(t, contents, { ...options, plugins: [modules] }), '1 wasm simd128')
})

test('the version matches package.json, which has one dependency, for models alone, and no install scripts', (t) => {
  t.is(contract.version, version)
  t.deepEqual(Object.keys(dependencies), ['@huggingface/tokenizers'])
  for (const name of ['preinstall', 'install', 'postinstall', 'prepare']) t.false(name in scripts)
})

test('pictures do not depend on a backend: a bundle of them has none of its code and works alone', async (t) => {
  const program = `import { attentionHeatmapText } from '@ruvector/attention/plot'
    console.log(attentionHeatmapText({ data: Float32Array.of(1), shape: [1, 1] }, { color: false, width: 40 }).split('\\n')[1])`
  const { outputFiles, metafile } = await build({
    stdin: { contents: program, resolveDir: root },
    bundle: true,
    write: false,
    metafile: true,
    format: 'esm',
    platform: 'neutral'
  })
  const inputs = Object.keys(metafile.inputs).filter((path) => path !== '<stdin>')
  const outside = inputs.filter((path) => !path.startsWith('lib/plot/')).sort()
  t.deepEqual(outside, [
    'lib/checks/errors.js',
    'lib/checks/nearest.js',
    'lib/checks/options.js',
    'lib/checks/shared.js',
    'lib/checks/tensor.js'
  ])
  const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '--eval', outputFiles[0].text])
  t.is(stdout, ' 0 ██\n')
})
