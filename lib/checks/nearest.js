// Suggestions for misspelled names.

/**
 * The candidate with the smallest edit distance to a name; ties go to the earliest.
 *
 * @param {string} name
 * @param {readonly string[]} candidates
 */
export function nearest(name, candidates) {
  const distances = candidates.map((candidate) => distanceOf(name, candidate))
  return candidates[distances.indexOf(Math.min(...distances))]
}

/**
 * The nearest candidate, if its distance is at most a third of the name's length.
 *
 * @param {string} name
 * @param {readonly string[]} candidates
 */
export function suggestion(name, candidates) {
  const found = nearest(name, candidates)
  return distanceOf(name, found) <= name.length / 3 ? found : undefined
}

/**
 * The edit distance between two names, ignoring case and separators.
 *
 * @param {string} a
 * @param {string} b
 */
function distanceOf(a, b) {
  return editDistance(fold(a), fold(b))
}

/**
 * Levenshtein distance: the number of insertions, deletions and substitutions that turn `a` into `b`.
 *
 * @param {string} a
 * @param {string} b
 */
export function editDistance(a, b) {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j)
  for (let i = 0; i < a.length; i++) {
    const next = [i + 1]
    for (let j = 0; j < b.length; j++)
      next.push(Math.min(row[j] + (a[i] === b[j] ? 0 : 1), row[j + 1] + 1, next[j] + 1))
    row = next
  }
  return row[b.length]
}

/**
 * Option names of other libraries with their equivalents here, the likeliest first.
 *
 * @type {Record<string, readonly string[]>}
 */
const OTHER_LIBRARIES = {
  add_self_loops: ['addSelfLoops'],
  attention_mask: ['mask', 'kvLengths'],
  attn_mask: ['mask'],
  average_attn_weights: ['averageWeights'],
  bias: ['useBias'],
  cu_seqlens_k: ['cuSeqlensKeys'],
  cu_seqlens_q: ['cuSeqlens'],
  d_model: ['modelDim'],
  dim_feedforward: ['feedForwardDim'],
  dropout_p: ['dropout'],
  edge_dim: ['edgeFeatures'],
  embed_dim: ['modelDim'],
  enable_gqa: ['kvHeads'],
  heads: ['numHeads'],
  hidden_size: ['modelDim'],
  in_channels: ['inFeatures'],
  intermediate_size: ['feedForwardDim'],
  is_causal: ['causal'],
  key_padding_mask: ['kvLengths', 'mask'],
  layer_norm_eps: ['epsilon'],
  need_weights: ['weights'],
  nhead: ['numHeads'],
  num_attention_heads: ['numHeads'],
  num_heads: ['numHeads'],
  num_key_value_heads: ['kvHeads'],
  num_kv_heads: ['kvHeads'],
  out_channels: ['outFeatures'],
  output_attentions: ['weights'],
  position_bias: ['relativeBias'],
  rms_norm_eps: ['epsilon'],
  rope_theta: ['base'],
  rotary_dim: ['dim'],
  s_aux: ['sinks'],
  sliding_window: ['window'],
  softmax_scale: ['scale'],
  src_key_padding_mask: ['kvLengths', 'mask'],
  window_size: ['window']
}

/** @param {string} name */
const fold = (name) => name.replaceAll(/[-_]/g, '').slice(0, 64).toLowerCase()

const elsewhere = new Map(Object.entries(OTHER_LIBRARIES).map(([name, names]) => [fold(name), names]))

/**
 * The known names that `name` probably means: equivalents of another library's name, or the nearest one.
 *
 * @param {string} name
 * @param {readonly string[]} known
 * @returns {readonly string[]}
 */
export function meantNames(name, known) {
  const names = elsewhere.get(fold(name))?.filter((candidate) => known.includes(candidate)) ?? []
  if (names.length > 0 || known.length === 0) return names
  const near = suggestion(name, known)
  return near === undefined ? [] : [near]
}
