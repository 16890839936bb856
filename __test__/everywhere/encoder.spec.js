// Encoder layers, norms, activations and means: PyTorch's numbers, their definitions for any shape, and their errors.
import test from 'ava'
import fc from 'fast-check'
import { onBothBackends } from '../support/backends.js'
import { difference, readGolden } from '../support/golden.js'
import { bits, close, faultOf, normal, requireClose } from '../support/tensors.js'

/** @typedef {import('@ruvector/attention').Tensor} Tensor */
/** @typedef {import('@ruvector/attention').StateDict} StateDict */
/** @typedef {import('@ruvector/attention').EncoderConfig} EncoderConfig */
/** @typedef {import('../support/golden.js').Case} Case */
/** Type of deliberately wrong arguments. @typedef {any} Any */

const { cases } = readGolden('torch-encoder')

/** Tolerance for a 64-bit reference rounded to 32 bits. */
const tolerance = { absolute: 1e-5, relative: 2e-6 }

/** @param {Case} golden @returns {StateDict} */
const stateOf = ({ tensors }) =>
  Object.fromEntries(
    Object.entries(tensors).flatMap(([name, tensor]) =>
      name.startsWith('state.') ? [[name.slice('state.'.length), tensor]] : []
    )
  )

/** @param {Case} golden */
function optionsOf({ options: { kvLengths, lengths, ...options }, tensors: { mask, weight, bias } }) {
  return {
    ...options,
    ...(kvLengths && { kvLengths: Int32Array.from(kvLengths) }),
    ...(lengths && { lengths: Int32Array.from(lengths) }),
    ...(mask && { mask }),
    ...(weight && { weight }),
    ...(bias && { bias })
  }
}

/** @param {Tensor} x @param {(row: number[], index: number) => number[]} each */
const byRow = ({ data, shape }, each) => {
  const size = shape[shape.length - 1]
  const rows = size === 0 ? 0 : data.length / size
  return Array.from({ length: rows }, (_, row) => each([...data.subarray(row * size, (row + 1) * size)], row)).flat()
}

/** @param {readonly number[]} row */
const meanOf = (row) => row.reduce((sum, value) => sum + value, 0) / row.length

/**
 * Random parameters of a layer, scaled so that values keep their magnitude. @param {StateDict} state @param {number}
 * seed
 */
const parameters = (state, seed) =>
  Object.fromEntries(
    Object.entries(state).map(([name, { shape }], index) => {
      const { data } = normal(shape, seed + index)
      return [name, { data: data.map((value) => value / Math.sqrt(shape[1] ?? 4)), shape }]
    })
  )

/**
 * Applies a function to each value. @param {(value: number) => number} apply @returns {(x: Tensor) => Tensor}
 */
const pointwise = (apply) => (x) => ({ ...x, data: x.data.map(apply) })

/**
 * @template {import('@ruvector/attention').Layer} Kind
 * @param {import('ava').ExecutionContext} t
 * @param {Kind} layer
 */
function owned(t, layer) {
  t.teardown(() => layer.dispose())
  return layer
}

