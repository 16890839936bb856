/**
 * The interface of the project's original plan, on top of `@ruvector/attention`: programs written for the plan run
 * unchanged except for the import. The adapters are thin, so results equal those of the main entry. New code should use
 * the main entry.
 *
 * Letters in shapes: `B` batch, `H` heads, `L` query length, `S` key length, `D` size of a head, `M` model size. Arrays
 * are flat and row-major. Every class has `free()` and `Symbol.dispose`. Classes without memory outside the JavaScript
 * heap stay usable afterwards.
 *
 * Every error is both an `AttentionError` of the main entry and a {@link WasmErrorInfo}.
 *
 * @module @ruvector/attention/compat
 */
import type {
  AsyncOptions,
  AttentionConfig as LayerConfig,
  AttentionError,
  BatchError,
  HyperbolicConfig as SpaceConfig,
  Tensor as MainTensor
} from './index.js'

/** A list of dimensions. */
export type Shape = readonly number[] | Uint32Array

/**
 * A mask. `'causal'` and `'none'` work; `'padding'` is an error that asks for the mask itself. A Float32Array is added
 * to the scores; nonzero entries of a Uint8Array attend. The length of a bare array determines its shape: the first of
 * `[L,S]`, `[B,S]` (padding), `[B,L,S]` or `[B,1,L,S]`, `[B,H,L,S]`, and `[1,S]` that fits. Arrays from {@link
 * createPaddingMask} are always padding, even if `B = L`. A tensor has its own shape.
 */
export type Mask =
  | Float32Array
  | Uint8Array
  | MainTensor
  | MainTensor<Uint8Array>
  | MaskType
  | AttentionMaskType
  | 'causal'
  | 'padding'
  | 'none'
  | null
  | undefined

// ── The wrapper ──────────────────────────────────────────────────────────────────────────────────────────────────────

interface Freed extends Disposable {
  /** Frees memory outside the JavaScript heap, if any. */
  free(): void
}

/** Creates every mechanism; {@link ruVector} is the only instance that programs need. */
export declare class RuVectorAttention implements Freed {
  /**
   * Prepares the backend, once. Pages must await it before they create anything; Node, Deno, Bun and Cloudflare's
   * runtime do not need it. `wasm` and `threads` are the options of the main entry's `init`.
   */
  init(options?: { wasm?: unknown; threads?: number }): Promise<void>
  /** @param dropout The probability, in [0, 1), of dropping a weight, in every call. Default: 0. */
  createScaledDotProduct(headDim: number, dropout?: number): WasmScaledDotProduct
  createMultiHead(config: AttentionConfig | IAttentionConfig): WasmMultiHeadAttention
  createHyperbolic(config: HyperbolicConfig | IHyperbolicConfig): WasmHyperbolicAttention
  /** @param featureDim Random features that estimate softmax attention. Default: none; the feature map is elu + 1. */
  createLinear(modelDim: number, featureDim?: number): WasmLinearAttention
  createCross(config: AttentionConfig | IAttentionConfig): WasmCrossAttention
  createSelf(config: AttentionConfig | IAttentionConfig): WasmSelfAttention
  /** @param blockSize Keys per tile. Default: 64. */
  createFlash(headDim: number, blockSize?: number): WasmFlashAttention
  getMemoryUsage(): MemoryUsage
  free(): void
  [Symbol.dispose](): void
}

export declare const ruVector: RuVectorAttention
export default ruVector

// ── Mechanisms ───────────────────────────────────────────────────────────────────────────────────────────────────────

/** Base of the mechanisms. */
interface Mechanism extends Freed {
  /** The same as `free`. */
  dispose(): void
}

/** Shapes of the arrays, followed by a mask. An omitted shape equals that of the array before. */
type ShapesAndMask = [queryShape: Shape, ...rest: (Shape | Mask)[]]

/** Shapes and mask, followed by the options of an asynchronous call. */
type ShapesMaskAndWatch = [queryShape: Shape, ...rest: (Shape | Mask | AsyncOptions)[]]

