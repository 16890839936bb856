// The entry for `/core` of Node, Deno and Bun: a part of the package's main entry, whose backend it shares.

import { createCore } from '../face/core.js'
import { createEntry } from './entry.js'
import { loader } from '../loaders/loader.js'

export {
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
} from '../../index.js'
export const { loadBackend } = createEntry(loader, createCore)
