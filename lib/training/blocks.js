// Layers on the tape: multi-head attention, transformer blocks and their parts, composed of the primitives as the
// kernel crate composes them.

import { Value } from './tape.js'
import { Frozen } from './recorder.js'
import { allKeysVisible } from './added-keys.js'
import { fault } from '../checks/errors.js'
import { allocateTensor } from '../checks/tensor.js'
import { relativePositionBias } from '../face/bias.js'

/** @typedef {import('./recorder.js').Recorder} Recorder */
/** @typedef {import('./recorder.js').Activation} Activation */
/** @typedef {import('./recorder.js').Matrix} Matrix */
/** @typedef {import('./scope.js').Parameters} Parameters */
/** @typedef {import('../checks/tensor.js').Checked<Int32Array>} Positions */
/**
 * One call of a layer.
 *
 * @typedef {object} LayerCall
 * @property {Record<string, any>} scalars  the scalar options of attention
 * @property {import('./recorder.js').AttentionArrays} arrays
 * @property {Positions} [positions]
 * @property {Float64Array} [frequencies]  of rotary positions
 * @property {boolean} isTraining
 */
/** The inputs of multi-head attention. @typedef {{ query: Value, key?: Value, value?: Value }} HeadInputs */

/** Dropout of values in rows. @typedef {(x: Value, stream: number) => Value} RowDropout */

/**
 * Multi-head attention: projections, norms, rotary positions, attention, gate, output projection.
 *
 * @param {Recorder} recorder
 * @param {Parameters} parameters
 * @param {Record<string, any>} config  of the attention
 * @param {HeadInputs} inputs
 * @param {LayerCall} call
 */
export function multiHead(recorder, parameters, config, inputs, call) {
  const { numHeads, kvHeads = numHeads, headDim, outputGate } = config
  const { query, key = query, value = key } = inputs
  const [batch, length] = query.shape
  const keys = key.shape[1]
  const widths = [numHeads * headDim * (outputGate ? 2 : 1), kvHeads * headDim, kvHeads * headDim]
  const projections = inputProjections(recorder, parameters, widths)
  const [q, k, v] = [query, key, value].map((x, at) => project(recorder, x, projections[at]))
  const heads = (/** @type {Value} */ x, /** @type {number[]} */ shape) => recorder.reshape(x, shape)

  // 1. Heads `[B, L, H, D]`, and the gate that follows each head's query.
  const shapes = { query: [batch, length, numHeads, headDim], key: [batch, keys, kvHeads, headDim] }
  const [first, gate] = outputGate
    ? recorder.split(heads(q, [batch, length, numHeads, 2 * headDim]), -1, [headDim, headDim])
    : [heads(q, shapes.query)]
  // 2. Norms, then rotations by positions.
  const normed = normalize(recorder, parameters, config.qkNorm, [first, heads(k, shapes.key)])
  const [turned, turnedKeys] = rotate(recorder, config.rotary, normed, inputs.key === undefined, call)
  // 3. Attention, to the keys that the layer adds too.
  const attended = attend(recorder, parameters, config, [turned, turnedKeys, heads(v, shapes.key)], call)
  // 4. Gate, and output projection.
  const gated = gate ? recorder.activate('sigmoid', gate, attended) : attended
  const joined = recorder.reshape(gated, [batch, length, numHeads * headDim])
  return project(recorder, joined, {
    weight: parameters.matrix('out_proj.weight', 'o_proj.weight'),
    bias: parameters.value('out_proj.bias', 'o_proj.bias'),
    adapter: parameters.adapter('output')
  })
}

/**
 * The parameters of a projection.
 *
 * @typedef {{ weight?: Matrix, bias?: Value, adapter?: import('./scope.js').Adapter }} Projection
 */

/**
 * @param {Recorder} recorder
 * @param {Value} x
 * @param {Projection} projection
 */
function project(recorder, x, { weight, bias, adapter }) {
  const own = recorder.linear(x, /** @type {Matrix} */ (weight), bias)
  if (adapter === undefined) return own
  const change = recorder.linear(recorder.linear(x, adapter.down), adapter.up)
  return recorder.add(own, recorder.multiply(change, adapter.scale))
}

/**
 * The projections of query, key and value, which may share a matrix or a bias.
 *
 * @param {Recorder} recorder
 * @param {Parameters} parameters
 * @param {number[]} widths
 * @returns {Projection[]}
 */
