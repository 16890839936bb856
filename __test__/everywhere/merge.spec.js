// Attention over separate parts of the keys, merged: equal to one call over all of them, however they are split.
import test from 'ava'
import fc from 'fast-check'
import { onBothBackends } from '../support/backends.js'
import { bits, close, eighths, faultOf, groupedInputs, normal, requireClose } from '../support/tensors.js'

/** @typedef {import('@ruvector/attention').Tensor} Tensor */

/**
 * Keys `from` to `to` of a tensor [B, G, S, D], or [B, S, G, D] in layout 'blhd'.
 *
 * @param {Tensor} tensor
 * @param {boolean} isBlhd
 * @param {number} from
 * @param {number} to
 */
function keysOf({ data, shape }, isBlhd, from, to) {
  const axis = isBlhd ? 1 : 2
  const inner = shape.slice(axis + 1).reduce((a, b) => a * b, 1)
  const outer = shape.slice(0, axis).reduce((a, b) => a * b, 1)
  const parts = Array.from({ length: outer }, (_, at) => [
    ...data.subarray((at * shape[axis] + from) * inner, (at * shape[axis] + to) * inner)
  ])
  return { data: Float32Array.from(parts.flat()), shape: shape.with(axis, to - from) }
}

onBothBackends((kind, { scaledDotProductAttention, mergeAttention }) => {
  test(`${kind}: parts in layout blhd merge without an option`, (t) => {
    const layout = /** @type {const} */ ('blhd')
    for (const [length, heads] of [
      [2, 2],
      [3, 2],
      [1, 4]
    ]) {
      const q = normal([2, length, heads, 4], 1)
      const [k, v] = [normal([2, 6, heads, 4], 2), normal([2, 6, heads, 5], 3)]
      const whole = scaledDotProductAttention(q, k, v, { layout, logSumExp: true })
      const parts = [0, 2, 4].map((from) =>
        scaledDotProductAttention(q, keysOf(k, true, from, from + 2), keysOf(v, true, from, from + 2), {
          layout,
          logSumExp: true
        })
      )
      const joined = mergeAttention(parts)
      close(t, joined.output, whole.output, 1e-6)
      // Merged results carry their layout too, and copies keep it; without it, the shapes may prove it.
      close(t, mergeAttention([joined]).output, whole.output, 1e-6)
      close(t, mergeAttention(structuredClone(parts)).output, whole.output, 1e-6)
      const bare = parts.map(({ output, logSumExp }) => ({ output, logSumExp }))
      close(t, mergeAttention(bare, length === heads ? { layout } : undefined).output, whole.output, 1e-6)
    }
  })

  test(`${kind}: parts of the keys, split anywhere, merge to the result of one call over all of them`, (t) => {
    const one = (/** @type {number} */ min, /** @type {number} */ max) => fc.integer({ min, max })
    const cases = fc.record({
      sizes: fc.tuple(one(1, 2), one(1, 2), one(1, 3), one(0, 12), one(1, 60), one(1, 12), one(0, 12)),
      cuts: fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { maxLength: 5 }),
      isBlhd: fc.boolean(),
      isMasked: fc.boolean(),
      seed: one(0, 1e6)
    })
    const property = fc.property(cases, ({ sizes, cuts, isBlhd, isMasked, seed }) => {
      const keys = sizes[4]
      const layout = isBlhd ? /** @type {const} */ ('blhd') : undefined
      const [q, k, v] = groupedInputs(sizes, isBlhd, seed)
      const visible = Uint8Array.from(eighths([keys], seed + 3).data, (value) => Number(value < 0.5 || !isMasked))
      const options = { layout, logSumExp: true }
      const mask = (/** @type {number} */ from, /** @type {number} */ to) => ({
        data: visible.slice(from, to),
        shape: [to - from]
      })
      const expected = scaledDotProductAttention(q, k, v, { ...options, mask: mask(0, keys) })
      const ends = [...cuts.map((cut) => Math.floor(cut * keys)), keys].sort((a, b) => a - b)
      const parts = ends.map((to, index) => {
        const from = ends[index - 1] ?? 0
        return scaledDotProductAttention(q, keysOf(k, isBlhd, from, to), keysOf(v, isBlhd, from, to), {
          ...options,
          mask: mask(from, to)
        })
      })
      const found = mergeAttention(parts, { layout })
      requireClose(found.output, expected.output, 1e-5, 'output')
      requireClose(found.logSumExp, expected.logSumExp, 1e-5, 'logSumExp')
      requireClose(found.output.shape, expected.output.shape, 0)
      requireClose(found.logSumExp?.shape, expected.logSumExp?.shape, 0)
    })
    t.notThrows(() => fc.assert(property, { numRuns: 150, includeErrorInReport: true }))
  })

  test(`${kind}: merged parts can be merged again, and a single part stays unchanged`, (t) => {
    const q = normal([1, 5, 8], 1)
    const parts = [2, 3, 4].map((seed) => {
      const [k, v] = [normal([1, 7, 8], seed), normal([1, 7, 8], seed + 10)]
      return scaledDotProductAttention(q, k, v, { logSumExp: true, topWeights: 1 })
    })
    const [first, second, third] = parts
    const twice = mergeAttention([mergeAttention([first, second]), third])
    const whole = mergeAttention(parts)
    close(t, twice.output, whole.output, 1e-6)
    close(t, twice.logSumExp, whole.logSumExp, 1e-6)
    t.deepEqual(Object.keys(whole), ['output', 'logSumExp'])
    t.is(bits(mergeAttention([first]).output), bits(first.output))
  })

  test(`${kind}: a part without a visible key adds nothing, whatever its output holds`, (t) => {
    const part = (/** @type {number[]} */ output, /** @type {number[]} */ sums) => ({
      output: { data: Float32Array.from(output), shape: [1, 3, 1] },
      logSumExp: { data: Float32Array.from(sums), shape: [1, 1, 3] }
    })
    const found = mergeAttention([
      part([1, NaN, NaN], [0.5, -Infinity, -Infinity]),
      part([NaN, 4, NaN], [-Infinity, 2, -Infinity])
    ])
    t.deepEqual([...found.output.data], [1, 4, 0])
    t.deepEqual([...(found.logSumExp?.data ?? [])], [0.5, 2, -Infinity])
  })

  test(`${kind}: errors name parts that cannot be merged by their index`, (t) => {
    const q = normal([1, 2, 4, 3], 1)
    const good = scaledDotProductAttention(q, q, q, { logSumExp: true })
    const other = scaledDotProductAttention(normal([1, 2, 5, 3], 1), q, q, { logSumExp: true })
    const bare = scaledDotProductAttention(q, q, q)
    /** @type {[unknown, unknown, object][]} */
    const faults = [
      [[good, bare], undefined, { code: 'DTYPE', argument: 'parts[1].logSumExp', actual: 'undefined' }],
      [
        [good, good, other],
        undefined,
        { code: 'SHAPE', argument: 'parts[2].output', expected: '[1, 2, 4, 3], as in parts[0]', actual: '[1, 2, 5, 3]' }
      ],
      [[good, { ...good, logSumExp: other.logSumExp }], undefined, { code: 'SHAPE', argument: 'parts[1].logSumExp' }],
      [
        [{ ...good, logSumExp: other.logSumExp }],
        undefined,
        { code: 'SHAPE', argument: 'parts[0].logSumExp', expected: '[1, 2, 4] to fit an output [1, 2, 4, 3]' }
      ],
      [[good], { layout: 'blhd' }, { code: 'SHAPE', argument: 'parts[0].logSumExp' }],
      [[good], { order: 'blhd' }, { code: 'OPTION', argument: 'order' }],
      [[good, 5], undefined, { code: 'DTYPE', argument: 'parts[1]', actual: '5' }],
      [[good, { ...good, output: [] }], undefined, { code: 'DTYPE', argument: 'parts[1].output' }],
      [[], undefined, { code: 'SHAPE', argument: 'parts', expected: 'at least one part', actual: 'none' }],
      [good, undefined, { code: 'DTYPE', argument: 'parts', actual: 'an object' }]
    ]
    for (const [parts, options, fault] of faults) {
      t.like(
        faultOf(t, () => mergeAttention(/** @type {any} */ (parts), /** @type {any} */ (options))),
        fault
      )
    }
    t.deepEqual(mergeAttention([good]).output.shape, [1, 2, 4, 3])
  })
})
