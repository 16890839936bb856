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
  const { layout } = options
  const positions = /** @type {ArrayLike<number> | undefined} */ (options.positions)
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
const scaled = readGolden('rotary-scaling').cases

onBothBackends((kind, attention) => {
  const { rotaryEmbedding, rotaryFrequencies, scaledDotProductAttention, MultiHeadAttention, SelfAttention } = attention
  for (const { name, options, tensors } of golden.cases) {
    test(`${kind} gives the results of ONNX's RotaryEmbedding: ${name}`, (t) => {
      const { positions, ...rest } = options
      const found = rotaryEmbedding(tensors.x, { ...rest, ...(positions && { positions: Int32Array.from(positions) }) })
      t.is(difference(found, tensors.output, { absolute: 3e-7, relative: 3e-7 }), undefined)
    })
  }

  for (const { name, options, frequencies, factor, positions, tensors } of scaled) {
    if (frequencies !== undefined) {
      test(`${kind} gives the frequencies of transformers: ${name}`, (t) => {
        const found = rotaryFrequencies(options)
        t.is(found.frequencies.length, frequencies.length)
        for (const [pair, expected] of frequencies.entries()) {
          t.true(Math.abs(found.frequencies[pair] - expected) <= 1e-13 * expected, `pair ${pair}`)
        }
        t.true(Math.abs(found.factor - factor) < 1e-13)
      })
    } else {
      test(`${kind} gives the rotation of Qwen2.5-VL: ${name}`, (t) => {
        const flat = positions.flat(3)
        const shape = [3, positions[0].length, positions[0][0].length]
        for (const given of [flat, { data: Int32Array.from(flat), shape }]) {
          const found = rotaryEmbedding(tensors.x, { ...options, positions: given })
          t.is(difference(found, tensors.output, { absolute: 3e-7, relative: 3e-7 }), undefined)
        }
      })
    }
  }

  test(`${kind}: a scaling rotates like its frequencies and factor, at the length of the call`, (t) => {
    for (const { options, frequencies } of scaled) {
      if (frequencies === undefined || options.scaling.factor === null) continue
      const { headDim, ...rest } = options
      const x = normal([1, 2, 5, headDim], 1)
      for (const positions of [undefined, [0, 1, 70, 8000, 3]]) {
        const length = options.length ?? (positions ? 8001 : 5)
        const found = rotaryEmbedding(x, { ...rest, positions, scale: 0.5 })
        const { frequencies: own, factor } = rotaryFrequencies({ ...options, length, scale: 0.5 })
        t.is(bits(found), bits(rotaryEmbedding(x, { frequencies: own, factor, positions })))
      }
    }
  })

  test(`${kind}: a layer rotates as its scaling says, at the length of each call`, (t) => {
    const config = { numHeads: 4, headDim: 16, kvHeads: 2, modelDim: 12, seed: 7 }
    const x = normal([1, 9, 12], 1)
    for (const { options, frequencies } of scaled) {
      if (frequencies === undefined || options.headDim !== 16) continue
      const rotary = { ...options, headDim: undefined }
      const layer = new SelfAttention({ ...config, rotary })
      t.teardown(() => layer.dispose())
      for (const [length, call] of /** @type {const} */ ([
        [9, {}],
        [309, { queryOffset: 300 }],
        [109, { queryOffset: Int32Array.of(100) }],
        [8001, { positions: [1, 2, 3, 4, 5, 8000, 7, 8, 9] }]
      ])) {
        const { frequencies: own, factor } = rotaryFrequencies({ length, ...options })
        const same = new SelfAttention({ ...config, rotary: { frequencies: own, factor } })
        const [found, expected] = [layer.forward(x, call), same.forward(x, call)]
        same.dispose()
        t.is(bits(found.output), bits(expected.output))
      }
      const again = new SelfAttention(layer.config)
      t.teardown(() => again.dispose())
      t.deepEqual(again.config, layer.config)
      t.is(bits(again.forward(x).output), bits(layer.forward(x).output))
    }
  })

  test(`${kind}: positions of a call shift a layer's rows, and those of sections its pairs`, (t) => {
    const config = { numHeads: 2, headDim: 8, modelDim: 12, seed: 7 }
    const layer = new SelfAttention({ ...config, rotary: {} })
    const sections = new SelfAttention({ ...config, rotary: { sections: [1, 2, 1] } })
    t.teardown(() => (layer.dispose(), sections.dispose()))
    const x = normal([2, 3, 12], 1)
    const plain = layer.forward(x, { causal: true }).output
    const shared = [5, 6, 7]
    const own = Int32Array.of(5, 6, 7, 40, 41, 42)
    for (const positions of [shared, own, { data: own, shape: [2, 3] }]) {
      close(t, layer.forward(x, { causal: true, positions }).output, plain.data, 1e-5)
      const turned = layer.forward(x, { causal: true, positions: [0, 2, 4] }).output
      t.not(bits(turned), bits(plain))
    }
    const threefold = { data: Int32Array.of(...own, ...own, ...own), shape: [3, 2, 3] }
    close(t, sections.forward(x, { causal: true, positions: threefold }).output, plain.data, 1e-5)
    t.is(bits(sections.forward(x).output), bits(layer.forward(x).output))
    for (const [positions, expected] of [
      [[1, 2], 'a length of 3, or of 2 · 3 for positions of each batch entry'],
      [{ data: Int32Array.of(1, 2, 3, 4, 5, 6), shape: [3, 2] }, '[3] or [2, 3]']
    ]) {
      t.like(
        faultOf(t, () => layer.forward(x, { positions: /** @type {any} */ (positions) })),
        { code: 'SHAPE', argument: 'positions', expected }
      )
    }
    const unturned = new SelfAttention(config)
    t.teardown(() => unturned.dispose())
    t.like(
      faultOf(t, () => unturned.forward(x, { positions: shared })),
      { code: 'OPTION', argument: 'positions', expected: 'none: the layer has no rotary positions' }
    )
    t.is(
      faultOf(t, () => scaledDotProductAttention(x, x, x, /** @type {any} */ ({ positions: shared }))).code,
      'OPTION'
    )
  })

  test(`${kind}: errors name what a scaling lacks, and what contradicts it`, (t) => {
    const llama = { rope_type: 'llama3', factor: 8, low_freq_factor: 1, high_freq_factor: 4 }
    const long = { type: 'longrope', short_factor: [1, 1], long_factor: [2, 2], original_max_position_embeddings: 8 }
    /** @type {[any, string, string, string][]} */
    const faults = [
      [{ scaling: 3 }, 'scaling', "a dict of a config.json, such as its 'rope_parameters'", '3'],
      [{ scaling: [] }, 'scaling', "a dict of a config.json, such as its 'rope_parameters'", 'an array'],
      [
        { scaling: { sliding_attention: { rope_type: 'default' }, full_attention: { rope_type: 'yarn' } } },
        'scaling',
        'the dict of one layer type: scaling.sliding_attention or scaling.full_attention',
        'dicts by layer type'
      ],
      [
        { scaling: { type: 'ntk' } },
        'scaling.type',
        "one of 'default', 'linear', 'dynamic', 'yarn', 'longrope', 'llama3', 'proportional', 'mrope', 'su'",
        '"ntk"'
      ],
      [
        { scaling: { type: 'yarn', rope_type: 'linear' } },
        'scaling.rope_type',
        `the 'type' beside it, "yarn"`,
        '"linear"'
      ],
      [{ scaling: { type: 'linear' } }, 'scaling.factor', 'a positive number', 'nothing'],
      [{ scaling: { type: 'linear', factor: '2' } }, 'scaling.factor', 'a finite number', '"2"'],
      [{ scaling: { type: 'linear', factor: 0 } }, 'scaling.factor', 'a positive number', '0'],
      [{ scaling: { type: 'linear', faktor: 2 } }, 'scaling.faktor', "'scaling.factor'", 'an unknown name'],
      [
        { scaling: { type: 'dynamic', factor: 2 } },
        'maxPositions',
        "the config.json's max_position_embeddings",
        'nothing'
      ],
      [
        { scaling: { type: 'yarn', factor: 2 } },
        'scaling.original_max_position_embeddings',
        'a positive number',
        'nothing'
      ],
      [{ scaling: llama }, 'scaling.original_max_position_embeddings', 'a positive number', 'nothing'],
      [
        { scaling: { ...llama, low_freq_factor: null }, maxPositions: 9 },
        'scaling.low_freq_factor',
        'a positive number',
        'nothing'
      ],
      [
        { scaling: { ...llama, low_freq_factor: 4 }, maxPositions: 9 },
        'scaling.high_freq_factor',
        'more than low_freq_factor 4',
        '4'
      ],
      [
        { scaling: long, maxPositions: 9 },
        'scaling.short_factor',
        '4 positive numbers, one for each pair',
        'a list of 2'
      ],
      [{ scaling: { ...long, long_factor: ['1'] } }, 'scaling.long_factor', 'a list of finite numbers', 'an array'],
      [
        { scaling: long, originalMaxPositions: 9, maxPositions: 9 },
        'originalMaxPositions',
        "8, the scaling's original_max_position_embeddings",
        '9'
      ],
      [{ scaling: { rope_theta: 5 }, base: 6 }, 'base', 'the rope_theta 5 of the scaling, or none', '6'],
      [{ scaling: { rope_theta: 0 } }, 'base', 'a number of at least 1 and less than 1e15', '0'],
      [
        { scaling: { partial_rotary_factor: 0.5 }, dim: 6 },
        'dim',
        '4, the partial_rotary_factor 0.5 of the scaling, or none',
        '6'
      ],
      [
        { scaling: { partial_rotary_factor: 0.4 } },
        'scaling.partial_rotary_factor',
        'a part whose size is even, from 2 to the head size 8',
        '3'
      ],
      [
        { scaling: { mrope_section: [1, 1, 2] }, sections: [2, 1, 1] },
        'sections',
        'the mrope_section [1,1,2] of the scaling, or none',
        'an array'
      ],
      [
        { scaling: { mrope_section: [1, 1, 2], mrope_interleaved: true } },
        'scaling.mrope_interleaved',
        'false: sections that alternate are not supported',
        'true'
      ],
      [{ scaling: {}, factor: 2 }, 'factor', 'none beside scaling, which gives it', '2'],
      [{ frequencies: new Float32Array(4), base: 2 }, 'base', 'none beside frequencies, which take its place', '2'],
      [
        { frequencies: new Float32Array(4), scaling: {} },
        'scaling',
        'none beside frequencies, which take its place',
        'an object'
      ],
      [{ frequencies: Float64Array.of(1, NaN) }, 'frequencies', 'finite numbers', 'NaN'],
      [
        { frequencies: Float64Array.of(1e12) },
        'frequencies',
        'angles of at most 2^31 at every position',
        'position 2 times it'
      ],
      [{ length: 0 }, 'length', 'an integer of at least 1', '0'],
      [{ maxPositions: 1.5 }, 'maxPositions', 'an integer of at least 1', '1.5'],
      [{ factor: -1 }, 'factor', 'a finite number of at least 0', '-1'],
      [{ sections: [1, 1, 1] }, 'sections', 'three counts of pairs that add up to 4', '[1,1,1]']
    ]
    const x = normal([1, 3, 8], 1)
    for (const [options, argument, expected, actual] of faults) {
      const { message, ...fault } = faultOf(t, () => rotaryEmbedding(x, options))
      t.deepEqual(fault, { code: 'OPTION', argument, expected, actual }, message)
      const layer = { numHeads: 2, headDim: 8, rotary: options }
      if (actual.startsWith('position')) continue
      t.is(faultOf(t, () => new SelfAttention(layer)).argument, `rotary.${argument}`)
    }
    t.like(
      faultOf(t, () => rotaryEmbedding(x, { frequencies: new Float32Array(3), dim: 4 })),
      { code: 'SHAPE', argument: 'frequencies', expected: 'dim / 2 of them, where dim is 4', actual: '3' }
    )
    t.is(faultOf(t, () => rotaryEmbedding(x, { frequencies: /** @type {any} */ ('1') })).code, 'DTYPE')
    // An endless list, or an endless head, is refused without reading it.
    const endless = /** @type {any} */ (new Array(2 ** 32 - 1))
    t.is(faultOf(t, () => rotaryEmbedding(x, { frequencies: endless })).expected, 'at most 524288 frequencies')
    const wide = { data: new Float32Array(0), shape: [0, 2 ** 40] }
    const scaling = { rope_type: 'default' }
    t.is(faultOf(t, () => rotaryEmbedding(wide, { scaling })).expected, 'at most 1048576 features of a head')
    t.is(faultOf(t, () => rotaryEmbedding(x, { frequencies: new Float32Array(5) })).argument, 'dim')
    for (const options of /** @type {any[]} */ ([
      {},
      { dim: 3 },
      { headDim: 0 },
      { headDim: 4, layout: 'bhld' },
      null
    ])) {
      t.is(faultOf(t, () => rotaryFrequencies(options)).code, 'OPTION')
    }
  })

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
    t.like(fault({ scale: -0.5 }), { code: 'OPTION', argument: 'rotary.scale' })
    t.like(fault({ layout: 'bhld' }), { code: 'OPTION', argument: 'rotary.layout' })
    t.like(fault({ base: {} }), { code: 'OPTION', argument: 'rotary.base' })
    for (const wrong of [true, 5, 'yes', [1]]) {
      t.like(fault(wrong), { argument: 'rotary' })
      t.regex(fault(wrong).expected ?? '', /^an object \{ base, .*, scaling, .* \}$/)
    }
  })
})
