// The semantics of scaled dot-product attention beyond its numbers: rows without keys, NaN, dropout, memory, bits.
import test from 'ava'
import { loadBackend } from '@ruvector/attention'
import { onBothBackends } from '../support/backends.js'
import { attention as oracle } from '../support/oracle.js'
import { bits, close, eighths, normal } from '../support/tensors.js'

/** @typedef {import('@ruvector/attention').Tensor} Tensor */

/** @type {(shape: readonly number[], values: ArrayLike<number>) => Tensor} */
const tensor = (shape, values) => ({ data: Float32Array.from(values), shape })
const inputs = (/** @type {readonly number[]} */ shape, seed = 1) => ({
  q: normal(shape, seed),
  k: normal(shape, seed + 1),
  v: normal(shape, seed + 2)
})

onBothBackends((kind, { scaledDotProductAttention, attentionWeights, softmax, linear }) => {
  test(`${kind}: in a boolean mask, any nonzero byte attends`, (t) => {
    const { q, k, v } = inputs([1, 1, 2, 4])
    const mask = { data: Uint8Array.of(1, 0, 0, 255), shape: [2, 2] }
    const { output } = scaledDotProductAttention(q, k, v, { mask })
    close(t, output, v, 1e-7)
  })

  test(`${kind}: a negative scale is the same as negated queries`, (t) => {
    for (const length of [1, 5, 40]) {
      const { q, k, v } = inputs([2, 2, length, 8])
      const turned = { data: q.data.map((value) => -value), shape: q.shape }
      for (const scale of [-0.5, -3]) {
        const { output } = scaledDotProductAttention(q, k, v, { scale, softcap: 2 })
        close(t, output, scaledDotProductAttention(turned, k, v, { scale: -scale, softcap: 2 }).output, 1e-6)
      }
    }
  })

  test(`${kind}: causal masks are aligned at the top left, with more keys than queries and with fewer`, (t) => {
    for (const [length, keys] of [
      [3, 5],
      [5, 3]
    ]) {
      const q = normal([1, 1, length, 4], 1)
      const { data } = attentionWeights(q, normal([1, 1, keys, 4], 2), { causal: true })
      for (let i = 0; i < length; i++) {
        for (let j = 0; j < keys; j++) t.is(data[i * keys + j] > 0, j <= i, `row ${i}, key ${j}`)
      }
    }
  })

  test(`${kind}: a row without visible keys gives zeros and a logSumExp of -Infinity, whatever hides its keys`, (t) => {
    const { q, k, v } = inputs([2, 2, 3, 5])
    const all = { weights: true, logSumExp: true, topWeights: 2 }
    for (const [name, options] of Object.entries({
      'a boolean mask': { mask: { data: new Uint8Array(3), shape: [3] } },
      'a float mask': { mask: tensor([1, 1], [-Infinity]) },
      'a negative offset': { causal: true, queryOffset: -3 },
      'a window elsewhere': { window: /** @type {const} */ ([0, 0]), queryOffset: 7 },
      'lengths of zero': { kvLengths: Int32Array.of(0, 0) },
      'a mask and a length together': {
        mask: { data: Uint8Array.of(0, 1, 1), shape: [3] },
        kvLengths: Int32Array.of(1, 1)
      }
    })) {
      const { output, weights, logSumExp, topWeights } = scaledDotProductAttention(q, k, v, { ...options, ...all })
      t.true(
        output.data.every((value) => Object.is(value, 0)),
        name
      )
      t.true(
        weights?.data.every((value) => Object.is(value, 0)),
        name
      )
      t.true(
        logSumExp?.data.every((value) => value === -Infinity),
        name
      )
      t.deepEqual([...(topWeights?.values.data ?? [])], new Array(24).fill(0), name)
      t.deepEqual([...(topWeights?.indices.data ?? [])], new Array(12).fill([0, 1]).flat(), name)
    }
  })

  test(`${kind}: NaN and infinity in hidden keys and values never reach the output`, (t) => {
    const { q, k, v } = inputs([1, 2, 40, 8])
    const expected = scaledDotProductAttention(q, k, v, { kvLengths: Int32Array.of(33) }).output
    for (const poison of [NaN, Infinity, -Infinity]) {
      const [dirtyKeys, dirtyValues] = [k, v].map(({ data, shape }) => {
        const copy = data.slice()
        for (let head = 0; head < 2; head++) copy.fill(poison, (head * 40 + 33) * 8, (head + 1) * 40 * 8)
        return { data: copy, shape }
      })
      const visible = Uint8Array.from({ length: 40 }, (_, j) => Number(j < 33))
      for (const options of [
        { kvLengths: Int32Array.of(33) },
        { mask: { data: visible, shape: [40] } },
        {
          mask: tensor(
            [40],
            Array.from(visible, (entry) => (entry ? 0 : -Infinity))
          )
        }
      ]) {
        close(t, scaledDotProductAttention(q, dirtyKeys, dirtyValues, options).output, expected, 1e-6, String(poison))
      }
    }
  })

  test(`${kind}: NaN in one query row affects only that row`, (t) => {
    const { q, k, v } = inputs([1, 1, 21, 8])
    const clean = scaledDotProductAttention(q, k, v).output.data
    const dirty = { data: q.data.slice(), shape: q.shape }
    dirty.data[13 * 8 + 2] = NaN
    const { data } = scaledDotProductAttention(dirty, k, v).output
    t.true(data.subarray(13 * 8, 14 * 8).every(Number.isNaN))
    close(t, data.subarray(0, 13 * 8), clean.subarray(0, 13 * 8), 0)
    close(t, data.subarray(14 * 8), clean.subarray(14 * 8), 0)
  })

  test(`${kind}: a huge finite bias on every key of a row leaves it uniform, and hides keys next to unbiased ones`, (t) => {
    const { q, k, v } = inputs([1, 1, 2, 4])
    for (const bias of [-3.4e38, -1e9, -65504]) {
      const mask = tensor([2, 2], [bias, bias, bias, 0])
      const { weights } = scaledDotProductAttention(q, k, v, { mask, weights: true, scale: bias < -1e9 ? 1 : 0 })
      close(t, weights, [0.5, 0.5, 0, 1], 1e-6, String(bias))
    }
  })

  test(`${kind}: scores of ±10000 neither overflow nor lose the row`, (t) => {
    const q = tensor([1, 1, 2, 1], [100, -100])
    const k = tensor([1, 1, 3, 1], [100, -100, 99.875])
    const v = tensor([1, 1, 3, 1], [1, 2, 3])
    const { output, logSumExp } = scaledDotProductAttention(q, k, v, { logSumExp: true })
    close(t, output, oracle(q, k, v).output, 1e-5)
    close(t, logSumExp, [10000, 10000], 1e-6)
  })

  test(`${kind}: dimensions of zero give empty results, and no keys give zeros`, (t) => {
    /** @type {[number[], number[], number[], number[]][]} */
    const cases = [
      [
        [0, 2, 3, 4],
        [0, 2, 5, 4],
        [0, 2, 5, 6],
        [0, 2, 3, 6]
      ],
      [
        [1, 2, 0, 4],
        [1, 2, 5, 4],
        [1, 2, 5, 6],
        [1, 2, 0, 6]
      ],
      [
        [1, 2, 3, 4],
        [1, 2, 0, 4],
        [1, 2, 0, 6],
        [1, 2, 3, 6]
      ],
      [
        [1, 2, 3, 4],
        [1, 2, 5, 4],
        [1, 2, 5, 0],
        [1, 2, 3, 0]
      ],
      [
        [2, 0, 4],
        [2, 5, 4],
        [2, 5, 6],
        [2, 0, 6]
      ],
      [
        [2, 3, 4],
        [2, 0, 4],
        [2, 0, 6],
        [2, 3, 6]
      ]
    ]
    for (const [q, k, v, output] of cases) {
      const result = scaledDotProductAttention(normal(q, 1), normal(k, 2), normal(v, 3), {
        weights: true,
        logSumExp: true
      })
      t.deepEqual(result.output.shape, output)
      t.deepEqual([...result.output.data], new Array(output.reduce((a, b) => a * b, 1)).fill(0))
      const [batch, heads, length, keys] = q.length === 3 ? [q[0], 1, q[1], k[1]] : [q[0], q[1], q[2], k[2]]
      t.deepEqual(result.weights?.shape, [batch, heads, length, keys])
      t.deepEqual(result.logSumExp?.shape, [batch, heads, length])
      if (keys === 0) t.true(result.logSumExp?.data.every((value) => value === -Infinity))
    }
  })

  test(`${kind}: a 3-D call is a 4-D call with one head`, (t) => {
    const { q, k, v } = inputs([2, 5, 8])
    const mask = normal([2, 5, 5], 9)
    const raise = (/** @type {Tensor} */ { data, shape }) => ({ data, shape: [shape[0], 1, ...shape.slice(1)] })
    const options = { causal: true, weights: true }
    const flat = scaledDotProductAttention(q, k, v, { ...options, mask })
    const [q4, k4, v4, mask4] = [q, k, v, mask].map(raise)
    const deep = scaledDotProductAttention(q4, k4, v4, { ...options, mask: mask4 })
    t.deepEqual([...flat.output.data], [...deep.output.data])
    t.deepEqual(flat.weights, deep.weights)
    t.deepEqual(flat.output.shape, [2, 5, 8])
  })

  test(`${kind}: grouped heads give the same bits as repeated keys and values`, (t) => {
    const q = normal([2, 6, 9, 8], 1)
    const [k, v] = [normal([2, 2, 11, 8], 2), normal([2, 2, 11, 5], 3)]
    const repeat = (/** @type {Tensor} */ { data, shape: [batch, groups, keys, size] }) => {
      const rows = Array.from({ length: batch * groups * 3 }, (_, head) => {
        const start = Math.floor(head / 3) * keys * size
        return [...data.subarray(start, start + keys * size)]
      })
      return tensor([batch, groups * 3, keys, size], rows.flat())
    }
    const grouped = scaledDotProductAttention(q, k, v, { causal: true, queryOffset: 2 }).output
    const repeated = scaledDotProductAttention(q, repeat(k), repeat(v), { causal: true, queryOffset: 2 }).output
    close(t, grouped, repeated, 1e-6)
  })

  test(`${kind}: the layout 'blhd' is the default layout with heads and length exchanged`, (t) => {
    const exchange = (/** @type {Tensor} */ { data, shape: [batch, a, b, size] }) => {
      const result = new Float32Array(data.length)
      for (let n = 0; n < batch; n++) {
        for (let i = 0; i < a; i++) {
          for (let j = 0; j < b; j++) {
            const from = ((n * a + i) * b + j) * size
            result.set(data.subarray(from, from + size), ((n * b + j) * a + i) * size)
          }
        }
      }
      return { data: result, shape: [batch, b, a, size] }
    }
    const { q, k, v } = inputs([2, 3, 7, 8])
    const expected = scaledDotProductAttention(q, k, v, { weights: true })
    const found = scaledDotProductAttention(exchange(q), exchange(k), exchange(v), { weights: true, layout: 'blhd' })
    close(t, found.output, exchange(expected.output).data, 1e-7)
    t.deepEqual(found.output.shape, [2, 7, 3, 8])
    t.deepEqual(found.weights?.shape, [2, 3, 7, 7])
    close(t, found.weights, expected.weights, 1e-7)
  })

  test(`${kind}: one causal call over all keys gives the same rows as calls with an offset`, (t) => {
    const { q, k, v } = inputs([1, 2, 20, 8])
    const whole = scaledDotProductAttention(q, k, v, { causal: true }).output.data
    for (let at = 0; at < 20; at += 5) {
      const rows = tensor(
        [1, 2, 5, 8],
        [0, 1].flatMap((head) => [...q.data.subarray((head * 20 + at) * 8, (head * 20 + at + 5) * 8)])
      )
      const { data } = scaledDotProductAttention(rows, k, v, { causal: true, queryOffset: at }).output
      for (let head = 0; head < 2; head++) {
        const from = (head * 20 + at) * 8
        close(t, data.subarray(head * 40, head * 40 + 40), whole.subarray(from, from + 40), 1e-6)
      }
    }
  })

  test(`${kind}: dropout keeps (1 - p) of the weights, scaled by 1/(1 - p), and the output uses them`, (t) => {
    const { q, k, v } = inputs([2, 2, 50, 8])
    const full = /** @type {Tensor} */ (scaledDotProductAttention(q, k, v, { weights: true }).weights)
    for (const dropout of [0.1, 0.5, 0.9]) {
      const { weights, output } = scaledDotProductAttention(q, k, v, { weights: true, dropout, seed: 7 })
      const kept = /** @type {Tensor} */ (weights).data.filter((weight) => weight !== 0).length / full.data.length
      t.true(Math.abs(kept - (1 - dropout)) < 0.02, `${kept} kept at ${dropout}`)
      const expected = full.data.map((weight, at) => (weights?.data[at] === 0 ? 0 : weight / (1 - dropout)))
      close(t, weights, expected, 1e-5)
      const sums = new Float32Array(output.data.length)
      for (let row = 0; row < 200; row++) {
        for (let j = 0; j < 50; j++) {
          const from = (Math.floor(row / 50) * 50 + j) * 8
          for (let e = 0; e < 8; e++) sums[row * 8 + e] += expected[row * 50 + j] * v.data[from + e]
        }
      }
      close(t, output, sums, 1e-5)
    }
  })

  test(`${kind}: the seed and the position alone determine which weights are dropped`, (t) => {
    const dropped = (/** @type {any} */ options, length = 30, seed = 1) => {
      const { q, k, v } = inputs([1, 2, length, 8], seed)
      const { weights } = scaledDotProductAttention(q, k, v, { dropout: 0.5, weights: true, ...options })
      return Array.from({ length: 2 * 30 * 30 }, (_, at) => {
        const [head, i, j] = [Math.floor(at / 900), Math.floor((at % 900) / 30), at % 30]
        return weights?.data[(head * length + i) * length + j] === 0
      })
    }
    const first = dropped({ seed: 3 })
    t.deepEqual(dropped({ seed: 3 }), first)
    t.deepEqual(dropped({ seed: 3 }, 30, 99), first)
    t.deepEqual(dropped({ seed: 3 }, 130), first)
    t.deepEqual(dropped({}), dropped({ seed: 0 }))
    t.notDeepEqual(dropped({ seed: 4 }), first)
    t.notDeepEqual(dropped({ seed: 2 ** 40 + 3 }), first)
    t.notDeepEqual(first.slice(0, 900), first.slice(900))
    t.true(dropped({ dropout: 0 }).every((drop) => !drop))
  })

  test(`${kind}: optional results are returned only on request`, (t) => {
    const { q, k, v } = inputs([1, 2, 3, 4])
    t.deepEqual(Object.keys(scaledDotProductAttention(q, k, v)), ['output'])
    t.deepEqual(Object.keys(scaledDotProductAttention(q, k, v, { weights: false, logSumExp: false })), ['output'])
    const all = scaledDotProductAttention(q, k, v, { weights: true, logSumExp: true, topWeights: 2 })
    t.deepEqual(Object.keys(all).sort(), ['logSumExp', 'output', 'topWeights', 'weights'])
    t.deepEqual(all.topWeights?.values.shape, [1, 2, 3, 2])
    t.deepEqual(all.topWeights?.indices.shape, [1, 2, 3, 2])
    t.true(all.topWeights?.indices.data instanceof Int32Array)
    t.deepEqual(bits(all.output), bits(scaledDotProductAttention(q, k, v, { weights: true }).output))
  })

  test(`${kind}: topWeights order equal weights by their keys`, (t) => {
    const q = tensor([1, 1, 1, 1], [0])
    const k = tensor([1, 1, 6, 1], [1, 2, 3, 4, 5, 6])
    const mask = { data: Uint8Array.of(0, 1, 1, 0, 1, 1), shape: [6] }
    const { topWeights } = scaledDotProductAttention(q, k, k, { mask, topWeights: 6 })
    t.deepEqual([...(topWeights?.values.data ?? [])], [0.25, 0.25, 0.25, 0.25, 0, 0])
    t.deepEqual([...(topWeights?.indices.data ?? [])], [1, 2, 4, 5, 0, 3])
  })

  test(`${kind}: out is filled and returned, and gives the same bits as new memory`, (t) => {
    const { q, k, v } = inputs([1, 2, 5, 8])
    const expected = scaledDotProductAttention(q, k, v)
    const buffer = new Float32Array(90).fill(7)
    const out = buffer.subarray(5, 85)
    const { output } = scaledDotProductAttention(q, k, v, { out })
    t.is(output.data, out)
    t.deepEqual(bits(output), bits(expected.output))
    t.deepEqual([...buffer.subarray(0, 5), ...buffer.subarray(85)], new Array(10).fill(7))
    const weights = attentionWeights(q, k, { out: new Float32Array(50) })
    t.deepEqual(bits(weights), bits(attentionWeights(q, k)))
  })

  test(`${kind}: views into larger buffers work like separate arrays`, (t) => {
    const view = (/** @type {Tensor} */ { data, shape }, offset = 3) => {
      const buffer = new Float32Array(data.length + 9).fill(NaN)
      buffer.set(data, offset)
      return { data: buffer.subarray(offset, offset + data.length), shape }
    }
    const { q, k, v } = inputs([2, 2, 5, 8])
    const mask = { data: Uint8Array.from({ length: 50 }, (_, at) => at % 3), shape: [2, 1, 5, 5] }
    const bytes = new Uint8Array(61).fill(1)
    bytes.set(mask.data, 7)
    const bias = normal([5, 5], 8)
    const lengths = Int32Array.of(9, 9, 4, 5).subarray(2)
    const offsets = Int32Array.of(9, 1, -1).subarray(1)
    const more = { kvLengths: Int32Array.of(4, 5), queryOffset: Int32Array.of(1, -1), causal: true }
    const moreViews = { kvLengths: lengths, queryOffset: offsets, causal: true }
    for (const [plain, viewed] of [
      [mask, { data: bytes.subarray(7, 57), shape: mask.shape }],
      [bias, view(bias, 1)]
    ]) {
      const expected = scaledDotProductAttention(q, k, v, { ...more, mask: plain })
      const found = scaledDotProductAttention(view(q), view(k, 1), view(v, 5), { ...moreViews, mask: viewed })
      t.deepEqual(bits(found.output), bits(expected.output))
    }
    t.deepEqual(bits(softmax(view(q))), bits(softmax(q)))
    const [weight, short] = [normal([3, 8], 5), normal([3], 6)]
    t.deepEqual(bits(linear(view(q), view(weight), view(short))), bits(linear(q, weight, short)))
  })

  test(`${kind}: memory shared between threads works for inputs and out`, (t) => {
    // Pages have shared memory only if they are isolated from other origins.
    if (!('SharedArrayBuffer' in globalThis)) return t.pass()
    const share = (/** @type {Tensor} */ { data, shape }) => {
      const shared = new Float32Array(new SharedArrayBuffer(data.byteLength))
      shared.set(data)
      return { data: shared, shape }
    }
    const { q, k, v } = inputs([1, 2, 5, 8])
    const { data: out } = share(q)
    const { output } = scaledDotProductAttention(share(q), share(k), share(v), { out })
    t.is(output.data, out)
    t.deepEqual([...output.data], [...scaledDotProductAttention(q, k, v).output.data])
  })

  test(`${kind}: inputs are never written to, and no later call touches a result`, (t) => {
    const { q, k, v } = inputs([2, 2, 33, 16])
    const mask = normal([33, 33], 4)
    const before = [q, k, v, mask].map(bits)
    const call = () =>
      scaledDotProductAttention(q, k, v, { mask, weights: true, logSumExp: true, topWeights: 3, causal: true })
    const first = call()
    const kept = structuredClone(first)
    for (let repeat = 0; repeat < 20; repeat++) call()
    attentionWeights(q, k, { mask })
    scaledDotProductAttention(k, v, q)
    t.deepEqual(first, kept)
    t.deepEqual([q, k, v, mask].map(bits), before)
    t.not(call().output.data.buffer, call().output.data.buffer)
    t.is(first.output.data.buffer.byteLength, first.output.data.byteLength)
  })

  test(`${kind}: a call gives the same bits every time`, (t) => {
    const q = normal([1, 6, 150, 40], 1)
    const [k, v] = [normal([1, 2, 170, 40], 2), normal([1, 2, 170, 33], 3)]
    for (const options of [{}, { causal: true, dropout: 0.2 }, { mask: normal([150, 170], 4) }, { softcap: 3 }]) {
      const first = bits(scaledDotProductAttention(q, k, v, options).output)
      for (let repeat = 0; repeat < 3; repeat++) {
        t.deepEqual(bits(scaledDotProductAttention(q, k, v, options).output), first)
      }
    }
  })

  test(`${kind}: the number of threads does not change any bit`, async (t) => {
    const q = normal([1, 4, 260, 64], 1)
    const [k, v] = [normal([1, 2, 260, 64], 2), normal([1, 2, 260, 64], 3)]
    const step = normal([1, 4, 1, 64], 4)
    const [long, values] = [normal([1, 2, 5000, 64], 5), normal([1, 2, 5000, 64], 6)]
    const [x, weight] = [normal([300, 256], 7), normal([300, 256], 8)]
    const run = (/** @type {import('@ruvector/attention').Attention} */ attention) => [
      bits(attention.scaledDotProductAttention(q, k, v).output),
      bits(attention.scaledDotProductAttention(q, k, v, { causal: true, dropout: 0.1 }).output),
      bits(attention.scaledDotProductAttention(q, k, v, { weights: true }).weights),
      bits(attention.scaledDotProductAttention(step, long, values).output),
      bits(attention.linear(x, weight)),
      bits(attention.softmax(x))
    ]
    const single = run(await loadBackend(kind, { threads: 1 }))
    for (const threads of [2, 3, 8])
      t.deepEqual(run(await loadBackend(kind, { threads })), single, `${threads} threads`)
  })

  test(`${kind}: softmax applies to each row, and a row of only -Infinity gives zeros`, (t) => {
    const x = normal([3, 2, 17], 1)
    const ones = normal([3, 2, 1], 2)
    const { weights } = oracle(
      tensor([6, 1, 1], new Array(6).fill(1)),
      tensor([6, 17, 1], x.data),
      tensor([6, 17, 1], x.data)
    )
    close(t, softmax(x), weights, 1e-6)
    t.deepEqual(softmax(x).shape, [3, 2, 17])
    t.deepEqual([...softmax(ones).data], new Array(6).fill(1))
    t.deepEqual([...softmax(tensor([3], [1e4, 1e4, -1e4])).data], [0.5, 0.5, 0])
    t.deepEqual([...softmax(tensor([2], [-Infinity, -Infinity])).data], [0, 0])
    t.true(softmax(tensor([3], [NaN, 1, -Infinity])).data.every(Number.isNaN))
    t.deepEqual(softmax(tensor([4, 0], [])), tensor([4, 0], []))
  })

  test(`${kind}: linear takes any number of leading dimensions`, (t) => {
    const weight = eighths([3, 4], 1)
    const bias = eighths([3], 2)
    const x = eighths([2, 5, 4], 3)
    const flat = { data: x.data, shape: [10, 4] }
    t.deepEqual(linear(x, weight, bias).shape, [2, 5, 3])
    t.deepEqual(linear(x, weight, bias).data, linear(flat, weight, bias).data)
    const row = { data: x.data.slice(0, 4), shape: [4] }
    t.deepEqual([...linear(row, weight, bias).data], [...linear(flat, weight, bias).data.subarray(0, 3)])
    t.deepEqual(linear(row, weight).shape, [3])
  })
})
