// Packed sequences: a sequence's results do not depend on the others, and are those of a separate call.
import test from 'ava'
import { onBothBackends } from '../support/backends.js'
import { bits, close, faultOf, normal } from '../support/tensors.js'

/** @typedef {import('@ruvector/attention').Tensor} Tensor */
/** @typedef {import('@ruvector/attention').AttentionOptions} Options */

const LENGTHS = [1, 13, 0, 64, 3, 120, 8, 13]

/** @param {readonly number[]} lengths */
function cumulative(lengths) {
  return Int32Array.from(
    [0, ...lengths],
    (
      (sum) => (length) =>
        (sum += length)
    )(0)
  )
}

/** Rows `from .. to` of a tensor [1, heads, T, size]. @param {Tensor} x @param {number} from @param {number} to */
function rows({ data, shape: [, heads, length, size] }, from, to) {
  const parts = Array.from({ length: heads }, (_, h) =>
    data.slice((h * length + from) * size, (h * length + to) * size)
  )
  return { data: Float32Array.from(parts.flatMap((part) => [...part])), shape: [1, heads, to - from, size] }
}

/** Rows of a tensor [1, T, size]. @param {Tensor} x @param {number} from @param {number} to */
function flatRows({ data, shape: [, , size] }, from, to) {
  return { data: data.slice(from * size, to * size), shape: [1, to - from, size] }
}

