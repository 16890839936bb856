// The problems to time. Tables show the name of each, and `--filter` searches in it.

import { availableParallelism } from 'node:os'
import { modelCases } from './texts.js'

/** @typedef {import('./types.d.ts').Case} Case */

const LENGTHS = [16, 64, 512, 1024, 2048]
const DIMS = [64, 32, 128]
const allThreads = availableParallelism()

/**
 * @param {Omit<Partial<Case>, 'name'> & { group: string, name?: (shape: string) => string }} given  `name` completes a
 *   shape
 * @returns {Case}
 */
function attention({ name = (shape) => shape, ...given }) {
  const { queries = 1, keys = queries, heads = 8, kvHeads = heads, dim = 64, causal = false, batch = 1 } = given
  const groups = kvHeads === heads ? '' : ` G=${kvHeads}`
  const products = 4 * batch * heads * queries * keys * dim
  return {
    name: name(`B=${batch} H=${heads}${groups} S=${keys} D=${dim}`),
    kind: 'attention',
    batch,
    heads,
    kvHeads,
    queries,
    keys,
    dim,
    causal,
    out: false,
    unit: 'GF/s',
    threads: 1,
    flops: causal ? products / 2 : products,
    bytes: 8 * batch * kvHeads * keys * dim,
    ...given
  }
}

/** @param {number} length @param {number} [dim] */
const square = (length, dim = 64) => attention({ group: 'full', queries: length, dim })

/** @param {number} length */
const causal = (length) =>
  attention({ name: (shape) => `${shape} causal`, group: 'causal', queries: length, causal: true })

/** @param {number} length @param {number} heads @param {number} dim @param {number} [batch] */
function layer(length, heads, dim, batch = 1) {
  const model = heads * dim
  const base = attention({
    name: (shape) => `layer ${shape}`,
    group: 'layer',
    batch,
    queries: length,
    heads,
    dim
  })
  return { ...base, kind: /** @type {const} */ ('layer'), flops: base.flops + 8 * batch * length * model * model }
}

/** @param {number} length @param {number} heads @param {number} dim @param {number} [batch] */
function encoderLayer(length, heads, dim, batch = 1) {
  const model = heads * dim
  const base = layer(length, heads, dim, batch)
  return {
    ...base,
    name: `encoder ${base.name}`,
    group: 'encoder',
    kind: /** @type {const} */ ('encoder'),
    flops: base.flops + 16 * batch * length * model * model
  }
}

/**
 * Attention over random edges: 64 features in, four heads of 16 out.
 *
 * @param {number} nodes
 * @param {number} edges
 * @param {1 | 2} version
 */
function graph(nodes, edges, version) {
  const sizes = {
    group: 'graph',
    queries: nodes,
    keys: edges,
    heads: 4,
    dim: 16,
    version,
    unit: /** @type {const} */ ('µs')
  }
  const base = attention({
    name: () =>
      `GAT${version === 2 ? 'v2' : ''} ${nodes / 1000}k nodes ${edges / 1000}k edges H=${sizes.heads} D=${sizes.dim}`,
    ...sizes
  })
  const width = base.heads * base.dim
  // The projections of the nodes, and a score and a sum for each edge.
  const flops = 2 * version * nodes * width * width + 4 * edges * width
  return { ...base, kind: /** @type {const} */ ('graph'), flops, bytes: 4 * edges * width }
}

/** Attention, and attention over a graph, forward and backward. */
const gradients = [attention({ group: 'gradients', queries: 512 }), graph(10_000, 200_000, 1)].map((base) => ({
  ...base,
  name: `forward and backward ${base.name}`,
  group: 'gradients',
  kind: base.kind === 'graph' ? /** @type {const} */ ('graph-gradients') : /** @type {const} */ ('attention-gradients'),
  unit: /** @type {const} */ ('µs')
}))

const masked = {
  boolean: attention({ name: (shape) => `${shape} boolean mask`, group: 'masked', queries: 512, mask: 'boolean' }),
  float: attention({ name: (shape) => `${shape} float mask`, group: 'masked', queries: 512, mask: 'float' })
}
/** Biases of the distance and sinks, to be compared with attention at S=512 without them. */
const beside = /** @type {const} */ (['relativeBias', 'sinks']).map((what) =>
  attention({ name: (shape) => `${shape} ${what}`, group: 'beside', queries: 512, beside: what, ownOnly: true })
)
const grouped = attention({ name: (shape) => `${shape} grouped`, group: 'grouped', queries: 512, kvHeads: 2 })
const decode = attention({ name: (shape) => `decode ${shape}`, group: 'decode', keys: 8192, unit: 'GB/s' })
const groupedDecode = attention({
  name: (shape) => `decode ${shape} grouped`,
  group: 'decode',
  keys: 8192,
  heads: 32,
  kvHeads: 8,
  unit: 'GB/s'
})
/** Steps of a decoder: our keys are in a cache; peers receive them with each token. */
const cached = [decode, groupedDecode].map((problem) => ({
  ...problem,
  name: `cached ${problem.name}`,
  group: 'cache',
  cached: true
}))
const call = attention({ name: (shape) => `call ${shape}`, group: 'call', heads: 1, dim: 8, unit: 'µs' })
const withOut = [64, 512].map((queries) =>
  attention({ name: (shape) => `${shape} with out`, group: 'out', queries, out: true })
)
const sentence = layer(512, 12, 32)
// Linear and exact attention at the same length. No peers: they may store all scores of exact attention at once.
const long = attention({ group: 'long', queries: 16384, heads: 1, ownOnly: true })
const linear = [16384, 4096].map((length) => ({
  ...attention({ name: (shape) => `linear ${shape}`, group: 'linear', queries: length, heads: 1, ownOnly: true }),
  kind: /** @type {const} */ ('linear'),
  flops: 4 * length * 64 * 64
}))
/** The gated delta rule, as in Gated DeltaNet. Its operations are those of one position after the other. */
const recurrent = [4096, 1024].map((queries) => {
  const base = attention({
    name: (shape) => `gated delta ${shape}`,
    group: 'recurrent',
    queries,
    dim: 128,
    causal: true
  })
  return { ...base, kind: /** @type {const} */ ('recurrent'), flops: 6 * base.heads * queries * 128 * 128 }
})
/** Points of the ball instead of vectors, distances instead of products. */
const hyperbolic = {
  ...attention({ name: (shape) => `hyperbolic ${shape}`, group: 'hyperbolic', queries: 512, ownOnly: true }),
  kind: /** @type {const} */ ('hyperbolic')
}
const encoder = encoderLayer(512, 12, 32)

