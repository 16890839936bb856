// Reads config.json of a model, as version 4 or 5 of Transformers wrote it, and derives its layers' configurations.

import { describe, fault, isArray, isObject } from '../checks/errors.js'
import { FAMILIES } from './families.js'

/** @typedef {Record<string, any>} Json */
/**
 * A layer of a model: its class and its configuration.
 *
 * @typedef {{ layer: string, config: Json }} Plan
 */
/**
 * A stack of layers: an encoder or a decoder, or the text or vision model of one that has both.
 *
 * @typedef {object} Stack
 * @property {number} modelDim
 * @property {number} epsilon  of the norms
 * @property {number | undefined} maxPositions
 * @property {number | readonly number[]} imageSize  height and width
 * @property {readonly Plan[]} layers
 */
/** @typedef {{ family: string, stacks: Readonly<Record<string, Stack>> }} Model */

/** One name for each setting, and its other names. */
const SYNONYMS = Object.entries({
  hidden_size: ['n_embd', 'dim', 'd_model'],
  num_hidden_layers: ['n_layer', 'n_layers', 'num_layers'],
  num_attention_heads: ['n_head', 'n_heads', 'num_heads'],
  intermediate_size: ['n_inner', 'hidden_dim', 'd_ff'],
  max_position_embeddings: ['n_positions'],
  norm_eps: ['layer_norm_eps', 'layer_norm_epsilon', 'norm_epsilon', 'rms_norm_eps'],
  hidden_act: ['activation', 'activation_function', 'hidden_activation', 'dense_act_fn'],
  head_dim: ['d_kv'],
  rope_theta: ['rotary_emb_base', 'global_rope_theta'],
  local_rope_theta: ['rope_local_base_freq'],
  partial_rotary_factor: ['rotary_pct', 'rotary_emb_fraction'],
  sliding_window_pattern: ['_sliding_window_pattern']
})

/** Activations by their names in config.json. */
const ACTIVATIONS = /** @type {Readonly<Record<string, string>>} */ ({
  relu: 'relu',
  gelu: 'gelu',
  gelu_new: 'gelu-tanh',
  gelu_fast: 'gelu-tanh',
  gelu_pytorch_tanh: 'gelu-tanh',
  quick_gelu: 'quick-gelu',
  silu: 'silu',
  swish: 'silu',
  swiglu: 'silu'
})

/**
 * The layers of a model, from its config.json.
 *
 * @param {unknown} config
 * @returns {Model}
 */
export function readConfig(config) {
  if (!isObject(config) || isArray(config)) throw fault('FORMAT', 'config', 'an object', describe(config))
  const given = /** @type {Json} */ (config)
  const type = given.model_type
  const family = typeof type === 'string' && Object.hasOwn(FAMILIES, type) ? FAMILIES[type] : undefined
  if (family === undefined) {
    const known = Object.keys(FAMILIES).map((name) => `'${name}'`)
    throw fault('FORMAT', 'model_type', `one of ${known.join(', ')}`, describe(type))
  }
  const stacks = Object.entries(family.stacks).map(([name, row]) => {
    const settings = { ...row.defaults, ...unify(row.settings?.(given) ?? given) }
    refuse(settings, { ...family.only, ...row.only })
    return [name, stackOf(settings, row)]
  })
  return { family: type, stacks: Object.fromEntries(stacks) }
}

/**
 * The settings, each under one name only, without those that are null.
 *
 * @param {Json} config
 */
function unify(config) {
  const settings = Object.fromEntries(Object.entries(config).filter(([, value]) => value !== null))
  for (const [name, others] of SYNONYMS) {
    for (const other of others) {
      if (settings[other] === undefined) continue
      settings[name] ??= settings[other]
      delete settings[other]
    }
  }
  return settings
}

/**
 * Throws for a setting that asks for what the family's layers here do not do.
 *
 * @param {Json} settings
 * @param {Json} only  the values that settings may have, if present
 */
function refuse(settings, only) {
  for (const [name, value] of Object.entries(only)) {
    const given = settings[name]
    if (given !== undefined && given !== value)
      throw fault('FORMAT', name, describeSetting(value), describeSetting(given))
  }
}

/** @param {unknown} value */
const describeSetting = (value) => (typeof value === 'string' ? `'${value}'` : String(value))

/**
 * @param {Json} settings
 * @param {import('./families.js').Row} row
 * @returns {Stack}
 */
