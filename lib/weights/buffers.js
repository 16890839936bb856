// Buffers that checkpoints hold in addition to parameters: constants that models compute themselves.

/** Name endings of buffers in models of Transformers, timm, fairseq and nanoGPT. */
const BUFFERS = [
  // Frequencies and tables of rotary and sinusoidal positions.
  ['inv_freq', 'original_inv_freq', 'long_inv_freq', 'short_inv_freq', 'cos_cached', 'sin_cached', 'freqs_cis'],
  ['rope.freqs', 'embed_positions', '_float_tensor', 'embed_positions.weights', 'sinusoidal_pos_embds'],
  // Indices of positions, tokens and buckets.
  ['position_ids', 'token_type_ids', 'relative_position_index', 'relative_coords_table', 'rel_pos_indices'],
  // Attention masks and their values.
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
  // GPT-2, GPT-Neo and GPT-NeoX name their causal mask `bias`.
  return /(^|\.)bias$/.test(name) && shape.length === 4 && shape[0] === 1 && shape[1] === 1 && shape[2] === shape[3]
}
