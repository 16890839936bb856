// Linear attention: golden data, its definition for any call, its streams, and FAVOR+ as an estimate of softmax.
import test from 'ava'
import fc from 'fast-check'
import { loadBackend } from '@ruvector/attention'
import { backends, onBothBackends } from '../support/backends.js'
import { difference, readGolden } from '../support/golden.js'
import { attention as softmaxAttention } from '../support/oracle.js'
import { bits, close, eighths, faultOf, normal, requireClose } from '../support/tensors.js'

/** @typedef {import('@ruvector/attention').Attention} Attention */
/** @typedef {import('@ruvector/attention').LinearConfig} LinearConfig */
/** @typedef {import('@ruvector/attention').Tensor} Tensor */
/** Type of deliberately wrong arguments. @typedef {any} Any */

/**
 * Disposes a resource when its test ends.
 *
 * @template {{ dispose(): void }} Kind
 * @param {import('ava').ExecutionContext} t
 * @param {Kind} held
 */
function owned(t, held) {
  t.teardown(() => held.dispose())
  return held
}

/** @type {Record<string, (x: number) => number>} */
const maps = { elu: (x) => (x > 0 ? x + 1 : Math.exp(x)), relu: (x) => Math.max(x, 0) + 1e-3 }

/**
 * Features of a row; those of FAVOR+ come from ω, unnormalized.
 *
 * @param {string} map
 * @param {number[]} row
 * @param {number[][]} [omega]
 */
function featuresOf(map, row, omega = []) {
  if (map !== 'favor+') return row.map(maps[map])
  const root = Math.sqrt(row.length)
  const halfSquare = row.reduce((sum, x) => sum + x * x, 0) / root / 2
  return omega.map((direction) =>
    Math.exp(direction.reduce((sum, w, d) => sum + w * row[d], 0) / Math.sqrt(root) - halfSquare)
  )
}

/**
 * Linear attention by its definition, in doubles: the weight of a key is the product of its features with the query's.
 *
 * @param {string} map
 * @param {number} heads  in 3-D inputs
 * @param {Tensor[]} inputs
 * @param {{ causal?: boolean, kvLengths?: ArrayLike<number> }} [options]
 * @param {number[][]} [omega]
 */
function oracle(map, heads, [q, k, v], { causal, kvLengths } = {}, omega) {
  const flat = q.shape.length === 3
  const [batch, count, length] = flat ? [q.shape[0], heads, q.shape[1]] : q.shape
  /** @type {(tensor: Tensor, b: number, h: number, i: number) => number[]} */
  const row = ({ data, shape }, b, h, i) => {
    const size = flat ? shape[2] / count : shape[3]
    const at = flat ? (b * shape[1] + i) * count + h : (b * count + h) * shape[2] + i
    return [...data.subarray(at * size, (at + 1) * size)]
  }
  const size = flat ? v.shape[2] / count : v.shape[3]
  const output = new Array(batch * count * length * size).fill(0)
  const keys = flat ? k.shape[1] : k.shape[2]
  for (let b = 0; b < batch; b++) {
    for (let h = 0; h < count; h++) {
      const ofKeys = Array.from({ length: keys }, (_, j) => featuresOf(map, row(k, b, h, j), omega))
      for (let i = 0; i < length; i++) {
        const ofQuery = featuresOf(map, row(q, b, h, i), omega)
        const seen = Math.min(kvLengths?.[b] ?? keys, causal ? i + 1 : keys)
        const weights = ofKeys.slice(0, seen).map((key) => key.reduce((sum, x, f) => sum + x * ofQuery[f], 0))
        const total = weights.reduce((sum, weight) => sum + weight, 0)
        const at = (flat ? (b * length + i) * count + h : (b * count + h) * length + i) * size
        for (const [j, weight] of weights.entries()) {
          for (const [e, x] of row(v, b, h, j).entries()) output[at + e] += (weight / total) * x
        }
      }
    }
  }
  return output
}

/**
 * Recovers ω of FAVOR+ from results, `[m][D]`. The features of `D^¼` times a unit vector give its products with ω, up
 * to a common factor. This factor is the weight of such a key next to a zero key, for a zero query.
 *
 * @param {import('@ruvector/attention').LinearAttention} attention
 * @param {number} size
 */
