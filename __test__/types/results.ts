// Checks that requested results have non-optional types, so that no check for undefined is needed, and that others do
// not.
import {
  CrossAttention,
  FlashAttention,
  Graph,
  GraphAttention,
  HyperbolicAttention,
  KVCache,
  MultiHeadAttention,
  ScaledDotProductAttention,
  SelfAttention,
  TransformerEncoderLayer,
  mergeAttention,
  scaledDotProductAttention,
  scaledDotProductAttentionAsync,
  type AttentionOptions,
  type AttentionOutput,
  type Tensor
} from '@ruvector/attention'

export async function asked(q: Tensor, graph: Graph, signal: AbortSignal, options: AttentionOptions, flag: boolean) {
  const heads = { numHeads: 1, headDim: 2 }
  const single = new ScaledDotProductAttention(2)
  const cache = new KVCache({ kvHeads: 1, headDim: 2, capacity: 4 })
  const graphs = new GraphAttention({ inFeatures: 2, outFeatures: 2 })
  const weights: Tensor[] = [
    scaledDotProductAttention(q, q, q, { weights: true }).weights,
    scaledDotProductAttention(q, q, q, { causal: true, weights: true, logSumExp: true, window: [1, 1] }).weights,
    (await scaledDotProductAttentionAsync(q, q, q, { weights: true, signal })).weights,
    single.forward(q, q, q, { weights: true }).weights,
    (await single.forwardAsync(q, q, q, { weights: true })).weights,
    cache.attend(q, { weights: true, causal: false }).weights,
    new MultiHeadAttention(heads).forward(q, q, q, { weights: true }).weights,
    new MultiHeadAttention(heads).forward(q, null, undefined, { averageWeights: true }).weights,
    (await new MultiHeadAttention(heads).forwardAsync(q, q, q, { averageWeights: true })).weights,
    new SelfAttention(heads).forward(q, { weights: true }).weights,
    (await new SelfAttention(heads).forwardAsync(q, { weights: true, onProgress: () => {} })).weights,
    new CrossAttention(heads).forward(q, q, { averageWeights: true }).weights,
    (await new CrossAttention(heads).forwardAsync(q, q, { weights: true })).weights,
    new TransformerEncoderLayer({ modelDim: 2, numHeads: 1 }).forward(q, { weights: true }).weights,
    (await new TransformerEncoderLayer({ modelDim: 2, numHeads: 1 }).forwardAsync(q, { weights: true })).weights,
    new HyperbolicAttention({ curvature: -1 }).forward(q, q, q, { weights: true }).weights,
    (await new HyperbolicAttention({ curvature: -1 }).forwardAsync(q, q, q, { weights: true })).weights,
    graphs.forward(graph, q, { weights: true }).weights,
    (await graphs.forwardAsync(graph, q, { weights: true })).weights
  ]
  const lengths: Tensor[] = [
    scaledDotProductAttention(q, q, q, { logSumExp: true }).logSumExp,
    single.forward(q, q, q, { logSumExp: true }).logSumExp,
    cache.attend(q, { logSumExp: true }).logSumExp,
    new FlashAttention(2).forward(q, q, q, { logSumExp: true, blockSize: 16 }).logSumExp,
    mergeAttention([scaledDotProductAttention(q, q, q, { logSumExp: true })]).logSumExp
  ]
  const indices: Int32Array[] = [
    scaledDotProductAttention(q, q, q, { topWeights: 2 }).topWeights.indices.data,
    new FlashAttention(2).forward(q, q, q, { topWeights: 2, logSumExp: true }).topWeights.indices.data,
    (await new FlashAttention(2).forwardAsync(q, q, q, { topWeights: 1 })).topWeights.indices.data
  ]
  const all = scaledDotProductAttention(q, q, q, { weights: true, topWeights: 3, logSumExp: true })
  const together: [Tensor, Tensor, Tensor] = [all.weights, all.topWeights.values, all.logSumExp]
  const output: AttentionOutput = all
  // Options that are not literals leave results optional, and may be unions.
  const either = scaledDotProductAttention(q, q, q, flag ? { causal: true } : { softcap: 2 })
  const maybe: Tensor | undefined = scaledDotProductAttention(q, q, q, options).weights ?? either.weights
  return { weights, lengths, indices, together, output, maybe }
}

export function refused(q: Tensor, graph: Graph, options: AttentionOptions, flag: boolean) {
  const layer = new SelfAttention({ numHeads: 1, headDim: 2 })
  const graphs = new GraphAttention({ inFeatures: 2, outFeatures: 2 })
  // @ts-expect-error weights were not requested
  const none: Tensor = scaledDotProductAttention(q, q, q).weights
  // @ts-expect-error weights were rejected
  const not: Tensor = scaledDotProductAttention(q, q, q, { weights: false }).weights
  // @ts-expect-error it may be false
  const unknown: Tensor = layer.forward(q, { weights: flag }).weights
  // @ts-expect-error these options may request anything
  const general: Tensor = scaledDotProductAttention(q, q, q, options).logSumExp
  // @ts-expect-error the log-sum-exp was not requested
  const other: Tensor = scaledDotProductAttention(q, q, q, { weights: true }).logSumExp
  // @ts-expect-error weights were not requested
  const edges: Tensor = graphs.forward(graph, q).weights
  // @ts-expect-error there is no such option, even if others request results
  scaledDotProductAttention(q, q, q, { weights: true, isCausal: true })
  // @ts-expect-error tiles hold no weights
  new FlashAttention(2).forward(q, q, q, { logSumExp: true, weights: true })
  // @ts-expect-error a layer has no layout
  layer.forward(q, { weights: true, layout: 'bhld' })
  return [none, not, unknown, general, other, edges]
}
