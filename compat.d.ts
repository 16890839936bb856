/**
 * The object model of the project's original plan, as thin adapters over `@ruvector/attention`: bare Float32Arrays with their
 * shapes in, Float32Arrays out. New code is better served by the package's main entry.
 *
 * A call is `forward(arrays…, shapes…, mask?)`: a shape that is left out is that of the array before. Shapes are checked, and
 * every wrong input is an AttentionError. A mask is a {@link MaskType}, a tensor, or a bare array (Uint8Array: non-zero
 * attends; Float32Array: added) as long as `[L,S]`, `[B,H,L,S]`, `[B,1,L,S]`, `[B,1,1,S]` or `[1,S]`, the first that fits.
 *
 * @module @ruvector/attention/compat
 */
import type { AttentionConfig as LayerConfig, Tensor } from './index.js'

export type Shape = readonly number[]
export type Mask = MaskType | Float32Array | Uint8Array | Tensor | Tensor<Uint8Array> | null

/** What a mask argument may be in place of an array; `Padding` and `Custom` are given as the mask itself. */
export declare const MaskType: { readonly None: 0; readonly Causal: 1; readonly Padding: 2; readonly Custom: 3 }
export type MaskType = (typeof MaskType)[keyof typeof MaskType]

/** The configuration of a layer; every further field of the main entry's configuration may be set on it. */
export declare class AttentionConfig implements LayerConfig {
  constructor(numHeads: number, headDim: number)
  numHeads: number
  headDim: number
  modelDim?: number
  kvHeads?: number
  kDim?: number
  vDim?: number
  useBias?: boolean
  dropout?: number
  seed?: number
}

/** The configuration of hyperbolic attention: `curvature` below 0, heads that split the last dimension. */
export declare class HyperbolicConfig {
  constructor(curvature: number, numHeads?: number)
  curvature: number
  numHeads: number
  manifold?: 'poincare' | 'lorentz' | 'hyperboloid'
  temperature?: number
}

/** Milliseconds since it was made or last reset. */
export declare class PerfTimer {
  constructor(name?: string)
  name: string
  elapsed(): number
  reset(): void
}

export interface QueryKeyValue {
  forward(
    query: Float32Array,
    key: Float32Array,
    value: Float32Array,
    ...shapesAndMask: [queryShape: Shape, ...rest: (Shape | Mask | undefined)[]]
  ): Float32Array
  /** As `forward`, off the calling thread. */
  forwardAsync(...call: Parameters<QueryKeyValue['forward']>): Promise<Float32Array>
}

export interface WithParameters {
  readonly numParameters: number
  readonly num_parameters: number
  dispose(): void
  free(): void
}

export interface ScaledDotProduct extends QueryKeyValue {
  readonly scale: number
  attentionWeights(
    query: Float32Array,
    key: Float32Array,
    ...shapesAndMask: [queryShape: Shape, ...rest: (Shape | Mask | undefined)[]]
  ): Float32Array
  attention_weights: ScaledDotProduct['attentionWeights']
}

export interface MultiHead extends QueryKeyValue, WithParameters {}

export interface Cross extends WithParameters {
  forward(
    query: Float32Array,
    context: Float32Array,
    ...shapesAndMask: [queryShape: Shape, ...rest: (Shape | Mask | undefined)[]]
  ): Float32Array
  forwardAsync(...call: Parameters<Cross['forward']>): Promise<Float32Array>
}

export interface Self extends WithParameters {
  forward(x: Float32Array, shape: Shape, mask?: Mask): Float32Array
  forwardAsync(...call: Parameters<Self['forward']>): Promise<Float32Array>
}

/** Takes any vectors, as tangent vectors at the origin; distances are between points of the ball. */
export interface Hyperbolic extends QueryKeyValue {
  readonly curvature: number
  distance(a: Float32Array, b: Float32Array): number
  /** Points `[L, D]` and `[S, D]` give `[L, S]`. */
  distanceMatrix(a: Float32Array, b: Float32Array, aShape: Shape, bShape?: Shape): Float32Array
  distance_matrix: Hyperbolic['distanceMatrix']
  /** One point, or `shape` many. */
  projectToBall(x: Float32Array, shape?: Shape): Float32Array
  project_to_ball: Hyperbolic['projectToBall']
}

export interface Linear extends QueryKeyValue {
  readonly featureDim: number
  readonly feature_dim: number
  featureMap(x: Float32Array, shape: Shape): Float32Array
  feature_map: Linear['featureMap']
}

export interface Flash extends QueryKeyValue {
  readonly blockSize: number
  readonly block_size: number
}

export declare const ruVector: {
  /** Gets the backend ready; browsers await it once before the first call. */
  init(): Promise<void>
  createScaledDotProduct(headDim: number, dropout?: number): ScaledDotProduct
  createMultiHead(config: LayerConfig): MultiHead
  createHyperbolic(config: HyperbolicConfig): Hyperbolic
  /** With `featureDim`, that many random features estimate softmax attention; without, the feature map is elu + 1. */
  createLinear(modelDim: number, featureDim?: number): Linear
  createCross(config: LayerConfig): Cross
  createSelf(config: LayerConfig): Self
  createFlash(headDim: number, blockSize?: number): Flash
  /** Bytes: allocated now, taken from the system, and the most that was ever allocated. */
  getMemoryUsage(): { allocated: number; total: number; peak: number }
}