function omegaOf(attention, size) {
  const unit = Math.sqrt(Math.sqrt(size))
  const basis = new Float32Array(size * size)
  const keys = new Float32Array(2 * size * size)
  const values = new Float32Array(2 * size)
  for (let d = 0; d < size; d++) {
    basis[d * size + d] = keys[(2 * d + 1) * size + d] = unit
    values[2 * d] = 1
  }
  const { data } = attention.featureMap({ data: basis, shape: [1, 1, size, size] })
  const { output } = attention.forward(
    { data: new Float32Array(size * size), shape: [size, 1, 1, size] },
    { data: keys, shape: [size, 1, 2, size] },
    { data: values, shape: [size, 1, 2, 1] }
  )
  const m = attention.featureDim
  const columns = Array.from({ length: size }, (_, d) => {
    const features = [...data.subarray(d * m, (d + 1) * m)].map((feature) => feature * Math.sqrt(m))
    const mean = Math.exp(0.5) * (1 / output.data[d] - 1)
    const common = Math.log(mean / (features.reduce((sum, feature) => sum + feature, 0) / m))
    return features.map((feature) => Math.log(feature) + common)
  })
  return Array.from({ length: m }, (_, f) => columns.map((column) => column[f]))
}

const one = (/** @type {number} */ min, /** @type {number} */ max) => fc.integer({ min, max })

const calls = fc.record({
  map: fc.constantFrom('elu', 'relu', 'favor+'),
  batch: one(1, 3),
  heads: one(1, 3),
  length: fc.oneof({ weight: 3, arbitrary: one(0, 20) }, one(60, 140)),
  keys: fc.oneof({ weight: 3, arbitrary: one(0, 20) }, one(60, 140)),
  size: fc.oneof(one(1, 12), fc.constantFrom(16, 17)),
  valueSize: fc.oneof(one(1, 20), fc.constantFrom(32, 64, 65)),
  features: one(1, 40),
  /** True for 3-D tensors. */
  flat: fc.boolean(),
  causal: fc.constantFrom(undefined, false, true),
  /** Parts of the keys, in eighths. */
  lengths: fc.option(fc.tuple(one(0, 8), one(0, 8), one(0, 8)), { nil: undefined }),
  seed: one(0, 1e6)
})

/**
 * @param {typeof calls extends fc.Arbitrary<infer Call> ? Call : never} given
 * @returns {{ config: LinearConfig, inputs: [Tensor, Tensor, Tensor], options: { causal?: boolean, kvLengths?:
 *   Int32Array } }}
 */
function callOf({ map, batch, heads, length, keys, size, valueSize, features, flat, causal, lengths, seed }) {
  /** @type {(rows: number, columns: number, salt: number) => Tensor} */
  const tensor = (rows, columns, salt) =>
    eighths(flat ? [batch, rows, heads * columns] : [batch, heads, rows, columns], seed + salt)
  return {
    config: {
      modelDim: heads * size,
      numHeads: heads,
      featureMap: /** @type {LinearConfig['featureMap']} */ (map),
      seed,
      ...(map === 'favor+' && { featureDim: features })
    },
    inputs: [tensor(length, size, 0), tensor(keys, size, 1), tensor(keys, valueSize, 2)],
    options: {
      causal,
      kvLengths: lengths && Int32Array.from(lengths.slice(0, batch), (part) => Math.floor((part * keys) / 8))
    }
  }
}

/**
 * A range of positions of a tensor.
 *
 * @param {Tensor} tensor
 * @param {number} from
 * @param {number} to
 */
function positions({ data, shape }, from, to) {
  const axis = shape.length - 2
  const size = shape[axis + 1]
  const outer = shape.slice(0, axis).reduce((a, b) => a * b, 1)
  const part = new Float32Array(outer * (to - from) * size)
  for (let row = 0; row < outer; row++) {
    const first = row * shape[axis] * size
    part.set(data.subarray(first + from * size, first + to * size), row * (to - from) * size)
  }
  return { data: part, shape: [...shape.slice(0, axis), to - from, size] }
}

