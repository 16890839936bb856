// The interface of the original plan: every member, its numbers compared with the main entry's, and every error.
import test from 'ava'
import * as main from '@ruvector/attention'
import ruVectorByDefault, * as compat from '@ruvector/attention/compat'
import { onBothBackends } from '../../support/backends.js'
import { compatOf } from '../../support/compat.js'
import { close, normal, requireClose } from '../../support/tensors.js'

/** @typedef {any} Anything */

/** @type {typeof Symbol.dispose} */
const disposeSymbol = /** @type {any} */ (Symbol.dispose ?? Symbol.for('Symbol.dispose'))

/**
 * The error of a call, in the plan's form.
 *
 * @param {import('ava').ExecutionContext} t
 * @param {() => unknown} call
 */
function errorOf(t, call) {
  const error = /** @type {compat.WasmErrorInfo} */ (t.throws(call))
  t.true(error instanceof main.AttentionError, String(error))
  t.true(error instanceof compat.WasmErrorInfo, String(error))
  return error
}

/** The beginning of the plan's messages for each type of error. */
const BEGINNINGS = {
  InvalidDimensions: 'Invalid dimensions: ',
  InvalidConfig: 'Invalid attention configuration: ',
  ComputationError: 'Computation failed: ',
  MemoryError: 'Memory error: ',
  SerializationError: 'Serialization error: '
}

test('the entry exports the plan, with the wrapper as its default', async (t) => {
  t.is(ruVectorByDefault, compat.ruVector)
  t.true(compat.ruVector instanceof compat.RuVectorAttention)
  await Promise.all([compat.ruVector.init(), new compat.RuVectorAttention().init({ threads: 2 })])
  const x = normal([1, 2, 8], 1)
  t.deepEqual(
    compat.ruVector.createFlash(8).forward(x.data, x.data, x.data, [1, 2, 8]),
    main.scaledDotProductAttention(x, x, x).output.data
  )
  t.is(compat.version(), main.version)
  for (const usage of [compat.ruVector.getMemoryUsage(), compat.memory_usage(), compat.get_memory_usage()]) {
    t.true(usage.total > 0 && usage.total >= usage.allocated && usage.allocated >= 0 && usage.peak >= usage.allocated)
  }
  const error = /** @type {compat.WasmErrorInfo} */ (
    await t.throwsAsync(compat.ruVector.init(/** @type {Anything} */ ({ thread: 2 })))
  )
  t.is(error.error_type, 'InvalidConfig')
  t.true(error instanceof main.AttentionError)
})

test('a timer measures milliseconds since it was created or reset', async (t) => {
  const timer = new compat.PerfTimer('work')
  t.is(timer.name, 'work')
  t.is(new compat.PerfTimer().name, '')
  await new Promise((resolve) => setTimeout(resolve, 15))
  const first = timer.elapsed()
  t.true(first >= 10 && first < 10_000, `${first}`)
  timer.reset()
  t.true(timer.elapsed() < first)
})

test('a monitor measures between marks, and names a missing one', async (t) => {
  const monitor = new compat.PerformanceMonitor()
  monitor.mark('start')
  await new Promise((resolve) => setTimeout(resolve, 15))
  monitor.mark('end')
  const between = monitor.measure('start', 'end')
  t.true(between >= 10 && between <= monitor.measure('start'), `${between}`)
  t.true(monitor instanceof main.PerformanceMonitor)
  for (const [start, end, missing] of [
    ['nothing', undefined, 'nothing'],
    ['start', 'nowhere', 'nowhere']
  ]) {
    const error = errorOf(t, () => monitor.measure(String(start), end))
    t.is(error.message, `No mark found for: ${missing}`)
    t.is(error.error_type, 'InvalidConfig')
  }
  monitor.clear()
  t.is(errorOf(t, () => monitor.measure('start')).message, 'No mark found for: start')
  t.is(errorOf(t, () => monitor.mark(/** @type {Anything} */ (1))).error_type, 'InvalidConfig')
})

test('tensors are created from lists and arrays whose length matches the shape', (t) => {
  t.deepEqual(compat.createTensor([1, 2, 3, 4], [2, 2]), { data: Float32Array.of(1, 2, 3, 4), shape: [2, 2] })
  const data = new Float32Array(6)
  const tensor = compat.createTensor(data, Uint32Array.of(2, 3))
  t.is(tensor.data, data)
  t.deepEqual(tensor.shape, [2, 3])
  t.true(compat.validateTensorShape(tensor, 2))
  t.false(compat.validateTensorShape(tensor, 3))
  t.is(compat.reshape(data, [3, 2]), data)
  t.is(compat.reshape(data, Uint32Array.of(6)), data)
  const cannot = errorOf(t, () => compat.reshape(data, [2, 4]))
  t.is(cannot.message, 'Cannot reshape array of length 6 into shape [2,4]')
  t.is(cannot.error_type, 'InvalidDimensions')
  for (const call of /** @type {(() => unknown)[]} */ ([
    () => compat.createTensor([1, 2, 3], [2, 2]),
    () => compat.createTensor(/** @type {Anything} */ (['1']), [1]),
    () => compat.createTensor(/** @type {Anything} */ (undefined), [1]),
    () => compat.createTensor([1], /** @type {Anything} */ (undefined)),
    () => compat.createTensor([1], [-1]),
    () => compat.validateTensorShape(/** @type {Anything} */ (null), 2),
    () => compat.validateTensorShape({ data, shape: /** @type {Anything} */ ('23') }, 2),
    () => compat.reshape(/** @type {Anything} */ ([1, 2]), [2]),
    () => compat.computeStats(/** @type {Anything} */ ([1])),
    () => compat.normalize(/** @type {Anything} */ (tensor))
  ])) {
    const error = errorOf(t, call)
    t.is(error.error_type, 'InvalidDimensions', error.message)
    t.true(error.message.startsWith(BEGINNINGS.InvalidDimensions), error.message)
  }
  t.is(errorOf(t, () => compat.validateTensorShape(tensor, /** @type {Anything} */ ('2'))).error_type, 'InvalidConfig')
})

