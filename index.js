// The entry of Node, Deno and Bun: chooses a backend at the first call, and hands out the API bound to it.

import { createEntry } from './lib/entry.js'
import { loader } from './lib/loader.js'

export const {
  AttentionError,
  CrossAttention,
  FlashAttention,
  Graph,
  GraphAttention,
  GraphConvolution,
  GraphLayer,
  GraphSage,
  GraphTransformer,
  KVCache,
  Layer,
  LinearAttention,
  MultiHeadAttention,
  PerformanceMonitor,
  ScaledDotProductAttention,
  SelfAttention,
  attentionWeights,
  backend,
  computeStats,
  createCausalMask,
  createPaddingMask,
  createTensor,
  edgeSoftmax,
  init,
  linear,
  loadBackend,
  loadSafetensors,
  memoryUsage,
  mergeAttention,
  normalize,
  propagate,
  reshape,
  rotaryEmbedding,
  saveSafetensors,
  scaledDotProductAttention,
  softmax,
  version
} = createEntry(loader)
