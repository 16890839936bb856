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
    t.like(fault({ ...good, window: 9 }), {
      argument: 'window',
      expected: 'an integer from 1 to the capacity 8',
      actual: '9'
    })
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
    for (const use of [() => cache.append(k, k), () => cache.attend(k), () => cache.truncate(0), () => cache.length]) {
      t.is(faultOf(t, use).code, 'DISPOSED')
    }
  })
})
