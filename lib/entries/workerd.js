// The entry of Cloudflare's runtime, which does not compile bytes: the module is imported compiled, and starts at
// once. There is one variant for all machines, so that results do not depend on where a request is handled; a compiled
// module cannot be patched either.

import module from '../../packages/wasm/attention.simd.wasm'
import { createApi } from '../face/api.js'
import { createEntry } from './entry.js'
import { compiledLoader } from '../loaders/web.js'

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
} = createEntry(compiledLoader(module), createApi)
