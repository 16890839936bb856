// The key/value cache: for any appending, attending and truncating, rows equal those of one call over the whole
// sequence.
import test from 'ava'
import fc from 'fast-check'
import { onBothBackends } from '../support/backends.js'
import { attention as oracle } from '../support/oracle.js'
import { bits, close, eighths, faultOf, normal, requireClose } from '../support/tensors.js'

/** @typedef {import('@ruvector/attention').Attention} Attention */
/** @typedef {import('@ruvector/attention').KVCache} KVCache */
/** @typedef {import('@ruvector/attention').Tensor} Tensor */

/**
 * Rows `from` to `to` of [B, H, L, D].
 *
 * @param {Tensor} tensor
 * @param {number} from
 * @param {number} to
 */
function rows({ data, shape: [batch, heads, length, size] }, from, to) {
  const parts = Array.from({ length: batch * heads }, (_, head) => [
    ...data.subarray((head * length + from) * size, (head * length + to) * size)
  ])
  return { data: Float32Array.from(parts.flat()), shape: [batch, heads, to - from, size] }
}

const one = (/** @type {number} */ min, /** @type {number} */ max) => fc.integer({ min, max })
const runs = fc.record({
  sizes: fc.tuple(one(1, 2), one(1, 2), one(1, 3), one(1, 12), one(1, 12), one(1, 24)),
  /** Fraction of the capacity, or none. */
  window: fc.option(fc.double({ min: 0, max: 1, noNaN: true }), { nil: undefined }),
  steps: fc.array(fc.tuple(fc.constantFrom('append', 'append', 'token', 'fill', 'back', 'empty'), one(0, 1e6)), {
    minLength: 1,
    maxLength: 16
  }),
  causal: fc.constantFrom(undefined, true, false),
  softcap: fc.constantFrom(undefined, 4),
  narrow: fc.option(fc.tuple(one(-1, 6), one(-1, 2)), { nil: undefined }),
  seed: one(0, 1e6)
})
/** @typedef {typeof runs extends fc.Arbitrary<infer Run> ? Run : never} Run */

/**
 * One run of a cache, compared after each step with one call over the whole sequence.
 *
 * @param {Attention} attention
 * @param {Run} run
 */
function check({ KVCache, scaledDotProductAttention }, { sizes, window: part, steps, causal, softcap, narrow, seed }) {
  const [batch, kvHeads, group, headDim, valueDim, capacity] = sizes
  const window = part === undefined ? undefined : 1 + Math.floor(part * (capacity - 1))
  const cache = new KVCache({ batch, kvHeads, headDim, valueDim, capacity, window })
  // Longer than any run. `length` of it has been appended; truncated rows are appended again unchanged.
  const whole = 16 * capacity
  const [k, v] = [eighths([batch, kvHeads, whole, headDim], seed), eighths([batch, kvHeads, whole, valueDim], seed + 1)]
  const q = eighths([batch, kvHeads * group, whole, headDim], seed + 2)
  let [length, lastBlock] = [0, 0]
  let hasForgotten = false
  const floor = () => (hasForgotten ? lastBlock : 0)
  try {
    for (const [step, number] of steps) {
      if (step === 'back' || step === 'empty') {
        length = step === 'empty' ? 0 : floor() + (number % (length - floor() + 1))
        cache.truncate(length)
        if (length === 0) [lastBlock, hasForgotten] = [0, false]
      } else {
        const room = window === undefined ? capacity - length : capacity
        const count = { append: number % (room + 1), token: Math.min(1, room), fill: room }[step]
        cache.append(rows(k, length, length + count), rows(v, length, length + count))
        if (count > 0) {
          hasForgotten ||= window !== undefined && length >= window
          lastBlock = length
          length += count
        }
      }
      requireClose([cache.length], [length], 0, 'length')
      const queries = number % (length - floor() + 1)
      const options = { causal, softcap, window: narrow, logSumExp: true }
      const mine = rows(q, length - queries, length)
      const found = cache.attend(mine, options)
      const [left, right] = narrow ?? [-1, -1]
      const reach = window === undefined ? -1 : window - 1
      const widest = /** @type {const} */ ([left < 0 || (reach >= 0 && reach < left) ? reach : left, right])
      const expected = scaledDotProductAttention(mine, rows(k, 0, length), rows(v, 0, length), {
        ...options,
        causal: causal ?? true,
        window: widest,
        queryOffset: length - queries
      })
      requireClose(found.output, expected.output, 1e-5, 'output')
      requireClose(found.logSumExp, expected.logSumExp, 1e-5, 'logSumExp')
      requireClose(found.output.shape, expected.output.shape, 0, 'shape')
    }
  } finally {
    cache.dispose()
  }
}

