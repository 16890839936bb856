// The attention layers: numbers by definition, state dicts under every supported naming, lifetime.
import test from 'ava'
import { loadBackend } from '@ruvector/attention'
import { onBothBackends } from '../support/backends.js'
import { multiHead } from '../support/oracle.js'
import { bits, close, faultOf, normal } from '../support/tensors.js'

/** @typedef {import('@ruvector/attention').Tensor} Tensor */
/** @typedef {import('@ruvector/attention').StateDict} StateDict */
/** @typedef {import('@ruvector/attention').Attention} Attention */

/**
 * Random parameters, one matrix per projection.
 *
 * @param {{ numHeads: number, headDim: number, kvHeads?: number, modelDim?: number, kDim?: number, vDim?: number,
 *   useBias?: boolean }} config
 * @param {number} seed
 * @returns {StateDict}
 */
function parameters(config, seed) {
  const { numHeads, headDim, kvHeads = numHeads, modelDim = numHeads * headDim, kDim = modelDim, vDim = kDim } = config
  const [inner, kvInner] = [numHeads * headDim, kvHeads * headDim]
  const shapes = { q: [inner, modelDim], k: [kvInner, kDim], v: [kvInner, vDim], out: [modelDim, inner] }
  /** @type {StateDict} */
  const state = {}
  for (const [index, [name, shape]] of Object.entries(shapes).entries()) {
    // Small enough that outputs have the magnitude of the inputs, as in a trained layer.
    const { data } = normal(shape, seed + index)
    state[`${name}_proj.weight`] = { data: data.map((weight) => weight / Math.sqrt(shape[1])), shape }
    if (config.useBias !== false) state[`${name}_proj.bias`] = normal([shape[0]], seed + 10 + index)
  }
  return state
}

/**
 * The same parameters under other names.
 *
 * @param {StateDict} state
 * @param {Record<string, string>} names  the names for `q_proj`, `k_proj`, `v_proj` and `out_proj`
 * @param {string} [prefix]
 */
const rename = (state, names, prefix = '') =>
  Object.fromEntries(
    Object.entries(state).map(([name, tensor]) => {
      const [stem, kind] = name.split('.')
      return [`${prefix}${names[stem] ?? stem}.${kind}`, tensor]
    })
  )

/** @type {(...parts: Tensor[]) => Tensor} */
const stack = (...parts) => ({
  data: Float32Array.from(parts.flatMap(({ data }) => [...data])),
  shape: [parts.reduce((rows, { shape }) => rows + shape[0], 0), ...parts[0].shape.slice(1)]
})

/**
 * A layer that is disposed when its test ends.
 *
 * @template {import('@ruvector/attention').Layer} Kind
 * @param {import('ava').ExecutionContext} t
 * @param {Kind} layer
 */
function owned(t, layer) {
  t.teardown(() => layer.dispose())
  return layer
}

const config = { numHeads: 4, headDim: 6 }
const bert = { q_proj: 'self.query', k_proj: 'self.key', v_proj: 'self.value', out_proj: 'output.dense' }

