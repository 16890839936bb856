/**
 * Training: gradients of layers, mechanisms and functions, losses, and optimizers. The entry has everything of the main
 * one, bound to a module that can compute gradients.
 *
 * ```js
 * import { AdamW, Linear, createTensor, crossEntropy, vjp } from '@ruvector/attention/training'
 *
 * const layer = new Linear({ inFeatures: 2, outFeatures: 2 })
 * const optimizer = new AdamW(layer, { learningRate: 0.1 })
 * const x = createTensor([1, 0, 0, 1], [2, 2])
 * for (let step = 0; step < 20; step++) {
 *   const pass = vjp(layer, x)
 *   const { gradient } = crossEntropy(pass.output, [0, 1])
 *   optimizer.step(pass.backward(gradient).parameters)
 * }
 * ```
 *
 * Gradients are those of PyTorch's autograd, to 2e-5 of the largest entry. Sums are added in an order that shapes alone
 * determine, so results are the same for any number of threads.
 *
 * @module @ruvector/attention/training
 */
import type {
  AsyncOptions,
  Attention as Complete,
  AttentionOptions,
  BackendKind,
  CrossAttention,
  DecoderLayer,
  Embedding,
  FlashAttention,
  Graph,
  GraphAttention,
  GraphConvolution,
  GraphOptions,
  GraphSage,
  GraphTransformer,
  HyperbolicAttention,
  HyperbolicOptions,
  InitOptions,
  Integers,
  LatentAttention,
  Layer,
  LayerOptions,
  Linear,
  LinearAttention,
  LinearOptions,
  MultiHeadAttention,
  NodeFeatures,
  RotaryOptions,
  ScaledDotProductAttention,
  SelfAttention,
  StateDict,
  Tensor,
  TransformerDecoderLayer,
  TransformerDecoderOptions,
  TransformerEncoderLayer,
  Weight
} from './index.js'

export * from './index.js'

/** Everything of this entry except init and loadBackend, bound to one backend. */
export type Attention = Omit<typeof import('./training.js'), 'init' | 'loadBackend'>

/** Like the function of the main entry; see `index.d.ts`. */
export function loadBackend(kind: BackendKind, options?: InitOptions): Promise<Attention>

// ── Gradients ────────────────────────────────────────────────────────────────────────────────────────────────────────

/** The gradients of a call: of its inputs by name, and of the parameters of a layer. */
export interface Gradients<Inputs> {
  inputs: Inputs
  /** Empty for functions and mechanisms without parameters. Weights of 16 or 8 bits are frozen, and have none. */
  parameters: StateDict
}

/** The output of a call, and the gradients of everything that went into it. See {@link vjp}. */
export interface Vjp<Inputs> extends Disposable {
  readonly output: Tensor
  /**
   * The gradients of `⟨gradient, output⟩`, where `gradient` has the output's shape. May be called once.
   *
   * @throws {AttentionError} SHAPE or DTYPE for a wrong gradient, after which it may be called again; DISPOSED for a
   *   second call, and if the layer was disposed or its parameters were changed since `vjp`
   */
  backward(gradient: Tensor): Gradients<Inputs>
  /** The same, off the calling thread: see {@link AsyncOptions}. */
  backwardAsync(gradient: Tensor, options?: AsyncOptions | null): Promise<Gradients<Inputs>>
  /** Frees what `backward` would need. */
  dispose(): void
}

/** Gradients of tensors among the options of attention, as far as they were given; masks of floats only. */
export interface OptionGradients {
  mask?: Tensor
  relativeBias?: Tensor
  sinks?: Tensor
}

/** Options of a call of which the output alone is wanted. */
export type OutputOnly<Options> = Omit<
  Options,
  'weights' | 'averageWeights' | 'topWeights' | 'logSumExp' | 'out' | 'returnState' | 'cache' | 'contextCache'
>

/**
 * Computes a call, and keeps what its gradients are computed from. `target` is a layer or mechanism at these arguments
 * of its `forward`, in its present mode; a function of this API; or a function of a hyperbolic space, by name.
 *
 * The gradients of inputs have the names of the parameters, and of the tensors among the options. Attention is computed
 * again from `logSumExp` (Dao 2023), so memory grows with the length, and not with its square. Rows without visible
 * keys have gradients of 0, and so have hidden keys. Gradients along the edges of a graph are messages along the
 * reversed edges; `x` is a list if two node sets were given.
 *
 * @throws {AttentionError} The errors of the call itself; OPTION for a target or an option without gradient, and for a
 *   target of another entry or of another `loadBackend`
 *
 * @example
 * ```js
 * import { createTensor, multiply, vjp } from '@ruvector/attention/training'
 * const pass = vjp(multiply, createTensor([2], [1]), createTensor([3], [1]))
 * const { inputs } = pass.backward(createTensor([1], [1]))
 * console.log(pass.output.data[0], inputs.a.data[0], inputs.b.data[0]) // 6 3 2
 * ```
 */
