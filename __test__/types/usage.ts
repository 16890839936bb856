// Valid uses of the API in TypeScript, and invalid ones marked by @ts-expect-error.
import { open as openFile } from 'node:fs/promises'
import {
  AttentionError,
  BatchProcessor,
  CrossAttention,
  DecoderLayer,
  Embedding,
  FlashAttention,
  KVCache,
  LatentAttention,
  Linear,
  LinearAttention,
  MultiHeadAttention,
  ScaledDotProductAttention,
  SelfAttention,
  TransformerDecoderLayer,
  TransformerEncoderLayer,
  add,
  attentionWeights,
  backend,
  causalConvolution,
  causalConvolutionAsync,
  concat,
  convert,
  createTensor,
  elu,
  embedding,
  gelu,
  init,
  layerNorm,
  linear,
  loadBackend,
  loadSafetensors,
  mergeAttention,
  meanPool,
  multiply,
  alibiBias,
  relativePositionBias,
  openSafetensors,
  relu,
  reshape,
  rotaryEmbedding,
  rotaryFrequencies,
  rmsNorm,
  saveSafetensors,
  scaledDotProductAttention,
  sigmoid,
  silu,
  softmax,
  tanh,
  topK,
  topKAsync,
  transpose,
  unfold,
  type Attention,
  type AttentionErrorCode,
  type AttentionOutput,
  type HalfTensor,
  type Layer,
  type QuantizedTensor,
  type SafetensorsFile,
  type StateDict,
  type StateEntry,
  type Tensor,
  type TopKResult,
  type Weight
} from '@ruvector/attention'

