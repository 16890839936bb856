// Rotary positions: ONNX's numbers, the definition, layers with them, and every invalid input.
import test from 'ava'
import fc from 'fast-check'
import { onBothBackends } from '../support/backends.js'
import { difference, readGolden } from '../support/golden.js'
import { linear } from '../support/oracle.js'
import { bits, close, eighths, faultOf, normal, requireClose } from '../support/tensors.js'

/** @typedef {import('@ruvector/attention').Tensor} Tensor */
/** @typedef {NonNullable<Parameters<import('@ruvector/attention').Attention['rotaryEmbedding']>[1]>} Options */

/**
 * The definition, in doubles.
 *
 * @param {{ readonly data: ArrayLike<number>, readonly shape: readonly number[] }} x
 * @param {Options} [options]
 * @param {(b: number, l: number) => number} [positionOf]
 */
function oracle({ data, shape }, options = {}, positionOf) {
  const { positions, layout } = options
  const [batch, a, b, size] = shape.length === 3 ? [shape[0], 1, shape[1], shape[2]] : shape
  const swapped = layout === 'blhd' && shape.length === 4
  const [heads, length] = swapped ? [b, a] : [a, b]
  const [base, scale, dim] = [options.base ?? 10000, options.scale ?? 1, options.dim ?? size]
  const result = Array.from(data)
  const at = (/** @type {number} */ n, /** @type {number} */ l) =>
    positionOf?.(n, l) ?? (positions ? Number(positions[positions.length === length ? l : n * length + l]) : l)
  for (let n = 0; n < batch; n++) {
    for (let h = 0; h < heads; h++) {
      for (let l = 0; l < length; l++) {
        const start = ((n * a + (swapped ? l : h)) * b + (swapped ? h : l)) * size
        for (let pair = 0; pair < dim / 2; pair++) {
          const angle = at(n, l) * scale * base ** ((-2 * pair) / dim)
          const [first, second] = options.interleaved ? [2 * pair, 2 * pair + 1] : [pair, pair + dim / 2]
          const [x, y] = [data[start + first], data[start + second]]
          result[start + first] = x * Math.cos(angle) - y * Math.sin(angle)
          result[start + second] = x * Math.sin(angle) + y * Math.cos(angle)
        }
      }
    }
  }
  return result
}

const golden = readGolden('onnx-rotary')

