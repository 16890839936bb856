// Names of attention parameters in the checkpoints of each family of models.

/**
 * The contents of a checkpoint's entry: one or more parameters, whose rows follow one another.
 *
 * @typedef {object} Source
 * @property {readonly string[]} parts  the parameters, such as `query` and `key`
 * @property {boolean} [transposed]  weights are `[in, out]`
 * @property {boolean} [byHead]  rows are ordered by key/value head first, then by parameter
 * @property {boolean} [scale]  a factor per row of the parameter, which the layer has folded into it
 * @property {boolean} [ungated]  only layers without a gate have it
 * @property {boolean} [ignored]  an entry of a neighboring module
 */
/**
 * The names of one family, below the prefix of the layer. `*` means `weight` and `bias`.
 *
 * @typedef {object} Family
 * @property {string} title
 * @property {Readonly<Record<string, string | Source>>} names
 * @property {Readonly<Record<string, unknown>>} [config]  settings of the family's layers that shapes do not tell
 * @property {readonly string[]} [zeros]  parameters whose biases are zeros if a checkpoint has none
 */

/** @param {string} parts @returns {Source} */
export const transposed = (parts) => ({ parts: parts.split(' '), transposed: true })
/** @param {string} parts @returns {Source} */
const byHead = (parts) => ({ parts: parts.split(' '), byHead: true })
/** @type {Source} */
const IGNORED = { parts: [], ignored: true }

const PROJECTIONS = 'query key value'
const LLAMA_INPUTS = { 'q_proj.*': 'query', 'k_proj.*': 'key', 'v_proj.*': 'value' }
const LLAMA = { ...LLAMA_INPUTS, 'o_proj.*': 'output' }
const NORMS = { 'q_norm.*': 'query_norm', 'k_norm.*': 'key_norm' }
const LETTERS = { 'q.*': 'query', 'k.*': 'key', 'v.*': 'value', 'o.*': 'output' }
const RELATIVE_BIAS = { 'relative_attention_bias.weight': 'relative_bias.weight' }
/** Parameters that are no weights or biases of a projection. */
const VECTORS = { sinks: 'sinks', bias_k: 'bias_k', bias_v: 'bias_v' }
const NEIGHBOR = { 'LayerNorm.*': IGNORED }

/** @type {Readonly<Record<string, Family>>} */
export const ATTENTION = {
  torch: {
    title: 'PyTorch',
    names: {
      'in_proj_*': PROJECTIONS,
      'q_proj_*': 'query',
      'k_proj_*': 'key',
      'v_proj_*': 'value',
      'out_proj.*': 'output',
      ...NORMS,
      ...RELATIVE_BIAS,
      ...VECTORS
    }
  },
  bert: {
    title: 'BERT',
    names: {
      'self.query.*': 'query',
      'self.key.*': 'key',
      'self.value.*': 'value',
      'output.dense.*': 'output',
      'output.LayerNorm.*': IGNORED
    }
  },
  // Qwen 2 has biases everywhere except in `o_proj`.
  llama: { title: 'Llama', names: { ...LLAMA, ...NORMS, ...RELATIVE_BIAS, ...VECTORS }, zeros: ['output'] },
  // Also BART, CLIP, SigLIP and wav2vec 2.0. Whisper has no bias for keys.
  whisper: { title: 'Whisper', names: { ...LLAMA_INPUTS, 'out_proj.*': 'output' }, zeros: ['key'] },
  // Also DeiT and DINOv2. Transformers 5 keeps them in memory under the names of Llama.
  vit: {
    title: 'ViT',
    names: {
      'attention.query.*': 'query',
      'attention.key.*': 'key',
      'attention.value.*': 'value',
      'output.dense.*': 'output',
      ...LLAMA
    }
  },
  distilbert: {
    title: 'DistilBERT',
    names: { 'q_lin.*': 'query', 'k_lin.*': 'key', 'v_lin.*': 'value', 'out_lin.*': 'output' }
  },
  albert: {
    title: 'ALBERT',
    names: { 'query.*': 'query', 'key.*': 'key', 'value.*': 'value', 'dense.*': 'output', ...NEIGHBOR }
  },
  t5: { title: 'T5', names: { ...LETTERS, ...RELATIVE_BIAS } },
  mpnet: { title: 'MPNet', names: { ...below('attn.', LETTERS), ...NEIGHBOR } },
  // torch.nn.Linear's weights are `[out, in]`, those of GPT-2's Conv1D `[in, out]`.
  gpt2: { title: 'GPT-2', names: { 'c_attn.*': transposed(PROJECTIONS), 'c_proj.*': transposed('output') } },
  // Also BLOOM.
  gpt_neox: { title: 'GPT-NeoX', names: { 'query_key_value.*': byHead(PROJECTIONS), 'dense.*': 'output' } },
  phi3: { title: 'Phi-3', names: { 'qkv_proj.*': PROJECTIONS, 'o_proj.*': 'output' } },
  modernbert: { title: 'ModernBERT', names: { 'Wqkv.*': PROJECTIONS, 'Wo.*': 'output' } },
  nomic: {
    title: 'Nomic',
    names: { 'Wqkv.*': PROJECTIONS, 'out_proj.*': 'output' },
    zeros: ['query', 'key', 'value', 'output']
  },
  timm: { title: 'timm', names: { 'qkv.*': PROJECTIONS, 'proj.*': 'output', ...NORMS } },
  diffusers: {
    title: 'diffusers',
    names: {
      'to_q.*': 'query',
      'to_k.*': 'key',
      'to_v.*': 'value',
      'to_out.0.*': 'output',
      'norm_q.*': 'query_norm',
      'norm_k.*': 'key_norm'
    },
    zeros: ['query', 'key', 'value']
  }
}

/**
 * Names under a prefix, and their parameters under another.
 *
 * @param {string} prefix
 * @param {Family['names']} names
 * @param {string} [owner]
 * @returns {Record<string, string | Source>}
 */
export function below(prefix, names, owner = '') {
  const own = (/** @type {string} */ parts) => parts.replace(/\S+/g, (part) => owner + part)
  return Object.fromEntries(
    Object.entries(names).map(([name, source]) => [
      prefix + name,
      typeof source === 'string' ? own(source) : { ...source, parts: source.parts.map(own) }
    ])
  )
}