function inputProjections(recorder, parameters, widths) {
  const [weight, bias] = [parameters.matrix('in_proj_weight'), parameters.value('in_proj_bias')]
  const weights = weight instanceof Frozen ? weight.rows(widths) : weight && recorder.split(weight, 0, widths)
  const biases = bias && recorder.split(bias, 0, widths)
  return ['query', 'key', 'value'].map((role, at) => ({
    weight: weights?.[at] ?? parameters.matrix(`${role[0]}_proj_weight`, `${role[0]}_proj.weight`),
    bias: biases?.[at] ?? parameters.value(`${role[0]}_proj_bias`, `${role[0]}_proj.bias`),
    adapter: parameters.adapter(role)
  }))
}

/**
 * Norms of queries and keys: over each head, or over all heads together.
 *
 * @param {Recorder} recorder
 * @param {Parameters} parameters
 * @param {any} settings
 * @param {[Value, Value]} heads
 * @returns {Value[]}
 */
function normalize(recorder, parameters, settings, heads) {
  if (!settings) return heads
  return heads.map((x, at) => {
    const inner = parameters.below(at === 0 ? 'q_norm.' : 'k_norm.')
    const [batch, length, count, size] = x.shape
    const rows = settings.over === 'head' ? x : recorder.reshape(x, [batch, length, count * size])
    return recorder.reshape(norm(recorder, inner, settings, rows), x.shape)
  })
}

/**
 * A norm, whose weight is an offset plus the parameter.
 *
 * @param {Recorder} recorder
 * @param {Parameters} parameters
 * @param {{ kind?: 'layer' | 'rms', epsilon?: number, weightOffset?: number }} settings
 * @param {Value} x
 */
function norm(recorder, parameters, { kind = 'rms', epsilon, weightOffset = 0 }, x) {
  const given = parameters.value('weight')
  const weight = given && weightOffset !== 0 ? shift(recorder, given, weightOffset) : given
  return recorder.norm(kind, x, { weight, bias: parameters.value('bias') }, epsilon)
}

/** @param {Recorder} recorder @param {Value} x @param {number} offset */
function shift(recorder, x, offset) {
  return recorder.record([x], { data: x.data.map((value) => value + offset), shape: x.shape }, (gradient) => [gradient])
}

/**
 * Rotates queries and keys by their positions.
 *
 * @param {Recorder} recorder
 * @param {Record<string, any> | undefined} rotary
 * @param {readonly Value[]} heads
 * @param {boolean} isShared  true if the call's positions are those of the keys, too
 * @param {LayerCall} call
 */
export function rotate(recorder, rotary, heads, isShared, call) {
  if (!rotary) return heads
  const { base, interleaved, dim, scale, factor, sections } = rotary
  const json = JSON.stringify({ base, interleaved, dim, scale, factor, sections, layout: 'blhd' })
  return heads.map((x, at) => {
    const own = at === 0 || isShared ? call.positions : undefined
    const positions = own ?? rowPositions(x.shape, at === 0, call, sections !== undefined)
    return recorder.rotary(x, { positions, frequencies: call.frequencies }, json)
  })
}

/**
 * The positions of queries or keys by default; undefined if they count from 0.
 *
 * @param {readonly number[]} shape
 * @param {boolean} isQuery
 * @param {LayerCall} call
 * @param {boolean} hasSections
 * @returns {Positions | undefined}
 */
function rowPositions([batch, length], isQuery, { scalars, arrays }, hasSections) {
  const { queryOffset, cuSeqlens, cuSeqlensKeys = cuSeqlens } = arrays
  const starts = isQuery ? cuSeqlens : cuSeqlensKeys
  const offset = isQuery ? (scalars.queryOffset ?? 0) : 0
  const offsets = isQuery ? queryOffset : undefined
  if (starts === undefined && offsets === undefined && offset === 0) return undefined
  const data = new Int32Array(batch * length)
  const bounds = starts ?? [0, length]
  for (let b = 0, sequence = 0; b < batch; b++) {
    for (let row = 0; row < length; row++) {
      while (sequence + 2 < bounds.length && row >= bounds[sequence + 1]) sequence++
      data[b * length + row] = row - bounds[sequence] + (offsets?.[starts ? sequence : b] ?? offset)
    }
  }
  if (!hasSections) return { data, shape: [batch, length] }
  const each = new Int32Array(3 * data.length)
  for (let axis = 0; axis < 3; axis++) each.set(data, axis * data.length)
  return { data: each, shape: [3, batch, length] }
}

