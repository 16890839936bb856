// The entry that fetches the .wasm and its patch as separate files: smaller, if the bundler or server delivers them.

import { createApi } from '../face/api.js'
import { createEntry } from './entry.js'
import { openDelivered } from '../loaders/delivered.js'
import { webLoader } from '../loaders/web.js'

// Both are literals, in the only form that bundlers recognize.
const open = openDelivered('attention', () => ({
  wasm: new URL('../../packages/wasm/attention.simd.wasm', import.meta.url),
  patch: new URL('../../packages/wasm/attention.relaxed.patch', import.meta.url)
}))

export const {
  AttentionError,
  BatchError,
  BatchProcessor,
  CrossAttention,
  DecoderLayer,
  FlashAttention,
  Graph,
  GraphAttention,
  GraphConvolution,
  GraphLayer,
  GraphSage,
  GraphTransformer,
  HyperbolicAttention,
  KVCache,
  LatentAttention,
  Layer,
  LinearAttention,
  MultiHeadAttention,
  PerformanceMonitor,
  ScaledDotProductAttention,
  SelfAttention,
  TransformerDecoderLayer,
  TransformerEncoderLayer,
  attentionWeights,
  backend,
  causalConvolution,
  causalConvolutionAsync,
  computeStats,
  createCausalMask,
  createPaddingMask,
  createTensor,
  edgeSoftmax,
  gelu,
  init,
  layerNorm,
  linear,
  loadBackend,
  loadSafetensors,
  meanPool,
  memoryUsage,
  mergeAttention,
  normalize,
  openSafetensors,
  propagate,
  reshape,
  rmsNorm,
  rotaryEmbedding,
  saveSafetensors,
  scaledDotProductAttention,
  scaledDotProductAttentionAsync,
  silu,
  softmax,
  version
} = createEntry(webLoader(open), createApi)