function stackOf(settings, row) {
  const numLayers = count(settings, 'num_hidden_layers')
  const modelDim = count(settings, 'hidden_size')
  const numHeads = count(settings, 'num_attention_heads')
  const shared = {
    modelDim,
    numHeads,
    feedForwardDim: row.feedForward?.(settings) ?? count(settings, 'intermediate_size'),
    activation: activationOf(settings.hidden_act ?? row.activation),
    epsilon: settings.norm_eps ?? row.epsilon
  }
  const layers = Array.from({ length: numLayers }, (_, index) => {
    /** @type {Json} */
    const config = { ...shared, ...row.config?.(settings, index) }
    const attention = { ...row.attention?.(settings, index), ...positionsOf(settings, row, index, numLayers) }
    if (Object.keys(attention).length > 0) config.attention = attention
    return { layer: row.layer, config }
  })
  const { max_position_embeddings: maxPositions, image_size: imageSize = 224 } = settings
  return { modelDim, epsilon: shared.epsilon, maxPositions, imageSize, layers }
}

/**
 * A setting that is a positive integer.
 *
 * @param {Json} settings
 * @param {string} name
 * @returns {number}
 */
function count(settings, name) {
  const value = settings[name]
  if (!Number.isInteger(value) || value < 1) throw fault('FORMAT', name, 'an integer of at least 1', describe(value))
  return value
}

/** @param {unknown} name */
function activationOf(name) {
  if (typeof name === 'string' && Object.hasOwn(ACTIVATIONS, name)) return ACTIVATIONS[name]
  const known = Object.keys(ACTIVATIONS).map((other) => `'${other}'`)
  throw fault('FORMAT', 'hidden_act', `one of ${known.join(', ')}`, describeSetting(name))
}

/**
 * The window and the rotary positions of a layer.
 *
 * @param {Json} settings
 * @param {import('./families.js').Row} row
 * @param {number} index
 * @param {number} numLayers
 */
function positionsOf(settings, row, index, numLayers) {
  const types = settings.layer_types ?? row.layerTypes?.(settings, numLayers)
  const type = types?.[index] ?? 'full_attention'
  if (type !== 'full_attention' && type !== 'sliding_attention') {
    throw fault('FORMAT', 'layer_types', "'full_attention' or 'sliding_attention'", describeSetting(type))
  }
  const window = type === 'sliding_attention' && row.window?.(settings)
  const scaling =
    row.rotary && !row.rotary.without?.(settings, index) ? rotaryOf(settings, row.rotary, type) : undefined
  if (scaling === undefined) return { ...(window && { window }) }
  const { max_position_embeddings: maxPositions, original_max_position_embeddings: originalMaxPositions } = settings
  const lengths = scaling.rope_type === 'default' ? {} : { maxPositions, originalMaxPositions }
  return { ...(window && { window }), rotary: { scaling, ...lengths } }
}

/**
 * The rotary parameters of a layer type, as version 5 writes them.
 *
 * @param {Json} settings
 * @param {NonNullable<import('./families.js').Row['rotary']>} rotary
 * @param {string} type
 * @returns {Json}
 */
function rotaryOf(settings, { theta, localTheta }, type) {
  const { rope_parameters: given, rope_scaling: scaling, partial_rotary_factor: part } = settings
  if (given !== undefined) {
    if (!isObject(given)) throw fault('FORMAT', 'rope_parameters', 'an object', describe(given))
    const byLayer = /** @type {Json} */ (given)
    const byType = Object.hasOwn(given, 'full_attention') || Object.hasOwn(given, 'sliding_attention')
    if (!byType) return byLayer
    if (Object.hasOwn(byLayer, type)) return byLayer[type]
    throw fault('FORMAT', 'rope_parameters', `an entry '${type}'`, 'none')
  }
  const isLocal = type === 'sliding_attention' && (settings.local_rope_theta ?? localTheta) !== undefined
  if (isLocal) return { rope_type: 'default', rope_theta: settings.local_rope_theta ?? localTheta }
  const { type: oldName, rope_type: name = oldName ?? 'default', ...others } = scaling ?? {}
  const original = settings.original_max_position_embeddings
  return {
    ...(original !== undefined && { original_max_position_embeddings: original }),
    ...others,
    // Phi-3's first name of longrope.
    rope_type: name === 'su' ? 'longrope' : name,
    rope_theta: settings.rope_theta ?? theta,
    ...(part !== undefined && part !== 1 && { partial_rotary_factor: part })
  }
}