/**
 * Attention over heads `[B, L, H, D]`, with the layer's defaults, and the keys and sinks that it adds.
 *
 * @param {Recorder} recorder
 * @param {Parameters} parameters
 * @param {Record<string, any>} config
 * @param {[Value, Value, Value]} heads
 * @param {LayerCall} call
 */
function attend(recorder, parameters, config, [q, k, v], call) {
  const options = attentionOptions(config, call)
  const arrays = { ...call.arrays }
  const learned = ['bias_k', 'bias_v'].map((name) => parameters.value(name))
  const [batch, , heads, size] = k.shape
  let [key, value] = [k, v]
  if (learned[0] && learned[1]) {
    const all = allKeysVisible(arrays, options, [batch, q.shape[1], k.shape[1]])
    Object.assign(options, all.options)
    Object.assign(arrays, all.arrays)
    ;[key, value] = [k, v].map((rows, at) => {
      const added = recorder.reshape(/** @type {Value} */ (learned[at]), [1, 1, heads, size])
      return recorder.concat([rows, recorder.expand(added, [batch, 1, heads, size])], 1)
    })
  }
  arrays.sinks = parameters.value('sinks')
  arrays.relativeBias ??= ownBias(recorder, parameters, config, [q.shape[1], k.shape[1]], call)
  if (config.addZeroAttn) arrays.sinks = withZeroKey(recorder, arrays.sinks, q.shape[2])
  return recorder.attention([q, key, value], arrays, options)
}

/**
 * Sinks that include a key of zeros, which has the score 0 and adds no value: `ln(exp(sink) + 1)`.
 *
 * @param {Recorder} recorder
 * @param {Value | undefined} sinks
 * @param {number} heads
 */
function withZeroKey(recorder, sinks, heads) {
  if (sinks === undefined) return Value.constant(allocateTensor('sinks', [heads]))
  const { data, shape } = sinks
  const sums = data.map((sink) => Math.max(sink, 0) + Math.log1p(Math.exp(-Math.abs(sink))))
  return recorder.record([sinks], { data: sums, shape }, (gradient) => [
    { data: gradient.data.map((value, head) => value / (1 + Math.exp(-data[head]))), shape }
  ])
}

/**
 * The layer's own bias of the distance: rows of its table, for each place of the query and the key.
 *
 * @param {Recorder} recorder
 * @param {Parameters} parameters
 * @param {Record<string, any>} config
 * @param {[queries: number, keys: number]} lengths
 * @param {LayerCall} call
 */
function ownBias(recorder, parameters, config, [queries, keys], { scalars, arrays }) {
  const table = parameters.value('relative_attention_bias.weight')
  if (table === undefined) return undefined
  const { queryOffset = 0 } = scalars
  const [first = 0, ...others] = arrays.queryOffset ?? [queryOffset]
  if (others.some((offset) => offset !== first)) {
    const expected = "none: the layer's relativeBias has no gradient with different ones"
    throw fault('OPTION', 'queryOffset', expected, 'an array')
  }
  const { cuSeqlens, cuSeqlensKeys = cuSeqlens } = arrays
  const lengths = [cuSeqlens ? longest(cuSeqlens) : queries, cuSeqlensKeys ? longest(cuSeqlensKeys) : keys]
  const { bidirectional, maxDistance } = config.relativeBias
  const [buckets] = table.shape
  const numbers = { data: Float32Array.from({ length: buckets }, (_, bucket) => bucket), shape: [buckets, 1] }
  const { data } = relativePositionBias(numbers, lengths[0], lengths[1], {
    queryOffset: first,
    bidirectional,
    maxDistance
  })
  const ids = { data: Int32Array.from(data), shape: [data.length] }
  return recorder.transpose(recorder.embedding(table, ids), [1, 0])
}

/** The longest of packed sequences. @param {Int32Array} starts */
const longest = (starts) =>
  starts.reduce((most, start, at) => (at === 0 ? 0 : Math.max(most, start - starts[at - 1])), 0)

/**
 * The options of the operation: those of the call, over those of the layer.
 *
 * @param {Record<string, any>} config
 * @param {LayerCall} call
 */
function attentionOptions(config, { scalars, isTraining }) {
  const { causal, window, softcap, scale, dropout, seed } = config
  const options = { causal, window, softcap, scale, seed, ...scalars, layout: 'blhd' }
  return isTraining && dropout > 0 ? { ...options, dropout } : options
}

