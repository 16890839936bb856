// The entry that fetches the .wasm and its patch as separate files for `/core`: smaller, if the bundler or server delivers them.

import { createCore } from '../face/core.js'
import { createEntry } from './entry.js'
import { openDelivered } from '../loaders/delivered.js'
import { webLoader } from '../loaders/web.js'

// Both are literals, in the only form that bundlers recognize.
const open = openDelivered('attention.core', () => ({
  wasm: new URL('../../packages/wasm/attention.core.simd.wasm', import.meta.url),
  patch: new URL('../../packages/wasm/attention.core.relaxed.patch', import.meta.url)
}))

export const {
  AttentionError,
  BatchError,
  BatchProcessor,
  CrossAttention,
  DecoderLayer,
  FlashAttention,
  KVCache,
  LatentAttention,
  Layer,
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
  reshape,
  rmsNorm,
  rotaryEmbedding,
  saveSafetensors,
  scaledDotProductAttention,
  scaledDotProductAttentionAsync,
  silu,
  softmax,
  version
} = createEntry(webLoader(open), createCore)
