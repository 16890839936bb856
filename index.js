// The entry of Node, Deno and Bun: chooses a backend at the first call, and hands out the API bound to it.

import { createEntry } from './lib/entry.js'
import { loader } from './lib/loader.js'

export const {
  AttentionError,
  CrossAttention,
  Graph,
  GraphAttention,
  GraphConvolution,
  GraphLayer,
  GraphSage,
  GraphTransformer,
  Layer,
  MultiHeadAttention,
  PerformanceMonitor,
  SelfAttention,
  TransformerEncoderLayer,
  attentionWeights,
  backend,
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
  normalize,
  propagate,
  reshape,
  rmsNorm,
  saveSafetensors,
  scaledDotProductAttention,
  silu,
  softmax,
  version
} = createEntry(loader)
