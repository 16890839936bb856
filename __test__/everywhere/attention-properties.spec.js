// Every combination of shapes, layouts, heads, masks and options, compared with the definition.
import test from 'ava'
import fc from 'fast-check'
import { onBothBackends } from '../support/backends.js'
import { attention as oracle, largest } from '../support/oracle.js'
import { eighths, random, requireClose } from '../support/tensors.js'

/** @typedef {import('@ruvector/attention').AttentionOptions} AttentionOptions */
/** @typedef {import('@ruvector/attention').Tensor} Tensor */

const one = (/** @type {number} */ min, /** @type {number} */ max) => fc.integer({ min, max })
const three = (/** @type {fc.Arbitrary<number>} */ each) => fc.tuple(each, each, each)

const cases = fc.record({
  batch: one(1, 3),
  groups: one(1, 3),
  headsPerGroup: one(1, 3),
  length: fc.oneof({ weight: 4, arbitrary: one(0, 20) }, one(30, 70)),
  keys: fc.oneof({ weight: 4, arbitrary: one(0, 24) }, one(60, 140)),
  size: fc.oneof(one(1, 20), fc.constantFrom(32, 64, 65)),
  valueSize: fc.oneof(one(0, 20), fc.constantFrom(32, 64, 65)),
  /** True for 3-D tensors. */
  flat: fc.boolean(),
  layout: fc.constantFrom('bhld', 'blhd', undefined),
  seed: one(0, 1e6),
  mask: fc.constantFrom('none', 'boolean', 'float'),
  maskRank: one(1, 4),
  /** The dimensions of the mask that are 1. */
  maskOnes: fc.tuple(fc.boolean(), fc.boolean(), fc.boolean(), fc.boolean()),
  causal: fc.constantFrom(undefined, false, true),
  offset: fc.option(fc.oneof(one(-6, 30), three(one(-6, 30))), { nil: undefined }),
  window: fc.option(fc.tuple(one(-1, 9), one(-1, 9)), { nil: undefined }),
  /** Parts of the keys, in eighths. */
  lengths: fc.option(three(one(0, 8)), { nil: undefined }),
  // With larger values, 32-bit floats could not resolve score differences to 1e-5.
  scale: fc.constantFrom(undefined, 0, 0.125, 0.5),
  softcap: fc.constantFrom(undefined, 0, 0.5, 8)
})
/** @typedef {typeof cases extends fc.Arbitrary<infer Case> ? Case : never} Case */

/**
 * @param {Case} test
 * @param {number} heads
 */
function maskFor({ mask, maskRank, maskOnes, batch, length, keys, flat, seed }, heads) {
  if (mask === 'none') return undefined
  // With 3-D inputs, a mask of rank 3 has no head dimension.
  const axes = flat && maskRank === 3 ? [0, 2, 3] : [0, 1, 2, 3].slice(4 - maskRank)
  const shape = axes.map((axis) => (maskOnes[axis] ? 1 : [batch, heads, length, keys][axis]))
  const { data } = eighths(shape, seed + 3)
  const next = random(seed + 4)
  if (mask === 'boolean') return { data: Uint8Array.from(data, (value) => (value < 0 ? 0 : 1 + 254 * next())), shape }
  return { data: data.map((value) => [value, value, -Infinity, -3.4e38][Math.floor(next() * 4)]), shape }
}

/**
 * The arguments of a call.
 *
 * @param {Case} test
 * @returns {{ q: Tensor, k: Tensor, v: Tensor, options: AttentionOptions }}
 */
function callOf(test) {
  const { batch, length, keys, size, valueSize, flat, seed, layout, causal, offset, window, lengths } = test
  const groups = flat ? 1 : test.groups
  const heads = flat ? 1 : groups * test.headsPerGroup
  /** @type {(heads: number, length: number, size: number, seed: number) => Tensor} */
  const tensor = (count, rows, columns, salt) => {
    if (flat) return eighths([batch, rows, columns], salt)
    return eighths(layout === 'blhd' ? [batch, rows, count, columns] : [batch, count, rows, columns], salt)
  }
  return {
    q: tensor(heads, length, size, seed),
    k: tensor(groups, keys, size, seed + 1),
    v: tensor(groups, keys, valueSize, seed + 2),
    options: {
      layout: /** @type {AttentionOptions['layout']} */ (layout),
      mask: /** @type {AttentionOptions['mask']} */ (maskFor(test, heads)),
      causal,
      queryOffset: Array.isArray(offset) ? Int32Array.from(offset.slice(0, batch)) : offset,
      window,
      kvLengths: lengths && Int32Array.from(lengths.slice(0, batch), (part) => Math.floor((part * keys) / 8)),
      scale: test.scale,
      softcap: test.softcap
    }
  }
}

onBothBackends((kind, { scaledDotProductAttention, attentionWeights }) => {
  test(`${kind}: attention matches its definition for all shapes, layouts, heads, masks and options`, (t) => {
    const property = fc.property(cases, (given) => {
      const { q, k, v, options } = callOf(given)
      const expected = oracle(q, k, v, options)
      const result = scaledDotProductAttention(q, k, v, { ...options, weights: true, logSumExp: true })
      requireClose(result.output, expected.output, 1e-5, 'output')
      requireClose(result.weights, expected.weights, 1e-5, 'weights')
      requireClose(result.logSumExp, expected.logSumExp, 1e-5, 'logSumExp')
      requireClose(scaledDotProductAttention(q, k, v, options).output, expected.output, 1e-5, 'output alone')
    })
    t.notThrows(() => fc.assert(property, { numRuns: 200, includeErrorInReport: true }))
  })

  test(`${kind}: topWeights are the largest weights of each row, for any call`, (t) => {
    const property = fc.property(cases, one(1, 9), (given, count) => {
      const keys = Math.max(1, given.keys)
      const { q, k, v, options } = callOf({ ...given, keys })
      const topWeights = Math.min(count, keys)
      const { weights, topWeights: top } = scaledDotProductAttention(q, k, v, { ...options, topWeights, weights: true })
      const all = /** @type {Tensor} */ (weights)
      const indices = largest([...all.data], keys, topWeights)
      requireClose(top?.indices.data, indices.flat(), 0, 'indices')
      const values = indices.flatMap((row, at) => row.map((index) => all.data[at * keys + index]))
      requireClose(top?.values, values, 0, 'values')
      const alone = scaledDotProductAttention(q, k, v, { ...options, topWeights }).topWeights
      requireClose(alone?.values, values, 1e-6, 'values alone')
    })
    t.notThrows(() => fc.assert(property, { numRuns: 100, includeErrorInReport: true }))
  })

  for (const stage of /** @type {const} */ (['scores', 'softcapped', 'biased', 'weights'])) {
    test(`${kind}: the stage '${stage}' of attentionWeights matches its definition, for any call`, (t) => {
      const property = fc.property(cases, (given) => {
        const { q, k, options } = callOf(given)
        const { shape, data } = attentionWeights(q, k, { ...options, stage })
        requireClose(data, oracle(q, k, k, options)[stage], 1e-5, stage)
        const heads = given.flat ? 1 : given.groups * given.headsPerGroup
        requireClose(shape, [given.batch, heads, given.length, given.keys], 0, 'shape')
      })
      t.notThrows(() => fc.assert(property, { numRuns: 50, includeErrorInReport: true }))
    })
  }
})