export function vjp(
  target: MultiHeadAttention,
  q: Tensor,
  k?: Tensor | null,
  v?: Tensor | null,
  options?: OutputOnly<LayerOptions> | null
): Vjp<{ q: Tensor; k?: Tensor; v?: Tensor } & OptionGradients>
export function vjp(
  target: CrossAttention,
  query: Tensor,
  context: Tensor,
  options?: OutputOnly<LayerOptions> | null
): Vjp<{ query: Tensor; context: Tensor } & OptionGradients>
export function vjp(
  target: SelfAttention | TransformerEncoderLayer | DecoderLayer | LatentAttention,
  x: Tensor,
  options?: OutputOnly<LayerOptions> | null
): Vjp<{ x: Tensor } & OptionGradients>
export function vjp(
  target: TransformerDecoderLayer,
  x: Tensor,
  context: Tensor,
  options?: OutputOnly<TransformerDecoderOptions> | null
): Vjp<{ x: Tensor; context: Tensor } & OptionGradients>
export function vjp(target: Linear, x: Tensor): Vjp<{ x: Tensor }>
export function vjp(target: Embedding, ids: ArrayLike<number> | Integers | Tensor<Int32Array>): Vjp<{}>
export function vjp<X extends NodeFeatures>(
  target: GraphConvolution | GraphSage | GraphAttention | GraphTransformer,
  graph: Graph,
  x: X,
  options?: OutputOnly<GraphOptions> | null
): Vjp<{ x: X extends Tensor ? Tensor : [xSource: Tensor, xTarget: Tensor]; edgeAttr?: Tensor; edgeWeight?: Tensor }>
export function vjp<Target extends typeof import('./index.js').propagate | typeof import('./index.js').edgeSoftmax>(
  target: Target,
  graph: Graph,
  x: Tensor,
  options?: Parameters<typeof import('./index.js').propagate>[2]
): Vjp<3 extends Parameters<Target>['length'] ? { x: Tensor; edgeWeight?: Tensor } : { scores: Tensor }>
export function vjp(
  target: ScaledDotProductAttention | FlashAttention | typeof import('./index.js').scaledDotProductAttention,
  q: Tensor,
  k: Tensor,
  v: Tensor,
  options?: OutputOnly<AttentionOptions> | null
): Vjp<{ q: Tensor; k: Tensor; v: Tensor } & OptionGradients>
export function vjp(
  target: LinearAttention,
  q: Tensor,
  k: Tensor,
  v: Tensor,
  options?: OutputOnly<LinearOptions> | null
): Vjp<{ q: Tensor; k: Tensor; v: Tensor; decay?: Tensor; beta?: Tensor; state?: Tensor }>
export function vjp(
  target: HyperbolicAttention,
  q: Tensor,
  k: Tensor,
  v: Tensor,
  options?: OutputOnly<HyperbolicOptions> | null
): Vjp<{ q: Tensor; k: Tensor; v: Tensor }>
export function vjp(
  target: readonly [HyperbolicAttention, 'distance' | 'distanceMatrix'],
  a: Tensor,
  b: Tensor
): Vjp<{ a: Tensor; b: Tensor }>
export function vjp(target: readonly [HyperbolicAttention, 'expMap0'], tangent: Tensor): Vjp<{ tangent: Tensor }>
export function vjp(target: readonly [HyperbolicAttention, 'logMap0'], point: Tensor): Vjp<{ point: Tensor }>
export function vjp(
  target: readonly [HyperbolicAttention, 'midpoint'],
  points: Tensor,
  weights?: Tensor | null
): Vjp<{ points: Tensor; weights?: Tensor }>
export function vjp(
  target: typeof import('./index.js').add | typeof import('./index.js').multiply,
  a: Tensor,
  b: Tensor
): Vjp<{ a: Tensor; b: Tensor }>
export function vjp(
  target: typeof import('./index.js').linear,
  x: Tensor,
  weight: Weight,
  bias?: Tensor | null
): Vjp<{ x: Tensor; weight?: Tensor; bias?: Tensor }>
export function vjp(
  target: typeof import('./index.js').embedding,
  table: Weight,
  ids: ArrayLike<number> | Integers | Tensor<Int32Array>
): Vjp<{ table?: Tensor }>
export function vjp(
  target: typeof import('./index.js').concat,
  parts: readonly Tensor[],
  axis?: number | null
): Vjp<{ parts: Tensor[] }>
export function vjp(
  target: typeof import('./index.js').layerNorm | typeof import('./index.js').rmsNorm,
  x: Tensor,
  options?: {
    weight?: Tensor | null | undefined
    bias?: Tensor | null | undefined
    epsilon?: number | null | undefined
  } | null
): Vjp<{ x: Tensor; weight?: Tensor; bias?: Tensor }>
export function vjp(
  target: typeof import('./index.js').rotaryEmbedding,
  x: Tensor,
  options?: RotaryOptions | null
): Vjp<{ x: Tensor }>
export function vjp(target: (x: Tensor, ...rest: never[]) => Tensor, x: Tensor, ...rest: unknown[]): Vjp<{ x: Tensor }>
export function vjp(target: Layer, ...args: unknown[]): Vjp<Record<string, Tensor>>

