// Modules of models in Transformers, timm, diffusers and PyTorch, and how to run each here: weights under the names of
// their checkpoints, inputs, outputs, and the configuration that must give the same.
import { readGolden } from './golden.js'

/** @typedef {import('@ruvector/attention').Attention} Attention */
/** @typedef {import('./golden.js').Case} Case */
/** @typedef {import('./golden.js').Tensor} Tensor */

const golden = readGolden('families')

/** Parameters of each family, by their names in its checkpoints. @type {Record<string, Record<string, Tensor>>} */
export const weights = {}
for (const [path, tensor] of Object.entries(golden.tensors)) {
  const [owner, name] = path.split('/weights/')
  if (name !== undefined) (weights[owner.slice(0, owner.indexOf('/'))] ??= {})[name] = tensor
}

export const reference = golden.reference
export const { cases } = golden

/** The largest allowed error of a module, as a part of its largest output. @param {Case} module */
export const toleranceOf = ({ layer }) => (layer.endsWith('Attention') ? 2e-5 : 1e-4)

/**
 * Runs a module and returns its output.
 * @param {Attention} attention
 * @param {Case} module
 * @returns {Tensor}
 */
export function runModule(attention, module) {
  if (module.layer === 'GatedDeltaNet') return gatedDeltaNet(attention, module)
  const { family, layer, config, prefix, tensors } = module
  const { x, context } = tensors
  const made = new /** @type {any} */ (attention)[layer](config)
  try {
    made.loadStateDict(weights[family], { prefix })
    return made.forward(...(context ? [x, context] : [x]), optionsOf(attention, module)).output
  } finally {
    made.dispose()
  }
}

/**
 * Options of a call: biases of distances are computed, from a table of the model where there is one.
 * @param {Attention} attention
 * @param {Case} module
 */
function optionsOf(attention, { family, config, options = {}, tensors: { x } }) {
  const { alibi, relativePositionBias: relative, ...others } = options
  const api = /** @type {any} */ (attention)
  const length = x.shape[1]
  if (alibi) return { ...others, relativeBias: api.alibiBias(config.numHeads, length) }
  if (relative === undefined) return others
  const { table, ...how } = relative
  return { ...others, relativeBias: api.relativePositionBias(weights[family][table], length, length, how) }
}

/**
 * The linear attention of Qwen3-Next, from the functions of this package.
 * @param {Attention} attention
 * @param {Case} module
 * @returns {Tensor}
 */
