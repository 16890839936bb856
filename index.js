// The entry of Node, Deno and Bun: chooses a backend at the first call, and hands out the API bound to it.

import { createEntry } from './lib/entry.js'
import { loader } from './lib/loader.js'

export const {
  AttentionError,
  CrossAttention,
  Layer,
  MultiHeadAttention,
  SelfAttention,
  TransformerEncoderLayer,
  attentionWeights,
  backend,
  createTensor,
  gelu,
  init,
  layerNorm,
  linear,
  loadBackend,
  loadSafetensors,
  meanPool,
  memoryUsage,
  reshape,
  rmsNorm,
  saveSafetensors,
  scaledDotProductAttention,
  silu,
  softmax,
  version
} = createEntry(loader)
