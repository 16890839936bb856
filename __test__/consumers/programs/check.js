// The check of every consumer: attention, a layer and asynchronous calls, compared with a formula and fixed numbers.

/** @typedef {typeof import('@ruvector/attention')} Package */
/** @typedef {{ kind: string, simd: string, threads: number, rejected: string[], needsInit: boolean }} Report */

/**
 * Sines, so that every runtime has the same numbers without a generator. @param {number[]} shape @param {number} from
 */
const waves = (shape, from) => ({
  data: Float32Array.from({ length: shape.reduce((a, b) => a * b) }, (_, index) => Math.sin(from + index)),
  shape
})

/**
 * Causal attention over `[1, 1, L, D]` by its formula. @param {Float32Array[]} tensors @param {number} length @param
 * {number} dim
 */
function formula([q, k, v], length, dim) {
  const output = new Float64Array(length * dim)
  for (let row = 0; row < length; row++) {
    const exps = Array.from({ length: row + 1 }, (_, key) => {
      let score = 0
      for (let d = 0; d < dim; d++) score += q[row * dim + d] * k[key * dim + d]
      return Math.exp(score / Math.sqrt(dim))
    })
    const sum = exps.reduce((a, b) => a + b)
    exps.forEach((weight, key) => {
      for (let d = 0; d < dim; d++) output[row * dim + d] += (weight / sum) * v[key * dim + d]
    })
  }
  return output
}

/** The layer's first and last outputs, recorded from native code: all consumers must agree. */
const LAYER = { first: [0.8565991, 0.0722299, 0.1211474, -0.5872981], last: [-0.157165, -0.0913538] }

/** @param {string} what @param {ArrayLike<number>} actual @param {ArrayLike<number>} expected */
function close(what, actual, expected) {
  if (actual.length !== expected.length) throw new Error(`${what}: ${actual.length} numbers, not ${expected.length}`)
  for (let index = 0; index < expected.length; index++) {
    const difference = Math.abs(actual[index] - expected[index])
    if (!(difference < 1e-5)) throw new Error(`${what}: number ${index} is ${actual[index]}, not ${expected[index]}`)
  }
}

/** True if calls need init() first. @param {Package} attention */
function needsInit(attention) {
  try {
    attention.softmax(waves([1], 0))
    return false
  } catch (error) {
    if (/** @type {any} */ (error).code === 'NOT_INITIALIZED') return true
    throw error
  }
}

/**
 * @param {Package} attention
 * @param {Parameters<Package['init']>[0]} [options]
 * @returns {Promise<Report>}
 */
export async function check(attention, options) {
  const needed = needsInit(attention)
  await attention.init({ threads: 2, ...options })
  const shape = [1, 1, 40, 16]
  const [q, k, v] = [waves(shape, 1), waves(shape, 2), waves(shape, 3)]
  const expected = formula([q.data, k.data, v.data], 40, 16)
  const { scaledDotProductAttention, scaledDotProductAttentionAsync, SelfAttention } = attention
  close('attention', scaledDotProductAttention(q, k, v, { causal: true }).output.data, expected)
  const { output } = await scaledDotProductAttentionAsync(q, k, v, { causal: true })
  close('attention elsewhere', output.data, expected)

  const layer = new SelfAttention({ numHeads: 2, headDim: 4, seed: 42 })
  const x = waves([1, 5, 8], 0)
  const { data } = layer.forward(x, { causal: true }).output
  close('the layer', [...data.slice(0, 4), ...data.slice(-2)], [...LAYER.first, ...LAYER.last])
  close('the layer elsewhere', (await layer.forwardAsync(x, { causal: true })).output.data, data)
  layer.dispose()

  const { kind, simd, threads, rejected } = attention.backend()
  const reasons = rejected.map(({ candidate, error }) => `${candidate}: ${error.message.split('\n')[0]}`)
  return { kind, simd, threads, rejected: reasons, needsInit: needed }
}

/**
 * @param {typeof import('@ruvector/attention/compat')} compat
 * @param {typeof import('@ruvector/attention/plot')} plot
 */
export async function checkSubpaths({ ruVector, AttentionConfig, default: wrapper }, { attentionHeatmap }) {
  await ruVector.init()
  const x = waves([1, 1, 5, 4], 0)
  const ones = new Float32Array(20).fill(1)
  close('compat', ruVector.createFlash(4).forward(x.data, x.data, ones, [1, 5, 4]), ones)
  if (wrapper !== ruVector) throw new Error('compat: the default export is another wrapper')
  const layer = ruVector.createMultiHead(new AttentionConfig(2, 2))
  const { weights } = layer.forward(x.data, x.data, ones, [1, 5, 5, 4], 'causal')
  close('compat weights', weights.subarray(0, 5), [1, 0, 0, 0, 0])
  const picture = attentionHeatmap({ data: Float32Array.of(1, 0, 0.5, 0.5), shape: [2, 2] })
  if (!picture.startsWith('<svg')) throw new Error(`plot: ${picture.slice(0, 40)}`)
}

/**
 * @param {typeof import('@ruvector/attention/graphology').fromGraphology} fromGraphology
 * @param {any} Graphology  graphology's class
 */
export function checkGraphology(fromGraphology, Graphology) {
  const graph = new Graphology()
  for (const node of ['a', 'b', 'c']) graph.addNode(node)
  graph.addDirectedEdge('a', 'b')
  graph.addDirectedEdge('b', 'c')
  const found = fromGraphology(graph)
  const { numNodes, numEdges } = found.graph
  if (numNodes !== 3 || numEdges !== 2) throw new Error(`graphology: ${numNodes} nodes, ${numEdges} edges`)
}
