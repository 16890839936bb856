// Asynchronous calls: equal bits, inputs as they were when the call was made, cancellation, progress, errors.
import test from 'ava'
import { backends, onBothBackends } from '../../support/backends.js'
import { bits, normal } from '../../support/tensors.js'

/** @typedef {import('@ruvector/attention').Attention} Attention */
/** @typedef {import('@ruvector/attention').Tensor} Tensor */

/**
 * The fields of the AttentionError that a promise rejects with.
 *
 * @param {import('ava').ExecutionContext} t
 * @param {Promise<unknown>} promise
 */
async function rejection(t, promise) {
  const error = /** @type {any} */ (await t.throwsAsync(promise))
  const { name, code, argument, message } = error
  return { name, code, argument, message }
}

/** Inputs large enough to be cancelled midway on every backend. @returns {[Tensor, Tensor, Tensor]} */
const long = () => [normal([1, 8, 2048, 64], 1), normal([1, 8, 2048, 64], 2), normal([1, 8, 2048, 64], 3)]

/** Backends with another thread for calls: a page may not be allowed to start workers. */
const elsewhere = new Set()
for (const { kind, attention } of backends) {
  const q = normal([1, 1, 1, 8], 1)
  await attention.scaledDotProductAttentionAsync(q, q, q)
  if (attention.backend().threads > 1) elsewhere.add(kind)
}

/** Every call that has an asynchronous counterpart. @param {Attention} api */
function twins(api) {
  const [q, k, v] = [normal([2, 4, 33, 16], 1), normal([2, 2, 70, 16], 2), normal([2, 2, 70, 8], 3)]
  const x = normal([2, 21, 32], 4)
  const context = normal([2, 9, 24], 5)
  const config = { numHeads: 4, headDim: 8, seed: 6 }
  const graph = api.Graph.fromEdges({ numNodes: 5, source: [0, 1, 2, 3, 4, 0], target: [1, 2, 3, 4, 0, 0] })
  const nodes = normal([5, 6], 7)
  const sizes = { inFeatures: 6, outFeatures: 3, seed: 8 }
  const mask = { data: Uint8Array.from({ length: 70 }, (_, j) => Number(j % 3 > 0)), shape: [70] }
  const bias = normal([33, 70], 9)
  const heads = [normal([1, 4, 12, 16], 1), normal([1, 4, 15, 16], 2), normal([1, 4, 15, 16], 3)]
  const [points, keys] = [normal([1, 6, 8], 1), normal([1, 9, 8], 2)]
  const self = new api.SelfAttention(config)
  const multi = new api.MultiHeadAttention(config)
  const cross = new api.CrossAttention({ ...config, kDim: 24, vDim: 24 })
  const encoder = new api.TransformerEncoderLayer({ modelDim: 32, numHeads: 4, feedForwardDim: 48, seed: 2 })
  const training = new api.SelfAttention({ ...config, dropout: 0.5 }).train()
  const layers = {
    GraphConvolution: new api.GraphConvolution(sizes),
    GraphSage: new api.GraphSage(sizes),
    GraphAttention: new api.GraphAttention({ ...sizes, numHeads: 2 }),
    GraphTransformer: new api.GraphTransformer({ ...sizes, numHeads: 2 })
  }
  /** @type {Record<string, [any, any, unknown[]]>} */
  const all = {
    scaledDotProductAttention: [api.scaledDotProductAttention, api.scaledDotProductAttentionAsync, [q, k, v]],
    'all of its results': [
      api.scaledDotProductAttention,
      api.scaledDotProductAttentionAsync,
      [
        q,
        k,
        v,
        { weights: true, logSumExp: true, topWeights: 3, causal: true, queryOffset: Int32Array.of(3, 40), mask }
      ]
    ],
    'a float mask, lengths and dropout': [
      api.scaledDotProductAttention,
      api.scaledDotProductAttentionAsync,
      [q, k, v, { mask: bias, kvLengths: Int32Array.of(5, 70), dropout: 0.3, seed: 5 }]
    ],
    MultiHeadAttention: methods(multi, [x, x, x, { weights: true, averageWeights: true }]),
    SelfAttention: methods(self, [x, { causal: true }]),
    'SelfAttention in training': methods(training, [x, { seed: 4 }]),
    CrossAttention: methods(cross, [x, context, { weights: true }]),
    TransformerEncoderLayer: methods(encoder, [x, { kvLengths: Int32Array.of(4, 21) }]),
    ScaledDotProductAttention: methods(new api.ScaledDotProductAttention(16, { scale: 0.3 }), heads),
    FlashAttention: methods(new api.FlashAttention(16, { blockSize: 5 }), heads),
    LinearAttention: methods(new api.LinearAttention({ modelDim: 8 }), [points, keys, keys]),
    'favor+': methods(new api.LinearAttention({ modelDim: 8, featureMap: 'favor+', featureDim: 16, seed: 3 }), [
      points,
      keys,
      keys
    ]),
    HyperbolicAttention: methods(new api.HyperbolicAttention({ curvature: -1, inputs: 'tangent' }), [
      points,
      keys,
      keys
    ]),
    ...Object.fromEntries(Object.entries(layers).map(([name, layer]) => [name, methods(layer, [graph, nodes])])),
    'GraphAttention with weights': methods(layers.GraphAttention, [graph, nodes, { weights: true }])
  }
  return all
}

