// Attention objects with settings: ScaledDotProductAttention, and FlashAttention, whose tile size does not affect
// results.
import test from 'ava'
import fc from 'fast-check'
import { onBothBackends } from '../support/backends.js'
import { bits, eighths, faultOf, groupedInputs, normal, requireClose } from '../support/tensors.js'

const one = (/** @type {number} */ min, /** @type {number} */ max) => fc.integer({ min, max })

onBothBackends((kind, attention) => {
  const { scaledDotProductAttention, attentionWeights, ScaledDotProductAttention, FlashAttention } = attention

  test(`${kind}: flash attention equals scaled dot-product attention for every block size`, (t) => {
    const cases = fc.record({
      sizes: fc.tuple(one(1, 2), one(1, 2), one(1, 3), one(0, 40), one(0, 150), one(1, 16), one(0, 16)),
      blockSize: fc.oneof(one(1, 20), fc.constantFrom(31, 64, 65, 100, 4096, 1e6)),
      causal: fc.boolean(),
      window: fc.option(fc.tuple(one(-1, 20), one(-1, 20)), { nil: undefined }),
      mask: fc.constantFrom('none', 'boolean', 'float'),
      softcap: fc.constantFrom(undefined, 3),
      dropout: fc.constantFrom(undefined, 0.3),
      top: fc.option(one(1, 4), { nil: undefined }),
      isBlhd: fc.boolean(),
      seed: one(0, 1e6)
    })
    const property = fc.property(cases, ({ sizes, blockSize, mask, top, isBlhd, seed, ...scalars }) => {
      const [, , , length, keys, size] = sizes
      const [q, k, v] = groupedInputs(sizes, isBlhd, seed)
      const bias = eighths([length, keys], seed + 3)
      const visible = { data: Uint8Array.from(bias.data, (value) => Number(value < 1)), shape: bias.shape }
      const options = {
        ...scalars,
        seed,
        layout: isBlhd ? /** @type {const} */ ('blhd') : undefined,
        mask: { none: undefined, boolean: visible, float: bias }[mask],
        logSumExp: true,
        topWeights: top && top <= keys ? top : undefined
      }
      const expected = scaledDotProductAttention(q, k, v, options)
      const flash = new FlashAttention(size, { blockSize })
      const found = flash.forward(q, k, v, options)
      requireClose(found.output, expected.output, 1e-5, 'output')
      requireClose(found.logSumExp, expected.logSumExp, 1e-5, 'logSumExp')
      requireClose(found.topWeights?.values, expected.topWeights?.values, 1e-5, 'topWeights')
      requireClose(found.output.shape, expected.output.shape, 0)
    })
    t.notThrows(() => fc.assert(property, { numRuns: 200, includeErrorInReport: true }))
  })

  test(`${kind}: flash attention with the default block size gives the same bits as scaled dot-product attention`, (t) => {
    const [q, k, v] = [1, 2, 3].map((seed) => normal([2, 3, 70, 24], seed))
    const out = new Float32Array(q.data.length)
    const flash = new FlashAttention(24)
    t.is(flash.blockSize, 64)
    t.is(flash.headDim, 24)
    const found = flash.forward(q, k, v, { causal: true, out })
    t.is(found.output.data, out)
    t.is(bits(found.output), bits(scaledDotProductAttention(q, k, v, { causal: true }).output))
  })

  test(`${kind}: the settings of an object apply to each call, and options of a call override them`, (t) => {
    const [q, k, v] = [1, 2, 3].map((seed) => normal([2, 3, 5, 16], seed))
    const settings = { scale: 0.5, dropout: 0.4, seed: 9 }
    const head = new ScaledDotProductAttention(16, settings)
    const same = (/** @type {any} */ found, /** @type {any} */ expected) => t.is(bits(found), bits(expected))
    t.is(head.scale, 0.5)
    t.is(head.headDim, 16)
    same(head.forward(q, k, v).output, scaledDotProductAttention(q, k, v, settings).output)
    same(head.attentionWeights(q, k), attentionWeights(q, k, settings))
    same(head.attentionWeights(q, k, { stage: 'scores' }), attentionWeights(q, k, { scale: 0.5, stage: 'scores' }))
    const own = { scale: 0.25, dropout: 0, causal: true, weights: true }
    t.deepEqual(head.forward(q, k, v, own), scaledDotProductAttention(q, k, v, own))
    // Here as everywhere, null means absent.
    same(head.forward(q, k, v, { scale: null, seed: undefined }).output, head.forward(q, k, v).output)
    t.is(new ScaledDotProductAttention(10).scale, 1 / Math.sqrt(10))
    same(new ScaledDotProductAttention(16).forward(q, k, v).output, scaledDotProductAttention(q, k, v).output)
  })

  test(`${kind}: invalid settings throw when the object is created`, (t) => {
    const made = (/** @type {any} */ Kind, /** @type {any[]} */ ...given) => faultOf(t, () => new Kind(...given))
    for (const Kind of [ScaledDotProductAttention, FlashAttention]) {
      for (const [headDim, actual] of [
        [0, '0'],
        [2.5, '2.5'],
        ['8', '"8"'],
        [NaN, 'NaN'],
        [undefined, 'nothing']
      ]) {
        t.like(made(Kind, headDim), {
          code: 'OPTION',
          argument: 'headDim',
          expected: 'an integer of at least 1',
          actual
        })
      }
      t.like(made(Kind, 8, { headDim: 8 }), { code: 'OPTION', argument: 'headDim' })
      t.like(made(Kind, 8, { width: 8 }), { code: 'OPTION', argument: 'width', actual: 'an unknown name' })
      t.like(made(Kind, 8, 4), { code: 'OPTION', argument: 'options' })
    }
    t.like(made(FlashAttention, 8, { blockSize: 0 }), {
      argument: 'blockSize',
      expected: 'an integer of at least 1',
      actual: '0'
    })
    t.like(made(FlashAttention, 8, { scale: 1 }), { argument: 'scale', actual: 'an unknown name' })
    t.like(made(ScaledDotProductAttention, 8, { dropout: 1 }), { argument: 'dropout', actual: '1' })
    t.like(made(ScaledDotProductAttention, 8, { scale: Infinity }), { argument: 'scale', actual: 'Infinity' })
    t.like(made(ScaledDotProductAttention, 8, { seed: -1 }), { argument: 'seed', actual: '-1' })
    t.like(made(ScaledDotProductAttention, 8, { blockSize: 4 }), { argument: 'blockSize', actual: 'an unknown name' })
  })

  test(`${kind}: a query of another head size is rejected, as are weights of flash attention`, (t) => {
    const q = normal([1, 2, 4, 6], 1)
    const [head, flash] = [new ScaledDotProductAttention(8), new FlashAttention(8)]
    const fault = { code: 'SHAPE', argument: 'q', expected: 'head size 8', actual: '[1, 2, 4, 6]' }
    t.like(
      faultOf(t, () => head.forward(q, q, q)),
      fault
    )
    t.like(
      faultOf(t, () => head.attentionWeights(q, q)),
      fault
    )
    t.like(
      faultOf(t, () => flash.forward(q, q, q)),
      fault
    )
    const six = new FlashAttention(6)
    const call = (/** @type {any} */ options) => faultOf(t, () => six.forward(q, q, q, options))
    t.like(call({ weights: true }), { code: 'OPTION', argument: 'weights', actual: 'true' })
    t.like(call({ stage: 'scores' }), { code: 'OPTION', argument: 'stage' })
    t.like(call({ tile: 4 }), { code: 'OPTION', argument: 'tile', actual: 'an unknown name' })
    t.like(call({ blockSize: -1 }), { code: 'OPTION', argument: 'blockSize', actual: '-1' })
    t.like(call(7), { code: 'OPTION', argument: 'options' })
    t.is(six.forward(q, q, q, { topWeights: 2, blockSize: 2 }).output.data.length, 48)
    t.like(
      faultOf(t, () => scaledDotProductAttention(q, q, q, /** @type {any} */ ({ blockSize: 4 }))),
      { argument: 'blockSize', actual: 'an unknown name' }
    )
  })
})