// ── Losses ───────────────────────────────────────────────────────────────────────────────────────────────────────────

/** A loss, and the gradient of its first argument. */
export interface Loss {
  value: number
  gradient: Tensor
}

/** A loss of two sets of vectors, and the gradients of both. */
export interface PairLoss {
  value: number
  gradients: [Tensor, Tensor]
}

/**
 * Mean cross-entropy of `logits [N,C]` and the classes `targets [N]`, as `torch.nn.functional.cross_entropy`. Rows
 * whose target is `ignoreIndex` (−100 by default) count nothing. `weights [C]` weighs classes; `labelSmoothing` spreads
 * that part of each target evenly over all classes.
 *
 * @throws {AttentionError} SHAPE, DTYPE, OPTION for a target that is not a class
 *
 * @example
 * ```js
 * import { createTensor, crossEntropy } from '@ruvector/attention/training'
 * const { value, gradient } = crossEntropy(createTensor([0, 0], [1, 2]), [1])
 * console.log(value.toFixed(4), Array.from(gradient.data)) // 0.6931 [ 0.5, -0.5 ]
 * ```
 */
export function crossEntropy(
  logits: Tensor,
  targets: ArrayLike<number> | Integers,
  options?: {
    ignoreIndex?: number | null | undefined
    labelSmoothing?: number | null | undefined
    weights?: Float32Array | null | undefined
  } | null
): Loss

/**
 * Mean of the squared differences of two tensors of the same shape, as `torch.nn.functional.mse_loss`.
 *
 * @throws {AttentionError} SHAPE, DTYPE
 *
 * @example
 * ```js
 * import { createTensor, meanSquaredError } from '@ruvector/attention/training'
 * const { value, gradient } = meanSquaredError(createTensor([1, 3], [2]), createTensor([1, 1], [2]))
 * console.log(value, Array.from(gradient.data)) // 2 [ 0, 2 ]
 * ```
 */
export function meanSquaredError(x: Tensor, target: Tensor): Loss

/**
 * Mean over the rows of `a [N,D]` and `b [N,D]`: `1 − cosine` where the target is 1, and `max(0, cosine)` where it is
 * −1, as `torch.nn.functional.cosine_embedding_loss`.
 *
 * @throws {AttentionError} SHAPE, DTYPE, OPTION for other targets
 *
 * @example
 * ```js
 * import { cosineLoss, createTensor } from '@ruvector/attention/training'
 * const { value } = cosineLoss(createTensor([1, 0], [1, 2]), createTensor([3, 4], [1, 2]), [1])
 * console.log(value.toFixed(2)) // 0.40
 * ```
 */
export function cosineLoss(a: Tensor, b: Tensor, target: ArrayLike<number> | Integers): PairLoss

/**
 * Contrastive loss of pairs: row i of `a [N,D]` belongs to row i of `b [N,D]`, and all other rows of b are negatives.
 * Mean cross-entropy of `cosine / temperature` (0.05), as the MultipleNegativesRankingLoss of sentence-transformers.
 *
 * @throws {AttentionError} SHAPE, DTYPE, OPTION
 *
 * @example
 * ```js
 * import { createTensor, infoNce } from '@ruvector/attention/training'
 * const rows = createTensor([1, 0, 0, 1], [2, 2])
 * console.log(infoNce(rows, rows, { temperature: 1 }).value.toFixed(4)) // 0.3133
 * ```
 */
