// Decoder layers and latent attention: PyTorch's numbers, their definitions from the functions of this package, names,
// defaults and errors. The numbers of Transformers' modules are in families.spec.js.
import test from 'ava'
import { onBothBackends } from '../support/backends.js'
import { difference, readGolden } from '../support/golden.js'
import { bits, close, faultOf, normal } from '../support/tensors.js'

/** @typedef {import('@ruvector/attention').Tensor} Tensor */
/** @typedef {import('@ruvector/attention').DecoderConfig} DecoderConfig */
/** Type of deliberately wrong arguments. @typedef {any} Any */

const { cases } = readGolden('torch-decoder')

const SIZES = { modelDim: 16, numHeads: 4, kvHeads: 2, headDim: 6, feedForwardDim: 20 }

/** @param {Tensor} a @param {Tensor} b @returns {Tensor} */
const sum = (a, b) => ({ data: a.data.map((value, index) => value + b.data[index]), shape: a.shape })

/** The parameters of a golden case. @param {import('../support/golden.js').Case} golden */
const stateOf = ({ tensors }) =>
  Object.fromEntries(
    Object.entries(tensors).flatMap(([name, tensor]) =>
      name.startsWith('state.') ? [[name.slice('state.'.length), tensor]] : []
    )
  )

/**
 * Random parameters of a layer that keep the magnitude of values. @param {Record<string, Tensor>} state @param {number}
 * seed
 */
const parameters = (state, seed) =>
  Object.fromEntries(
    Object.entries(state).map(([name, { shape }], index) => {
      const { data } = normal(shape, seed + index)
      return [name, { data: data.map((value) => value / Math.sqrt(shape[1] ?? 2)), shape }]
    })
  )

/** @param {Tensor} a @param {Tensor} b @returns {Tensor} */
const product = (a, b) => ({ data: a.data.map((value, index) => value * b.data[index]), shape: a.shape })