/**
 * A feed-forward network, with dropout after the activation.
 *
 * @param {Recorder} recorder
 * @param {Parameters} parameters
 * @param {Activation} activation
 * @param {Value} x
 * @param {RowDropout} [dropout]
 * @param {number} [stream]
 */
function feedForward(recorder, parameters, activation, x, dropout = (value) => value, stream = 0) {
  const modules = {
    up: ['linear1', 'mlp.up_proj'],
    gate: ['linear_gate', 'mlp.gate_proj'],
    down: ['linear2', 'mlp.down_proj']
  }
  const [up, gate, down] = Object.entries(modules).map(([role, names]) => ({
    weight: parameters.matrix(...names.map((name) => `${name}.weight`)),
    bias: parameters.value(...names.map((name) => `${name}.bias`)),
    adapter: parameters.adapter(role)
  }))
  const inner = project(recorder, x, up)
  const hidden = gate.weight
    ? recorder.activate(activation, project(recorder, x, gate), inner)
    : recorder.activate(activation, inner)
  return project(recorder, dropout(hidden, stream), down)
}

/**
 * The dropout of a block's rows.
 *
 * @param {Recorder} recorder
 * @param {Record<string, any>} config
 * @param {Value} x
 * @param {LayerCall} call
 * @returns {RowDropout}
 */
function rowDropout(recorder, { dropout = 0, seed: own }, x, { scalars, arrays, isTraining }) {
  if (!isTraining || dropout === 0) return (value) => value
  const { seed = own } = scalars
  return (value, stream) =>
    recorder.dropout(value, { probability: dropout, seed, stream, length: x.shape[1] }, arrays.cuSeqlens)
}

/**
 * `torch.nn.TransformerEncoderLayer` and its relatives.
 *
 * @param {Recorder} recorder
 * @param {Parameters} parameters
 * @param {Record<string, any>} config
 * @param {Value} x
 * @param {LayerCall} call
 */
export function encoderBlock(recorder, parameters, config, x, call) {
  const dropout = rowDropout(recorder, config, x, call)
  const attention = config.attention ?? impliedAttention(config)
  const settings = { kind: config.norm ?? 'layer', epsilon: config.epsilon }
  const sublayer = sublayers(recorder, parameters, settings, config.normFirst)
  const attended = sublayer('norm1', x, (input) =>
    dropout(multiHead(recorder, parameters.below('self_attn.'), attention, { query: input }, call), 0)
  )
  return sublayer('norm2', attended, (input) =>
    dropout(feedForward(recorder, parameters, config.activation, input, dropout, 1), 2)
  )
}

/** The attention of a block without settings for it. @param {Record<string, any>} config */
const impliedAttention = ({ modelDim, numHeads, dropout, seed }) => ({
  numHeads,
  headDim: modelDim / numHeads,
  dropout,
  seed
})

/**
 * Returns the function that joins a sublayer to its input, with a norm before or after.
 *
 * @param {Recorder} recorder
 * @param {Parameters} parameters
 * @param {{ kind: 'layer' | 'rms', epsilon?: number }} settings
 * @param {boolean} isFirst
 */
function sublayers(recorder, parameters, settings, isFirst) {
  /** @param {string} name @param {Value} x @param {(x: Value) => Value} run */
  return (name, x, run) => {
    const inner = parameters.below(`${name}.`)
    const apply = (/** @type {Value} */ rows) => (inner.value('weight') ? norm(recorder, inner, settings, rows) : rows)
    const sum = recorder.add(x, run(isFirst ? apply(x) : x))
    return isFirst ? sum : apply(sum)
  }
}

/**
 * `torch.nn.TransformerDecoderLayer` and its relatives.
 *
 * @param {Recorder} recorder
 * @param {Parameters} parameters
 * @param {Record<string, any>} config
 * @param {[x: Value, context: Value]} inputs
 * @param {LayerCall & { contextLengths?: Int32Array }} call
 */
export function crossBlock(recorder, parameters, config, [x, context], call) {
  const dropout = rowDropout(recorder, config, x, call)
  const sublayer = sublayers(recorder, parameters, { kind: config.norm, epsilon: config.epsilon }, config.normFirst)
  const { seed } = call.scalars
  // The keys of packed sequences are those of the context.
  const { cuSeqlens, cuSeqlensKeys, ...others } = call.arrays
  const own = { ...call, arrays: { ...others, cuSeqlens } }
  const arrays = { kvLengths: call.contextLengths, cuSeqlens, cuSeqlensKeys }
  const crossing = { scalars: { seed }, arrays, isTraining: call.isTraining }
  const attended = sublayer('norm1', x, (query) =>
    dropout(multiHead(recorder, parameters.below('self_attn.'), config.attention, { query }, own), 0)
  )
  const cross = parameters.below('multihead_attn.')
  const crossed = sublayer('norm2', attended, (query) =>
    dropout(multiHead(recorder, cross, config.crossAttention, { query, key: context }, crossing), 1)
  )
  return sublayer('norm3', crossed, (input) =>
    dropout(feedForward(recorder, parameters, config.activation, input, dropout, 3), 2)
  )
}

