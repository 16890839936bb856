// Layers whose scores have learned additions: sinks, as in gpt-oss, and T5's bias of the distance.
import test from 'ava'
import { onBothBackends } from '../support/backends.js'
import { bits, close, faultOf, normal } from '../support/tensors.js'

/** @typedef {import('@ruvector/attention').Tensor} Tensor */
/** Type of deliberately wrong arguments. @typedef {any} Any */

const TABLE = 'relative_attention_bias.weight'
const SETTINGS = [
  { sinks: true },
  { relativeBias: { buckets: 8, maxDistance: 9 } },
  { sinks: true, relativeBias: { buckets: 6, maxDistance: 7 }, addBiasKv: true, causal: true, window: [3, 0] }
]

/** Rows `from .. to` of a batch entry, in a separate batch. @param {Tensor} x @param {number[]} place */
function rows({ data, shape: [, length, size] }, [b, from, to]) {
  return { data: data.slice((b * length + from) * size, (b * length + to) * size), shape: [1, to - from, size] }
}

onBothBackends((kind, attention) => {
  const { DecoderLayer, MultiHeadAttention, SelfAttention, TransformerEncoderLayer, relativePositionBias } = attention

  /** A layer without zeros among its parameters. @param {Any} t @param {Any} config */
  function make(t, config) {
    const layer = new SelfAttention({ numHeads: 4, headDim: 4, kvHeads: 2, seed: 1, ...config })
    t.teardown(() => layer.dispose())
    const state = Object.entries(layer.stateDict())
    const random = state.map(([name, { shape }], seed) => {
      const { data } = normal(shape, seed)
      return [name, { data: data.map((value) => value / Math.sqrt(shape.length > 1 ? shape[1] : 1)), shape }]
    })
    return layer.loadStateDict(Object.fromEntries(random))
  }

  test(`${kind}: a table of distances is a parameter that relativePositionBias spreads`, async (t) => {
    const x = normal([2, 20, 16], 1)
    for (const bidirectional of [true, false]) {
      const layer = make(t, { relativeBias: { buckets: 8, maxDistance: 9, bidirectional } })
      const { [TABLE]: table, ...others } = layer.stateDict()
      t.deepEqual(table.shape, [8, 4])
      const plain = make(t, {}).loadStateDict(others)
      for (const queryOffset of [0, 5, -3]) {
        const relativeBias = relativePositionBias(table, 20, 20, { queryOffset, bidirectional, maxDistance: 9 })
        const found = layer.forward(x, { queryOffset, weights: true })
        const expected = plain.forward(x, { queryOffset, relativeBias, weights: true })
        t.is(bits(found.output), bits(expected.output))
        t.is(bits(found.weights), bits(expected.weights))
        t.deepEqual((await layer.forwardAsync(x, { queryOffset })).output, layer.forward(x, { queryOffset }).output)
      }
      const offsets = layer.forward(x, { queryOffset: Int32Array.of(7, -2), weights: true })
      for (const b of [0, 1]) {
        const single = layer.forward(rows(x, [b, 0, 20]), { queryOffset: [7, -2][b], weights: true })
        close(t, rows(offsets.output, [b, 0, 20]), single.output, 2e-6)
        close(
          t,
          rows({ ...offsets.weights, shape: [2, 80, 20] }, [b, 0, 80]),
          { ...single.weights, shape: [1, 80, 20] },
          2e-6
        )
      }
    }
  })

  test(`${kind}: sinks are a parameter, a logit of each head in every softmax`, (t) => {
    const layer = make(t, { sinks: true })
    const { sinks } = layer.stateDict()
    t.deepEqual(sinks.shape, [4])
    const x = normal([2, 9, 16], 2)
    const plain = make(t, {}).loadStateDict(layer.stateDict(), { strict: false })
    // A row's weights shrink by the part that the sink takes.
    const scores = attention.scaledDotProductAttention(...headsOf(plain, x), { layout: 'blhd', logSumExp: true })
    const [found, without] = [layer, plain].map((one) => one.forward(x, { weights: true }).weights)
    const expected = without.data.map((weight, at) => {
      const [row, head] = [Math.floor(at / 9), Math.floor(at / 81) % 4]
      return weight / (1 + Math.exp(sinks.data[head] - scores.logSumExp.data[row]))
    })
    close(t, found, { data: expected, shape: found.shape }, 2e-6)
  })

  /**
   * Projected queries, keys and values `[B,L,H,D]`.
   *
   * @param {Any} layer
   * @param {Tensor} x
   * @returns {[Tensor, Tensor, Tensor]}
   */
  function headsOf(layer, x) {
    const { in_proj_weight: weight, in_proj_bias: bias } = layer.stateDict()
    const [batch, length] = x.shape
    const part = (/** @type {number} */ from, /** @type {number} */ heads) => {
      const w = { data: weight.data.slice(from * 16, (from + heads * 4) * 16), shape: [heads * 4, 16] }
      const b = { data: bias.data.slice(from, from + heads * 4), shape: [heads * 4] }
      return { data: attention.linear(x, w, b).data, shape: [batch, length, heads, 4] }
    }
    return [part(0, 4), part(16, 2), part(24, 2)]
  }

  test(`${kind}: with a cache, layers give row for row what one call gives`, (t) => {
    const x = normal([2, 16, 16], 3)
    for (const settings of SETTINGS) {
      for (const window of [undefined, 4]) {
        const layer = make(t, { ...settings, causal: true })
        const cache = layer.createCache({ batch: 2, capacity: 14, window })
        const lengths = [0, 0]
        for (const count of [
          [3, 3],
          [1, 4],
          [1, 1],
          [0, 2],
          [2, 1],
          [4, 0],
          [1, 1]
        ]) {
          const most = Math.max(...count)
          const block = [0, 1].map((b) => rows(x, [b, lengths[b], lengths[b] + most]))
          const data = Float32Array.from(block.flatMap((part) => [...part.data]))
          const options = { cache, kvLengths: Int32Array.from(count) }
          const { output } = layer.forward({ data, shape: [2, most, 16] }, options)
          for (const b of [0, 1]) {
            const end = lengths[b] + count[b]
            const whole = layer.forward(
              rows(x, [b, 0, end]),
              /** @type {Any} */ ({ window: window ? [3, 0] : settings.window })
            )
            close(t, rows(output, [b, 0, count[b]]), rows(whole.output, [0, lengths[b], end]), 3e-6)
            lengths[b] = end
          }
        }
        cache.dispose()
      }
    }
  })

  test(`${kind}: packed sequences have the bits that they have alone`, (t) => {
    const lengths = [5, 0, 33, 1]
    const cuSeqlens = Int32Array.of(0, 5, 5, 38, 39)
    const x = normal([1, 39, 16], 4)
    for (const settings of SETTINGS) {
      const layer = make(t, settings)
      for (const queryOffset of [0, 2]) {
        const { output } = layer.forward(x, { cuSeqlens, queryOffset })
        for (const [s, length] of lengths.entries()) {
          const own = rows(x, [0, cuSeqlens[s], cuSeqlens[s + 1]])
          const alone = layer.forward(own, { queryOffset, cuSeqlens: Int32Array.of(0, length) })
          t.is(bits(rows(output, [0, cuSeqlens[s], cuSeqlens[s + 1]])), bits(alone.output), `sequence ${s}`)
          close(t, alone.output, layer.forward(own, { queryOffset }).output, 3e-6)
        }
      }
    }
  })

  test(`${kind}: a layer's configuration shows its buckets, whose keys after the query share one if it is causal`, (t) => {
    const shown = (/** @type {Any} */ config) => make(t, config).config.relativeBias
    t.deepEqual(shown({ relativeBias: {} }), { buckets: 32, maxDistance: 128, bidirectional: true })
    t.deepEqual(shown({ relativeBias: {}, causal: true }), { buckets: 32, maxDistance: 128, bidirectional: false })
    t.is(shown({}), undefined)
    const sizes = { modelDim: 16, numHeads: 4, feedForwardDim: 8 }
    for (const [Class, bidirectional] of /** @type {const} */ ([
      [TransformerEncoderLayer, true],
      [DecoderLayer, false]
    ])) {
      const layer = new Class({ ...sizes, attention: { sinks: true, relativeBias: { buckets: 4 } } })
      t.like(layer.config.attention, { sinks: true, relativeBias: { buckets: 4, bidirectional } })
      const state = layer.stateDict()
      t.deepEqual(state[`self_attn.${TABLE}`].shape, [4, 4])
      t.deepEqual(state['self_attn.sinks'].shape, [4])
      layer.loadStateDict(state).dispose()
    }
  })

  test(`${kind}: buckets that do not fit, and arrays in place of parameters, are errors`, (t) => {
    /** @type {[Any, string][]} */
    const wrong = [
      [{ buckets: 3 }, 'relativeBias.buckets'],
      [{ buckets: 1, bidirectional: false }, 'relativeBias.buckets'],
      [{ buckets: 2.5 }, 'relativeBias.buckets'],
      [{ buckets: 32, maxDistance: 8 }, 'relativeBias.maxDistance'],
      [{ maxDistance: 2 ** 31 }, 'relativeBias.maxDistance'],
      [{ bidirectional: 1 }, 'relativeBias.bidirectional'],
      [{ distance: 1 }, 'relativeBias.distance']
    ]
    for (const [relativeBias, argument] of wrong) {
      const error = faultOf(t, () => new MultiHeadAttention({ numHeads: 2, headDim: 4, relativeBias }))
      t.like(error, { code: 'OPTION', argument })
    }
    const layer = make(t, { relativeBias: { buckets: 4 } })
    const x = normal([1, 4, 16], 1)
    t.like(
      faultOf(t, () => layer.forward(x, { relativeBias: normal([4, 7], 1) })),
      { code: 'OPTION', argument: 'relativeBias' }
    )
    const packed = { cuSeqlens: Int32Array.of(0, 1, 4), queryOffset: Int32Array.of(0, 1) }
    t.like(
      faultOf(t, () => layer.forward(x, packed)),
      { code: 'OPTION', argument: 'queryOffset' }
    )
    t.like(
      faultOf(t, () => layer.loadStateDict(make(t, {}).stateDict())),
      { code: 'FORMAT', argument: TABLE }
    )
  })
})
