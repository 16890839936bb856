// Files that are read in pieces, by path, FileHandle, Blob, URL and function; sharded models; failures while reading.
import { openAsBlob } from 'node:fs'
import { appendFile, mkdir, mkdtemp, open, readFile, rm, truncate, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import test from 'ava'
import { AttentionError, openSafetensors, saveSafetensors } from '@ruvector/attention'
import { normal } from '../support/tensors.js'
import { serveFiles } from '../support/files.js'

/** @typedef {import('ava').ExecutionContext} ExecutionContext */

/** @param {ExecutionContext} t */
async function scratch(t) {
  const folder = await mkdtemp(join(tmpdir(), 'ruvector-attention-'))
  t.teardown(() => rm(folder, { recursive: true, force: true }))
  return folder
}

/** @param {ExecutionContext} t @param {() => unknown} call */
async function faultOf(t, call) {
  const error = await t.throwsAsync(async () => call(), { instanceOf: AttentionError })
  return /** @type {AttentionError} */ (error)
}

const state = {
  'a.bias': normal([3], 1),
  'a.weight': normal([3, 5], 2),
  'b.half': { type: /** @type {const} */ ('f16'), data: Uint16Array.of(0x3c00, 0xc000), shape: [2] },
  'b.ids': { data: Int32Array.of(5, -5), shape: [2] },
  'b.mask': { data: Uint8Array.of(1, 0, 1), shape: [3] }
}
const bytes = saveSafetensors(state, { format: 'pt' })
const widened = { ...state, 'b.half': { data: Float32Array.of(1, -2), shape: [2] } }

/** Every kind of source, over a file of these bytes. */
const SOURCES = /** @type {Record<string, (t: ExecutionContext, bytes: Uint8Array) => Promise<any>>} */ ({
  async 'a path'(t, bytes) {
    const path = join(await scratch(t), 'model.safetensors')
    await writeFile(path, bytes)
    return path
  },
  async 'a file URL'(t, bytes) {
    return pathToFileURL(await SOURCES['a path'](t, bytes))
  },
  async 'the text of a file URL'(t, bytes) {
    return (await SOURCES['a file URL'](t, bytes)).href
  },
  async 'a FileHandle'(t, bytes) {
    const handle = await open(await SOURCES['a path'](t, bytes))
    t.teardown(() => handle.close())
    return handle
  },
  'a Blob': async (_, bytes) => new Blob([/** @type {any} */ (bytes)]),
  'a Blob of a file': async (t, bytes) => openAsBlob(await SOURCES['a path'](t, bytes)),
  async 'a URL'(t, bytes) {
    const path = await SOURCES['a path'](t, bytes)
    return new URL('model.safetensors', await serveFiles(t, join(path, '..')))
  },
  async 'the text of a URL'(t, bytes) {
    return (await SOURCES['a URL'](t, bytes)).href
  },
  'a function': async (_, bytes) => ({
    size: bytes.length,
    read: async (/** @type {number} */ offset, /** @type {number} */ length) => bytes.slice(offset, offset + length)
  }),
  'a data URL': async (_, bytes) => `data:application/octet-stream;base64,${Buffer.from(bytes).toString('base64')}`
})

for (const [name, make] of Object.entries(SOURCES)) {
  test(`${name} is opened, described, and read by tensor and by prefix`, async (t) => {
    const file = await openSafetensors(await make(t, bytes))
    t.deepEqual(file.names, Object.keys(state))
    t.deepEqual(file.metadata, { format: 'pt' })
    t.deepEqual(file.describe('a.weight'), { type: 'F32', shape: [3, 5], bytes: 60 })
    t.deepEqual(file.describe('b.half'), { type: 'F16', shape: [2], bytes: 4 })
    for (const [entry, tensor] of Object.entries(widened)) t.deepEqual(await file.tensor(entry), tensor)
    t.deepEqual(await file.stateDict(), /** @type {any} */ (widened))
    t.deepEqual(await file.stateDict({ prefix: 'a' }), { bias: state['a.bias'], weight: state['a.weight'] })
    t.deepEqual(
      await file.stateDict({ filter: (entry) => entry.endsWith('ids') }),
      /** @type {any} */ ({ 'b.ids': state['b.ids'] })
    )
    t.deepEqual(await file.stateDict({ prefix: 'c' }), {})
    const all = await Promise.all(file.names.map((entry) => file.tensor(entry)))
    t.deepEqual(all, Object.values(widened))
    await file.close()
    await file.close()
    t.is((await faultOf(t, () => file.tensor('a.bias'))).code, 'DISPOSED')
    t.is((await faultOf(t, () => file.stateDict())).code, 'DISPOSED')

    const kept = await openSafetensors(await make(t, bytes), { halves: 'keep' })
    t.deepEqual(await kept.tensor('b.half'), state['b.half'])
    t.deepEqual(await kept.stateDict(), /** @type {any} */ (state))
    await kept[Symbol.asyncDispose]()
    t.is((await faultOf(t, () => kept.tensor('a.bias'))).code, 'DISPOSED')
  })

  test(`${name} is rejected with the reason if it is in another format, truncated or empty`, async (t) => {
    for (const [content, words] of /** @type {[Uint8Array, RegExp][]} */ ([
      [new TextEncoder().encode('<!doctype html><html><body>no such page'), /^source: .* got an HTML page/],
      [new TextEncoder().encode('version https://git-lfs.github.com/spec/v1'), /^source: .* got a Git LFS pointer/],
      [bytes.subarray(0, bytes.length - 1), /^source: the file is truncated: expected \d+ bytes, got \d+$/],
      [bytes.subarray(0, 30), /^source: the file is truncated/],
      [bytes.subarray(0, 3), /^source: the file is truncated: expected 8 bytes, got 3$/],
      [new Uint8Array(0), /^source: the file is truncated: expected 8 bytes, got 0$/]
    ])) {
      const source = await make(t, content)
      const { code, message } = await faultOf(t, () => openSafetensors(source))
      t.is(code, 'FORMAT', message)
      t.regex(message, words)
    }
  })
}

test('tensors of many pieces, and headers longer than the first read, are complete', async (t) => {
  const count = 3_000_000
  const large = { data: Float32Array.from({ length: count }, (_, index) => index), shape: [count] }
  const half = { type: /** @type {const} */ ('f16'), data: new Uint16Array(count).fill(0x3c00), shape: [count] }
  const metadata = Object.fromEntries(Array.from({ length: 2000 }, (_, index) => [`key ${index}`, 'x'.repeat(100)]))
  const content = saveSafetensors({ half, large }, metadata)
  for (const name of ['a path', 'a Blob', 'a URL', 'a function']) {
    const file = await openSafetensors(await SOURCES[name](t, content))
    t.is(Object.keys(file.metadata).length, 2000)
    const { data } = await file.tensor('large')
    t.is(Buffer.compare(Buffer.from(/** @type {any} */ (data).buffer), Buffer.from(large.data.buffer)), 0, name)
    const ones = /** @type {Float32Array} */ ((await file.tensor('half')).data)
    t.deepEqual([ones.length, ones.every((value) => value === 1)], [count, true])
    await file.close()
  }
})

test('a file handle of the caller stays open', async (t) => {
  const handle = await SOURCES['a FileHandle'](t, bytes)
  const file = await openSafetensors(handle)
  await file.close()
  t.is((await handle.stat()).size, bytes.length)
})

test('invalid sources, options and names are rejected', async (t) => {
  for (const [code, argument, call] of /** @type {[string, string, () => Promise<unknown>][]} */ ([
    ['DTYPE', 'source', () => openSafetensors(/** @type {any} */ (undefined))],
    ['DTYPE', 'source', () => openSafetensors(/** @type {any} */ (bytes))],
    ['DTYPE', 'source', () => openSafetensors(/** @type {any} */ ({ size: 3 }))],
    ['OPTION', 'source.size', () => openSafetensors(/** @type {any} */ ({ size: -1, read: () => bytes }))],
    ['DTYPE', 'source.read', () => openSafetensors({ size: 9, read: async () => /** @type {any} */ ([1]) })],
    ['FORMAT', 'source.read', () => openSafetensors({ size: 9, read: async () => new Uint8Array(10) })],
    ['FORMAT', 'source', () => openSafetensors({ size: 9, read: async () => new Uint8Array(2) })],
    ['OPTION', 'halves', () => openSafetensors(new Blob([]), { halves: /** @type {any} */ ('f16') })],
    ['OPTION', 'prefix', () => openSafetensors(new Blob([]), /** @type {any} */ ({ prefix: 'a' }))],
    ['FORMAT', 'source', () => openSafetensors('no such file')],
    ['FORMAT', 'source', () => openSafetensors('https://127.0.0.1:1/x')],
    ['FORMAT', 'source', () => openSafetensors(tmpdir())]
  ])) {
    const error = await faultOf(t, call)
    t.deepEqual([String(error.code), error.argument], [code, argument], error.message)
  }
  t.regex((await faultOf(t, () => openSafetensors('no such file'))).message, /ENOENT/)
  t.regex((await faultOf(t, () => openSafetensors(tmpdir()))).message, /a folder: name its model\.safetensors/)
  t.regex((await faultOf(t, () => openSafetensors(/** @type {any} */ (bytes)))).message, /loadSafetensors takes bytes/)
  const file = await openSafetensors(await SOURCES['a function'](t, bytes))
  t.regex((await faultOf(t, () => file.tensor('a.weigth'))).message, /did you mean 'a\.weight'/)
  t.is((await faultOf(t, () => file.describe('x'))).argument, 'x')
  t.is((await faultOf(t, () => file.tensor(/** @type {any} */ (3)))).code, 'DTYPE')
  t.is((await faultOf(t, () => file.stateDict(/** @type {any} */ ({ halves: 'keep' })))).argument, 'halves')
  const error = new Error('mine')
  t.is(await t.throwsAsync(openSafetensors({ size: 9, read: () => Promise.reject(error) })), error)
})

test('a file that is changed or truncated while it is read is an error', async (t) => {
  for (const name of ['a path', 'a URL']) {
    const path = await SOURCES['a path'](t, saveSafetensors({ w: normal([50_000], 1) }))
    const source = name === 'a path' ? path : new URL('model.safetensors', await serveFiles(t, join(path, '..')))
    const file = await openSafetensors(source)
    await truncate(path, 100_000)
    const cut = await faultOf(t, () => file.tensor('w'))
    t.is(cut.code, 'FORMAT')
    t.regex(cut.message, /truncated|another file|changed/)
    await writeFile(path, saveSafetensors({ w: normal([50_000], 1), x: normal([3], 1) }))
    const { code, message } = await faultOf(t, () => file.tensor('w'))
    t.is(code, 'FORMAT')
    t.regex(message, /another file|changed while it was read/)
    await file.close()
  }
  const reader = {
    size: bytes.length,
    read: async (/** @type {number} */ at, /** @type {number} */ length) => bytes.slice(at, at + length)
  }
  const file = await openSafetensors(reader)
  reader.size--
  t.regex((await faultOf(t, () => file.tensor('a.bias'))).message, /changed while it was read/)
})

// ── Servers ──────────────────────────────────────────────────────────────────────────────────────────────────────────

/**
 * A server that answers every request in this way.
 *
 * @param {ExecutionContext} t
 * @param {import('node:http').RequestListener} listener
 */
async function serve(t, listener) {
  const server = createServer(listener).listen(0, '127.0.0.1')
  await new Promise((resolve) => server.once('listening', resolve))
  t.teardown(() => server.close())
  const { port } = /** @type {import('node:net').AddressInfo} */ (server.address())
  return `http://127.0.0.1:${port}/model.safetensors`
}

test('a server that ignores ranges, fails, or sends a page is reported with the reason', async (t) => {
  const page = '<!doctype html><title>Sign in</title>'
  for (const [listener, words] of /** @type {[import('node:http').RequestListener, RegExp][]} */ ([
    [
      (_, response) => response.end(bytes),
      /supports range requests.*loadSafetensors, got the whole file, with status 200/
    ],
    [(_, response) => response.end(page), /got an HTML page/],
    [(_, response) => response.writeHead(404).end(page), /expected a file at http.* got status 404 Not Found/],
    [(_, response) => response.writeHead(503).end(), /status 503/],
    [(_, response) => response.destroy(), /expected a file that can be read, got fetch failed/],
    [
      (_, response) => response.writeHead(206, { 'content-range': 'bytes 0-99/100' }).end(bytes.subarray(0, 50)),
      /truncated/
    ],
    [(_, response) => response.writeHead(206).end(), /size in content-range or content-length/]
  ])) {
    const { code, message } = await faultOf(t, async () => openSafetensors(await serve(t, listener)))
    t.is(code, 'FORMAT', message)
    t.regex(message, words)
  }
})

test('without content-range, the size comes from content-length', async (t) => {
  const url = await serve(t, ({ method, headers }, response) => {
    if (method === 'HEAD') return response.writeHead(200, { 'content-length': bytes.length }).end()
    const [, from, to] = /bytes=(\d+)-(\d+)/.exec(headers.range ?? '') ?? []
    return response.writeHead(206).end(bytes.subarray(Number(from), Number(to) + 1))
  })
  const file = await openSafetensors(url)
  t.deepEqual(await file.stateDict(), /** @type {any} */ (widened))
})

// ── Sharded models ───────────────────────────────────────────────────────────────────────────────────────────────────

/**
 * A folder with two shards and an index, changed by `change`.
 *
 * @param {ExecutionContext} t
 * @param {(index: any) => unknown} [change]  returns the index, or its text
 */
async function sharded(t, change = (index) => index) {
  const folder = await scratch(t)
  const { 'a.bias': bias, ...rest } = state
  await writeFile(join(folder, 'model-1.safetensors'), saveSafetensors({ 'a.bias': bias }, { format: 'pt' }))
  await mkdir(join(folder, 'more'))
  await writeFile(join(folder, 'more', 'model 2#.safetensors'), saveSafetensors(rest))
  const map = Object.fromEntries(Object.keys(rest).map((name) => [name, 'more/model 2#.safetensors']))
  const index = change({ metadata: { total_size: 107 }, weight_map: { ...map, 'a.bias': 'model-1.safetensors' } })
  const path = join(folder, 'model.safetensors.index.json')
  await writeFile(path, typeof index === 'string' ? index : JSON.stringify(index))
  return path
}

test('an index is followed to its shards, by path and by address', async (t) => {
  const path = await sharded(t)
  for (const source of [
    path,
    pathToFileURL(path),
    new URL('model.safetensors.index.json', await serveFiles(t, join(path, '..')))
  ]) {
    const file = await openSafetensors(source)
    t.deepEqual(file.names, Object.keys(state))
    t.deepEqual(file.metadata, { format: 'pt', total_size: '107' })
    t.deepEqual(file.describe('b.ids'), { type: 'I32', shape: [2], bytes: 8 })
    t.deepEqual(await file.tensor('a.bias'), state['a.bias'])
    t.deepEqual(await file.stateDict({ prefix: 'a' }), { bias: state['a.bias'], weight: state['a.weight'] })
    t.deepEqual(await file.stateDict(), /** @type {any} */ (widened))
    await file.close()
  }
})

test('a server without ranges can provide an index, but no shards', async (t) => {
  const path = await sharded(t)
  const url = await serve(t, async (_, response) => void response.end(await readFile(path)))
  const { message } = await faultOf(t, () => openSafetensors(url))
  t.regex(message, /^(model-1|more\/model 2#)\.safetensors: expected .* got the index of a sharded model/)
})

test('an index that does not fit its shards is an error that names the entry or the shard', async (t) => {
  for (const [change, words] of /** @type {[(index: any) => unknown, RegExp][]} */ ([
    [
      (index) => ({ ...index, weight_map: { ...index.weight_map, x: 'none.safetensors' } }),
      /^none\.safetensors: .*ENOENT/
    ],
    [
      (index) => ({ ...index, weight_map: { ...index.weight_map, x: 'model-1.safetensors' } }),
      /^x: expected an entry of model-1/
    ],
    [(index) => JSON.stringify(index).replace('"a.bias"', '"a.weight"'), /an index that gives two values to one name/],
    [
      () => ({ weight_map: { x: '../model-1.safetensors' } }),
      /an index that places 'x' in "\.\.\/model-1\.safetensors"/
    ],
    [() => ({ weight_map: { x: '/etc/passwd' } }), /an index that places 'x'/],
    [() => ({ weight_map: { x: 'https://example.org/x' } }), /an index that places 'x'/],
    [() => ({ weight_map: { x: 3 } }), /an index that places 'x' in 3/],
    [
      () => ({ weight_map: { x: 'model.safetensors.index.json' } }),
      /^model\.safetensors\.index\.json: .*the index of a sharded model/
    ],
    [() => ({ weight_map: [] }), /without a weight_map/],
    [() => ({ error: 'not found' }), /a JSON text without a weight_map/],
    [() => '{"weight_map": {', /an index that is not JSON/]
  ])) {
    const path = await sharded(t, change)
    const { code, message } = await faultOf(t, () => openSafetensors(path))
    t.is(code, 'FORMAT', message)
    t.regex(message, words)
  }
  const path = await sharded(t)
  await appendFile(join(path, '..', 'model-1.safetensors'), 'x')
  t.regex((await faultOf(t, () => openSafetensors(path))).message, /^model-1\.safetensors: .*bytes of data, of which/)
  const blob = new Blob([/** @type {any} */ (await readFile(path))])
  t.regex((await faultOf(t, () => openSafetensors(blob))).message, /the index of a sharded model: open it by its path/)
})