onBothBackends((kind, attention) => {
  const { CrossAttention, DecoderLayer, LatentAttention, SelfAttention, TransformerDecoderLayer } = attention
  const { gelu, layerNorm, linear, rmsNorm, rotaryEmbedding, scaledDotProductAttention, silu } = attention

  /**
   * A layer with random parameters, which it owns until the test ends.
   * @param {import('ava').ExecutionContext} t
   * @param {DecoderConfig} config
   * @param {number} [seed]
   */
  function random(t, config, seed = 1) {
    const layer = new DecoderLayer(config)
    t.teardown(() => layer.dispose())
    const state = parameters(layer.stateDict(), seed)
    layer.loadStateDict(state)
    return { layer, state }
  }

  for (const normPlacement of /** @type {const} */ (['pre', 'sandwich', 'post'])) {
    for (const norm of /** @type {const} */ (['rms', 'layer'])) {
      for (const parallel of [false, true]) {
        const title = `${norm} norms, placed ${normPlacement}, ${parallel ? 'in parallel' : 'in sequence'}`
        test(`${kind}: a layer with ${title}, is composed of the functions`, (t) => {
          const weightOffset = norm === 'rms' ? 1 : 0
          const attention = { causal: true, rotary: { base: 100 }, window: /** @type {const} */ ([3, 0]), softcap: 3 }
          const config = { ...SIZES, norm, normPlacement, parallel, weightOffset, epsilon: 1e-3, attention }
          const { layer, state } = random(t, config)
          const { activation, gated, useBias } = layer.config
          t.deepEqual([activation, gated, useBias], norm === 'rms' ? ['silu', true, false] : ['gelu-tanh', false, true])
          const { numHeads, headDim, kvHeads, modelDim } = layer.config
          const self = new SelfAttention({ ...attention, numHeads, headDim, kvHeads, modelDim, useBias })
          t.teardown(() => self.dispose())
          self.loadStateDict(state, { prefix: 'self_attn' })

          /** @type {(x: Tensor, name: string) => Tensor} */
          const normed = (x, name) => {
            const { data, shape } = state[`${name}.weight`]
            const weight = { data: data.map((value) => value + weightOffset), shape }
            if (norm === 'rms') return rmsNorm(x, { weight, epsilon: 1e-3 })
            return layerNorm(x, { weight, bias: state[`${name}.bias`], epsilon: 1e-3 })
          }
          /** @type {(x: Tensor, name: string) => Tensor} */
          const project = (x, name) => linear(x, state[`mlp.${name}_proj.weight`], state[`mlp.${name}_proj.bias`])
          /** @param {Tensor} x */
          const feedForward = (x) =>
            project(
              gated
                ? product(silu(project(x, 'gate')), project(x, 'up'))
                : gelu(project(x, 'up'), { approximate: 'tanh' }),
              'down'
            )
          /** @param {Tensor} x */
          const attend = (x) => self.forward(x).output
          /** @param {Tensor} x */
          function expected(x) {
            if (normPlacement === 'pre') {
              const middle = sum(x, attend(normed(x, 'input_layernorm')))
              return sum(middle, feedForward(normed(parallel ? x : middle, 'post_attention_layernorm')))
            }
            const isPost = normPlacement === 'post'
            const first = attend(isPost ? x : normed(x, 'input_layernorm'))
            const middle = sum(x, normed(first, 'post_attention_layernorm'))
            const input = parallel ? x : middle
            const second = feedForward(isPost ? input : normed(input, 'pre_feedforward_layernorm'))
            return sum(middle, normed(second, 'post_feedforward_layernorm'))
          }
          for (const shape of [
            [2, 7, 16],
            [1, 70, 16],
            [1, 1, 16],
            [2, 0, 16]
          ]) {
            const x = normal(shape, 9)
            const { output } = layer.forward(x)
            t.deepEqual(output.shape, shape)
            close(t, output, expected(x), 1e-4)
          }
        })
      }
    }
  }

  test(`${kind}: a layer has Llama's names, and those of its further norms`, (t) => {
    const names = (/** @type {Partial<DecoderConfig>} */ more) => {
      const layer = new DecoderLayer({ ...SIZES, ...more })
      t.teardown(() => layer.dispose())
      return Object.keys(layer.stateDict())
    }
    t.deepEqual(names({}), [
      ...['q', 'k', 'v', 'o'].map((part) => `self_attn.${part}_proj.weight`),
      ...['gate', 'up', 'down'].map((part) => `mlp.${part}_proj.weight`),
      'input_layernorm.weight',
      'post_attention_layernorm.weight'
    ])
    const many = names({ norm: 'layer', normPlacement: 'sandwich', attention: { qkNorm: 'head' } })
    for (const name of ['self_attn.q_norm.weight', 'self_attn.q_proj.bias', 'mlp.down_proj.bias'])
      t.true(many.includes(name))
    for (const place of ['input', 'post_attention', 'pre_feedforward', 'post_feedforward'])
      for (const part of ['weight', 'bias']) t.true(many.includes(`${place}_layernorm.${part}`))
    t.false(names({ normPlacement: 'post' }).includes('input_layernorm.weight'))
  })

  test(`${kind}: a layer describes its configuration, and its attention's`, (t) => {
    const layer = new DecoderLayer({ ...SIZES, attention: { dropout: 0.5 } })
    t.teardown(() => layer.dispose())
    const { attention: inner, ...config } = layer.config
    t.deepEqual(config, {
      ...SIZES,
      norm: 'rms',
      epsilon: 1e-6,
      weightOffset: 0,
      normPlacement: 'pre',
      parallel: false,
      activation: 'silu',
      gated: true,
      useBias: false,
      seed: 0
    })
    t.like(inner, { numHeads: 4, kvHeads: 2, headDim: 6, modelDim: 16, causal: true, useBias: false, dropout: 0.5 })
    t.true(Object.isFrozen(inner))
    const again = new DecoderLayer(layer.config)
    t.teardown(() => again.dispose())
    t.deepEqual(again.config, layer.config)
  })

  test(`${kind}: the attention is causal unless told otherwise, and returns its weights`, async (t) => {
    const { layer, state } = random(t, SIZES)
    const x = normal([2, 5, 16], 3)
    const { output, weights } = layer.forward(x, { weights: true })
    t.deepEqual(weights.shape, [2, 4, 5, 5])
    t.is(weights.data[1], 0)
    const mean = layer.forward(x, { averageWeights: true })
    t.deepEqual(mean.weights.shape, [2, 5, 5])
    t.is(bits(mean.output), bits(output))
    const out = new Float32Array(output.data.length)
    t.is((await layer.forwardAsync(x, { out })).output.data, out)
    t.is(bits({ data: out, shape: output.shape }), bits(output))
    const seeing = new DecoderLayer({ ...SIZES, attention: { causal: false } })
    t.teardown(() => seeing.dispose())
    seeing.loadStateDict(state)
    t.is(bits(seeing.forward(x).output), bits(layer.forward(x, { causal: false }).output))
    t.not(bits(seeing.forward(x).output), bits(output))
  })

  test(`${kind}: the same seed gives the same parameters`, (t) => {
    const of = (/** @type {number} */ seed) => {
      const layer = new DecoderLayer({ ...SIZES, seed })
      t.teardown(() => layer.dispose())
      return bits(layer.stateDict()['mlp.up_proj.weight'])
    }
    t.is(of(3), of(3))
    t.not(of(3), of(4))
  })

  test(`${kind}: a state dict that does not fit is an error, and changes nothing`, (t) => {
    const { layer, state } = random(t, SIZES)
    const x = normal([1, 3, 16], 2)
    const before = bits(layer.forward(x).output)
    const { 'mlp.gate_proj.weight': gate, ...others } = state
    for (const [given, code, argument] of /** @type {[Record<string, Tensor>, string, string][]} */ ([
      [others, 'FORMAT', 'mlp.gate_proj.weight'],
      [{ ...others, 'mlp.gate_proj.weight': normal([2, 2], 1) }, 'SHAPE', 'mlp.gate_proj.weight'],
      [{ ...state, 'mlp.gate_proj.bias': normal([20], 1) }, 'FORMAT', 'mlp.gate_proj.bias'],
      [{ ...state, other: gate }, 'FORMAT', 'other']
    ])) {
      const error = faultOf(t, () => layer.loadStateDict(given))
      t.deepEqual([error.code, error.argument], [code, argument])
    }
    t.is(bits(layer.forward(x).output), before)
  })

  for (const [title, config, argument] of /** @type {[string, Any, string][]} */ ([
    ['no sizes', {}, 'modelDim'],
    ['no hidden size', { modelDim: 8, numHeads: 2 }, 'feedForwardDim'],
    ['heads that do not divide the size', { modelDim: 8, numHeads: 3, feedForwardDim: 4 }, 'headDim'],
    ['groups that do not divide the heads', { ...SIZES, kvHeads: 3 }, 'kvHeads'],
    ['an unknown norm', { ...SIZES, norm: 'batch' }, 'norm'],
    ['an unknown placement', { ...SIZES, normPlacement: 'first' }, 'normPlacement'],
    ['an unknown activation', { ...SIZES, activation: 'swish' }, 'activation'],
    ['an epsilon of 1', { ...SIZES, epsilon: 1 }, 'epsilon'],
    ['an offset of NaN', { ...SIZES, weightOffset: NaN }, 'weightOffset'],
    ['a text for a truth value', { ...SIZES, gated: 'yes' }, 'gated'],
    ["the encoder's order of norms", { ...SIZES, normFirst: true }, 'normFirst'],
    ['an attention of another size', { ...SIZES, attention: { numHeads: 2 } }, 'attention.numHeads'],
    ['an unknown option of the attention', { ...SIZES, attention: { head: 2 } }, 'attention.head'],
    ['an attention that is a number', { ...SIZES, attention: 2 }, 'attention'],
    ['an odd rotation', { ...SIZES, attention: { rotary: { dim: 3 } } }, 'attention.rotary.dim'],
    ['a wide input of keys', { ...SIZES, attention: { kDim: 3 } }, 'attention.kDim']
  ])) {
    test(`${kind}: a layer with ${title} is an error`, (t) => {
      const error = faultOf(t, () => new DecoderLayer(config))
      t.deepEqual([error.code, error.argument], ['OPTION', argument])
    })
  }

  test(`${kind}: an input of another size is an error`, (t) => {
    const { layer } = random(t, SIZES)
    const error = faultOf(t, () => layer.forward(normal([1, 2, 15], 1)))
    t.deepEqual([error.code, error.argument], ['SHAPE', 'x'])
    t.is(faultOf(t, () => layer.forward(normal([1, 2, 16], 1), /** @type {Any} */ ({ isCausal: true }))).code, 'OPTION')
  })

  /** Rows `from` to `to` of each batch entry. @type {(x: Tensor, from: number, to: number) => Tensor} */
  function rowsOf({ data, shape: [batch, length, width] }, from, to) {
    const rows = new Float32Array(batch * (to - from) * width)
    for (let b = 0; b < batch; b++) {
      rows.set(data.subarray((b * length + from) * width, (b * length + to) * width), b * (to - from) * width)
    }
    return { data: rows, shape: [batch, to - from, width] }
  }

  for (const [title, more] of /** @type {[string, Partial<DecoderConfig>][]} */ ([
    ['rotary positions', { attention: { rotary: { base: 50 } } }],
    ['a window', { attention: { rotary: { base: 50 }, window: [2, 0] } }],
    ['norms on outputs and in parallel', { normPlacement: 'sandwich', parallel: true, attention: { qkNorm: 'head' } }]
  ])) {
    test(`${kind}: with a cache, a layer with ${title} gives the rows of a whole call`, (t) => {
      const { layer } = random(t, { ...SIZES, ...more })
      const x = normal([2, 7, 16], 8)
      const { output } = layer.forward(x)
      const cache = layer.createCache({ batch: 2, capacity: 7 })
      t.teardown(() => cache.dispose())
      for (const [from, to] of [
        [0, 3],
        [3, 4],
        [4, 7]
      ]) {
        close(t, layer.forward(rowsOf(x, from, to), { cache }).output, rowsOf(output, from, to), 2e-5)
        t.is(cache.length, to)
      }
      t.is(faultOf(t, () => layer.forward(rowsOf(x, 0, 1), { cache })).code, 'SHAPE')
      t.is(cache.length, 7)
    })
  }

  test(`${kind}: with caches, a layer with a context gives the rows of a whole call, and reads its context once`, (t) => {
    const attention = { rotary: { base: 50 } }
    const layer = new TransformerDecoderLayer({
      modelDim: 8,
      numHeads: 2,
      feedForwardDim: 6,
      normFirst: true,
      attention
    })
    t.teardown(() => layer.dispose())
    layer.loadStateDict(parameters(layer.stateDict(), 3))
    const [x, context] = [normal([2, 6, 8], 1), normal([2, 5, 8], 2)]
    const contextLengths = Int32Array.of(5, 3)
    const { output } = layer.forward(x, context, { contextLengths })
    const cache = layer.createCache({ batch: 2, capacity: 6 })
    const contextCache = layer.createCache({ batch: 2, capacity: 5 })
    t.teardown(() => [cache, contextCache].forEach((made) => made.dispose()))
    const first = layer.forward(rowsOf(x, 0, 2), context, { cache, contextCache, contextLengths })
    close(t, first.output, rowsOf(output, 0, 2), 2e-5)
    t.deepEqual([cache.length, contextCache.length], [2, 5])
    for (const row of [2, 3]) {
      const next = layer.forward(rowsOf(x, row, row + 1), null, { cache, contextCache, weights: true })
      close(t, next.output, rowsOf(output, row, row + 1), 2e-5)
      t.deepEqual(next.weights.shape, [2, 2, 1, row + 1])
    }
    close(t, layer.forward(rowsOf(x, 0, 6), null, { contextCache }).output, output, 2e-5)
    const empty = layer.createCache({ batch: 2, capacity: 5 })
    const wide = layer.createCache({ batch: 1, capacity: 5 })
    t.teardown(() => [empty, wide].forEach((made) => made.dispose()))
    for (const [options, code, argument] of /** @type {[Any, string, string][]} */ ([
      [{ contextCache: empty }, 'SHAPE', 'context'],
      [{ contextCache: wide }, 'SHAPE', 'context'],
      [{ contextCache: {} }, 'DTYPE', 'contextCache']
    ])) {
      const error = faultOf(t, () => layer.forward(rowsOf(x, 0, 1), null, options))
      t.deepEqual([error.code, error.argument], [code, argument])
    }
  })

  for (const golden of cases) {
    const { x, context, output } = golden.tensors
    test(`${kind} gives what PyTorch gives: ${golden.name}`, (t) => {
      const layer = new TransformerDecoderLayer(golden.config)
      t.teardown(() => layer.dispose())
      const state = stateOf(golden)
      if (golden.kind === 'initial') {
        const drawn = layer.stateDict()
        t.deepEqual(Object.keys(drawn), golden.order)
        for (const name of golden.order) t.is(bits(drawn[name]), bits(state[name]), `${name} is PyTorch's to the bit`)
        return
      }
      layer.loadStateDict(state)
      const found = layer.forward(x, context, { contextLengths: Int32Array.from(golden.contextLengths) })
      t.is(difference(found.output, output, { absolute: 1e-5, relative: 1e-5 }), undefined)
    })
  }

  for (const normFirst of [false, true]) {
    for (const gated of [false, true]) {
      test(`${kind}: a layer with a context, norms ${normFirst ? 'first' : 'last'}${gated ? ' and a gate' : ''}, is composed of the functions`, (t) => {
        const sizes = { modelDim: 12, numHeads: 3, feedForwardDim: 10 }
        const crossAttention = { kDim: 5, kvHeads: 1 }
        const config = { ...sizes, crossAttention, normFirst, gated, activation: /** @type {const} */ ('silu') }
        const layer = new TransformerDecoderLayer(config)
        const self = new SelfAttention({ numHeads: 3, modelDim: 12, causal: true })
        const cross = new CrossAttention({ numHeads: 3, modelDim: 12, ...crossAttention })
        t.teardown(() => [layer, self, cross].forEach((made) => made.dispose()))
        const state = parameters(layer.stateDict(), 4)
        layer.loadStateDict(state)
        self.loadStateDict(state, { prefix: 'self_attn' })
        cross.loadStateDict(state, { prefix: 'multihead_attn' })
        /** @type {(x: Tensor, name: string) => Tensor} */
        const project = (x, name) => linear(x, state[`${name}.weight`], state[`${name}.bias`])
        /** @type {(x: Tensor, index: number, part: (x: Tensor) => Tensor) => Tensor} */
        function around(x, index, part) {
          const { [`norm${index}.weight`]: weight, [`norm${index}.bias`]: bias } = state
          const norm = (/** @type {Tensor} */ x) => layerNorm(x, { weight, bias, epsilon: 1e-5 })
          return normFirst ? sum(x, part(norm(x))) : norm(sum(x, part(x)))
        }
        const [x, context] = [normal([2, 6, 12], 1), normal([2, 4, 5], 2)]
        const contextLengths = Int32Array.of(4, 2)
        const kvLengths = contextLengths
        const attended = around(x, 1, (x) => self.forward(x).output)
        const crossed = around(attended, 2, (x) => cross.forward(x, context, { kvLengths }).output)
        const expected = around(crossed, 3, (x) => {
          const hidden = silu(project(x, gated ? 'linear_gate' : 'linear1'))
          return project(gated ? product(hidden, project(x, 'linear1')) : hidden, 'linear2')
        })
        const { output, weights } = layer.forward(x, context, { contextLengths, weights: true })
        close(t, output, expected, 1e-4)
        t.deepEqual(weights.shape, [2, 3, 6, 6])
      })
    }
  }

  test(`${kind}: a layer with a context also computes it asynchronously, and drops values in training alone`, async (t) => {
    const layer = new TransformerDecoderLayer({ modelDim: 8, numHeads: 2, feedForwardDim: 6, dropout: 0.5 })
    t.teardown(() => layer.dispose())
    const [x, context] = [normal([1, 4, 8], 1), normal([1, 3, 8], 2)]
    const output = bits(layer.forward(x, context).output)
    t.is(bits((await layer.forwardAsync(x, context)).output), output)
    layer.train()
    const trained = bits(layer.forward(x, context, { seed: 3 }).output)
    t.not(trained, output)
    t.is(bits(layer.forward(x, context, { seed: 3 }).output), trained)
    t.not(bits(layer.forward(x, context, { seed: 4 }).output), trained)
    t.is(bits(layer.train(false).forward(x, context).output), output)
  })

  test(`${kind}: a context that does not fit is an error`, (t) => {
    const layer = new TransformerDecoderLayer({ modelDim: 8, numHeads: 2, feedForwardDim: 6 })
    t.teardown(() => layer.dispose())
    const x = normal([2, 4, 8], 1)
    for (const [context, options, code, argument] of /** @type {[Any, Any, string, string][]} */ ([
      [normal([1, 3, 8], 2), {}, 'SHAPE', 'context'],
      [normal([2, 3, 7], 2), {}, 'SHAPE', 'context'],
      [undefined, {}, 'DTYPE', 'context'],
      [x, { contextLengths: Int32Array.of(4) }, 'SHAPE', 'contextLengths'],
      [x, { contextLengths: Int32Array.of(4, 5) }, 'OPTION', 'contextLengths'],
      [x, { contextLengths: Float32Array.of(4, 4) }, 'DTYPE', 'contextLengths']
    ])) {
      const error = faultOf(t, () => layer.forward(x, context, options))
      t.deepEqual([error.code, error.argument], [code, argument])
    }
    const other = new SelfAttention({ modelDim: 8, numHeads: 2 })
    t.teardown(() => other.dispose())
    const error = faultOf(t, () => other.forward(x, /** @type {Any} */ ({ contextLengths: Int32Array.of(4, 4) })))
    t.deepEqual([error.code, error.argument], ['OPTION', 'contextLengths'])
  })

  for (const [title, config, argument] of /** @type {[string, Any, string][]} */ ([
    ['no sizes', {}, 'modelDim'],
    ['a text for a truth value', { modelDim: 8, numHeads: 2, attentionNorm: 'no' }, 'attentionNorm'],
    ['a dropout of 1', { modelDim: 8, numHeads: 2, dropout: 1 }, 'dropout'],
    ['a context of no size', { modelDim: 8, numHeads: 2, crossAttention: { kDim: 0 } }, 'crossAttention.kDim'],
    ['a self-attention of another input', { modelDim: 8, numHeads: 2, attention: { kDim: 3 } }, 'attention.kDim']
  ])) {
    test(`${kind}: a layer with a context and ${title} is an error`, (t) => {
      const error = faultOf(t, () => new TransformerDecoderLayer(config))
      t.deepEqual([error.code, error.argument], ['OPTION', argument])
    })
  }

  const LATENT = { modelDim: 12, numHeads: 3, latentRank: 7, nopeDim: 5, rotaryDim: 4, valueDim: 6 }

  test(`${kind}: latent attention with a cache of latents gives the rows of a whole call`, (t) => {
    // Few rows over a long cache attend to latents, many rows to expanded keys and values.
    for (const [latentRank, window] of /** @type {const} */ ([
      [2, undefined],
      [7, undefined],
      [7, 6]
    ])) {
      const settings = { ...LATENT, latentRank, rotary: { base: 50, interleaved: true }, causal: true }
      const layer = new LatentAttention(settings)
      t.teardown(() => layer.dispose())
      layer.loadStateDict(parameters(layer.stateDict(), 9))
      const x = normal([2, 40, 12], 1)
      const limits = window ? { window: /** @type {[number, number]} */ ([window - 1, 0]) } : {}
      const whole = layer.forward(x, { weights: true, ...limits })
      const cache = layer.createCache({ batch: 2, capacity: 40, window })
      t.teardown(() => cache.dispose())
      t.like(cache.config, { kvHeads: 1, headDim: latentRank + 4, valueDim: latentRank, valuesInKeys: true })
      for (const [from, to] of [
        [0, 20],
        [20, 21],
        [21, 24],
        [24, 39],
        [39, 40]
      ]) {
        const found = layer.forward(rowsOf(x, from, to), { cache, weights: true })
        close(t, found.output, rowsOf(whole.output, from, to), 2e-5)
        const keys = window ? Math.min(to, to - from + window - 1) : to
        t.deepEqual(found.weights.shape, [2, 3, to - from, keys])
        const last = (/** @type {Tensor} */ { data }) => data.slice(-Math.min(keys, window ?? keys))
        const row = { ...whole.weights, data: whole.weights.data.slice(0, (2 * 3 * 40 - 40 + to) * 40 - 40 + to) }
        close(t, { data: last(found.weights), shape: [] }, last(row), 2e-6)
        t.is(cache.length, to)
      }
      const { keys, values } = cache.read()
      t.is(bits(values), bits({ ...values, data: keys.data.filter((_, at) => at % (latentRank + 4) < latentRank) }))
      const copy = cache.clone().truncate(39)
      t.teardown(() => copy.dispose())
      close(t, layer.forward(rowsOf(x, 39, 40), { cache: copy }).output, rowsOf(whole.output, 39, 40), 2e-5)
    }
  })

  test(`${kind}: texts of different lengths share a cache of latents, whose rows can be reordered`, (t) => {
    const layer = new LatentAttention({ ...LATENT, causal: true })
    const cache = layer.createCache({ batch: 2, capacity: 9 })
    t.teardown(() => (layer.dispose(), cache.dispose()))
    const x = normal([2, 8, 12], 1)
    const { output } = layer.forward(x)
    const of = (/** @type {Tensor} */ { data }, /** @type {number} */ b, /** @type {number} */ at) => ({
      data: data.slice((b * 8 + at) * 12, (b * 8 + at + 1) * 12),
      shape: [1, 1, 12]
    })
    layer.forward(rowsOf(x, 0, 6), { cache, kvLengths: Int32Array.of(6, 3) })
    t.deepEqual([...cache.lengths], [6, 3])
    const two = (/** @type {Tensor} */ a, /** @type {Tensor} */ b) => ({
      data: Float32Array.from([...a.data, ...b.data]),
      shape: [2, 1, 12]
    })
    const next = layer.forward(two(of(x, 0, 6), of(x, 1, 3)), { cache }).output
    close(t, next, two(of(output, 0, 6), of(output, 1, 3)), 2e-5)
    cache.reorder([1, 1])
    const beams = layer.forward(two(of(x, 1, 4), of(x, 1, 4)), { cache }).output
    close(t, beams, two(of(output, 1, 4), of(output, 1, 4)), 2e-5)
  })

  test(`${kind}: a cache of latents fits its layer alone`, (t) => {
    const layer = new LatentAttention(LATENT)
    const cache = layer.createCache({ capacity: 4 })
    const other = new SelfAttention({ modelDim: 11, numHeads: 1 })
    const [plain, short] = [11, 12].map(
      (headDim) => new attention.KVCache({ kvHeads: 1, headDim, valueDim: 7, capacity: 4 })
    )
    t.teardown(() => [layer, cache, other, plain, short].forEach((made) => made.dispose()))
    const x = normal([1, 3, 12], 1)
    for (const [call, code, argument] of /** @type {[() => unknown, string, string][]} */ ([
      [() => layer.forward(x, { cache: plain }), 'OPTION', 'cache'],
      [() => layer.forward(x, { cache: short }), 'OPTION', 'cache'],
      [() => other.forward(normal([1, 3, 11], 1), { cache }), 'OPTION', 'cache'],
      [() => layer.forward(normal([2, 3, 12], 1), { cache }), 'SHAPE', 'cache'],
      [() => layer.forward(normal([1, 5, 12], 1), { cache }), 'SHAPE', 'x'],
      [() => layer.forward(x, { cache, queryOffset: 1 }), 'OPTION', 'queryOffset'],
      [() => layer.forward(x, { cache, cuSeqlens: Int32Array.of(0, 3) }), 'OPTION', 'cuSeqlens'],
      [() => cache.append(normal([1, 1, 11], 1), normal([1, 1, 7], 1)), 'OPTION', 'cache'],
      [
        () => new attention.KVCache({ kvHeads: 1, headDim: 3, valueDim: 4, valuesInKeys: true, capacity: 1 }),
        'OPTION',
        'valueDim'
      ]
    ])) {
      const error = faultOf(t, call)
      t.deepEqual([error.code, error.argument], [code, argument])
      t.is(cache.length, 0)
    }
    layer.forward(x, { cache })
    t.is(faultOf(t, () => layer.forward(rowsOf(x, 0, 2), { cache })).argument, 'x')
    t.is(cache.length, 3)
  })

  for (const queryRank of [undefined, 8]) {
    test(`${kind}: latent attention ${queryRank ? 'with' : 'without'} a latent of queries is composed of the functions`, (t) => {
      const rotary = { base: 100, interleaved: true }
      const layer = new LatentAttention({
        ...LATENT,
        ...(queryRank && { queryRank }),
        rotary,
        useBias: true,
        causal: true
      })
      t.teardown(() => layer.dispose())
      const state = parameters(layer.stateDict(), 6)
      layer.loadStateDict(state)
      const [B, L, H] = [2, 6, 3]
      const x = normal([B, L, 12], 1)
      /** @type {(x: Tensor, name: string) => Tensor} */
      const project = (x, name) => linear(x, state[`${name}.weight`], state[`${name}.bias`])
      /** @type {(x: Tensor, name: string) => Tensor} */
      const norm = (x, name) => rmsNorm(x, { weight: state[`${name}.weight`], epsilon: 1e-6 })
      /** Columns `from` to `to` of each row. @type {(x: Tensor, from: number, to: number) => Tensor} */
      function columns({ data, shape }, from, to) {
        const width = shape[shape.length - 1]
        const rows = data.length / width
        const part = Array.from({ length: rows }, (_, row) => [...data.subarray(row * width + from, row * width + to)])
        return { data: Float32Array.from(part.flat()), shape: [...shape.slice(0, -1), to - from] }
      }
      /** @type {(a: Tensor, b: Tensor) => Tensor} */
      function beside(a, b) {
        const [n, m] = [a, b].map(({ shape }) => shape[shape.length - 1])
        const rows = a.data.length / n
        const part = Array.from({ length: rows }, (_, row) => [
          ...a.data.subarray(row * n, (row + 1) * n),
          ...b.data.subarray(row * m, (row + 1) * m)
        ])
        return { data: Float32Array.from(part.flat()), shape: [...a.shape.slice(0, -1), n + m] }
      }
      const heads = (/** @type {Tensor} */ { data, shape }) => ({ data, shape: [B, L, H, shape[2] / H] })
      const turn = (/** @type {Tensor} */ x) => rotaryEmbedding(x, { ...rotary, layout: 'blhd' })
      const q = heads(
        queryRank ? project(norm(project(x, 'q_a_proj'), 'q_a_layernorm'), 'q_b_proj') : project(x, 'q_proj')
      )
      const latent = project(x, 'kv_a_proj_with_mqa')
      const pairs = heads(project(norm(columns(latent, 0, 7), 'kv_a_layernorm'), 'kv_b_proj'))
      const shared = turn({ ...columns(latent, 7, 11), shape: [B, L, 1, 4] })
      const spread = Array.from({ length: B * L * H }, (_, row) => [
        ...shared.data.subarray(Math.floor(row / H) * 4, Math.floor(row / H) * 4 + 4)
      ])
      const k = beside(columns(pairs, 0, 5), { data: Float32Array.from(spread.flat()), shape: [B, L, H, 4] })
      const query = beside(columns(q, 0, 5), turn(columns(q, 5, 9)))
      const attended = scaledDotProductAttention(query, k, columns(pairs, 5, 11), {
        causal: true,
        layout: 'blhd'
      }).output
      const expected = project({ data: attended.data, shape: [B, L, H * 6] }, 'o_proj')
      const { output, weights } = layer.forward(x, { weights: true })
      close(t, output, expected, 2e-5)
      t.deepEqual(weights.shape, [B, H, L, L])
    })
  }

  test(`${kind}: latent attention has DeepSeek's names, describes itself, and computes asynchronously`, async (t) => {
    const layer = new LatentAttention(LATENT)
    t.teardown(() => layer.dispose())
    t.deepEqual(Object.keys(layer.stateDict()), [
      'q_proj.weight',
      'kv_a_proj_with_mqa.weight',
      'kv_a_layernorm.weight',
      'kv_b_proj.weight',
      'o_proj.weight'
    ])
    t.like(layer.config, {
      ...LATENT,
      causal: false,
      useBias: false,
      rotary: { base: 10000, interleaved: false, dim: 4 }
    })
    const again = new LatentAttention(layer.config)
    t.teardown(() => again.dispose())
    t.deepEqual(again.config, layer.config)
    const x = normal([1, 5, 12], 3)
    const output = bits(layer.forward(x, { causal: true }).output)
    t.is(bits((await layer.forwardAsync(x, { causal: true })).output), output)
    t.is(bits(again.forward(x, { causal: true }).output), output)
    t.deepEqual(layer.forward(normal([2, 0, 12], 3)).output.shape, [2, 0, 12])
    const positions = Int32Array.of(2, 3, 4, 5, 6)
    t.not(bits(layer.forward(x, { causal: true, positions: Int32Array.of(9, 7, 5, 3, 1) }).output), output)
    close(
      t,
      layer.forward(x, { causal: true, positions }).output,
      { ...x, ...layer.forward(x, { causal: true }).output },
      2e-5
    )
  })

  for (const [title, config, argument] of /** @type {[string, Any, string][]} */ ([
    ['no latent', { ...LATENT, latentRank: undefined }, 'latentRank'],
    ['an odd number of rotated features', { ...LATENT, rotaryDim: 3 }, 'rotaryDim'],
    ['another number of rotated features', { ...LATENT, rotary: { dim: 2 } }, 'rotary.dim'],
    ['a latent of no queries', { ...LATENT, queryRank: 0 }, 'queryRank'],
    ['a scale of infinity', { ...LATENT, scale: Infinity }, 'scale'],
    ['key/value heads', { ...LATENT, kvHeads: 1 }, 'kvHeads']
  ])) {
    test(`${kind}: latent attention with ${title} is an error`, (t) => {
      const error = faultOf(t, () => new LatentAttention(config))
      t.deepEqual([error.code, error.argument], ['OPTION', argument])
    })
  }
})