/**
 * Products of MiniLM's feed-forward network, and of one row, by the type of the weight.
 *
 * @param {import('../index.js').WeightType} weightType
 */
const products = (weightType) =>
  [
    [256, 384, 1536],
    [256, 1536, 384],
    [13, 384, 1536],
    [1, 384, 1536]
  ].map(([rows, depth, outputs]) => ({
    ...attention({
      name: () => `product ${weightType} ${rows}×${depth}×${outputs}`,
      group: 'product',
      queries: rows,
      keys: outputs,
      dim: depth,
      heads: 1,
      weightType,
      ownOnly: true
    }),
    kind: /** @type {const} */ ('product'),
    flops: 2 * rows * depth * outputs
  }))
/** The lengths of 96 texts: 8 of 256 tokens, the others of 3 to 45; 4,224 tokens in all. */
const mixed = Array.from({ length: 96 }, (_, text) => (text % 12 === 0 ? 256 : 4 + ((text * 37) % 42)))
mixed[95] += 96 * 44 - mixed.reduce((sum, length) => sum + length, 0)
/** The same number of tokens as a batch of texts of one length, and packed: times per call are comparable. */
const texts = [
  { ...encoderLayer(44, 12, 32, 96), name: 'encoder 96 texts of 44 tokens' },
  { ...encoderLayer(96 * 44, 12, 32), name: 'encoder 96 packed texts of mixed lengths', lengths: mixed }
].map((problem) => ({ ...problem, group: 'packed', unit: /** @type {const} */ ('µs'), ownOnly: true }))

const graphs = [graph(10_000, 200_000, 1), graph(10_000, 200_000, 2)]

const quick = [square(64), square(512), causal(512), decode, cached[0], sentence, encoder, graphs[0], call]

const full = [
  ...DIMS.flatMap((dim) => LENGTHS.map((length) => square(length, dim))),
  ...[512, 1024, 2048].map(causal),
  masked.boolean,
  masked.float,
  ...beside,
  grouped,
  ...withOut,
  decode,
  groupedDecode,
  ...cached,
  layer(16, 12, 32),
  sentence,
  long,
  ...linear,
  ...recurrent,
  hyperbolic,
  encoderLayer(16, 12, 32),
  encoder,
  .../** @type {const} */ (['f32', 'f16', 'bf16', 'q8_0']).flatMap(products),
  ...texts,
  ...graphs,
  graph(100_000, 2_000_000, 1),
  graph(100_000, 2_000_000, 2),
  ...gradients,
  ...modelCases(),
  call
]

/** Cases that are large enough for several threads. */
const parallel = {
  quick: [square(512), causal(512)],
  full: [
    ...[64, 512, 1024, 2048].map((length) => square(length)),
    ...[512, 1024, 2048].map(causal),
    decode,
    sentence,
    encoder,
    ...texts,
    ...graphs
  ]
}

/**
 * Returns all cases, starting with those on one thread.
 *
 * @param {{ isQuick: boolean }} options
 * @returns {Case[]}
 */
export function cases({ isQuick }) {
  const serial = isQuick ? quick : full
  if (allThreads === 1) return serial
  return [
    ...serial,
    ...parallel[isQuick ? 'quick' : 'full'].map((problem) => ({
      ...problem,
      name: `${problem.name}, ${allThreads} threads`,
      threads: allThreads
    }))
  ]
}

const GRID = { batches: [1, 2, 4, 8], lengths: [16, 64, 128, 256], heads: 8, dim: 64 }

/**
 * Returns the cases of the grid: multi-head attention of model size 512, and attention alone, by batch and length, on
 * one thread.
 *
 * @returns {Case[]}
 */
export function grid() {
  const { batches, lengths, heads, dim } = GRID
  /** @param {string} group @param {(batch: number, queries: number) => Case} make */
  const cells = (group, make) =>
    batches.flatMap((batch) =>
      lengths.map((length) => ({
        ...make(batch, length),
        name: `${group}, B=${batch} L=${length}`,
        group,
        unit: /** @type {const} */ ('op/s')
      }))
    )
  return [
    ...cells(`multi-head M=${heads * dim}, ${heads} heads`, (batch, length) => layer(length, heads, dim, batch)),
    ...cells(`attention D=${dim}, ${heads} heads`, (batch, queries) =>
      attention({ group: '', batch, queries, heads, dim })
    )
  ]
}

/**
 * Returns the cases for the plan's throughput target: every kind of call, on one thread.
 *
 * @returns {Case[]}
 */
export const throughputCases = () =>
  [
    square(64),
    square(512),
    causal(512),
    masked.boolean,
    cached[0],
    layer(128, 8, 64, 4),
    sentence,
    encoder,
    linear[1],
    hyperbolic,
    ...graphs
  ].map((problem) => ({ ...problem, unit: 'µs' }))
