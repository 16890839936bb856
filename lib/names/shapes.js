// Configurations of layers from the shapes of a family's entries, as far as shapes tell them.

import { currentName, itemsOf } from './items.js'

/** @typedef {import('./attention.js').Family} Family */
/** @typedef {ReadonlyMap<string, readonly number[]>} Shapes */

/** @param {readonly number[] | undefined} shape @param {...number} expected */
const isShape = (shape, ...expected) => shape !== undefined && shape.join() === expected.join()

/**
 * The shapes of a layer's parameters, by name, with joint ones under names such as `query.weight key.weight`; undefined
 * if the family has no such entry, or contradicts it.
 *
 * @param {Family} family
 * @param {Shapes} members  of all entries under the layer's prefix
 * @returns {Shapes | undefined}
 */
function partsOf(family, members) {
  const items = new Map(itemsOf(family).map((item) => [item.name, item]))
  /** @type {Map<string, readonly number[]>} */
  const parts = new Map()
  for (const [name, shape] of members) {
    const item = items.get(currentName(name))
    if (item === undefined) return undefined
    if (item.ignored) continue
    const key = item.parts.join(' ') + (item.scale ? '.scale' : '')
    if (parts.has(key)) return undefined
    parts.set(key, item.transposed ? shape.toReversed() : shape)
  }
  return parts
}

/**
 * Sizes and settings of an attention, or undefined if its parameters are incomplete or contradict each other.
 *
 * @param {Shapes} parts
 * @param {readonly string[]} zeros  parameters whose biases may be missing
 * @param {string} [owner]
 */
function attentionOf(parts, zeros, owner = '') {
  const get = (/** @type {string} */ names) => parts.get(names.replace(/\S+/g, (name) => owner + name))
  const [m, q] = get('output.weight') ?? []
  const joint = get('query.weight key.weight value.weight')
  const kv = joint ? (joint[0] - q) / 2 : (get('key.weight')?.[0] ?? 0)
  const rows = joint ? q : get('query.weight')?.[0]
  const [k, v] = joint ? [m, m] : [get('key.weight')?.[1] ?? 0, get('value.weight')?.[1] ?? 0]
  if (q === undefined || !(kv > 0 && q % kv === 0) || !(rows === q || rows === 2 * q)) return undefined
  const isComplete = joint
    ? isShape(joint, q + 2 * kv, m)
    : isShape(get('query.weight'), rows, m) && isShape(get('key.weight'), kv, k) && isShape(get('value.weight'), kv, v)
  const useBias = biasesOf(get, zeros, owner, { query: rows, key: kv, value: kv, output: m })
  if (!isComplete || !isShape(get('output.weight'), m, q) || useBias === undefined) return undefined
  const more = extrasOf(get, q, kv)
  return more && { m, q, kv, k, v, useBias, more: { ...(rows !== q && { outputGate: true }), ...more } }
}

/**
 * The setting `useBias` of the entries; undefined if only part of the projections have biases.
 *
 * @param {(names: string) => readonly number[] | undefined} get
 * @param {readonly string[]} zeros
 * @param {string} owner
 * @param {Record<string, number>} sizes
 */
function biasesOf(get, zeros, owner, sizes) {
  const joint = get('query.bias key.bias value.bias')
  const inputs = ['query', 'key', 'value']
  if (joint !== undefined && !isShape(joint, sizes.query + sizes.key + sizes.value)) return undefined
  const has = (/** @type {string} */ part) => (joint && part !== 'output') || get(`${part}.bias`) !== undefined
  const isFit = (/** @type {string} */ part) => !get(`${part}.bias`) || isShape(get(`${part}.bias`), sizes[part])
  const names = [...inputs, 'output']
  if (!names.every(isFit)) return undefined
  if (!names.some(has)) return false
  const isZero = (/** @type {string} */ part) =>
    zeros.includes(owner + part) && (has('query') || zeros.includes('query'))
  return names.every((part) => has(part) || isZero(part)) ? true : undefined
}

/**
 * Norms of queries and keys, sinks, biases of keys and relative positions.
 *
 * @param {(names: string) => readonly number[] | undefined} get
 * @param {number} q
 * @param {number} kv
 */
function extrasOf(get, q, kv) {
  const [query, key] = [get('query_norm.weight'), get('key_norm.weight')]
  const isOver = query && key && (isShape(query, q) && isShape(key, kv) ? 'model' : isShape(key, ...query) && 'head')
  const [keyBias, valueBias] = [get('bias_k'), get('bias_v')]
  if (((query || key) && !isOver) || !keyBias !== !valueBias) return undefined
  const kind = get('query_norm.bias') ? 'layer' : 'rms'
  const [buckets] = get('relative_bias.weight') ?? []
  return {
    ...(isOver && { qkNorm: kind === 'rms' ? isOver : { over: isOver, kind } }),
    ...(get('sinks') && { sinks: true }),
    ...(keyBias && { addBiasKv: true }),
    ...(buckets && { relativeBias: { buckets } })
  }
}