/** Softmax attention of one head, like `ScaledDotProductAttention`. */
export declare class WasmScaledDotProduct implements Mechanism {
  constructor(headDim: number, dropout?: number)
  /** `query [B,L,D]`, `key [B,S,D]` and `value [B,S,E]` give `[B,L,E]`; 4-D shapes `[B,H,L,D]` work too. */
  forward(
    query: Float32Array,
    key: Float32Array,
    value: Float32Array,
    queryShape: Shape,
    keyShape: Shape,
    valueShape: Shape,
    mask?: Mask
  ): Float32Array
  forward(query: Float32Array, key: Float32Array, value: Float32Array, ...shapesAndMask: ShapesAndMask): Float32Array
  /** Like `forward`, on another thread. */
  forwardAsync(
    query: Float32Array,
    key: Float32Array,
    value: Float32Array,
    ...shapesMaskAndWatch: ShapesMaskAndWatch
  ): Promise<Float32Array>
  /** Weights `[B,L,S]`, without values. */
  attention_weights(
    query: Float32Array,
    key: Float32Array,
    queryShape: Shape,
    keyShape: Shape,
    mask?: Mask
  ): Float32Array
  attention_weights(query: Float32Array, key: Float32Array, ...shapesAndMask: ShapesAndMask): Float32Array
  attentionWeights: WasmScaledDotProduct['attention_weights']
  /** Factor of `q · k`: 1/√D. */
  readonly scale: number
  dispose(): void
  free(): void
  [Symbol.dispose](): void
}

/** Base of the mechanisms with parameters. */
interface LayerMechanism extends Mechanism {
  /** A copy of the configuration, with every default filled in. */
  readonly config: AttentionConfig
  /** Enables or disables training mode, in which dropout applies. Default: true. */
  train(mode?: boolean): void
  num_parameters(): number
  readonly numParameters: number
}

/** Multi-head attention, like `MultiHeadAttention`. */
export declare class WasmMultiHeadAttention implements LayerMechanism {
  /** @throws an error of type InvalidConfig for an invalid configuration */
  constructor(config: AttentionConfig | IAttentionConfig)
  /**
   * `query [B,L,M]`, `key [B,S,M]` and `value [B,S,M]` give `output [B,L,M]` and `weights [B,H,L,S]`.
   *
   * @param shape `[batch, queryLength, keyLength, modelDim]`; `modelDim` is `numHeads · headDim` unless the
   *   configuration sets it
   */
  forward(
    query: Float32Array,
    key: Float32Array,
    value: Float32Array,
    shape: Shape,
    mask?: Mask
  ): IAttentionResult & { weights: Float32Array }
  /** Like `forward`, on another thread. `options` has `signal` and `onProgress`. */
  forwardAsync(
    query: Float32Array,
    key: Float32Array,
    value: Float32Array,
    shape: Shape,
    mask?: Mask,
    options?: AsyncOptions
  ): Promise<IAttentionResult & { weights: Float32Array }>
  readonly config: AttentionConfig
  train(mode?: boolean): void
  num_parameters(): number
  readonly numParameters: number
  dispose(): void
  free(): void
  [Symbol.dispose](): void
}

/** Attention in hyperbolic space, like `HyperbolicAttention` with tangent vectors as inputs. */
export declare class WasmHyperbolicAttention implements Mechanism {
  constructor(config: HyperbolicConfig | IHyperbolicConfig)
  /** Maps arbitrary vectors `[B,L,D]`, read as tangent vectors at the origin, to tangent vectors. Heads split `D`. */
  forward(query: Float32Array, key: Float32Array, value: Float32Array, ...shapesAndMask: ShapesAndMask): Float32Array
  /** Like `forward`, on another thread. */
  forwardAsync(
    query: Float32Array,
    key: Float32Array,
    value: Float32Array,
    ...shapesMaskAndWatch: ShapesMaskAndWatch
  ): Promise<Float32Array>
  /** Geodesic distances between points `[L,D]` and `[S,D]`: `[L,S]`. Without shapes, each array is one point. */
  distance_matrix(a: Float32Array, b: Float32Array, aShape?: Shape, bShape?: Shape): Float32Array
  distanceMatrix: WasmHyperbolicAttention['distance_matrix']
  /** Geodesic distance between two points. */
  distance(a: Float32Array, b: Float32Array): number
  /**
   * Moves points onto the manifold. Without a shape, the array is one point. On the hyperboloid, the first coordinate
   * `x₀` is set to match the others.
   */
  project_to_ball(points: Float32Array, shape?: Shape): Float32Array
  projectToBall: WasmHyperbolicAttention['project_to_ball']
  readonly curvature: number
  dispose(): void
  free(): void
  [Symbol.dispose](): void
}

