// Every public function, class and method, with valid arguments: the calls that the fuzzer mutates.

import { attentionHeatmap, attentionHeatmapText, graphPlot, poincareDisk } from '../lib/plot/index.js'
import { createCompat } from '../lib/compat/index.js'
import { fromGraphology } from '../lib/graphology/index.js'

/** @typedef {import('./world.mjs').World} World */
/**
 * - `of`: creates the object of a method, or the owner of a function.
 * - `name`: the method's name; undefined for a function that `of` returns itself.
 * - `args`: valid arguments.
 * - `isAbstract`: true for a class that callers cannot construct, which throws a TypeError.
 * - `isPlain`: true if it is only called with valid arguments: error classes, which the package constructs.
 *
 * @typedef {{ of: (w: World) => any, name?: string, isNew?: boolean, isAbstract?: boolean, isPlain?: boolean, args: (w:
 *   World, target: any) => any[] }} Entry
 */

/** Inputs and options of attention. @param {World} w @param {Record<string, number>} [fixed] */
function attention(w, fixed = {}) {
  const G = fixed.G ?? w.r.int(1, 2)
  const dims = { B: w.dim(), G, H: G * w.r.int(1, 2), L: w.dim(), S: w.dim(), D: w.dim(), E: w.dim(), ...fixed }
  const { B, H, L, S, D, E } = dims
  const is3D = w.r.chance(0.2) && G === 1 && !('H' in fixed)
  const layout = !is3D && w.r.chance(0.2) ? 'blhd' : undefined
  const shape = (/** @type {number} */ heads, /** @type {number} */ length, /** @type {number} */ size) =>
    is3D ? [B, length, size] : layout ? [B, length, heads, size] : [B, heads, length, size]
  const heads = is3D ? 1 : H
  const inputs = [w.tensor(shape(heads, L, D)), w.tensor(shape(G, S, D)), w.tensor(shape(G, S, E))]
  return { ...dims, H: heads, inputs, layout, is3D, outputLength: B * heads * L * E }
}

/** @param {World} w @param {{ B: number, H: number, L: number, S: number, is3D?: boolean }} dims */
function masks(w, { B, H, L, S, is3D }) {
  const one = (/** @type {number} */ dim) => (w.r.chance(0.3) ? 1 : dim)
  const shape = () =>
    (is3D ? [one(B), one(L), one(S)] : [one(B), one(H), one(L), one(S)]).slice(w.r.int(0, is3D ? 2 : 3))
  const boolean = () => {
    const dims = shape()
    const length = dims.reduce((a, b) => a * b, 1)
    return { data: w.array('Uint8Array', length, () => w.r.int(0, 2)), shape: dims }
  }
  const float = () => {
    const mask = w.tensor(shape())
    if (mask.data.length > 0 && w.r.chance(0.5)) mask.data[0] = -Infinity
    return mask
  }
  return {
    mask: () => {
      const mask = w.r.chance(0.5) ? boolean() : float()
      w.track(mask.data.buffer)
      return mask
    },
    causal: () => w.r.chance(0.7),
    window: () => [w.r.int(-1, 4), w.r.int(-1, 4)],
    kvLengths: () => w.ints(B, 0, S)
  }
}

/** @param {World} w */
const offset = (w, /** @type {number} */ B) => ({
  queryOffset: () => (w.r.chance(0.5) ? w.r.int(-3, 5) : w.ints(B, -3, 5))
})

/** @param {World} w @param {ReturnType<typeof attention>} dims @param {string[]} [without] */
function attentionOptions(w, dims, without = []) {
  const all = {
    ...masks(w, dims),
    ...offset(w, dims.B),
    scale: () => w.r.next(),
    softcap: () => w.r.int(0, 5),
    relativeBias: () => w.tensor([w.r.pick([1, dims.H]), Math.max(0, dims.L + dims.S - 1)]),
    sinks: () => w.r.pick([w.tensor([dims.H]), w.array('Float32Array', dims.H, () => w.r.next())]),
    dropout: () => w.r.pick([0, 0.25, 0.5]),
    seed: () => w.r.int(0, 1000),
    weights: () => w.r.chance(0.8),
    topWeights: () => Math.max(1, w.r.int(1, Math.max(1, dims.S))),
    logSumExp: () => w.r.chance(0.8),
    out: () => w.array('Float32Array', dims.outputLength, () => 0, true)
  }
  for (const name of without) delete (/** @type {any} */ (all)[name])
  return { ...w.some(all, w.r.chance(0.3) ? 0.5 : 0.12), ...(dims.layout && { layout: dims.layout }) }
}

/**
 * The options of a call of two packed sequences, without those that packing excludes.
 *
 * @param {World} w
 * @param {{ L: number, S: number }} dims
 * @param {Record<string, any>} options
 */
function packed(w, { L, S }, options) {
  for (const name of ['mask', 'kvLengths', 'queryOffset', 'weights', 'topWeights', 'relativeBias']) delete options[name]
  const cut = (/** @type {number} */ length) => {
    const offsets = [0, w.r.int(0, length), length]
    return w.array('Int32Array', 3, () => /** @type {number} */ (offsets.shift()))
  }
  return { ...options, cuSeqlens: cut(L), cuSeqlensKeys: cut(S) }
}

/** Signals and listeners of an asynchronous call. @param {World} w */
function watch(w) {
  return w.some(
    {
      signal() {
        const kind = w.r.int(0, 3)
        if (kind === 0) return new AbortController().signal
        w.isRacy = true
        const controller = new AbortController()
        const reason = w.error('abort')
        if (kind === 1) controller.abort(reason)
        else if (kind === 2) queueMicrotask(() => controller.abort(reason))
        else setTimeout(() => controller.abort(reason))
        return controller.signal
      },
      onProgress() {
        if (w.r.chance(0.5)) return () => w.reenter()
        return () => {
          throw w.error('progress')
        }
      }
    },
    0.3
  )
}

/** @param {World} w @param {string[]} [without] @param {Record<string, number>} [fixed] */
function attentionCall(w, without, fixed) {
  const dims = attention(w, fixed)
  const options = attentionOptions(w, dims, without)
  return [...dims.inputs, dims.B === 1 && w.r.chance(0.2) ? packed(w, dims, options) : options]
}

/** The same with options of asynchronous calls. @param {(w: World, target: any) => any[]} args */
const later = (args) => (/** @type {World} */ w, /** @type {any} */ target) => {
  const given = args(w, target)
  const last = given.length - 1
  const options = given[last]
  if (typeof options === 'object' && options !== null && !('shape' in options)) {
    given[last] = { ...options, ...watch(w) }
  }
  return given
}

/** Options of rotary positions, of every type of scaling. @param {World} w @param {number} dim */
function scalings(w, dim) {
  const factors = Array.from({ length: dim / 2 }, () => 1 + w.r.next())
  const dicts = {
    default: {},
    linear: {},
    dynamic: {},
    yarn: w.some({ truncate: () => false, mscale: () => 0.7, mscale_all_dim: () => 1, beta_fast: () => 16 }),
    longrope: { short_factor: factors, long_factor: factors },
    llama3: { low_freq_factor: 1, high_freq_factor: 4 },
    proportional: {}
  }
  const type = w.r.pick(/** @type {(keyof typeof dicts)[]} */ (Object.keys(dicts)))
  const scaling = { [w.r.pick(['type', 'rope_type'])]: type, factor: 1 + 4 * w.r.next(), ...dicts[type] }
  const named = { maxPositions: 64, originalMaxPositions: w.r.pick([8, 32]) }
  if (w.r.chance(0.3)) return { frequencies: Float64Array.from(factors), factor: w.r.next() }
  return { scaling, ...named, ...w.some({ length: () => w.r.int(1, 99), interleaved: () => true, scale: () => 0.5 }) }
}

/** @param {World} w */
function heads(w) {
  return {
    numHeads: w.r.int(1, 3),
    headDim: w.r.int(1, 4),
    ...w.some({
      modelDim: () => w.r.int(1, 8),
      useBias: () => (w.r.chance(0.5) ? w.r.chance(0.5) : w.some({ query: () => false, output: () => false })),
      dropout: () => 0.25,
      seed: () => w.r.int(0, 99),
      causal: () => w.r.chance(0.5),
      window: () => [w.r.int(-1, 3), w.r.int(-1, 3)],
      softcap: () => w.r.int(0, 5),
      scale: () => w.r.next(),
      outputGate: () => w.r.chance(0.5),
      addBiasKv: () => w.r.chance(0.5),
      addZeroAttn: () => w.r.chance(0.5),
      sinks: () => w.r.chance(0.5),
      relativeBias: () => ({ buckets: w.r.int(4, 9), maxDistance: w.r.int(6, 20) }),
      weightType: () => w.r.pick(WEIGHT_TYPES),
      qkNorm: () =>
        w.r.chance(0.5) ? 'model' : { over: 'head', ...w.some({ kind: () => 'layer', epsilon: () => 0.1 }) },
      rotary: () => ({ ...w.some({ base: () => 100, interleaved: () => w.r.chance(0.5) }) })
    })
  }
}

