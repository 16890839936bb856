// Every mechanism of the package with a problem for it: the formula, the shapes of the inputs, and the call.

/** @typedef {import('@ruvector/attention').Attention} Attention */
/** @typedef {import('@ruvector/attention').Tensor} Tensor */
/** @typedef {{ dispose: () => void, numParameters?: number }} Owned */
/**
 * - `computes`: the result as a formula.
 * - `inputs`: the shape of each tensor, by name.
 * - `edges`: incoming edges per node, if the mechanism works on a graph.
 * - `prepare`: creates the objects that outlive a call (`owned`), and the call, which returns the result.
 *
 * @typedef {{
 *   name: string,
 *   computes: string,
 *   inputs: Record<string, number[]>,
 *   edges?: number,
 *   prepare: (attention: Attention, inputs: Record<string, Tensor>) => { call: () => Tensor, owned?: Owned[] }
 * }} Mechanism
 */

const [BATCH, HEADS, LENGTH, DIM] = [1, 8, 128, 64]
const MODEL = HEADS * DIM
const [NODES, FEATURES, EDGES_PER_NODE] = [1000, 64, 8]

const heads = [BATCH, HEADS, LENGTH, DIM]
const qkv = { q: heads, k: heads, v: heads }
const token = { q: [BATCH, HEADS, 1, DIM], k: heads, v: heads }
/** Small heads: points with many coordinates crowd at the boundary of hyperbolic space. */
const points = [BATCH, HEADS, LENGTH, 16]
const rows = { x: [BATCH, LENGTH, MODEL] }
const layer = { numHeads: HEADS, headDim: DIM, seed: 42 }

/**
 * Edges from the nodes before each node, around a ring.
 *
 * @param {Attention} attention
 * @param {number} numNodes
 * @param {number} degree
 */
function ring({ Graph }, numNodes, degree) {
  const edges = Array.from({ length: numNodes * degree }, (_, edge) => [Math.floor(edge / degree), (edge % degree) + 1])
  return Graph.fromEdges({
    numNodes,
    source: edges.map(([target, step]) => (target - step * step + numNodes * degree) % numNodes),
    target: edges.map(([target]) => target)
  })
}

/** @param {'elu' | 'relu' | 'favor+'} featureMap @param {string} computes @returns {Mechanism} */
const linear = (featureMap, computes) => ({
  name: `LinearAttention, ${featureMap}`,
  computes,
  inputs: qkv,
  prepare({ LinearAttention }, { q, k, v }) {
    const attention = new LinearAttention({ modelDim: MODEL, numHeads: HEADS, featureMap, seed: 42 })
    return { call: () => attention.forward(q, k, v).output, owned: [attention] }
  }
})

/** @param {'poincare' | 'lorentz'} manifold @returns {Mechanism} */
const hyperbolic = (manifold) => ({
  name: `HyperbolicAttention, ${manifold}`,
  computes: 'midpoints of v under softmax(−distance(q, k))',
  inputs: { q: points, k: points, v: points },
  prepare({ HyperbolicAttention }, { q, k, v }) {
    // Any vector is a tangent vector at the origin, on both manifolds.
    const space = new HyperbolicAttention({ curvature: -1, numHeads: HEADS, manifold, inputs: 'tangent' })
    return { call: () => space.forward(q, k, v).output, owned: [space] }
  }
})

/**
 * @param {'GraphConvolution' | 'GraphSage' | 'GraphAttention' | 'GraphTransformer'} name
 * @param {string} computes
 * @param {{ outFeatures: number, numHeads?: number }} sizes
 * @returns {Mechanism}
 */
const graphLayer = (name, computes, sizes) => ({
  name,
  computes,
  inputs: { x: [NODES, FEATURES] },
  edges: EDGES_PER_NODE,
  prepare(attention, { x }) {
    const graph = ring(attention, NODES, EDGES_PER_NODE)
    const layer = new attention[name]({ inFeatures: FEATURES, ...sizes, seed: 42 })
    return { call: () => layer.forward(graph, x).output, owned: [layer, graph] }
  }
})

