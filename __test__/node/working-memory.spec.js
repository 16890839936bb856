// The additional memory that calls need apart from inputs and results, as the backend counts it.
import test from 'ava'
import { createApi } from '../../lib/face/api.js'
import { Backend } from '../../lib/runtime/backend.js'
import { loader } from '../../lib/loaders/loader.js'
import { bits, normal, random, requireClose } from '../support/tensors.js'

/** @typedef {import('@ruvector/attention').AttentionOptions} AttentionOptions */
/** @typedef {import('@ruvector/attention').Tensor} Tensor */

/** Total number of array elements from which WebAssembly copies the arrays of a call part by part. */
const LARGE = 2 ** 20

/**
 * A separate backend, whose measurements nothing else resets.
 *
 * @param {import('@ruvector/attention').BackendKind} kind
 */
async function open(kind) {
  const loaded = await loader.load(kind)
  const backend = new Backend(() => loaded)
  return { attention: /** @type {import('@ruvector/attention').Attention} */ (createApi(backend)), backend }
}

/**
 * The `index`-th block of a tensor that is divided into blocks of a shape.
 *
 * @param {Tensor | undefined} tensor
 * @param {number} index
 * @param {readonly number[]} shape
 */
function blockOf(tensor, index, shape) {
  const length = shape.reduce((a, b) => a * b, 1)
  const data = /** @type {import('@ruvector/attention').Tensor} */ (tensor).data.subarray(
    index * length,
    (index + 1) * length
  )
  return { data, shape: [...shape] }
}

/**
 * The shapes and options of a large call.
 *
 * @param {() => number} next
 */
function drawCase(next) {
  const upTo = (/** @type {number} */ most) => Math.floor(next() * (most + 1))
  const maybe = (/** @type {any} */ value) => (next() < 0.5 ? value : undefined)
  const [batch, kvHeads, group] = [1 + upTo(1), 1 + upTo(2), 1 + upTo(1)]
  const [size, valueSize, keys] = [33 + upTo(31), 30 + upTo(34), 200 + upTo(300)]
  const queries = Math.ceil(LARGE / (batch * kvHeads * group * (size + valueSize)))
  /** @type {AttentionOptions} */
  const options = {
    causal: maybe(true),
    window: maybe([upTo(200), upTo(200)]),
    queryOffset: maybe(upTo(300) - 150),
    softcap: maybe(2),
    logSumExp: maybe(true),
    topWeights: maybe(3)
  }
  return { batch, kvHeads, group, size, valueSize, keys, queries, options, seed: upTo(1e6), maybe, upTo }
}

for (const kind of /** @type {const} */ (['native', 'wasm'])) {
  test.serial(
    `${kind}: equal calls need equal amounts of memory, although the first one leaves permanent tables`,
    async (t) => {
      const { backend, attention } = await open(kind)
      const x = normal([1, 2, 200, 64], 1)
      // Native code borrows arrays.
      const copies = kind === 'wasm' ? 4 * x.data.byteLength : 0
      // The first call of an instance creates permanent tables.
      attention.softmax(normal([1], 1))
      const needs = Array.from({ length: 3 }, () => {
        const needed = backend.measurePeak()
        t.is(needed(), 0)
        attention.scaledDotProductAttention(x, x, x)
        return needed()
      })
      t.true(needs[0] > copies && needs[0] < copies + 1_000_000, `${needs[0]} bytes`)
      t.deepEqual(needs, Array(3).fill(needs[0]))
      const { peak } = attention.memoryUsage()
      backend.measurePeak()
      t.true(attention.memoryUsage().peak >= peak)
    }
  )

  test.serial(`${kind}: calls on other threads are measured too`, async (t) => {
    const { backend, attention } = await open(kind)
    const x = normal([1, 2, 200, 64], 1)
    const needed = backend.measurePeak()
    await attention.scaledDotProductAttentionAsync(x, x, x)
    t.true(needed() > (kind === 'wasm' ? 4 * x.data.byteLength : 0), `${needed()} bytes`)
  })

  test.serial(
    `${kind}: large attention needs less than a tenth of the size of its inputs and results in addition`,
    async (t) => {
      const { backend, attention } = await open(kind)
      const x = normal([1, 8, 4096, 64], 1)
      const needed = backend.measurePeak()
      attention.scaledDotProductAttention(x, x, x, { causal: true })
      t.true(needed() < 0.1 * 4 * x.data.byteLength, `${needed()} bytes`)
    }
  )

  test.serial(`${kind}: a large call gives the same bits as one call per head`, async (t) => {
    const { attention } = await open(kind)
    const next = random(1)
    for (let round = 0; round < 6; round++) {
      const { batch, kvHeads, group, queries, keys, size, valueSize, options, seed } = drawCase(next)
      const q = normal([batch, kvHeads * group, queries, size], seed)
      const k = normal([batch, kvHeads, keys, size], seed + 1)
      const v = normal([batch, kvHeads, keys, valueSize], seed + 2)
      const whole = attention.scaledDotProductAttention(q, k, v, options)
      for (let head = 0; head < batch * kvHeads; head++) {
        const one = attention.scaledDotProductAttention(
          blockOf(q, head, [1, group, queries, size]),
          blockOf(k, head, [1, 1, keys, size]),
          blockOf(v, head, [1, 1, keys, valueSize]),
          options
        )
        const results = [
          [whole.output, one.output],
          [whole.logSumExp, one.logSumExp],
          [whole.topWeights?.values, one.topWeights?.values]
        ]
        for (const [all, part] of results) {
          if (part) t.is(bits(blockOf(all, head, part.shape)), bits(part), `round ${round}, head ${head}`)
        }
        const found = one.topWeights?.indices.data
        const length = found?.length ?? 0
        t.deepEqual(whole.topWeights?.indices.data.subarray(head * length, (head + 1) * length), found)
      }
    }
  })
}