/** A configuration with even head sizes if rotary positions are used. @param {World} w */
function layerConfig(w) {
  const config = /** @type {any} */ (heads(w))
  if (config.rotary && config.headDim % 2) config.headDim++
  if (config.qkNorm === 'model') delete config.outputGate
  if (config.rotary && w.r.chance(0.5)) {
    config.headDim = 4
    config.rotary = scalings(w, 4)
  }
  return config
}

/** @param {World} w */
const crossConfig = (w) => ({ ...layerConfig(w), ...w.some({ kDim: () => w.r.int(1, 8), vDim: () => w.r.int(1, 8) }) })

/** @param {World} w @param {any} layer @param {{ B: number, L: number, S: number }} dims */
function layerOptions(w, layer, { B, L, S }) {
  const { numHeads: H, modelDim } = layer.config
  return w.some({
    ...masks(w, { B, H, L, S }),
    ...offset(w, B),
    weights: () => true,
    averageWeights: () => true,
    scale: () => w.r.next(),
    softcap: () => w.r.int(0, 5),
    seed: () => w.r.int(0, 99),
    out: () => w.array('Float32Array', B * L * modelDim, () => 0, true)
  })
}

/** @param {World} w @param {any} layer */
function selfCall(w, layer) {
  const [B, L] = [w.dim(), w.dim()]
  return [w.tensor([B, L, layer.config.modelDim]), layerOptions(w, layer, { B, L, S: L })]
}

/** @param {World} w @param {any} layer */
function crossCall(w, layer) {
  const [B, L, S] = [w.dim(), w.dim(), w.dim()]
  const { modelDim, kDim, vDim } = layer.config
  const inputs = [w.tensor([B, L, modelDim]), w.tensor([B, S, kDim])]
  if (kDim !== vDim) w.changes.push('sizes that differ')
  return [...inputs, layerOptions(w, layer, { B, L, S })]
}

/** @param {World} w @param {any} layer */
function contextCall(w, layer) {
  const [B, L, S] = [w.dim(), w.dim(), w.dim()]
  const { modelDim, crossAttention } = layer.config
  const options = layerOptions(w, layer, { B, L, S: L })
  const lengths = w.some({ contextLengths: () => w.array('Int32Array', B, () => w.r.int(0, S)) })
  return [w.tensor([B, L, modelDim]), w.tensor([B, S, crossAttention.kDim]), { ...options, ...lengths }]
}

/** @param {World} w @param {any} layer */
function latentCall(w, layer) {
  const [x, options] = /** @type {[any, any]} */ (selfCall(w, layer))
  const { seed: _, ...others } = options ?? {}
  return [x, others]
}

/** @param {World} w @param {any} layer */
function multiCall(w, layer) {
  const [B, L, S] = [w.dim(), w.dim(), w.dim()]
  const { modelDim, kDim, vDim } = layer.config
  const inputs = [w.tensor([B, L, modelDim]), w.tensor([B, S, kDim]), w.tensor([B, S, vDim])]
  return [...inputs, layerOptions(w, layer, { B, L, S })]
}

/**
 * Widens the norms of a layer over fewer than four values. Where these are alike or near 0, such a norm is a step, which
 * multiplies by hundreds what the backends round differently.
 *
 * @param {any} config
 */
function withWideNorms(config) {
  const { modelDim, numHeads, feedForwardDim, latentRank, queryRank = latentRank, attention } = config
  const widths = [feedForwardDim && modelDim, latentRank, queryRank].filter(Boolean)
  if (Math.min(...widths) < 4) config.epsilon = 0.1
  const settings = attention ?? config
  const { headDim = modelDim / numHeads, qkNorm } = { headDim: config.headDim, ...settings }
  if (qkNorm && headDim < 4) settings.qkNorm = { ...(qkNorm.over ? qkNorm : { over: qkNorm }), epsilon: 0.1 }
  return config
}

/** @param {World} w @param {string} name @param {(w: World) => any} config */
const makeLayer = (w, name, config) => {
  const layer = w.keep(new w.api[name](withWideNorms(config(w))))
  return w.r.chance(0.2) && layer.train ? layer.train() : layer
}

/** @param {World} w */
const encoderConfig = (w) => {
  const numHeads = w.r.int(1, 2)
  return {
    modelDim: numHeads * w.r.int(1, 3),
    numHeads,
    feedForwardDim: w.r.int(1, 6),
    ...w.some({
      activation: () => w.r.pick(['relu', 'gelu', 'gelu-tanh', 'quick-gelu', 'silu']),
      normFirst: () => true,
      gated: () => true,
      useBias: () => false,
      norm: () => 'rms',
      attentionNorm: () => false,
      weightType: () => w.r.pick(WEIGHT_TYPES),
      attention: () => {
        const { numHeads: _, modelDim: __, ...settings } = layerConfig(w)
        return settings
      },
      epsilon: () => 1e-12,
      dropout: () => 0.5,
      seed: () => w.r.int(0, 99)
    })
  }
}

/** @param {World} w */
const decoderConfig = (w) => {
  const numHeads = w.r.int(1, 2)
  return {
    modelDim: numHeads * w.r.int(1, 3),
    numHeads,
    feedForwardDim: w.r.int(1, 6),
    ...w.some({
      headDim: () => w.r.int(1, 3),
      kvHeads: () => 1,
      norm: () => w.r.pick(['rms', 'layer']),
      normPlacement: () => w.r.pick(['pre', 'sandwich', 'post']),
      parallel: () => true,
      activation: () => w.r.pick(['relu', 'gelu', 'gelu-tanh', 'quick-gelu', 'silu']),
      gated: () => w.r.chance(0.5),
      useBias: () => w.r.chance(0.5),
      weightOffset: () => 1,
      weightType: () => w.r.pick(WEIGHT_TYPES),
      attention: () => w.some({ window: () => [1, 0], softcap: () => 2, qkNorm: () => w.r.pick(['head', 'model']) }),
      seed: () => w.r.int(0, 99)
    })
  }
}

/** @param {World} w */
const transformerDecoderConfig = (w) => ({
  ...encoderConfig(w),
  ...w.some({
    gated: () => true,
    useBias: () => false,
    norm: () => w.r.pick(['rms', 'layer']),
    attentionNorm: () => false,
    crossAttention: () => ({ kDim: 3 })
  })
})

/** @param {World} w */
const latentConfig = (w) => ({
  modelDim: w.r.int(1, 3),
  numHeads: w.r.int(1, 2),
  latentRank: w.r.int(1, 6),
  nopeDim: w.r.int(1, 2),
  rotaryDim: 2,
  valueDim: w.r.int(1, 2),
  ...w.some({
    queryRank: () => w.r.int(2, 6),
    causal: () => true,
    useBias: () => true,
    weightType: () => w.r.pick(WEIGHT_TYPES),
    rotary: () => ({ interleaved: true })
  })
})

/** Names of state dicts that each layer can be written with. @type {Record<string, string[]>} */
const FAMILIES = {
  MultiHeadAttention: ['torch', 'llama'],
  SelfAttention: ['torch', 'llama'],
  CrossAttention: ['torch', 'llama'],
  TransformerEncoderLayer: ['torch'],
  TransformerDecoderLayer: ['torch'],
  DecoderLayer: ['llama']
}

/**
 * The entries that every layer has. @param {string} name @param {(w: World) => any} config @returns {Record<string,
 * Entry>}
 */