export async function uses(response: Response, url: URL, module: WebAssembly.Module) {
  await init()
  for (const wasm of ['https://x/y.wasm', url, response, new Uint8Array(8), new ArrayBuffer(8), module]) {
    await init({ wasm, threads: 2 })
    await init({ wasm, patch: new Uint8Array(8) })
  }
  const q: Tensor = createTensor([1, 2], [1, 1, 2])
  const plain = { data: new Float32Array(2), shape: [1, 1, 2] as const }
  const mask: Tensor<Uint8Array> = reshape({ data: new Uint8Array(1), shape: [1] }, [1, 1])
  const result: AttentionOutput = scaledDotProductAttention(q, plain, q, {
    mask,
    causal: true,
    queryOffset: Int32Array.of(1),
    window: [1, -1],
    kvLengths: Int32Array.of(1),
    layout: 'blhd',
    scale: null,
    softcap: undefined,
    topWeights: 1
  })
  // A job written for options without null.
  const job = async (input: Tensor, { signal }: { signal?: AbortSignal; onProgress?: (fraction: number) => void }) =>
    signal?.aborted ? 0 : input.data.length
  const lengths: number[] = await new BatchProcessor().process([q], job)
  const indices: Int32Array | undefined = lengths[0] > 0 ? result.topWeights?.indices.data : undefined
  const weights: Tensor = attentionWeights(q, q, { stage: 'softcapped', queryOffset: 2 })
  const projected: Tensor = linear(softmax(weights), q, null)

  const mixer = new LinearAttention({ modelDim: 8, numHeads: 2, kvHeads: 1, rule: 'gated_delta', scale: 1 })
  const memory: Tensor = mixer.forward(q, q, q, { decay: q, beta: q, state: null, returnState: true }).state
  mixer.stream({ valueDim: 4 }).step(q, q, q, { decay: q, beta: q, state: memory }).output.shape

  const layer = new MultiHeadAttention({ numHeads: 2, headDim: 4, kvHeads: 1 })
  const heads: number = layer.config.kvHeads + layer.numParameters
  const state: StateDict = loadSafetensors(saveSafetensors(layer.stateDict(), { format: 'pt' }), { prefix: 'a' })
  const same: MultiHeadAttention = layer.loadStateDict(state, { prefix: 'b' }).train(false)
  layer
    .loadStateDict(state, { strict: false, rename: { x: 'y', z: null } })
    .loadStateDict(loadSafetensors<StateEntry>(new Uint8Array()), { rename: (name) => (name === 'x' ? null : name) })
  const kept: StateDict<Tensor | HalfTensor> = loadSafetensors(new Uint8Array(), {
    halves: 'keep',
    unsupported: 'skip'
  })
  const whole: StateDict<Tensor<Int32Array>> = loadSafetensors<Tensor<Int32Array>>(
    saveSafetensors({ ...state, ...kept })
  )
  {
    await using file: SafetensorsFile = await openSafetensors(new URL('https://example.org/model.safetensors'))
    const part: StateDict = await file.stateDict({ prefix: 'a', filter: (name) => name !== 'b' })
    const one: Tensor | Tensor<Int32Array> | Tensor<Uint8Array> | HalfTensor = await file.tensor(file.names[0])
    const bytes: number = file.describe('x').bytes + (await file.tensor<Tensor>('y')).data.length
    const opened = await openSafetensors({
      size: bytes,
      read: async (_: number, length: number) => new Uint8Array(length)
    })
    await opened.close()
    layer.loadStateDict({ ...part, one, ...whole })
    const halves = await openSafetensors(await openFile('x'), { halves: 'keep' })
    const all: StateDict<Tensor | HalfTensor> = await halves.stateDict()
    const blob: SafetensorsFile = await openSafetensors(new Blob([saveSafetensors(all, file.metadata).slice()]), null)
    await blob.close()
  }
  layer.forward(q, null, null, { averageWeights: true })
  const { output: convolved, state: last } = causalConvolution(q, q, { bias: null, activation: 'silu' })
  const continued: Promise<{ output: Tensor; state: Tensor }> = causalConvolutionAsync(convolved, q, { state: last })
  continued.catch(() => {})
  new CrossAttention({ numHeads: 1, headDim: 2, kDim: 3 }).forward(q, q, { weights: true }).weights?.shape
  const turned: Tensor = rotaryEmbedding(q, { positions: Int32Array.of(3), base: 500000, layout: 'blhd' })
  const scaling = { rope_type: 'linear', factor: 2 }
  const angles: { frequencies: Float64Array; factor: number } = rotaryFrequencies({ headDim: 4, scaling })
  rotaryEmbedding(q, { ...angles, positions: { data: Int32Array.of(1, 2, 3), shape: [3, 1] }, sections: [1, 1, 0] })
  rotaryEmbedding(q, { scaling, maxPositions: 4096, originalMaxPositions: 1024, length: 9 })
  // @ts-expect-error a size is required
  rotaryFrequencies({ scaling })
  const turning: number | undefined = new SelfAttention({ numHeads: 1, headDim: 2, rotary: { dim: 2 } }).config.rotary
    ?.dim
  const set = new SelfAttention({ numHeads: 1, headDim: 2, qkNorm: 'head', causal: true, useBias: { key: false } })
  const normOver: 'head' | 'model' | undefined = set.config.qkNorm?.over
  // @ts-expect-error An object names what the norm covers.
  new SelfAttention({ numHeads: 1, headDim: 2, qkNorm: { epsilon: 1e-6 } })
  {
    using cache = new KVCache({ kvHeads: 1, headDim: 2, capacity: 8, window: 4 }).append(q, turned)
    const part = cache.attend(q, { logSumExp: true, causal: false })
    mergeAttention([part, part]).logSumExp?.shape
    cache
      .truncate(cache.length - 1)
      .truncate([1])
      .reorder([0])
      .clone()
      .dispose()
    cache.append(q, q, { lengths: [1] })
    const { keys, starts }: { keys: Tensor; starts: Int32Array } = cache.read({ layout: 'blhd' })
    const layer = new SelfAttention({ numHeads: 1, headDim: 2 })
    layer.forward(keys, { cache: layer.createCache({ capacity: 9 }), positions: starts })
    // @ts-expect-error a cache is for calls on this thread
    void layer.forwardAsync(keys, { cache })
  }
  const flash = new FlashAttention(2, { blockSize: 32 }).forward(q, q, q, { topWeights: 1 })
  const scale: number =
    new ScaledDotProductAttention(2, { dropout: 0.1 }).scale +
    (turning ?? 0) +
    (normOver?.length ?? 0) +
    flash.output.data[0]
  {
    using owned: Layer = new SelfAttention({ numHeads: 1, headDim: 2 })
    owned.stateDict({ names: 'bert' })
  }
  const normed: Tensor = layerNorm(rmsNorm(q, { weight: q, epsilon: null }), { weight: q, bias: null, epsilon: 1e-12 })
  const pooled: Tensor = meanPool(gelu(silu(normed), { approximate: 'tanh' }), {
    lengths: Int32Array.of(1),
    normalize: true
  })
  const pieces: Tensor = concat([add(relu(q), tanh(q)), multiply(sigmoid(q), elu(transpose(q, null)))], -1)
  const patches: Tensor = unfold(pieces, { kernel: [2, 2], stride: 2, padding: null })
  const { values, indices: nearest } = topK(patches, embedding(patches, [1, 2]), 1, { metric: 'cosine' })
  const found: Promise<TopKResult> = topKAsync(values, patches, 2, { signal: null })
  const rows: Tensor = new Embedding({ numEmbeddings: 3, embeddingDim: 2, seed: null }).forward(nearest)
  const dense: Promise<Tensor> = new Linear({ inFeatures: 2, outFeatures: 3, useBias: false })
    .train()
    .forwardAsync(rows)
  Promise.all([found, dense]).catch(() => {})
  const packed: QuantizedTensor = convert(q, 'q8_0')
  const halved: HalfTensor = convert(packed, 'bf16')
  const stored: Record<string, Weight> = new Linear({ inFeatures: 2, outFeatures: 3, weightType: 'f16' }).stateDict({
    type: 'own'
  })
  const types = { weightType: 'q8_0', attention: { weightType: 'f16' } } as const
  const block = new TransformerEncoderLayer({ modelDim: 4, numHeads: 2, ...types })
  const typed: Record<string, Weight> = block.config.weightType ? block.stateDict({ type: 'own' }) : {}
  const widest: Tensor = convert(linear(embedding(halved, [0]), stored.weight), 'f32')
  saveSafetensors({ ...stored, ...typed, packed, widest })
  const relativeBias = relativePositionBias(alibiBias(2, 3), 2, null, { bidirectional: false, maxDistance: 9 })
  scaledDotProductAttention(q, q, q, {
    relativeBias,
    sinks: Float32Array.of(1),
    cuSeqlens: [0, 2],
    cuSeqlensKeys: null
  })
  meanPool(q, { cuSeqlens: Int32Array.of(0, 2) })
  const encoder = new TransformerEncoderLayer({ modelDim: 4, numHeads: 2, activation: 'gelu', normFirst: null })
  const size: number = encoder.train().config.feedForwardDim
  const decoder = new DecoderLayer({ modelDim: 4, numHeads: 2, feedForwardDim: 8, attention: { qkNorm: 'head' } })
  const isCausal: boolean | undefined = decoder.forward(pooled).output && decoder.config.attention.causal
  const crossing = new TransformerDecoderLayer({ modelDim: 4, numHeads: 2, crossAttention: { kDim: isCausal ? 3 : 4 } })
  crossing.forwardAsync(pooled, pooled, { contextLengths: Int32Array.of(1), weights: true }).catch(() => {})
  crossing.forward(pooled, null, { contextCache: crossing.createCache({ capacity: 4 }), cache: null })
  const latents = { latentRank: 2, nopeDim: 2, rotaryDim: 2, valueDim: 2 }
  const latent = new LatentAttention({ modelDim: 4, numHeads: 2, ...latents, queryRank: null })
  latent.forward(pooled, { causal: true, cache: latent.createCache({ capacity: 4 }) })
  new SelfAttention({ modelDim: 4, numHeads: 2, sinks: true, relativeBias: { buckets: 8 } }).forward(pooled)
  encoder.forward(pooled, { weights: true, causal: true }).weights?.shape
  const api: Attention = await loadBackend('wasm', { threads: 1 })
  const name: 'native' | 'wasm' = api.backend().kind
  const reasons: [string, Error][] = backend().rejected.map(({ candidate, error }) => [candidate, error])
  return { indices, projected, heads, same, size, name, reasons, scale }
}