export function infoNce(a: Tensor, b: Tensor, options?: { temperature?: number | null | undefined } | null): PairLoss

// ── Optimizers ───────────────────────────────────────────────────────────────────────────────────────────────────────

/** Options of {@link AdamW}. */
export interface AdamWOptions {
  /** 1e-3 by default. */
  learningRate?: number | null | undefined
  /** Decay of the averages of gradients and of their squares; `[0.9, 0.999]` by default. */
  betas?: readonly [number, number] | null | undefined
  /** 1e-8 by default. */
  epsilon?: number | null | undefined
  /** Decoupled decay, as a part of the learning rate; 0.01 by default. */
  weightDecay?: number | null | undefined
  /** Limits the norm of all gradients of a step together, as `torch.nn.utils.clip_grad_norm_`. Default: no limit. */
  clipNorm?: number | null | undefined
}

/** Options of {@link SGD}. */
export interface SGDOptions {
  /** 1e-3 by default. */
  learningRate?: number | null | undefined
  /** 0 by default. */
  momentum?: number | null | undefined
  /** Decay that is added to the gradient; 0 by default. */
  weightDecay?: number | null | undefined
  /** Nesterov's momentum. */
  nesterov?: boolean | null | undefined
  /** Limits the norm of all gradients of a step together, as `torch.nn.utils.clip_grad_norm_`. Default: no limit. */
  clipNorm?: number | null | undefined
}

/** The part that all optimizers share. */
export interface Optimizer extends Disposable {
  /** Of the next step. Multiply it by a schedule, as {@link cosineSchedule}. */
  learningRate: number
  /**
   * Updates the parameters of the layers where they are; calls that have begun go on with the old ones. `gradients` has
   * a state dict for each layer, in the order of the constructor; a parameter without a gradient is left as it is.
   *
   * @throws {AttentionError} FORMAT for a gradient of no parameter, SHAPE, DTYPE; DOMAIN for a gradient that has no
   *   finite norm; DISPOSED. Nothing is changed then
   */
  step(gradients: StateDict | readonly StateDict[]): void
  /** The averages and steps of each parameter, as `'0.weight.exp_avg'`: the layer's index, its parameter, the part. */
  stateDict(): StateDict
  /**
   * Continues from another optimizer's state, to the bit. The learning rate is not part of it.
   *
   * @throws {AttentionError} FORMAT, SHAPE, DTYPE, DISPOSED
   */
  loadStateDict(state: StateDict): void
  /**
   * Frees the averages, which are in the backend's memory. All other calls of this optimizer then throw DISPOSED; its
   * layers stay as they are.
   */
  dispose(): void
}

/**
 * Adam with decoupled decay (Loshchilov and Hutter 2019), as `torch.optim.AdamW`, step for step.
 *
 * @throws {AttentionError} OPTION, DTYPE
 *
 * @example
 * ```js
 * import { AdamW, Linear, createTensor } from '@ruvector/attention/training'
 * const layer = new Linear({ inFeatures: 1, outFeatures: 1, useBias: false }).loadStateDict({ weight: createTensor([1], [1, 1]) })
 * new AdamW(layer, { learningRate: 0.1 }).step({ weight: createTensor([5], [1, 1]) })
 * console.log(layer.stateDict().weight.data[0].toFixed(3)) // 0.899
 * ```
 */
export class AdamW implements Optimizer {
  constructor(layers: Layer | readonly Layer[], options?: AdamWOptions | null)
  learningRate: number
  step(gradients: StateDict | readonly StateDict[]): void
  stateDict(): StateDict
  loadStateDict(state: StateDict): void
  dispose(): void
  [Symbol.dispose](): void
}

/**
 * Stochastic gradient descent with momentum, as `torch.optim.SGD`, step for step.
 *
 * @throws {AttentionError} OPTION, DTYPE
 *
 * @example
 * ```js
 * import { Linear, SGD, createTensor } from '@ruvector/attention/training'
 * const layer = new Linear({ inFeatures: 1, outFeatures: 1, useBias: false }).loadStateDict({ weight: createTensor([1], [1, 1]) })
 * new SGD(layer, { learningRate: 0.5 }).step({ weight: createTensor([1], [1, 1]) })
 * console.log(layer.stateDict().weight.data[0]) // 0.5
 * ```
 */
export class SGD implements Optimizer {
  constructor(layers: Layer | readonly Layer[], options?: SGDOptions | null)
  learningRate: number
  step(gradients: StateDict | readonly StateDict[]): void
  stateDict(): StateDict
  loadStateDict(state: StateDict): void
  dispose(): void
  [Symbol.dispose](): void
}