/** Attention in linear time, like `LinearAttention`. */
export declare class WasmLinearAttention implements Mechanism {
  /** @param featureDim Random features that estimate softmax attention. Default: none; the feature map is elu + 1. */
  constructor(modelDim: number, featureDim?: number)
  /** `query`, `key` and `value` `[B,L,M]` give `[B,L,M]`. The only masks are `'causal'` and `'none'`. */
  forward(
    query: Float32Array,
    key: Float32Array,
    value: Float32Array,
    ...shapesAndMask: [queryShape: Shape, ...rest: (Shape | 'causal' | 'none' | null | undefined)[]]
  ): Float32Array
  /** Like `forward`, on another thread. */
  forwardAsync(
    query: Float32Array,
    key: Float32Array,
    value: Float32Array,
    ...shapesMaskAndWatch: [queryShape: Shape, ...rest: (Shape | 'causal' | 'none' | AsyncOptions | null | undefined)[]]
  ): Promise<Float32Array>
  /** Maps rows of `modelDim` numbers to rows of `feature_dim` numbers. */
  feature_map(input: Float32Array, shape?: Shape): Float32Array
  featureMap: WasmLinearAttention['feature_map']
  readonly feature_dim: number
  readonly featureDim: number
  dispose(): void
  free(): void
  [Symbol.dispose](): void
}

/** Attention of one sequence to another. */
export declare class WasmCrossAttention implements LayerMechanism {
  constructor(config: AttentionConfig | IAttentionConfig)
  /** `query [B,L,M]`, `key` and `value` `[B,S,M]` give `[B,L,M]`. Keys and values are separate arrays of one shape. */
  forward(
    query: Float32Array,
    key: Float32Array,
    value: Float32Array,
    queryShape: Shape,
    kvShape: Shape,
    mask?: Mask
  ): Float32Array
  /** Like `forward`, on another thread. */
  forwardAsync(
    query: Float32Array,
    key: Float32Array,
    value: Float32Array,
    queryShape: Shape,
    kvShape: Shape,
    mask?: Mask,
    options?: AsyncOptions
  ): Promise<Float32Array>
  readonly config: AttentionConfig
  train(mode?: boolean): void
  num_parameters(): number
  readonly numParameters: number
  dispose(): void
  free(): void
  [Symbol.dispose](): void
}

/** Attention of a sequence to itself, like `SelfAttention`. */
export declare class WasmSelfAttention implements LayerMechanism {
  constructor(config: AttentionConfig | IAttentionConfig)
  /** `x [B,L,M]` gives `[B,L,M]`. */
  forward(x: Float32Array, shape: Shape, mask?: Mask): Float32Array
  /** Like `forward`, on another thread. */
  forwardAsync(x: Float32Array, shape: Shape, mask?: Mask, options?: AsyncOptions): Promise<Float32Array>
  readonly config: AttentionConfig
  train(mode?: boolean): void
  num_parameters(): number
  readonly numParameters: number
  dispose(): void
  free(): void
  [Symbol.dispose](): void
}

/** Softmax attention in tiles, like `FlashAttention`. */
export declare class WasmFlashAttention implements Mechanism {
  /** @param blockSize Keys per tile. Default: 64. */
  constructor(headDim: number, blockSize?: number)
  /** `query`, `key` and `value` `[B,L,D]` give `[B,L,D]`. */
  forward(query: Float32Array, key: Float32Array, value: Float32Array, ...shapesAndMask: ShapesAndMask): Float32Array
  /** Like `forward`, on another thread. */
  forwardAsync(
    query: Float32Array,
    key: Float32Array,
    value: Float32Array,
    ...shapesMaskAndWatch: ShapesMaskAndWatch
  ): Promise<Float32Array>
  readonly block_size: number
  readonly blockSize: number
  dispose(): void
  free(): void
  [Symbol.dispose](): void
}

