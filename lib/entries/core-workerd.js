// The entry of Cloudflare's runtime for `/core`, which does not compile bytes: the module is imported compiled, and starts at
// once. There is one variant for all machines, so that results do not depend on where a request is handled; a compiled
// module cannot be patched either.

import module from '../../packages/wasm/attention.core.simd.wasm'
import { createCore } from '../face/core.js'
import { createEntry } from './entry.js'
import { compiledLoader } from '../loaders/web.js'

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
} = createEntry(compiledLoader(module), createCore)