function layerEntries(name, config) {
  const of = (/** @type {World} */ w) => makeLayer(w, name, config)
  return {
    [`new ${name}`]: { of: (w) => w.api[name], isNew: true, args: (w) => [config(w)] },
    [`${name}.config`]: { of, name: 'config', args: () => [] },
    [`${name}.numParameters`]: { of, name: 'numParameters', args: () => [] },
    [`${name}.stateDict`]: {
      of,
      name: 'stateDict',
      args: (w) => (FAMILIES[name] && w.r.chance(0.5) ? [{ names: w.r.pick(FAMILIES[name]) }] : [])
    },
    [`${name}.train`]: { of, name: 'train', args: (w) => [w.r.chance(0.5)] },
    [`${name}.dispose`]: { of, name: 'dispose', args: () => [] },
    [`${name}.loadStateDict`]: {
      of,
      name: 'loadStateDict',
      args(w, layer) {
        const state = layer.stateDict()
        if (w.r.chance(0.5)) return [state]
        const prefixed = Object.fromEntries(Object.entries(state).map(([key, value]) => [`a.b.${key}`, value]))
        const other = {
          ids: { data: w.array('Int32Array', 2, () => w.r.int(-9, 9)), shape: [2] },
          'x.inv_freq': w.tensor([2])
        }
        return [
          w.r.chance(0.5) ? prefixed : { ...prefixed, 'a.b.ids': other.ids, 'a.b.x.inv_freq': other['x.inv_freq'] },
          {
            prefix: w.r.pick(['a.b', 'a.b.']),
            ...w.some({
              strict: () => w.r.chance(0.5),
              rename: () => w.r.pick([{ 'b.c': null }, (/** @type {string} */ name) => name])
            })
          }
        ]
      }
    }
  }
}

/**
 * A method and its asynchronous counterpart. @param {string} name @param {(w: World) => any} of @param {Entry['args']}
 * args
 */
function twins(name, of, args) {
  const last = /** @type {string} */ (name.split('.').pop())
  return {
    [name]: { of, name: last, args },
    [`${name}Async`]: { of, name: `${last}Async`, args: later(args) }
  }
}

/** A function of the API. @param {string} name @param {Entry['args']} args @returns {Record<string, Entry>} */
const call = (name, args) => ({ [name]: { of: (w) => w.api, name, args } })

/** @param {World} w @param {boolean} [hasTwoSets] */
function graph(w, hasTwoSets = false) {
  const numSources = w.r.int(1, 5)
  const numTargets = hasTwoSets ? w.r.int(1, 5) : numSources
  const count = w.r.int(0, 8)
  const source = w.ints(count, 0, numSources - 1)
  const target = w.ints(count, 0, numTargets - 1)
  const counts = hasTwoSets ? { numSources, numTargets } : { numNodes: numSources }
  const ends = w.r.pick([{ source, target }, { edgeIndex: { data: [...source, ...target], shape: [2, count] } }])
  const made = w.keep(w.api.Graph.fromEdges({ ...counts, ...ends }))
  return { graph: made, numSources, numTargets, count }
}

/** @param {World} w */
const fanouts = (w) => w.r.pick([[2], [-1, 1], Int32Array.of(3, 2)])

/** @param {World} w */
const graphConfig = (w) => ({
  inFeatures: w.r.int(1, 4),
  outFeatures: w.r.int(1, 3),
  ...w.some({ useBias: () => false, seed: () => 3 })
})

/** @param {World} w */
const graphHeads = (w) => ({
  ...graphConfig(w),
  ...w.some({
    numHeads: () => w.r.int(1, 3),
    concat: () => w.r.chance(0.5),
    edgeFeatures: () => w.r.int(1, 3),
    dropout: () => 0.3
  })
})

/** Features of two node sets, if any. @param {World} w */
const inFeatures = (w) => w.some({ inFeatures: () => [w.r.int(1, 4), w.r.int(1, 4)] })

/** @type {Record<string, (w: World) => any>} */
const graphLayers = {
  GraphConvolution: (w) => ({
    ...graphConfig(w),
    ...w.r.pick([{ normalize: false }, w.some({ addSelfLoops: () => w.r.chance(0.5), improved: () => true })])
  }),
  GraphSage: (w) => ({
    ...graphConfig(w),
    ...inFeatures(w),
    ...w.some({
      reduce: () => w.r.pick(['sum', 'mean', 'max', 'min']),
      normalize: () => true,
      rootWeight: () => false,
      project: () => true
    })
  }),
  GraphAttention: (w) => ({
    ...graphHeads(w),
    ...inFeatures(w),
    ...w.some({
      version: () => w.r.int(1, 2),
      negativeSlope: () => 0.1,
      addSelfLoops: () => w.r.chance(0.5),
      fillValue: () => w.r.pick(['mean', 0.5]),
      residual: () => true
    })
  }),
  GraphTransformer: (w) => ({ ...graphHeads(w), ...inFeatures(w), ...w.some({ beta: () => true }) })
}

/** @param {World} w @param {any} layer */
function graphCall(w, layer) {
  const { inFeatures, edgeFeatures, numHeads } = layer.config
  const { graph: edges, numSources, numTargets, count } = graph(w, typeof inFeatures !== 'number')
  const options = w.some({ weights: () => true, seed: () => w.r.int(0, 9) })
  if (numHeads === undefined) delete options.weights
  if (numHeads === undefined && 'addSelfLoops' in layer.config && w.r.chance(0.4))
    options.edgeWeight = w.floats(count).map(Math.abs)
  return [
    edges,
    typeof inFeatures === 'number'
      ? w.tensor([numSources, inFeatures])
      : [w.tensor([numSources, inFeatures[0]]), w.tensor([numTargets, inFeatures[1]])],
    { ...options, ...(edgeFeatures && { edgeAttr: w.tensor([count, edgeFeatures]) }) }
  ]
}

/** @param {World} w */
function linearConfig(w) {
  const numHeads = w.r.int(1, 2)
  const featureMap = w.r.pick(['elu', 'relu', 'favor+', undefined])
  return {
    modelDim: numHeads * w.r.int(1, 4),
    ...(numHeads > 1 && { numHeads }),
    ...(featureMap && { featureMap }),
    ...(featureMap === 'favor+' && w.some({ featureDim: () => w.r.int(1, 9), seed: () => 4 }))
  }
}

/** @param {World} w */
const linear = (w) => w.keep(new w.api.LinearAttention(linearConfig(w)))

/** @param {World} w */
function recurrentConfig(w) {
  const kvHeads = w.r.int(1, 2)
  const numHeads = kvHeads * w.r.int(1, 2)
  const rule = w.r.pick(['linear', 'gated', 'delta', 'gated_delta'])
  return { modelDim: numHeads * w.r.int(1, 4), numHeads, kvHeads, rule, ...w.some({ scale: () => 0.5 }) }
}

/** @param {World} w */
const recurrent = (w) => w.keep(new w.api.LinearAttention(recurrentConfig(w)))

/** @param {World} w @param {any} layer @param {number} B @param {number} E */
function recurrentCall(w, layer, B, E) {
  const { modelDim, numHeads, kvHeads: G, rule } = layer.config
  const [L, D] = [w.dim(), modelDim / numHeads]
  const options = {
    ...(rule.startsWith('gated') && { decay: w.tensor([B, L, w.r.pick([G, G * D])]) }),
    ...(rule.endsWith('delta') && { beta: w.tensor([B, L, w.r.pick([G, 1])]) }),
    ...w.some({ state: () => w.tensor([B, G, D, E]), returnState: () => true, causal: () => true })
  }
  // Short keys, with which the delta rules do not amplify rounding errors.
  return [w.tensor([B, L, modelDim]), w.tensor([B, L, G * D], 0.3), w.tensor([B, L, G * E]), options]
}

/** @param {World} w @param {any} layer */
const recurrentForward = (w, layer) => recurrentCall(w, layer, w.r.int(1, 2), w.r.int(1, 3))

/** @param {World} w @param {any} layer @param {number} [S] */
function linearInputs(w, layer, S) {
  const { modelDim, numHeads } = layer.config
  const [B, L] = [w.r.int(1, 2), w.dim()]
  const width = numHeads * w.r.int(1, 3)
  const keys = S ?? w.dim()
  return {
    B,
    L,
    S: keys,
    width,
    inputs: [w.tensor([B, L, modelDim]), w.tensor([B, keys, modelDim]), w.tensor([B, keys, width])]
  }
}

/** @param {World} w @param {any} layer */
function linearCall(w, layer) {
  const { B, L, S, width, inputs } = linearInputs(w, layer)
  const options = {
    causal: () => S === L,
    kvLengths: () => w.ints(B, 0, S),
    out: () => w.array('Float32Array', B * L * width, () => 0, true)
  }
  return [...inputs, w.some(options)]
}

/** @param {World} w */
const hyperbolicConfig = (w) => ({
  curvature: -w.r.next() - 0.1,
  ...w.some({
    manifold: () => w.r.pick(['poincare', 'lorentz', 'hyperboloid']),
    temperature: () => 0.5 + w.r.next(),
    inputs: () => 'tangent'
  })
})

/** @param {World} w */
const hyperbolic = (w) => w.keep(new w.api.HyperbolicAttention(hyperbolicConfig(w)))