/** Multi-head attention on other threads: Node's thread pool natively, workers in WebAssembly. */
export declare class AsyncMultiHeadAttention extends WasmMultiHeadAttention {
  forward_async(
    ...call: Parameters<WasmMultiHeadAttention['forwardAsync']>
  ): ReturnType<WasmMultiHeadAttention['forwardAsync']>
}

/** Runs many calls, `batchSize` at a time. */
export declare class BatchProcessor implements Freed {
  constructor()
  /**
   * Returns results in the order of the inputs, each as returned by the mechanism's `forward`. By default, the number
   * of concurrent calls is the backend's number of threads plus one.
   *
   * @throws {BatchError} if calls failed, with the outcome of every input; invalid options reject before anything runs
   */
  process_batch(inputs: readonly BatchInput[], options?: IBatchOptions): Promise<unknown[]>
  free(): void
  [Symbol.dispose](): void
}

/** One call of a batch. */
export interface BatchInput {
  /** Any mechanism of this entry. */
  attention?: object
  /**
   * Instead of `attention`: multi-head attention with this configuration, created once for all inputs that share the
   * object.
   */
  config?: AttentionConfig | IAttentionConfig
  query: Float32Array
  /** Keys; like `value`, optional only for self-attention. */
  key?: Float32Array
  value?: Float32Array
  /** The shape, if the call takes only one; otherwise `shapes`, in the order of its parameters. */
  shape?: Shape
  shapes?: Shape[]
  mask?: Mask
}

// ── Configurations ───────────────────────────────────────────────────────────────────────────────────────────────────

/** Configuration of a layer. It may also hold other options of the main entry's configuration, which accepts it. */
export declare class AttentionConfig implements LayerConfig, Freed {
  constructor(numHeads: number, headDim: number)
  numHeads: number
  headDim: number
  /** The probability, in [0, 1), of dropping a weight in training. Default: 0. */
  dropout: number
  /** Default: true. */
  useBias: boolean
  modelDim?: number
  kvHeads?: number
  kDim?: number
  vDim?: number
  rotary?: NonNullable<LayerConfig['rotary']>
  seed?: number
  num_heads: number
  head_dim: number
  use_bias: boolean
  set_dropout(dropout: number): void
  set_use_bias(useBias: boolean): void
  free(): void
  [Symbol.dispose](): void
}

/** Configuration of hyperbolic attention. */
export declare class HyperbolicConfig implements SpaceConfig, Freed {
  /*   * @param curvature Negative.
   * @param numHeads Heads that split the last dimension. Default: 1.
   */
  constructor(curvature: number, numHeads?: number)
  curvature: number
  numHeads: number
  /** Default: 'poincare'. */
  manifold: NonNullable<SpaceConfig['manifold']>
  /** Divisor of the distances before softmax, positive. Default: 1. */
  temperature: number
  num_heads: number
  manifoldType: string
  manifold_type: string
  set_manifold_type(type: string): void
  free(): void
  [Symbol.dispose](): void
}

/** The strings allowed as a mask argument. */
export declare const MaskType: { readonly Causal: 'causal'; readonly Padding: 'padding'; readonly None: 'none' }
export type MaskType = 'causal' | 'padding' | 'none'
/** Another name of {@link MaskType}. */
export declare const AttentionMaskType: typeof MaskType
export type AttentionMaskType = MaskType

// ── Tools ────────────────────────────────────────────────────────────────────────────────────────────────────────────

/** Measures milliseconds since it was created or last reset. */
export declare class PerfTimer implements Freed {
  constructor(name?: string)
  readonly name: string
  elapsed(): number
  reset(): void
  free(): void
  [Symbol.dispose](): void
}

/** Measures milliseconds between marks. */
export declare class PerformanceMonitor implements Freed {
  mark(label: string): void
  /** From one mark to another, or to now. @throws an error of type InvalidConfig: "No mark found for: …" */
  measure(startLabel: string, endLabel?: string): number
  clear(): void
  free(): void
  [Symbol.dispose](): void
}

