// The entry that fetches the .wasm and its patch as separate files for `/core`: smaller, if the bundler or server
// delivers them.

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
  Embedding,
  FlashAttention,
  KVCache,
  LatentAttention,
  Layer,
  Linear,
  MultiHeadAttention,
  PerformanceMonitor,
  ScaledDotProductAttention,
  SelfAttention,
  TransformerDecoderLayer,
  TransformerEncoderLayer,
  add,
  alibiBias,
  attentionWeights,
  backend,
  causalConvolution,
  causalConvolutionAsync,
  computeStats,
  concat,
  convert,
  createCausalMask,
  createPaddingMask,
  createTensor,
  elu,
  embedding,
  gelu,
  init,
  layerNorm,
  linear,
  loadBackend,
  loadSafetensors,
  meanPool,
  memoryUsage,
  mergeAttention,
  multiply,
  normalize,
  openSafetensors,
  relativePositionBias,
  relu,
  reshape,
  rmsNorm,
  rotaryEmbedding,
  rotaryFrequencies,
  saveSafetensors,
  scaledDotProductAttention,
  scaledDotProductAttentionAsync,
  sigmoid,
  silu,
  softmax,
  tanh,
  topK,
  topKAsync,
  transpose,
  unfold,
  version
} = createEntry(webLoader(open), createCore)
