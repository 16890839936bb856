// Settings of attention layers and encoder layers: the numbers of transformers and PyTorch, and what settings mean.
import test from 'ava'
import { onBothBackends } from '../support/backends.js'
import { difference, readGolden } from '../support/golden.js'
import { bits, faultOf, normal } from '../support/tensors.js'

/** @typedef {import('@ruvector/attention').Tensor} Tensor */
/** Type of deliberately wrong arguments. @typedef {any} Any */

const { cases } = readGolden('attention-config')

/** transformers takes softmax in 32 bits. */
const tolerance = { absolute: 1e-5, relative: 2e-6 }

/** @param {import('../support/golden.js').Case} golden @returns {Record<string, Tensor>} */
const stateOf = ({ tensors }) =>
  Object.fromEntries(
    Object.entries(tensors).flatMap(([name, tensor]) =>
      name.startsWith('state.') ? [[name.slice('state.'.length), tensor]] : []
    )
  )

onBothBackends((kind, attention) => {
  const { CrossAttention, MultiHeadAttention, SelfAttention, TransformerEncoderLayer } = attention

  for (const golden of cases) {
    test(`${kind} gives what the reference gives: ${golden.name}`, async (t) => {
      const layer = new attention[/** @type {'SelfAttention'} */ (golden.layer)](/** @type {Any} */ (golden.config))
      t.teardown(() => layer.dispose())
      if (golden.kind === 'initial') {
        const [found, expected] = [layer.stateDict(), stateOf(golden)]
        t.deepEqual(Object.keys(found), golden.order)
        for (const name of golden.order) {
          // PyTorch's normal numbers come from its own vectorized functions.
          if (name.startsWith('bias_')) t.is(difference(found[name], expected[name], { absolute: 1e-6 }), undefined)
          else t.is(bits(found[name]), bits(expected[name]), name)
        }
        return
      }
      layer.loadStateDict(stateOf(golden))
      const { x, output } = golden.tensors
      const found = layer.forward(x).output
      t.is(difference(found, output, tolerance), undefined)
      if (golden.tensors.weights) {
        const { weights } = golden.tensors
        const result = layer.forward(x, { weights: true, averageWeights: false })
        t.is(difference(result.weights, weights, tolerance), undefined)
        t.is(bits(result.output), bits(found))
        const [batch, heads, rows, keys] = weights.shape
        const mean = new Float32Array(batch * rows * keys)
        const size = rows * keys
        for (const [index] of mean.entries()) {
          const [b, place] = [Math.floor(index / size), index % size]
          for (let h = 0; h < heads; h++) mean[index] += weights.data[(b * heads + h) * size + place] / heads
        }
        const averaged = layer.forward(x, { averageWeights: true }).weights
        t.is(difference(averaged, { data: mean, shape: [batch, rows, keys] }, tolerance), undefined)
      }
      t.is(bits((await layer.forwardAsync(x)).output), bits(found))
      const state = layer.stateDict()
      const sizes = Object.values(state).map(({ data }) => data.length)
      t.is(
        layer.numParameters,
        sizes.reduce((sum, size) => sum + size, 0)
      )
      layer.loadStateDict(state)
      t.is(bits(layer.forward(x).output), bits(found))
    })
  }

  test(`${kind}: settings of a layer are the defaults of its calls, which may override them`, (t) => {
    const settings = { causal: true, window: /** @type {[number, number]} */ ([2, -1]), softcap: 1.5, scale: 0.4 }
    const sizes = { numHeads: 2, headDim: 3, seed: 5 }
    const [plain, set] = [new SelfAttention(sizes), new SelfAttention({ ...sizes, ...settings })]
    const x = normal([2, 7, 6], 1)
    const output = (/** @type {typeof plain} */ layer, /** @type {Any} */ options) =>
      bits(layer.forward(x, options).output)
    t.is(output(set, {}), output(plain, settings))
    const none = { causal: false, window: [-1, -1], softcap: 0 }
    t.is(output(set, none), output(plain, { scale: 0.4 }))
    t.like(set.config, settings)
    t.true(Object.isFrozen(set.config.window))
  })

  test(`${kind}: a projection without a bias computes as with a bias of zeros`, (t) => {
    const x = normal([2, 5, 8], 3)
    const context = normal([2, 6, 4], 4)
    for (const useBias of [{ key: false }, { query: false, value: false }, { output: false }, { key: null }]) {
      for (const kDim of [8, 4]) {
        const config = { numHeads: 2, kvHeads: 1, headDim: 4, kDim, seed: 6 }
        const [some, all] = [new CrossAttention({ ...config, useBias }), new CrossAttention(config)]
        const state = Object.fromEntries(
          Object.entries(some.stateDict()).map(([name, { shape }], index) => [name, normal(shape, index)])
        )
        some.loadStateDict(state)
        const biases = { q_proj_bias: 8, k_proj_bias: 4, v_proj_bias: 4, 'out_proj.bias': 8 }
        const isJoint = 'in_proj_bias' in state
        const zeros = Object.entries(biases).filter(([name]) => !isJoint || name === 'out_proj.bias')
        const absent = zeros.map(([name, size]) => [name, { data: new Float32Array(size), shape: [size] }])
        all.loadStateDict({ ...Object.fromEntries(absent), ...state })
        const input = kDim === 8 ? x : context
        t.is(bits(some.forward(x, input).output), bits(all.forward(x, input).output))
      }
    }
  })

  test(`${kind}: an encoder layer hands its settings to the attention, whose own settings precede them`, (t) => {
    const make = (/** @type {Any} */ config) => {
      const layer = new TransformerEncoderLayer({ modelDim: 8, numHeads: 2, feedForwardDim: 6, ...config })
      t.teardown(() => layer.dispose())
      return layer
    }
    t.is(make({}).config.attention, undefined)
    const { attention: inner, ...outer } = make({
      useBias: false,
      norm: 'rms',
      gated: true,
      attentionNorm: false,
      seed: 3,
      attention: { headDim: 5, kvHeads: 1, useBias: { output: false }, dropout: 0, rotary: { dim: 2 } }
    }).config
    t.like(outer, { useBias: false, norm: 'rms', gated: true, attentionNorm: false, dropout: 0.1 })
    t.like(inner, { numHeads: 2, modelDim: 8, headDim: 5, kvHeads: 1, dropout: 0, seed: 3 })
    t.deepEqual(inner?.useBias, { query: true, key: true, value: true, output: false })
    t.true(Object.isFrozen(inner?.rotary))

    const shapes = (/** @type {Any} */ config) =>
      Object.entries(make(config).stateDict()).map(([name, { shape }]) => `${name} ${shape}`)
    t.deepEqual(shapes({ useBias: false, norm: 'rms', gated: true, attentionNorm: false }), [
      'self_attn.in_proj_weight 24,8',
      'self_attn.out_proj.weight 8,8',
      'linear1.weight 6,8',
      'linear_gate.weight 6,8',
      'linear2.weight 8,6',
      'norm2.weight 8'
    ])
    const gated = shapes({ gated: true, attention: { outputGate: true, qkNorm: 'head' } })
    t.true(
      ['self_attn.in_proj_weight 32,8', 'self_attn.q_norm.weight 4', 'linear_gate.bias 6'].every((name) =>
        gated.includes(name)
      )
    )

    const x = normal([2, 5, 8], 7)
    const output = (/** @type {Any} */ config) => bits(make({ seed: 4, ...config }).forward(x).output)
    t.is(output({ attention: {} }), output({}))
    const causal = make({ seed: 4 }).forward(x, { causal: true }).output
    t.is(output({ attention: { causal: true } }), bits(causal))

    /** @type {[Any, string][]} */
    const wrong = [
      [{ attention: { numHeads: 4 } }, 'attention.numHeads'],
      [{ attention: { modelDim: 4 } }, 'attention.modelDim'],
      [{ attention: { kDim: 4 } }, 'attention.kDim'],
      [{ attention: { qkNorm: { over: 'head', kind: 'l2' } } }, 'attention.qkNorm.kind'],
      [{ attention: { heads: 2 } }, 'attention.heads'],
      [{ attention: { outputGate: true, qkNorm: 'model' } }, 'attention.qkNorm.over'],
      [{ numHeads: 3 }, 'numHeads'],
      [{ norm: 'batch' }, 'norm'],
      [{ gated: 1 }, 'gated'],
      [{ activation: 'tanh' }, 'activation']
    ]
    for (const [config, argument] of wrong) {
      t.like(
        faultOf(t, () => make(config)),
        { code: 'OPTION', argument }
      )
    }
  })

  test(`${kind}: a layer says which settings it does not know`, (t) => {
    const make = (/** @type {Any} */ config) => () => new MultiHeadAttention({ numHeads: 2, headDim: 4, ...config })
    /** @type {[Any, string, RegExp, string][]} */
    const wrong = [
      [{ useBias: 1 }, 'useBias', /a boolean or an object \{ query, key, value, output \}/, '1'],
      [{ useBias: { query: 1 } }, 'useBias.query', /a boolean/, '1'],
      [{ useBias: { q: true } }, 'useBias.q', /query/, 'an unknown name'],
      [{ qkNorm: 'heads' }, 'qkNorm', /'head', 'model' or an object/, '"heads"'],
      [{ qkNorm: true }, 'qkNorm', /'head', 'model' or an object/, 'true'],
      [{ qkNorm: { over: 'all' } }, 'qkNorm.over', /'head' or 'model'/, '"all"'],
      [{ qkNorm: { over: 'head', kind: 'l2' } }, 'qkNorm.kind', /'layer' or 'rms'/, '"l2"'],
      [{ qkNorm: { over: 'head', epsilon: 1 } }, 'qkNorm.epsilon', /less than 1/, '1'],
      [{ qkNorm: { over: 'head', weightOffset: NaN } }, 'qkNorm.weightOffset', /finite/, 'NaN'],
      [{ causal: 1 }, 'causal', /a boolean/, '1'],
      [{ window: [-2, 0] }, 'window', /at least -1/, '[-2,0]'],
      [{ softcap: -1 }, 'softcap', /at least 0/, '-1'],
      [{ scale: Infinity }, 'scale', /finite/, 'Infinity']
    ]
    for (const [config, argument, expected, actual] of wrong) {
      const error = faultOf(t, make(config))
      t.like(error, { code: 'OPTION', argument, actual })
      t.regex(/** @type {string} */ (error.expected), expected)
    }
    const cyclic = /** @type {Any} */ ({ over: 'head' })
    cyclic.kind = cyclic
    t.is(faultOf(t, make({ qkNorm: cyclic })).argument, 'qkNorm.kind')
  })
})