const uneven = fc.record({
  sizes: fc.tuple(one(1, 3), one(1, 2), one(1, 2), one(1, 5), one(1, 5), one(1, 12)),
  window: fc.option(one(1, 30), { nil: undefined }),
  steps: fc.array(fc.tuple(fc.constantFrom('even', 'uneven', 'uneven', 'back', 'cut', 'order', 'clone'), one(0, 1e6)), {
    minLength: 1,
    maxLength: 12
  }),
  causal: fc.constantFrom(undefined, true, false),
  seed: one(0, 1e6)
})

/**
 * A cache of several batch entries, and one cache for each of them, which go through the same steps.
 *
 * @param {Attention} attention
 * @param {typeof uneven extends fc.Arbitrary<infer Run> ? Run : never} run
 */
function checkEntries({ KVCache }, { sizes, window, steps, causal, seed }) {
  const [batch, kvHeads, group, headDim, valueDim, capacity] = sizes
  const config = { kvHeads, headDim, valueDim, capacity, window }
  let cache = new KVCache({ ...config, batch })
  let alone = Array.from({ length: batch }, () => new KVCache(config))
  let random = seed
  const draw = (/** @type {number} */ most) => (random = (random * 48271 + 11) % 2147483647) % (most + 1)
  /** The least length that each entry can go back to. */
  const floors = () => alone.map((_, b) => (dropped[b] ? starts[b] : 0))
  let dropped = alone.map(() => false)
  let hasUnevenBlock = false
  let starts = alone.map(() => 0)
  const entry = (/** @type {Tensor} */ { data, shape: [, ...shape] }, /** @type {number} */ b) => {
    const size = shape.reduce((a, b) => a * b)
    return { data: data.subarray(b * size, (b + 1) * size), shape: [1, ...shape] }
  }
  try {
    for (const [step, number] of steps) {
      const lengths = alone.map((one) => one.length)
      const room = window === undefined ? capacity - Math.max(...lengths) : capacity
      let queries = 0
      let isCut = false
      /** @type {number[] | undefined} */
      let counts
      if (step === 'even' || step === 'uneven') {
        queries = number % (room + 1)
        counts = alone.map(() => (step === 'even' ? queries : draw(queries)))
        const [k, v] = [headDim, valueDim].map((size, at) => eighths([batch, kvHeads, queries, size], number + at))
        cache.append(k, v, step === 'even' ? undefined : { lengths: counts })
        for (const [b, count] of counts.entries()) {
          if (count === 0) continue
          dropped[b] ||= window !== undefined && lengths[b] >= window
          starts[b] = lengths[b]
          alone[b].append(rows(entry(k, b), 0, count), rows(entry(v, b), 0, count))
        }
        if (step === 'even' || counts.every((count) => count === queries)) counts = undefined
      } else if (step === 'back') {
        const targets = floors().map((floor, b) => floor + draw(lengths[b] - floor))
        cache.truncate(targets)
        for (const [b, target] of targets.entries()) alone[b].truncate(target)
        for (const [b, target] of targets.entries()) if (target === 0) [dropped[b], starts[b]] = [false, 0]
      } else if (step === 'cut') {
        const target = Math.max(...floors()) + draw(20)
        isCut = target <= Math.max(...lengths)
        if (isCut) {
          cache.truncate(target)
          for (const [b, one] of alone.entries()) {
            one.truncate(Math.min(target, lengths[b]))
            if (one.length === 0) [dropped[b], starts[b]] = [false, 0]
          }
        }
      } else if (step === 'order') {
        const entries = alone.map(() => draw(batch - 1))
        cache.reorder(entries)
        const before = alone
        alone = entries.map((from) => before[from].clone())
        for (const one of before) one.dispose()
        dropped = entries.map((from) => dropped[from])
        starts = entries.map((from) => starts[from])
      } else {
        const before = cache
        cache = before.clone()
        before.truncate(0)
        before.dispose()
      }
      requireClose(
        [...cache.lengths],
        alone.map((one) => one.length),
        0,
        'lengths'
      )
      requireClose([cache.length], [Math.max(...cache.lengths)], 0, 'length')
      const isBlock = (step === 'even' || step === 'uneven') && queries > 0
      if (isBlock) hasUnevenBlock = counts !== undefined
      else if (step === 'back' || isCut) hasUnevenBlock = false
      // Queries of an uneven block are its own rows.
      if (hasUnevenBlock && !isBlock) continue
      if (counts === undefined) {
        const most = Math.min(...alone.map((one, b) => one.length - floors()[b]))
        queries = number % (most + 1)
      }
      const q = eighths([batch, kvHeads * group, queries, headDim], number + 2)
      const found = cache.attend(q, { causal, logSumExp: true })
      for (const [b, one] of alone.entries()) {
        const count = counts?.[b] ?? queries
        const expected = one.attend(rows(entry(q, b), 0, count), { causal, logSumExp: true })
        const mine = entry(found.output, b)
        requireClose(rows(mine, 0, count), expected.output.data, 1e-5, 'output')
        requireClose(rows(mine, count, queries), new Float32Array((queries - count) * kvHeads * group * valueDim), 0)
        const { data } = rows({ ...entry(found.logSumExp, b), shape: [1, kvHeads * group, queries, 1] }, 0, count)
        requireClose(data, expected.logSumExp.data, 1e-5, 'logSumExp')
      }
      const { keys, values, starts: first } = cache.read()
      for (const [b, one] of alone.entries()) {
        const own = one.read()
        const count = own.keys.shape[2]
        requireClose([first[b]], [...own.starts], 0, 'starts')
        requireClose(rows(entry(keys, b), 0, count), own.keys.data, 0, 'keys')
        requireClose(rows(entry(values, b), 0, count), own.values.data, 0, 'values')
      }
    }
  } finally {
    for (const one of [cache, ...alone]) one.dispose()
  }
}

