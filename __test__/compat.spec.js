// The original plan's interface: the same numbers as the main entry, bare arrays with their shapes, and both spellings.
import test from 'ava'
import * as main from '@ruvector/attention'
import { AttentionConfig, HyperbolicConfig, MaskType, PerfTimer, ruVector } from '@ruvector/attention/compat'
import { createCompat } from '../lib/compat.js'
import { onBothBackends } from './support/backends.js'
import { close, faultOf, normal } from './support/tensors.js'

/** @typedef {any} Anything */

test('the package exports the object bound to its own backend', async (t) => {
  await ruVector.init()
  const x = normal([1, 2, 8], 1)
  t.deepEqual(
    ruVector.createFlash(8).forward(x.data, x.data, x.data, [1, 2, 8]),
    main.scaledDotProductAttention(x, x, x).output.data
  )
  const { allocated, total, peak } = ruVector.getMemoryUsage()
  t.true(allocated >= 0 && total >= allocated && peak >= allocated)
})

test('a timer measures milliseconds', (t) => {
  const timer = new PerfTimer('work')
  t.is(timer.name, 'work')
  const first = timer.elapsed()
  t.true(first >= 0)
  t.true(timer.elapsed() >= first)
  timer.reset()
  t.true(timer.elapsed() < 1000)
})