/** Points of the space. @param {World} w @param {any} space @param {number[]} rows @param {number} size */
function points(w, space, rows, size) {
  return space.expMap0(w.tensor([...rows, size], 0.2))
}

/** @param {World} w @param {any} space */
function hyperbolicCall(w, space) {
  const [B, L, S, D] = [w.dim(), w.dim(), w.dim(), w.r.int(1, 4)]
  const take = (/** @type {number} */ rows) =>
    space.config.inputs === 'tangent' ? w.tensor([B, rows, D], 0.2) : points(w, space, [B, rows], D)
  const inputs = [take(L), take(S), take(S)]
  const width = inputs[0].shape[2]
  const options = {
    ...masks(w, { B, H: 1, L, S, is3D: true }),
    ...offset(w, B),
    weights: () => true,
    out: () => w.array('Float32Array', B * L * width, () => 0, true)
  }
  return [...inputs, w.some(options)]
}

/** @param {string} name @param {(w: World, space: any) => any[]} args @returns {Record<string, Entry>} */
const geometry = (name, args) => ({ [`HyperbolicAttention.${name}`]: { of: hyperbolic, name, args } })

/** @param {World} w @param {any} space */
const pair = (w, space) => {
  const [rows, size] = [w.r.int(1, 4), w.r.int(1, 4)]
  return [points(w, space, [rows], size), points(w, space, [rows], size)]
}

/** @param {World} w */
function cache(w) {
  const config = { kvHeads: w.r.int(1, 2), headDim: w.r.int(1, 4), capacity: w.r.int(1, 12) }
  const made = w.keep(
    new w.api.KVCache({
      ...config,
      ...w.some({
        batch: () => w.r.int(1, 2),
        valueDim: () => w.r.int(1, 4),
        window: () => w.r.int(1, 2 * config.capacity)
      })
    })
  )
  const steps = w.r.int(0, 3)
  for (let step = 0; step < steps; step++) {
    try {
      made.append(...appendCall(w, made))
    } catch {
      // The cache is full.
    }
  }
  return made
}

/** @param {World} w @param {any} made */
function appendCall(w, made) {
  const { batch, kvHeads, headDim, valueDim } = made.config
  const count = w.r.int(0, 4)
  const block = [w.tensor([batch, kvHeads, count, headDim]), w.tensor([batch, kvHeads, count, valueDim])]
  return w.r.chance(0.3) ? [...block, { lengths: w.ints(batch, 0, count) }] : block
}

/** @param {World} w @param {any} made */
function attendCall(w, made) {
  const { batch: B, kvHeads, headDim, valueDim } = made.config
  const [H, L] = [kvHeads * w.r.int(1, 2), w.r.int(0, Math.max(1, made.length))]
  const dims = {
    B,
    H,
    L,
    S: made.length,
    inputs: [],
    layout: undefined,
    is3D: false,
    outputLength: B * H * L * valueDim
  }
  return [
    w.tensor([B, H, L, headDim]),
    attentionOptions(w, /** @type {any} */ (dims), ['queryOffset', 'kvLengths', 'relativeBias'])
  ]
}

/** Entries that are not floats of 32 bits. @param {World} w */
const entriesOfOtherTypes = (w) =>
  w.some({
    ids: () => ({ data: w.array('Int32Array', 2, () => w.r.int(-9, 9)), shape: [2] }),
    flags: () => ({ data: w.array('Uint8Array', 3, () => w.r.int(0, 2)), shape: [3, 1] }),
    half: () => ({ type: w.r.pick(['f16', 'bf16']), data: Uint16Array.of(w.r.int(0, 65535)), shape: [] })
  })

/** Selects the entries of a file to read. @param {World} w */
const selection = (w) =>
  w.some({
    prefix: () => w.r.pick(['a', 'a.', 'c']),
    filter: () => (/** @type {string} */ name) => name.length < 4,
    unsupported: () => w.r.pick(['throw', 'skip'])
  })

/** A weights file to open, which is sometimes corrupted or returns fewer bytes. @param {World} w */
function source(w) {
  const bytes = file(w)
  const missing = w.r.pick([0, 0, 0, 1])
  return w.r.pick([
    () => new Blob([bytes]),
    () => ({
      size: bytes.length,
      read: async (/** @type {number} */ offset, /** @type {number} */ length) =>
        bytes.slice(offset, offset + length - missing)
    })
  ])()
}

/** Reads the selected entries of a file. @param {World} w @param {unknown} source @param {unknown} [options] */
async function readFile(w, source, options) {
  const file = await w.api.openSafetensors(source)
  return file.stateDict(options)
}

/** A weights file, sometimes corrupted. @param {World} w */
function file(w) {
  const state = { 'a.x': w.tensor([2, 3]), 'a.y': w.tensor([w.dim()]), b: w.tensor([]), ...entriesOfOtherTypes(w) }
  const bytes = w.api.saveSafetensors(state, w.r.chance(0.3) ? { format: 'pt' } : undefined)
  const count = w.r.pick([0, 0, 1, 2, 8])
  for (let change = 0; change < count; change++) {
    const at = w.r.int(0, Math.min(bytes.length - 1, 160))
    bytes[at] = w.r.chance(0.5)
      ? w.r.int(0, 255)
      : /** @type {number} */ ('{}[]":,0123456789-.eaFB'.codePointAt(w.r.int(0, 22)))
  }
  const cut = w.r.chance(0.2) ? bytes.subarray(0, w.r.int(0, bytes.length)) : bytes
  w.track(cut.buffer)
  return cut
}

/** @param {World} w */
function parts(w) {
  const dims = attention(w)
  const options = { logSumExp: true, ...(dims.layout && { layout: dims.layout }) }
  return [
    Array.from({ length: w.r.int(1, 3) }, () => w.api.scaledDotProductAttention(...dims.inputs, options)),
    ...(dims.layout ? [{ layout: dims.layout }] : [])
  ]
}

/** @param {World} w */
const batches = (w) => new w.api.BatchProcessor(w.r.chance(0.5) ? { concurrency: w.r.int(1, 4) } : undefined)

/** @param {World} w */
function batchCall(w) {
  const inputs = Array.from({ length: w.r.int(0, 5) }, (_, at) => w.tensor([1, at, 2]))
  const failing = w.r.chance(0.3) ? w.r.int(0, 5) : -1
  const job = async (/** @type {any} */ x, /** @type {any} */ options) => {
    if (inputs.indexOf(x) === failing) throw w.error('job')
    return w.api.scaledDotProductAttentionAsync(x, x, x, options)
  }
  const source = w.r.pick([
    () => inputs,
    () => new Set(inputs),
    function* () {
      yield* inputs
    },
    async function* () {
      yield* inputs
    }
  ])
  return [source(), job, watch(w)]
}

/** Reads a stream to its end, or leaves early. @param {World} w @param {any[]} args */
async function readStream(w, args) {
  const found = []
  const most = w.r.chance(0.3) ? w.r.int(0, 3) : Infinity
  for await (const { output } of batches(w).stream(.../** @type {[any, any]} */ (args))) {
    found.push(output)
    if (found.length > most) break
  }
  return found
}

/** The same inputs as bare arrays with shapes. @param {readonly any[]} tensors */
const bare = (tensors) => [...tensors.map(({ data }) => data), ...tensors.map(({ shape }) => shape)]

/** @param {World} w */
const plan = (w) => createCompat(w.api)

/** @param {World} w */
const compat = (w) => plan(w).ruVector

/** @param {World} w @param {{ L: number, S: number }} dims */
const compatMask = (w, { L, S }) =>
  w.r.pick([
    [],
    ['none'],
    ['causal'],
    ['padding'],
    [null],
    [w.floats(L * S)],
    [w.array('Uint8Array', L * S, () => w.r.int(0, 1))]
  ])

/** @param {string} name @param {(w: World) => any} of @param {(w: World, target: any) => any[]} args */
const compatTwins = (name, of, args) => {
  const [method] = name.split('.').slice(-1)
  return {
    [`compat ${name}`]: { of, name: method, args },
    [`compat ${name}Async`]: { of, name: `${method}Async`, args }
  }
}

/** @param {World} w */
function compatAttention(w) {
  const dims = attention(w, { G: 1, H: 1, D: 4, E: 4 })
  const tensors = dims.inputs.map(({ data, shape }) => ({ data, shape: [shape[0], ...shape.slice(-2)] }))
  return [
    ...bare(tensors.map((tensor, at) => ({ ...tensor, shape: [dims.B, at === 0 ? dims.L : dims.S, 4] }))),
    ...compatMask(w, dims)
  ]
}