onBothBackends((kind, { rotaryEmbedding, scaledDotProductAttention, MultiHeadAttention, SelfAttention }) => {
  for (const { name, options, tensors } of golden.cases) {
    test(`${kind} gives the results of ONNX's RotaryEmbedding: ${name}`, (t) => {
      const { positions, ...rest } = options
      const found = rotaryEmbedding(tensors.x, { ...rest, ...(positions && { positions: Int32Array.from(positions) }) })
      t.is(difference(found, tensors.output, { absolute: 3e-7, relative: 3e-7 }), undefined)
    })
  }

  test(`${kind}: rotary positions match their definition for all shapes, positions and options`, (t) => {
    const one = (/** @type {number} */ min, /** @type {number} */ max) => fc.integer({ min, max })
    const cases = fc.record({
      sizes: fc.tuple(one(1, 3), one(1, 3), one(0, 40), one(0, 20), one(0, 3)),
      isFlat: fc.boolean(),
      layout: fc.constantFrom(undefined, /** @type {const} */ ('bhld'), /** @type {const} */ ('blhd')),
      interleaved: fc.constantFrom(undefined, false, true),
      withDim: fc.boolean(),
      positions: fc.constantFrom('none', 'shared', 'each'),
      base: fc.constantFrom(undefined, 1, 100, 500000),
      scale: fc.constantFrom(undefined, 0, 0.125, 1 / 3),
      seed: one(0, 1e6)
    })
    const property = fc.property(cases, ({ sizes, isFlat, layout, withDim, positions, seed, ...scalars }) => {
      const [batch, heads, length, half, rest] = sizes
      const size = 2 * half + rest
      const dim = half > 0 && (withDim || rest % 2 === 1) ? 2 * half : undefined
      if (dim === undefined && size % 2 === 1) return
      const shape = layout === 'blhd' ? [batch, length, heads, size] : [batch, heads, length, size]
      const x = eighths(isFlat ? [batch, length, size] : shape, seed)
      const count = { none: 0, shared: length, each: batch * length }[positions] ?? 0
      const drawn = Int32Array.from(eighths([count], seed + 1).data, (value) => (value + 2) * 250_000)
      const options = { ...scalars, layout, dim, ...(positions !== 'none' && { positions: drawn }) }
      const found = rotaryEmbedding(x, options)
      requireClose(found, oracle(x, options), 1e-6)
      requireClose(found.shape, x.shape, 0)
    })
    t.notThrows(() => fc.assert(property, { numRuns: 150, includeErrorInReport: true }))
  })

  test(`${kind}: the scores of rotated queries and keys only depend on the distance of their positions`, (t) => {
    const [q, k, v] = [normal([1, 2, 6, 32], 1), normal([1, 2, 6, 32], 2), normal([1, 2, 6, 32], 3)]
    const at = (/** @type {number} */ start) => ({ positions: Int32Array.from({ length: 6 }, (_, l) => start + l) })
    const output = (/** @type {number} */ start) =>
      scaledDotProductAttention(rotaryEmbedding(q, at(start)), rotaryEmbedding(k, at(start)), v).output
    close(t, output(40_000), output(0), 3e-5)
  })

  test(`${kind}: x is not written to, and the result is new memory`, (t) => {
    const x = normal([1, 3, 8], 4)
    const before = bits(x)
    const [first, second] = [rotaryEmbedding(x), rotaryEmbedding(x)]
    t.is(bits(x), before)
    t.not(first.data.buffer, second.data.buffer)
    t.is(bits(first), bits(second))
  })

  test(`${kind}: a layer with rotary positions rotates its projected queries and keys`, (t) => {
    for (const interleaved of [false, true]) {
      const rotary = { base: 100, interleaved, dim: 6 }
      const config = { numHeads: 4, headDim: 8, kvHeads: 2, modelDim: 12, seed: 7 }
      const layer = new MultiHeadAttention({ ...config, rotary })
      const plain = new MultiHeadAttention(config)
      t.teardown(() => (layer.dispose(), plain.dispose()))
      t.deepEqual(layer.stateDict(), plain.stateDict())
      const state = layer.stateDict()
      const [q, k] = [normal([2, 5, 12], 1), normal([2, 7, 12], 2)]
      // The packed matrix of the queries, keys and values, row by row.
      const rows = (/** @type {number} */ from, /** @type {number} */ to) => ({
        weight: { data: state.in_proj_weight.data.subarray(from * 12, to * 12), shape: [to - from, 12] },
        bias: { data: state.in_proj_bias.data.subarray(from, to), shape: [to - from] }
      })
      const project = (/** @type {Tensor} */ x, /** @type {number} */ from, /** @type {number} */ to) => {
        const { weight, bias } = rows(from, to)
        const { data, shape } = linear(x, weight, bias)
        return { data: Float32Array.from(data), shape: [shape[0], shape[1], (to - from) / 8, 8] }
      }
      const offsets = Int32Array.of(3, 1000)
      for (const queryOffset of [0, 5, offsets]) {
        const of = (/** @type {number} */ b) => (typeof queryOffset === 'number' ? queryOffset : queryOffset[b])
        const turn = (/** @type {Tensor} */ x, /** @type {(b: number, l: number) => number} */ positionOf) => ({
          data: Float32Array.from(oracle(x, { ...rotary, layout: 'blhd' }, positionOf)),
          shape: x.shape
        })
        const heads = scaledDotProductAttention(
          turn(project(q, 0, 32), (b, l) => l + of(b)),
          turn(project(k, 32, 48), (_, l) => l),
          project(k, 48, 64),
          { layout: 'blhd', causal: true, queryOffset }
        ).output
        const joined = { data: heads.data, shape: [2, 5, 32] }
        const expected = linear(joined, state['out_proj.weight'], state['out_proj.bias'])
        close(t, layer.forward(q, k, null, { causal: true, queryOffset }).output, expected.data, 1e-5)
      }
    }
  })

  test(`${kind}: a layer reports its rotary positions including all defaults`, (t) => {
    const layer = new SelfAttention({ numHeads: 2, headDim: 4, rotary: { base: 500000.5 } })
    t.teardown(() => layer.dispose())
    t.deepEqual(layer.config.rotary, { base: 500000.5, interleaved: false, dim: 4 })
    t.true(Object.isFrozen(layer.config.rotary))
    const plain = new SelfAttention({ numHeads: 2, headDim: 4, rotary: null })
    t.teardown(() => plain.dispose())
    t.is(plain.config.rotary, undefined)
  })

  test(`${kind}: errors name invalid options of rotaryEmbedding`, (t) => {
    const x = normal([2, 3, 6], 1)
    /** @type {[unknown, unknown, string, string, string, string][]} */
    const faults = [
      [x, { dim: 3 }, 'OPTION', 'dim', 'an even integer of at least 2', '3'],
      [x, { dim: 8 }, 'OPTION', 'dim', 'an even integer from 2 to the head size 6', '8'],
      [normal([2, 3, 5], 1), {}, 'OPTION', 'dim', 'an even integer from 2 to the head size 5', '5'],
      [x, { base: 0 }, 'OPTION', 'base', 'a number of at least 1 and less than 1e15', '0'],
      [x, { base: NaN }, 'OPTION', 'base', 'a number of at least 1 and less than 1e15', 'NaN'],
      [x, { scale: -1 }, 'OPTION', 'scale', 'a finite number of at least 0', '-1'],
      [x, { interleaved: 'yes' }, 'OPTION', 'interleaved', 'a boolean', '"yes"'],
      [x, { layout: 'x' }, 'OPTION', 'layout', "'bhld' or 'blhd'", '"x"'],
      [x, { rotaryDim: 2 }, 'OPTION', 'rotaryDim', "'dim'", 'an unknown name'],
      [x, { position: 2 }, 'OPTION', 'position', "'positions'", 'an unknown name'],
      [x, { positions: [0, 1.5, 2] }, 'OPTION', 'positions[1]', 'a 32-bit integer', '1.5'],
      [x, { positions: Int32Array.of(0, 1, -1) }, 'OPTION', 'positions', 'integers of at least 0', '-1'],
      [
        x,
        { positions: Int32Array.of(0, 1) },
        'SHAPE',
        'positions',
        'a length of 3, or of 2 · 3 for positions of each batch entry',
        'a length of 2'
      ],
      [
        x,
        { positions: Int32Array.of(0, 1, 2 ** 31 - 1), scale: 2 },
        'OPTION',
        'scale',
        'a factor that keeps every position below 2^31',
        'position 2147483647 times it'
      ],
      [normal([3, 6], 1), {}, 'SHAPE', 'x', '[B, H, L, D] or [B, L, D]', '[3, 6]'],
      [x.data, {}, 'DTYPE', 'x', 'a tensor { data: Float32Array, shape: number[] }', 'a Float32Array'],
      [x, 3, 'OPTION', 'options', 'an object', '3']
    ]
    for (const [input, options, code, argument, expected, actual] of faults) {
      const { message, ...fault } = faultOf(t, () =>
        rotaryEmbedding(/** @type {any} */ (input), /** @type {any} */ (options))
      )
      t.deepEqual(fault, { code, argument, expected, actual }, message)
    }
    t.is(rotaryEmbedding(x).data.length, 36)
  })

  test(`${kind}: errors name the path of invalid rotary options of a layer`, (t) => {
    const fault = (/** @type {unknown} */ rotary) =>
      faultOf(t, () => new SelfAttention({ numHeads: 2, headDim: 6, rotary: /** @type {any} */ (rotary) }))
    t.like(fault({ dim: 8 }), { code: 'OPTION', argument: 'rotary.dim', actual: '8' })
    t.like(fault({ bas: 8 }), {
      code: 'OPTION',
      argument: 'rotary.bas',
      expected: "'rotary.base'"
    })
    t.like(fault({ scale: 0.5 }), { code: 'OPTION', argument: 'rotary.scale' })
    t.like(fault({ base: {} }), { code: 'OPTION', argument: 'rotary.base' })
    for (const wrong of [true, 5, 'yes', [1]]) {
      t.like(fault(wrong), { argument: 'rotary', expected: 'an object { base, interleaved, dim }' })
    }
  })
})
