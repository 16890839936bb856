// The patch that turns the package's module into the one for relaxed SIMD: what init() makes of it, and of wrong ones.
import { readFileSync } from 'node:fs'
import { setFlagsFromString } from 'node:v8'
import test from 'ava'
import { createEntry } from '../../lib/entries/entry.js'
import { createApi } from '../../lib/face/api.js'
import * as core from '../../packages/wasm/attention.core.inline.js'
import * as inlined from '../../packages/wasm/attention.inline.js'
import * as training from '../../packages/wasm/attention.training.inline.js'
import { openInlined, readInlined } from '../../lib/loaders/inlined.js'
import { applyPatch } from '../../lib/loaders/patch.js'
import { openSource, variants } from '../../lib/loaders/wasm.js'
import { webLoader } from '../../lib/loaders/web.js'
import { joinModule } from '../../tools/join.mjs'

// Node 20 has relaxed SIMD behind a flag.
setFlagsFromString('--experimental-wasm-relaxed-simd')

const read = (/** @type {string} */ name) => readFileSync(new URL(`../../packages/wasm/${name}`, import.meta.url))
const wasm = new Uint8Array(read('attention.simd.wasm'))
const patch = new Uint8Array(read('attention.relaxed.patch'))
const one = { data: Float32Array.of(0, 0), shape: [2] }

/** An entry of browsers; without a given source, it opens the module in the JavaScript. */
const browserEntry = () =>
  createEntry(
    webLoader((source) => (source ? openSource(source) : openInlined(inlined))),
    createApi
  )

/** @param {string} type @param {BodyInit} [body] */
const response = (type, body = patch) => new Response(body, { headers: { 'content-type': type } })

/** A response that loses its connection after the first bytes of the patch. */
function interrupted() {
  let isFirst = true
  const body = new ReadableStream({
    pull(controller) {
      if (isFirst) controller.enqueue(patch.subarray(0, 100))
      else controller.error(new TypeError('network error'))
      isFirst = false
    }
  })
  return response('application/octet-stream', body)
}

test('this engine supports relaxed SIMD, as these tests require', (t) => {
  t.deepEqual(variants(), ['relaxed', 'simd'])
})

test('the modules in the JavaScript have the same bytes as those of the files', async (t) => {
  for (const [name, given] of Object.entries({
    attention: inlined,
    'attention.core': core,
    'attention.training': training
  })) {
    const [wasm, patch] = ['simd.wasm', 'relaxed.patch'].map(
      (extension) => new Uint8Array(read(`${name}.${extension}`))
    )
    t.is(Buffer.compare(await readInlined(given, 'simd'), wasm), 0, name)
    t.is(Buffer.compare(await readInlined(given, 'relaxed'), applyPatch(wasm, patch)), 0, `${name}, relaxed`)
  }
})

test('lib/loaders/join.js is what `node tools/join.mjs` makes of tools/join.wat', (t) => {
  t.is(readFileSync(new URL('../../lib/loaders/join.js', import.meta.url), 'utf8'), joinModule())
})

test('the module in the JavaScript is patched to the same bytes as the module of the file', async (t) => {
  const [inlined, file] = [browserEntry(), browserEntry()]
  await Promise.all([inlined.init(), file.init({ wasm, patch })])
  const x = { data: Float32Array.from({ length: 600 }, (_, index) => Math.sin(index)), shape: [2, 10, 30] }
  const [a, b] = [inlined, file].map((entry) => entry.scaledDotProductAttention(x, x, x).output.data)
  t.deepEqual(a, b)
  const expected = /(simd128|relaxed-simd)/
  for (const entry of [inlined, file]) t.regex(entry.backend().simd, expected)
})