/** Options of {@link addLora}. */
export interface LoraOptions {
  /** The rank of each adapter. */
  rank: number
  /** Adapters are multiplied by `alpha / rank`; `rank` by default. */
  alpha?: number | null | undefined
  /** The projections that get an adapter: query and value by default. */
  targets?: readonly ('query' | 'key' | 'value' | 'output' | 'up' | 'gate' | 'down')[] | null | undefined
  /** 0 by default. */
  seed?: number | null | undefined
}

/**
 * Adds low-rank adapters to a layer's projections (Hu et al. 2021): `W x` becomes `W x + (alpha / rank) · B A x`, where
 * A starts Kaiming-uniform and B with zeros. From then on, the adapters alone are the parameters that `vjp` and
 * optimizers know, and that `stateDict` and `loadStateDict` read and write. Their names are PEFT's: the path of the
 * projection's module, in the layer's own names or in those of a family with `names`, and `lora_A.weight` or
 * `lora_B.weight`. The frozen weights stay as they are, in memory of JavaScript; a layer of 32-bit weights computes
 * with the sums.
 *
 * Weights of 16 or 8 bits stay in their type, and `forward` computes the products of the adapters beside theirs. It
 * then refuses `weights` and caches, as {@link vjp} does, and `forwardAsync` computes on the calling thread.
 *
 * @throws {AttentionError} OPTION for a layer that has adapters, a rank below 1, or a projection that the layer lacks
 *
 * @example
 * ```js
 * import { TransformerEncoderLayer, addLora } from '@ruvector/attention/training'
 * const layer = new TransformerEncoderLayer({ modelDim: 8, numHeads: 2 })
 * addLora(layer, { rank: 2, targets: ['value'] })
 * console.log(Object.keys(layer.stateDict({ names: 'bert' }))[0]) // attention.self.value.lora_A.weight
 * ```
 */
export function addLora(layer: Layer, options: LoraOptions): void

/**
 * Ends the training of adapters: the layer keeps the sums as its own weights, rounded to their type.
 *
 * @throws {AttentionError} OPTION for a layer without adapters; DOMAIN for sums that the type cannot hold
 *
 * @example
 * ```js
 * import { SelfAttention, addLora, mergeLora } from '@ruvector/attention/training'
 * const layer = new SelfAttention({ modelDim: 8, numHeads: 2 })
 * addLora(layer, { rank: 2 })
 * mergeLora(layer)
 * console.log('in_proj_weight' in layer.stateDict()) // true
 * ```
 */
export function mergeLora(layer: Layer): void

/** The factor of the learning rate at each step, which counts from 0. */
export type Schedule = (step: number) => number

/**
 * A factor of 1, after a rise from 0 within `warmup` steps, as `get_constant_schedule_with_warmup` of transformers.
 *
 * @throws {AttentionError} OPTION
 *
 * @example
 * ```js
 * import { constantSchedule } from '@ruvector/attention/training'
 * console.log([0, 1, 2, 3].map(constantSchedule({ warmup: 2 }))) // [ 0, 0.5, 1, 1 ]
 * ```
 */
export function constantSchedule(options?: { warmup?: number | null | undefined } | null): Schedule

/**
 * A factor that falls from 1 to 0 at `steps`, after a rise from 0 within `warmup` steps, as
 * `get_linear_schedule_with_warmup` of transformers.
 *
 * @throws {AttentionError} OPTION
 *
 * @example
 * ```js
 * import { linearSchedule } from '@ruvector/attention/training'
 * console.log([0, 1, 2, 3, 4].map(linearSchedule({ steps: 4 }))) // [ 1, 0.75, 0.5, 0.25, 0 ]
 * ```
 */
export function linearSchedule(options: { steps: number; warmup?: number | null | undefined }): Schedule

/**
 * A factor that falls from 1 to 0 at `steps` along half a cosine, after a rise from 0 within `warmup` steps, as
 * `get_cosine_schedule_with_warmup` of transformers.
 *
 * @throws {AttentionError} OPTION
 *
 * @example
 * ```js
 * import { cosineSchedule } from '@ruvector/attention/training'
 * console.log([0, 1, 2].map(cosineSchedule({ steps: 2 })).map((factor) => factor.toFixed(1))) // [ '1.0', '0.5', '0.0' ]
 * ```
 */
export function cosineSchedule(options: { steps: number; warmup?: number | null | undefined }): Schedule
