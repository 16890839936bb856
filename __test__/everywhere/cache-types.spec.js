// Caches of 16 and 8 bits: what they keep and give, against a cache of 32 bits with rounded keys and values.
import test from 'ava'
import fc from 'fast-check'
import { onBothBackends } from '../support/backends.js'
import { difference } from '../support/golden.js'
import { bits, faultOf, normal } from '../support/tensors.js'

/** @typedef {import('@ruvector/attention').Tensor} Tensor */

const TYPES = /** @type {const} */ (['f16', 'q8_0'])
const one = (/** @type {number} */ min, /** @type {number} */ max) => fc.integer({ min, max })

const runs = fc.record({
  type: fc.constantFrom(...TYPES),
  sizes: fc.tuple(one(1, 2), one(1, 2), one(1, 2), one(1, 40), one(1, 40)),
  window: fc.option(one(1, 9), { nil: undefined }),
  steps: fc.array(fc.tuple(fc.constantFrom('append', 'uneven', 'token', 'back', 'reorder', 'clone'), one(0, 1e6)), {
    minLength: 1,
    maxLength: 10
  })
})

onBothBackends((kind, api) => {
  const { KVCache, convert } = api

  /** The same values after a conversion and back. @param {Tensor} x @param {'f16' | 'q8_0'} type */
  const rounded = (x, type) => convert(convert(x, type), 'f32')

  test(`${kind}: a cache of another type is one of 32 bits with rounded keys and values, after any steps`, (t) => {
    fc.assert(
      fc.property(runs, ({ type, sizes: [batch, kvHeads, group, headDim, valueDim], window, steps }) => {
        const config = { batch, kvHeads, headDim, valueDim, capacity: 12, ...(window && { window }) }
        let [cache, exact] = [new KVCache({ ...config, type }), new KVCache(config)]
        for (const [step, seed] of steps) {
          const count = step === 'token' ? 1 : 1 + (seed % 5)
          const room = window === undefined ? 12 - exact.length : 12
          if (step === 'back') {
            const length = exact.length - Math.min(exact.length, window === undefined ? count : 0)
            for (const each of [cache, exact]) each.truncate(length)
          } else if (step === 'reorder') {
            const entries = Int32Array.from({ length: batch }, (_, b) => (seed + b) % batch)
            for (const each of [cache, exact]) each.reorder(entries)
          } else if (step === 'clone') {
            const copies = [cache.clone(), exact.clone()]
            for (const each of [cache, exact]) each.dispose()
            ;[cache, exact] = copies
          } else if (count <= room) {
            const [k, v] = [
              normal([batch, kvHeads, count, headDim], seed),
              normal([batch, kvHeads, count, valueDim], seed + 1)
            ]
            const lengths = Int32Array.from({ length: batch }, (_, b) => (b === 0 ? count : seed % (count + 1)))
            const options = step === 'uneven' ? { lengths } : undefined
            cache.append(k, v, options)
            exact.append(rounded(k, type), rounded(v, type), options)
            const q = normal([batch, kvHeads * group, count, headDim], seed + 2)
            const found = cache.attend(q).output
            const fault = difference(found, exact.attend(q).output, { absolute: 1e-6 })
            if (fault !== undefined) throw new Error(`${step}: ${fault}`)
          }
          const [found, expected] = [cache.read(), exact.read()]
          if (bits(found.keys) !== bits(expected.keys) || bits(found.values) !== bits(expected.values)) {
            throw new Error(`${step}: other keys or values`)
          }
          if (`${cache.lengths}` !== `${exact.lengths}`) throw new Error(`${step}: other lengths`)
        }
        cache.dispose()
        exact.dispose()
      }),
      { numRuns: 60 }
    )
    t.pass()
  })

  test(`${kind}: layers decode with caches of every type`, (t) => {
    const layers = {
      self: new api.SelfAttention({ numHeads: 4, headDim: 16, kvHeads: 2, causal: true, rotary: {}, seed: 1 }),
      decoder: new api.DecoderLayer({ modelDim: 64, numHeads: 4, feedForwardDim: 96, seed: 2 })
    }
    const x = normal([1, 20, 64], 3)
    for (const [name, layer] of Object.entries(layers)) {
      const whole = layer.forward(x).output
      for (const type of TYPES) {
        const cache = layer.createCache({ capacity: 20, type })
        t.is(cache.config.type, type)
        const parts = [12, ...Array(8).fill(1)].map((count, step) => {
          const start = step === 0 ? 0 : 11 + step
          const rows = { data: x.data.slice(start * 64, (start + count) * 64), shape: [1, count, 64] }
          return [...layer.forward(rows, { cache }).output.data]
        })
        const found = { data: Float32Array.from(parts.flat()), shape: [1, 20, 64] }
        const most = type === 'f16' ? 2e-3 : 0.05
        t.is(difference(found, whole, { absolute: most }), undefined, `${name} ${type}`)
        t.not(bits(found), bits(whole))
        cache.dispose()
      }
      layer.dispose()
    }
  })

  test(`${kind}: types that caches do not have, and values that a type cannot hold, are errors`, (t) => {
    const config = { kvHeads: 1, headDim: 2, capacity: 4 }
    for (const type of ['bf16', 'q4_0', 8]) {
      t.like(
        faultOf(t, () => new KVCache(/** @type {any} */ ({ ...config, type }))),
        { code: 'OPTION', argument: 'type' }
      )
    }
    const cache = new KVCache({ ...config, type: 'q8_0' })
    const [good, wrong] = [1, NaN].map((value) => ({ data: Float32Array.of(value, 1), shape: [1, 1, 2] }))
    cache.append(good, good)
    const before = cache.read()
    for (const [k, v, argument] of /** @type {const} */ ([
      [wrong, good, 'k'],
      [good, wrong, 'v'],
      [good, { data: Float32Array.of(1e7, 1), shape: [1, 1, 2] }, 'v']
    ])) {
      t.like(
        faultOf(t, () => cache.append(k, v)),
        { code: 'DOMAIN', argument }
      )
    }
    t.deepEqual(cache.read(), before)
    t.is(cache.length, 1)
  })
})
