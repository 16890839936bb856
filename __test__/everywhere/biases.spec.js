// Biases that depend on the distance, and sinks: against transformers, and against calls that need neither.
import test from 'ava'
import { onBothBackends } from '../support/backends.js'
import { difference, readGolden } from '../support/golden.js'
import { close, faultOf, groupedInputs, normal } from '../support/tensors.js'

/** @typedef {import('@ruvector/attention').Tensor} Tensor */

const { cases } = readGolden('biases')
const tolerance = { absolute: 1e-5, relative: 2e-6 }

/** The mask `[1,H,L,S]` that a relative bias describes. @param {Tensor} bias @param {number} heads */
function dense({ data, shape }, heads, /** @type {number} */ length, /** @type {number} */ keys) {
  const mask = { data: new Float32Array(heads * length * keys), shape: [1, heads, length, keys] }
  mask.data.forEach((_, index) => {
    const [h, i, j] = [Math.floor(index / (length * keys)), Math.floor(index / keys) % length, index % keys]
    mask.data[index] = data[(shape[0] === 1 ? 0 : h) * (length + keys - 1) + j - i + length - 1]
  })
  return mask
}

onBothBackends((kind, attention) => {
  const { scaledDotProductAttention, attentionWeights, mergeAttention, alibiBias, relativePositionBias } = attention

  for (const { name, kind: what, tensors, ...golden } of cases) {
    test(`${kind} gives what transformers gives: ${name}`, (t) => {
      if (what === 'buckets') {
        // A table whose entries are the indices of their buckets.
        const table = {
          data: Float32Array.from({ length: golden.count }, (_, index) => index),
          shape: [golden.count, 1]
        }
        const options = { bidirectional: golden.bidirectional, maxDistance: golden.maxDistance }
        const { data } = relativePositionBias(table, 301, 301, options)
        t.deepEqual([...data], [...tensors.buckets.data])
      } else if (what === 'alibi') {
        // The reference adds slope · j, the same within a row as −slope · (i − j).
        const { data, shape } = alibiBias(golden.heads, 1, 9)
        t.is(difference({ data, shape }, tensors.bias, { absolute: 0, relative: 1e-6 }), undefined)
      } else {
        const { q, k, v, sinks, ...expected } = tensors
        const { output, weights } = scaledDotProductAttention(q, k, v, { sinks, weights: true })
        t.is(difference(output, expected.output, tolerance), undefined)
        t.is(difference(weights, expected.weights, tolerance), undefined)
      }
    })
  }

  test(`${kind}: a relative bias equals the mask that it describes, beside a mask, a softcap and a window`, (t) => {
    for (const [groups, group, length, keys] of [
      [1, 1, 5, 9],
      [2, 1, 70, 70],
      [2, 3, 33, 20],
      [2, 2, 1, 40],
      [1, 4, 130, 67]
    ]) {
      const heads = groups * group
      const [q, k, v] = groupedInputs([2, groups, group, length, keys, 8, 4], false, keys)
      for (const rows of [1, heads]) {
        const relativeBias = normal([rows, length + keys - 1], rows)
        const mask = dense(relativeBias, heads, length, keys)
        const all = { softcap: 4, weights: true, logSumExp: true, topWeights: 3 }
        for (const options of [all, { ...all, causal: true, queryOffset: 3 }, { ...all, window: [4, 9] }, {}]) {
          const found = scaledDotProductAttention(q, k, v, { ...options, relativeBias })
          const expected = scaledDotProductAttention(q, k, v, { ...options, mask })
          close(t, found.output, expected.output, 5e-6)
          close(t, found.weights, expected.weights, 5e-6)
          close(t, found.logSumExp, expected.logSumExp, 5e-6)
        }
        const padding = {
          data: Uint8Array.from({ length: 2 * keys }, (_, j) => Number(j % 5 > 0)),
          shape: [2, 1, 1, keys]
        }
        const both = { ...mask, data: mask.data.map((value, at) => ((at % keys) % 5 > 0 ? value : -Infinity)) }
        const masked = scaledDotProductAttention({ ...q, data: q.data.map((x) => x) }, k, v, {
          mask: padding,
          relativeBias
        })
        const expected = [0, 1].map((b) => {
          const shown = padding.data.subarray(b * keys, (b + 1) * keys)
          return { data: mask.data.map((value, at) => (shown[at % keys] ? value : -Infinity)), shape: both.shape }
        })
        const stacked = {
          data: Float32Array.from([...expected[0].data, ...expected[1].data]),
          shape: [2, heads, length, keys]
        }
        close(t, masked.output, scaledDotProductAttention(q, k, v, { mask: stacked }).output, 5e-6)
      }
    }
  })

  test(`${kind}: a relative bias of -Infinity hides keys, whatever they contain`, (t) => {
    for (const [length, keys] of [
      [2, 30],
      [40, 30]
    ]) {
      const [q, k, v] = groupedInputs([1, 1, 1, length, keys, 8, 8], false, 3)
      // Rows see the keys up to their own position only.
      const causal = Float32Array.from({ length: length + keys - 1 }, (_, p) => (p > length - 1 ? -Infinity : 0))
      const relativeBias = { data: causal, shape: [1, causal.length] }
      const spoil = (/** @type {Tensor} */ x) => ({
        ...x,
        data: x.data.map((value, at) => (at >= 8 * length ? NaN : value))
      })
      const [key, value] = keys > length ? [spoil(k), spoil(v)] : [k, v]
      const found = scaledDotProductAttention(q, key, value, { relativeBias, logSumExp: true })
      const expected = scaledDotProductAttention(q, k, v, { causal: true, logSumExp: true })
      close(t, found.output, expected.output, 1e-6)
      close(t, found.logSumExp, expected.logSumExp, 1e-6)
    }
  })

  test(`${kind}: the stage 'biased' has the relative bias, and 'softcapped' does not`, (t) => {
    const [q, k] = groupedInputs([1, 2, 2, 20, 30, 8, 8], false, 5)
    const relativeBias = normal([4, 49], 1)
    const options = { softcap: 3, relativeBias }
    const softcapped = attentionWeights(q, k, { softcap: 3, stage: 'softcapped' })
    close(t, attentionWeights(q, k, { ...options, stage: 'softcapped' }), softcapped, 1e-6)
    const mask = dense(relativeBias, 4, 20, 30)
    const biased = softcapped.data.map((score, at) => score + mask.data[at])
    close(t, attentionWeights(q, k, { ...options, stage: 'biased' }), biased, 1e-6)
  })

  test(`${kind}: a sink is a key without a value, and merging parts of which one has it is exact`, (t) => {
    for (const [length, keys] of [
      [1, 9],
      [30, 70],
      [2, 5000]
    ]) {
      const [q, k, v] = groupedInputs([1, 2, 2, length, keys, 8, 8], false, length)
      const sinks = Float32Array.of(0.5, -1, 3, 0)
      const whole = scaledDotProductAttention(q, k, v, { sinks, logSumExp: true, topWeights: 2, weights: true })
      const rows = Array.from({ length: 4 * length }, (_, row) => {
        const sum = whole.weights.data.subarray(row * keys, (row + 1) * keys).reduce((a, b) => a + b, 0)
        return sum + Math.exp(sinks[Math.floor(row / length)] - whole.logSumExp.data[row])
      })
      close(
        t,
        rows,
        rows.map(() => 1),
        1e-5
      )
      const half = Math.floor(keys / 2)
      const cut = (/** @type {Tensor} */ x, /** @type {number} */ from, /** @type {number} */ to) => ({
        data: Float32Array.from(
          [0, 1].flatMap((g) => [...x.data.subarray((g * keys + from) * 8, (g * keys + to) * 8)])
        ),
        shape: [1, 2, to - from, 8]
      })
      const parts = [
        scaledDotProductAttention(q, cut(k, 0, half), cut(v, 0, half), { logSumExp: true, sinks }),
        scaledDotProductAttention(q, cut(k, half, keys), cut(v, half, keys), { logSumExp: true })
      ]
      const merged = mergeAttention(parts)
      close(t, merged.output, whole.output, 2e-6)
      close(t, merged.logSumExp, whole.logSumExp, 2e-6)
    }
  })

  test(`${kind}: a row without visible keys is zeros, and its logSumExp is its sink`, (t) => {
    const sinks = { data: Float32Array.of(0.25, -4), shape: [2] }
    for (const [length, keys] of [
      [3, 5],
      [40, 5],
      [3, 0]
    ]) {
      const [q, k, v] = groupedInputs([1, 2, 1, length, keys, 8, 8], false, 1)
      const options = /** @type {const} */ ({ sinks, causal: true, queryOffset: -50, logSumExp: true })
      const { output, logSumExp } = scaledDotProductAttention(q, k, v, options)
      t.true(output.data.every((value) => value === 0))
      t.deepEqual(
        [...logSumExp.data],
        [0.25, -4].flatMap((sink) => new Array(length).fill(sink))
      )
    }
  })

  test(`${kind}: flash attention, asynchronous calls and caches take sinks and relative biases`, async (t) => {
    const [q, k, v] = groupedInputs([1, 2, 2, 6, 90, 8, 8], false, 9)
    const options = { sinks: Float32Array.of(1, 0, -1, 2), relativeBias: normal([4, 95], 2) }
    const { output } = scaledDotProductAttention(q, k, v, options)
    for (const blockSize of [7, 64]) {
      close(t, new attention.FlashAttention(8, { blockSize }).forward(q, k, v, options).output, output, 2e-6)
    }
    const later = await attention.scaledDotProductAttentionAsync(q, k, v, options)
    t.deepEqual(later.output, output)
    const cache = new attention.KVCache({ kvHeads: 2, headDim: 8, capacity: 100 }).append(k, v)
    close(t, cache.attend(q, { ...options, causal: false }).output, output, 1e-6)
    cache.dispose()
  })

  test(`${kind}: without heads or places there is nothing to iterate over, whatever the other sizes are`, (t) => {
    const table = { data: new Float32Array(0), shape: [32, 0] }
    t.is(attention.relativePositionBias(table, 2 ** 40).data.length, 0)
    t.is(attention.alibiBias(2 ** 40, 0, 0).data.length, 0)
  })

  test(`${kind}: biases of the distance to each side, from any offset`, (t) => {
    const { data, shape } = alibiBias(2, 2, 3)
    t.deepEqual(
      [shape, [...data]],
      [[2, 4], [-1, 0, 1, 2].flatMap((d) => d / 16).concat([-1, 0, 1, 2].map((d) => d / 256))]
    )
    t.deepEqual(
      [...alibiBias(1, 2, 3, { symmetric: true }).data],
      [-1, 0, -1, -2].map((d) => d / 256)
    )
    t.deepEqual(
      [...alibiBias(1, 1, 3, { queryOffset: 2 }).data],
      [-2, -1, 0].map((d) => d / 256)
    )
    t.deepEqual(alibiBias(3, 4), alibiBias(3, 4, 4, { queryOffset: 0 }))
    t.deepEqual(alibiBias(3, 0, 0).shape, [3, 0])
    const table = normal([8, 2], 1)
    const found = relativePositionBias(table, 3, 4, { queryOffset: 1, maxDistance: 10 })
    const whole = relativePositionBias(table, 4, 4, { maxDistance: 10 })
    for (const h of [0, 1]) t.deepEqual(found.data.slice(h * 6, h * 6 + 6), whole.data.slice(h * 7, h * 7 + 6))
  })

  test(`${kind}: biases and sinks that do not fit are errors`, (t) => {
    const x = normal([1, 2, 4, 3], 1)
    const given = (/** @type {any} */ options) => faultOf(t, () => scaledDotProductAttention(x, x, x, options))
    t.like(given({ relativeBias: normal([2, 6], 1) }), { code: 'SHAPE', argument: 'relativeBias', actual: '[2, 6]' })
    t.like(given({ relativeBias: normal([7], 1) }), { code: 'SHAPE', argument: 'relativeBias' })
    t.like(given({ relativeBias: normal([3, 7], 1) }), { code: 'SHAPE', argument: 'relativeBias' })
    t.like(given({ relativeBias: new Float32Array(7) }), { code: 'DTYPE', argument: 'relativeBias' })
    t.like(given({ sinks: Float32Array.of(1) }), { code: 'SHAPE', argument: 'sinks' })
    t.like(given({ sinks: normal([1, 2], 1) }), { code: 'SHAPE', argument: 'sinks' })
    t.like(given({ sinks: [1, 2] }), { code: 'DTYPE', argument: 'sinks' })
    const space = new attention.HyperbolicAttention({ curvature: -1 })
    const options = /** @type {any} */ ({ sinks: Float32Array.of(1) })
    t.like(
      faultOf(t, () => space.forward(x, x, x, options)),
      { code: 'OPTION', argument: 'sinks' }
    )
    space.dispose()
    const layer = new attention.SelfAttention({ numHeads: 2, headDim: 2 })
    t.like(
      faultOf(t, () => layer.forward(normal([1, 3, 4], 1), options)),
      { code: 'OPTION', argument: 'sinks' }
    )
    layer.dispose()
    /** @type {[() => unknown, string, string][]} */
    const wrong = [
      [() => alibiBias(0, 3), 'OPTION', 'numHeads'],
      [() => alibiBias(2, -1), 'SHAPE', 'queryLength'],
      [() => alibiBias(2, 3, 2.5), 'SHAPE', 'keyLength'],
      [() => alibiBias(2, 3, 3, { queryOffset: 0.5 }), 'OPTION', 'queryOffset'],
      [() => alibiBias(2, 3, 3, /** @type {any} */ ({ symmetrical: true })), 'OPTION', 'symmetrical'],
      [() => alibiBias(2, 3, 3, /** @type {any} */ ({ symmetric: 1 })), 'OPTION', 'symmetric'],
      [() => relativePositionBias(normal([32], 1), 3), 'SHAPE', 'table'],
      [() => relativePositionBias(normal([3, 2], 1), 3), 'SHAPE', 'table'],
      [() => relativePositionBias(normal([32, 2], 1), 3, 3, { maxDistance: 8 }), 'OPTION', 'maxDistance']
    ]
    for (const [call, code, argument] of wrong) t.like(faultOf(t, call), { code, argument })
  })
})
