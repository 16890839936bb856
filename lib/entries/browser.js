// The entry of browsers and their bundlers: the WebAssembly bytes are in the JavaScript, so no file must be located.

import * as inlined from '../../packages/wasm/attention.inline.js'
import { createApi } from '../face/api.js'
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
} = createEntry(
  webLoader((source) => (source === undefined ? openInlined(inlined) : openSource(source))),
  createApi
)
