// `/core`: the same functions on a smaller module, without graphs, linear and hyperbolic attention.
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import test from 'ava'
import * as complete from '@ruvector/attention'
import * as core from '@ruvector/attention/core'
import * as browser from '../../lib/entries/browser.js'
import * as coreBrowser from '../../lib/entries/core-browser.js'
import * as coreExternal from '../../lib/entries/core-external.js'

const BEYOND = [
  'Graph',
  'GraphAttention',
  'GraphConvolution',
  'GraphLayer',
  'GraphSage',
  'GraphTransformer',
  'HyperbolicAttention',
  'LinearAttention',
  'NeighborSampler',
  'edgeSoftmax',
  'propagate'
]
const names = (/** @type {object} */ api) => Object.keys(api).sort()
const expected = names(complete).filter((name) => !BEYOND.includes(name))

test('every entry, and each API of loadBackend, has the names of the whole one less those', async (t) => {
  for (const entry of [core, coreBrowser, coreExternal]) t.deepEqual(names(entry), expected)
  const bound = expected.filter((name) => !['init', 'loadBackend'].includes(name))
  t.deepEqual(names(await core.loadBackend('wasm')), bound)
  t.deepEqual(names(await coreBrowser.loadBackend('wasm')), bound)
})

test('in Node, both entries share their backend and their classes, also by require', (t) => {
  const required = createRequire(import.meta.url)('@ruvector/attention/core')
  for (const name of expected.filter((name) => name !== 'loadBackend')) {
    t.is(/** @type {any} */ (core)[name], /** @type {any} */ (complete)[name], name)
    t.is(required[name], /** @type {any} */ (complete)[name], name)
  }
})

test('in a page, both modules give the same numbers', async (t) => {
  await Promise.all([browser.init(), coreBrowser.init()])
  const wave = (/** @type {number[]} */ shape) => ({
    data: Float32Array.from({ length: shape.reduce((product, size) => product * size) }, (_, i) => Math.sin(i)),
    shape
  })
  const x = wave([1, 5, 8])
  const heads = wave([1, 2, 5, 4])
  const config = { modelDim: 8, numHeads: 2, feedForwardDim: 16 }
  const [a, b] = [browser, coreBrowser].map((api) => {
    const layer = new api.TransformerEncoderLayer(config)
    const cache = new api.KVCache({ batch: 1, kvHeads: 2, headDim: 4, capacity: 5 }).append(heads, heads)
    const results = [
      api.scaledDotProductAttention(heads, heads, heads, { causal: true }).output,
      api.attentionWeights(heads, heads),
      api.rotaryEmbedding(heads),
      api.softmax(x),
      api.layerNorm(x),
      api.causalConvolution(x, wave([5, 1, 3])).output,
      layer.forward(x).output,
      cache.attend(heads).output
    ]
    layer.dispose()
    cache.dispose()
    return results
  })
  t.deepEqual(a, b)
  await t.notThrowsAsync(coreBrowser.scaledDotProductAttentionAsync(heads, heads, heads))
})

test('a module of /core serves init({ wasm, patch }) of both entries for what it has', async (t) => {
  const [wasm, patch] = ['simd.wasm', 'relaxed.patch'].map(
    (name) => new Uint8Array(readFileSync(new URL(`../../packages/wasm/attention.core.${name}`, import.meta.url)))
  )
  for (const entry of [browser, coreBrowser]) {
    const api = await entry.loadBackend('wasm', { wasm, patch })
    t.deepEqual([...api.softmax({ data: Float32Array.of(0, 0), shape: [2] }).data], [0.5, 0.5])
  }
})