/** @param {{ q: number, kv: number }} sizes */
const widths = ({ q, kv }) => ({ 'numHeads · headDim': q, ...(kv !== q && { 'kvHeads · headDim': kv }) })

/**
 * The configuration of an attention layer whose checkpoint has these entries.
 *
 * @param {Family} family
 * @param {Shapes} members
 */
export function attentionConfig({ zeros = [], names }, members) {
  const parts = partsOf({ title: '', names }, members)
  const found = parts && attentionOf(parts, zeros)
  if (!found) return undefined
  const { m, k, v, useBias, more } = found
  return { modelDim: m, ...widths(found), ...(k !== m && { kDim: k }), ...(v !== m && { vDim: v }), useBias, ...more }
}

/**
 * The configuration of a transformer layer whose checkpoint has these entries.
 *
 * @param {Family} family
 * @param {Shapes} members
 */
export function blockConfig(family, members) {
  const { zeros = [], config = {} } = family
  const parts = partsOf(family, members)
  const found = parts && attentionOf(parts, zeros)
  const hidden = parts && feedForwardOf(parts, zeros)
  if (!found || !hidden || found.m !== hidden.m || found.k !== found.m || found.v !== found.m) return undefined
  const hasCross = itemsOf(family).some((item) => item.parts.includes('cross_output.weight'))
  const cross = hasCross ? attentionOf(parts, zeros, 'cross_') : undefined
  if (hasCross && cross?.m !== found.m) return undefined
  return {
    modelDim: found.m,
    feedForwardDim: hidden.f,
    ...config,
    ...normSettings(parts),
    ...(hidden.isGated && { gated: true }),
    ...biasSettings(found.useBias, hidden.useBias, { ...innerWidths(found), ...found.more }),
    ...(cross && crossSettings(cross))
  }
}

/** @param {NonNullable<ReturnType<typeof attentionOf>>} sizes */
const innerWidths = (sizes) => (sizes.q !== sizes.m || sizes.kv !== sizes.q ? widths(sizes) : {})

/** @param {NonNullable<ReturnType<typeof attentionOf>>} sizes */
function crossSettings(sizes) {
  const settings = { ...innerWidths(sizes), ...(sizes.k !== sizes.m && { kDim: sizes.k }) }
  return Object.keys(settings).length > 0 && { crossAttention: settings }
}

/**
 * Kinds and places of norms that differ from the defaults.
 *
 * @param {Shapes} parts
 */
function normSettings(parts) {
  if (parts.has('norm2.weight')) return !parts.has('norm1.weight') && { attentionNorm: false }
  if (parts.has('input_norm.bias')) return { norm: 'layer' }
  if (parts.has('pre_feedforward_norm.weight')) return { normPlacement: 'sandwich' }
  return parts.has('post_feedforward_norm.weight') && { normPlacement: 'post' }
}

/**
 * `useBias` of a layer, and the settings of its attention, which may differ in biases.
 *
 * @param {boolean} ofAttention
 * @param {boolean} ofRest
 * @param {Record<string, unknown>} attention
 */
function biasSettings(ofAttention, ofRest, attention) {
  const settings = { ...attention, ...(ofAttention !== ofRest && { useBias: ofAttention }) }
  return { ...(!ofRest && { useBias: false }), ...(Object.keys(settings).length > 0 && { attention: settings }) }
}

/**
 * Sizes of the feed-forward network.
 *
 * @param {Shapes} parts
 * @param {readonly string[]} zeros
 */
function feedForwardOf(parts, zeros) {
  const [m, f] = parts.get('down.weight') ?? []
  const joint = ['gate up', 'up gate'].find((names) => parts.has(names.replace(/\w+/g, '$&.weight')))
  const isGated = joint !== undefined || parts.has('gate.weight')
  const isComplete = joint
    ? isShape(parts.get(joint.replace(/\w+/g, '$&.weight')), 2 * f, m)
    : isShape(parts.get('up.weight'), f, m) && (!isGated || isShape(parts.get('gate.weight'), f, m))
  if (m === undefined || !isComplete) return undefined
  const names = joint ? [joint, 'down'] : [...(isGated ? ['gate'] : []), 'up', 'down']
  const biases = names.filter((name) => parts.has(name.replace(/\w+/g, '$&.bias'))).length
  if (biases !== 0 && biases !== names.length) return undefined
  return { m, f, isGated, useBias: biases > 0 || zeros.includes('up') }
}
