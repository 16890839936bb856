// Every combination of requested results, in every class and function that takes them, and lists of every class: each
// result that was asked for is there, and no other. Checked with and without exactOptionalPropertyTypes.
import {
  CrossAttention,
  DecoderLayer,
  FlashAttention,
  Graph,
  GraphAttention,
  GraphConvolution,
  GraphSage,
  GraphTransformer,
  HyperbolicAttention,
  KVCache,
  LatentAttention,
  LinearAttention,
  MultiHeadAttention,
  ScaledDotProductAttention,
  SelfAttention,
  TransformerDecoderLayer,
  TransformerEncoderLayer,
  attentionWeights,
  createTensor,
  meanPool,
  rotaryEmbedding,
  scaledDotProductAttention,
  scaledDotProductAttentionAsync,
  type AttentionResult,
  type Flags,
  type GraphResult,
  type Integers,
  type Tensor
} from '@ruvector/attention'

type Equal<A, B> = [A] extends [B] ? ([B] extends [A] ? true : false) : false
/** The names of the results that are surely there, in addition to the output. */
type Sure<Result> = Exclude<{ [N in keyof Result]-?: undefined extends Result[N] ? never : N }[keyof Result], 'output'>
/** Accepts a result in which exactly these are sure: `holds<'weights'>()(result)`. */
declare function holds<Names = never>(): <Result extends { output: Tensor }>(
  result: Result,
  ...proof: Equal<Sure<Result>, Names> extends true ? [] : [never]
) => void
/** Accepts only `true`. */
type Proofs<T extends readonly true[]> = T

type W = { weights: true }
type A = { averageWeights: true }
type T = { topWeights: 3 }
type L = { logSumExp: true }
type Gives<Options, Names> = Equal<Sure<AttentionResult<Options>>, Names>

export type Combinations = Proofs<
  [
    Gives<{}, never>,
    Gives<W, 'weights'>,
    Gives<A, 'weights'>,
    Gives<T, 'topWeights'>,
    Gives<L, 'logSumExp'>,
    Gives<W & A, 'weights'>,
    Gives<W & T, 'weights' | 'topWeights'>,
    Gives<W & L, 'weights' | 'logSumExp'>,
    Gives<A & T, 'weights' | 'topWeights'>,
    Gives<A & L, 'weights' | 'logSumExp'>,
    Gives<T & L, 'topWeights' | 'logSumExp'>,
    Gives<W & T & L, 'weights' | 'topWeights' | 'logSumExp'>,
    Gives<A & T & L, 'weights' | 'topWeights' | 'logSumExp'>,
    Gives<W & A & T & L, 'weights' | 'topWeights' | 'logSumExp'>,
    // Refused, absent, or not known before the call.
    Gives<{ weights: false; averageWeights: null; topWeights: null; logSumExp: undefined }, never>,
    Gives<{ weights: boolean; topWeights: number | null; logSumExp: true | null }, never>,
    Gives<{ weights: boolean; averageWeights: true; topWeights: number }, 'weights' | 'topWeights'>,
    Gives<{ weights?: true; topWeights?: number; logSumExp?: true }, never>,
    Gives<W | T, never>,
    Equal<Sure<GraphResult<{}>>, never>,
    Equal<Sure<GraphResult<W>>, 'weights'>,
    Equal<Sure<GraphResult<{ weights: boolean }>>, never>,
    Equal<Sure<GraphResult<{ weights: null; seed: 1 }>>, never>
  ]
>

const heads = { numHeads: 1, headDim: 2 }
const edges = { numNodes: 2, source: [0], target: [1] }

