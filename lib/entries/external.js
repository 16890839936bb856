// The entry that fetches the .wasm as a separate file: smaller, if the bundler or server can deliver it.

import { fromFile } from '../runtime/async/spawn.js'
import { createEntry } from './entry.js'
import { openSource, variants } from '../loaders/wasm.js'
import { webLoader } from '../loaders/web.js'

// Both are literals, in the only form that bundlers recognize.
const simd = () => new URL('../../packages/wasm/attention.simd.wasm', import.meta.url)
const relaxed = () => new URL('../../packages/wasm/attention.relaxed.wasm', import.meta.url)
const worker = fromFile(() => new Worker(new URL('../runtime/async/worker.js', import.meta.url), { type: 'module' }))

/** Opens the file that was delivered with this entry: esbuild and Rollup, for example, deliver none. */
function openDelivered() {
  const [variant] = variants()
  const remedy = [
    `Copy node_modules/@ruvector/attention/packages/wasm/attention.${variant}.wasm to that address, since the bundler`,
    'did not, or tell init({ wasm }) where the file is.'
  ]
  return openSource(variant === 'relaxed' ? relaxed() : simd(), remedy.join(' '))
}

/** @param {unknown} source */
async function open(source) {
  const loaded = await (source === undefined ? openDelivered() : openSource(source))
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
