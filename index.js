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
  LinearAttention,
  MultiHeadAttention,
  PerformanceMonitor,
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
  normalize,
  propagate,
  reshape,
  saveSafetensors,
  scaledDotProductAttention,
  softmax,
  version
} = createEntry(loader)
