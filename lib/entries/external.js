// The entry that fetches the .wasm as a separate file: smaller, if the bundler or server can deliver it.

import { fromFile } from '../runtime/async/spawn.js'
import { createEntry } from './entry.js'
import { openSource } from '../loaders/wasm.js'
import { webLoader } from '../loaders/web.js'

// Both are literals, in the only form that bundlers recognize.
const wasm = () => new URL('../../packages/wasm/attention.simd.wasm', import.meta.url)
const patch = () => new URL('../../packages/wasm/attention.relaxed.patch', import.meta.url)
const worker = fromFile(() => new Worker(new URL('../runtime/async/worker.js', import.meta.url), { type: 'module' }))

const REMEDY = [
  'Copy attention.simd.wasm and attention.relaxed.patch from node_modules/@ruvector/attention/packages/wasm to that',
  'address, since the bundler did not, or tell init({ wasm, patch }) where the files are.'
].join(' ')

/** @param {import('../loaders/wasm.js').Source | undefined} source */
async function open(source) {
  // Without a source, the files delivered with this entry: esbuild and Rollup, for example, deliver none.
  const loaded = await (source ? openSource(source) : openSource({ wasm: wasm(), patch: patch() }, REMEDY))
  return { ...loaded, spawns: [worker, ...(loaded.spawns ?? [])] }
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
} = createEntry(webLoader(open))