export function handles(error: unknown): AttentionErrorCode | undefined {
  return error instanceof AttentionError && error.argument !== undefined ? error.code : undefined
}

export function refused(q: Tensor, layer: MultiHeadAttention, api: Attention) {
  // @ts-expect-error bare arrays are not tensors
  softmax(new Float32Array(2))
  // @ts-expect-error a mask is boolean or float
  scaledDotProductAttention(q, q, q, { mask: { data: new Float64Array(1), shape: [1] } })
  // @ts-expect-error there is no such option
  scaledDotProductAttention(q, q, q, { isCausal: true })
  // @ts-expect-error stages are for attentionWeights
  scaledDotProductAttention(q, q, q, { stage: 'scores' })
  // @ts-expect-error there is no such stage
  attentionWeights(q, q, { stage: 'logits' })
  // @ts-expect-error lengths are integers
  scaledDotProductAttention(q, q, q, { kvLengths: [true] })
  // @ts-expect-error flash attention returns no weights
  new FlashAttention(2).forward(q, q, q, { weights: true })
  // @ts-expect-error a cache determines its offset
  new KVCache({ kvHeads: 1, headDim: 2, capacity: 8 }).attend(q, { queryOffset: 1 })
  // @ts-expect-error a layer has no layout
  layer.forward(q, q, q, { layout: 'bhld' })
  // Derived from modelDim.
  new SelfAttention({ modelDim: 4, numHeads: 2 })
  // @ts-expect-error a root-mean-square norm has no bias
  rmsNorm(q, { bias: q })
  // @ts-expect-error there is no such activation
  new TransformerEncoderLayer({ modelDim: 4, numHeads: 2, activation: 'swish' })
  // @ts-expect-error the configuration is read-only
  layer.config.numHeads = 3
  // @ts-expect-error an API of one backend does not start others
  api.loadBackend('native')
  // @ts-expect-error there are two kinds
  loadBackend('gpu')
  // @ts-expect-error shapes are read-only
  q.shape[0] = 2
}