test.serial('a large call gives the same results on both backends, with any options', async (t) => {
  const [{ attention: native }, { attention: wasm }] = [await open('native'), await open('wasm')]
  const next = random(2)
  for (let round = 0; round < 10; round++) {
    const { batch, kvHeads, group, queries, keys, size, valueSize, options, seed, maybe, upTo } = drawCase(next)
    const heads = kvHeads * group
    const layout = maybe('blhd')
    const inOrder = (/** @type {number} */ h, /** @type {number} */ l, /** @type {number} */ d) =>
      layout ? [batch, l, h, d] : [batch, h, l, d]
    const q = normal(inOrder(heads, queries, size), seed)
    const k = normal(inOrder(kvHeads, keys, size), seed + 1)
    const v = normal(inOrder(kvHeads, keys, valueSize), seed + 2)
    const bias = normal([1, maybe(heads) ?? 1, maybe(queries) ?? 1, keys], seed + 3)
    const booleans = { data: Uint8Array.from(bias.data, (value) => Number(value > -1)), shape: bias.shape }
    const visible = { ...options, layout, mask: [undefined, bias, booleans][upTo(2)] }
    const all = {
      ...visible,
      dropout: maybe(0.25),
      seed,
      kvLengths: maybe(Int32Array.from({ length: batch }, () => 1 + upTo(keys - 1))),
      weights: maybe(true)
    }
    const [expected, actual] = [native, wasm].map((api) => api.scaledDotProductAttention(q, k, v, all))
    const stages = /** @type {const} */ (['scores', 'softcapped', 'biased', 'weights'])
    const stage = { ...visible, topWeights: undefined, logSumExp: undefined, stage: stages[round % 4] }
    const [expectedStage, actualStage] = [native, wasm].map((api) => api.attentionWeights(q, k, stage))
    t.notThrows(() => {
      requireClose(actual.output, expected.output, 1e-5, `output of round ${round}`)
      requireClose(actual.logSumExp, expected.logSumExp, 1e-5, `logSumExp of round ${round}`)
      requireClose(actual.weights, expected.weights, 1e-5, `weights of round ${round}`)
      requireClose(actual.topWeights?.values, expected.topWeights?.values, 1e-5, `topWeights of round ${round}`)
      requireClose(actualStage, expectedStage, 1e-5, `${stage.stage} of round ${round}`)
    })
  }
})

test.serial('wasm: members of the caller’s arrays are not used in the middle of a large call', async (t) => {
  const { attention } = await open('wasm')
  const x = normal([1, 8, 1024, 64], 1)
  const expected = bits(attention.scaledDotProductAttention(x, x, x).output)
  const names = ['buffer', 'byteOffset', 'constructor', 'subarray', 'slice']
  const members = Object.fromEntries(names.map((name) => [name, { get: () => t.fail(`${name} was read`) }]))
  const own = { data: Object.defineProperties(x.data.slice(), members), shape: x.shape }
  const out = Object.defineProperties(new Float32Array(x.data.length), members)
  const { output } = attention.scaledDotProductAttention(own, own, own, { out })
  t.is(output.data, out)
  t.is(bits({ data: Float32Array.from({ length: out.length }, (_, index) => out[index]), shape: x.shape }), expected)
})
