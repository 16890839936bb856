// Weights of 16 and 8 bits: conversion to the bit, products, rows and search, layers that keep them, files, and every
// invalid input.
import test from 'ava'
import fc from 'fast-check'
import { onBothBackends } from '../support/backends.js'
import { difference, readGolden } from '../support/golden.js'
import { bits, faultOf, normal } from '../support/tensors.js'

/** @typedef {import('@ruvector/attention').Tensor} Tensor */
/** @typedef {import('@ruvector/attention').QuantizedTensor} QuantizedTensor */
/** @typedef {import('@ruvector/attention').WeightType} WeightType */

const golden = readGolden('gguf-q8_0')
const TYPES = /** @type {const} */ (['f32', 'f16', 'bf16', 'q8_0'])

/** The value of an f16. @param {number} half */
function valueOf(half) {
  const [exponent, fraction] = [(half >> 10) & 31, (half & 1023) / 1024]
  const magnitude = exponent === 0 ? fraction * 2 ** -14 : (1 + fraction) * 2 ** (exponent - 15)
  return half & 0x8000 ? -magnitude : magnitude
}

/**
 * A product with a weight of 8 bits, from the definition: exact integers, and groups added in 64 bits.
 *
 * @param {Tensor} x
 * @param {QuantizedTensor} weight
 */
function exactProduct({ data: x }, { data, scales, shape: [outputs, depth] }) {
  const groups = Math.ceil(depth / 32)
  const rows = x.length / depth
  return Array.from({ length: rows * outputs }, (_, place) => {
    const [row, output] = [Math.floor(place / outputs), place % outputs]
    let total = 0
    for (let group = 0; group < groups; group++) {
      const [start, end] = [group * 32, Math.min(depth, group * 32 + 32)]
      const values = x.subarray(row * depth + start, row * depth + end)
      const scale = Math.fround(Math.max(...values.map(Math.abs)) / 127)
      const inverse = Math.fround(1 / scale)
      let sum = 0
      values.forEach((value, at) => {
        const scaled = Number.isFinite(inverse) ? Math.fround(value * inverse) : 0
        sum += Math.sign(scaled) * Math.floor(Math.abs(scaled) + 0.5) * data[output * depth + start + at]
      })
      total += sum * scale * valueOf(scales[output * groups + group])
    }
    return total
  })
}

