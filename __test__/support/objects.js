// One object of every kind that occupies a backend's memory; most of them take megabytes.

/** @typedef {import('@ruvector/attention').Attention} Attention */

/** @param {readonly number[]} shape */
export const zeros = (shape) => ({ data: new Float32Array(shape.reduce((a, b) => a * b, 1)), shape })

const [MODEL, HEADS, EDGES] = [1024, 16, 5e5]
const x = zeros([1, 2, MODEL])
const block = zeros([1, HEADS, 2, MODEL / HEADS])
const ofModel = { modelDim: MODEL, numHeads: HEADS }
const ofNodes = { inFeatures: MODEL, outFeatures: MODEL }

/** @param {Attention} attention @param {number} numEdges */
const graphOf = ({ Graph }, numEdges) =>
  Graph.fromEdges({ numNodes: 10, source: new Int32Array(numEdges), target: new Int32Array(numEdges) })

/**
 * Functions that create an object, use it, and return it.
 *
 * @type {Record<string, (attention: Attention) => object>}
 */
export const OBJECTS = {
  KVCache: ({ KVCache }) => new KVCache({ kvHeads: HEADS, headDim: 64, capacity: 2048 }).append(block, block),
  'KVCache, ring': ({ KVCache }) =>
    new KVCache({ kvHeads: HEADS, headDim: 64, capacity: 512, window: 512 }).append(block, block),
  SelfAttention: ({ SelfAttention }) => used(new SelfAttention(ofModel), x),
  MultiHeadAttention: ({ MultiHeadAttention }) => used(new MultiHeadAttention(ofModel), x, x, x),
  CrossAttention: ({ CrossAttention }) => used(new CrossAttention(ofModel), x, x),
  TransformerEncoderLayer: ({ TransformerEncoderLayer }) =>
    used(new TransformerEncoderLayer({ modelDim: 512, numHeads: 8, feedForwardDim: 2048 }), zeros([1, 2, 512])),
  'SelfAttention, loaded': ({ SelfAttention, loadSafetensors, saveSafetensors }) => {
    const layer = new SelfAttention(ofModel)
    layer.loadStateDict(loadSafetensors(saveSafetensors(layer.stateDict())))
    return used(layer, x)
  },
  Graph: (attention) => {
    const graph = graphOf(attention, EDGES)
    attention.edgeSoftmax(graph, zeros([EDGES, 1]))
    return graph
  },
  ...Object.fromEntries(
    /** @type {const} */ (['GraphConvolution', 'GraphSage', 'GraphAttention', 'GraphTransformer']).map((name) => [
      name,
      (/** @type {Attention} */ attention) => {
        const layer = /** @type {import('@ruvector/attention').GraphLayer} */ (new attention[name](ofNodes))
        return used(layer, graphOf(attention, 4), zeros([10, MODEL]))
      }
    ])
  ),
  LinearAttention: ({ LinearAttention }) => {
    const x = zeros([1, 2, 16])
    return used(new LinearAttention({ modelDim: 16, featureMap: 'favor+', featureDim: 2 ** 15 }), x, x, x)
  },
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