/** @param {World} w @returns {any[]} */
function compatMultiHead(w) {
  const [B, L, S] = [w.dim(), w.dim(), w.dim()]
  const arrays = [w.tensor([B, L, 4]), w.tensor([B, S, 4]), w.tensor([B, S, 4])].map(({ data }) => data)
  return [...arrays, [B, L, S, 4], ...compatMask(w, { L, S })]
}

/** @param {World} w */
function compatBatch(w) {
  const [query, key, value, shape, mask] = compatMultiHead(w)
  const input = { config: compatHeads, query, key, value, shape, mask }
  return [w.r.pick([[], [input], [input, input]]), { batchSize: w.r.int(1, 3), async: w.r.pick([true, false]) }]
}

/** @param {World} w */
const compatSelf = (w) => {
  const [B, L] = [w.dim(), w.dim()]
  return [...bare([w.tensor([B, L, 4])]), ...compatMask(w, { L, S: L })]
}

const compatHeads = { numHeads: 2, headDim: 2 }

/** @param {World} w */
const compatCross = (w) => {
  const [query, key, value, [B, L, S], ...mask] = compatMultiHead(w)
  return [query, key, value, [B, L, 4], [B, S, 4], ...mask]
}

/** @param {World} w */
const compatKeys = (w) => {
  const [B, L, S] = [w.dim(), w.dim(), w.dim()]
  return [...bare([w.tensor([B, L, 4]), w.tensor([B, S, 4])]), ...compatMask(w, { L, S })]
}

/** @param {World} w */
const plotWeights = (w) => {
  const tensor = w.tensor([w.r.int(1, 3), w.r.int(0, 6), w.r.int(0, 6)])
  for (let at = 0; at < tensor.data.length; at++) tensor.data[at] = Math.abs(tensor.data[at])
  w.track(tensor.data.buffer)
  return tensor
}

/** @param {World} w @param {any} weights */
const heatmapOptions = (w, weights) => {
  const [, L, S] = weights.shape
  const labels = (/** @type {number} */ count) =>
    Array.from({ length: count }, (_, at) => w.r.pick([`t${at}`, null, '<&"', '\u0007', 'é']))
  return w.some({
    queryLabels: () => labels(L),
    keyLabels: () => labels(S),
    head: () => 0,
    reduce: () => w.r.pick(['sum', 'mean', 'max']),
    range: () => [0, 1],
    scale: () => w.r.pick(['sqrt', 'linear']),
    title: () => 'A < B',
    maxCells: () => w.r.int(1, 20)
  })
}

/** @param {World} w */
function edges(w) {
  const numNodes = w.r.int(0, 5)
  const count = numNodes && w.r.int(0, 6)
  return { numNodes, source: w.ints(count, 0, numNodes - 1), target: w.ints(count, 0, numNodes - 1) }
}

/** @param {World} w */
function convolution(w) {
  const [B, C, L, K] = [w.dim(), w.dim(), w.dim(), w.r.int(1, 4)]
  const options = {
    bias: () => w.tensor([C]),
    state: () => w.tensor([B, C, K - 1]),
    activation: () => w.r.pick(['none', 'silu'])
  }
  return [w.tensor([B, C, L]), w.tensor([C, 1, K]), w.some(options)]
}

/** Two tensors whose shapes broadcast. @param {World} w */
function broadcastPair(w) {
  const shape = [w.dim(), w.dim(), w.dim()]
  const part = () => shape.map((dim) => (w.r.chance(0.3) ? 1 : dim)).slice(w.r.int(0, 2))
  return [w.tensor(part()), w.tensor(part())]
}

/** Indices below `end` in every accepted form. @param {World} w @param {number} end */
function indices(w, end) {
  const data = w.ints(w.r.int(0, 4), 0, end - 1)
  return w.r.pick([data, [...data], { data, shape: [1, data.length] }])
}

/** @param {World} w */
const denseConfig = (w) => ({
  inFeatures: w.r.int(1, 4),
  outFeatures: w.r.int(1, 4),
  ...w.some({
    useBias: () => w.r.chance(0.5),
    weightType: () => w.r.pick(WEIGHT_TYPES),
    seed: () => w.r.int(0, 99)
  })
})

/** @param {World} w */
const embeddingConfig = (w) => ({
  numEmbeddings: w.r.int(1, 5),
  embeddingDim: w.r.int(1, 4),
  ...w.some({ weightType: () => w.r.pick(WEIGHT_TYPES), seed: () => w.r.int(0, 99) })
})

/**
 * `forward` without options, and its asynchronous twin.
 *
 * @param {'Linear' | 'Embedding'} name
 * @param {(w: World) => any} config
 * @param {Entry['args']} args
 * @returns {Record<string, Entry>}
 */
function rowTwins(name, config, args) {
  const of = (/** @type {World} */ w) => makeLayer(w, name, config)
  return {
    [`${name}.forward`]: { of, name: 'forward', args },
    [`${name}.forwardAsync`]: { of, name: 'forwardAsync', args: (w, layer) => [...args(w, layer), watch(w)] }
  }
}

const WEIGHT_TYPES = /** @type {const} */ (['f32', 'f16', 'bf16', 'q8_0'])

/** Weights of any type. @param {World} w @param {number[]} shape */
function anyWeight(w, shape) {
  const weight = w.api.convert(w.tensor(shape), w.r.pick(WEIGHT_TYPES))
  w.track(weight.data.buffer)
  return weight
}

/** @param {World} w */
function topK(w) {
  const [D, N] = [w.dim(), w.r.int(1, 6)]
  const options = w.some({ metric: () => w.r.pick(['dot', 'cosine', 'euclidean']) })
  return [w.tensor([w.dim(), D]), anyWeight(w, [N, D]), w.r.int(1, N), options]
}

/** A graph with the methods of graphology. @param {World} w */
function graphologyGraph(w) {
  const { numNodes, source, target } = edges(w)
  return {
    forEachNode: (/** @type {any} */ visit) => Array.from({ length: numNodes }, (_, at) => visit(`n${at}`)),
    forEachEdge: (/** @type {any} */ visit) =>
      source.forEach((from, at) => visit(`e${at}`, { w: 1 }, `n${from}`, `n${target[at]}`, {}, {}, at % 2 === 0))
  }
}

