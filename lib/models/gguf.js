// A GGUF file as the folder that it was converted from: config.json, tokenizer.json and weights under their names
// there.

import { describe, fault } from '../checks/errors.js'
import { openGguf } from '../weights/gguf.js'
import { tokenizerOf } from './gguf-tokens.js'

/** @typedef {import('../weights/gguf.js').GgufFile} GgufFile */
/** @typedef {import('../weights/gguf-header.js').Value} Value */
/** @typedef {{ data: Float32Array, shape: number[] }} Matrix */
/**
 * A family: its `model_type`, its architecture, and true if rows of queries and keys are ordered for interleaved rotary
 * positions.
 *
 * @typedef {{ type: string, architecture: string, isInterleaved?: boolean, config?: Record<string, unknown> }} Family
 */

/** Families by `general.architecture`. @type {Readonly<Record<string, Family>>} */
const FAMILIES = {
  llama: { type: 'llama', architecture: 'LlamaForCausalLM', isInterleaved: true },
  qwen2: { type: 'qwen2', architecture: 'Qwen2ForCausalLM' },
  qwen3: { type: 'qwen3', architecture: 'Qwen3ForCausalLM' }
}

/** The entries around the layers, by their names in GGUF. */
const OUTER = /** @type {Readonly<Record<string, string>>} */ ({
  token_embd: 'model.embed_tokens',
  output_norm: 'model.norm',
  output: 'lm_head'
})

/** The entries of a layer. */
const INNER = /** @type {Readonly<Record<string, string>>} */ ({
  attn_norm: 'input_layernorm',
  attn_q: 'self_attn.q_proj',
  attn_k: 'self_attn.k_proj',
  attn_v: 'self_attn.v_proj',
  attn_output: 'self_attn.o_proj',
  attn_q_norm: 'self_attn.q_norm',
  attn_k_norm: 'self_attn.k_norm',
  ffn_norm: 'post_attention_layernorm',
  ffn_gate: 'mlp.gate_proj',
  ffn_up: 'mlp.up_proj',
  ffn_down: 'mlp.down_proj'
})

/** The folder of a GGUF file, as loadModel reads folders. */
export class GgufFolder {
  #file
  #family
  #config
  label = 'source'

  /**
   * @param {GgufFile} file
   * @param {Family} family
   */
  constructor(file, family) {
    this.#file = file
    this.#family = family
    this.#config = configOf(file, family)
  }

  /**
   * Opens a file; it is closed if that fails.
   *
   * @param {unknown} source
   */
  static async open(source) {
    const file = await openGguf(source)
    try {
      const architecture = String(file.metadata['general.architecture'])
      if (!Object.hasOwn(FAMILIES, architecture)) {
        const expected = `one of ${Object.keys(FAMILIES).join(', ')}`
        throw fault('FORMAT', 'general.architecture', expected, describe(file.metadata['general.architecture']))
      }
      return new GgufFolder(file, FAMILIES[architecture])
    } catch (error) {
      await file.close()
      throw error
    }
  }

  /** @param {string} name @returns {Promise<Record<string, any> | undefined>} */
  async object(name) {
    const { metadata } = this.#file
    if (name === 'config.json') return this.#config
    if (name === 'tokenizer.json') return tokenizerOf(metadata)
    if (name === 'tokenizer_config.json') return textsOf(metadata)
    return undefined
  }

  async json() {
    return undefined
  }

  async text() {
    return undefined
  }

  /** The weights under the names of the folder. */
  async weights() {
    return new GgufWeights(this.#file, this.#family, this.#config)
  }

  close() {
    return this.#file.close()
  }
}

/** The tensors of a GGUF file under the names of the folder, in the order that its config.json describes. */
class GgufWeights {
  #file
  #heads
  /** @type {Map<string, string>} */
  #sources

  /**
   * @param {GgufFile} file
   * @param {Family} family
   * @param {Record<string, any>} config
   */
  constructor(file, { isInterleaved = false }, config) {
    this.#file = file
    this.#heads = isInterleaved
      ? { q_proj: config.num_attention_heads, k_proj: config.num_key_value_heads ?? config.num_attention_heads }
      : {}
    this.#sources = new Map(file.names.map((name) => [nameOf(name), name]))
    this.names = [...this.#sources.keys()]
  }

  /** @param {string} name */
  #source(name) {
    const source = this.#sources.get(name)
    if (source === undefined) throw fault('FORMAT', name, 'a tensor of the file', 'none')
    return source
  }

  /** @param {string} name */
  describe(name) {
    // Of any type, tensors are read as 32-bit floats.
    const { shape } = this.#file.describe(this.#source(name))
    return { shape }
  }