onBothBackends((kind, attention) => {
  const { scaledDotProductAttention, attentionWeights, meanPool } = attention

  test(`${kind}: packed attention has the bits of one call for each sequence, under every option`, (t) => {
    const cuSeqlens = cumulative(LENGTHS)
    const total = cuSeqlens[LENGTHS.length]
    const longest = Math.max(...LENGTHS)
    const [q, k, v] = [normal([1, 4, total, 8], 1), normal([1, 2, total, 8], 2), normal([1, 2, total, 6], 3)]
    const bias = normal([4, 2 * longest - 1], 4)
    /** @type {Options[]} */
    const all = [
      {},
      { causal: true },
      { window: [5, 3], softcap: 3 },
      { causal: true, queryOffset: Int32Array.from(LENGTHS, (_, s) => s - 2), sinks: Float32Array.of(1, -1, 0, 2) },
      { relativeBias: bias, dropout: 0.25, seed: 7 }
    ]
    for (const options of all) {
      const packed = scaledDotProductAttention(q, k, v, { ...options, cuSeqlens, logSumExp: true })
      for (const [s, length] of LENGTHS.entries()) {
        const [from, to] = [cuSeqlens[s], cuSeqlens[s + 1]]
        const own = { ...options }
        if (options.relativeBias) {
          const width = Math.max(0, 2 * length - 1)
          const part = (/** @type {number} */ h) =>
            bias.data.slice(h * (2 * longest - 1) + longest - length).slice(0, width)
          own.relativeBias = { data: Float32Array.from([0, 1, 2, 3].flatMap((h) => [...part(h)])), shape: [4, width] }
        }
        if (options.queryOffset) own.queryOffset = /** @type {Int32Array} */ (options.queryOffset)[s]
        const [query, key, value] = [q, k, v].map((x) => rows(x, from, to))
        const single = scaledDotProductAttention(query, key, value, { ...own, logSumExp: true })
        t.is(bits(rows(packed.output, from, to)), bits(single.output), `sequence ${s}`)
        const sums = { ...packed.logSumExp, shape: [1, 4, total, 1] }
        t.deepEqual(rows(sums, from, to).data, single.logSumExp.data)
      }
    }
  })

  test(`${kind}: sequences may have keys of other lengths, in either layout, by every form of the call`, async (t) => {
    const [cuSeqlens, cuSeqlensKeys] = [cumulative([3, 40, 0, 7]), cumulative([10, 5, 6, 90])]
    const [q, k, v] = [normal([1, 2, 50, 8], 1), normal([1, 2, 111, 8], 2), normal([1, 2, 111, 8], 3)]
    const options = { cuSeqlens, cuSeqlensKeys }
    const { output } = scaledDotProductAttention(q, k, v, options)
    for (const s of [0, 1, 2, 3]) {
      const [key, value] = [k, v].map((x) => rows(x, cuSeqlensKeys[s], cuSeqlensKeys[s + 1]))
      const single = scaledDotProductAttention(rows(q, cuSeqlens[s], cuSeqlens[s + 1]), key, value)
      t.is(bits(rows(output, cuSeqlens[s], cuSeqlens[s + 1])), bits(single.output))
    }
    const turn = (/** @type {Tensor} */ { data, shape: [, heads, length, size] }) => ({
      data: Float32Array.from(data, (_, at) => {
        const [i, h, d] = [Math.floor(at / (heads * size)), Math.floor(at / size) % heads, at % size]
        return data[(h * length + i) * size + d]
      }),
      shape: [1, length, heads, size]
    })
    const turned = scaledDotProductAttention(turn(q), turn(k), turn(v), { ...options, layout: 'blhd' })
    t.is(bits(turned.output), bits(turn(output)))
    t.deepEqual((await attention.scaledDotProductAttentionAsync(q, k, v, options)).output, output)
    t.deepEqual(new attention.FlashAttention(8).forward(q, k, v, options).output, output)
    const sdpa = new attention.ScaledDotProductAttention(8)
    t.deepEqual((await sdpa.forwardAsync(q, k, v, options)).output, output)
  })

  test(`${kind}: the largest weights of a packed row count keys from the start of its sequence`, (t) => {
    const cuSeqlens = cumulative([5, 1, 20])
    const [q, k, v] = [1, 2, 3].map((seed) => normal([1, 2, 26, 8], seed))
    const { topWeights } = scaledDotProductAttention(q, k, v, { cuSeqlens, topWeights: 3 })
    const of = (/** @type {any} */ x, /** @type {number} */ from, /** @type {number} */ to) => [
      ...rows(x, from, to).data
    ]
    for (const [from, to] of [
      [0, 5],
      [6, 26]
    ]) {
      const [query, key, value] = [q, k, v].map((x) => rows(x, from, to))
      const single = scaledDotProductAttention(query, key, value, { topWeights: 3 }).topWeights
      t.deepEqual(of(topWeights.values, from, to), [...single.values.data])
      t.deepEqual(of(topWeights.indices, from, to), [...single.indices.data])
    }
    // The sequence of one key has no second and third one.
    t.deepEqual(of(topWeights.indices, 5, 6), [0, -1, -1, 0, -1, -1])
    t.deepEqual(of(topWeights.values, 5, 6), [1, 0, 0, 1, 0, 0])
  })

  test(`${kind}: layers give a sequence the bits that it has alone, and the numbers of a plain call`, async (t) => {
    const cuSeqlens = cumulative(LENGTHS)
    const total = cuSeqlens[LENGTHS.length]
    const x = normal([1, total, 16], 5)
    /** @type {any[]} */
    const layers = [
      new attention.SelfAttention({ numHeads: 4, headDim: 4, kvHeads: 2, rotary: {}, seed: 1 }),
      new attention.SelfAttention({ numHeads: 2, headDim: 8, dropout: 0.2, addBiasKv: true, seed: 2 }).train(),
      new attention.TransformerEncoderLayer({ modelDim: 16, numHeads: 2, feedForwardDim: 40, seed: 3 }),
      new attention.TransformerEncoderLayer({
        modelDim: 16,
        numHeads: 2,
        normFirst: true,
        dropout: 0.2,
        seed: 3
      }).train(),
      new attention.DecoderLayer({
        modelDim: 16,
        numHeads: 4,
        feedForwardDim: 24,
        attention: { kvHeads: 2, rotary: {} }
      }),
      new attention.LatentAttention({ modelDim: 16, numHeads: 2, latentRank: 6, nopeDim: 4, rotaryDim: 2, valueDim: 5 })
    ]
    for (const layer of layers) {
      for (const options of [{}, { causal: true }, { window: /** @type {const} */ ([4, 4]), queryOffset: 1 }]) {
        const { output } = layer.forward(x, { ...options, cuSeqlens })
        for (const [s, length] of LENGTHS.entries()) {
          const own = flatRows(x, cuSeqlens[s], cuSeqlens[s + 1])
          const alone = layer.forward(own, { ...options, cuSeqlens: Int32Array.of(0, length) })
          t.is(bits(flatRows(output, cuSeqlens[s], cuSeqlens[s + 1])), bits(alone.output), `sequence ${s}`)
          close(t, alone.output, layer.forward(own, options).output, 3e-6)
        }
      }
      t.deepEqual((await layer.forwardAsync(x, { cuSeqlens })).output, layer.forward(x, { cuSeqlens }).output)
      layer.dispose()
    }
  })

  test(`${kind}: cross attention reads each sequence's own context`, (t) => {
    const [cuSeqlens, cuSeqlensKeys] = [cumulative([4, 9, 2]), cumulative([7, 1, 30])]
    const [query, context] = [normal([1, 15, 8], 1), normal([1, 38, 8], 2)]
    const layer = new attention.CrossAttention({ numHeads: 2, headDim: 4, seed: 1 })
    const { output } = layer.forward(query, context, { cuSeqlens, cuSeqlensKeys })
    for (const s of [0, 1, 2]) {
      const [from, to] = [cuSeqlens[s], cuSeqlens[s + 1]]
      const single = layer.forward(flatRows(query, from, to), flatRows(context, cuSeqlensKeys[s], cuSeqlensKeys[s + 1]))
      close(t, flatRows(output, from, to), single.output, 2e-6)
    }
    layer.dispose()
  })

  test(`${kind}: a layer with contexts gives a sequence what it gets alone with its own context`, async (t) => {
    const [cuSeqlens, cuSeqlensKeys] = [cumulative([4, 9, 0, 20]), cumulative([7, 1, 3, 30])]
    const [x, context] = [normal([1, 33, 16], 1), normal([1, 41, 16], 2)]
    const sizes = { modelDim: 16, numHeads: 2, feedForwardDim: 24, dropout: 0.2, seed: 5 }
    const attentions = { attention: { rotary: {} }, crossAttention: { rotary: {}, addBiasKv: true } }
    for (const isTraining of [false, true]) {
      const layer = new attention.TransformerDecoderLayer({ ...sizes, ...attentions }).train(isTraining)
      const { output } = layer.forward(x, context, { cuSeqlens, cuSeqlensKeys })
      for (const s of [0, 1, 2, 3]) {
        const [from, to] = [cuSeqlens[s], cuSeqlens[s + 1]]
        const [own, its] = [flatRows(x, from, to), flatRows(context, cuSeqlensKeys[s], cuSeqlensKeys[s + 1])]
        const lengths = [own, its].map(({ shape }) => Int32Array.of(0, shape[1]))
        const alone = layer.forward(own, its, { cuSeqlens: lengths[0], cuSeqlensKeys: lengths[1] })
        t.is(bits(flatRows(output, from, to)), bits(alone.output), `sequence ${s}`)
        close(t, alone.output, layer.forward(own, its).output, 3e-6)
      }
      t.deepEqual((await layer.forwardAsync(x, context, { cuSeqlens, cuSeqlensKeys })).output, output)
      /** @type {[any, string][]} */
      const wrong = [
        [{ cuSeqlens, cuSeqlensKeys, contextLengths: Int32Array.of(41) }, 'contextLengths'],
        [{ cuSeqlens, cuSeqlensKeys: cumulative([7, 1, 3, 29]) }, 'cuSeqlensKeys'],
        [{ cuSeqlens, cuSeqlensKeys, weights: true }, 'weights'],
        [{ cuSeqlens, cuSeqlensKeys, cache: layer.createCache({ capacity: 33 }) }, 'cuSeqlens'],
        [{ cuSeqlens, cuSeqlensKeys, contextCache: layer.createCache({ capacity: 41 }) }, 'cuSeqlens']
      ]
      for (const [options, argument] of wrong) {
        t.like(
          faultOf(t, () => layer.forward(x, context, options)),
          { code: 'OPTION', argument }
        )
      }
      layer.dispose()
    }
  })

  test(`${kind}: a relative bias of a layer's call is the mask that it describes`, (t) => {
    const x = normal([2, 20, 8], 1)
    const layer = new attention.SelfAttention({ numHeads: 2, headDim: 4, seed: 1 })
    const relativeBias = normal([2, 39], 2)
    const mask = {
      data: Float32Array.from({ length: 800 }, (_, at) => {
        const [h, i, j] = [Math.floor(at / 400), Math.floor(at / 20) % 20, at % 20]
        return relativeBias.data[h * 39 + j - i + 19]
      }),
      shape: [1, 2, 20, 20]
    }
    const [found, expected] = [{ relativeBias }, { mask }].map((options) =>
      layer.forward(x, { ...options, weights: true })
    )
    close(t, found.output, expected.output, 2e-6)
    close(t, found.weights, expected.weights, 2e-6)
    layer.dispose()
  })

  test(`${kind}: meanPool averages each packed sequence`, (t) => {
    const x = normal([20, 5], 1)
    const cuSeqlens = cumulative([7, 0, 12, 1])
    for (const normalize of [false, true]) {
      const pooled = meanPool(x, { cuSeqlens, normalize })
      t.deepEqual(pooled.shape, [4, 5])
      for (const s of [0, 1, 2, 3]) {
        const part = x.data.slice(cuSeqlens[s] * 5, cuSeqlens[s + 1] * 5)
        const single = meanPool({ data: part, shape: [1, part.length / 5, 5] }, { normalize })
        t.deepEqual(pooled.data.slice(s * 5, s * 5 + 5), single.data)
      }
    }
    t.like(
      faultOf(t, () => meanPool(x, { cuSeqlens: cumulative([19]) })),
      { code: 'OPTION', argument: 'cuSeqlens' }
    )
    t.like(
      faultOf(t, () => meanPool(normal([1, 20, 5], 1), { cuSeqlens })),
      { code: 'SHAPE', argument: 'x' }
    )
    const both = { cuSeqlens, lengths: Int32Array.of(1) }
    t.like(
      faultOf(t, () => meanPool(x, both)),
      { code: 'OPTION', argument: 'lengths' }
    )
  })

  test(`${kind}: no sequences, and sequences without rows, are legal`, (t) => {
    const empty = normal([1, 2, 0, 4], 1)
    for (const cuSeqlens of [Int32Array.of(0), Int32Array.of(0, 0, 0)]) {
      t.deepEqual(scaledDotProductAttention(empty, empty, empty, { cuSeqlens }).output.shape, [1, 2, 0, 4])
    }
    const x = normal([1, 2, 3, 4], 1)
    const keys = { cuSeqlens: Int32Array.of(0, 3, 3), cuSeqlensKeys: Int32Array.of(0, 0, 3), logSumExp: true }
    const { output, logSumExp } = scaledDotProductAttention(x, x, x, keys)
    t.true(output.data.every((value) => value === 0) && logSumExp?.data.every((value) => value === -Infinity))
  })

  test(`${kind}: offsets that do not fit, and options that packing rules out, are errors`, (t) => {
    const x = normal([1, 2, 4, 3], 1)
    const given = (/** @type {any} */ options, input = x) =>
      faultOf(t, () => scaledDotProductAttention(input, input, input, options))
    for (const offsets of [[0, 3], [0, 5], [1, 4], [0, 3, 2, 4], [0, -1, 4], [0], [4]]) {
      t.like(given({ cuSeqlens: Int32Array.from(offsets) }), { code: 'OPTION', argument: 'cuSeqlens' }, `${offsets}`)
    }
    const cuSeqlens = Int32Array.of(0, 2, 4)
    t.like(given({ cuSeqlens: new Int32Array() }), { code: 'SHAPE', argument: 'cuSeqlens' })
    t.like(given({ cuSeqlens }, normal([2, 2, 4, 3], 1)), { code: 'SHAPE', argument: 'cuSeqlens' })
    t.like(given({ cuSeqlens, cuSeqlensKeys: Int32Array.of(0, 4) }), { code: 'SHAPE', argument: 'cuSeqlensKeys' })
    t.like(given({ cuSeqlens, cuSeqlensKeys: Int32Array.of(0, 4, 3) }), { code: 'OPTION', argument: 'cuSeqlensKeys' })
    t.like(given({ cuSeqlensKeys: cuSeqlens }), { code: 'OPTION', argument: 'cuSeqlensKeys' })
    const mask = { data: new Uint8Array(4), shape: [4] }
    t.like(given({ cuSeqlens, mask }), { code: 'OPTION', argument: 'mask' })
    t.like(given({ cuSeqlens, kvLengths: Int32Array.of(4) }), { code: 'OPTION', argument: 'kvLengths' })
    t.like(given({ cuSeqlens, weights: true }), { code: 'OPTION', argument: 'weights' })
    t.like(given({ cuSeqlens, queryOffset: Int32Array.of(1) }), { code: 'SHAPE', argument: 'queryOffset' })
    t.like(given({ cuSeqlens, topWeights: 3 }), { code: 'OPTION', argument: 'topWeights' })
    // Two rows and two keys: the bias is that of the longest sequence.
    t.like(given({ cuSeqlens, relativeBias: normal([1, 7], 1) }), { code: 'SHAPE', argument: 'relativeBias' })
    t.like(
      faultOf(t, () => attentionWeights(x, x, { cuSeqlens })),
      { code: 'OPTION', argument: 'cuSeqlens' }
    )
    const cache = new attention.KVCache({ kvHeads: 2, headDim: 3, capacity: 4 }).append(x, x)
    t.like(
      faultOf(t, () => cache.attend(x, /** @type {any} */ ({ cuSeqlens }))),
      { code: 'OPTION', argument: 'cuSeqlens' }
    )
    cache.dispose()
    const layer = new attention.SelfAttention({ numHeads: 2, headDim: 3 })
    const row = normal([1, 4, 6], 1)
    for (const name of ['weights', 'averageWeights']) {
      const options = { cuSeqlens, [name]: true }
      t.like(
        faultOf(t, () => layer.forward(row, options)),
        { code: 'OPTION', argument: name }
      )
    }
    layer.dispose()
  })
})