onBothBackends((kind, attention) => {
  const { LinearAttention, scaledDotProductAttention } = attention

  for (const golden of readGolden('linear-attention').cases) {
    test(`${kind} gives the results of Katharopoulos et al.: ${golden.name}`, (t) => {
      const { q, k, v, output, features } = golden.tensors
      const { kvLengths, ...options } = golden.options
      const linear = owned(t, new LinearAttention(golden.config))
      const all = { ...options, ...(kvLengths && { kvLengths: Int32Array.from(kvLengths) }) }
      const tolerance = { absolute: 1e-5, relative: 2e-6 }
      t.is(difference(linear.forward(q, k, v, all).output, output, tolerance), undefined)
      t.is(difference(linear.featureMap(q), features, tolerance), undefined)
    })
  }

  test(`${kind}: linear attention matches its definition for all shapes, features and options`, (t) => {
    const property = fc.property(calls, (given) => {
      const { config, inputs, options } = callOf(given)
      const linear = new LinearAttention(config)
      try {
        const { output } = linear.forward(...inputs, options)
        const omega = given.map === 'favor+' ? omegaOf(linear, given.size) : undefined
        // ω is derived from logarithms of 32-bit results.
        const tolerance = omega ? 2e-4 : 1e-5
        requireClose(output, oracle(given.map, given.heads, inputs, options, omega), tolerance, 'output')
        requireClose(output.shape, [...inputs[0].shape.slice(0, -1), inputs[2].shape.at(-1) ?? 0], 0, 'shape')
      } finally {
        linear.dispose()
      }
    })
    t.notThrows(() => fc.assert(property, { numRuns: 150, includeErrorInReport: true }))
  })

  test(`${kind}: a stream gives the causal rows, token by token and several at a time`, (t) => {
    const property = fc.property(calls, fc.array(one(1, 70), { minLength: 1, maxLength: 3 }), (given, steps) => {
      const { config, inputs } = callOf({ ...given, keys: given.length, lengths: undefined })
      const linear = new LinearAttention(config)
      const expected = linear.forward(...inputs, { causal: true }).output
      for (const sizes of [[1], steps]) {
        const stream = linear.stream({ batch: given.batch, valueDim: given.valueSize })
        for (let from = 0, step = 0; from < given.length; step++) {
          const to = Math.min(given.length, from + sizes[step % sizes.length])
          const [q, k, v] = inputs.map((tensor) => positions(tensor, from, to))
          requireClose(stream.step(q, k, v).output, positions(expected, from, to), 1e-5, `positions from ${from}`)
          from = to
        }
        stream.dispose()
      }
      linear.dispose()
    })
    t.notThrows(() => fc.assert(property, { numRuns: 60, includeErrorInReport: true }))
  })

  test(`${kind}: reset discards a stream's positions, and streams are independent`, (t) => {
    const linear = owned(t, new LinearAttention({ modelDim: 8, numHeads: 2 }))
    const [one, other] = [owned(t, linear.stream()), owned(t, linear.stream())]
    const step = (/** @type {typeof one} */ stream, /** @type {number} */ seed) => {
      const [q, k, v] = [0, 1, 2].map((salt) => normal([1, 1, 8], seed + salt))
      return bits(stream.step(q, k, v).output)
    }
    const first = step(one, 1)
    t.not(step(one, 4), step(other, 4))
    one.reset()
    t.is(step(one, 1), first)
  })

  test(`${kind}: NaN beyond the lengths, or later than a causal row, does no harm`, (t) => {
    for (const featureMap of /** @type {const} */ (['elu', 'relu', 'favor+'])) {
      const linear = owned(t, new LinearAttention({ modelDim: 6, featureMap }))
      const [q, k, v] = [1, 2, 3].map((seed) => normal([1, 90, 6], seed))
      const spoiled = [k, v].map(({ data, shape }) => ({ data: data.slice().fill(NaN, 70 * 6), shape }))
      const kvLengths = Int32Array.of(70)
      t.is(
        bits(linear.forward(q, spoiled[0], spoiled[1], { kvLengths }).output),
        bits(linear.forward(q, k, v, { kvLengths }).output)
      )
      const found = linear.forward(q, spoiled[0], spoiled[1], { causal: true }).output
      close(t, positions(found, 0, 70), positions(linear.forward(q, k, v, { causal: true }).output, 0, 70), 1e-5)
      t.true(positions(found, 70, 90).data.every(Number.isNaN))
    }
  })

  test(`${kind}: rows without keys are zeros`, (t) => {
    for (const featureMap of /** @type {const} */ (['elu', 'favor+'])) {
      const linear = owned(t, new LinearAttention({ modelDim: 4, featureMap }))
      const q = normal([2, 5, 4], 1)
      const none = linear.forward(q, normal([2, 0, 4], 1), normal([2, 0, 4], 1)).output
      t.deepEqual(none, { data: new Float32Array(40), shape: [2, 5, 4] })
      const kvLengths = Int32Array.of(0, 0)
      t.deepEqual(linear.forward(q, q, q, { kvLengths, causal: true }).output, none)
    }
  })

  test(`${kind}: featureMap gives positive features, for FAVOR+ with a maximum of 1/√m per row`, (t) => {
    const x = normal([2, 5, 12], 1)
    const elu = owned(t, new LinearAttention({ modelDim: 12, numHeads: 3 }))
    close(t, elu.featureMap(x), [...x.data].map(maps.elu), 1e-6)
    t.deepEqual(elu.featureMap(x).shape, [2, 5, 12])
    t.deepEqual(elu.featureMap(normal([2, 7, 5, 4], 1)).shape, [2, 7, 5, 4])
    const favor = owned(t, new LinearAttention({ modelDim: 12, numHeads: 3, featureMap: 'favor+', featureDim: 50 }))
    const { data, shape } = favor.featureMap(x)
    t.deepEqual(shape, [2, 5, 150])
    t.true(data.every((feature) => feature > 0))
    for (let row = 0; row < 30; row++) {
      close(t, [Math.max(...data.subarray(row * 50, (row + 1) * 50))], [1 / Math.sqrt(50)], 1e-6)
    }
    t.deepEqual(favor.featureMap(normal([1, 2, 3, 4], 1)).shape, [1, 2, 3, 50])
  })

  test(`${kind}: the number of features is the head size, and for FAVOR+ a multiple of it`, (t) => {
    const featureDim = (/** @type {LinearConfig} */ config) => owned(t, new LinearAttention(config)).featureDim
    t.is(featureDim({ modelDim: 64 }), 64)
    t.is(featureDim({ modelDim: 64, numHeads: 4, featureMap: 'relu', featureDim: 16 }), 16)
    t.is(featureDim({ modelDim: 64, featureMap: 'favor+' }), 320)
    t.is(featureDim({ modelDim: 64, numHeads: 8, featureMap: 'favor+' }), 24)
    t.is(featureDim({ modelDim: 64, featureMap: 'favor+', featureDim: 7 }), 7)
    const { config } = owned(t, new LinearAttention({ modelDim: 6, numHeads: 2, featureMap: null }))
    t.deepEqual(config, { modelDim: 6, numHeads: 2, featureDim: 3, featureMap: 'elu', rule: 'kernel', seed: 0 })
  })

  test(`${kind}: rows of ω are orthogonal inside a block and as long as Gaussian vectors`, (t) => {
    const [size, features] = [8, 200]
    const omega = omegaOf(
      owned(t, new LinearAttention({ modelDim: size, featureMap: 'favor+', featureDim: features })),
      size
    )
    /** @type {(a: number[], b: number[]) => number} */
    const dot = (a, b) => a.reduce((sum, x, d) => sum + x * b[d], 0)
    for (let block = 0; block < features; block += size) {
      for (let i = block; i < block + size; i++) {
        for (let j = block; j < i; j++) {
          const cosine = dot(omega[i], omega[j]) / Math.sqrt(dot(omega[i], omega[i]) * dot(omega[j], omega[j]))
          t.true(Math.abs(cosine) < 1e-4, `rows ${i} and ${j}: ${cosine}`)
        }
      }
    }
    // χ² with 8 degrees of freedom has mean 8 and variance 16.
    const squares = omega.map((row) => dot(row, row))
    const mean = squares.reduce((sum, square) => sum + square, 0) / features
    const variance = squares.reduce((sum, square) => sum + (square - mean) ** 2, 0) / features
    t.true(Math.abs(mean - 8) < 0.9 && Math.abs(variance - 16) < 5, `mean ${mean}, variance ${variance}`)
  })

  test(`${kind}: the error of FAVOR+ against softmax attention falls with the square root of the number of features`, (t) => {
    const [size, length] = [16, 40]
    const small = (/** @type {number} */ seed) => normal([1, length, size], seed).data.map((x) => x / 2)
    const shape = [1, length, size]
    const [q, k, v] = [{ data: small(1), shape }, { data: small(2), shape }, normal(shape, 3)]
    const exact = softmaxAttention(q, k, v).output
    const counts = [16, 64, 256, 1024]
    const errors = counts.map((featureDim) => {
      let sum = 0
      for (let seed = 0; seed < 24; seed++) {
        const linear = new LinearAttention({ modelDim: size, featureMap: 'favor+', featureDim, seed })
        const { data } = linear.forward(q, k, v).output
        linear.dispose()
        sum += data.reduce((total, value, index) => total + Math.abs(value - exact[index]), 0) / data.length / 24
      }
      return sum
    })
    const points = counts.map((count, index) => [Math.log(count), Math.log(errors[index])])
    const [x, y] = [0, 1].map((axis) => points.reduce((sum, point) => sum + point[axis] / points.length, 0))
    const along = points.reduce((sum, point) => sum + (point[0] - x) * (point[1] - y), 0)
    const slope = along / points.reduce((sum, point) => sum + (point[0] - x) ** 2, 0)
    t.true(slope >= -0.65 && slope <= -0.35, `the slope is ${slope}: ${errors}`)
    t.true(errors[3] < 0.01, `${errors}`)
  })

  test(`${kind}: results are the same every time, for every number of threads, and in out`, async (t) => {
    const [q, k, v] = [1, 2, 3].map((seed) => normal([2, 4500, 32], seed))
    const run = (/** @type {Attention} */ { LinearAttention: Linear }) => {
      const linear = owned(t, new Linear({ modelDim: 32, numHeads: 2, featureMap: 'favor+', featureDim: 40 }))
      return [false, true].map((causal) => bits(linear.forward(q, k, v, { causal }).output))
    }
    const first = run(attention)
    t.deepEqual(run(attention), first)
    for (const threads of [1, 2, 5]) t.deepEqual(run(await loadBackend(kind, { threads })), first)
    const out = new Float32Array(q.data.length)
    const linear = owned(t, new LinearAttention({ modelDim: 32 }))
    t.is(linear.forward(q, k, v, { out }).output.data, out)
    t.is(bits({ data: out, shape: q.shape }), bits(linear.forward(q, k, v).output))
  })

  /** @type {[title: string, config: Any, argument: string, expected: RegExp, actual: RegExp][]} */
  const wrongConfigs = [
    ['nothing', undefined, 'config', /object/, /undefined/],
    ['no model size', {}, 'modelDim', /at least 1/, /nothing/],
    ['a model size of 0', { modelDim: 0 }, 'modelDim', /at least 1/, /0/],
    ['a broken model size', { modelDim: 2.5 }, 'modelDim', /integer/, /2\.5/],
    ['heads that do not divide', { modelDim: 8, numHeads: 3 }, 'numHeads', /divisor of modelDim 8/, /3/],
    ['no heads', { modelDim: 8, numHeads: 0 }, 'numHeads', /at least 1/, /0/],
    ['no features', { modelDim: 8, featureDim: 0, featureMap: 'favor+' }, 'featureDim', /at least 1/, /0/],
    ['other features for elu', { modelDim: 8, featureDim: 16 }, 'featureDim', /8.*favor\+/, /16/],
    [
      'too many features',
      { modelDim: 8, featureDim: 1e9, featureMap: 'favor+' },
      'featureDim',
      /at most/,
      /1000000000/
    ],
    ['an unknown map', { modelDim: 8, featureMap: 'softmax' }, 'featureMap', /'elu', 'relu' or 'favor\+'/, /softmax/],
    ['a broken seed', { modelDim: 8, seed: -1 }, 'seed', /integer from 0/, /-1/],
    ['an unknown name', { modelDim: 8, heads: 2 }, 'heads', /numHeads/, /unknown/]
  ]
  for (const [title, config, argument, expected, actual] of wrongConfigs) {
    test(`${kind}: a configuration with ${title} is rejected`, (t) => {
      const fault = faultOf(t, () => new LinearAttention(config))
      t.is(fault.code, 'OPTION')
      t.is(fault.argument, argument)
      t.regex(fault.expected ?? '', expected)
      t.regex(fault.actual ?? '', actual)
    })
  }

  test(`${kind}: invalid calls are rejected with the right fields, and the next call works`, (t) => {
    const linear = owned(t, new LinearAttention({ modelDim: 8, numHeads: 2 }))
    const x = normal([2, 3, 8], 1)
    const apart = normal([2, 3, 5, 4], 1)
    const wrong = (/** @type {number[]} */ ...shape) => normal(shape, 1)
    /** @type {[code: string, argument: string, call: () => unknown][]} */
    const cases = [
      ['DTYPE', 'q', () => linear.forward(/** @type {Any} */ (undefined), x, x)],
      ['DTYPE', 'v', () => linear.forward(x, x, /** @type {Any} */ (x.data))],
      ['SHAPE', 'q', () => linear.forward(wrong(3, 8), x, x)],
      ['SHAPE', 'q', () => linear.forward(wrong(2, 3, 4), x, x)],
      ['SHAPE', 'q', () => linear.forward(wrong(2, 3, 5, 8), apart, apart)],
      ['SHAPE', 'k', () => linear.forward(x, wrong(2, 3, 4), x)],
      ['SHAPE', 'k', () => linear.forward(x, apart, apart)],
      ['SHAPE', 'k', () => linear.forward(x, wrong(1, 3, 8), wrong(1, 3, 8))],
      ['SHAPE', 'k', () => linear.forward(apart, wrong(2, 1, 5, 4), wrong(2, 1, 5, 4))],
      ['SHAPE', 'v', () => linear.forward(x, x, wrong(2, 3, 7))],
      ['SHAPE', 'v', () => linear.forward(x, x, wrong(2, 4, 8))],
      ['SHAPE', 'kvLengths', () => linear.forward(x, x, x, { kvLengths: Int32Array.of(1) })],
      ['OPTION', 'kvLengths', () => linear.forward(x, x, x, { kvLengths: Int32Array.of(1, 4) })],
      ['OPTION', 'kvLengths[1]', () => linear.forward(x, x, x, { kvLengths: [1, 2.5] })],
      ['SHAPE', 'out', () => linear.forward(x, x, x, { out: new Float32Array(3) })],
      ['OPTION', 'out', () => linear.forward(x, x, x, { out: x.data })],
      ['DTYPE', 'out', () => linear.forward(x, x, x, /** @type {Any} */ ({ out: new Float64Array(48) }))],
      ['OPTION', 'causal', () => linear.forward(x, x, x, /** @type {Any} */ ({ causal: 'yes' }))],
      ['OPTION', 'mask', () => linear.forward(x, x, x, /** @type {Any} */ ({ mask: wrong(3, 3) }))],
      ['OPTION', 'scale', () => linear.forward(x, x, x, /** @type {Any} */ ({ scale: 1 }))],
      ['OPTION', 'options', () => linear.forward(x, x, x, /** @type {Any} */ (3))],
      ['SHAPE', 'x', () => linear.featureMap(wrong(2, 3, 4))],
      ['SHAPE', 'x', () => linear.featureMap(wrong(8))],
      ['DTYPE', 'x', () => linear.featureMap(/** @type {Any} */ (null))],
      ['OPTION', 'batch', () => linear.stream({ batch: 0 })],
      ['OPTION', 'valueDim', () => linear.stream({ valueDim: 1.5 })],
      ['OPTION', 'heads', () => linear.stream(/** @type {Any} */ ({ heads: 2 }))]
    ]
    for (const [code, argument, call] of cases) {
      const fault = faultOf(t, call)
      t.is(String(fault.code), code, fault.message)
      t.is(fault.argument, argument, fault.message)
    }
    t.deepEqual(linear.forward(x, x, x).output.shape, [2, 3, 8])
  })

  test(`${kind}: a step that does not fit is rejected and changes nothing`, (t) => {
    const linear = owned(t, new LinearAttention({ modelDim: 4 }))
    const stream = owned(t, linear.stream({ batch: 2, valueDim: 3 }))
    const [x, v] = [normal([2, 1, 4], 1), normal([2, 1, 3], 2)]
    stream.step(x, x, v)
    for (const [argument, inputs] of /** @type {[string, Tensor[]][]} */ ([
      ['q', [normal([1, 1, 4], 1), normal([1, 1, 4], 1), normal([1, 1, 3], 1)]],
      ['q', [normal([2, 3, 1, 4], 1), normal([2, 3, 1, 4], 1), normal([2, 3, 1, 3], 1)]],
      ['q', [normal([2, 1, 5], 1), x, v]],
      ['k', [x, normal([2, 2, 4], 1), normal([2, 2, 3], 1)]],
      ['v', [x, x, x]]
    ])) {
      const fault = faultOf(t, () => stream.step(inputs[0], inputs[1], inputs[2]))
      t.deepEqual([fault.code, fault.argument], ['SHAPE', argument], fault.message)
    }
    close(t, stream.step(x, x, v).output, v, 1e-6)
  })

  test(`${kind}: after dispose every use throws DISPOSED, and a second dispose does nothing`, (t) => {
    const x = normal([1, 1, 4], 1)
    const linear = new LinearAttention({ modelDim: 4, featureMap: 'favor+' })
    const stream = linear.stream()
    const other = linear.stream()
    stream.step(x, x, x)
    stream.dispose()
    stream[Symbol.dispose]()
    for (const use of [() => stream.step(x, x, x), () => stream.reset()]) t.is(faultOf(t, use).code, 'DISPOSED')
    linear.dispose()
    linear[Symbol.dispose]()
    for (const use of [
      () => linear.forward(x, x, x),
      () => linear.featureMap(x),
      () => linear.stream(),
      () => other.step(x, x, x)
    ]) {
      t.is(faultOf(t, use).code, 'DISPOSED')
    }
    other.dispose()
  })

  test(`${kind}: with many features, FAVOR+ is close to scaledDotProductAttention, also when causal`, (t) => {
    const linear = owned(t, new LinearAttention({ modelDim: 16, numHeads: 2, featureMap: 'favor+', featureDim: 4000 }))
    const [q, k, v] = [1, 2, 3].map((seed) => normal([1, 2, 50, 8], seed))
    for (const tensor of [q, k]) tensor.data.forEach((x, index) => (tensor.data[index] = x / 2))
    for (const causal of [false, true]) {
      const exact = scaledDotProductAttention(q, k, v, { causal }).output
      close(t, linear.forward(q, k, v, { causal }).output, exact, 0.06)
    }
  })
})

if (backends.length > 1) {
  test('native and wasm draw the same ω, and agree to 1e-5', (t) => {
    const [q, k, v] = [1, 2, 3].map((seed) => normal([2, 300, 32], seed))
    const found = backends.map(({ attention: { LinearAttention } }) => {
      const of = (/** @type {number} */ seed) =>
        owned(t, new LinearAttention({ modelDim: 32, numHeads: 4, featureMap: 'favor+', featureDim: 60, seed }))
      const linear = of(2 ** 40 + 5)
      return {
        features: linear.featureMap(q),
        other: of(5).featureMap(q),
        full: linear.forward(q, k, v).output,
        causal: linear.forward(q, k, v, { causal: true }).output
      }
    })
    const [native, wasm] = found
    close(t, native.features, wasm.features, 1e-6)
    close(t, native.other, wasm.other, 1e-6)
    t.notDeepEqual(native.features, native.other)
    close(t, native.full, wasm.full, 1e-5)
    close(t, native.causal, wasm.causal, 1e-5)
  })
}
