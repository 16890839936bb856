// The entry of browsers and their bundlers: the WebAssembly bytes are in the JavaScript, so there is no file to find.

import { relaxed, simd } from '../../packages/wasm/attention.inline.js'
import { createEntry } from '../entry.js'
import { only, openSource, openWasm, variants } from '../wasm.js'
import { webLoader } from '../web.js'

/** @param {string} text  the module, deflated and in base 64 */
async function inflate(text) {
  const bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0))
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream('deflate-raw'))
  return new Response(stream).arrayBuffer()
}

function openInlined() {
  return only(
    'the inlined module',
    'WebAssembly with SIMD is needed: see the list of engines in the README.',
    async () => openWasm(await WebAssembly.compile(await inflate(variants()[0] === 'relaxed' ? relaxed : simd)))
  )
}

export const {
  AttentionError,
  BatchError,
  BatchProcessor,
  CrossAttention,
  FlashAttention,
  Graph,
  GraphAttention,
  GraphConvolution,
  GraphLayer,
  GraphSage,
  GraphTransformer,
  HyperbolicAttention,
  KVCache,
  Layer,
  LinearAttention,
  MultiHeadAttention,
  PerformanceMonitor,
  ScaledDotProductAttention,
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
  mergeAttention,
  normalize,
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
} = createEntry(webLoader((source) => (source === undefined ? openInlined() : openSource(source))))