/** @type {Record<string, Entry>} */
export const entries = {
  ...call('createTensor', (w) => [
    w.r.pick([w.floats(6), [1, 2, 3, 4, 5, 6], { ...[1, 2, 3, 4, 5, 6], length: 6 }]),
    w.r.pick([[6], [2, 3]])
  ]),
  ...call('reshape', (w) => [w.tensor([2, 3]), w.r.pick([[6], [3, 2], [1, 6, 1]])]),
  ...call('backend', () => []),
  ...call('memoryUsage', () => []),
  ...call('scaledDotProductAttention', (w) => attentionCall(w)),
  ...call(
    'scaledDotProductAttentionAsync',
    later((w) => attentionCall(w))
  ),
  ...call('attentionWeights', (w) => {
    const dims = attention(w)
    const [q, k] = dims.inputs
    const length = dims.B * dims.H * dims.L * dims.S
    const options = attentionOptions(w, { ...dims, outputLength: length }, ['weights', 'topWeights', 'logSumExp'])
    return [q, k, { ...options, ...w.some({ stage: () => w.r.pick(['scores', 'softcapped', 'biased', 'weights']) }) }]
  }),
  ...call('rotaryEmbedding', (w) => {
    const [B, H, L] = [w.dim(), w.dim(), w.dim()]
    const D = 2 * w.r.int(1, 3)
    const options = {
      positions: () => w.ints(w.r.chance(0.5) ? L : B * L, 0, 99),
      base: () => 100,
      interleaved: () => w.r.chance(0.5),
      dim: () => 2,
      scale: () => w.r.next(),
      factor: () => w.r.next(),
      length: () => w.r.int(1, 99),
      layout: () => 'bhld'
    }
    const chosen = w.r.chance(0.5) ? w.some(options) : { positions: options.positions(), ...scalings(w, D) }
    return [w.tensor([B, H, L, D]), chosen]
  }),
  ...call('rotaryFrequencies', (w) => {
    const D = 2 * w.r.int(2, 5)
    return [{ ...(w.r.chance(0.5) ? { headDim: D } : { dim: D }), ...scalings(w, D) }]
  }),
  ...call('causalConvolution', convolution),
  ...call('causalConvolutionAsync', later(convolution)),
  ...call('mergeAttention', parts),
  ...call('softmax', (w) => [w.tensor(w.r.pick([[], [w.dim()], [w.dim(), w.dim()], [2, w.dim(), 3, 1]]))]),
  ...call('linear', (w) => {
    const [n, from, to] = [w.dim(), w.dim(), w.dim()]
    return [w.tensor([n, from]), anyWeight(w, [to, from]), ...w.r.pick([[], [null], [w.tensor([to])]])]
  }),
  ...call('layerNorm', (w) => {
    const M = w.dim()
    return [
      w.tensor([w.dim(), M]),
      w.some({ weight: () => w.tensor([M]), bias: () => w.tensor([M]), epsilon: () => 1e-3 })
    ]
  }),
  ...call('rmsNorm', (w) => {
    const M = w.dim()
    return [w.tensor([w.dim(), M]), w.some({ weight: () => w.tensor([M]), epsilon: () => 1e-3 })]
  }),
  ...call('gelu', (w) => [w.tensor([w.dim(), w.dim()]), w.some({ approximate: () => w.r.pick(['none', 'tanh']) })]),
  ...Object.assign(
    {},
    ...['silu', 'relu', 'tanh', 'sigmoid', 'elu'].map((name) => call(name, (w) => [w.tensor([w.dim(), w.dim()])])),
    ...['add', 'multiply'].map((name) => call(name, broadcastPair))
  ),
  ...call('transpose', (w) => [w.tensor([w.dim(), w.dim(), w.dim()]), ...w.r.pick([[], [[2, 0, 1]], [[0, -1, 1]]])]),
  ...call('concat', (w) => {
    const [first, last] = [w.dim(), w.dim()]
    return [[w.tensor([first, w.dim(), last]), w.tensor([first, w.dim(), last])], 1]
  }),
  ...call('unfold', (w) => [
    w.r.pick([w.tensor([w.dim(), w.dim(), 5]), w.tensor([w.dim(), w.dim(), 5, 4])]),
    { kernel: w.r.int(1, 3), ...w.some({ stride: () => w.r.int(1, 3), padding: () => w.r.int(0, 2) }) }
  ]),
  ...call('embedding', (w) => [anyWeight(w, [4, w.dim()]), indices(w, 4)]),
  ...call('convert', (w) => [anyWeight(w, [w.dim(), w.dim()]), w.r.pick(WEIGHT_TYPES)]),
  ...call('topK', topK),
  ...call('topKAsync', later(topK)),
  ...call('meanPool', (w) => {
    const [B, L, M] = [w.dim(), w.dim(), w.dim()]
    return [w.tensor([B, L, M]), w.some({ lengths: () => w.ints(B, 0, L), normalize: () => w.r.chance(0.5) })]
  }),
  ...call('alibiBias', (w) => [w.r.int(1, 9), w.r.int(0, 5), ...w.r.pick([[], [w.r.int(0, 5), { symmetric: true }]])]),
  ...call('relativePositionBias', (w) => [
    w.tensor([8, w.r.int(0, 3)]),
    w.r.int(0, 5),
    w.r.int(0, 5),
    { maxDistance: 9 }
  ]),
  ...call('createCausalMask', (w) => [w.r.int(0, 5), ...w.r.pick([[], [w.r.int(0, 5)]])]),
  ...call('createPaddingMask', (w) => [w.r.pick([w.ints(3, 0, 4), [1, 2, 0]]), 4]),
  ...call('computeStats', (w) => [w.r.pick([w.tensor([w.dim(), 2]), w.floats(w.dim())])]),
  ...call('normalize', (w) => [w.tensor([w.dim(), w.dim()]), w.some({ epsilon: () => 1e-3 })]),
  ...call('propagate', (w) => {
    const { graph: made, numSources, count } = graph(w, w.r.chance(0.3))
    return [
      made,
      w.tensor([numSources, w.dim()]),
      w.some({
        reduce: () => w.r.pick(['sum', 'mean', 'max', 'min']),
        edgeWeight: () => w.r.pick([w.floats(count), w.tensor([count]), w.tensor([count, 1])])
      })
    ]
  }),
  ...call('edgeSoftmax', (w) => {
    const { graph: made, count } = graph(w)
    return [made, w.tensor(w.r.pick([[count], [count, w.dim()]]))]
  }),
  ...call('loadSafetensors', (w) => [
    w.r.pick([file, (/** @type {World} */ w) => file(w).slice().buffer])(w),
    ...w.r.pick([[], [{ ...selection(w), ...w.some({ halves: () => w.r.pick(['widen', 'keep']) }) }]])
  ]),
  ...call('openSafetensors', (w) => [source(w), ...w.r.pick([[], [{}], [{ halves: 'keep' }], [{ halves: 'widen' }]])]),
  'SafetensorsFile.stateDict': {
    of: () => readFile,
    args: (w) => [w, source(w), ...w.r.pick([[], [selection(w)]])]
  },
  ...call('saveSafetensors', (w) => [
    { x: w.tensor([2, w.dim()]), 'y.z': w.tensor([w.dim()]), ...entriesOfOtherTypes(w) },
    ...w.r.pick([[], [null], [{ a: 'b' }]])
  ]),

  'new PerformanceMonitor': { of: (w) => w.api.PerformanceMonitor, isNew: true, args: () => [] },
  'PerformanceMonitor.mark': { of: (w) => new w.api.PerformanceMonitor(), name: 'mark', args: () => ['a'] },
  'PerformanceMonitor.measure': {
    of(w) {
      const monitor = new w.api.PerformanceMonitor()
      monitor.mark('a')
      return { measure: (/** @type {any[]} */ ...args) => typeof monitor.measure(.../** @type {[string]} */ (args)) }
    },
    name: 'measure',
    args: (w) => w.r.pick([['a'], ['a', 'a']])
  },
  'PerformanceMonitor.clear': { of: (w) => new w.api.PerformanceMonitor(), name: 'clear', args: () => [] },

  'new ScaledDotProductAttention': {
    of: (w) => w.api.ScaledDotProductAttention,
    isNew: true,
    args: (w) => [w.r.int(1, 8), w.some({ dropout: () => 0.5, scale: () => 0.5, seed: () => 1 })]
  },
  ...twins(
    'ScaledDotProductAttention.forward',
    (w) => new w.api.ScaledDotProductAttention(4, w.some({ scale: () => 0.5 })),
    (w) => attentionCall(w, [], { D: 4 })
  ),
  'ScaledDotProductAttention.attentionWeights': {
    of: (w) => new w.api.ScaledDotProductAttention(4),
    name: 'attentionWeights',
    args: (w) => {
      const dims = attention(w, { D: 4 })
      return [dims.inputs[0], dims.inputs[1], attentionOptions(w, dims, ['weights', 'topWeights', 'logSumExp', 'out'])]
    }
  },
  'ScaledDotProductAttention.headDim': {
    of: (w) => new w.api.ScaledDotProductAttention(4),
    name: 'headDim',
    args: () => []
  },
  'ScaledDotProductAttention.scale': {
    of: (w) => new w.api.ScaledDotProductAttention(4),
    name: 'scale',
    args: () => []
  },
  'new FlashAttention': {
    of: (w) => w.api.FlashAttention,
    isNew: true,
    args: (w) => [w.r.int(1, 8), w.some({ blockSize: () => w.r.int(1, 9) })]
  },
  ...twins(
    'FlashAttention.forward',
    (w) => new w.api.FlashAttention(4, { blockSize: w.r.int(1, 5) }),
    (w) => attentionCall(w, ['weights'], { D: 4 })
  ),
  'FlashAttention.headDim': { of: (w) => new w.api.FlashAttention(4), name: 'headDim', args: () => [] },
  'FlashAttention.blockSize': { of: (w) => new w.api.FlashAttention(4), name: 'blockSize', args: () => [] },

  'new Layer': { of: (w) => w.api.Layer, isNew: true, isAbstract: true, args: () => [{}] },
  ...Object.fromEntries(
    /** @type {const} */ ([
      ['MultiHeadAttention', crossConfig],
      ['SelfAttention', layerConfig],
      ['CrossAttention', (/** @type {World} */ w) => ({ ...layerConfig(w), kDim: 3 })],
      ['TransformerEncoderLayer', encoderConfig],
      ['DecoderLayer', decoderConfig],
      ['TransformerDecoderLayer', transformerDecoderConfig],
      ['LatentAttention', latentConfig]
    ]).map(([name, config]) => [
      `${name}.createCache`,
      {
        of: (/** @type {World} */ w) => makeLayer(w, name, config),
        name: 'createCache',
        args: (/** @type {World} */ w) => [{ capacity: w.r.int(1, 8), ...w.some({ batch: () => 2, window: () => 1 }) }]
      }
    ])
  ),
  ...layerEntries('MultiHeadAttention', crossConfig),
  ...twins('MultiHeadAttention.forward', (w) => makeLayer(w, 'MultiHeadAttention', crossConfig), multiCall),
  ...layerEntries('SelfAttention', layerConfig),
  ...twins('SelfAttention.forward', (w) => makeLayer(w, 'SelfAttention', layerConfig), selfCall),
  ...layerEntries('CrossAttention', (w) => ({ ...layerConfig(w), kDim: 3 })),
  ...twins(
    'CrossAttention.forward',
    (w) => makeLayer(w, 'CrossAttention', (w) => ({ ...layerConfig(w), kDim: 3 })),
    crossCall
  ),
  ...layerEntries('TransformerEncoderLayer', encoderConfig),
  ...twins('TransformerEncoderLayer.forward', (w) => makeLayer(w, 'TransformerEncoderLayer', encoderConfig), selfCall),
  ...layerEntries('DecoderLayer', decoderConfig),
  ...twins('DecoderLayer.forward', (w) => makeLayer(w, 'DecoderLayer', decoderConfig), selfCall),
  ...layerEntries('TransformerDecoderLayer', transformerDecoderConfig),
  ...twins(
    'TransformerDecoderLayer.forward',
    (w) => makeLayer(w, 'TransformerDecoderLayer', transformerDecoderConfig),
    contextCall
  ),
  ...layerEntries('LatentAttention', latentConfig),
  ...twins('LatentAttention.forward', (w) => makeLayer(w, 'LatentAttention', latentConfig), latentCall),
  ...layerEntries('Linear', denseConfig),
  ...rowTwins('Linear', denseConfig, (w, { config }) => [w.tensor([w.dim(), config.inFeatures])]),
  ...layerEntries('Embedding', embeddingConfig),
  ...rowTwins('Embedding', embeddingConfig, (w, { config }) => [indices(w, config.numEmbeddings)]),

  'new KVCache': {
    of: (w) => w.api.KVCache,
    isNew: true,
    args: (w) => [
      { kvHeads: 1, headDim: 2, capacity: 4, ...w.some({ window: () => 2, batch: () => 2, valuesInKeys: () => true }) }
    ]
  },
  'KVCache.append': { of: cache, name: 'append', args: appendCall },
  'KVCache.attend': { of: cache, name: 'attend', args: attendCall },
  'KVCache.truncate': { of: cache, name: 'truncate', args: (w, made) => [w.r.int(0, made.length)] },
  'KVCache.reorder': {
    of: cache,
    name: 'reorder',
    args: (w, made) => [w.ints(made.config.batch, 0, made.config.batch - 1)]
  },
  'KVCache.clone': { of: (w) => cache(w), name: 'clone', args: () => [] },
  'KVCache.read': { of: cache, name: 'read', args: (w) => [w.some({ layout: () => 'blhd' })] },
  'KVCache.lengths': { of: cache, name: 'lengths', args: () => [] },
  'KVCache.length': { of: cache, name: 'length', args: () => [] },
  'KVCache.capacity': { of: cache, name: 'capacity', args: () => [] },
  'KVCache.config': { of: cache, name: 'config', args: () => [] },
  'KVCache.dispose': { of: cache, name: 'dispose', args: () => [] },

  'new LinearAttention': { of: (w) => w.api.LinearAttention, isNew: true, args: (w) => [linearConfig(w)] },
  ...twins('LinearAttention.forward', linear, linearCall),
  'LinearAttention.forward recurrent': { of: recurrent, name: 'forward', args: recurrentForward },
  'LinearAttention.forwardAsync recurrent': { of: recurrent, name: 'forwardAsync', args: later(recurrentForward) },
  'LinearAttention.featureMap': {
    of: linear,
    name: 'featureMap',
    args: (w, layer) => [w.tensor([w.dim(), w.dim(), layer.config.modelDim])]
  },
  'LinearAttention.featureDim': { of: linear, name: 'featureDim', args: () => [] },
  'LinearAttention.config': { of: linear, name: 'config', args: () => [] },
  'LinearAttention.stream': {
    of: linear,
    name: 'stream',
    args: (w) => [w.some({ batch: () => 2, valueDim: () => 3 })]
  },
  'LinearAttention.dispose': { of: linear, name: 'dispose', args: () => [] },
  'LinearStream.step': {
    of: (w) => {
      const layer = linear(w)
      return Object.assign(w.keep(layer.stream({ batch: 1, valueDim: 2 })), { layer })
    },
    name: 'step',
    args(w, { layer }) {
      const { modelDim, numHeads } = layer.config
      const L = w.dim()
      return [w.tensor([1, L, modelDim]), w.tensor([1, L, modelDim]), w.tensor([1, L, 2 * numHeads])]
    }
  },
  'LinearStream.step recurrent': {
    of: (w) => {
      const layer = recurrent(w)
      return Object.assign(w.keep(layer.stream({ batch: 1, valueDim: 2 })), { layer })
    },
    name: 'step',
    args: (w, { layer }) => recurrentCall(w, layer, 1, 2)
  },
  'LinearStream.reset': { of: (w) => w.keep(linear(w).stream()), name: 'reset', args: () => [] },
  'LinearStream.dispose': { of: (w) => linear(w).stream(), name: 'dispose', args: () => [] },

  'new HyperbolicAttention': { of: (w) => w.api.HyperbolicAttention, isNew: true, args: (w) => [hyperbolicConfig(w)] },
  ...twins('HyperbolicAttention.forward', hyperbolic, hyperbolicCall),
  'HyperbolicAttention.config': { of: hyperbolic, name: 'config', args: () => [] },
  'HyperbolicAttention.curvature': { of: hyperbolic, name: 'curvature', args: () => [] },
  'HyperbolicAttention.dispose': { of: hyperbolic, name: 'dispose', args: () => [] },
  ...geometry('distance', pair),
  ...geometry('distanceMatrix', pair),
  ...geometry('projectToBall', (w, space) => pair(w, space).slice(1)),
  ...geometry('expMap', (w, space) => {
    const [base, point] = pair(w, space)
    return [base, space.logMap(base, point)]
  }),
  ...geometry('logMap', pair),
  ...geometry('expMap0', (w) => [w.tensor([w.dim(), w.r.int(1, 4)], 0.2)]),
  ...geometry('logMap0', (w, space) => pair(w, space).slice(1)),
  ...geometry('mobiusAdd', pair),
  ...geometry('mobiusScale', (w, space) => [w.r.normal(), pair(w, space)[0]]),
  ...geometry('parallelTransport', (w, space) => {
    const [from, to] = pair(w, space)
    return [from, to, space.logMap(from, to)]
  }),
  ...geometry('midpoint', (w, space) => {
    const [given] = pair(w, space)
    const weights = w.tensor([2, given.shape[0]])
    weights.data.forEach((value, at) => (weights.data[at] = Math.abs(value)))
    w.track(weights.data.buffer)
    return w.r.pick([[given], [given, weights]])
  }),
  ...geometry('toLorentz', (w) => [w.tensor([w.dim(), w.r.int(1, 4)], 0.05)]),
  ...geometry('toPoincare', (w, space) => [space.toLorentz(w.tensor([w.dim(), w.r.int(1, 4)], 0.05))]),

  'new Graph': { of: (w) => w.api.Graph, isNew: true, isAbstract: true, args: () => [] },
  'Graph.fromEdges': { of: (w) => w.api.Graph, name: 'fromEdges', args: (w) => [edges(w)] },
  'Graph.inDegrees': { of: (w) => graph(w).graph, name: 'inDegrees', args: () => [] },
  'Graph.reverse': { of: (w) => graph(w).graph, name: 'reverse', args: () => [] },
  'Graph.numNodes': { of: (w) => graph(w).graph, name: 'numNodes', args: () => [] },
  'Graph.numSources': { of: (w) => graph(w).graph, name: 'numSources', args: () => [] },
  'Graph.numTargets': { of: (w) => graph(w, true).graph, name: 'numTargets', args: () => [] },
  'new NeighborSampler': {
    of: (w) => w.api.NeighborSampler,
    isNew: true,
    args: (w) => [graph(w).graph, { fanouts: fanouts(w), ...w.some({ seed: () => 5, replace: () => true }) }]
  },
  'NeighborSampler.sample': {
    of: (w) => new w.api.NeighborSampler(graph(w).graph, { fanouts: fanouts(w) }),
    name: 'sample',
    args: () => [[0]]
  },
  'Graph.numEdges': { of: (w) => graph(w).graph, name: 'numEdges', args: () => [] },
  'Graph.dispose': { of: (w) => graph(w).graph, name: 'dispose', args: () => [] },
  'new GraphLayer': {
    of: (w) => w.api.GraphLayer,
    isNew: true,
    isAbstract: true,
    args: () => [{ inFeatures: 1, outFeatures: 1 }]
  },
  ...Object.fromEntries(
    Object.entries(graphLayers).flatMap(([name, config]) =>
      Object.entries({
        ...layerEntries(name, config),
        ...twins(`${name}.forward`, (w) => makeLayer(w, name, config), graphCall)
      })
    )
  ),

  'new BatchProcessor': {
    of: (w) => w.api.BatchProcessor,
    isNew: true,
    args: (w) => [w.some({ concurrency: () => w.r.int(1, 4) }, 0.7)]
  },
  'BatchProcessor.concurrency': { of: batches, name: 'concurrency', args: () => [] },
  'BatchProcessor.process': { of: batches, name: 'process', args: batchCall },
  'BatchProcessor.stream': {
    of: (w) => ({ stream: (/** @type {any[]} */ ...args) => readStream(w, args) }),
    name: 'stream',
    args: batchCall
  },
  'new BatchError': {
    of: (w) => w.api.BatchError,
    isNew: true,
    isPlain: true,
    args: () => [[{ status: 'rejected', reason: 1 }]]
  },
  'new AttentionError': {
    of: (w) => w.api.AttentionError,
    isNew: true,
    isPlain: true,
    args: () => ['SHAPE', { argument: 'a' }]
  },

  ...compatTwins('ScaledDotProduct.forward', (w) => compat(w).createScaledDotProduct(4, 0), compatAttention),
  ...compatTwins('Flash.forward', (w) => compat(w).createFlash(4, 3), compatAttention),
  ...compatTwins(
    'Linear.forward',
    (w) => /** @type {any} */ (compat(w)).createLinear(4),
    (w) => compatAttention(w).slice(0, 6)
  ),
  ...compatTwins(
    'Hyperbolic.forward',
    (w) => compat(w).createHyperbolic(/** @type {any} */ ({ curvature: -1 })),
    compatAttention
  ),
  ...compatTwins('MultiHead.forward', (w) => w.keep(compat(w).createMultiHead(compatHeads)), compatMultiHead),
  ...compatTwins('Cross.forward', (w) => w.keep(compat(w).createCross(compatHeads)), compatCross),
  ...compatTwins('Self.forward', (w) => w.keep(compat(w).createSelf(compatHeads)), compatSelf),
  'compat createScaledDotProduct': { of: compat, name: 'createScaledDotProduct', args: () => [4, 0.5] },
  'compat createMultiHead': { of: compat, name: 'createMultiHead', args: (w) => [layerConfig(w)] },
  'compat createCross': { of: compat, name: 'createCross', args: (w) => [layerConfig(w)] },
  'compat createSelf': { of: compat, name: 'createSelf', args: (w) => [layerConfig(w)] },
  'compat createHyperbolic': { of: compat, name: 'createHyperbolic', args: () => [{ curvature: -1, numHeads: 1 }] },
  'compat createLinear': { of: compat, name: 'createLinear', args: (w) => w.r.pick([[4], [4, 8]]) },
  'compat createFlash': { of: compat, name: 'createFlash', args: (w) => w.r.pick([[4], [4, 8]]) },
  'compat getMemoryUsage': { of: compat, name: 'getMemoryUsage', args: () => [] },
  'compat ScaledDotProduct.attentionWeights': {
    of: (w) => compat(w).createScaledDotProduct(4, 0),
    name: 'attentionWeights',
    args: compatKeys
  },
  'compat Hyperbolic.distance': {
    of: (w) => compat(w).createHyperbolic(/** @type {any} */ ({ curvature: -1 })),
    name: 'distance',
    args: (w) => [w.tensor([3], 0.1).data, w.tensor([3], 0.1).data]
  },
  'compat Hyperbolic.distanceMatrix': {
    of: (w) => compat(w).createHyperbolic(/** @type {any} */ ({ curvature: -1 })),
    name: 'distanceMatrix',
    args: (w) => bare([w.tensor([2, 3], 0.1), w.tensor([4, 3], 0.1)])
  },
  'compat Hyperbolic.projectToBall': {
    of: (w) => compat(w).createHyperbolic(/** @type {any} */ ({ curvature: -1 })),
    name: 'projectToBall',
    args: (w) => [w.floats(3), ...w.r.pick([[], [[1, 3]]])]
  },
  'compat Linear.featureMap': {
    of: (w) => /** @type {any} */ (compat(w)).createLinear(4),
    name: 'featureMap',
    args: (w) => [w.floats(8), ...w.r.pick([[], [[1, 2, 4]], [Uint32Array.of(1, 2, 4)]])]
  },
  'compat AsyncMultiHead.forward_async': {
    of: (w) => w.keep(new (plan(w).AsyncMultiHeadAttention)(compatHeads)),
    name: 'forward_async',
    args: compatMultiHead
  },
  'compat BatchProcessor.process_batch': {
    of: (w) => new (plan(w).BatchProcessor)(),
    name: 'process_batch',
    args: compatBatch
  },
  'compat createTensor': { of: plan, name: 'createTensor', args: (w) => [w.floats(6), [2, 3]] },
  'compat validateTensorShape': { of: plan, name: 'validateTensorShape', args: (w) => [w.tensor([2, 3]), 2] },
  'compat reshape': { of: plan, name: 'reshape', args: (w) => [w.floats(6), [3, 2]] },
  'compat createCausalMask': { of: plan, name: 'createCausalMask', args: (w) => [w.dim()] },
  'compat createPaddingMask': { of: plan, name: 'createPaddingMask', args: () => [[1, 2], 3] },
  'compat computeStats': { of: plan, name: 'computeStats', args: (w) => [w.floats(5)] },
  'compat normalize': { of: plan, name: 'normalize', args: (w) => [w.floats(5)] },

  attentionHeatmap: {
    of: () => ({ attentionHeatmap }),
    name: 'attentionHeatmap',
    args: (w) => {
      const weights = plotWeights(w)
      return [weights, heatmapOptions(w, weights)]
    }
  },
  attentionHeatmapText: {
    of: () => ({ attentionHeatmapText }),
    name: 'attentionHeatmapText',
    args: (w) => {
      const weights = plotWeights(w)
      return [
        weights,
        { ...heatmapOptions(w, weights), ...w.some({ color: () => w.r.chance(0.5), width: () => w.r.int(16, 90) }) }
      ]
    }
  },
  poincareDisk: {
    of: () => ({ poincareDisk }),
    name: 'poincareDisk',
    args: (w) => {
      const count = w.r.int(0, 5)
      const options = {
        labels: () => Array.from({ length: count }, () => 'a'),
        weights: () => Array.from({ length: count }, () => 1),
        highlight: () => [],
        title: () => 'x',
        edges: () => (count > 1 ? [[0, 1]] : [])
      }
      return [w.tensor([count, 2], 0.1), w.some(options)]
    }
  },
  graphPlot: {
    of: () => ({ graphPlot }),
    name: 'graphPlot',
    args: (w) => {
      const given = edges(w)
      const options = {
        labels: () => Array.from({ length: given.numNodes }, () => 'a'),
        groups: () => Array.from({ length: given.numNodes }, () => 'g'),
        weights: () => w.floats(given.source.length).map(Math.abs),
        directed: () => w.r.chance(0.5),
        positions: () => w.tensor([given.numNodes, 2])
      }
      return [given, w.some(options)]
    }
  },
  fromGraphology: {
    of: () => ({ fromGraphology }),
    name: 'fromGraphology',
    args: (w) => [graphologyGraph(w), { Graph: w.api.Graph, ...w.some({ weight: () => 'w' }) }]
  }
}

/**
 * The callable members of an API: functions, constructors, methods and getters, named as in {@link entries}. @param
 * {any} api
 */
export function offered(api) {
  const names = []
  for (const [name, value] of Object.entries(api)) {
    if (typeof value !== 'function') continue
    if (!/^class\b/.test(Function.prototype.toString.call(value))) {
      names.push(name)
      continue
    }
    names.push(`new ${name}`)
    if (/Error$|^Layer$|^GraphLayer$/.test(name)) continue
    const own = new Set()
    for (
      let prototype = value.prototype;
      prototype !== Object.prototype;
      prototype = Object.getPrototypeOf(prototype)
    ) {
      for (const member of Object.getOwnPropertyNames(prototype)) if (member !== 'constructor') own.add(member)
    }
    names.push(...[...own].map((member) => `${name}.${member}`))
  }
  return names
}