/** @param {any} object @param {unknown[]} given @returns {[any, any, unknown[]]} */
const methods = (object, given) => [object.forward.bind(object), object.forwardAsync.bind(object), given]

/** @param {Record<string, any>} result */
const everyBit = (result) =>
  Object.entries(result).map(([name, value]) => [
    name,
    value.data ? bits(value) : [bits(value.values), [...value.indices.data].join()]
  ])

onBothBackends((kind, attention) => {
  for (const [name, [now, later, given]] of Object.entries(twins(attention))) {
    test(`${kind}: ${name} gives the same bits asynchronously`, async (t) => {
      t.deepEqual(everyBit(await later(...given)), everyBit(now(...given)))
    })
  }

  test(`${kind}: a large call that is split over threads or workers gives the same bits`, async (t) => {
    const given = long()
    for (const options of [{}, { causal: true, logSumExp: true }, { layout: /** @type {const} */ ('blhd') }]) {
      const later = await attention.scaledDotProductAttentionAsync(...given, options)
      t.deepEqual(everyBit(later), everyBit(attention.scaledDotProductAttention(...given, options)))
    }
  })

  test(`${kind}: large layers give the same bits, split or not`, async (t) => {
    const config = { numHeads: 4, headDim: 32, seed: 3 }
    const grouped = new attention.SelfAttention({ ...config, kvHeads: 2 })
    const self = new attention.SelfAttention({ ...config, dropout: 0.2, rotary: {} }).train()
    const cross = new attention.CrossAttention(config)
    const sizes = { modelDim: 128, numHeads: 4, feedForwardDim: 512, seed: 3 }
    const encoders = [false, true].map((normFirst) => new attention.TransformerEncoderLayer({ ...sizes, normFirst }))
    const context = normal([1, 900, 128], 8)
    // Lengths that end inside a block, and a batch, which is not split.
    for (const shape of [
      [1, 1000, 128],
      [1, 700, 128],
      [2, 600, 128]
    ]) {
      const x = normal(shape, 5)
      for (const options of [{}, { causal: true, seed: 4 }, { weights: true }]) {
        for (const layer of [grouped, self, ...encoders]) {
          t.deepEqual(everyBit(await layer.forwardAsync(x, options)), everyBit(layer.forward(x, options)))
        }
      }
      if (shape[0] === 1)
        t.deepEqual(everyBit(await cross.forwardAsync(x, context)), everyBit(cross.forward(x, context)))
    }
  })

  test(`${kind}: sixty-four concurrent calls give the results of single calls`, async (t) => {
    const layer = new attention.SelfAttention({ numHeads: 2, headDim: 8, seed: 1 })
    const inputs = Array.from({ length: 64 }, (_, seed) => normal([1, 5 + (seed % 7), 16], seed))
    const results = await Promise.all(inputs.map((x) => layer.forwardAsync(x)))
    t.deepEqual(
      results.map(({ output }) => bits(output)),
      inputs.map((x) => bits(layer.forward(x).output))
    )
  })

  test(`${kind}: changes after the call do not affect it`, async (t) => {
    const [q, k, v] = [normal([1, 1, 40, 8], 1), normal([1, 1, 50, 8], 2), normal([1, 1, 50, 8], 3)]
    const mask = { data: new Uint8Array(50).fill(1), shape: [50] }
    const kvLengths = Int32Array.of(30)
    const layer = new attention.SelfAttention({ numHeads: 1, headDim: 8, seed: 1 })
    const other = new attention.SelfAttention({ numHeads: 1, headDim: 8, seed: 2 }).stateDict()
    const x = { data: q.data.slice(), shape: [1, 40, 8] }
    const expected = [
      bits(attention.scaledDotProductAttention(q, k, v, { mask, kvLengths }).output),
      bits(layer.forward(x).output)
    ]
    const results = Promise.all([
      ...Array.from({ length: 5 }, () => attention.scaledDotProductAttentionAsync(q, k, v, { mask, kvLengths })),
      ...Array.from({ length: 5 }, () => layer.forwardAsync(x))
    ])
    for (const { data } of [q, k, v, mask, x]) data.fill(0)
    kvLengths[0] = 1
    layer.loadStateDict(other)
    layer.dispose()
    const found = (await results).map(({ output }) => bits(output))
    t.deepEqual(found, [...Array(5).fill(expected[0]), ...Array(5).fill(expected[1])])
  })

  test(`${kind}: a layer that loaded other parameters computes with them`, async (t) => {
    const layer = new attention.SelfAttention({ numHeads: 1, headDim: 8, seed: 1 })
    const x = normal([1, 4, 8], 5)
    for (const seed of [2, 3, 4]) {
      layer.loadStateDict(new attention.SelfAttention({ numHeads: 1, headDim: 8, seed }).stateDict())
      t.is(bits((await layer.forwardAsync(x)).output), bits(layer.forward(x).output))
    }
  })

  test(`${kind}: out receives the result, and is the memory of the output`, async (t) => {
    const q = normal([1, 1, 40, 8], 1)
    const out = new Float32Array(320)
    const { output } = await attention.scaledDotProductAttentionAsync(q, q, q, { out })
    t.is(output.data, out)
    t.is(bits(output), bits(attention.scaledDotProductAttention(q, q, q).output))
  })

  test(`${kind}: every error rejects, and the next call works`, async (t) => {
    const [q, k] = [normal([1, 1, 4, 8], 1), normal([1, 1, 4, 9], 2)]
    const later = attention.scaledDotProductAttentionAsync
    const any = (/** @type {unknown} */ value) => /** @type {any} */ (value)
    t.like(await rejection(t, later(q, k, k)), { name: 'AttentionError', code: 'SHAPE', argument: 'k' })
    t.like(await rejection(t, later(any('q'), k, k)), { code: 'DTYPE', argument: 'q' })
    t.like(await rejection(t, later(q, q, q, any({ scales: 1 }))), { code: 'OPTION', argument: 'scales' })
    t.like(await rejection(t, later(q, q, q, any({ signal: {} }))), { code: 'OPTION', argument: 'signal' })
    t.like(await rejection(t, later(q, q, q, any({ onProgress: 1 }))), { code: 'OPTION', argument: 'onProgress' })
    const layer = new attention.SelfAttention({ numHeads: 1, headDim: 8 })
    t.like(await rejection(t, layer.forwardAsync(q)), { code: 'SHAPE', argument: 'x' })
    layer.dispose()
    t.like(await rejection(t, layer.forwardAsync(normal([1, 2, 8], 1))), { code: 'DISPOSED' })
    t.is(bits((await later(q, q, q)).output), bits(attention.scaledDotProductAttention(q, q, q).output))
    // A synchronous call does not know these options.
    const sync = /** @type {any} */ (
      t.throws(() => attention.scaledDotProductAttention(q, q, q, any({ onProgress() {} })))
    )
    t.is(sync?.code, 'OPTION')
  })

  test(`${kind}: a call that is already cancelled computes nothing`, async (t) => {
    const q = normal([1, 1, 4, 8], 1)
    const reason = new Error('no longer wanted')
    const signal = AbortSignal.abort(reason)
    t.is(await t.throwsAsync(attention.scaledDotProductAttentionAsync(q, q, q, { signal })), reason)
  })

  test(`${kind}: a completed call leaves no listener on its signal`, async (t) => {
    const q = normal([1, 1, 4, 8], 1)
    const { signal } = new AbortController()
    const counts = { added: 0, removed: 0 }
    const { addEventListener, removeEventListener } = signal
    signal.addEventListener = (/** @type {[any, any]} */ ...given) => (
      counts.added++,
      addEventListener.apply(signal, given)
    )
    signal.removeEventListener = (/** @type {[any, any]} */ ...given) => (
      counts.removed++,
      removeEventListener.apply(signal, given)
    )
    for (let call = 0; call < 20; call++) await attention.scaledDotProductAttentionAsync(q, q, q, { signal })
    t.is(counts.added, counts.removed)
  })

  test(`${kind}: progress grows to 1, and an exception from its listener rejects the call`, async (t) => {
    /** @type {number[]} */
    const heard = []
    const given = long()
    await attention.scaledDotProductAttentionAsync(...given, { onProgress: (fraction) => heard.push(fraction) })
    t.is(heard.at(-1), 1)
    t.true(heard.every((fraction, index) => fraction > (heard[index - 1] ?? 0) && fraction <= 1))
    const mistake = new Error('a listener’s own mistake')
    const onProgress = () => {
      throw mistake
    }
    t.is(await t.throwsAsync(attention.scaledDotProductAttentionAsync(...given, { onProgress })), mistake)
  })

  if (elsewhere.has(kind)) {
    test(`${kind}: a call rejects if its out is transferred in the meantime`, async (t) => {
      const q = normal([1, 1, 40, 8], 1)
      const out = new Float32Array(320)
      const call = attention.scaledDotProductAttentionAsync(q, q, q, { out })
      structuredClone(out, { transfer: [out.buffer] })
      t.like(await rejection(t, call), { name: 'AttentionError', code: 'DTYPE', argument: 'out' })
    })

    test(`${kind}: the calling thread is free in the meantime`, async (t) => {
      let turns = 0
      const timer = setInterval(() => turns++, 1)
      await attention.scaledDotProductAttentionAsync(...long())
      clearInterval(timer)
      t.true(turns >= 5, `${turns} turns`)
    })

    test(`${kind}: a running call is cancelled within 20 ms of the signal, queued ones at once, and others continue`, async (t) => {
      const given = long()
      const reason = new Error('enough')
      /** @type {number[]} */
      const times = []
      for (let repeat = 0; repeat < 3; repeat++) {
        const controller = new AbortController()
        const { signal } = controller
        const calls = Array.from({ length: 6 }, () => attention.scaledDotProductAttentionAsync(...given, { signal }))
        const bystander =
          attention.softmax(normal([1, 8], 1)) &&
          attention.scaledDotProductAttentionAsync(given[0], given[0], given[0], { kvLengths: Int32Array.of(1) })
        await new Promise((resolve) => setTimeout(resolve, 15))
        const start = performance.now()
        controller.abort(reason)
        const outcomes = await Promise.allSettled(calls)
        times.push(performance.now() - start)
        t.true(outcomes.every((outcome) => outcome.status === 'rejected' && outcome.reason === reason))
        t.is((await bystander).output.shape.length, 4)
      }
      // The fastest of three, since other programs may use the processor in the meantime.
      t.true(Math.min(...times) < 20, `${times.join(', ')} ms`)
    })
  }
})
