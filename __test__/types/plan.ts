// The plan's style: class instances, plain objects, enums and the default import.
// oxlint-disable-next-line import/no-named-as-default -- the plan exports it in both ways
import ruVector, {
  AsyncMultiHeadAttention,
  AttentionConfig,
  AttentionMaskType,
  BatchProcessor,
  HyperbolicConfig,
  MaskType,
  PerfTimer,
  PerformanceMonitor,
  RuVectorAttention,
  WasmCrossAttention,
  WasmErrorInfo,
  WasmFlashAttention,
  WasmHyperbolicAttention,
  WasmLinearAttention,
  WasmMultiHeadAttention,
  WasmScaledDotProduct,
  WasmSelfAttention,
  computeStats,
  createCausalMask,
  createPaddingMask,
  createTensor,
  get_memory_usage,
  memory_usage,
  normalize,
  reshape,
  ruVector as named,
  validateTensorShape,
  version,
  type AttentionOutput,
  type BatchInput,
  type IAttentionConfig,
  type IAttentionResult,
  type IBatchOptions,
  type IHyperbolicConfig,
  type IPerformanceMetrics,
  type ITensor,
  type MemoryUsage,
  type Tensor,
  type TensorStats
} from '@ruvector/attention/compat'
import { AttentionError, MultiHeadAttention, HyperbolicAttention } from '@ruvector/attention'