/** The norms of a decoder block by placement: before attention and network, and after them. */
const PLACES = /** @type {const} */ ({
  pre: { before: ['input', 'post_attention'], after: [] },
  sandwich: { before: ['input', 'pre_feedforward'], after: ['post_attention', 'post_feedforward'] },
  post: { before: [], after: ['post_attention', 'post_feedforward'] }
})

/**
 * A block of a decoder-only model.
 *
 * @param {Recorder} recorder
 * @param {Parameters} parameters
 * @param {Record<string, any>} config
 * @param {Value} x
 * @param {LayerCall} call
 */
export function decoderBlock(recorder, parameters, config, x, call) {
  const { norm: kind, epsilon, weightOffset, normPlacement, parallel, activation } = config
  const { before, after } = PLACES[/** @type {keyof typeof PLACES} */ (normPlacement)]
  /** @param {string | undefined} name @param {Value} rows */
  const apply = (name, rows) =>
    name === undefined
      ? rows
      : norm(recorder, parameters.below(`${name}_layernorm.`), { kind, epsilon, weightOffset }, rows)
  const attention = multiHead(
    recorder,
    parameters.below('self_attn.'),
    config.attention,
    { query: apply(before[0], x) },
    call
  )
  const attended = recorder.add(x, apply(after[0], attention))
  const hidden = feedForward(recorder, parameters, activation, apply(before[1], parallel ? x : attended))
  return recorder.add(attended, apply(after[1], hidden))
}

/**
 * DeepSeek's attention over a latent.
 *
 * @param {Recorder} recorder
 * @param {Parameters} parameters
 * @param {Record<string, any>} config
 * @param {Value} x
 * @param {LayerCall} call
 */
export function latentAttention(recorder, parameters, config, x, call) {
  const { numHeads, latentRank, nopeDim, rotaryDim, valueDim, epsilon, rotary } = config
  const [batch, length] = x.shape
  /** @param {string} name @param {Value} rows */
  const module = (name, rows) =>
    project(recorder, rows, { weight: parameters.matrix(`${name}.weight`), bias: parameters.value(`${name}.bias`) })
  /** @param {string} name @param {Value} rows */
  const rms = (name, rows) => norm(recorder, parameters.below(`${name}.`), { epsilon }, rows)
  /** @param {Value} rows @param {number} count @param {number} size */
  const heads = (rows, count, size) => recorder.reshape(rows, [batch, length, count, size])

  // 1. Queries, directly or through a latent of their own; their last features are rotated.
  const isDirect = parameters.matrix('q_proj.weight') !== undefined
  const queries = isDirect ? module('q_proj', x) : module('q_b_proj', rms('q_a_layernorm', module('q_a_proj', x)))
  const [own, turning] = recorder.split(heads(queries, numHeads, nopeDim + rotaryDim), -1, [nopeDim, rotaryDim])
  // 2. The latent of keys and values, and the rotated features that all heads share.
  const [latent, shared] = recorder.split(module('kv_a_proj_with_mqa', x), -1, [latentRank, rotaryDim])
  const expanded = heads(module('kv_b_proj', rms('kv_a_layernorm', latent)), numHeads, nopeDim + valueDim)
  const [plain, value] = recorder.split(expanded, -1, [nopeDim, valueDim])
  const [turned, turnedKeys] = rotate(recorder, rotary, [turning, heads(shared, 1, rotaryDim)], true, call)
  // 3. Attention over all heads.
  const query = recorder.concat([own, turned], -1)
  const key = recorder.concat([plain, recorder.expand(turnedKeys, turned.shape)], -1)
  const { causal, scale = 1 / Math.sqrt(nopeDim + rotaryDim) } = config
  const options = { causal, scale, ...call.scalars, layout: 'blhd' }
  const attended = recorder.attention([query, key, value], call.arrays, options)
  return module('o_proj', recorder.reshape(attended, [batch, length, numHeads * valueDim]))
}