onBothBackends((kind, attention) => {
  const { MultiHeadAttention, SelfAttention, CrossAttention, Layer, loadSafetensors, saveSafetensors } = attention

  for (const [title, given] of Object.entries({
    'as many heads as fit the model': config,
    'fewer key heads than query heads': { numHeads: 6, headDim: 4, kvHeads: 2 },
    'one key head': { numHeads: 3, headDim: 5, kvHeads: 1, useBias: false },
    'heads that do not add up to the model size': { numHeads: 3, headDim: 5, modelDim: 22 },
    'keys and values of other sizes': { numHeads: 2, headDim: 8, kDim: 5, vDim: 9 },
    'all of it': { numHeads: 4, headDim: 3, kvHeads: 2, modelDim: 10, kDim: 7, vDim: 9 }
  })) {
    test(`${kind}: a multi-head layer matches its definition with ${title}`, (t) => {
      const layer = owned(t, new MultiHeadAttention(given))
      const { kvHeads, modelDim, kDim, vDim } = layer.config
      const state = parameters({ ...given, vDim }, 1)
      layer.loadStateDict(state)
      t.is(
        layer.numParameters,
        Object.values(state).reduce((sum, { data }) => sum + data.length, 0)
      )
      const [q, k, v] = [normal([2, 5, modelDim], 40), normal([2, 7, kDim], 41), normal([2, 7, vDim], 42)]
      for (const options of [
        {},
        { causal: true, queryOffset: 2, softcap: 2 },
        { mask: normal([2, 1, 5, 7], 43), scale: 0.3 },
        { kvLengths: Int32Array.of(7, 3), window: /** @type {const} */ ([2, 2]) }
      ]) {
        const expected = multiHead({ ...given, kvHeads }, state, [q, k, v], options)
        const found = layer.forward(q, k, v, { ...options, weights: true })
        close(t, found.output, expected.output, 2e-5, 'output')
        close(t, found.weights, expected.weights, 2e-5, 'weights')
        t.deepEqual(found.output.shape, [2, 5, modelDim])
        t.deepEqual(found.weights?.shape, [2, given.numHeads, 5, 7])
        close(t, layer.forward(q, k, v, options).output, expected.output, 2e-5, 'output alone')
      }
    })
  }

  test(`${kind}: keys default to the queries, and values to the keys`, (t) => {
    const layer = owned(t, new MultiHeadAttention({ ...config, seed: 3 }))
    const [q, k] = [normal([1, 5, 24], 1), normal([1, 3, 24], 2)]
    t.deepEqual(bits(layer.forward(q).output), bits(layer.forward(q, q, q).output))
    t.deepEqual(bits(layer.forward(q, k).output), bits(layer.forward(q, k, k).output))
    t.deepEqual(
      bits(layer.forward(q, null, null, { causal: true }).output),
      bits(layer.forward(q, q, q, { causal: true }).output)
    )
  })

  test(`${kind}: self-attention is the multi-head layer of one input`, (t) => {
    const multi = owned(t, new MultiHeadAttention({ ...config, seed: 5 }))
    const self = owned(t, new SelfAttention({ ...config, seed: 5 }))
    const x = normal([2, 6, 24], 1)
    const options = { causal: true, averageWeights: true }
    t.deepEqual(self.stateDict(), multi.stateDict())
    t.deepEqual(self.forward(x, options), multi.forward(x, x, x, options))
  })

  test(`${kind}: cross-attention is the multi-head layer of a query and a context`, (t) => {
    const multi = owned(t, new MultiHeadAttention({ ...config, kDim: 9, vDim: 9, seed: 5 }))
    const cross = owned(t, new CrossAttention({ ...config, kDim: 9, seed: 5 }))
    const [query, context] = [normal([2, 6, 24], 1), normal([2, 4, 9], 2)]
    t.deepEqual(cross.stateDict(), multi.stateDict())
    t.deepEqual(
      cross.forward(query, context, { weights: true }),
      multi.forward(query, context, context, { weights: true })
    )
  })

  test(`${kind}: averageWeights are the mean of the weights over the heads`, (t) => {
    const layer = owned(t, new SelfAttention(config))
    const x = normal([2, 5, 24], 1)
    const heads = /** @type {Tensor} */ (layer.forward(x, { weights: true }).weights).data
    const { weights } = layer.forward(x, { averageWeights: true })
    const mean = Array.from({ length: 50 }, (_, at) => {
      const [batch, cell] = [Math.floor(at / 25), at % 25]
      return [0, 1, 2, 3].reduce((sum, head) => sum + heads[(batch * 4 + head) * 25 + cell] / 4, 0)
    })
    close(t, weights, mean, 1e-6)
    t.deepEqual(weights?.shape, [2, 5, 5])
    t.deepEqual(Object.keys(layer.forward(x)), ['output'])
  })

  test(`${kind}: config includes every default and is immutable`, (t) => {
    const layer = owned(t, new MultiHeadAttention({ numHeads: 2, headDim: 3, kDim: 5 }))
    t.deepEqual(layer.config, {
      numHeads: 2,
      headDim: 3,
      modelDim: 6,
      kvHeads: 2,
      kDim: 5,
      vDim: 6,
      useBias: true,
      dropout: 0,
      seed: 0
    })
    t.true(Object.isFrozen(layer.config))
    const cross = owned(
      t,
      new CrossAttention({ numHeads: 2, headDim: 3, kDim: 5, useBias: false, dropout: 0.25, seed: 9 })
    )
    const { vDim, useBias, dropout, seed } = cross.config
    t.deepEqual({ vDim, useBias, dropout, seed }, { vDim: 5, useBias: false, dropout: 0.25, seed: 9 })
  })

  test(`${kind}: the same seed gives the same parameters, and the default seed is 0`, (t) => {
    const draw = (/** @type {any} */ more) => owned(t, new SelfAttention({ ...config, ...more })).stateDict()
    t.deepEqual(draw({ seed: 8 }), draw({ seed: 8 }))
    t.deepEqual(draw({}), draw({ seed: 0 }))
    t.notDeepEqual(draw({ seed: 8 }), draw({ seed: 9 }))
    t.true(draw({})['in_proj_bias'].data.every((value) => value === 0))
  })

  test(`${kind}: dropout applies only in training, with the seed of the call or else of the layer`, (t) => {
    const layer = owned(t, new SelfAttention({ ...config, dropout: 0.5, seed: 4 }))
    const x = normal([1, 20, 24], 1)
    const zeros = (options = {}) =>
      /** @type {Tensor} */ (layer.forward(x, { ...options, weights: true }).weights).data.map((w) => Number(w === 0))
    const none = new Float32Array(4 * 20 * 20)
    t.deepEqual(zeros(), none)
    t.is(layer.train(), layer)
    const dropped = zeros()
    t.true(Math.abs(dropped.reduce((sum, zero) => sum + zero, 0) / dropped.length - 0.5) < 0.05)
    t.deepEqual(zeros(), dropped)
    t.deepEqual(zeros({ seed: 4 }), dropped)
    t.notDeepEqual(zeros({ seed: 5 }), dropped)
    layer.train(false)
    t.deepEqual(zeros(), none)
  })

  test(`${kind}: a layer fills the given out`, (t) => {
    const layer = owned(t, new SelfAttention(config))
    const x = normal([2, 5, 24], 1)
    const expected = layer.forward(x).output
    const out = new Float32Array(240)
    t.is(layer.forward(x, { out }).output.data, out)
    t.deepEqual([...out], [...expected.data])
  })

  for (const [title, names, missing] of /** @type {const} */ ([
    ["BERT's names", bert, []],
    ["Llama's names", { out_proj: 'o_proj' }, []],
    ["Whisper's names, which have no key bias", {}, ['k_proj.bias']],
    ["Qwen2's names, which have no output bias", { out_proj: 'o_proj' }, ['out_proj.bias']]
  ])) {
    test(`${kind}: a state dict loads under ${title}, with and without a prefix`, (t) => {
      const state = parameters(config, 7)
      for (const name of missing) delete state[name]
      const zeroed = { ...state, ...Object.fromEntries(missing.map((name) => [name, normal([24], 0)])) }
      for (const name of missing) zeroed[name].data.fill(0)
      const x = normal([1, 4, 24], 1)
      const full = { ...config, kvHeads: 4 }
      const expected = multiHead(full, zeroed, [x, x, x]).output
      for (const [prefix, stem] of [
        [undefined, ''],
        ['encoder.layer.3.attention', 'encoder.layer.3.attention.'],
        ['encoder.layer.3.attention.', 'encoder.layer.3.attention.']
      ]) {
        const layer = owned(t, new SelfAttention(config))
        /** @type {StateDict} */
        const others = prefix ? { 'encoder.layer.30.attention.x': normal([1], 1), 'pooler.bias': normal([2], 2) } : {}
        t.is(layer.loadStateDict({ ...rename(state, names, stem), ...others }, { prefix }), layer)
        close(t, layer.forward(x).output, expected, 2e-5)
      }
    })
  }

  test(`${kind}: a state dict has PyTorch's names in PyTorch's order, and loads again bit for bit`, (t) => {
    for (const [given, names] of [
      [config, ['in_proj_weight', 'in_proj_bias', 'out_proj.weight', 'out_proj.bias']],
      [{ ...config, useBias: false }, ['in_proj_weight', 'out_proj.weight']],
      [
        { ...config, kDim: 7 },
        ['q_proj_weight', 'k_proj_weight', 'v_proj_weight', 'in_proj_bias', 'out_proj.weight', 'out_proj.bias']
      ]
    ]) {
      const layer = owned(t, new MultiHeadAttention(/** @type {any} */ (given)))
      const other = owned(t, new MultiHeadAttention({ .../** @type {any} */ (given), seed: 99 }))
      const state = layer.stateDict()
      t.deepEqual(Object.keys(state), names)
      t.notDeepEqual(other.stateDict(), state)
      t.deepEqual(other.loadStateDict(state).stateDict(), state)
      t.deepEqual(loadSafetensors(saveSafetensors(state)), state)
    }
  })

  test(`${kind}: in_proj_weight and in_proj_bias concatenate those of query, key and value`, (t) => {
    const state = parameters({ ...config, kvHeads: 2 }, 3)
    const layer = owned(t, new SelfAttention({ ...config, kvHeads: 2 }))
    const loaded = layer.loadStateDict(state).stateDict()
    t.deepEqual(loaded['in_proj_weight'], stack(...['q', 'k', 'v'].map((name) => state[`${name}_proj.weight`])))
    t.deepEqual(loaded['in_proj_bias'], stack(...['q', 'k', 'v'].map((name) => state[`${name}_proj.bias`])))
  })

  test(`${kind}: stateDict returns a copy, and loaded arrays are not kept`, (t) => {
    const layer = owned(t, new SelfAttention(config))
    const state = layer.stateDict()
    const kept = structuredClone(state)
    state['out_proj.weight'].data.fill(9)
    t.deepEqual(layer.stateDict(), kept)
    const given = structuredClone(kept)
    layer.loadStateDict(given)
    given['out_proj.weight'].data.fill(9)
    t.deepEqual(layer.stateDict(), kept)
  })

  test(`${kind}: a state dict that does not fit is rejected by name and changes nothing`, (t) => {
    const layer = owned(t, new SelfAttention(config))
    const before = layer.stateDict()
    const good = parameters(config, 5)
    const { 'out_proj.weight': _, ...incomplete } = good
    for (const [state, code, argument] of /** @type {[StateDict, string, string][]} */ ([
      [incomplete, 'FORMAT', 'out_proj.weight'],
      [{ ...good, extra: normal([1], 1) }, 'FORMAT', 'extra'],
      [{ ...good, 'k_proj.weight': normal([24, 23], 1) }, 'SHAPE', 'k_proj.weight'],
      [{ ...good, 'k_proj.weight': { data: new Int32Array(576), shape: [24, 24] } }, 'DTYPE', 'k_proj.weight'],
      [{ ...good, ...before }, 'FORMAT', ''],
      [{}, 'FORMAT', '']
    ])) {
      const fault = faultOf(t, () => layer.loadStateDict(state))
      t.is(String(fault.code), code, fault.message)
      if (argument) t.is(fault.argument, argument, fault.message)
      t.deepEqual(layer.stateDict(), before)
    }
    const missing = faultOf(t, () => layer.loadStateDict(good, { prefix: 'decoder' }))
    t.is(missing.code, 'FORMAT')
    t.regex(missing.message, /decoder/)
    t.deepEqual(layer.loadStateDict(good).stateDict()['out_proj.weight'], good['out_proj.weight'])
  })

  test(`${kind}: inputs of the wrong shape are rejected under the names of the call, and the next call works`, (t) => {
    const multi = owned(t, new MultiHeadAttention({ ...config, kDim: 7, vDim: 9 }))
    const self = owned(t, new SelfAttention(config))
    const cross = owned(t, new CrossAttention({ ...config, kDim: 7 }))
    const x = normal([2, 5, 24], 1)
    const [k, v] = [normal([2, 3, 7], 2), normal([2, 3, 9], 3)]
    /** @type {[string, () => unknown][]} */
    const cases = [
      ['q', () => multi.forward(normal([2, 5, 23], 1), k, v)],
      ['q', () => multi.forward(normal([5, 24], 1), k, v)],
      ['k', () => multi.forward(x, normal([2, 3, 8], 1), v)],
      ['k', () => multi.forward(x, normal([1, 3, 7], 1), v)],
      ['v', () => multi.forward(x, k, normal([2, 4, 9], 1))],
      ['x', () => self.forward(normal([2, 5, 25], 1))],
      ['query', () => cross.forward(normal([2, 5, 25], 1), k)],
      ['context', () => cross.forward(x, x)],
      ['mask', () => self.forward(x, { mask: normal([4, 5], 1) })],
      ['kvLengths', () => self.forward(x, { kvLengths: Int32Array.of(1, 2, 3) })],
      ['out', () => self.forward(x, { out: new Float32Array(1) })]
    ]
    for (const [argument, call] of cases) {
      const fault = faultOf(t, call)
      t.is(fault.code, 'SHAPE', fault.message)
      t.is(fault.argument, argument, fault.message)
    }
    t.deepEqual(multi.forward(x, k, v).output.shape, [2, 5, 24])
    t.deepEqual(cross.forward(x, k).output.shape, [2, 5, 24])
  })

  test(`${kind}: a layer without tokens gives an empty output, and one without context gives the output bias`, (t) => {
    const self = owned(t, new SelfAttention(config))
    t.deepEqual(self.forward(normal([2, 0, 24], 1)).output, normal([2, 0, 24], 1))
    const cross = owned(t, new CrossAttention(config))
    const state = parameters(config, 2)
    cross.loadStateDict(state)
    const { output } = cross.forward(normal([1, 2, 24], 1), normal([1, 0, 24], 1))
    close(t, output, [...state['out_proj.bias'].data, ...state['out_proj.bias'].data], 1e-6)
  })

  test(`${kind}: after dispose every use throws DISPOSED, and a second dispose does nothing`, (t) => {
    const x = normal([1, 2, 24], 1)
    for (const layer of [new MultiHeadAttention(config), new SelfAttention(config), new CrossAttention(config)]) {
      const state = layer.stateDict()
      layer.dispose()
      layer.dispose()
      for (const use of [
        () => /** @type {any} */ (layer).forward(x, layer instanceof SelfAttention ? {} : x),
        () => layer.stateDict(),
        () => layer.loadStateDict(state),
        () => layer.train(),
        () => layer.numParameters
      ]) {
        t.is(faultOf(t, use).code, 'DISPOSED')
      }
    }
    const layer = new SelfAttention(config)
    layer[Symbol.dispose]()
    t.is(faultOf(t, () => layer.forward(x)).code, 'DISPOSED')
  })

  test(`${kind}: layers are instances of Layer, which cannot be constructed`, (t) => {
    const layer = owned(t, new SelfAttention(config))
    t.true(layer instanceof Layer)
    t.false(layer instanceof MultiHeadAttention)
    t.throws(() => new /** @type {any} */ (Layer)(), { instanceOf: TypeError, message: /abstract/ })
  })

  test(`${kind}: layers give the same bits every time and for every number of threads`, async (t) => {
    const x = normal([3, 120, 96], 1)
    const run = (/** @type {Attention} */ { SelfAttention: Self }) => {
      const layer = owned(t, new Self({ numHeads: 6, headDim: 16, seed: 2 }))
      return bits(layer.forward(x, { causal: true }).output)
    }
    const first = run(attention)
    t.deepEqual(run(attention), first)
    for (const threads of [1, 2, 5]) t.deepEqual(run(await loadBackend(kind, { threads })), first)
  })
})