  /** @param {string} name */
  async tensor(name) {
    const tensor = await this.#file.tensor(this.#source(name))
    const projection = /\.([qk]_proj)\.(weight|bias)$/.exec(name)?.[1]
    const heads = /** @type {Record<string, number>} */ (this.#heads)[projection ?? '']
    return heads === undefined ? tensor : inHalves(name, tensor, heads)
  }

  /** @param {{ prefix: string }} options */
  async stateDict({ prefix }) {
    /** @type {Record<string, Matrix>} */
    const state = {}
    for (const name of this.names) {
      if (name.startsWith(prefix)) state[name.slice(prefix.length)] = await this.tensor(name)
    }
    if (Object.keys(state).length > 0) return state
    throw fault('FORMAT', 'source', `tensors of the layer '${prefix}'`, 'none')
  }

  close() {
    return this.#file.close()
  }
}

/** The name of a tensor in the folder, or its own if it is unknown there. @param {string} name */
function nameOf(name) {
  const [, layer, part, kind] = /^(?:blk\.(\d+)\.)?(\w+)\.(weight|bias)$/.exec(name) ?? []
  const known = layer === undefined ? OUTER : INNER
  if (part === undefined || !Object.hasOwn(known, part)) return name
  return layer === undefined ? `${known[part]}.${kind}` : `model.layers.${layer}.${known[part]}.${kind}`
}

/**
 * Rows of each head whose pairs are interleaved, (0, 1), (2, 3) and so on, in the order of halves: all first, then all
 * second ones.
 *
 * @param {string} name
 * @param {Matrix} matrix
 * @param {number} heads
 * @returns {Matrix}
 */
function inHalves(name, { data, shape }, heads) {
  const [rows, width = 1] = shape
  const half = rows / heads / 2
  if (!Number.isInteger(half)) throw fault('SHAPE', name, `rows of ${heads} heads of an even size`, `${rows}`)
  const output = new Float32Array(data.length)
  for (let row = 0; row < rows; row++) {
    const [head, at] = [Math.floor(row / (2 * half)), row % (2 * half)]
    const target = head * 2 * half + (at % 2) * half + Math.floor(at / 2)
    output.set(data.subarray(row * width, (row + 1) * width), target * width)
  }
  return { data: output, shape }
}

/**
 * The config.json of a file.
 *
 * @param {GgufFile} file
 * @param {Family} family
 */
function configOf({ metadata, names }, { type, architecture }) {
  const own = (/** @type {string} */ key) => metadata[`${metadata['general.architecture']}.${key}`]
  // Frequencies of Llama 3.1 and later, which are no dict of a config.json.
  if (names.includes('rope_freqs.weight')) {
    throw fault('FORMAT', 'rope_freqs.weight', 'rotary positions that the metadata describes', 'a table of factors')
  }
  const config = {
    model_type: type,
    architectures: [architecture],
    hidden_size: own('embedding_length'),
    num_hidden_layers: own('block_count'),
    num_attention_heads: own('attention.head_count'),
    num_key_value_heads: own('attention.head_count_kv'),
    head_dim: own('attention.key_length'),
    intermediate_size: own('feed_forward_length'),
    max_position_embeddings: own('context_length'),
    rms_norm_eps: own('attention.layer_norm_rms_epsilon'),
    rope_theta: own('rope.freq_base'),
    rope_scaling: scalingOf(own),
    hidden_act: 'silu',
    ...(names.includes('blk.0.attn_output.bias') && { attention_bias: true }),
    bos_token_id: metadata['tokenizer.ggml.bos_token_id'],
    eos_token_id: endsOf(metadata)
  }
  return Object.fromEntries(Object.entries(config).filter(([, value]) => value !== undefined))
}

/**
 * @param {(key: string) => Value | undefined} own
 * @returns {Record<string, unknown> | undefined}
 */
function scalingOf(own) {
  const type = own('rope.scaling.type')
  if (type === undefined || type === 'none') return undefined
  const [factor, original] = [own('rope.scaling.factor'), own('rope.scaling.original_context_length')]
  if (type === 'linear') return { rope_type: 'linear', factor }
  if (type === 'yarn') {
    return { rope_type: 'yarn', factor, ...(original !== undefined && { original_max_position_embeddings: original }) }
  }
  throw fault('FORMAT', 'rope.scaling.type', "'none', 'linear' or 'yarn'", describe(type))
}

/** The tokens that end a text, of a turn too. @param {Readonly<Record<string, Value>>} metadata */
function endsOf(metadata) {
  const ends = ['eos', 'eot', 'eom'].map((name) => metadata[`tokenizer.ggml.${name}_token_id`])
  return ends.filter((end) => end !== undefined)
}

/** The tokenizer_config.json of a file. @param {Readonly<Record<string, Value>>} metadata */
function textsOf(metadata) {
  const tokens = /** @type {string[]} */ (metadata['tokenizer.ggml.tokens'] ?? [])
  const token = (/** @type {string} */ name) => tokens[Number(metadata[`tokenizer.ggml.${name}_token_id`])]
  return {
    bos_token: token('bos'),
    eos_token: token('eos'),
    chat_template: metadata['tokenizer.chat_template']
  }
}