onBothBackends((kind, attention) => {
  const { KVCache, scaledDotProductAttention } = attention
  /**
   * A cache that is disposed when its test ends.
   *
   * @param {import('ava').ExecutionContext} t
   * @param {ConstructorParameters<typeof KVCache>[0]} config
   */
  const made = (t, config) => {
    const cache = new KVCache(config)
    t.teardown(() => cache.dispose())
    return cache
  }

  test(`${kind}: a cache gives the same as one call over the whole sequence, for any appending and truncating`, (t) => {
    const property = fc.property(runs, (run) => check(attention, run))
    t.notThrows(() => fc.assert(property, { numRuns: 150, includeErrorInReport: true }))
  })

  test(`${kind}: entries of a batch are as caches of their own, for any lengths, orders and copies`, (t) => {
    const property = fc.property(uneven, (run) => checkEntries(attention, run))
    t.notThrows(() => fc.assert(property, { numRuns: 150, includeErrorInReport: true }))
  })

  test(`${kind}: a window may exceed the blocks that are appended`, (t) => {
    const [q, k, v] = [normal([1, 2, 300, 4], 1), normal([1, 1, 300, 4], 2), normal([1, 1, 300, 4], 3)]
    const cache = made(t, { kvHeads: 1, headDim: 4, capacity: 1, window: 128 })
    const whole = scaledDotProductAttention(q, k, v, { causal: true, window: [127, 0] }).output
    for (let at = 0; at < 300; at++) {
      cache.append(rows(k, at, at + 1), rows(v, at, at + 1))
      requireClose(cache.attend(rows(q, at, at + 1)).output, rows(whole, at, at + 1).data, 1e-5)
    }
    t.is(cache.length, 300)
    const { keys, starts } = cache.read()
    t.is(starts[0], 300 - 128)
    t.is(bits(keys), bits(rows(k, starts[0], 300)))
  })

  test(`${kind}: a layer decodes with a cache as over the whole sequence`, (t) => {
    const { MultiHeadAttention, SelfAttention, TransformerEncoderLayer } = attention
    const x = normal([2, 12, 16], 1)
    const part = (/** @type {number} */ from, /** @type {number} */ to) => {
      const { data, shape } = rows({ ...x, shape: [2, 1, 12, 16] }, from, to)
      return { data, shape: [shape[0], shape[2], shape[3]] }
    }
    const config = { numHeads: 4, headDim: 8, kvHeads: 2, modelDim: 16, seed: 3 }
    /** @type {[any, any][]} */
    const layers = [
      [new SelfAttention(config), {}],
      [new SelfAttention({ ...config, rotary: { base: 100 }, causal: true }), {}],
      [new SelfAttention({ ...config, rotary: {}, qkNorm: 'head' }), { window: [4, 0] }],
      [new MultiHeadAttention({ ...config, kvHeads: 4, rotary: { interleaved: true } }), {}],
      [new TransformerEncoderLayer({ modelDim: 16, numHeads: 2, feedForwardDim: 8, normFirst: true }), {}],
      [new TransformerEncoderLayer({ modelDim: 16, numHeads: 2, feedForwardDim: 8 }), {}]
    ]
    const forward = (/** @type {any} */ layer, /** @type {Tensor} */ x, /** @type {any} */ options) =>
      layer instanceof MultiHeadAttention ? layer.forward(x, null, null, options) : layer.forward(x, options)
    for (const [layer, options] of layers) {
      t.teardown(() => layer.dispose())
      const given = { causal: true, ...options }
      const whole = forward(layer, x, { ...given, averageWeights: true })
      for (const window of [undefined, 5]) {
        if (window && !options.window) continue
        const cache = layer.createCache({ batch: 2, capacity: 12, window })
        t.teardown(() => cache.dispose())
        for (const [from, to] of [
          [0, 5],
          [5, 6],
          [6, 9],
          [9, 12]
        ]) {
          const found = forward(layer, part(from, to), { ...given, cache, averageWeights: true })
          close(
            t,
            found.output,
            Float32Array.from(
              [0, 1].flatMap((b) => [...whole.output.data.subarray((b * 12 + from) * 16, (b * 12 + to) * 16)])
            ),
            2e-5
          )
          t.is(found.weights.shape[2], window ? Math.min(to, to - from + window - 1) : to)
          t.is(cache.length, to)
        }
      }
    }
  })

  test(`${kind}: prompts of different lengths share a layer's cache`, (t) => {
    const { SelfAttention } = attention
    const layer = new SelfAttention({ numHeads: 2, headDim: 4, rotary: {}, causal: true, seed: 3 })
    const cache = layer.createCache({ batch: 2, capacity: 9 })
    t.teardown(() => (layer.dispose(), cache.dispose()))
    const x = normal([2, 6, 8], 1)
    const of = (/** @type {number} */ b, /** @type {number} */ from, /** @type {number} */ to) => ({
      data: x.data.subarray((b * 6 + from) * 8, (b * 6 + to) * 8),
      shape: [1, to - from, 8]
    })
    const both = (/** @type {Tensor[]} */ ...parts) => ({
      data: Float32Array.from(parts.flatMap(({ data }) => [...data])),
      shape: [2, parts[0].shape[1], 8]
    })
    const prompt = layer.forward(both(of(0, 0, 4), of(1, 0, 4)), { cache, kvLengths: [4, 2] }).output
    t.deepEqual([...cache.lengths], [4, 2])
    const whole = [0, 1].map((b) => layer.forward(of(b, 0, 6)).output.data)
    close(t, { data: prompt.data.slice(0, 32), shape: [4, 8] }, whole[0].slice(0, 32), 1e-5)
    close(t, { data: prompt.data.slice(32, 48), shape: [2, 8] }, whole[1].slice(0, 16), 1e-5)
    const next = layer.forward(both(of(0, 4, 5), of(1, 2, 3)), { cache }).output
    close(t, next, Float32Array.from([...whole[0].slice(32, 40), ...whole[1].slice(16, 24)]), 1e-5)
    t.deepEqual([...cache.reorder([1, 1]).lengths], [3, 3])
    const beams = layer.forward(both(of(1, 3, 4), of(1, 3, 4)), { cache }).output
    close(t, beams, Float32Array.from([...whole[1].slice(24, 32), ...whole[1].slice(24, 32)]), 1e-5)
  })

  test(`${kind}: cross-attention fills its cache once, and reads it without the context`, (t) => {
    const { CrossAttention } = attention
    for (const kDim of [6, 8]) {
      const layer = new CrossAttention({ numHeads: 2, headDim: 4, kDim, seed: 5 })
      const cache = layer.createCache({ batch: 2, capacity: 7 })
      t.teardown(() => (layer.dispose(), cache.dispose()))
      const [query, context] = [normal([2, 3, 8], 1), normal([2, 7, kDim], 2)]
      const kvLengths = Int32Array.of(7, 4)
      const expected = layer.forward(query, context, { kvLengths, weights: true })
      for (const [given, options] of /** @type {const} */ ([
        [context, { kvLengths }],
        [null, {}],
        [context, {}]
      ])) {
        const found = layer.forward(query, given, { ...options, cache, weights: true })
        close(t, found.output, expected.output.data, 1e-5)
        t.deepEqual(found.weights.shape, expected.weights.shape)
        t.deepEqual([...cache.lengths], [7, 4])
      }
      const fault = (/** @type {any} */ context, /** @type {any} */ options) =>
        faultOf(t, () => layer.forward(query, context, options))
      t.like(fault(normal([2, 6, kDim], 2), { cache }), { code: 'SHAPE', argument: 'context' })
      t.like(fault(null, { cache, kvLengths }), { code: 'OPTION', argument: 'kvLengths' })
      t.is(fault(null, {}).code, 'DTYPE')
      const empty = layer.createCache({ batch: 2, capacity: 7 })
      t.like(fault(null, { cache: empty }), { code: 'SHAPE', argument: 'context' })
      t.like(fault(normal([2, 8, kDim], 2), { cache: empty }), { code: 'SHAPE', argument: 'context' })
      const ring = layer.createCache({ batch: 2, capacity: 7, window: 3 })
      t.like(fault(context, { cache: ring }), { code: 'OPTION', argument: 'cache' })
      empty.dispose()
      ring.dispose()
    }
  })

  test(`${kind}: errors of a layer's cache leave it unchanged`, async (t) => {
    const { SelfAttention } = attention
    const layer = new SelfAttention({ numHeads: 2, headDim: 4, kvHeads: 1 })
    const cache = layer.createCache({ batch: 2, capacity: 5 })
    t.teardown(() => (layer.dispose(), cache.dispose()))
    t.deepEqual(cache.config, { batch: 2, kvHeads: 1, headDim: 4, valueDim: 4, capacity: 5 })
    const x = normal([2, 3, 8], 1)
    layer.forward(x, { cache, kvLengths: [3, 1] })
    const fault = (/** @type {any} */ options, input = x) => faultOf(t, () => layer.forward(input, options))
    t.like(fault({ cache }), {
      code: 'SHAPE',
      argument: 'x',
      expected: 'a length of at most 2, what capacity 5 has room for in batch entry 0'
    })
    t.like(fault({ cache, kvLengths: [3, 0] }), { code: 'SHAPE', argument: 'kvLengths' })
    t.like(fault({ cache, kvLengths: [4, 0] }), { code: 'OPTION', argument: 'kvLengths' })
    t.like(fault({ cache, queryOffset: 3 }), { code: 'OPTION', argument: 'queryOffset' })
    t.like(fault({ cache, mask: { data: new Uint8Array(9), shape: [9] } }, normal([2, 1, 8], 1)), { argument: 'mask' })
    t.like(fault({ cache, out: new Float32Array(3) }, normal([2, 1, 8], 1)), { argument: 'out' })
    t.like(fault({ cache: {} }), { code: 'DTYPE', argument: 'cache', expected: 'a KVCache' })
    const other = made(t, { batch: 2, kvHeads: 2, headDim: 4, capacity: 5 })
    t.like(fault({ cache: other }), {
      code: 'SHAPE',
      argument: 'cache',
      expected: 'a cache of batch size 2, 1 heads and head size 4',
      actual: 'a cache of batch size 2, 2 heads and head size 4'
    })
    const elsewhere = await t.throwsAsync(() => layer.forwardAsync(x, /** @type {any} */ ({ cache })))
    t.like(elsewhere, { code: 'OPTION', argument: 'cache' })
    t.is(faultOf(t, () => layer.createCache({ capacity: 3, type: /** @type {any} */ ('f8') })).argument, 'type')
    t.is(faultOf(t, () => layer.createCache(/** @type {any} */ ({ capacity: 3, headDim: 4 }))).argument, 'headDim')
    t.deepEqual([...cache.lengths], [3, 1])
    t.is(layer.forward(normal([2, 2, 8], 1), { cache }).output.shape[1], 2)
  })

  test(`${kind}: errors of lengths, orders and truncations of entries change nothing`, (t) => {
    const cache = made(t, { batch: 2, kvHeads: 1, headDim: 2, capacity: 4 })
    const k = normal([2, 1, 3, 2], 1)
    cache.append(k, k, { lengths: [3, 1] })
    const fault = (/** @type {() => unknown} */ call) => faultOf(t, call)
    t.like(
      fault(() => cache.append(k, k)),
      {
        code: 'SHAPE',
        argument: 'k',
        expected: 'a length of at most 1, what capacity 4 has room for in batch entry 0',
        actual: '3'
      }
    )
    t.like(
      fault(() => cache.append(k, k, { lengths: [2, 3] })),
      { code: 'SHAPE', argument: 'lengths', actual: '2' }
    )
    t.like(
      fault(() => cache.append(k, k, { lengths: [0, 4] })),
      {
        code: 'OPTION',
        argument: 'lengths',
        expected: 'integers from 0 to 3, the number of rows of the block',
        actual: '4'
      }
    )
    t.like(
      fault(() => cache.append(k, k, { lengths: [1] })),
      { code: 'SHAPE', argument: 'lengths' }
    )
    t.like(
      fault(() => cache.reorder([0])),
      { code: 'SHAPE', argument: 'entries' }
    )
    t.like(
      fault(() => cache.reorder([0, 2])),
      { code: 'OPTION', argument: 'entries', expected: 'integers from 0 to 1, the last batch entry', actual: '2' }
    )
    t.like(
      fault(() => cache.reorder(/** @type {any} */ (null))),
      { code: 'DTYPE', argument: 'entries' }
    )
    t.like(
      fault(() => cache.truncate([1, 2])),
      { code: 'OPTION', argument: 'length', actual: '2' }
    )
    t.like(
      fault(() => cache.truncate([1])),
      { code: 'SHAPE', argument: 'length' }
    )
    t.like(
      fault(() => cache.attend(normal([2, 1, 1, 2], 1))),
      { code: 'SHAPE', argument: 'q', expected: '3 queries, the rows of the last block' }
    )
    t.like(
      fault(() => cache.read(/** @type {any} */ ({ layout: 'x' }))),
      { code: 'OPTION', argument: 'layout' }
    )
    t.deepEqual([...cache.lengths], [3, 1])
    t.deepEqual(cache.read({ layout: 'blhd' }).keys.shape, [2, 3, 1, 2])
  })

  test(`${kind}: token by token, a cache gives the rows of causal attention by its definition`, (t) => {
    const [q, k, v] = [normal([1, 4, 30, 8], 1), normal([1, 2, 30, 8], 2), normal([1, 2, 30, 5], 3)]
    for (const window of [undefined, 6]) {
      const cache = made(t, { kvHeads: 2, headDim: 8, valueDim: 5, capacity: window === undefined ? 30 : 7, window })
      const expected = oracle(q, k, v, { causal: true, ...(window && { window: [window - 1, 0] }) })
      const whole = { data: Float32Array.from(expected.output), shape: [1, 4, 30, 5] }
      for (let at = 0; at < 30; at++) {
        cache.append(rows(k, at, at + 1), rows(v, at, at + 1))
        close(t, cache.attend(rows(q, at, at + 1)).output, rows(whole, at, at + 1).data, 1e-5, `token ${at}`)
      }
      t.is(cache.length, 30)
    }
  })

  test(`${kind}: three dimensions mean one head, and layout 'blhd' applies to queries and output`, (t) => {
    const [q, k, v] = [normal([2, 3, 4], 1), normal([2, 7, 4], 2), normal([2, 7, 4], 3)]
    const flat = made(t, { batch: 2, kvHeads: 1, headDim: 4, capacity: 9 }).append(k, v)
    const { output } = flat.attend(q)
    t.is(bits(output), bits(scaledDotProductAttention(q, k, v, { causal: true, queryOffset: 4 }).output))
    const heads = made(t, { batch: 2, kvHeads: 1, headDim: 4, capacity: 9 })
    heads.append({ ...k, shape: [2, 1, 7, 4] }, { ...v, shape: [2, 1, 7, 4] })
    const blhd = heads.attend({ ...q, shape: [2, 3, 1, 4] }, { layout: 'blhd' })
    t.deepEqual(blhd.output, { data: output.data, shape: [2, 3, 1, 4] })
  })

  test(`${kind}: weights, largest weights and masks refer to the keys in the cache`, (t) => {
    const [q, k, v] = [normal([1, 2, 9, 4], 1), normal([1, 2, 9, 4], 2), normal([1, 2, 9, 4], 3)]
    const plain = made(t, { kvHeads: 2, headDim: 4, capacity: 9 }).append(k, v)
    const options = {
      weights: true,
      topWeights: 2,
      mask: { data: Uint8Array.of(1, 1, 0, 1, 1, 1, 1, 0, 1), shape: [9] }
    }
    const out = new Float32Array(16)
    const found = plain.attend(rows(q, 7, 9), { ...options, out })
    const expected = scaledDotProductAttention(rows(q, 7, 9), k, v, { ...options, causal: true, queryOffset: 7 })
    t.is(found.output.data, out)
    t.deepEqual(found, expected)

    const ring = made(t, { kvHeads: 2, headDim: 4, capacity: 4, window: 3 })
    for (let at = 0; at < 8; at++) ring.append(rows(k, at, at + 1), rows(v, at, at + 1))
    ring.append(rows(k, 8, 9), rows(v, 8, 9))
    const { weights, topWeights } = ring.attend(rows(q, 8, 9), {
      weights: true,
      topWeights: 1,
      mask: { data: Uint8Array.of(1, 0, 1), shape: [3] }
    })
    const seen = scaledDotProductAttention(rows(q, 8, 9), rows(k, 6, 9), rows(v, 6, 9), {
      weights: true,
      topWeights: 1,
      mask: { data: Uint8Array.of(1, 0, 1), shape: [3] }
    })
    t.deepEqual(weights?.shape, [1, 2, 1, 3])
    close(t, weights, seen.weights, 1e-6)
    t.deepEqual(topWeights?.indices, seen.topWeights?.indices)
  })

  test(`${kind}: a full cache throws and keeps its contents; truncating makes room`, (t) => {
    const [k, q] = [normal([1, 1, 6, 4], 1), normal([1, 1, 1, 4], 2)]
    const cache = made(t, { kvHeads: 1, headDim: 4, capacity: 5 }).append(rows(k, 0, 4), rows(k, 0, 4))
    const before = bits(cache.attend(q).output)
    const fault = {
      code: 'SHAPE',
      argument: 'k',
      expected: 'a length of at most 1, what capacity 5 has room for',
      actual: '2'
    }
    t.like(
      faultOf(t, () => cache.append(rows(k, 4, 6), rows(k, 4, 6))),
      fault
    )
    t.is(cache.length, 4)
    t.is(cache.capacity, 5)
    t.is(bits(cache.attend(q).output), before)
    cache.append(rows(k, 4, 5), rows(k, 4, 5))
    t.like(
      faultOf(t, () => cache.append(rows(k, 5, 6), rows(k, 5, 6))),
      { code: 'SHAPE', argument: 'k' }
    )
    t.is(bits(cache.truncate(4).attend(q).output), before)
    t.is(cache.append(rows(k, 5, 6), rows(k, 5, 6)).length, 5)
  })

  test(`${kind}: without causality and windows there may be more queries than keys, as in cross-attention`, (t) => {
    const [k, v, q] = [normal([1, 2, 3, 4], 1), normal([1, 2, 3, 4], 2), normal([1, 2, 12, 4], 3)]
    const cache = made(t, { kvHeads: 2, headDim: 4, capacity: 6 })
    const before = cache.attend(q, { causal: false, logSumExp: true })
    t.true(before.output.data.every((value) => value === 0))
    t.true(before.logSumExp?.data.every((value) => value === -Infinity))
    cache.append(k, v)
    close(t, cache.attend(q, { causal: false }).output, scaledDotProductAttention(q, k, v).output, 1e-6)
    t.is(faultOf(t, () => cache.attend(q)).argument, 'q')
    t.is(faultOf(t, () => cache.attend(q, { causal: false, window: [1, 1] })).argument, 'q')
  })

  test(`${kind}: a ring never fills up, and goes back as far as it still has keys`, (t) => {
    const k = normal([1, 1, 6, 4], 1)
    const cache = made(t, { kvHeads: 1, headDim: 4, capacity: 6, window: 4 })
    for (let block = 0; block < 50; block++) cache.append(k, k)
    t.is(cache.length, 300)
    t.like(
      faultOf(t, () => cache.truncate(293)),
      { code: 'OPTION', argument: 'length', expected: '0, or an integer from 294 to the length 300', actual: '293' }
    )
    t.like(
      faultOf(t, () => cache.attend(normal([1, 1, 7, 4], 2))),
      { code: 'SHAPE', argument: 'q', expected: 'at most 6 queries, the last positions that the cache has all keys of' }
    )
    t.like(
      faultOf(t, () => cache.append(normal([1, 1, 7, 4], 2), normal([1, 1, 7, 4], 2))),
      { argument: 'k', actual: '7' }
    )
    t.is(cache.truncate(295).attend(normal([1, 1, 1, 4], 2)).output.data.length, 4)
    t.is(cache.truncate(0).append(k, k).length, 6)
  })

  test(`${kind}: the cache determines offset and lengths itself`, (t) => {
    const k = normal([1, 1, 3, 4], 1)
    const cache = made(t, { kvHeads: 1, headDim: 4, capacity: 3 }).append(k, k)
    for (const [options, argument, actual] of [
      [{ queryOffset: 0 }, 'queryOffset', '0'],
      [{ queryOffset: Int32Array.of(1) }, 'queryOffset', 'an Int32Array'],
      [{ kvLengths: Int32Array.of(1) }, 'kvLengths', 'an Int32Array'],
      [{ stage: 'scores' }, 'stage', 'an unknown name'],
      [{ isCausal: true }, 'isCausal', 'an unknown name']
    ]) {
      t.like(
        faultOf(t, () => cache.attend(k, /** @type {any} */ (options))),
        { code: 'OPTION', argument, actual }
      )
    }
  })

  test(`${kind}: errors name arguments that do not fit a cache, and change nothing`, (t) => {
    const cache = made(t, { batch: 2, kvHeads: 2, headDim: 3, valueDim: 4, capacity: 9 })
    const append = (/** @type {number[]} */ k, /** @type {number[]} */ v) =>
      faultOf(t, () => cache.append(normal(k, 1), normal(v, 2)))
    t.like(append([2, 1, 5, 3], [2, 1, 5, 4]), {
      code: 'SHAPE',
      argument: 'k',
      expected: '[2, 2, 5, 3]',
      actual: '[2, 1, 5, 3]'
    })
    t.like(append([2, 2, 5, 3], [2, 2, 5, 3]), { code: 'SHAPE', argument: 'v', expected: '[2, 2, 5, 4]' })
    t.like(append([2, 2, 5, 3], [2, 2, 4, 4]), { code: 'SHAPE', argument: 'v' })
    t.like(append([2, 5, 3], [2, 5, 4]), { code: 'SHAPE', argument: 'k' })
    t.like(append([5, 3], [5, 4]), { code: 'SHAPE', argument: 'k', expected: '[B, G, n, D] or [B, n, D]' })
    t.is(faultOf(t, () => cache.append(/** @type {any} */ (null), normal([1], 1))).code, 'DTYPE')
    t.is(cache.length, 0)
    cache.append(normal([2, 2, 5, 3], 1), normal([2, 2, 5, 4], 2))
    const attend = (/** @type {number[]} */ q) => faultOf(t, () => cache.attend(normal(q, 3)))
    const expected = 'batch size 2, heads in multiples of 2 and head size 3'
    for (const shape of [
      [2, 3, 1, 3],
      [1, 2, 1, 3],
      [2, 2, 1, 4],
      [2, 1, 3]
    ]) {
      t.like(attend(shape), { code: 'SHAPE', argument: 'q', expected })
    }
    t.like(attend([2, 2, 6, 3]), { code: 'SHAPE', argument: 'q', actual: '6' })
    for (const [length, actual] of [
      [6, '6'],
      [-1, '-1'],
      [1.5, '1.5'],
      ['2', '"2"'],
      [undefined, 'nothing']
    ]) {
      t.like(
        faultOf(t, () => cache.truncate(/** @type {any} */ (length))),
        { code: 'OPTION', argument: 'length', actual }
      )
    }
    t.is(cache.length, 5)
  })

  test(`${kind}: an invalid configuration is an error, and a valid one is completed with defaults`, (t) => {
    const fault = (/** @type {any} */ config) => faultOf(t, () => new KVCache(config))
    const good = { kvHeads: 2, headDim: 4, capacity: 8 }
    t.like(fault({ ...good, capacity: 0 }), { code: 'OPTION', argument: 'capacity', actual: '0' })
    t.like(fault({ kvHeads: 2, headDim: 4 }), { code: 'OPTION', argument: 'capacity', actual: 'nothing' })
    t.like(fault({ ...good, window: 0 }), { argument: 'window', expected: 'an integer of at least 1', actual: '0' })
    t.like(fault({ ...good, type: 'f8' }), { argument: 'type', actual: '"f8"' })
    t.like(fault({ ...good, numHeads: 9 }), { argument: 'numHeads', actual: 'an unknown name' })
    t.like(fault(undefined), { code: 'OPTION', argument: 'config' })
    t.is(fault({ ...good, capacity: 2 ** 52 }).code, 'MEMORY')
    t.deepEqual(made(t, good).config, { batch: 1, kvHeads: 2, headDim: 4, valueDim: 4, capacity: 8 })
    t.deepEqual(made(t, { ...good, batch: 3, valueDim: 5, window: 6 }).config, {
      batch: 3,
      kvHeads: 2,
      headDim: 4,
      valueDim: 5,
      capacity: 8,
      window: 6
    })
  })

  test(`${kind}: every use of a disposed cache throws`, (t) => {
    const cache = new KVCache({ kvHeads: 1, headDim: 4, capacity: 3 })
    const k = normal([1, 1, 1, 4], 1)
    cache.append(k, k)
    cache.dispose()
    cache.dispose()
    cache[Symbol.dispose]()
    const uses = [
      () => cache.append(k, k),
      () => cache.attend(k),
      () => cache.truncate(0),
      () => cache.length,
      () => cache.clone(),
      () => cache.reorder([0]),
      () => cache.read()
    ]
    for (const use of uses) {
      t.is(faultOf(t, use).code, 'DISPOSED')
    }
  })
})
