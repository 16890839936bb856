// Buffers that checkpoints hold in addition to parameters: constants that models compute themselves.

/**
 * Name endings of buffers that state dicts contain, after the sources of Transformers 4.9 to 5.23, timm 0.6 to
 * 1.0, fairseq, Meta's Llama and small models with ALiBi. Buffers that are not persistent, such as `cos_cached`, are in
 * no state dict.
 */
const BUFFERS = [
  // Frequencies and tables of rotary and sinusoidal positions.
  ['inv_freq', 'original_inv_freq', 'rope.freqs', 'embed_positions.weights', '_float_tensor', 'positions_encoding'],
  // Numbers of positions, tokens and relative positions.
  ['position_ids', 'token_type_ids', 'relative_position_index', 'attention_bias_idxs'],
  // Masks of attention and their values.
  ['masked_bias', 'causal_mask', 'attn_mask', 'mask', 'tril', 'alibi', 'slopes'],
  // Counters and format versions.
  ['num_batches_tracked', 'version', '_extra_state']
].flat()

/**
 * Returns true for a known buffer, recognized by its name below the layer's prefix and its shape.
 *
 * @param {string} name
 * @param {readonly number[]} shape
 */
export function isBuffer(name, shape) {
  if (BUFFERS.some((buffer) => name === buffer || name.endsWith(`.${buffer}`))) return true
  // GPT, GPT-2, GPT-Neo and GPT-NeoX keep their causal mask under the name of a bias.
  return /(^|\.)bias$/.test(name) && shape.length === 4 && shape[0] === 1 && shape[1] === 1 && shape[2] === shape[3]
}