onBothBackends((kind, api) => {
  const { convert, linear, embedding, topK, Linear, Embedding, loadSafetensors, saveSafetensors } = api

  test(`${kind}: 8 bits are GGUF's Q8_0 to the bit`, (t) => {
    for (const { tensors } of golden.cases) {
      const { data, scales, shape } = convert(tensors.x, 'q8_0')
      t.deepEqual([...data], [...tensors.values.data])
      t.deepEqual(scales, tensors.scales.data)
      t.deepEqual(shape, tensors.x.shape)
    }
  })

  test(`${kind}: halves are rounded to the nearest, ties to even`, (t) => {
    const cases = [
      [1, 0x3c00, 0x3f80],
      [-2, 0xc000, 0xc000],
      [65504, 0x7bff, 0x4780],
      [65519, 0x7bff, 0x4780],
      [65520, 0x7c00, 0x4780],
      [2 ** -24, 1, 0x3380],
      [2 ** -25, 0, 0x3300],
      [3 * 2 ** -25, 2, 0x33c0],
      [1 + 2 ** -11, 0x3c00, 0x3f80],
      [1 + 3 * 2 ** -11, 0x3c02, 0x3f80],
      [1 + 2 ** -8, 0x3c04, 0x3f80],
      [1 + 3 * 2 ** -8, 0x3c0c, 0x3f82],
      [Infinity, 0x7c00, 0x7f80],
      [-0, 0x8000, 0x8000],
      [1e-40, 0, 1]
    ]
    for (const [value, f16, bf16] of cases) {
      const tensor = { data: Float32Array.of(value), shape: [1] }
      t.is(convert(tensor, 'f16').data[0], f16, `${value}`)
      t.is(convert(tensor, 'bf16').data[0], bf16, `${value}`)
    }
    const nan = { data: Float32Array.of(NaN), shape: [1] }
    for (const type of /** @type {const} */ (['f16', 'bf16'])) {
      t.true(Number.isNaN(convert(convert(nan, type), 'f32').data[0]))
    }
  })

  test(`${kind}: every f16 has its exact value in 32 bits, whether few or many are converted`, (t) => {
    const halves = Uint16Array.from({ length: 1 << 16 }, (_, half) => half)
    const wide = (/** @type {Uint16Array} */ data) =>
      /** @type {Float32Array} */ (convert({ type: 'f16', data, shape: [data.length] }, 'f32').data)
    const many = wide(halves)
    for (const half of halves) {
      const special = half & 0x3ff ? NaN : half & 0x8000 ? -Infinity : Infinity
      if (!Object.is(many[half], (half & 0x7c00) === 0x7c00 ? special : valueOf(half))) t.fail(`${half}`)
    }
    for (let start = 0; start < halves.length; start += 1 << 12) {
      const [few, same] = [wide(halves.slice(start, start + (1 << 12))), many.slice(start, start + (1 << 12))]
      // Also the payloads of NaN.
      t.deepEqual(new Uint32Array(few.buffer), new Uint32Array(same.buffer))
    }
  })

  test(`${kind}: every type survives a conversion to 32 bits and back, in new memory`, (t) => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 4 }), fc.integer({ min: 0, max: 80 }), fc.nat(), (rows, width, seed) => {
        const x = normal([rows, width], seed)
        for (const type of TYPES) {
          const weight = convert(x, type)
          const again = convert(convert(weight, 'f32'), type)
          t.deepEqual(again, weight)
          t.not(convert(weight, type).data, weight.data)
        }
      }),
      { numRuns: 40 }
    )
  })

  test(`${kind}: a product with 8 bits is that of exact integers, for every number of rows`, (t) => {
    for (const [rows, depth, outputs] of [
      [1, 32, 3],
      [2, 33, 17],
      [9, 100, 20],
      [13, 64, 40],
      [70, 7, 5]
    ]) {
      const x = normal([rows, depth], rows)
      const weight = convert(normal([outputs, depth], depth), 'q8_0')
      const found = linear(x, weight)
      const expected = { data: Float32Array.from(exactProduct(x, weight)), shape: [rows, outputs] }
      t.is(difference(found, expected, { absolute: 2e-5 }), undefined)
      const one = linear({ data: x.data.slice(0, depth), shape: [depth] }, weight)
      t.is(bits(one), bits({ data: found.data.slice(0, outputs), shape: [outputs] }))
    }
  })

  test(`${kind}: halves give the numbers of the same weights in 32 bits`, (t) => {
    const [x, bias] = [normal([9, 40], 1), normal([21], 2)]
    for (const type of /** @type {const} */ (['f16', 'bf16'])) {
      const weight = convert(normal([21, 40], 3), type)
      for (const rows of [x, { data: x.data.slice(0, 40), shape: [40] }]) {
        t.is(bits(linear(rows, weight, bias)), bits(linear(rows, convert(weight, 'f32'), bias)))
      }
    }
  })

  test(`${kind}: rows of a table have 32 bits, whatever its type`, (t) => {
    for (const type of TYPES) {
      const table = convert(normal([5, 35], 1), type)
      t.is(bits(embedding(table, [3, 0, 3])), bits(embedding(convert(table, 'f32'), [3, 0, 3])), type)
    }
  })

  test(`${kind}: search finds the largest products with vectors of every type`, (t) => {
    for (const rows of [1, 12]) {
      const queries = normal([rows, 48], rows)
      for (const type of TYPES) {
        const vectors = convert(normal([90, 48], 2), type)
        const products = linear(queries, vectors).data
        const { values, indices } = topK(queries, vectors, 4)
        values.data.forEach((value, place) => {
          const row = products.subarray(Math.floor(place / 4) * 90, Math.floor(place / 4) * 90 + 90)
          const expected = [...row].sort((a, b) => b - a)[place % 4]
          t.true(Math.abs(value - expected) < 1e-4 && Math.abs(row[indices.data[place]] - value) < 1e-4, type)
        })
        const wide = convert(vectors, 'f32')
        const options = /** @type {const} */ ({ metric: 'euclidean' })
        t.is(bits(topK(queries, vectors, 4, options).values), bits(topK(queries, wide, 4, options).values), type)
        const cosine = topK(queries, vectors, 4, { metric: 'cosine' }).values
        const tolerance = { absolute: type === 'q8_0' ? 0.02 : 1e-6 }
        t.is(difference(cosine, topK(queries, wide, 4, { metric: 'cosine' }).values, tolerance), undefined)
      }
    }
  })

  test(`${kind}: Linear and Embedding keep their weight in its type, and compute with it`, async (t) => {
    for (const weightType of TYPES) {
      const layer = new Linear({ inFeatures: 40, outFeatures: 18, weightType, seed: 2 })
      const own = layer.stateDict({ type: 'own' })
      const weight = convert(new Linear({ inFeatures: 40, outFeatures: 18, seed: 2 }).stateDict().weight, weightType)
      t.deepEqual(own.weight, weight)
      t.is(bits(layer.stateDict().weight), bits(convert(weight, 'f32')))
      t.is(layer.config.weightType, weightType)
      t.is(layer.numParameters, 40 * 18 + 18)
      for (const rows of [1, 13]) {
        const x = normal([rows, 40], 4)
        t.is(bits(layer.forward(x)), bits(linear(x, weight, layer.stateDict().bias)), weightType)
        t.is(bits(await layer.forwardAsync(x)), bits(layer.forward(x)))
      }
      const table = new Embedding({ numEmbeddings: 6, embeddingDim: 34, weightType, seed: 1 })
      const rows = convert(
        new Embedding({ numEmbeddings: 6, embeddingDim: 34, seed: 1 }).stateDict().weight,
        weightType
      )
      t.deepEqual(table.stateDict({ type: 'own' }).weight, rows)
      t.is(bits(table.forward([5, 1])), bits(embedding(rows, [5, 1])))
      t.is(bits(await table.forwardAsync([5, 1])), bits(table.forward([5, 1])))
    }
  })

  test(`${kind}: a layer loads entries of its own type as they are, and converts all others`, (t) => {
    // No group has an integer of 127, so quantizing again would change it.
    const data = Int8Array.from({ length: 3 * 33 }, (_, at) => (at % 11) - 5)
    /** @type {QuantizedTensor} */
    const weight = {
      type: 'q8_0',
      data,
      scales: Uint16Array.of(0x3c00, 0x2c00, 1, 0x3400, 0x7bff, 0x0400),
      shape: [3, 33]
    }
    const layer = new Linear({ inFeatures: 33, outFeatures: 3, weightType: 'q8_0', useBias: false })
    t.deepEqual(layer.loadStateDict({ weight }).stateDict({ type: 'own' }).weight, weight)
    const wide = convert(weight, 'f32')
    t.is(
      bits(new Linear({ inFeatures: 33, outFeatures: 3, useBias: false }).loadStateDict({ weight }).stateDict().weight),
      bits(wide)
    )
    for (const type of TYPES) {
      const other = new Linear({ inFeatures: 33, outFeatures: 3, useBias: false, weightType: type })
      const given = convert(normal([3, 33], 1), 'f16')
      t.deepEqual(other.loadStateDict({ weight: given }).stateDict({ type: 'own' }).weight, convert(given, type))
    }
    const error = faultOf(t, () =>
      layer.loadStateDict({ weight: { data: new Float32Array(99).fill(NaN), shape: [3, 33] } })
    )
    t.like(error, { code: 'DOMAIN', argument: 'weight' })
    t.deepEqual(layer.stateDict({ type: 'own' }).weight, weight)
  })

  test(`${kind}: files keep every type, 8 bits as integers and scales of another entry`, (t) => {
    const state = Object.fromEntries(TYPES.map((type) => [type, convert(normal([3, 40], 1), type)]))
    const bytes = saveSafetensors(state)
    t.deepEqual(loadSafetensors(bytes, { halves: 'keep' }), state)
    t.deepEqual(loadSafetensors(bytes).q8_0, /** @type {any} */ (state.q8_0))
    t.is(bits(loadSafetensors(bytes).f16), bits(convert(state.f16, 'f32')))
    const taken = { ...state, 'q8_0.scales': normal([3, 2], 1) }
    t.like(
      faultOf(t, () => saveSafetensors(taken)),
      { code: 'FORMAT', argument: 'q8_0.scales' }
    )
    for (const place of [0, 119]) {
      const low = /** @type {any} */ ({ ...state.q8_0, data: new Int8Array(120).fill(-127).fill(-128, place) })
      t.like(
        faultOf(t, () => loadSafetensors(saveSafetensors({ a: low }))),
        { code: 'FORMAT', argument: 'a', actual: `-128 at ${place}` }
      )
    }
  })

  test(`${kind}: a file is read piece by piece with 8 bits joined to their scales`, async (t) => {
    const state = { a: convert(normal([3, 40], 1), 'q8_0'), b: normal([2], 2) }
    const file = await api.openSafetensors(new Blob([saveSafetensors(state).slice()]))
    t.deepEqual(file.names, ['a', 'b'])
    t.deepEqual(file.describe('a'), { type: 'Q8_0', shape: [3, 40], bytes: 120 + 12 })
    t.deepEqual(await file.tensor('a'), /** @type {any} */ (state.a))
    t.deepEqual(await file.stateDict(), /** @type {any} */ (state))
    await file.close()
  })

  test(`${kind}: tensors of a Blob can be read at the same time`, async (t) => {
    const data = Float32Array.from({ length: 600_000 }, (_, index) => index)
    const state = { a: { data, shape: [600, 1000] }, b: normal([5], 2) }
    const file = await api.openSafetensors(new Blob([saveSafetensors(state).slice()]))
    const parts = await Promise.all(Array.from({ length: 4 }, () => file.stateDict()))
    for (const part of parts) {
      t.deepEqual(part.b, state.b)
      t.is(difference(/** @type {any} */ (part.a), state.a, { absolute: 0 }), undefined)
    }
    await file.close()
  })

  test(`${kind}: invalid weights are errors that name them`, (t) => {
    const any = /** @type {any} */ (api)
    const [x, good] = [normal([2, 33], 1), convert(normal([4, 33], 2), 'q8_0')]
    const infinite = { ...good, scales: good.scales.slice().fill(0x7c00, 3, 4) }
    /** @type {[() => unknown, string, string][]} */
    const cases = [
      [() => linear(x, infinite), 'DOMAIN', 'weight.scales'],
      [() => linear(x, { ...good, scales: good.scales.slice(1) }), 'SHAPE', 'weight.scales'],
      [() => any.linear(x, { ...good, scales: undefined }), 'DTYPE', 'weight.scales'],
      [() => any.linear(x, { ...good, data: new Float32Array(132) }), 'DTYPE', 'weight'],
      [() => linear(x, { ...good, shape: [4, 32] }), 'SHAPE', 'weight'],
      [() => any.linear(x, { ...good, type: 'q4_0' }), 'OPTION', 'weight.type'],
      [() => any.linear(x, { type: 'f16', data: new Float32Array(132), shape: [4, 33] }), 'DTYPE', 'weight'],
      [() => linear(normal([2, 32], 1), good), 'SHAPE', 'weight'],
      [() => any.topK(x, good, 1, { weightType: 'bf16' }), 'OPTION', 'weightType'],
      [() => convert(normal([], 1), 'q8_0'), 'SHAPE', 'tensor'],
      [() => convert({ data: Float32Array.of(1, NaN), shape: [2] }, 'q8_0'), 'DOMAIN', 'tensor'],
      [() => convert({ data: Float32Array.of(8321040), shape: [1] }, 'q8_0'), 'DOMAIN', 'tensor'],
      [() => any.convert(x, 'q4_0'), 'OPTION', 'type'],
      [() => any.convert(x), 'OPTION', 'type'],
      [() => any.convert(x.data, 'f16'), 'DTYPE', 'tensor'],
      [() => any.convert(x, 'f16', {}, 1), 'OPTION', 'convert'],
      [() => any.saveSafetensors({ a: { ...good, scales: undefined } }), 'DTYPE', 'a.scales'],
      [() => new any.Linear({ inFeatures: 2, outFeatures: 2, weightType: 'q4_0' }), 'OPTION', 'weightType'],
      [
        () => new Linear({ inFeatures: 2, outFeatures: 2 }).stateDict(/** @type {any} */ ({ type: 'f16' })),
        'OPTION',
        'type'
      ]
    ]
    for (const [call, code, argument] of cases) t.like(faultOf(t, call), { code, argument }, call.toString())
    t.is(convert({ data: Float32Array.of(8321038), shape: [1] }, 'q8_0').data[0], 127)
    const spoiled = linear({ data: Float32Array.of(...Array(33).fill(NaN), ...x.data.slice(33)), shape: [2, 33] }, good)
    t.true(spoiled.data.subarray(0, 4).every(Number.isNaN))
    t.is(bits({ data: spoiled.data.slice(4), shape: [4] }), bits({ data: linear(x, good).data.slice(4), shape: [4] }))
  })
})