export async function calls(q: Tensor, graph: Graph, signal: AbortSignal) {
  const single = new ScaledDotProductAttention(2)
  const flash = new FlashAttention(2)
  const cache = new KVCache({ kvHeads: 1, headDim: 2, capacity: 4 })
  const space = new HyperbolicAttention({ curvature: -1 })
  const multi = new MultiHeadAttention(heads)
  const self = new SelfAttention(heads)
  const cross = new CrossAttention(heads)
  const blocks = { modelDim: 2, numHeads: 1, feedForwardDim: 2 }
  const encoder = new TransformerEncoderLayer({ modelDim: 2, numHeads: 1 })
  const decoder = new DecoderLayer(blocks)
  const crossing = new TransformerDecoderLayer(blocks)
  const latent = new LatentAttention({ modelDim: 2, numHeads: 1, latentRank: 2, nopeDim: 2, rotaryDim: 2, valueDim: 2 })
  const all = { weights: true, topWeights: 2, logSumExp: true } as const
  const tiles = { topWeights: 2, logSumExp: true } as const
  const mean = { averageWeights: true } as const
  const each = holds<'weights' | 'topWeights' | 'logSumExp'>()
  const inTiles = holds<'topWeights' | 'logSumExp'>()
  const weights = holds<'weights'>()
  const none = holds()

  each(scaledDotProductAttention(q, q, q, all))
  each(scaledDotProductAttention(q, q, q, { ...all, causal: true, mask: undefined, scale: null }))
  each(await scaledDotProductAttentionAsync(q, q, q, { ...all, signal }))
  each(single.forward(q, q, q, all))
  each(await single.forwardAsync(q, q, q, { ...all, onProgress: undefined }))
  each(cache.attend(q, { ...all, causal: undefined }))
  inTiles(flash.forward(q, q, q, tiles))
  inTiles(await flash.forwardAsync(q, q, q, { ...tiles, blockSize: undefined, signal: null }))
  holds<'topWeights'>()(single.forward(q, q, q, { topWeights: 1, weights: undefined }))
  holds<'logSumExp'>()(await single.forwardAsync(q, q, q, { logSumExp: true, weights: false, topWeights: null }))
  holds<'weights' | 'logSumExp'>()(cache.attend(q, { weights: true, logSumExp: true, topWeights: undefined }))
  for (const options of [{ weights: true }, { ...mean, weights: false }, { ...mean, weights: true }] as const) {
    multi.forward(q, q, q, options).weights?.shape
  }
  weights(multi.forward(q, null, undefined, { weights: true, averageWeights: undefined }))
  weights(await multi.forwardAsync(q, q, q, { ...mean, signal: undefined }))
  weights(self.forward(q, { ...mean, weights: true }))
  weights(await self.forwardAsync(q, { weights: true, averageWeights: false }))
  weights(cross.forward(q, q, { ...mean, scale: undefined }))
  weights(await cross.forwardAsync(q, q, { weights: true }))
  weights(encoder.forward(q, { ...mean, causal: undefined }))
  weights(await encoder.forwardAsync(q, { weights: true, averageWeights: null }))
  weights(decoder.forward(q, { ...mean, cache: undefined }))
  weights(await decoder.forwardAsync(q, { weights: true, averageWeights: null, signal }))
  none(decoder.forward(q, { weights: undefined }))
  weights(latent.forward(q, { ...mean, cache: undefined }))
  weights(await latent.forwardAsync(q, { weights: true, averageWeights: null, signal }))
  none(await latent.forwardAsync(q))
  weights(crossing.forward(q, q, { ...mean, cache: undefined }))
  weights(await crossing.forwardAsync(q, q, { weights: true, signal: undefined }))
  none(crossing.forward(q, null, { weights: false }))
  none(await crossing.forwardAsync(q, q))
  weights(space.forward(q, q, q, { weights: true, mask: null }))
  weights(await space.forwardAsync(q, q, q, { weights: true, signal }))

  none(scaledDotProductAttention(q, q, q))
  none(scaledDotProductAttention(q, q, q, null))
  none(scaledDotProductAttention(q, q, q, { weights: undefined, topWeights: undefined, logSumExp: undefined }))
  none(await scaledDotProductAttentionAsync(q, q, q, { signal: undefined }))
  none(cache.attend(q, undefined))
  none(flash.forward(q, q, q, {}))
  none(multi.forward(q, undefined, null, { weights: undefined, averageWeights: undefined }))
  none(await self.forwardAsync(q, { weights: false }))
  none(cross.forward(q, q, { weights: null }))
  none(encoder.forward(q, { averageWeights: false }))
  none(space.forward(q, q, q, { weights: undefined }))
  const linear = new LinearAttention({ modelDim: 2, numHeads: undefined, rule: 'gated', kvHeads: null })
  const gates = { decay: q, beta: undefined, state: null }
  const states: Tensor[] = [
    linear.forward(q, q, q, { ...gates, returnState: true }).state,
    (await linear.forwardAsync(q, q, q, { ...gates, returnState: true, signal })).state,
    linear.stream().step(q, q, q, { ...gates, returnState: true }).state
  ]
  // @ts-expect-error without returnState, the state may be absent
  states.push(linear.forward(q, q, q, { causal: true, out: undefined }).state)
  // @ts-expect-error an unknown option
  linear.stream().step(q, q, q, { kvLengths: [1] })

  const sizes = { inFeatures: 2, outFeatures: 2, useBias: undefined }
  for (const layer of [new GraphAttention(sizes), new GraphTransformer({ ...sizes, edgeFeatures: undefined })]) {
    weights(layer.forward(graph, q, { weights: true, edgeAttr: undefined }))
    weights(await layer.forwardAsync(graph, q, { weights: true, edgeAttr: null, signal }))
    none(layer.forward(graph, q, { weights: undefined }))
    none(await layer.forwardAsync(graph, q, { weights: false, seed: 1 }))
    none(layer.forward(graph, q))
  }
  none(new GraphConvolution(sizes).forward(graph, q, { edgeWeight: undefined }))
  none(await new GraphSage(sizes).forwardAsync(graph, q, { onProgress: undefined }))
}