test('masks are zeros and minus infinities', (t) => {
  const hidden = -Infinity
  t.deepEqual(compat.createCausalMask(3), Float32Array.of(0, hidden, hidden, 0, 0, hidden, 0, 0, 0))
  t.deepEqual(compat.createCausalMask(0), new Float32Array(0))
  t.deepEqual(compat.createPaddingMask([2, 0], 3), Float32Array.of(0, 0, hidden, hidden, hidden, hidden))
  t.is(errorOf(t, () => compat.createPaddingMask([4], 3)).error_type, 'InvalidConfig')
  t.is(errorOf(t, () => compat.createPaddingMask(/** @type {Anything} */ (3), 3)).error_type, 'InvalidDimensions')
  t.is(errorOf(t, () => compat.createCausalMask(-1)).error_type, 'InvalidDimensions')
})

test('statistics are computed in doubles over n', (t) => {
  const data = normal([1000], 3).data.map((value) => value + 1000)
  const { mean, std, min, max } = compat.computeStats(data)
  const expected = data.reduce((sum, value) => sum + value, 0) / data.length
  t.is(mean, expected)
  const variance = data.reduce((sum, value) => sum + (value - expected) ** 2, 0) / data.length
  t.true(Math.abs(std - Math.sqrt(variance)) < 1e-12)
  t.is(min, Math.min(...data))
  t.is(max, Math.max(...data))
  close(t, Float32Array.of(mean, std, min, max), Object.values(main.computeStats(data)))
  const normalized = compat.normalize(data)
  close(
    t,
    normalized,
    data.map((value) => (value - mean) / (std + 1e-8)),
    1e-7
  )
  close(t, normalized, main.normalize({ data, shape: [1000] }), 1e-3)
  t.deepEqual(compat.computeStats(new Float32Array(0)), { mean: NaN, std: NaN, min: Infinity, max: -Infinity })
  t.deepEqual(compat.normalize(Float32Array.of(3, 3)), Float32Array.of(0, 0))
})

test('mask types are strings', (t) => {
  t.deepEqual(compat.MaskType, { Causal: 'causal', Padding: 'padding', None: 'none' })
  t.is(compat.AttentionMaskType, compat.MaskType)
  t.true(Object.isFrozen(compat.MaskType))
})

test('configurations have the names of both interfaces, with those of the plan on the prototype', (t) => {
  const config = new compat.AttentionConfig(8, 64)
  t.deepEqual({ ...config }, { numHeads: 8, headDim: 64, dropout: 0, useBias: true })
  t.deepEqual([config.num_heads, config.head_dim, config.dropout, config.use_bias], [8, 64, 0, true])
  config.set_dropout(0.5)
  config.set_use_bias(false)
  t.deepEqual({ ...config }, { numHeads: 8, headDim: 64, dropout: 0.5, useBias: false })
  config.num_heads = 4
  config.head_dim = 16
  config.use_bias = true
  t.deepEqual({ ...config }, { numHeads: 4, headDim: 16, dropout: 0.5, useBias: true })

  const space = new compat.HyperbolicConfig(-0.5)
  t.deepEqual({ ...space }, { manifold: 'poincare', temperature: 1, curvature: -0.5, numHeads: 1 })
  space.set_manifold_type('lorentz')
  t.deepEqual([space.manifold, space.manifold_type, space.manifoldType], ['lorentz', 'lorentz', 'lorentz'])
  space.manifold_type = 'hyperboloid'
  t.is(space.manifold, 'hyperboloid')
  space.manifoldType = 'poincare'
  space.num_heads = 2
  t.deepEqual([space.manifold, space.numHeads, space.num_heads], ['poincare', 2, 2])
})

test('every class can be freed, and objects without memory stay usable', (t) => {
  const { AttentionConfig, HyperbolicConfig, PerfTimer, PerformanceMonitor, ruVector } = compat
  const config = new AttentionConfig(2, 4)
  const space = new HyperbolicConfig(-1)
  const flash = ruVector.createFlash(4)
  const objects = [
    config,
    space,
    new PerfTimer(),
    new PerformanceMonitor(),
    new compat.BatchProcessor(),
    new compat.RuVectorAttention(),
    errorOf(t, () => compat.reshape(new Float32Array(1), [2])),
    flash,
    ruVector.createScaledDotProduct(4),
    ruVector.createMultiHead(config),
    ruVector.createCross(config),
    ruVector.createSelf(config),
    new compat.AsyncMultiHeadAttention(config),
    ruVector.createLinear(4),
    ruVector.createHyperbolic(space)
  ]
  for (const object of objects) {
    t.is(object.free(), undefined)
    t.is(object[disposeSymbol](), undefined)
  }
  t.is(ruVector.createMultiHead(config).config.num_heads, 2)
  t.is(flash.forward(...triple(4), [1, 1, 4]).length, 4)
})

/** Three equal arrays. @param {number} length @returns {[Float32Array, Float32Array, Float32Array]} */
function triple(length) {
  const array = new Float32Array(length).fill(1)
  return [array, array, array]
}

