// The names that `@ruvector/attention/training` adds, with valid arguments. Targets of `vjp` are the calls of
// calls.mjs.

import { entries } from './calls.mjs'

/** @typedef {import('./world.mjs').World} World */
/** @typedef {import('./calls.mjs').Entry} Entry */

const LAYERS = ['SelfAttention', 'TransformerEncoderLayer', 'DecoderLayer']
const OBJECTS = [
  ...LAYERS,
  'MultiHeadAttention',
  'CrossAttention',
  'TransformerDecoderLayer',
  'LatentAttention',
  'Linear',
  'Embedding',
  'GraphConvolution',
  'GraphSage',
  'GraphAttention',
  'GraphTransformer',
  'ScaledDotProductAttention',
  'FlashAttention',
  'LinearAttention',
  'HyperbolicAttention'
]
const FUNCTIONS = (
  'scaledDotProductAttention linear layerNorm rmsNorm softmax gelu silu relu tanh sigmoid elu add multiply concat ' +
  'transpose embedding meanPool rotaryEmbedding propagate edgeSoftmax'
).split(' ')
/** Options that ask for other results, which `vjp` refuses. */
const RESULTS = ['weights', 'averageWeights', 'topWeights', 'logSumExp', 'returnState', 'out']

/** A target with its arguments. @param {World} w */
function target(w) {
  const isObject = w.r.chance(0.6)
  const name = isObject ? `${w.r.pick(OBJECTS)}.forward` : w.r.pick(FUNCTIONS)
  const entry = entries[name]
  const owner = entry.of(w)
  const args = entry.args(w, owner)
  if (isObject && w.r.chance(0.3)) owner.train?.()
  return [isObject ? owner : owner[name], ...args]
}

/** A pass whose gradients can be computed. @param {World} w */
function pass(w) {
  const given = target(w).map((/** @type {any} */ value) =>
    Object.getPrototypeOf(value ?? 0) === Object.prototype
      ? Object.fromEntries(Object.entries(value).filter(([name]) => !RESULTS.includes(name)))
      : value
  )
  return w.keep(w.api.vjp(...given))
}

/** @param {World} w @param {any} made */
const gradient = (w, made) => [w.tensor([...made.output.shape])]

/** @param {World} w */
const layer = (w) => entries[`${w.r.pick(LAYERS)}.forward`].of(w)

/** @param {World} w */
function adapted(w) {
  const made = layer(w)
  w.api.addLora(made, { rank: w.r.int(1, 3) })
  return made
}

/** A layer that may have adapters, and gradients of some of its parameters. @param {World} w */
function trained(w) {
  const made = w.r.chance(0.3) ? adapted(w) : layer(w)
  const gradients = Object.entries(made.stateDict()).filter(() => w.r.chance(0.7))
  return [made, Object.fromEntries(gradients.map(([name, { shape }]) => [name, w.tensor([...shape])]))]
}

/** @param {World} w */
const optimizerOptions = (w) => ({
  learningRate: () => w.r.next(),
  weightDecay: () => w.r.next(),
  clipNorm: () => w.r.next() + 0.1
})

/** Further options of each optimizer. @type {Record<string, (w: World) => Record<string, () => unknown>>} */
const OPTIMIZERS = {
  AdamW: (w) => ({ betas: () => [0.5, w.r.next()], epsilon: () => 1e-3 }),
  SGD: (w) => ({ momentum: () => 0.5, nesterov: () => w.r.chance(0.3) })
}

/** Optimizers whose layer has these gradients. @type {WeakMap<object, any>} */
const gradientsOf = new WeakMap()

/** @param {string} name @returns {(w: World) => any} */
const optimizer = (name) => (w) => {
  const [made, gradients] = trained(w)
  const options = w.some({ ...optimizerOptions(w), ...OPTIMIZERS[name](w) })
  const own = w.keep(new w.api[name](w.r.chance(0.5) ? made : [made], options))
  gradientsOf.set(own, gradients)
  if (w.r.chance(0.3)) own.step(gradients)
  return own
}

/** @param {string} name @returns {Record<string, Entry>} */
const optimizerEntries = (name) => ({
  [`new ${name}`]: {
    of: (w) => w.api[name],
    isNew: true,
    args: (w) => [trained(w)[0], w.some({ ...optimizerOptions(w), ...OPTIMIZERS[name](w) })]
  },
  [`${name}.step`]: {
    of: optimizer(name),
    name: 'step',
    args: (w, own) => [w.r.chance(0.5) ? gradientsOf.get(own) : [gradientsOf.get(own)]]
  },
  [`${name}.learningRate`]: { of: optimizer(name), name: 'learningRate', args: () => [] },
  [`${name}.stateDict`]: { of: optimizer(name), name: 'stateDict', args: () => [] },
  [`${name}.loadStateDict`]: { of: optimizer(name), name: 'loadStateDict', args: (_, own) => [own.stateDict()] },
  [`${name}.dispose`]: { of: optimizer(name), name: 'dispose', args: () => [] }
})

/** @param {string} name @param {Entry['args']} args @returns {Record<string, Entry>} */
const call = (name, args) => ({ [name]: { of: (w) => w.api, name, args } })

/** @param {World} w @param {number} [rows] */
const pairs = (w, rows = w.dim()) => {
  const size = w.dim()
  return [w.tensor([rows, size]), w.tensor([rows, size])]
}

/** @type {Record<string, Entry>} */
export const trainingEntries = {
  ...call('vjp', target),
  'Vjp.backward': { of: pass, name: 'backward', args: gradient },
  'Vjp.backwardAsync': {
    of: pass,
    name: 'backwardAsync',
    args: (w, made) => [...gradient(w, made), w.some({ onProgress: () => () => {} })]
  },
  'Vjp.output': { of: pass, name: 'output', args: () => [] },
  ...optimizerEntries('AdamW'),
  ...optimizerEntries('SGD'),
  ...call('addLora', (w) => [
    layer(w),
    {
      rank: w.r.int(1, 3),
      ...w.some({
        alpha: () => w.r.int(1, 9),
        targets: () => w.r.pick([['query'], ['key', 'value', 'output'], ['up', 'down']]),
        seed: () => w.r.int(0, 99)
      })
    }
  ]),
  ...call('mergeLora', (w) => [adapted(w)]),
  ...call('crossEntropy', (w) => {
    const [rows, classes] = [w.dim(), w.r.int(1, 4)]
    const options = {
      ignoreIndex: () => 0,
      labelSmoothing: () => w.r.next(),
      weights: () => w.array('Float32Array', classes, () => w.r.next() + 0.1)
    }
    return [w.tensor([rows, classes]), w.ints(rows, 0, classes - 1), w.some(options)]
  }),
  ...call('meanSquaredError', (w) => pairs(w)),
  ...call('cosineLoss', (w) => {
    const rows = w.dim()
    return [...pairs(w, rows), Array.from({ length: rows }, () => w.r.pick([-1, 1]))]
  }),
  ...call('infoNce', (w) => [...pairs(w), w.some({ temperature: () => w.r.next() + 0.1 })]),
  ...call('constantSchedule', (w) => [w.some({ warmup: () => w.r.int(0, 9) })]),
  ...Object.assign(
    {},
    ...['linearSchedule', 'cosineSchedule'].map((name) =>
      call(name, (w) => [{ steps: w.r.int(10, 20), ...w.some({ warmup: () => w.r.int(0, 9) }) }])
    )
  )
}
