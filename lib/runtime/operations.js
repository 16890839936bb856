// Generated from the table of operations in crates/attention-calls by
// `UPDATE_OPERATIONS=1 cargo test -p ruvector-attention-calls --test operations`.

/** Each operation by its name: its number, and how many inputs it has. */
export const OPERATIONS = {
  // (q, k, v, mask, queryOffset, kvLengths, relativeBias, cuSeqlens, cuSeqlensKeys, sinks) => (output, weights, logSumExp, topWeights.values, topWeights.indices)
  scaledDotProductAttention: { number: 0, inputs: 10 },
  // (q, k, v, mask, queryOffset, kvLengths, relativeBias, cuSeqlens, cuSeqlensKeys, sinks) => (output, weights, logSumExp, topWeights.values, topWeights.indices)
  flashAttention: { number: 1, inputs: 10 },
  // (q, k, mask, queryOffset, kvLengths, relativeBias, cuSeqlens, cuSeqlensKeys, sinks) => (output)
  attentionWeights: { number: 2, inputs: 9 },
  // () => ()
  scaledDotProductOptions: { number: 3, inputs: 0 },
  // () => ()
  flashOptions: { number: 4, inputs: 0 },
  // (parts, parts) => (output, logSumExp)
  mergeAttention: { number: 5, inputs: 2 },
  // (x, positions, frequencies) => (output)
  rotaryEmbedding: { number: 6, inputs: 3 },
  // () => (object)
  createKVCache: { number: 7, inputs: 0 },
  // (k, v, lengths) => ()
  kvCacheAppend: { number: 8, inputs: 3 },
  // (q, mask, queryOffset, kvLengths, relativeBias, cuSeqlens, cuSeqlensKeys, sinks) => (output, weights, logSumExp, topWeights.values, topWeights.indices)
  kvCacheAttend: { number: 9, inputs: 8 },
  // (length) => ()
  kvCacheTruncate: { number: 10, inputs: 1 },
  // () => (lengths)
  kvCacheLengths: { number: 11, inputs: 0 },
  // (entries) => ()
  kvCacheReorder: { number: 12, inputs: 1 },
  // () => ()
  kvCacheCopy: { number: 13, inputs: 0 },
  // () => (keys, values, starts)
  kvCacheRead: { number: 14, inputs: 0 },
  // () => (object)
  createMultiHeadAttention: { number: 15, inputs: 0 },
  // () => (object)
  createSelfAttention: { number: 16, inputs: 0 },
  // () => (object)
  createCrossAttention: { number: 17, inputs: 0 },
  // (q, k, v, mask, queryOffset, kvLengths, relativeBias, cuSeqlens, cuSeqlensKeys, positions, frequencies) => (output, weights)
  multiHeadAttention: { number: 18, inputs: 11 },
  // () => (object)
  createTransformerEncoderLayer: { number: 19, inputs: 0 },
  // (x, mask, queryOffset, kvLengths, relativeBias, cuSeqlens, cuSeqlensKeys, positions, frequencies) => (output, weights)
  transformerEncoderLayer: { number: 20, inputs: 9 },
  // () => (object)
  createTransformerDecoderLayer: { number: 21, inputs: 0 },
  // (x, context, mask, queryOffset, kvLengths, relativeBias, cuSeqlens, cuSeqlensKeys, contextLengths, positions, frequencies) => (output, weights)
  transformerDecoderLayer: { number: 22, inputs: 11 },
  // () => (object)
  createLatentAttention: { number: 23, inputs: 0 },
  // (x, mask, queryOffset, kvLengths, relativeBias, cuSeqlens, cuSeqlensKeys, positions, frequencies) => (output, weights)
  latentAttention: { number: 24, inputs: 9 },
  // () => (object)
  createDecoderLayer: { number: 25, inputs: 0 },
  // (x, mask, queryOffset, kvLengths, relativeBias, cuSeqlens, cuSeqlensKeys, positions, frequencies) => (output, weights)
  decoderLayer: { number: 26, inputs: 9 },
  // () => (object)
  createLinear: { number: 27, inputs: 0 },
  // (x) => (output)
  linearLayer: { number: 28, inputs: 1 },
  // () => (object)
  createEmbedding: { number: 29, inputs: 0 },
  // (ids) => (output)
  embeddingLayer: { number: 30, inputs: 1 },
  // (x) => (output)
  softmax: { number: 31, inputs: 1 },
  // (x, weight, scales, bias) => (output)
  linear: { number: 32, inputs: 4 },
  // (x, weight, bias) => (output)
  layerNorm: { number: 33, inputs: 3 },
  // (x, weight) => (output)
  rmsNorm: { number: 34, inputs: 2 },
  // (x) => (output)
  gelu: { number: 35, inputs: 1 },
  // (x) => (output)
  silu: { number: 36, inputs: 1 },
  // (x) => (output)
  relu: { number: 37, inputs: 1 },
  // (x) => (output)
  tanh: { number: 38, inputs: 1 },
  // (x) => (output)
  sigmoid: { number: 39, inputs: 1 },
  // (x) => (output)
  elu: { number: 40, inputs: 1 },
  // (a, b) => (output)
  add: { number: 41, inputs: 2 },
  // (a, b) => (output)
  multiply: { number: 42, inputs: 2 },
  // (queries, vectors, scales) => (values, indices)
  topK: { number: 43, inputs: 3 },
  // (x, lengths, cuSeqlens) => (output)
  meanPool: { number: 44, inputs: 3 },
  // (tensor) => (mean, std, min, max)
  stats: { number: 45, inputs: 1 },
  // (tensor) => (output)
  normalize: { number: 46, inputs: 1 },
  // (source, target) => (object)
  createGraph: { number: 47, inputs: 2 },
  // () => (output)
  inDegrees: { number: 48, inputs: 0 },
  // (nodes, fanouts, call) => (nodes, edges, source, target)
  sampleNeighbors: { number: 49, inputs: 3 },
  // (x, edgeWeight) => (output)
  propagate: { number: 50, inputs: 2 },
  // (scores) => (output)
  edgeSoftmax: { number: 51, inputs: 1 },
  // () => (object)
  createGraphConvolution: { number: 52, inputs: 0 },
  // () => (object)
  createGraphSage: { number: 53, inputs: 0 },
  // () => (object)
  createGraphAttention: { number: 54, inputs: 0 },
  // () => (object)
  createGraphTransformer: { number: 55, inputs: 0 },
  // (x, xTarget, edgeAttr, edgeWeight) => (output, weights)
  graphLayer: { number: 56, inputs: 4 },
  // () => (object)
  createLinearAttention: { number: 57, inputs: 0 },
  // (q, k, v, kvLengths, decay, beta, state) => (output, state)
  linearAttention: { number: 58, inputs: 7 },
  // (x) => (output)
  linearFeatureMap: { number: 59, inputs: 1 },
  // () => (object)
  createLinearStream: { number: 60, inputs: 0 },
  // (q, k, v, decay, beta, state) => (output, state)
  linearStreamStep: { number: 61, inputs: 6 },
  // () => ()
  linearStreamReset: { number: 62, inputs: 0 },
  // (x, weight, bias, state) => (output, state)
  causalConvolution: { number: 63, inputs: 4 },
  // () => (object)
  createHyperbolicAttention: { number: 64, inputs: 0 },
  // (q, k, v, mask, queryOffset, kvLengths) => (output, weights)
  hyperbolicAttention: { number: 65, inputs: 6 },
  // (first, second, third) => (output)
  hyperbolicFunction: { number: 66, inputs: 3 },
  // (a, b) => (output)
  hyperbolicDistances: { number: 67, inputs: 2 },
  // (points, weights) => (output)
  hyperbolicMidpoint: { number: 68, inputs: 2 },
  // (gradient, x, weight, scales) => (x, weight, bias)
  linearBackward: { number: 69, inputs: 4 },
  // (gradient, x, weight) => (x, weight, bias)
  normBackward: { number: 70, inputs: 3 },
  // (x) => (output)
  activation: { number: 71, inputs: 1 },
  // (gradient, x, factor) => (x, factor)
  activationBackward: { number: 72, inputs: 3 },
  // (gradient, output) => (x)
  softmaxBackward: { number: 73, inputs: 2 },
  // (x, shape) => (output)
  sumTo: { number: 74, inputs: 2 },
  // (gradient, ids) => (weight)
  embeddingBackward: { number: 75, inputs: 2 },
  // (gradient, x, lengths, cuSeqlens) => (x)
  meanPoolBackward: { number: 76, inputs: 4 },
  // (gradient, positions, frequencies) => (x)
  rotaryEmbeddingBackward: { number: 77, inputs: 3 },
  // (x, cuSeqlens) => (output)
  dropout: { number: 78, inputs: 2 },
  // (gradient, q, k, v, output, logSumExp, mask, queryOffset, kvLengths, relativeBias, cuSeqlens, cuSeqlensKeys, sinks) => (q, k, v, relativeBias, sinks)
  attentionBackward: { number: 79, inputs: 13 },
  // (gradient, q, k, v, output, logSumExp, mask, queryOffset, kvLengths, relativeBias, cuSeqlens, cuSeqlensKeys, sinks) => (mask)
  attentionMaskBackward: { number: 80, inputs: 13 },
  // (gradient, q, k, v, kvLengths, decay, beta, state, stateGradient) => (q, k, v, decay, beta, state)
  linearAttentionBackward: { number: 81, inputs: 9 },
  // (gradient, x) => (x)
  linearFeatureMapBackward: { number: 82, inputs: 2 },
  // (gradient, x, weight, bias, state, stateGradient) => (x, weight, bias, state)
  causalConvolutionBackward: { number: 83, inputs: 6 },
  // (gradient, q, k, v, mask, queryOffset, kvLengths) => (q, k, v)
  hyperbolicAttentionBackward: { number: 84, inputs: 7 },
  // (gradient, first, second) => (first, second)
  hyperbolicFunctionBackward: { number: 85, inputs: 3 },
  // (gradient, a, b) => (a, b)
  hyperbolicDistancesBackward: { number: 86, inputs: 3 },
  // (gradient, points, weights) => (points, weights)
  hyperbolicMidpointBackward: { number: 87, inputs: 3 },
  // () => (object)
  createTensors: { number: 88, inputs: 0 },
  // (gradient, x, edgeWeight) => (x, edgeWeight)
  propagateBackward: { number: 89, inputs: 3 },
  // (gradient, output) => (scores)
  edgeSoftmaxBackward: { number: 90, inputs: 2 },
  // (values, sources, targets, attention, edges, projection) => (output)
  edgeAttention: { number: 91, inputs: 6 },
  // (gradient, values, sources, targets, attention, edges, projection) => (values, sources, targets, attention, edges, projection)
  edgeAttentionBackward: { number: 92, inputs: 7 }
}

/** @typedef {keyof typeof OPERATIONS} Operation */

/** Element types under their numbers in headers. */
export const ELEMENTS = Object.freeze({
  Float32Array: 1,
  Float64Array: 2,
  Uint16Array: 3,
  Int8Array: 4,
  Uint8Array: 5,
  Int32Array: 6
})

/** The sizes of the areas of a call's memory, in elements. */
export const HEADER = 512
export const RESULTS = 64
export const FLOATS = 2048
export const INTEGERS = 256
export const BYTES = 1024