onBothBackends((kind, attention) => {
  test(`${kind}: an encoder layer rotates by the dict of a config.json`, (t) => {
    const config = { modelDim: 8, numHeads: 2, feedForwardDim: 8 }
    const layerOf = (/** @type {object} */ rotary) =>
      new attention.TransformerEncoderLayer({ ...config, attention: { rotary } })
    const scaling = { rope_type: 'default', rope_theta: 100 }
    const [plain, scaled] = [layerOf({ base: 100 }), layerOf({ scaling })]
    const x = normal([1, 5, 8], 3)
    t.is(bits(scaled.forward(x).output), bits(plain.forward(x).output))
    t.deepEqual(scaled.config.attention?.rotary?.scaling, scaling)
    t.is(faultOf(t, () => layerOf({ scaling: { rope_type: 'odd' } })).code, 'OPTION')
  })

  const { TransformerEncoderLayer, SelfAttention, layerNorm, rmsNorm, gelu, silu, meanPool, linear } = attention
  const activations = {
    relu: pointwise((value) => Math.max(value, 0)),
    gelu,
    'gelu-tanh': (/** @type {Tensor} */ x) => gelu(x, { approximate: 'tanh' }),
    'quick-gelu': pointwise((value) => value / (1 + Math.exp(-1.702 * value))),
    silu
  }
  const functions = /** @type {Record<string, (x: Tensor, options: any) => Tensor>} */ ({
    layerNorm,
    rmsNorm,
    gelu,
    silu,
    meanPool
  })

  for (const golden of cases) {
    const { x, output, weights } = golden.tensors
    test(`${kind} gives what PyTorch gives: ${golden.name}`, (t) => {
      /** @param {string} what @param {Tensor | undefined} found @param {Tensor} expected */
      const same = (what, found, expected) => {
        const problem = difference(found, expected, tolerance)
        t.is(problem && `${what} ${problem}`, undefined)
      }
      if (golden.kind in functions) {
        same('output', functions[golden.kind](x, optionsOf(golden)), output)
        return
      }
      const layer = owned(t, new TransformerEncoderLayer(golden.config))
      if (golden.kind === 'initial') {
        const [state, expected] = [layer.stateDict(), stateOf(golden)]
        t.deepEqual(Object.keys(state), golden.order)
        for (const name of golden.order)
          t.is(bits(state[name]), bits(expected[name]), `${name} is PyTorch's to the bit`)
        t.is(
          layer.numParameters,
          Object.values(expected).reduce((sum, { data }) => sum + data.length, 0)
        )
        return
      }
      layer.loadStateDict(stateOf(golden), golden.kind === 'bert' ? { prefix: 'encoder.layer.3' } : null)
      const options = optionsOf(golden)
      same('output', layer.forward(x, options).output, output)
      if (!weights) return
      const found = layer.forward(x, { ...options, weights: true })
      same('output beside weights', found.output, output)
      same('weights', found.weights, weights)
    })
  }

  for (const normFirst of [false, true]) {
    for (const activation of /** @type {const} */ (['relu', 'gelu', 'gelu-tanh', 'quick-gelu', 'silu'])) {
      test(`${kind}: a layer with norm ${normFirst ? 'first' : 'after'} and ${activation} equals the composition of its functions`, (t) => {
        const config = { modelDim: 24, numHeads: 4, feedForwardDim: 70, activation, normFirst, epsilon: 1e-3 }
        const layer = owned(t, new TransformerEncoderLayer(config))
        const state = parameters(layer.stateDict(), 5)
        layer.loadStateDict(state)
        const self = owned(t, new SelfAttention({ numHeads: 4, headDim: 6 }))
        self.loadStateDict(state, { prefix: 'self_attn' })

        /** @type {(a: Tensor, b: Tensor) => Tensor} */
        const sum = (a, b) => ({ data: a.data.map((value, index) => value + b.data[index]), shape: a.shape })
        /** @type {(x: Tensor, name: string) => Tensor} */
        const norm = (x, name) =>
          layerNorm(x, { weight: state[`${name}.weight`], bias: state[`${name}.bias`], epsilon: 1e-3 })
        /** @param {Tensor} x */
        const active = (x) => activations[activation](x)
        /** @param {Tensor} x */
        const feedForward = (x) =>
          linear(
            active(linear(x, state['linear1.weight'], state['linear1.bias'])),
            state['linear2.weight'],
            state['linear2.bias']
          )
        for (const shape of [
          [2, 9, 24],
          [1, 70, 24],
          [1, 1, 24],
          [3, 0, 24],
          [0, 4, 24]
        ]) {
          const x = normal(shape, 6)
          for (const options of [
            {},
            { causal: true, softcap: 3 },
            { window: /** @type {const} */ ([2, 1]), scale: 0.2, queryOffset: 1 },
            { kvLengths: Int32Array.from({ length: shape[0] }, (_, b) => Math.min(b, shape[1])) }
          ]) {
            const attend = (/** @type {Tensor} */ given) => self.forward(given, options).output
            const middle = normFirst ? sum(x, attend(norm(x, 'norm1'))) : norm(sum(x, attend(x)), 'norm1')
            const expected = normFirst
              ? sum(middle, feedForward(norm(middle, 'norm2')))
              : norm(sum(middle, feedForward(middle)), 'norm2')
            const { output } = layer.forward(x, options)
            t.deepEqual(output.shape, shape)
            close(t, output, expected, 2e-5)
          }
        }
      })
    }
  }

  test(`${kind}: a layer returns weights per head or their mean, and writes to the given out`, (t) => {
    const layer = owned(t, new TransformerEncoderLayer({ modelDim: 12, numHeads: 3, feedForwardDim: 8, seed: 4 }))
    const x = normal([2, 5, 12], 1)
    const out = new Float32Array(x.data.length)
    const options = { causal: true, out }
    const each = layer.forward(x, { ...options, weights: true })
    t.is(each.output.data, out)
    t.deepEqual(each.weights?.shape, [2, 3, 5, 5])
    const mean = layer.forward(x, { causal: true, averageWeights: true })
    t.deepEqual(mean.weights?.shape, [2, 5, 5])
    t.is(bits(mean.output), bits(each.output))
    const heads = each.weights?.data ?? []
    const expected = Float32Array.from({ length: 50 }, (_, at) => {
      const [b, rest] = [Math.floor(at / 25), at % 25]
      return [0, 1, 2].reduce((sum, h) => sum + heads[(b * 3 + h) * 25 + rest], 0) / 3
    })
    close(t, mean.weights, expected, 1e-6)
    t.is(layer.forward(x).weights, undefined)
  })

  test(`${kind}: tokens beyond kvLengths do not affect those before them, whatever they are`, (t) => {
    const layer = owned(
      t,
      new TransformerEncoderLayer({ modelDim: 8, numHeads: 2, feedForwardDim: 16, activation: 'gelu' })
    )
    const x = normal([1, 4, 8], 1)
    const padded = { data: new Float32Array(7 * 8).fill(NaN), shape: [1, 7, 8] }
    padded.data.set(x.data)
    const { output } = layer.forward(padded, { kvLengths: Int32Array.of(4) })
    close(t, output.data.subarray(0, 32), layer.forward(x).output, 1e-6)
  })

  test(`${kind}: dropout depends on seed and position alone, and only applies in training`, (t) => {
    const layer = owned(
      t,
      new TransformerEncoderLayer({ modelDim: 16, numHeads: 2, feedForwardDim: 32, dropout: 0.4, seed: 7 })
    )
    const x = normal([2, 6, 16], 2)
    const still = bits(layer.forward(x).output)
    layer.train()
    const trained = layer.forward(x).output
    t.not(bits(trained), still)
    t.is(bits(layer.forward(x).output), bits(trained))
    t.is(bits(layer.forward(x, { seed: 7 }).output), bits(trained))
    t.not(bits(layer.forward(x, { seed: 8 }).output), bits(trained))
    const first = { data: x.data.subarray(0, 96), shape: [1, 6, 16] }
    close(t, layer.forward(first).output, trained.data.subarray(0, 96), 1e-5)
    t.is(bits(layer.train(false).forward(x).output), still)
  })

  test(`${kind}: without dropout, training changes nothing, and PyTorch's 0.1 is the default`, (t) => {
    const x = normal([1, 6, 8], 2)
    const base = { modelDim: 8, numHeads: 2, feedForwardDim: 32 }
    const none = owned(t, new TransformerEncoderLayer({ ...base, dropout: 0 }))
    const still = bits(none.forward(x).output)
    t.is(bits(none.train().forward(x).output), still)
    const usual = owned(t, new TransformerEncoderLayer(base))
    t.is(usual.config.dropout, 0.1)
    t.is(bits(usual.forward(x).output), still)
    t.not(bits(usual.train().forward(x).output), still)
  })

  test(`${kind}: the configuration has PyTorch's defaults`, (t) => {
    const { config } = owned(t, new TransformerEncoderLayer({ modelDim: 4, numHeads: 2 }))
    t.deepEqual(config, {
      modelDim: 4,
      numHeads: 2,
      feedForwardDim: 2048,
      activation: 'relu',
      normFirst: false,
      epsilon: 1e-5,
      dropout: 0.1,
      seed: 0
    })
    t.true(Object.isFrozen(config))
  })

  test(`${kind}: a state dict survives a round trip, also under a prefix`, (t) => {
    const config = { modelDim: 6, numHeads: 3, feedForwardDim: 5 }
    const first = owned(t, new TransformerEncoderLayer({ ...config, seed: 3 }))
    const second = owned(t, new TransformerEncoderLayer(config))
    const state = first.stateDict()
    const moved = Object.fromEntries(Object.entries(state).map(([name, tensor]) => [`layers.2.${name}`, tensor]))
    t.is(second.loadStateDict({ ...moved, other: state['norm1.weight'] }, { prefix: 'layers.2' }), second)
    t.deepEqual(second.stateDict(), state)
    const x = normal([1, 4, 6], 1)
    t.is(bits(second.forward(x).output), bits(first.forward(x).output))
  })

  const bert = /** @type {Case} */ (cases.find(({ kind }) => kind === 'bert'))
  for (const [names, state, prefix] of /** @type {[string, StateDict, string][]} */ ([
    ["PyTorch's", stateOf(/** @type {Case} */ (cases.find(({ name }) => name === 'norm after, gelu'))), ''],
    ["BERT's", stateOf(bert), 'encoder.layer.3']
  ])) {
    test(`${kind}: a state dict under ${names} names that does not fit is an error by name and changes nothing`, (t) => {
      const [modelDim, numHeads] = prefix ? [12, 3] : [8, 2]
      const layer = owned(t, new TransformerEncoderLayer({ modelDim, numHeads, feedForwardDim: 20 }))
      const before = layer.stateDict()
      const fault = (/** @type {StateDict} */ given) => faultOf(t, () => layer.loadStateDict(given, { prefix }))
      for (const name of Object.keys(state)) {
        const { [name]: tensor, ...rest } = state
        const missing = fault(rest)
        t.deepEqual([missing.code, missing.argument], ['FORMAT', name])
        const wide = { data: new Float32Array(3 * 7), shape: [3, 7] }
        const wrong = fault({ ...rest, [name]: wide })
        t.deepEqual([wrong.code, wrong.argument, wrong.actual], ['SHAPE', name, '[3, 7]'])
        t.is(wrong.expected, `[${tensor.shape.join(', ')}]`)
      }
      const stray = `${prefix && `${prefix}.`}norm3.weight`
      const further = fault({ ...state, [stray]: { data: new Float32Array(8), shape: [8] } })
      t.deepEqual([further.code, further.argument], ['FORMAT', stray])
      t.deepEqual(layer.stateDict(), before)
      layer.loadStateDict(state, { prefix })
    })
  }

  test(`${kind}: every use of a disposed layer throws`, (t) => {
    const layer = new TransformerEncoderLayer({ modelDim: 4, numHeads: 2, feedForwardDim: 4 })
    layer.dispose()
    layer.dispose()
    t.is(faultOf(t, () => layer.forward(normal([1, 2, 4], 1))).code, 'DISPOSED')
    t.true(layer instanceof attention.Layer)
  })

  for (const [title, config, argument, expected, actual] of /** @type {[string, Any, string, RegExp, RegExp][]} */ ([
    ['no size', { numHeads: 2 }, 'modelDim', /at least 1/, /nothing/],
    ['no heads', { modelDim: 8 }, 'numHeads', /at least 1/, /nothing/],
    ['heads that do not divide the size', { modelDim: 8, numHeads: 3 }, 'numHeads', /divisor of modelDim 8/, /3/],
    [
      'an unknown activation',
      { modelDim: 8, numHeads: 2, activation: 'swish' },
      'activation',
      /'relu', 'gelu', 'gelu-tanh', 'quick-gelu' or 'silu'/,
      /swish/
    ],
    ['a size of 0', { modelDim: 8, numHeads: 2, feedForwardDim: 0 }, 'feedForwardDim', /at least 1/, /0/],
    ['a number for a truth value', { modelDim: 8, numHeads: 2, normFirst: 1 }, 'normFirst', /a boolean/, /1/],
    ['an epsilon of NaN', { modelDim: 8, numHeads: 2, epsilon: NaN }, 'epsilon', /less than 1/, /NaN/],
    ['a dropout of 1', { modelDim: 8, numHeads: 2, dropout: 1 }, 'dropout', /less than 1/, /1/],
    ["PyTorch's spelling", { modelDim: 8, numHeads: 2, norm_first: true }, 'norm_first', /'normFirst'/, /unknown/],
    ['nothing', undefined, 'config', /an object/, /undefined/]
  ])) {
    test(`${kind}: a layer with ${title} is an error`, (t) => {
      const fault = faultOf(t, () => new TransformerEncoderLayer(config))
      t.is(fault.argument, argument)
      t.is(fault.code, 'OPTION')
      t.regex(fault.expected ?? '', expected)
      t.regex(fault.actual ?? '', actual)
    })
  }

  const x = normal([2, 3, 8], 1)
  const vector = (/** @type {number} */ size) => normal([size], 2)
  const layer = new TransformerEncoderLayer({ modelDim: 8, numHeads: 2, feedForwardDim: 8 })
  const forward = layer.forward.bind(layer)
  /**
   * @type {[title: string, call: () => unknown, code: string, argument: string, expected: RegExp, actual: RegExp][]}
   */
  const wrong = [
    ['layerNorm without a tensor', () => layerNorm(/** @type {Any} */ (null)), 'DTYPE', 'x', /tensor/, /null/],
    ['layerNorm of a scalar', () => layerNorm(normal([], 1)), 'SHAPE', 'x', /1 dimension/, /\[\]/],
    ['layerNorm with a short weight', () => layerNorm(x, { weight: vector(7) }), 'SHAPE', 'weight', /\[8\]/, /\[7\]/],
    ['layerNorm with a matrix as bias', () => layerNorm(x, { bias: x }), 'SHAPE', 'bias', /\[8\]/, /\[2, 3, 8\]/],
    [
      'layerNorm with an array as bias',
      () => layerNorm(x, { bias: /** @type {Any} */ (vector(8).data) }),
      'DTYPE',
      'bias',
      /tensor/,
      /Float32Array/
    ],
    ['layerNorm with a negative epsilon', () => layerNorm(x, { epsilon: -1 }), 'OPTION', 'epsilon', /at least 0/, /-1/],
    [
      'layerNorm with a misspelt option',
      () => layerNorm(x, /** @type {Any} */ ({ epsilom: 1 })),
      'OPTION',
      'epsilom',
      /'epsilon'/,
      /unknown/
    ],
    [
      'layerNorm with a misspelt tensor',
      () => layerNorm(x, /** @type {Any} */ ({ weights: vector(8) })),
      'OPTION',
      'weights',
      /'weight'/,
      /unknown/
    ],
    [
      'layerNorm with a number for options',
      () => layerNorm(x, /** @type {Any} */ (1)),
      'OPTION',
      'options',
      /an object/,
      /1/
    ],
    [
      'rmsNorm with a bias',
      () => rmsNorm(x, /** @type {Any} */ ({ bias: vector(8) })),
      'OPTION',
      'bias',
      /'\w+'/,
      /unknown/
    ],
    ['rmsNorm with a long weight', () => rmsNorm(x, { weight: vector(9) }), 'SHAPE', 'weight', /\[8\]/, /\[9\]/],
    [
      'rmsNorm with an infinite epsilon',
      () => rmsNorm(x, { epsilon: Infinity }),
      'OPTION',
      'epsilon',
      /finite/,
      /Infinity/
    ],
    [
      'gelu of bytes',
      () => gelu(/** @type {Any} */ ({ data: new Uint8Array(1), shape: [1] })),
      'DTYPE',
      'x',
      /Float32Array/,
      /Uint8Array/
    ],
    [
      'gelu in an unknown form',
      () => gelu(x, /** @type {Any} */ ({ approximate: 'erf' })),
      'OPTION',
      'approximate',
      /'none' or 'tanh'/,
      /erf/
    ],
    ['silu of nothing', () => silu(/** @type {Any} */ (undefined)), 'DTYPE', 'x', /tensor/, /undefined/],
    ['meanPool of a matrix', () => meanPool(normal([3, 8], 1)), 'SHAPE', 'x', /\[B, L, M\]/, /\[3, 8\]/],
    [
      'meanPool with too few lengths',
      () => meanPool(x, { lengths: Int32Array.of(1) }),
      'SHAPE',
      'lengths',
      /length of 2/,
      /length of 1/
    ],
    [
      'meanPool with a length beyond the rows',
      () => meanPool(x, { lengths: Int32Array.of(1, 4) }),
      'OPTION',
      'lengths',
      /from 0 to 3/,
      /4/
    ],
    [
      'meanPool with a negative length',
      () => meanPool(x, { lengths: Int32Array.of(-1, 1) }),
      'OPTION',
      'lengths',
      /from 0 to 3/,
      /-1/
    ],
    [
      'meanPool with a fraction in a list of lengths',
      () => meanPool(x, { lengths: [1, 2.5] }),
      'OPTION',
      'lengths[1]',
      /integer/,
      /2\.5/
    ],
    [
      'meanPool with a text for a truth value',
      () => meanPool(x, /** @type {Any} */ ({ normalize: 'yes' })),
      'OPTION',
      'normalize',
      /boolean/,
      /yes/
    ],
    ['a layer on a matrix', () => forward(normal([3, 8], 1)), 'SHAPE', 'x', /\[B, L, 8\]/, /\[3, 8\]/],
    ['a layer on another size', () => forward(normal([2, 3, 7], 1)), 'SHAPE', 'x', /\[B, L, 8\]/, /\[2, 3, 7\]/],
    ['a layer with a short out', () => forward(x, { out: new Float32Array(47) }), 'SHAPE', 'out', /48/, /47/],
    ['a layer with its input as out', () => forward(x, { out: x.data }), 'OPTION', 'out', /overlap an input/, /shared/],
    [
      'a layer with a mask that does not fit',
      () => forward(x, { mask: normal([2, 4], 1) }),
      'SHAPE',
      'mask',
      /3/,
      /\[2, 4\]/
    ],
    ['a layer with too few lengths', () => forward(x, { kvLengths: Int32Array.of(1) }), 'SHAPE', 'kvLengths', /2/, /1/],
    [
      'a layer with an unknown option',
      () => forward(x, /** @type {Any} */ ({ dropout: 0.5 })),
      'OPTION',
      'dropout',
      /'\w+'/,
      /unknown/
    ]
  ]
  for (const [title, call, code, argument, expected, actual] of wrong) {
    test(`${kind}: ${title} is an error, and the next call works`, (t) => {
      const fault = faultOf(t, call)
      t.deepEqual([fault.code, fault.argument], [code, argument])
      t.regex(fault.expected ?? '', expected)
      t.regex(fault.actual ?? '', actual)
      t.is(forward(x).output.data.length, 48)
      t.is(layerNorm(x, null).data.length, 48)
    })
  }

  const shapes = fc
    .array(fc.integer({ min: 0, max: 5 }), { maxLength: 3 })
    .chain((outer) => fc.integer({ min: 1, max: 140 }).map((last) => [...outer, last]))
  test(`${kind}: norms match their definitions for any shape, and leave their inputs unchanged`, (t) => {
    fc.assert(
      fc.property(
        shapes,
        fc.integer({ min: 0, max: 1e6 }),
        fc.boolean(),
        fc.boolean(),
        (shape, seed, weighted, biased) => {
          const size = shape[shape.length - 1]
          const input = normal(shape, seed)
          const before = bits(input)
          const weight = weighted ? normal([size], seed + 1) : undefined
          const bias = biased ? normal([size], seed + 2) : undefined
          const scaled = (
            /** @type {number[]} */ row,
            /** @type {number} */ variance,
            /** @type {Tensor | undefined} */ shift
          ) => row.map((v, i) => (v / Math.sqrt(variance)) * (weight?.data[i] ?? 1) + (shift?.data[i] ?? 0))
          const squares = (/** @type {number[]} */ row) => meanOf(row.map((value) => value * value))
          const centred = byRow(input, (row) => {
            const mean = meanOf(row)
            const rest = row.map((value) => value - mean)
            return scaled(rest, squares(rest) + 1e-2, bias)
          })
          const plain = byRow(input, (row) => scaled(row, squares(row) + 1e-2, undefined))
          requireClose(layerNorm(input, { weight, bias, epsilon: 1e-2 }), centred, 1e-5, 'layerNorm')
          requireClose(rmsNorm(input, { weight, epsilon: 1e-2 }), plain, 1e-5, 'rmsNorm')
          if (bits(input) !== before) throw new Error('the input has changed')
        }
      ),
      { numRuns: 150 }
    )
    t.pass()
  })

  test(`${kind}: the mean over rows matches its definition for any shape, and padding is not read`, (t) => {
    const size = fc.integer({ min: 0, max: 40 })
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 4 }),
        size,
        size,
        fc.integer({ min: 0, max: 1e6 }),
        fc.boolean(),
        (b, l, m, seed, normalize) => {
          const input = normal([b, l, m], seed)
          const lengths = Int32Array.from({ length: b }, (_, at) => (seed + 7 * at) % (l + 1))
          const expected = Array.from(lengths, (length, batch) => {
            const mean = Array.from({ length: m }, (_, column) => {
              let sum = 0
              for (let row = 0; row < length; row++) sum += input.data[(batch * l + row) * m + column]
              return length ? sum / length : 0
            })
            const norm = normalize ? Math.max(Math.hypot(...mean), 1e-12) : 1
            for (let row = length; row < l; row++)
              input.data.fill(NaN, (batch * l + row) * m, (batch * l + row + 1) * m)
            return mean.map((value) => value / norm)
          }).flat()
          const found = meanPool(input, { lengths, normalize })
          if (found.shape.join() !== `${b},${m}`) throw new Error(`shape ${found.shape}`)
          requireClose(found, expected, 1e-5)
        }
      ),
      { numRuns: 150 }
    )
    t.pass()
  })

  test(`${kind}: activations of any length apply to each number separately`, (t) => {
    fc.assert(
      fc.property(fc.array(fc.float({ noNaN: true, min: -30, max: 30 }), { maxLength: 70 }), (values) => {
        const input = { data: Float32Array.from(values), shape: [values.length] }
        for (const active of [gelu, silu, (/** @type {Tensor} */ x) => gelu(x, { approximate: 'tanh' })]) {
          const { data } = active(input)
          values.forEach((value, index) => {
            const alone = active({ data: Float32Array.of(value), shape: [] }).data[0]
            if (!Object.is(alone, data[index])) throw new Error(`${alone} alone, ${data[index]} among others`)
          })
        }
        requireClose(
          silu(input),
          values.map((value) => value / (1 + Math.exp(-value))),
          1e-6
        )
        // x·Φ(x) + (−x)·Φ(−x)·(−1) = x
        const { data: up } = gelu(input)
        const { data: down } = gelu({ ...input, data: input.data.map((value) => -value) })
        requireClose(
          up.map((value, index) => value - down[index]),
          values,
          1e-6,
          'gelu(x) − gelu(−x)'
        )
      }),
      { numRuns: 150 }
    )
    t.pass()
  })
})