function gatedDeltaNet(attention, { family, prefix, config, tensors: { x } }) {
  const { linear, causalConvolution, rmsNorm, silu } = attention
  const get = (/** @type {string} */ name) => weights[family][`${prefix}.${name}`]
  const { keyHeads, valueHeads, keyDim, valueDim } = config
  const [batch, length] = x.shape
  const rows = batch * length
  const shared = valueHeads / keyHeads

  // Rows of both projections are ordered by key head: its query, key, values and gates; its betas and steps.
  const mixed = linear(x, get('in_proj_qkvz.weight'))
  const gates = linear(x, get('in_proj_ba.weight'))
  const sizes = [keyDim, keyDim, shared * valueDim, shared * valueDim]
  const [query, key, value, z] = sizes.map((size, index) =>
    byHead(
      mixed,
      keyHeads,
      sizes.slice(0, index).reduce((sum, other) => sum + other, 0),
      size
    )
  )
  const beta = byHead(gates, keyHeads, 0, shared).map((value) => 1 / (1 + Math.exp(-value)))
  const step = byHead(gates, keyHeads, shared, shared)
  const [rates, bias] = [get('A_log').data, get('dt_bias').data]
  const decay = step.map((value, index) => {
    const head = index % valueHeads
    return -Math.exp(rates[head]) * Math.log1p(Math.exp(value + bias[head]))
  })

  const width = 2 * keyHeads * keyDim + valueHeads * valueDim
  const joined = new Float32Array(rows * width)
  for (let row = 0; row < rows; row++) {
    let offset = row * width
    for (const part of [query, key, value]) {
      const size = part.length / rows
      joined.set(part.subarray(row * size, (row + 1) * size), offset)
      offset += size
    }
  }
  const channels = transposed(joined, length, width)
  const { output } = causalConvolution(attention.createTensor(channels, [batch, width, length]), get('conv1d.weight'), {
    activation: 'silu'
  })
  const convolved = transposed(output.data, width, length)

  const at = (/** @type {number} */ row, /** @type {number} */ start, /** @type {number} */ size) =>
    convolved.subarray(row * width + start, row * width + start + size)
  const [queries, keys, values] = [keyDim, keyDim, valueDim].map((size) => new Float32Array(rows * valueHeads * size))
  for (let row = 0; row < rows; row++) {
    for (let head = 0; head < valueHeads; head++) {
      const start = Math.floor(head / shared) * keyDim
      const place = (row * valueHeads + head) * keyDim
      queries.set(unit(at(row, start, keyDim)), place)
      keys.set(unit(at(row, keyHeads * keyDim + start, keyDim)), place)
    }
    values.set(at(row, 2 * keyHeads * keyDim, valueHeads * valueDim), row * valueHeads * valueDim)
  }
  const delta = new attention.LinearAttention(
    /** @type {any} */ ({ modelDim: valueHeads * keyDim, numHeads: valueHeads, rule: 'gated_delta' })
  )
  const tensor = (/** @type {Float32Array} */ part) => attention.createTensor(part, [batch, length, part.length / rows])
  const attended = delta.forward(
    tensor(queries),
    tensor(keys),
    tensor(values),
    /** @type {any} */ ({ decay: tensor(decay), beta: tensor(beta) })
  ).output
  delta.dispose()

  const heads = [rows * valueHeads, valueDim]
  const normed = rmsNorm(attention.createTensor(attended.data, heads), { weight: get('norm.weight'), epsilon: 1e-6 })
  const gate = silu(attention.createTensor(z, heads)).data
  const gated = normed.data.map((value, index) => value * gate[index])
  return linear(tensor(gated), get('out_proj.weight'))
}

/**
 * `size` features from `start` on of each of `heads` heads.
 * @param {Tensor} tensor
 * @param {number} heads
 * @param {number} start
 * @param {number} size
 */
function byHead({ data, shape }, heads, start, size) {
  const width = shape[2] / heads
  const output = new Float32Array((data.length / width) * size)
  for (let index = 0; index < data.length / width; index++) {
    output.set(data.subarray(index * width + start, index * width + start + size), index * size)
  }
  return output
}

/**
 * Swaps the dimensions of matrices.
 * @param {Float32Array} data  `[…, rows, columns]`
 * @param {number} rows
 * @param {number} columns
 */
function transposed(data, rows, columns) {
  return data.map((_, index) => {
    const [entry, rest] = [Math.floor(index / (rows * columns)), index % (rows * columns)]
    return data[entry * rows * columns + (rest % rows) * columns + Math.floor(rest / rows)]
  })
}

/** A vector of length 1 in the same direction. @param {Float32Array} vector */
function unit(vector) {
  const sum = vector.reduce((total, value) => total + value * value, 0)
  return vector.map((value) => value / Math.sqrt(sum + 1e-6))
}

/**
 * The largest error, as a part of the largest value.
 * @param {Tensor} actual
 * @param {Tensor} expected
 */
export function relativeError(actual, expected) {
  let [error, largest] = [0, 0]
  for (let index = 0; index < expected.data.length; index++) {
    const difference = Math.abs(actual.data[index] - expected.data[index])
    // Keeps NaN, unlike Math.max.
    if (!(difference <= error)) error = difference
    largest = Math.max(largest, Math.abs(expected.data[index]))
  }
  return error / largest
}