onBothBackends((kind, attention) => {
  const plan = compatOf(attention)
  const { ruVector, MaskType, AttentionConfig, HyperbolicConfig } = plan
  const { scaledDotProductAttention: whole } = attention
  const [q, k, v] = [normal([2, 4, 8], 1), normal([2, 5, 8], 2), normal([2, 5, 8], 3)]
  const shapes = /** @type {const} */ ([
    [2, 4, 8],
    [2, 5, 8],
    [2, 5, 8]
  ])
  const call = /** @type {const} */ ([q.data, k.data, v.data, ...shapes])
  const hide = (/** @type {number} */ index) => (index % 3 === 1 ? -Infinity : index / 7)
  const floats = (/** @type {number} */ length) => Float32Array.from({ length }, (_, index) => hide(index))

  test(`${kind}: scaled dot-product and flash attention equal the main entry's, with every mask`, async (t) => {
    const padding = plan.createPaddingMask([3, 5], 5)
    const keep = Uint8Array.of(1, 1, 1, 0, 0, 0, 1, 1, 1, 1)
    const tensor = (/** @type {Anything} */ data, /** @type {number[]} */ shape) => ({ mask: { data, shape } })
    /** @type {[unknown, Anything][]} */
    const masks = [
      [undefined, {}],
      [null, {}],
      ['none', {}],
      [MaskType.None, {}],
      ['causal', { causal: true }],
      [MaskType.Causal, { causal: true }],
      [floats(4 * 5), tensor(floats(4 * 5), [4, 5])],
      [floats(2 * 5), tensor(floats(2 * 5), [2, 1, 1, 5])],
      [padding, { kvLengths: Int32Array.of(3, 5) }],
      [floats(2 * 4 * 5), tensor(floats(2 * 4 * 5), [2, 1, 4, 5])],
      [keep, tensor(keep, [2, 1, 1, 5])],
      [floats(5), tensor(floats(5), [1, 5])],
      [{ data: floats(5), shape: [1, 5] }, tensor(floats(5), [1, 5])]
    ]
    for (const layer of [ruVector.createScaledDotProduct(8), new plan.WasmFlashAttention(8, 16)]) {
      for (const [mask, options] of masks) {
        const given = /** @type {Anything} */ ([...call, mask])
        const expected = whole(q, k, v, options).output
        const output = layer.forward(.../** @type {[any, any, any, any, any, any]} */ (given))
        t.true(output instanceof Float32Array)
        close(t, output, expected, 1e-6)
        close(t, await layer.forwardAsync(.../** @type {[any, any, any, any]} */ (given)), expected, 1e-6)
      }
    }
    const layer = new plan.WasmScaledDotProduct(8)
    for (const [mask, options] of masks) {
      const given = /** @type {Anything} */ ([q.data, k.data, [2, 4, 8], Uint32Array.of(2, 5, 8), mask])
      const expected = attention.attentionWeights(q, k, options)
      close(t, layer.attention_weights(.../** @type {Parameters<typeof layer.attention_weights>} */ (given)), expected)
      close(t, layer.attentionWeights(.../** @type {Parameters<typeof layer.attentionWeights>} */ (given)), expected)
      t.is(expected.data.length, 2 * 4 * 5)
    }
  })

  test(`${kind}: attention of one head has its scale, its block size and its dropout`, (t) => {
    t.true(Math.abs(ruVector.createScaledDotProduct(64).scale - 0.125) < 1e-7)
    t.is(ruVector.createFlash(8).block_size, 64)
    t.is(ruVector.createFlash(8, 16).block_size, 16)
    t.is(ruVector.createFlash(8, 16).blockSize, 16)
    const expected = new attention.ScaledDotProductAttention(8, { dropout: 0.5 }).forward(q, k, v).output
    close(t, ruVector.createScaledDotProduct(8, 0.5).forward(...call), expected)
    t.throws(() => requireClose(expected, whole(q, k, v).output))
  })

  test(`${kind}: masks from createPaddingMask are padding, even with as many rows as sequences`, (t) => {
    const x = normal([3, 3, 8], 5)
    const mask = plan.createPaddingMask([1, 2, 3], 3)
    const layer = ruVector.createScaledDotProduct(8)
    const given = /** @type {const} */ ([x.data, x.data, x.data, [3, 3, 8], [3, 3, 8], [3, 3, 8]])
    close(t, layer.forward(...given, mask), whole(x, x, x, { kvLengths: Int32Array.of(1, 2, 3) }).output)
    // A copy is an array like any other, and [L,S] comes first.
    const copy = { data: mask.slice(), shape: [3, 3] }
    close(t, layer.forward(...given, mask.slice()), whole(x, x, x, { mask: copy }).output)
    t.is(errorOf(t, () => layer.forward(...call, mask)).argument, 'mask')
  })

  test(`${kind}: an omitted shape equals that of the previous array, and 4-D shapes have heads`, (t) => {
    const layer = ruVector.createScaledDotProduct(8)
    const same = whole(q, q, q).output
    close(t, layer.forward(q.data, q.data, q.data, [2, 4, 8]), same)
    close(t, layer.forward(q.data, q.data, q.data, Uint32Array.of(2, 4, 8), 'none'), same)
    const heads = normal([2, 3, 4, 8], 6)
    const mask = floats(2 * 3 * 4 * 4)
    const expected = whole(heads, heads, heads, { mask: { data: mask, shape: [2, 3, 4, 4] } }).output
    close(t, layer.forward(heads.data, heads.data, heads.data, heads.shape, mask), expected)
  })

  test(`${kind}: multi-head attention takes one shape, and returns output, weights, time and memory`, async (t) => {
    const config = new AttentionConfig(2, 4)
    const layer = ruVector.createMultiHead(config)
    const inner = new attention.MultiHeadAttention({ numHeads: 2, headDim: 4 })
    const padding = plan.createPaddingMask([3, 5], 5)
    const [batch, rows, keys] = [2, 4, 5]
    const perHead = floats(batch * 2 * rows * keys)
    /** @type {[compat.Mask, Anything][]} */
    const masks = [
      [undefined, {}],
      [MaskType.Causal, { causal: true }],
      [floats(rows * keys), { mask: { data: floats(rows * keys), shape: [rows, keys] } }],
      [padding, { kvLengths: Int32Array.of(3, 5) }],
      [floats(40), { mask: { data: floats(40), shape: [batch, 1, rows, keys] } }],
      [perHead, { mask: { data: perHead, shape: [batch, 2, rows, keys] } }]
    ]
    for (const [mask, options] of masks) {
      const expected = inner.forward(q, k, v, { ...options, weights: true })
      for (const result of [
        layer.forward(q.data, k.data, v.data, [batch, rows, keys, 8], mask),
        await layer.forwardAsync(q.data, k.data, v.data, Uint32Array.of(batch, rows, keys, 8), mask)
      ]) {
        t.true(result.output instanceof Float32Array && result.weights instanceof Float32Array)
        close(t, result.output, expected.output)
        close(t, result.weights, expected.weights)
        t.is(result.weights.length, batch * 2 * rows * keys)
        const { computeTime, memoryUsed } = /** @type {NonNullable<typeof result.metadata>} */ (result.metadata)
        // Browsers' clocks are coarse.
        t.true(computeTime >= 0 && computeTime < 60_000, `${computeTime}`)
        t.true(memoryUsed >= 0 && memoryUsed < 1e8, `${memoryUsed}`)
      }
    }
    t.is(layer.num_parameters(), 4 * 8 * 8 + 4 * 8)
    t.is(layer.numParameters, layer.num_parameters())
    layer.free()
    t.is(errorOf(t, () => layer.forward(q.data, k.data, v.data, [2, 4, 5, 8])).code, 'DISPOSED')
    t.is(errorOf(t, () => layer.num_parameters()).error_type, 'MemoryError')
  })

  // Alone, since any other call starts the peak anew.
  test.serial(`${kind}: the memory of a call is the backend's peak during the call`, async (t) => {
    const layer = ruVector.createMultiHead({ numHeads: 4, headDim: 16 })
    const call = (/** @type {number} */ length) => {
      const x = normal([1, length, 64], length).data
      return /** @type {const} */ ([x, x, x, [1, length, length, 64]])
    }
    const used = (/** @type {compat.IAttentionResult} */ result) => result.metadata?.memoryUsed ?? NaN
    layer.forward(...call(16))
    const small = used(layer.forward(...call(16)))
    const large = used(layer.forward(...call(1024)))
    const later = used(await layer.forwardAsync(...call(1024)))
    // A call stores at least the projections of 1,024 rows of 64 floats. A layer needs a few times that and, in
    // WebAssembly, a copy of the weights.
    const row = 1024 * 64 * 4
    const weights = 4 * 1024 * 1024 * 4
    const most = 16 * row + (kind === 'wasm' ? weights : 0)
    for (const bytes of [large, later]) t.true(bytes >= 2 * row && bytes < most, `${bytes}`)
    t.true(small < large / 8, `${small} of ${large}`)
  })

  test(`${kind}: layers take plain configurations, seeds, other model sizes and fewer key heads`, (t) => {
    const config = { numHeads: 2, headDim: 4, modelDim: 12, kvHeads: 1, seed: 7, useBias: false, dropout: 0.25 }
    const x = normal([2, 4, 12], 8)
    const layer = new plan.WasmMultiHeadAttention(config)
    const inner = new attention.MultiHeadAttention(config)
    const result = layer.forward(x.data, x.data, x.data, [2, 4, 4, 12])
    close(t, result.output, inner.forward(x, x, x).output)
    t.is(layer.num_parameters(), inner.numParameters)
    const copy = layer.config
    t.true(copy instanceof AttentionConfig)
    t.not(copy, layer.config)
    t.like(copy, { ...config, num_heads: 2, head_dim: 4, use_bias: false })
    copy.set_dropout(0.9)
    t.is(layer.config.dropout, 0.25)
    t.deepEqual(new plan.WasmMultiHeadAttention(layer.config).config, layer.config)
    // The main entry takes the plan's configurations too.
    close(t, new attention.MultiHeadAttention(layer.config).forward(x, x, x).output, result.output)
    const ball = new attention.HyperbolicAttention(new HyperbolicConfig(-1, 2))
    t.is(ball.config.numHeads, 2)

    // Dropout applies in training mode only.
    layer.train()
    inner.train()
    const trained = inner.forward(x, x, x).output
    t.throws(() => requireClose(trained, result.output))
    close(t, layer.forward(x.data, x.data, x.data, [2, 4, 4, 12]).output, trained)
    layer.train(false)
    close(t, layer.forward(x.data, x.data, x.data, [2, 4, 4, 12]).output, result.output)
  })

  test(`${kind}: a configuration remains usable after a layer has taken it`, (t) => {
    const config = new AttentionConfig(2, 4)
    const first = ruVector.createMultiHead(config)
    config.num_heads = 4
    const second = ruVector.createSelf(config)
    t.is(first.config.num_heads, 2)
    t.is(second.config.num_heads, 4)
    config.free()
    t.is(ruVector.createCross(config).config.head_dim, 4)
  })

  test(`${kind}: cross attention takes separate keys and values, self attention one array`, async (t) => {
    const config = Object.assign(new AttentionConfig(2, 4), { seed: 5 })
    const plain = { numHeads: 2, headDim: 4, seed: 5 }
    const cross = ruVector.createCross(config)
    const multiHead = new attention.MultiHeadAttention(plain)
    const padding = plan.createPaddingMask([3, 5], 5)
    const kvLengths = Int32Array.of(3, 5)
    const expected = multiHead.forward(q, k, v).output
    const given = /** @type {const} */ ([q.data, k.data, v.data, [2, 4, 8], [2, 5, 8]])
    close(t, cross.forward(...given), expected)
    close(t, await cross.forwardAsync(...given), expected)
    close(t, cross.forward(...given, padding), multiHead.forward(q, k, v, { kvLengths }).output)
    const context = new attention.CrossAttention(plain).forward(q, k).output
    close(t, new plan.WasmCrossAttention(config).forward(q.data, k.data, k.data, [2, 4, 8], [2, 5, 8]), context)

    const self = ruVector.createSelf(plain)
    const inner = new attention.SelfAttention(plain)
    close(t, self.forward(q.data, [2, 4, 8]), inner.forward(q).output)
    close(t, self.forward(q.data, [2, 4, 8], 'causal'), inner.forward(q, { causal: true }).output)
    const causal = await new plan.WasmSelfAttention(plain).forwardAsync(q.data, Uint32Array.of(2, 4, 8), 'causal')
    close(t, causal, inner.forward(q, { causal: true }).output)
    for (const layer of [cross, self]) {
      t.is(layer.num_parameters(), 4 * 8 * 8 + 4 * 8)
      t.is(layer.numParameters, layer.num_parameters())
      layer.dispose()
      t.is(errorOf(t, () => layer.num_parameters()).code, 'DISPOSED')
    }
  })

  test(`${kind}: hyperbolic attention takes any vectors, and its geometry takes points without shapes`, async (t) => {
    for (const manifold of /** @type {const} */ (['poincare', 'lorentz', 'hyperboloid'])) {
      const config = { curvature: -0.5, numHeads: 2 }
      const hyperbolic = ruVector.createHyperbolic({ ...config, manifoldType: manifold })
      const inner = new attention.HyperbolicAttention({ ...config, manifold, inputs: 'tangent' })
      const given = /** @type {const} */ ([q.data, k.data, v.data, [2, 4, 8], [2, 5, 8]])
      close(t, hyperbolic.forward(...given), inner.forward(q, k, v).output)
      close(t, hyperbolic.forward(q.data, q.data, q.data, [2, 4, 8]), inner.forward(q, q, q).output)
      const perHead = floats(2 * 2 * 4 * 5)
      const mask = { data: perHead, shape: [2, 2, 4, 5] }
      close(t, await hyperbolic.forwardAsync(...given, perHead), inner.forward(q, k, v, { mask }).output)
      t.is(hyperbolic.curvature, -0.5)
      t.is(errorOf(t, () => hyperbolic.forward(...triple(3), [1, 1, 3])).error_type, 'InvalidDimensions')

      const size = manifold === 'poincare' ? 8 : 9
      const points = inner.projectToBall(normal([4, size], 11))
      const others = inner.projectToBall(normal([5, size], 12))
      const matrix = inner.distanceMatrix(points, others).data
      close(t, hyperbolic.distance_matrix(points.data, others.data, [4, size], [5, size]), matrix)
      close(t, hyperbolic.distanceMatrix(points.data, others.data, Uint32Array.of(4, size), [5, size]), matrix)
      const rows = inner.distanceMatrix(points, points).data
      close(t, hyperbolic.distance_matrix(points.data, points.data, [4, size]), rows)
      const [a, b] = [points.data.subarray(0, size), others.data.subarray(0, size)]
      close(t, hyperbolic.distance_matrix(a, b), matrix.subarray(0, 1))
      t.true(Math.abs(hyperbolic.distance(a, b) - matrix[0]) < 1e-6)
      const wild = normal([3, size], 13)
      const projected = inner.projectToBall(wild).data
      close(t, hyperbolic.project_to_ball(wild.data, [3, size]), projected)
      close(t, hyperbolic.projectToBall(wild.data.subarray(0, size)), projected.subarray(0, size))
    }
    const config = new HyperbolicConfig(-1, 4)
    const points = Float32Array.of(0.1, 0.2, 0.3, 0.4)
    t.deepEqual(new plan.WasmHyperbolicAttention(config).distance_matrix(points, points), Float32Array.of(0))
    config.set_manifold_type('lorentz')
    config.temperature = 2
    const inner = new attention.HyperbolicAttention({ ...config, inputs: 'tangent' })
    close(t, ruVector.createHyperbolic(config).forward(...call), inner.forward(q, k, v).output)
  })

  test(`${kind}: linear attention estimates softmax with the given number of features, or uses elu`, async (t) => {
    const x = normal([2, 6, 8], 1)
    const given = /** @type {const} */ ([x.data, x.data, x.data, [2, 6, 8]])
    const favor = new attention.LinearAttention({ modelDim: 8, featureDim: 32, featureMap: 'favor+' })
    const linear = ruVector.createLinear(8, 32)
    close(t, linear.forward(...given), favor.forward(x, x, x).output)
    close(t, await linear.forwardAsync(...given), favor.forward(x, x, x).output)
    close(t, linear.forward(...given, 'causal'), favor.forward(x, x, x, { causal: true }).output)
    t.is(linear.feature_dim, 32)
    t.is(linear.featureDim, 32)
    const features = favor.featureMap(x)
    t.is(linear.feature_map(x.data).length, 12 * 32)
    close(t, linear.feature_map(x.data), features)
    close(t, linear.featureMap(x.data, [2, 6, 8]), features)
    const elu = new attention.LinearAttention({ modelDim: 8 }).forward(x, x, x).output
    close(t, new plan.WasmLinearAttention(8, /** @type {Anything} */ (undefined)).forward(...given), elu)
    t.is(ruVector.createLinear(8).feature_dim, 8)
    const refused = errorOf(t, () => linear.forward(...given, /** @type {Anything} */ (new Float32Array(36))))
    t.is(refused.argument, 'mask')
    t.is(errorOf(t, () => linear.feature_map(new Float32Array(9))).error_type, 'InvalidDimensions')
  })

  test(`${kind}: asynchronous attention leaves the calling thread free, reports progress and can be cancelled`, async (t) => {
    const config = { numHeads: 4, headDim: 16 }
    const layer = new plan.AsyncMultiHeadAttention(config)
    const length = 1500
    const x = normal([1, length, 64], 4).data
    const given = /** @type {const} */ ([x, x, x, [1, length, length, 64]])
    let turns = 0
    const timer = setInterval(() => turns++, 1)
    const start = performance.now()
    const result = await layer.forward_async(...given).finally(() => clearInterval(timer))
    const elapsed = performance.now() - start
    const { output, weights } = new plan.WasmMultiHeadAttention(config).forward(...given)
    close(t, result.output, output)
    close(t, result.weights, weights)
    // Browsers may wait 4 ms between turns. If a page's policy forbids workers, the call ran on this thread.
    if (attention.backend().threads > 1) t.true(turns >= Math.min(3, elapsed / 10), `${turns} turns in ${elapsed} ms`)
    /** @type {number[]} */
    const fractions = []
    const onProgress = (/** @type {number} */ fraction) => void fractions.push(fraction)
    await layer.forward_async(...given, 'causal', { onProgress })
    t.is(fractions.at(-1), 1)
    t.deepEqual(
      fractions,
      fractions.toSorted((a, b) => a - b)
    )
    const stop = new AbortController()
    const cancelled = layer.forward_async(...given, null, { signal: stop.signal })
    stop.abort(new Error('no longer wanted'))
    t.is((await t.throwsAsync(cancelled))?.message, 'no longer wanted')
    const refused = await t.throwsAsync(layer.forward_async(x, x, x, [1, length, 64]))
    t.true(refused instanceof plan.WasmErrorInfo)
  })

  test(`${kind}: a batch runs every kind of call, and returns results in the order of its inputs`, async (t) => {
    const config = new AttentionConfig(2, 4)
    const [query, key, value] = [q.data, k.data, v.data]
    const layer = ruVector.createMultiHead(config)
    const cross = ruVector.createCross(config)
    const self = ruVector.createSelf(config)
    const flash = ruVector.createFlash(8)
    const inputs = [
      { attention: layer, query, key, value, shape: [2, 4, 5, 8], mask: MaskType.Causal },
      { config, query, key, value, shape: Uint32Array.of(2, 4, 5, 8) },
      { attention: cross, query, key, value, shapes: shapes.slice(0, 2).map((shape) => [...shape]) },
      { attention: self, query, shape: [2, 4, 8], mask: null },
      { attention: self, query, key: query, value: query, shape: [2, 4, 8] },
      { attention: flash, query, key: query, value: query, shape: [2, 4, 8] },
      { attention: ruVector.createScaledDotProduct(8), query, key, value, shapes: shapes.map((shape) => [...shape]) },
      { attention: ruVector.createLinear(8), query, key: query, value: query, shape: [2, 4, 8] },
      {
        attention: ruVector.createHyperbolic({ curvature: -1, numHeads: 2 }),
        query,
        key: query,
        value: query,
        shape: [2, 4, 8]
      },
      { attention: new plan.AsyncMultiHeadAttention(config), query, key, value, shape: [2, 4, 5, 8] }
    ]
    /** @type {Anything[]} */
    const expected = [
      layer.forward(query, key, value, [2, 4, 5, 8], 'causal'),
      layer.forward(query, key, value, [2, 4, 5, 8]),
      cross.forward(query, key, value, [2, 4, 8], [2, 5, 8]),
      self.forward(query, [2, 4, 8]),
      self.forward(query, [2, 4, 8]),
      flash.forward(query, query, query, [2, 4, 8]),
      whole(q, k, v).output.data,
      new attention.LinearAttention({ modelDim: 8 }).forward(q, q, q).output.data,
      new attention.HyperbolicAttention({ curvature: -1, numHeads: 2, inputs: 'tangent' }).forward(q, q, q).output.data,
      layer.forward(query, key, value, [2, 4, 5, 8])
    ]
    const processor = new plan.BatchProcessor()
    for (const options of [
      undefined,
      { batchSize: 1 },
      { batchSize: 3, async: true },
      { batchSize: 4, async: false }
    ]) {
      /** @type {number[]} */
      const fractions = []
      const progressCallback = (/** @type {number} */ fraction) => void fractions.push(fraction)
      const results = /** @type {Anything[]} */ (
        await processor.process_batch(inputs, options && { ...options, progressCallback })
      )
      t.is(results.length, inputs.length)
      results.forEach((result, index) => {
        close(t, result.output ?? result, expected[index].output ?? expected[index])
        if (expected[index].weights) close(t, result.weights, expected[index].weights)
        t.is(result.metadata === undefined, expected[index].metadata === undefined)
      })
      if (!options) continue
      t.is(fractions.at(-1), 1)
      t.true(fractions.length >= inputs.length - 1)
      t.deepEqual(
        fractions,
        fractions.toSorted((a, b) => a - b)
      )
    }
    t.deepEqual(await processor.process_batch([]), [])
    t.deepEqual(await processor.process_batch([], { batchSize: 2 }), [])
  })

  test(`${kind}: batchSize limits the number of concurrent calls in a batch`, async (t) => {
    let running = 0
    let most = 0
    class Counting extends plan.WasmFlashAttention {
      /** @override @param {Anything[]} given @returns {Promise<Float32Array>} */
      async forwardAsync(...given) {
        most = Math.max(most, ++running)
        try {
          // Lets the other calls start.
          await new Promise((resolve) => setTimeout(resolve, 2))
          return await super.forwardAsync(.../** @type {[Anything, Anything, Anything, Anything]} */ (given))
        } finally {
          running--
        }
      }
    }
    const [query, key, value] = triple(8)
    const input = { attention: new Counting(8), query, key, value, shape: [1, 1, 8] }
    for (const batchSize of [1, 2, 5]) {
      most = 0
      await new plan.BatchProcessor().process_batch(
        Array.from({ length: 9 }, () => input),
        { batchSize }
      )
      t.is(most, batchSize)
    }
    most = 0
    await new plan.BatchProcessor().process_batch([input, input], { batchSize: 2, async: false })
    t.is(most, 0)
  })

  test(`${kind}: a batch with failures reports the outcome of each input`, async (t) => {
    const [query, key, value] = triple(8)
    const flash = ruVector.createFlash(8)
    const right = { attention: flash, query, key, value, shape: [1, 1, 8] }
    const self = ruVector.createSelf({ numHeads: 1, headDim: 8 })
    /** @type {[Anything, string, string][]} */
    const wrong = [
      [null, 'InvalidConfig', 'input'],
      [{ ...right, attention: undefined }, 'InvalidConfig', 'attention'],
      [{ ...right, config: { numHeads: 1, headDim: 8 } }, 'InvalidConfig', 'attention'],
      [{ ...right, attention: {} }, 'InvalidConfig', 'attention'],
      [{ ...right, masks: null, scale: 2 }, 'InvalidConfig', 'scale'],
      [{ ...right, shape: undefined }, 'InvalidDimensions', 'shape'],
      [{ ...right, shapes: [[1, 1, 8]] }, 'InvalidDimensions', 'shape'],
      [{ ...right, shape: undefined, shapes: 3 }, 'InvalidDimensions', 'shapes'],
      [{ ...right, shape: [1, 2, 8] }, 'InvalidDimensions', 'queryShape'],
      [{ ...right, query: undefined }, 'InvalidDimensions', 'query'],
      [{ ...right, attention: self, key: key.slice() }, 'InvalidConfig', 'key'],
      [{ ...right, attention: undefined, config: { numHeads: 0, headDim: 8 } }, 'InvalidConfig', 'numHeads']
    ]
    for (const async of [true, false]) {
      const inputs = [right, ...wrong.map(([input]) => input), right]
      const batch = new plan.BatchProcessor().process_batch(inputs, { batchSize: 2, async })
      const error = /** @type {main.BatchError} */ (await t.throwsAsync(batch))
      t.true(error instanceof attention.BatchError)
      t.is(error.results.length, inputs.length)
      t.is(error.results[0].status, 'fulfilled')
      t.is(error.results.at(-1)?.status, 'fulfilled')
      wrong.forEach(([, type, argument], index) => {
        const reason = /** @type {compat.WasmErrorInfo} */ (error.errors[index])
        t.true(reason instanceof compat.WasmErrorInfo, String(reason))
        t.deepEqual([reason.error_type, reason.argument], [type, argument], reason.message)
      })
    }
    for (const [options, argument] of /** @type {[Anything, string][]} */ ([
      [{ batchSize: 0 }, 'batchSize'],
      [{ batchSize: 1.5 }, 'batchSize'],
      [{ batchSize: 1, async: 1 }, 'async'],
      [{ batchSize: 1, progressCallback: 'x' }, 'progressCallback'],
      [{ size: 1 }, 'size'],
      [3, 'options']
    ])) {
      const error = await t.throwsAsync(new plan.BatchProcessor().process_batch([right], options))
      t.true(error instanceof compat.WasmErrorInfo, String(error))
      t.is(/** @type {compat.WasmErrorInfo} */ (error).argument, argument)
    }
    const list = await t.throwsAsync(new plan.BatchProcessor().process_batch(/** @type {Anything} */ ('x')))
    t.is(/** @type {compat.WasmErrorInfo} */ (list).error_type, 'InvalidConfig')
  })

  test(`${kind}: every invalid input is an error with the plan's type and message`, (t) => {
    const any = /** @type {Anything} */ (ruVector)
    const layer = /** @type {Anything} */ (ruVector.createScaledDotProduct(8))
    const multiHead = /** @type {Anything} */ (ruVector.createMultiHead({ numHeads: 2, headDim: 4 }))
    const hyperbolic = /** @type {Anything} */ (ruVector.createHyperbolic({ curvature: -1, numHeads: 1 }))
    const cross = /** @type {Anything} */ (ruVector.createCross({ numHeads: 2, headDim: 4 }))
    const arrays = [q.data, k.data, v.data]
    const four = [2, 4, 5, 8]
    /** @type {[keyof typeof BEGINNINGS, string | undefined, () => unknown][]} */
    const wrong = [
      ['InvalidDimensions', 'query', () => layer.forward()],
      ['InvalidDimensions', 'query', () => layer.forward([1], k.data, v.data, [1])],
      ['InvalidDimensions', 'value', () => layer.forward(q.data, k.data)],
      ['InvalidDimensions', 'queryShape', () => layer.forward(...arrays)],
      ['InvalidDimensions', 'queryShape', () => layer.forward(...arrays, [2, 4, 9], shapes[1], shapes[2])],
      ['InvalidDimensions', 'queryShape', () => layer.forward(...arrays, ['2', 4, 8], shapes[1], shapes[2])],
      ['InvalidDimensions', 'valueShape', () => layer.forward(...arrays, shapes[0], shapes[1], [2, 5, 9])],
      ['InvalidDimensions', 'mask', () => layer.forward(...call, new Float32Array(7))],
      ['InvalidConfig', 'mask', () => layer.forward(...call, MaskType.Padding)],
      ['InvalidConfig', 'mask', () => layer.forward(...call, 'diagonal')],
      ['InvalidConfig', 'mask', () => layer.forward(...call, 1)],
      ['InvalidDimensions', 'mask', () => layer.forward(...call, new Int32Array(20))],
      ['InvalidConfig', 'arguments', () => layer.forward(...call, null, null)],
      ['InvalidDimensions', 'key', () => layer.attention_weights(q.data)],
      ['InvalidDimensions', 'query', () => multiHead.forward()],
      ['InvalidDimensions', 'shape', () => multiHead.forward(...arrays)],
      ['InvalidDimensions', 'shape', () => multiHead.forward(...arrays, shapes[0], shapes[1], shapes[2])],
      ['InvalidDimensions', 'shape', () => multiHead.forward(...arrays, [2, 4, 8])],
      ['InvalidDimensions', 'shape', () => multiHead.forward(...arrays, [2, 4, 5, -8])],
      ['InvalidDimensions', 'query', () => multiHead.forward(...arrays, [2, 5, 5, 8])],
      ['InvalidDimensions', 'key', () => multiHead.forward(...arrays, [2, 4, 6, 8])],
      ['InvalidDimensions', 'query', () => multiHead.forward(q.data, k.data, v.data, [2, 2, 5, 16])],
      ['InvalidDimensions', 'mask', () => multiHead.forward(...arrays, four, new Float32Array(3))],
      ['InvalidConfig', 'mask', () => multiHead.forward(...arrays, four, 'padding')],
      ['InvalidConfig', 'arguments', () => multiHead.forward(...arrays, four, null, {})],
      ['InvalidDimensions', 'value', () => cross.forward(q.data, k.data, [2, 4, 8], [2, 5, 8])],
      ['InvalidConfig', 'mode', () => multiHead.train('yes')],
      ['InvalidConfig', 'config', () => any.createMultiHead()],
      ['InvalidConfig', 'config', () => any.createMultiHead(null)],
      ['InvalidConfig', 'config', () => any.createSelf(8)],
      ['InvalidConfig', 'config', () => any.createCross([2, 4])],
      ['InvalidConfig', 'config', () => new plan.WasmMultiHeadAttention(/** @type {Anything} */ ('x'))],
      ['InvalidConfig', undefined, () => any.createMultiHead(new HyperbolicConfig(-1))],
      ['InvalidConfig', 'numHeads', () => any.createMultiHead(new AttentionConfig(0, 4))],
      ['InvalidConfig', 'dropout', () => any.createMultiHead({ numHeads: 1, headDim: 4, dropout: 1 })],
      ['InvalidConfig', 'heads', () => any.createMultiHead({ numHeads: 1, headDim: 4, heads: 2 })],
      ['InvalidConfig', 'config', () => any.createHyperbolic(undefined)],
      ['InvalidConfig', 'curvature', () => any.createHyperbolic(new HyperbolicConfig(1))],
      ['InvalidConfig', 'manifold', () => any.createHyperbolic({ curvature: -1, numHeads: 1, manifoldType: 'torus' })],
      [
        'InvalidConfig',
        'manifoldType',
        () => any.createHyperbolic({ curvature: -1, manifold: 'lorentz', manifoldType: 'poincare' })
      ],
      ['InvalidConfig', 'headDim', () => any.createScaledDotProduct()],
      ['InvalidConfig', 'headDim', () => any.createScaledDotProduct(0)],
      ['InvalidConfig', 'dropout', () => any.createScaledDotProduct(8, 2)],
      ['InvalidConfig', 'blockSize', () => any.createFlash(8, 0)],
      ['InvalidConfig', 'featureDim', () => any.createLinear(8, 0)],
      ['InvalidConfig', 'modelDim', () => any.createLinear()],
      ['InvalidDimensions', 'b', () => hyperbolic.distance_matrix(Float32Array.of(0))],
      ['InvalidDimensions', 'aShape', () => hyperbolic.distance_matrix(q.data, k.data, [2, 2], [2, 2])],
      ['InvalidConfig', 'arguments', () => hyperbolic.distance_matrix(q.data, k.data, [8, 8], [10, 8], [1])],
      ['ComputationError', undefined, () => hyperbolic.distance_matrix(Float32Array.of(3), Float32Array.of(0))],
      ['InvalidConfig', 'arguments', () => hyperbolic.project_to_ball(q.data, [8, 8], [8, 8])]
    ]
    for (const [type, argument, run] of wrong) {
      const error = errorOf(t, run)
      t.is(error.error_type, type, `${run}: ${error.message}`)
      if (argument) t.is(error.argument, argument, `${run}: ${error.message}`)
      t.true(error.message.startsWith(BEGINNINGS[type]), error.message)
      t.is(error.name, 'AttentionError')
    }
    const shape = errorOf(t, () => multiHead.forward(...arrays, [2, 4, 8]))
    t.true(
      shape.message.startsWith('Invalid dimensions: Shape must be [batch, seq_q, seq_k, model_dim]'),
      shape.message
    )
  })
})
