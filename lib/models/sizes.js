// config.json in one form, whichever version of transformers wrote it and whatever a family calls its sizes.

import { describe, fault } from '../checks/errors.js'

/** Names of the same size or choice in different families, the most common first. */
const SYNONYMS = {
  modelDim: ['hidden_size', 'dim', 'n_embd', 'd_model'],
  numLayers: ['num_hidden_layers', 'n_layers', 'n_layer', 'num_layers'],
  numHeads: ['num_attention_heads', 'n_heads', 'n_head', 'num_heads'],
  feedForwardDim: ['intermediate_size', 'hidden_dim', 'n_inner', 'd_ff'],
  activation: ['hidden_act', 'activation', 'hidden_activation', 'activation_function'],
  epsilon: ['layer_norm_eps', 'norm_eps', 'layer_norm_epsilon', 'rms_norm_eps'],
  maxPositions: ['max_position_embeddings', 'n_positions'],
  vocabulary: ['vocab_size']
}

/** Activations of config.json by their names here. @type {Record<string, string>} */
const ACTIVATIONS = {
  gelu: 'gelu',
  gelu_new: 'gelu-tanh',
  gelu_fast: 'gelu-tanh',
  gelu_pytorch_tanh: 'gelu-tanh',
  quick_gelu: 'quick-gelu',
  relu: 'relu',
  silu: 'silu',
  swish: 'silu'
}

/**
 * @typedef {object} Sizes
 * @property {number} modelDim
 * @property {number} numLayers
 * @property {number} numHeads
 * @property {number} feedForwardDim
 * @property {string} activation
 * @property {number} epsilon
 * @property {number} maxPositions
 * @property {number} vocabulary
 */

/**
 * The sizes that every transformer has.
 *
 * @param {Record<string, any>} config
 * @param {Partial<Sizes>} defaults  of the family
 * @returns {Sizes}
 */
export function readSizes(config, defaults) {
  const sizes = /** @type {Record<string, any>} */ ({})
  for (const [name, synonyms] of Object.entries(SYNONYMS)) {
    const given = synonyms.find((synonym) => config[synonym] !== undefined && config[synonym] !== null)
    const value = given === undefined ? /** @type {any} */ (defaults)[name] : config[given]
    if (value === undefined) throw fault('FORMAT', 'config.json', `an entry ${synonyms[0]}`, 'none')
    sizes[name] = name === 'activation' ? readActivation(given ?? name, value) : readNumber(given ?? name, name, value)
  }
  return /** @type {Sizes} */ (sizes)
}

/**
 * @param {string} entry
 * @param {string} name
 * @param {unknown} value
 */
function readNumber(entry, name, value) {
  const isFit = name === 'epsilon' ? Number(value) >= 0 : Number.isSafeInteger(value) && Number(value) > 0
  if (typeof value === 'number' && isFit) return value
  throw fault('FORMAT', `config.json: ${entry}`, 'a positive number', describe(value))
}

/**
 * @param {string} entry
 * @param {unknown} value
 */
export function readActivation(entry, value) {
  const known = typeof value === 'string' && Object.hasOwn(ACTIVATIONS, value) ? ACTIVATIONS[value] : undefined
  if (known !== undefined) return known
  throw fault('FORMAT', `config.json: ${entry}`, `one of ${Object.keys(ACTIVATIONS).join(', ')}`, describe(value))
}

/**
 * Refuses a configuration that asks for what a family does not do here.
 *
 * @param {Record<string, any>} config
 * @param {Record<string, readonly unknown[]>} allowed  values of entries; an absent entry is allowed
 */
export function refuseOthers(config, allowed) {
  for (const [entry, values] of Object.entries(allowed)) {
    const value = config[entry]
    if (value === undefined || value === null || values.includes(value)) continue
    throw fault('FORMAT', `config.json: ${entry}`, values.map(describe).join(' or '), describe(value))
  }
}