/**
 * @throws an error of type InvalidDimensions if the length is not the product of the shape, or an entry is not a number
 */
export declare function createTensor(data: readonly number[] | Float32Array, shape: Shape): Tensor
/** Returns true if a tensor has this many dimensions. */
export declare function validateTensorShape(
  tensor: { readonly data: Float32Array; readonly shape: Shape },
  expectedDims: number
): boolean
/**
 * Returns the same array if the shape has the same number of elements.
 *
 * @throws an error of type InvalidDimensions: "Cannot reshape array of length …"
 */
export declare function reshape(data: Float32Array, shape: Shape): Float32Array
/** A mask `[seqLen · seqLen]`: 0 for keys up to the query's position, −Infinity after it. */
export declare function createCausalMask(seqLen: number): Float32Array
/** A mask `[batch · maxLen]`: 0 for keys within each length, −Infinity after it. */
export declare function createPaddingMask(lengths: readonly number[], maxLen: number): Float32Array
/**
 * Statistics, computed in doubles; the standard deviation is over n. For an empty array: mean and deviation NaN,
 * minimum Infinity, maximum −Infinity.
 */
export declare function computeStats(data: Float32Array): TensorStats
/** `(x − mean) / (std + 1e-8)`. */
export declare function normalize(data: Float32Array): Float32Array
export declare function memory_usage(): MemoryUsage
export declare function get_memory_usage(): MemoryUsage
/** The version of this package. */
export declare function version(): string

// ── Types ────────────────────────────────────────────────────────────────────────────────────────────────────────────

export interface Tensor {
  data: Float32Array
  shape: number[]
}

export interface ITensor {
  data: Float32Array
  shape: number[]
  dtype?: 'float32' | 'float64'
}

export interface AttentionOutput {
  output: Float32Array
  weights?: Float32Array
}

export interface IAttentionResult {
  output: Float32Array
  weights?: Float32Array
  /**
   * The call's time in milliseconds, and its peak use of the backend's memory in bytes. Concurrent calls share the
   * counter of memory.
   */
  metadata?: { computeTime: number; memoryUsed: number }
}

/** Memory in bytes: allocated at present, reserved from the system, and the maximum ever allocated. */
export interface MemoryUsage {
  allocated: number
  total: number
  peak: number
}

export interface TensorStats {
  mean: number
  std: number
  min: number
  max: number
}

/** Configuration of a layer as a plain object. */
export interface IAttentionConfig {
  numHeads: number
  headDim: number
  dropout?: number
  useBias?: boolean
  modelDim?: number
  kvHeads?: number
  kDim?: number
  vDim?: number
  rotary?: NonNullable<LayerConfig['rotary']>
  seed?: number
}

/** Configuration of hyperbolic attention as a plain object. */
export interface IHyperbolicConfig {
  curvature: number
  numHeads: number
  manifoldType?: 'poincare' | 'lorentz' | 'hyperboloid'
  temperature?: number
}

export interface IPerformanceMetrics {
  forwardTime: number
  backwardTime?: number
  memoryPeak: number
  flops?: number
}

export interface IBatchOptions {
  /** The maximum number of concurrent calls. */
  batchSize: number
  /** `false` runs the calls one after another on the calling thread. Default: true. */
  async?: boolean
  /** Called with the completed fraction, up to 1. */
  progressCallback?: (progress: number) => void
}

/**
 * The error that everything here throws, an `AttentionError` of the main entry. `error_type` is `'InvalidDimensions'`
 * (codes SHAPE and DTYPE), `'InvalidConfig'` (OPTION), `'ComputationError'` (DOMAIN, INTERNAL, NOT_INITIALIZED,
 * BACKEND), `'MemoryError'` (MEMORY, DISPOSED) or `'SerializationError'` (FORMAT).
 */
export declare class WasmErrorInfo extends AttentionError implements Freed {
  private constructor()
  readonly error_type: 'InvalidDimensions' | 'InvalidConfig' | 'ComputationError' | 'MemoryError' | 'SerializationError'
  free(): void
  [Symbol.dispose](): void
}