/** @type {readonly Mechanism[]} */
export const mechanisms = [
  {
    name: 'scaledDotProductAttention',
    computes: 'softmax(q kᵀ / √D) v',
    inputs: qkv,
    prepare: ({ scaledDotProductAttention }, { q, k, v }) => ({
      call: () => scaledDotProductAttention(q, k, v).output
    })
  },
  {
    name: 'ScaledDotProductAttention',
    computes: 'softmax(scale · q kᵀ) v, its settings kept',
    inputs: qkv,
    prepare({ ScaledDotProductAttention }, { q, k, v }) {
      const attention = new ScaledDotProductAttention(DIM, { scale: 0.1 })
      return { call: () => attention.forward(q, k, v).output }
    }
  },
  {
    name: 'FlashAttention',
    computes: 'softmax(q kᵀ / √D) v, in tiles of 32 keys',
    inputs: qkv,
    prepare({ FlashAttention }, { q, k, v }) {
      const attention = new FlashAttention(DIM, { blockSize: 32 })
      return { call: () => attention.forward(q, k, v).output }
    }
  },
  {
    name: 'attentionWeights',
    computes: 'softmax(q kᵀ / √D)',
    inputs: { q: heads, k: heads },
    prepare: ({ attentionWeights }, { q, k }) => ({ call: () => attentionWeights(q, k) })
  },
  {
    name: 'mergeAttention',
    computes: 'attention over two halves of the keys, joined',
    inputs: { q: heads, k0: heads, v0: heads, k1: heads, v1: heads },
    prepare({ scaledDotProductAttention, mergeAttention }, { q, k0, v0, k1, v1 }) {
      const parts = [
        [k0, v0],
        [k1, v1]
      ].map(([k, v]) => scaledDotProductAttention(q, k, v, { logSumExp: true }))
      return { call: () => mergeAttention(parts).output }
    }
  },
  {
    name: 'rotaryEmbedding',
    computes: 'pairs of x turned by position / 10000^(2i/D)',
    inputs: { x: heads },
    prepare: ({ rotaryEmbedding }, { x }) => ({ call: () => rotaryEmbedding(x) })
  },
  {
    name: 'causalConvolution',
    computes: 'silu(Σ w[k] x[t − 3 + k]) by channel',
    inputs: { x: [BATCH, MODEL, LENGTH], weight: [MODEL, 1, 4] },
    prepare: ({ causalConvolution }, { x, weight }) => ({
      call: () => causalConvolution(x, weight, { activation: 'silu' }).output
    })
  },
  {
    name: 'MultiHeadAttention',
    computes: 'W (softmax(Wq q (Wk k)ᵀ / √D) Wv v) by head',
    inputs: { q: rows.x, k: rows.x, v: rows.x },
    prepare({ MultiHeadAttention }, { q, k, v }) {
      const attention = new MultiHeadAttention(layer)
      return { call: () => attention.forward(q, k, v).output, owned: [attention] }
    }
  },
  {
    name: 'SelfAttention',
    computes: 'multi-head attention of x with itself, causal',
    inputs: rows,
    prepare({ SelfAttention }, { x }) {
      const attention = new SelfAttention({ ...layer, kvHeads: 2, rotary: {} })
      return { call: () => attention.forward(x, { causal: true }).output, owned: [attention] }
    }
  },
  {
    name: 'CrossAttention',
    computes: 'multi-head attention of x with a context',
    inputs: { ...rows, context: [BATCH, 2 * LENGTH, 256] },
    prepare({ CrossAttention }, { x, context }) {
      const attention = new CrossAttention({ ...layer, kDim: 256 })
      return { call: () => attention.forward(x, context).output, owned: [attention] }
    }
  },
  {
    name: 'TransformerEncoderLayer',
    computes: 'norm(y + feed(y)), y = norm(x + attention(x))',
    inputs: rows,
    prepare({ TransformerEncoderLayer }, { x }) {
      const encoder = new TransformerEncoderLayer({ modelDim: MODEL, numHeads: HEADS, activation: 'gelu', seed: 42 })
      return { call: () => encoder.forward(x).output, owned: [encoder] }
    }
  },
  {
    name: 'KVCache',
    computes: 'attention of a token over 128 cached keys',
    inputs: token,
    prepare({ KVCache }, { q, k, v }) {
      const cache = new KVCache({ kvHeads: HEADS, headDim: DIM, capacity: LENGTH }).append(k, v)
      return { call: () => cache.attend(q).output, owned: [cache] }
    }
  },
  {
    name: 'KVCache, window',
    computes: 'attention of a token over the last 32 keys',
    inputs: token,
    prepare({ KVCache }, { q, k, v }) {
      const cache = new KVCache({ kvHeads: HEADS, headDim: DIM, capacity: LENGTH, window: 32 }).append(k, v)
      return { call: () => cache.attend(q).output, owned: [cache] }
    }
  },
  linear('elu', 'φ(q) (φ(k)ᵀ v) / φ(q) Σ φ(k), φ = elu + 1'),
  linear('relu', 'φ(q) (φ(k)ᵀ v) / φ(q) Σ φ(k), φ = relu + 1e-3'),
  linear('favor+', 'softmax(q kᵀ / √D) v, estimated'),
  {
    name: 'LinearAttention.stream',
    computes: 'linear attention, one position at a time',
    inputs: { q: [BATCH, 1, MODEL], k: [BATCH, 1, MODEL], v: [BATCH, 1, MODEL] },
    prepare({ LinearAttention }, { q, k, v }) {
      const attention = new LinearAttention({ modelDim: MODEL, numHeads: HEADS })
      const stream = attention.stream()
      return { call: () => stream.step(q, k, v).output, owned: [stream, attention] }
    }
  },
  {
    name: 'LinearAttention, rule',
    computes: 'the gated delta rule: a state that decays and is corrected',
    inputs: qkv,
    prepare({ LinearAttention, createTensor }, { q, k, v }) {
      const attention = new LinearAttention({ modelDim: MODEL, numHeads: HEADS, rule: 'delta', scale: 0.01 })
      const beta = createTensor(new Float32Array(BATCH * HEADS * LENGTH).fill(0.01), [BATCH, HEADS, LENGTH])
      return { call: () => attention.forward(q, k, v, { beta }).output, owned: [attention] }
    }
  },
  hyperbolic('poincare'),
  hyperbolic('lorentz'),
  graphLayer('GraphConvolution', 'sums over neighbors / roots of both degrees', { outFeatures: 64 }),
  graphLayer('GraphSage', 'W x + W′ mean of x over neighbors', { outFeatures: 64 }),
  graphLayer('GraphAttention', 'softmax over incoming edges of a network (GATv2)', { outFeatures: 16, numHeads: 4 }),
  graphLayer('GraphTransformer', 'softmax(q kᵀ / √D) v over incoming edges', { outFeatures: 16, numHeads: 4 }),
  {
    name: 'propagate',
    computes: 'the mean of x over incoming edges',
    inputs: { x: [NODES, FEATURES] },
    edges: EDGES_PER_NODE,
    prepare(attention, { x }) {
      const graph = ring(attention, NODES, EDGES_PER_NODE)
      return { call: () => attention.propagate(graph, x, { reduce: 'mean' }), owned: [graph] }
    }
  },
  {
    name: 'edgeSoftmax',
    computes: 'softmax of scores over the edges into a node',
    inputs: { scores: [NODES * EDGES_PER_NODE, HEADS] },
    edges: EDGES_PER_NODE,
    prepare(attention, { scores }) {
      const graph = ring(attention, NODES, EDGES_PER_NODE)
      return { call: () => attention.edgeSoftmax(graph, scores), owned: [graph] }
    }
  },
  {
    name: 'scaledDotProductAttention, cuSeqlens',
    computes: 'attention within each of four packed sequences',
    inputs: qkv,
    prepare: ({ scaledDotProductAttention }, { q, k, v }) => {
      const cuSeqlens = Int32Array.of(0, 13, 40, 41, LENGTH)
      return { call: () => scaledDotProductAttention(q, k, v, { cuSeqlens }).output }
    }
  },
  {
    name: 'relativeBias, alibiBias',
    computes: 'softmax(q kᵀ / √D + biases of the distance) v',
    inputs: qkv,
    prepare: ({ alibiBias, scaledDotProductAttention }, { q, k, v }) => {
      const relativeBias = alibiBias(HEADS, LENGTH)
      return { call: () => scaledDotProductAttention(q, k, v, { relativeBias, causal: true }).output }
    }
  },
  {
    name: 'relativePositionBias',
    computes: 'the biases of the distance of T5',
    inputs: { table: [32, HEADS] },
    prepare: ({ relativePositionBias }, { table }) => ({ call: () => relativePositionBias(table, LENGTH) })
  },
  {
    name: 'meanPool',
    computes: 'the mean over tokens',
    inputs: rows,
    prepare: ({ meanPool }, { x }) => ({ call: () => meanPool(x) })
  },
  {
    name: 'DecoderLayer',
    computes: 'causal attention and a gated network, as in Llama',
    inputs: rows,
    prepare({ DecoderLayer }, { x }) {
      const decoder = new DecoderLayer({ modelDim: MODEL, numHeads: HEADS, feedForwardDim: 1024, seed: 42 })
      return { call: () => decoder.forward(x).output, owned: [decoder] }
    }
  },
  {
    name: 'TransformerDecoderLayer',
    computes: 'causal attention, attention to a context, and a network',
    inputs: { ...rows, context: [BATCH, 32, MODEL] },
    prepare({ TransformerDecoderLayer }, { x, context }) {
      const sizes = { modelDim: MODEL, numHeads: HEADS, feedForwardDim: 1024, seed: 42 }
      const decoder = new TransformerDecoderLayer(sizes)
      return { call: () => decoder.forward(x, context).output, owned: [decoder] }
    }
  },
  {
    name: 'LatentAttention',
    computes: 'attention over keys and values of a low rank',
    inputs: rows,
    prepare({ LatentAttention }, { x }) {
      const sizes = { latentRank: 64, nopeDim: 32, rotaryDim: 16, valueDim: 64 }
      const attention = new LatentAttention({ modelDim: MODEL, numHeads: HEADS, ...sizes, seed: 42 })
      return { call: () => attention.forward(x).output, owned: [attention] }
    }
  },
  {
    name: 'topK',
    computes: 'the largest products of each query with vectors',
    inputs: { queries: [16, MODEL], vectors: [NODES, MODEL] },
    prepare: ({ topK }, { queries, vectors }) => ({ call: () => topK(queries, vectors, 10).values })
  }
]
