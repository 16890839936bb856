// One object of every kind that occupies a backend's memory; most of them take megabytes. Creating them leaves little
// else to collect, so that only their own size can tell the engine when to do it.

/** @typedef {import('@ruvector/attention').Attention} Attention */

/** @param {readonly number[]} shape */
export const zeros = (shape) => ({ data: new Float32Array(shape.reduce((a, b) => a * b, 1)), shape })

const [MODEL, HEADS] = [1024, 16]
const [x, small, narrow] = [zeros([1, 2, MODEL]), zeros([1, 2, 512]), zeros([1, 2, 16])]
const [nodes, block] = [zeros([2, MODEL]), zeros([1, HEADS, 2, MODEL / HEADS])]
const endpoints = new Int32Array(5e5)
const [matrix, vector] = [zeros([MODEL, MODEL]), zeros([MODEL])]
const ofModel = { modelDim: MODEL, numHeads: HEADS }
const ofLatents = { ...ofModel, latentRank: 256, nopeDim: 32, rotaryDim: 32, valueDim: 32, causal: true }
const ofNodes = { inFeatures: MODEL, outFeatures: MODEL }
const state = {
  in_proj_weight: zeros([3 * MODEL, MODEL]),
  in_proj_bias: zeros([3 * MODEL]),
  'out_proj.weight': matrix,
  'out_proj.bias': vector
}

/**
 * Functions that create an object, use it, and return it.
 *
 * @type {Record<string, (attention: Attention) => object>}
 */
export const OBJECTS = {
  KVCache: ({ KVCache }) => new KVCache({ kvHeads: HEADS, headDim: 64, capacity: 2048 }).append(block, block),
  'KVCache, ring': ({ KVCache }) =>
    new KVCache({ kvHeads: HEADS, headDim: 64, capacity: 512, window: 512 }).append(block, block),
  ...Object.fromEntries(
    /** @type {const} */ (['f16', 'q8_0']).map((type) => [
      `KVCache, ${type}`,
      (/** @type {Attention} */ { KVCache }) =>
        new KVCache({ kvHeads: HEADS, headDim: 64, capacity: 2048, type }).append(block, block)
    ])
  ),
  SelfAttention: ({ SelfAttention }) => used(new SelfAttention(ofModel), x),
  'SelfAttention, loaded': ({ SelfAttention }) => used(new SelfAttention(ofModel).loadStateDict(state), x),
  MultiHeadAttention: ({ MultiHeadAttention }) => used(new MultiHeadAttention(ofModel), x, x, x),
  CrossAttention: ({ CrossAttention }) => used(new CrossAttention(ofModel), x, x),
  TransformerEncoderLayer: ({ TransformerEncoderLayer }) =>
    used(new TransformerEncoderLayer({ modelDim: 512, numHeads: 8, feedForwardDim: 2048 }), small),
  'TransformerEncoderLayer, 8 bits': ({ TransformerEncoderLayer }) =>
    used(new TransformerEncoderLayer({ modelDim: 512, numHeads: 8, feedForwardDim: 2048, weightType: 'q8_0' }), small),
  DecoderLayer: ({ DecoderLayer }) =>
    used(new DecoderLayer({ modelDim: 512, numHeads: 8, feedForwardDim: 1024 }), small),
  TransformerDecoderLayer: ({ TransformerDecoderLayer }) =>
    used(new TransformerDecoderLayer({ modelDim: 512, numHeads: 8, feedForwardDim: 1024 }), small, small),
  LatentAttention: ({ LatentAttention }) => used(new LatentAttention(ofLatents), x),
  'KVCache, latents': ({ LatentAttention }) => {
    const layer = new LatentAttention({ ...ofLatents, modelDim: 64 })
    const cache = layer.createCache({ capacity: 8192 })
    layer.forward(zeros([1, 2, 64]), { cache })
    layer.dispose()
    return cache
  },
  Linear: ({ Linear }) => used(new Linear({ inFeatures: MODEL, outFeatures: MODEL }), x),
  Embedding: ({ Embedding }) => used(new Embedding({ numEmbeddings: 256, embeddingDim: MODEL }), [7, 0, 7]),
  Graph: ({ Graph }) => {
    const graph = Graph.fromEdges({ numNodes: 10, source: endpoints, target: endpoints })
    graph.inDegrees()
    return graph
  },
  ...Object.fromEntries(
    /** @type {const} */ (['GraphConvolution', 'GraphSage', 'GraphAttention', 'GraphTransformer']).map((name) => [
      name,
      (/** @type {Attention} */ attention) => {
        const layer = /** @type {import('@ruvector/attention').GraphLayer} */ (new attention[name](ofNodes))
        return used(layer, attention.Graph.fromEdges({ numNodes: 2, source: [0], target: [1] }), nodes)
      }
    ])
  ),
  LinearAttention: ({ LinearAttention }) =>
    used(new LinearAttention({ modelDim: 16, featureMap: 'favor+', featureDim: 2 ** 15 }), narrow, narrow, narrow),
  // Its memory grows with the first position.
  LinearStream: ({ LinearAttention }) => {
    const stream = new LinearAttention({ modelDim: MODEL }).stream()
    stream.step(x, x, x)
    return stream
  },
  HyperbolicAttention: ({ HyperbolicAttention }) =>
    used(new HyperbolicAttention({ curvature: -1, inputs: 'tangent' }), x, x, x)
}

/**
 * @template {unknown[]} Inputs
 * @template {{ forward(...inputs: Inputs): unknown }} Mechanism
 * @param {Mechanism} mechanism
 * @param {Inputs} inputs
 */
function used(mechanism, ...inputs) {
  mechanism.forward(...inputs)
  return mechanism
}