export async function uses(query: Float32Array, key: Float32Array, value: Float32Array, wasm: unknown) {
  await ruVector.init()
  await new RuVectorAttention().init({ wasm, threads: 2 })
  const same: RuVectorAttention = named

  // Class instances and plain objects.
  const config = new AttentionConfig(8, 64)
  config.set_dropout(0.1)
  config.set_use_bias(false)
  config.dropout = 0.2
  config.use_bias = true
  config.num_heads = config.numHeads
  config.head_dim = config.headDim
  config.seed = 3
  const plain: IAttentionConfig = { numHeads: 8, headDim: 64, dropout: 0, useBias: true }
  const layers: WasmMultiHeadAttention[] = [
    ruVector.createMultiHead(config),
    ruVector.createMultiHead(plain),
    new WasmMultiHeadAttention({ numHeads: 4, headDim: 32, kvHeads: 2, modelDim: 96, seed: 1 })
  ]
  const parameters: number = layers[0].num_parameters() + layers[0].numParameters
  const heads: number = layers[0].config.num_heads
  layers[0].train()
  layers[0].train(false)
  layers[0].free()

  const shape = [2, 10, 10, 512]
  const result: IAttentionResult = layers[0].forward(query, key, value, shape, undefined)
  const { output, weights }: { output: Float32Array; weights: Float32Array } = layers[1].forward(
    query,
    key,
    value,
    Uint32Array.from(shape),
    MaskType.Causal
  )
  const plainOutput: AttentionOutput = result
  const time: number | undefined = result.metadata?.computeTime
  const later: IAttentionResult = await layers[0].forwardAsync(query, key, value, [2, 10, 10, 512] as const, 'none')

  // Masks and their types.
  const causal: MaskType = MaskType.Causal
  const padding: AttentionMaskType = AttentionMaskType.Padding
  const written: MaskType = 'causal'
  const masks = [causal, padding, written, null, undefined, createCausalMask(4), new Uint8Array(4), 'none'] as const
  const single: WasmScaledDotProduct = ruVector.createScaledDotProduct(64, 0)
  for (const mask of masks) single.forward(query, key, value, [1, 5, 64], [1, 8, 64], [1, 8, 64], mask)
  const scores: Float32Array = single.attention_weights(query, key, [1, 5, 64], [1, 8, 64], createPaddingMask([5], 8))
  const scale: number = single.scale

  const space = new HyperbolicConfig(-1, 4)
  space.set_manifold_type('lorentz')
  space.manifold_type = 'poincare'
  space.temperature = 2
  const plainSpace: IHyperbolicConfig = { curvature: -1, numHeads: 4, manifoldType: 'hyperboloid' }
  const hyperbolic: WasmHyperbolicAttention = ruVector.createHyperbolic(space)
  new WasmHyperbolicAttention(plainSpace).forward(query, key, value, [1, 5, 64])
  const distances: Float32Array = hyperbolic.distance_matrix(query, key)
  hyperbolic.distance_matrix(query, key, [4, 8], [5, 8])
  const projected: Float32Array = hyperbolic.project_to_ball(query)
  const curvature: number = hyperbolic.curvature

  const linear: WasmLinearAttention = ruVector.createLinear(512, 256)
  new WasmLinearAttention(512, 256).forward(query, key, value, [1, 5, 512])
  const features: Float32Array = linear.feature_map(query)
  const featureDim: number = linear.feature_dim
  const cross: WasmCrossAttention = ruVector.createCross(config)
  new WasmCrossAttention(plain).forward(query, key, value, [1, 4, 512], [1, 8, 512], scores)
  const self: WasmSelfAttention = ruVector.createSelf(plain)
  new WasmSelfAttention(config).forward(query, [1, 4, 512], 'causal')
  const flash: WasmFlashAttention = ruVector.createFlash(64)
  new WasmFlashAttention(64, 32).forward(query, key, value, [1, 4, 64])
  const blockSize: number = flash.block_size

  // Calls on other threads.
  const asynchronous = new AsyncMultiHeadAttention(config)
  const promise: Promise<IAttentionResult> = asynchronous.forward_async(query, key, value, shape, null)
  const options: IBatchOptions = { batchSize: 4, async: true, progressCallback: (progress) => void progress.toFixed(2) }
  const inputs: BatchInput[] = [
    { attention: layers[0], query, key, value, shape },
    { attention: cross, query, key, value, shapes: [shape, shape], mask: createCausalMask(4) },
    { config, query, key, value, shape }
  ]
  const results: unknown[] = await new BatchProcessor().process_batch(inputs, options)
  await new BatchProcessor().process_batch(inputs)

  // Tools.
  const tensor: Tensor = createTensor([1, 2, 3, 4], [2, 2])
  const typed: ITensor = { ...tensor, dtype: 'float32' }
  const fits: boolean = validateTensorShape(tensor, 2) && validateTensorShape(createTensor(query, [4]), 1)
  const stats: TensorStats = computeStats(normalize(reshape(query, [4])))
  const usage: MemoryUsage[] = [memory_usage(), get_memory_usage(), ruVector.getMemoryUsage()]
  const timer = new PerfTimer('name')
  const monitor = new PerformanceMonitor()
  monitor.mark('start')
  const metrics: IPerformanceMetrics = {
    forwardTime: timer.elapsed() + monitor.measure('start') + monitor.measure('start', 'start'),
    memoryPeak: usage[0].total
  }
  timer.reset()
  monitor.clear()
  const text: string = version() + timer.name
  {
    using owned = ruVector.createMultiHead(config)
    using ownedConfig = new AttentionConfig(1, 2)
    using ownedTimer = new PerfTimer()
    void [owned, ownedConfig, ownedTimer]
  }

  // The main entry takes the plan's configurations.
  new MultiHeadAttention(config)
  new HyperbolicAttention(space)

  void [same, parameters, heads, output, weights, plainOutput, time, later, scale, distances, projected, curvature]
  void [features, featureDim, self, blockSize, promise, results, typed, fits, stats, metrics, text]
}

export function handles(error: unknown): string | undefined {
  if (error instanceof WasmErrorInfo) {
    const main: AttentionError = error
    return `${error.error_type}: ${error.message} ${main.code}`
  }
  return undefined
}

export function refused(layer: WasmMultiHeadAttention, query: Float32Array) {
  // @ts-expect-error the shape is one list
  layer.forward(query, query, query, [1, 2, 8], [1, 2, 8], [1, 2, 8])
  // @ts-expect-error there is no such mask
  layer.forward(query, query, query, [1, 2, 2, 8], 'diagonal')
  // @ts-expect-error a configuration has heads
  ruVector.createMultiHead({ headDim: 4 })
  // @ts-expect-error arrays are Float32Arrays
  layer.forward([1, 2], query, query, [1, 2, 2, 8])
  // @ts-expect-error the number of parameters is a method
  const wrong: number = layer.num_parameters
  // @ts-expect-error mask types are strings
  const old: MaskType = 1
  // @ts-expect-error a batch has a size
  const options: IBatchOptions = { async: true }
  return [wrong, old, options]
}
