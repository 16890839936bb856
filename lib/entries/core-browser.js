// The entry of browsers and their bundlers for `/core`: the WebAssembly bytes are in the JavaScript, so no file must be
// located.

import * as inlined from '../../packages/wasm/attention.core.inline.js'
import { createCore } from '../face/core.js'
import { createEntry } from './entry.js'
import { openInlined } from '../loaders/inlined.js'
import { openSource } from '../loaders/wasm.js'
import { webLoader } from '../loaders/web.js'

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
} = createEntry(
  webLoader((source) => (source === undefined ? openInlined(inlined) : openSource(source))),
  createCore
)