onBothBackends((kind, attention) => {
  /** @type {typeof import('@ruvector/attention/compat').ruVector} */
  const ruVector = /** @type {Anything} */ (
    createCompat(/** @type {Anything} */ ({ ...attention, init: async () => {} }))
  ).ruVector
  const [q, k, v] = [normal([2, 3, 4, 8], 1), normal([2, 3, 5, 8], 2), normal([2, 3, 5, 8], 3)]
  const call = /** @type {const} */ ([q.data, k.data, v.data, [2, 3, 4, 8], [2, 3, 5, 8], [2, 3, 5, 8]])

  test(`${kind}: scaled dot-product and flash attention are those of the main entry, under every mask`, async (t) => {
    const mask = normal([4, 5], 4)
    const keep = Uint8Array.of(1, 1, 1, 0, 0)
    for (const layer of [ruVector.createScaledDotProduct(8), ruVector.createFlash(8, 16)]) {
      const { scaledDotProductAttention: whole } = attention
      t.true(layer.forward(...call) instanceof Float32Array)
      close(t, layer.forward(...call), whole(q, k, v).output)
      close(t, layer.forward(...call, MaskType.None), whole(q, k, v).output)
      close(t, layer.forward(...call, MaskType.Causal), whole(q, k, v, { causal: true }).output)
      close(t, layer.forward(...call, mask.data), whole(q, k, v, { mask }).output)
      close(t, layer.forward(...call, mask), whole(q, k, v, { mask }).output)
      const padding = { data: keep, shape: [1, 5] }
      close(t, layer.forward(...call, keep), whole(q, k, v, { mask: padding }).output)
      close(t, await layer.forwardAsync(...call), whole(q, k, v).output)
    }
    const layer = ruVector.createScaledDotProduct(8)
    t.true(Math.abs(layer.scale - 1 / Math.sqrt(8)) < 1e-7)
    const weights = attention.attentionWeights(q, k).data
    close(t, layer.attentionWeights(q.data, k.data, [2, 3, 4, 8], [2, 3, 5, 8]), weights)
    close(t, layer.attention_weights(q.data, k.data, [2, 3, 4, 8], [2, 3, 5, 8]), weights)
    const flash = ruVector.createFlash(8, 16)
    t.is(flash.blockSize, 16)
    t.is(flash.block_size, 16)
  })

  test(`${kind}: layers are those of the main entry, from the same seed`, async (t) => {
    const config = Object.assign(new AttentionConfig(2, 4), { seed: 5 })
    const x = normal([2, 3, 8], 1)
    const context = normal([2, 6, 8], 2)
    const multiHead = ruVector.createMultiHead(config)
    const self = ruVector.createSelf(config)
    const cross = ruVector.createCross(config)
    const plain = { numHeads: 2, headDim: 4, seed: 5 }
    close(t, self.forward(x.data, [2, 3, 8]), new attention.SelfAttention(plain).forward(x).output)
    const causal = new attention.SelfAttention(plain).forward(x, { causal: true }).output
    close(t, self.forward(x.data, [2, 3, 8], MaskType.Causal), causal)
    const crossed = new attention.CrossAttention(plain).forward(x, context).output
    close(t, cross.forward(x.data, context.data, [2, 3, 8], [2, 6, 8]), crossed)
    close(t, await multiHead.forwardAsync(x.data, context.data, context.data, [2, 3, 8], [2, 6, 8]), crossed)
    for (const layer of [multiHead, self, cross]) {
      t.is(layer.numParameters, 4 * 8 * 8 + 4 * 8)
      t.is(layer.num_parameters, layer.numParameters)
    }
    self.dispose()
    cross.free()
    t.is(faultOf(t, () => self.forward(x.data, [2, 3, 8])).code, 'DISPOSED')
    t.is(faultOf(t, () => cross.numParameters).code, 'DISPOSED')
  })

  test(`${kind}: hyperbolic attention takes any vectors, and its geometry bare ones`, (t) => {
    const config = new HyperbolicConfig(-1, 1)
    const hyperbolic = ruVector.createHyperbolic(config)
    const inner = new attention.HyperbolicAttention({ curvature: -1, inputs: 'tangent' })
    const [a, b] = [normal([1, 4, 8], 1), normal([1, 5, 8], 2)]
    close(t, hyperbolic.forward(a.data, b.data, b.data, [1, 4, 8], [1, 5, 8]), inner.forward(a, b, b).output)
    t.is(hyperbolic.curvature, -1)
    const points = { data: a.data.map((value) => value / 10), shape: [4, 8] }
    const others = { data: b.data.map((value) => value / 10), shape: [5, 8] }
    const matrix = inner.distanceMatrix(points, others).data
    close(t, hyperbolic.distanceMatrix(points.data, others.data, [4, 8], [5, 8]), matrix)
    close(t, hyperbolic.distance_matrix(points.data, others.data, [4, 8], [5, 8]), matrix)
    const distance = hyperbolic.distance(points.data.subarray(0, 8), others.data.subarray(0, 8))
    t.true(Math.abs(distance - matrix[0]) < 1e-6)
    const projected = inner.projectToBall({ data: a.data, shape: [4, 8] }).data
    close(t, hyperbolic.projectToBall(a.data, [4, 8]), projected)
    close(t, hyperbolic.project_to_ball(a.data.subarray(0, 8)), projected.subarray(0, 8))
  })

  test(`${kind}: linear attention estimates softmax by as many features as it is told, or takes elu`, (t) => {
    const x = normal([2, 6, 8], 1)
    const call = /** @type {const} */ ([x.data, x.data, x.data, [2, 6, 8]])
    const favor = new attention.LinearAttention({ modelDim: 8, featureDim: 32, featureMap: 'favor+' })
    const linear = ruVector.createLinear(8, 32)
    close(t, linear.forward(...call), favor.forward(x, x, x).output)
    close(t, linear.forward(...call, MaskType.Causal), favor.forward(x, x, x, { causal: true }).output)
    t.is(linear.featureDim, 32)
    t.is(linear.feature_dim, 32)
    close(t, linear.featureMap(x.data, [2, 6, 8]), favor.featureMap(x))
    close(t, linear.feature_map(x.data, [2, 6, 8]), favor.featureMap(x))
    const elu = new attention.LinearAttention({ modelDim: 8 }).forward(x, x, x).output
    close(t, ruVector.createLinear(8).forward(...call), elu)
    t.is(faultOf(t, () => linear.forward(...call, new Float32Array(36))).argument, 'mask')
  })

  test(`${kind}: shapes and masks are checked where the plan left them open`, (t) => {
    const layer = /** @type {Anything} */ (ruVector.createScaledDotProduct(8))
    for (const [code, argument, ...given] of /** @type {Anything[][]} */ ([
      ['DTYPE', 'query', [1], k.data, v.data, [1]],
      ['DTYPE', 'value', q.data, k.data, undefined, [1]],
      ['SHAPE', 'queryShape', q.data, k.data, v.data],
      ['SHAPE', 'queryShape', q.data, k.data, v.data, [2, 3, 4, 9]],
      ['SHAPE', 'valueShape', q.data, k.data, v.data, [2, 3, 4, 8], [2, 3, 5, 8], [2, 3, 5, 9]],
      ['SHAPE', 'mask', ...call, new Float32Array(7)],
      ['OPTION', 'mask', ...call, MaskType.Padding],
      ['DTYPE', 'mask', ...call, 'causal'],
      ['OPTION', 'arguments', ...call, null, null]
    ])) {
      const fault = faultOf(t, () => layer.forward(...given))
      t.is(String(fault.code), code, fault.message)
      t.is(fault.argument, argument, fault.message)
    }
    t.is(faultOf(t, () => ruVector.createHyperbolic(new HyperbolicConfig(1))).argument, 'curvature')
    t.is(faultOf(t, () => ruVector.createScaledDotProduct(0)).code, 'OPTION')
  })
})