export function lists(q: Tensor) {
  const integers: Integers[] = [
    [1, 2n],
    [1] as const,
    Int8Array.of(1),
    Uint8Array.of(1),
    Uint8ClampedArray.of(1),
    Int16Array.of(1),
    Uint16Array.of(1),
    Int32Array.of(1),
    Uint32Array.of(1),
    BigInt64Array.of(1n),
    BigUint64Array.of(1n)
  ]
  for (const list of integers) {
    attentionWeights(q, q, { queryOffset: list, kvLengths: list })
    rotaryEmbedding(q, { positions: list, layout: undefined })
    meanPool(q, { lengths: list, normalize: undefined })
    new LinearAttention({ modelDim: 2 }).forward(q, q, q, { kvLengths: list })
    Graph.fromEdges({ numNodes: 2, source: list, target: list })
  }
  const flags: (Flags | Uint8Array | Float32Array)[] = [
    [true, 0, 1n],
    [false] as const,
    Int32Array.of(1),
    BigInt64Array.of(1n),
    Int8Array.of(1)
  ]
  for (const data of flags) {
    if (data instanceof Uint8Array) new SelfAttention(heads).forward(q, { mask: { data, shape: [1] } })
    else if (data instanceof Float32Array) attentionWeights(q, q, { mask: { data, shape: [1] } })
    else scaledDotProductAttention(q, q, q, { mask: { data, shape: [1] }, weights: true }).weights.shape
  }
  createTensor([1], [1])
  createTensor(Float64Array.of(1), [1] as const)
}

export function refused(q: Tensor, list: readonly (boolean | number)[]) {
  // @ts-expect-error lengths are no flags
  attentionWeights(q, q, { kvLengths: list })
  // @ts-expect-error numbers of floats are no integers
  rotaryEmbedding(q, { positions: Float64Array.of(1) })
  // @ts-expect-error text
  meanPool(q, { lengths: ['1'] })
  // @ts-expect-error a mask has a shape
  scaledDotProductAttention(q, q, q, { mask: { data: [true] } })
  // @ts-expect-error layers hold no top weights
  new SelfAttention(heads).forward(q, { topWeights: 1 })
  // @ts-expect-error graph layers have no mean of the heads
  new GraphAttention({ inFeatures: 2, outFeatures: 2 }).forward(Graph.fromEdges(edges), q, { averageWeights: true })
  // @ts-expect-error `weights` is surely there, and nothing else was named
  holds()(scaledDotProductAttention(q, q, q, { weights: true }))
}