test('a patch is accepted as bytes, as a Response of any type, and as a promise of one', async (t) => {
  const { buffer } = patch.slice()
  const shifted = new Uint8Array([1, 2, 3, ...patch]).subarray(3)
  for (const given of [
    patch,
    shifted,
    buffer,
    response('application/octet-stream'),
    response(''),
    response('text/plain')
  ]) {
    for (const source of [given, Promise.resolve(given instanceof Response ? given.clone() : given)]) {
      const entry = browserEntry()
      await entry.init({ wasm: Promise.resolve(response('application/wasm', wasm)), patch: source })
      t.deepEqual([...entry.softmax(one).data], [0.5, 0.5])
    }
  }
})

test('without a patch, a given module runs as it is', async (t) => {
  const entry = browserEntry()
  await entry.init({ wasm })
  t.is(entry.backend().simd, 'simd128')
})

const other = applyPatch(wasm, patch)
const changed = wasm.slice()
changed[wasm.length >> 1] ^= 1
const damaged = patch.slice()
damaged[patch.length - 1] ^= 1

for (const [title, source, reason] of /** @type {[string, () => { wasm: unknown, patch: unknown }, RegExp][]} */ ([
  [
    'a module cut short',
    () => ({ wasm: wasm.slice(0, 1000), patch }),
    /the module has 1000 bytes, and the patch is for/
  ],
  ['a module with another content', () => ({ wasm: changed, patch }), /the patch is damaged, or for another module/],
  ['a damaged patch', () => ({ wasm, patch: damaged }), /the patch is damaged, or for another module/],
  ['a patch cut short', () => ({ wasm, patch: patch.slice(0, -9) }), /the patch is cut short/],
  ['an empty patch', () => ({ wasm, patch: new Uint8Array(0) }), /the patch has an unknown format/],
  ['a module as a patch', () => ({ wasm, patch: wasm }), /the patch has an unknown format/],
  [
    'a page instead of a patch',
    () => ({ wasm, patch: response('text/html', '<!doctype html>') }),
    /the response: got HTML instead of .* \(content type text\/html\)/
  ],
  ['a server without the patch', () => ({ wasm, patch: new Response('no', { status: 404 }) }), /status 404/],
  ['a connection lost in the middle', () => ({ wasm, patch: interrupted() }), /network error/],
  ['a patch that was never fetched', () => ({ wasm, patch: Promise.reject(new TypeError('offline')) }), /offline/]
])) {
  test(`${title}: init() fails with BACKEND, the cause and the remedy, and a later init() works`, async (t) => {
    const entry = browserEntry()
    const error = await t.throwsAsync(entry.init(source()), { code: 'BACKEND' })
    t.regex(error?.message ?? '', reason)
    t.regex(error?.message ?? '', /\nCheck `wasm` and `patch`: they must be the attention\.simd\.wasm and/)
    await entry.init({ wasm, patch })
    t.deepEqual([...entry.softmax(one).data], [0.5, 0.5])
  })
}

test('no prefix of a patch, and no patch with a changed byte, makes another module', (t) => {
  const expected = Buffer.from(other)
  for (let length = 0; length < patch.length; length += 97) {
    t.throws(() => applyPatch(wasm, patch.slice(0, length)), { instanceOf: Error }, `${length} bytes`)
  }
  for (let index = 0; index < patch.length; index += 301) {
    const one = patch.slice()
    one[index] ^= 0x40
    try {
      t.true(expected.equals(applyPatch(wasm, one)), `byte ${index}`)
    } catch (error) {
      t.regex(/** @type {Error} */ (error).message, /^the (patch|module) .* from the same version of the package$/)
    }
  }
})

test('a patch is an option of a module that is not yet compiled', async (t) => {
  const entry = browserEntry()
  await t.throwsAsync(entry.init({ patch }), { code: 'OPTION', message: /patch.*without the option `wasm`/ })
  const module = await WebAssembly.compile(wasm)
  await t.throwsAsync(entry.init({ wasm: module, patch }), { code: 'OPTION', message: /patch.*compiled module/ })
  await t.throwsAsync(entry.init({ wasm, patch: 5 }), { code: 'OPTION', message: /patch.*Response or bytes/ })
  await entry.init({ wasm: module })
  t.deepEqual([...entry.softmax(one).data], [0.5, 0.5])
})
