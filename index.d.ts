/// <reference lib="esnext.disposable" />
/**
 * Exact attention on typed arrays, with the same interface and the same results on every backend: native or
 * WebAssembly.
 *
 * Letters in shapes: `B` batch, `H` query heads, `G` key/value heads, `L` query length, `S` key length, `D` query and
 * key size of a head, `E` value size of a head, `M` model size.
 *
 * Invalid input throws an {@link AttentionError} before any work is done, and the next call works. Calls never write to
 * inputs and never keep them. Outputs are newly allocated, unless the caller passes `out`.
 *
 * @module @ruvector/attention
 */

// ── Tensors ──────────────────────────────────────────────────────────────────────────────────────────────────────────

export type TensorData = Float32Array | Uint8Array | Int32Array

/**
 * A list of 32-bit integers. An Int32Array is used as it is; an array of another class or a plain array is copied, and
 * its values are checked.
 */
export type Integers =
  | Int32Array
  | Int8Array
  | Int16Array
  | Uint8Array
  | Uint8ClampedArray
  | Uint16Array
  | Uint32Array
  | BigInt64Array
  | BigUint64Array
  | readonly (number | bigint)[]

/**
 * The flags of a boolean mask in a form other than a Uint8Array, such as the attention mask of a tokenizer: true or 1
 * means attend, false or 0 hides the key, and any other value is an error.
 */
export type Flags =
  Exclude<Integers, Uint8Array | readonly (number | bigint)[]> | readonly (boolean | number | bigint)[]

/**
 * An array and its shape: row-major and contiguous. `data.length` is the product of `shape`, which has at most 8
 * dimensions; dimensions may be zero. A plain object works, and `data` may be a view of a larger buffer.
 */
export interface Tensor<T extends TensorData = Float32Array> {
  readonly data: T
  readonly shape: readonly number[]
}

/**
 * Creates a tensor. A Float32Array is used directly, without a copy; other lists of numbers are copied.
 *
 * @throws {AttentionError} SHAPE if the length is not the product of `shape`; DTYPE if an entry is not a number; MEMORY
 *
 * @example
 * ```js
 * import { createTensor } from '@ruvector/attention'
 * const x = createTensor([1, 2, 3, 4, 5, 6], [1, 3, 2]) // [batch, length, size]
 * console.log(x.shape, x.data.length) // [ 1, 3, 2 ] 6
 * ```
 */
export function createTensor(data: Float32Array | ArrayLike<number>, shape: readonly number[]): Tensor

/**
 * Returns a tensor with another shape that shares `data` with `tensor`.
 *
 * @throws {AttentionError} SHAPE if the shapes hold different numbers of elements; DTYPE if the argument is not a
 * tensor.
 *
 * @example
 * ```js
 * import { createTensor, reshape } from '@ruvector/attention'
 * const x = createTensor([1, 2, 3, 4], [1, 2, 2])
 * console.log(reshape(x, [4]).shape) // [ 4 ]
 * ```
 */
export function reshape<T extends TensorData = Float32Array>(tensor: Tensor<T>, shape: readonly number[]): Tensor<T>

// ── Backend ──────────────────────────────────────────────────────────────────────────────────────────────────────────

export type BackendKind = 'native' | 'wasm'

/** Sources to load a patch from; classes that a runtime lacks are omitted. */
export type PatchSource =
  | string
  | ArrayBuffer
  | ArrayBufferView
  | (typeof globalThis extends { URL: { prototype: infer Url } } ? Url : never)
  | (typeof globalThis extends { Response: { prototype: infer Response } } ? Response : never)

/** Sources to load WebAssembly from. */
export type WasmSource =
  PatchSource | (typeof globalThis extends { WebAssembly: { Module: { prototype: infer Module } } } ? Module : never)

export interface InitOptions {
  /**
   * The source of the WebAssembly module: a URL (in Node also a path), a Response, bytes, or a compiled module.
   * Default: the module shipped with the package. It is not read if native code runs, or if a backend is already
   * running.
   */
  wasm?: WasmSource
  /**
   * The source of `attention.relaxed.patch`, the patch for `wasm`. It is applied in engines with relaxed SIMD, where
   * the patched module is faster. Default: none with `wasm`, else the patch shipped with the package.
   */
  patch?: PatchSource
  /**
   * From 1 to 1024; default: the processors of the machine. Natively, the maximum number of threads per call. In
   * WebAssembly, the maximum number of workers for asynchronous calls; other calls run on the calling thread.
   */
  threads?: number
  /**
   * Receives one line for each rejected candidate, one for the chosen backend, and then one for each completed
   * operation with its tensor shapes and time: `ruvector-attention: softmax [2,8]: 0.012 ms`. The time of an
   * asynchronous call includes waiting; the line of a failed call has its error code. An exception from this function
   * propagates from the call. Default: no log, at no cost. In Node, Deno and Bun, the environment variable
   * `RUVECTOR_ATTENTION_DEBUG=1` writes these lines to standard error.
   */
  log?: (line: string) => void
  /**
   * If true, native code on Linux asks the system for Intel's AMX, and then computes large products and attention with
   * it, at the accuracy of f32. Without AMX nothing else changes: `backend().rejected` gives the reason for `amx`. The
   * request holds for the whole process and cannot be withdrawn; docs/runtimes.md describes its side effects. Default:
   * false.
   */
  amx?: boolean
}

/**
 * Prepares the backend. In browsers, await it once before the first call. Node, Deno, Bun and Cloudflare's runtime do
 * not need it. Concurrent calls share one promise. Later calls may still change `threads` and `log`, or request `amx`.
 * After a failure, the next call tries again.
 *
 * @throws {AttentionError} OPTION for unknown options; BACKEND if nothing can be loaded, with every reason.
 *
 * @example
 * ```js
 * import { backend, init, version } from '@ruvector/attention'
 * await init({ threads: 2 })
 * console.log(backend().version === version) // true
 * ```
 */
export function init(options?: InitOptions): Promise<void>

/**
 * Describes the running backend. `simd` is the instruction set in use. `rejected` lists every better candidate that
 * failed, with its error. `threads` is the maximum number of threads, in WebAssembly the number of workers for
 * asynchronous calls. It is 1 if the runtime cannot start workers: asynchronous calls then run on the calling thread,
 * and `rejected` has the reason.
 *
 * @throws {AttentionError} NOT_INITIALIZED, BACKEND
 *
 * @example
 * ```js
 * import { backend, init } from '@ruvector/attention'
 * await init()
 * console.log(backend().rejected.length === 0 || backend().kind === 'wasm') // true
 * ```
 */
export function backend(): {
  kind: BackendKind
  simd: string
  threads: number
  version: string
  rejected: { candidate: string; error: Error }[]
}

/**
 * The complete API bound to one backend, for comparing backends in one process. `threads` and `log` apply to this API
 * only.
 *
 * @throws {AttentionError} BACKEND if the backend cannot be loaded; OPTION
 *
 * @example
 * ```js
 * import { createTensor, loadBackend } from '@ruvector/attention'
 * const wasm = await loadBackend('wasm')
 * console.log(wasm.backend().kind, wasm.softmax(createTensor([0, 0], [2])).data) // wasm Float32Array(2) [ 0.5, 0.5 ]
 * ```
 */
export function loadBackend(kind: BackendKind, options?: InitOptions): Promise<Attention>

/**
 * Memory of the backend in bytes, outside the JavaScript heap: `allocated` at present; `total` reserved from the system
 * (WebAssembly's memory, which never shrinks; natively equal to `allocated`); and `peak`, the maximum ever allocated.
 *
 * @throws {AttentionError} NOT_INITIALIZED, BACKEND
 *
 * @example
 * ```js
 * import { memoryUsage } from '@ruvector/attention'
 * const { allocated, peak } = memoryUsage()
 * console.log(allocated <= peak) // true
 * ```
 */
export function memoryUsage(): { allocated: number; total: number; peak: number }

/** The version of this package. */
export const version: string

// ── Functions ────────────────────────────────────────────────────────────────────────────────────────────────────────

/**
 * Restricts the keys that a query sees; all conditions must hold. An option that is `undefined` or `null` is absent.
 */
export interface MaskOptions {
  /**
   * Uint8Array: boolean, nonzero means attend. Float32Array: added to the scores; −∞ hides a key, a huge negative
   * number does not. {@link Flags}: boolean, each value true, false, 0 or 1. Rank 1 to 4, right-aligned to `[B,H,L,S]`,
   * broadcast along dimensions of size 1. With three-dimensional inputs of a function, or of hyperbolic attention with
   * one head, a mask of rank 3 is `[B,L,S]`; in layers, it is `[H,L,S]`.
   */
  mask?: Tensor<Uint8Array> | Tensor<Float32Array> | { data: Flags; shape: readonly number[] } | null | undefined
  /** Query `i` sees the keys `j ≤ i + queryOffset`. Default: false. */
  causal?: boolean | null | undefined
  /**
   * The key position of query 0: one number, or one per batch entry or packed sequence; may be negative. Default: 0.
   */
  queryOffset?: number | Integers | null | undefined
  /**
   * Query `i` sees `i + queryOffset − left ≤ j ≤ i + queryOffset + right`; −1 leaves a side open. Default: all keys.
   */
  window?: readonly [left: number, right: number] | null | undefined
  /** Valid keys of each batch entry, `[B]`, each from 0 to `S`. Default: all. */
  kvLengths?: Integers | null | undefined
  /**
   * Cumulative lengths `[n+1]` of `n` sequences packed along `L`, from 0 to `L`, with `B` = 1: rows `cuSeqlens[s]` to
   * `cuSeqlens[s+1] − 1` are sequence `s`, and see its keys alone. `causal`, `window`, rotary positions and
   * `relativeBias` count from its start, and so does dropout: its results do not depend on the other sequences.
   * Excludes `mask`, `kvLengths`, `weights`, `averageWeights` and {@link KVCache}. Default: not packed.
   */
  cuSeqlens?: Integers | null | undefined
  /** Cumulative lengths of the sequences' keys, from 0 to `S`. Default: `cuSeqlens`. */
  cuSeqlensKeys?: Integers | null | undefined
  /**
   * `[H,L+S−1]`, or `[1,L+S−1]` for all heads: the score of query `i` and key `j` is increased by the entry at place
   * `j − i + L − 1`, after the softcap and in addition to a mask; −∞ hides a key. Of packed sequences, `L` and `S` are
   * those of the longest. {@link alibiBias} and {@link relativePositionBias} make it. Default: none.
   */
  relativeBias?: Tensor | null | undefined
}

export interface AttentionOptions extends MaskOptions {
  /**
   * The order of dimensions of 4-D inputs and the output: heads before length, or length before heads. Default: 'bhld'.
   */
  layout?: 'bhld' | 'blhd' | null | undefined
  /** The factor of `q · k`, finite. Default: 1/√D. */
  scale?: number | null | undefined
  /** Scores become `softcap · tanh(score / softcap)` before masks; 0 leaves them. Default: 0. */
  softcap?: number | null | undefined
  /** The probability, in [0, 1), of dropping a weight; the others are scaled by 1/(1 − dropout). Default: 0. */
  dropout?: number | null | undefined
  /**
   * An integer from 0 to 2^53 − 1. The dropped weights depend only on the seed and on their positions. Default: 0.
   */
  seed?: number | null | undefined
  /** Return the weights `[B,H,L,S]`, after dropout. Default: false. */
  weights?: boolean | null | undefined
  /**
   * Return the `k` largest weights of each row, from 1 to `S`, without storing all weights. In a packed sequence with
   * fewer keys, rows end with weights of 0 and indices of −1. Default: none.
   */
  topWeights?: number | null | undefined
  /**
   * `[H]`: a logit of each head that takes its share of each row's softmax and adds no value, as in gpt-oss. Weights
   * then add up to less than 1, and `logSumExp` includes the sink. Default: none.
   */
  sinks?: Float32Array | Tensor | null | undefined
  /** Return the logarithm of each row's sum of exponentials, `[B,H,L]`. Default: false. */
  logSumExp?: boolean | null | undefined
  /** Memory for the output, of exactly its length, not overlapping any input. Default: newly allocated. */
  out?: Float32Array | null | undefined
}

export interface AttentionOutput {
  /** The shape of the queries, with the value size as last dimension. */
  output: Tensor
  /** `[B,H,L,S]`, or `[B,L,S]` for `averageWeights` of a layer. `H` is 1 for 3-D inputs. */
  weights?: Tensor
  /** `[B,H,L,k]`, descending; among equal weights, lower keys come first. Keys count from their sequence's start. */
  topWeights?: { values: Tensor; indices: Tensor<Int32Array> }
  /** `[B,H,L]`, natural logarithm over the scaled scores; for a row without a visible key, −∞ or its sink. */
  logSumExp?: Tensor
  /** The layout of `output`, which {@link mergeAttention} reads: present with `logSumExp` if it is `'blhd'`. */
  layout?: 'blhd'
}

/** Options that request results in addition to the output. */
type ResultRequest = { weights: true } | { averageWeights: true } | { topWeights: number } | { logSumExp: true }

/** The names of the requested results; of a union of options, those that each member requests. */
type RequestedName<Options> =
  | ([Options] extends [{ weights: true } | { averageWeights: true }] ? 'weights' : never)
  | ([Options] extends [{ topWeights: number }] ? 'topWeights' : never)
  | ([Options] extends [{ logSumExp: true }] ? 'logSumExp' : never)

/**
 * The results of a call with these options. Results requested with a literal `true`, or with a number for `topWeights`,
 * are present.
 */
export type AttentionResult<Options> = AttentionOutput & Pick<Required<AttentionOutput>, RequestedName<Options>>

/** Rejects options that the call does not know. */
type KnownOptions<Options, All> = Options & { [Name in Exclude<keyof Options, keyof All>]: never }

/**
 * Options of a call that runs on another thread: Node's thread pool natively, workers in WebAssembly. Inputs are copied
 * when the call is made; later changes do not affect it. Results equal those of the synchronous call, bit for bit.
 * Every error rejects the promise. Calls start in the order in which they are made, as many at a time as there are
 * threads. A single large call uses all of them.
 *
 * `out` is written when the promise is fulfilled. If a runtime cannot start workers, see {@link backend}, the call runs
 * on the calling thread.
 */
export interface AsyncOptions {
  /**
   * Cancels the call, queued or running. It rejects at once with the signal's reason; its thread becomes free shortly
   * after.
   */
  signal?: AbortSignal | null | undefined
  /** Called a few times per call with the completed fraction, up to 1. An exception from it rejects the call. */
  onProgress?: ((fraction: number) => void) | null | undefined
}

/**
 * Scaled dot-product attention, `softmax(scale · q kᵀ + mask) v`, as `torch.nn.functional.scaled_dot_product_attention`
 * and the ONNX operator `Attention` define it. Exact and tiled: needs no memory of size `L×S` unless `weights` is
 * requested.
 *
 * `q [B,H,L,D]`, `k [B,G,S,D]`, `v [B,G,S,E]` give `output [B,H,L,E]`; query head `h` reads key/value head
 * `floor(h / (H/G))`. 3-D inputs `[B,L,D]` have one head. A row with no visible key is all zeros.
 *
 * @throws {AttentionError} SHAPE, DTYPE, OPTION, MEMORY
 *
 * @example
 * ```js
 * import { createTensor, scaledDotProductAttention } from '@ruvector/attention'
 * const x = createTensor([1, 0, 0, 1, 1, 1], [1, 3, 2])
 * const { output, weights } = scaledDotProductAttention(x, x, x, { causal: true, weights: true })
 * console.log(output.shape, weights.shape, weights.data[1]) // [ 1, 3, 2 ] [ 1, 1, 3, 3 ] 0
 * ```
 */
export function scaledDotProductAttention<const Options extends AttentionOptions & ResultRequest>(
  q: Tensor,
  k: Tensor,
  v: Tensor,
  options: KnownOptions<Options, AttentionOptions>
): AttentionResult<Options>
export function scaledDotProductAttention(
  q: Tensor,
  k: Tensor,
  v: Tensor,
  options?: AttentionOptions | null
): AttentionOutput

/**
 * Asynchronous {@link scaledDotProductAttention}: see {@link AsyncOptions}.
 *
 * @example
 * ```js
 * import { createTensor, scaledDotProductAttentionAsync } from '@ruvector/attention'
 * const x = createTensor([1, 0, 0, 1, 1, 1], [1, 3, 2])
 * const { output } = await scaledDotProductAttentionAsync(x, x, x, { causal: true })
 * console.log(output.shape) // [ 1, 3, 2 ]
 * ```
 */
export function scaledDotProductAttentionAsync<const Options extends (AttentionOptions & AsyncOptions) & ResultRequest>(
  q: Tensor,
  k: Tensor,
  v: Tensor,
  options: KnownOptions<Options, AttentionOptions & AsyncOptions>
): Promise<AttentionResult<Options>>
export function scaledDotProductAttentionAsync(
  q: Tensor,
  k: Tensor,
  v: Tensor,
  options?: (AttentionOptions & AsyncOptions) | null
): Promise<AttentionOutput>

/**
 * The weights of {@link scaledDotProductAttention}, `[B,H,L,S]`, or an earlier stage of them, like the ONNX operator's
 * `qk_matmul_output`: `'scores'` are scaled products, `'softcapped'` follow the softcap, `'biased'` include masks with
 * −∞, `'weights'` (default) follow softmax and dropout. The options `weights`, `topWeights` and `logSumExp` are
 * rejected, because the weights are the only result; so is `cuSeqlens`.
 *
 * @throws {AttentionError} SHAPE, DTYPE, OPTION, MEMORY
 *
 * @example
 * ```js
 * import { attentionWeights, createTensor } from '@ruvector/attention'
 * const x = createTensor([1, 0, 0, 1], [1, 2, 2])
 * console.log(attentionWeights(x, x, { scale: 1, stage: 'scores' }).data) // Float32Array(4) [ 1, 0, 0, 1 ]
 * ```
 */
export function attentionWeights(
  q: Tensor,
  k: Tensor,
  options?: (AttentionOptions & { stage?: 'scores' | 'softcapped' | 'biased' | 'weights' | null | undefined }) | null
): Tensor

/**
 * Rotates pairs of features by angles that grow with the position, like the ONNX operator `RotaryEmbedding`: with `θ =
 * position · scale · base^(−2i/dim)`, pair `i` becomes `(x₁ cos θ − x₂ sin θ, x₁ sin θ + x₂ cos θ)`, times `factor`.
 * Features from `dim` on stay unchanged. `x` is `[B,H,L,D]`, `[B,L,H,D]` in layout `'blhd'`, or `[B,L,D]`. Angles are
 * computed in 64 bits, so positions in the millions are as exact as small ones.
 *
 * @throws {AttentionError} SHAPE, DTYPE, OPTION (positions below 0, angles beyond 2^31, a `scaling` that is incomplete,
 * unknown or contradicts another option), MEMORY
 *
 * @example
 * ```js
 * import { createTensor, rotaryEmbedding } from '@ruvector/attention'
 * const x = createTensor([1, 0, 1, 0], [1, 2, 2])
 * const { data } = rotaryEmbedding(x, { positions: Int32Array.of(0, 1) })
 * console.log(Array.from(data, (value) => value.toFixed(3))) // [ '1.000', '0.000', '0.540', '0.841' ]
 * ```
 */
export function rotaryEmbedding(x: Tensor, options?: RotaryOptions | null): Tensor

/** Rotary positions: of {@link rotaryEmbedding}, and of layers. */
export interface RotaryOptions {
  /** At least 1, and less than 1e15. Default: 10000, or the `rope_theta` of `scaling`. */
  base?: number | null | undefined
  /**
   * Pairs are adjacent features, `x[2i]` and `x[2i+1]`, instead of half-split, `x[i]` and `x[i+dim/2]`. Default:
   * false.
   */
  interleaved?: boolean | null | undefined
  /**
   * The number of rotated features, even (ONNX's `rotary_embedding_dim`). Default: the head size, times the
   * `partial_rotary_factor` of `scaling`.
   */
  dim?: number | null | undefined
  /** Factor of the positions, finite, at least 0; below 1 it interpolates between trained positions. Default: 1. */
  scale?: number | null | undefined
  /** The angle of each pair at position 1, `dim/2` finite numbers in place of `base^(−2i/dim)`. */
  frequencies?: Float32Array | Float64Array | readonly number[] | null | undefined
  /** Factor of the rotated features, finite, at least 0, such as YaRN's attention factor. Default: 1. */
  factor?: number | null | undefined
  /**
   * `rope_scaling` or `rope_parameters` of a config.json, as it stands, from which frequencies and factor are computed
   * as in Hugging Face's transformers 5: of type `'default'`, `'linear'`, `'dynamic'`, `'yarn'`, `'longrope'`,
   * `'llama3'`, `'proportional'` or `'mrope'`. Its `mrope_section` gives `sections`. A dict by layer type is an error:
   * pass one of its members. So is a name that is not known, and one that contradicts another option.
   */
  scaling?: Readonly<Record<string, unknown>> | null | undefined
  /** `max_position_embeddings` of the config.json, needed by some types of `scaling`. */
  maxPositions?: number | null | undefined
  /** `original_max_position_embeddings` of the config.json, if it is next to the dict. */
  originalMaxPositions?: number | null | undefined
  /**
   * The length of the sequence, on which the frequencies of the types `'dynamic'` and `'longrope'` depend. Default: the
   * largest position of the call plus 1.
   */
  length?: number | null | undefined
  /**
   * Numbers of pairs, `dim/2` together, that are rotated by the first, second and third position of a row, as in
   * Qwen2.5-VL (M-RoPE). Default: one position.
   */
  sections?: readonly number[] | null | undefined
  /**
   * Positions of the rows of a call, each at least 0, as a list, an array or a tensor: `L` positions shared by all
   * batch entries, or `B·L` of them, `[B,L]`. With `sections`, three times as many: `[3,L]` or `[3,B,L]`. Default: 0,
   * 1, 2, … Layers take them with a call.
   */
  positions?: Integers | Tensor<Int32Array> | null | undefined
  /** The order of the dimensions of a 4-D input. Default: 'bhld'. */
  layout?: 'bhld' | 'blhd' | null | undefined
}

/**
 * The frequencies of rotary positions, in doubles: pair `i` is rotated by `position · frequencies[i]`, and rotated
 * features are multiplied by `factor`. They are those of `base`, or of a `scaling` as in `ROPE_INIT_FUNCTIONS` of
 * transformers 5, times `scale`. `dim` is the number of rotated features; `headDim` the head size, of which a scaling
 * may rotate a part. Without `length` or `positions`, the types `'dynamic'` and `'longrope'` are those of a short
 * sequence.
 *
 * @throws {AttentionError} OPTION for a dict that is incomplete, unknown or contradicts another option; DTYPE, SHAPE
 *
 * @example
 * ```js
 * import { rotaryFrequencies } from '@ruvector/attention'
 * const scaling = { rope_type: 'linear', factor: 4, rope_theta: 10000 }
 * console.log(rotaryFrequencies({ headDim: 4, scaling }).frequencies) // Float64Array(2) [ 0.25, 0.0025 ]
 * ```
 */
export function rotaryFrequencies(options: Omit<RotaryOptions, 'layout'> & ({ dim: number } | { headDim: number })): {
  frequencies: Float64Array
  factor: number
}

/**
 * Merges attention over separate parts of the keys into attention over all of them, exactly. Long keys can thus be
 * split over calls, workers or machines. Each part is a result with `logSumExp`; all have the same shapes. A part
 * without visible keys for a row adds nothing to it. Outputs and log-sum-exps are merged, `weights` and `topWeights`
 * are not.
 *
 * `layout` is the layout of the outputs. Results of this package carry theirs, also as copies from a worker. For parts
 * without `layout` it is inferred from the shapes; with equal numbers of heads and rows, `'bhld'` is assumed.
 *
 * @throws {AttentionError} SHAPE or DTYPE, naming `parts[i]`; OPTION, MEMORY
 *
 * @example
 * ```js
 * import { createTensor, mergeAttention, scaledDotProductAttention } from '@ruvector/attention'
 * const q = createTensor([1, 2], [1, 1, 2])
 * const [k1, k2] = [createTensor([1, 0], [1, 1, 2]), createTensor([0, 1], [1, 1, 2])]
 * const parts = [k1, k2].map((k) => scaledDotProductAttention(q, k, k, { logSumExp: true }))
 * console.log(mergeAttention(parts).output.shape) // [ 1, 1, 2 ]
 * ```
 */
export function mergeAttention(
  parts: readonly AttentionOutput[],
  options?: { layout?: 'bhld' | 'blhd' | null | undefined } | null
): AttentionResult<{ logSumExp: true }>

/**
 * Biases of ALiBi for the option `relativeBias`, `[numHeads,L+S−1]`: `−slope · (i + queryOffset − j)` for query `i` and
 * key `j`, or with `symmetric` `−slope · |i + queryOffset − j|`. Slopes are those of Press et al. 2022, "Train Short,
 * Test Long", for any number of heads as in transformers' BLOOM.
 *
 * @param keyLength Default: `queryLength`.
 * @throws {AttentionError} OPTION, SHAPE, MEMORY
 *
 * @example
 * ```js
 * import { alibiBias, createTensor, scaledDotProductAttention } from '@ruvector/attention'
 * const x = createTensor([1, 0, 0, 1, 1, 1], [1, 3, 2])
 * const relativeBias = alibiBias(1, 3)
 * scaledDotProductAttention(x, x, x, { causal: true, relativeBias })
 * console.log(relativeBias.data) // Float32Array(5) [ -0.0078125, -0.00390625, 0, 0.00390625, 0.0078125 ]
 * ```
 */
export function alibiBias(
  numHeads: number,
  queryLength: number,
  keyLength?: number | null,
  options?: {
    /** The key position of query 0, an integer. Default: 0. */
    queryOffset?: number | null | undefined
    /** Lower keys on both sides of a query. Default: false. */
    symmetric?: boolean | null | undefined
  } | null
): Tensor

/**
 * T5's biases for the option `relativeBias`, `[H,L+S−1]`, from its table `relative_attention_bias.weight`,
 * `[buckets,H]`: each distance has a bucket, alone up to a quarter of the buckets (half of them if not
 * `bidirectional`), and in logarithmic steps from there to `maxDistance`. Buckets equal those of transformers'
 * `T5Attention`.
 *
 * @param keyLength Default: `queryLength`.
 * @throws {AttentionError} SHAPE, DTYPE, OPTION, MEMORY
 *
 * @example
 * ```js
 * import { createTensor, relativePositionBias } from '@ruvector/attention'
 * const table = createTensor([0, 1, 2, 3, 4, 5, 6, 7], [8, 1])
 * console.log(relativePositionBias(table, 3).data) // Float32Array(5) [ 2, 1, 0, 5, 6 ]
 * ```
 */
export function relativePositionBias(
  table: Tensor,
  queryLength: number,
  keyLength?: number | null,
  options?: {
    /** The key position of query 0, an integer. Default: 0. */
    queryOffset?: number | null | undefined
    /**
     * Half of the buckets are for keys after the query; otherwise all of these share the first bucket. Default: true.
     */
    bidirectional?: boolean | null | undefined
    /** The distance from which on all keys share the last bucket. Default: 128. */
    maxDistance?: number | null | undefined
  } | null
): Tensor

/**
 * {@link scaledDotProductAttention} as an object with settings; options passed to a call override them. `dropout`
 * applies to every call. The object owns no memory.
 *
 * @throws {AttentionError} OPTION
 *
 * @example
 * ```js
 * import { ScaledDotProductAttention, createTensor } from '@ruvector/attention'
 * const attention = new ScaledDotProductAttention(2, { scale: 0.5 })
 * const x = createTensor([1, 0, 0, 1], [1, 2, 2])
 * console.log(attention.forward(x, x, x).output.shape) // [ 1, 2, 2 ]
 * ```
 */
export declare class ScaledDotProductAttention {
  constructor(
    headDim: number,
    options?: {
      dropout?: number | null | undefined
      scale?: number | null | undefined
      seed?: number | null | undefined
    } | null
  )
  /** Size of a query or key in a head, checked at each call. */
  readonly headDim: number
  /** The factor of `q · k`; default: 1/√headDim. */
  readonly scale: number
  /** @throws {AttentionError} SHAPE, DTYPE, OPTION, MEMORY */
  forward<const Options extends AttentionOptions & ResultRequest>(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    options: KnownOptions<Options, AttentionOptions>
  ): AttentionResult<Options>
  forward(q: Tensor, k: Tensor, v: Tensor, options?: AttentionOptions | null): AttentionOutput
  /** Asynchronous `forward`: see {@link AsyncOptions}. */
  forwardAsync<const Options extends (AttentionOptions & AsyncOptions) & ResultRequest>(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    options: KnownOptions<Options, AttentionOptions & AsyncOptions>
  ): Promise<AttentionResult<Options>>
  forwardAsync(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    options?: (AttentionOptions & AsyncOptions) | null
  ): Promise<AttentionOutput>
  /** Like the function {@link attentionWeights}. */
  attentionWeights(q: Tensor, k: Tensor, options?: Parameters<typeof attentionWeights>[2]): Tensor
}

/**
 * {@link scaledDotProductAttention} in tiles of `blockSize` keys with an online softmax (Dao et al. 2022), whose memory
 * grows with `L·D`. Apart from rounding, the result does not depend on `blockSize`. All options work except `weights`,
 * which would need the memory that tiling saves. The object owns no memory.
 *
 * @throws {AttentionError} OPTION
 *
 * @example
 * ```js
 * import { FlashAttention, createTensor } from '@ruvector/attention'
 * const attention = new FlashAttention(2, { blockSize: 64 })
 * const x = createTensor([1, 0, 0, 1], [1, 2, 2])
 * console.log(attention.forward(x, x, x, { causal: true }).output.shape) // [ 1, 2, 2 ]
 * ```
 */
export declare class FlashAttention {
  constructor(
    headDim: number,
    options?: {
      /**
       * Keys per tile, an integer of at least 1; values above 4096 act as 4096. Up to 8 rows use steps of at most 16.
       * Default: 64.
       */
      blockSize?: number | null | undefined
    } | null
  )
  /** Size of a query or key in a head, checked at each call. */
  readonly headDim: number
  readonly blockSize: number
  /** @throws {AttentionError} SHAPE, DTYPE, OPTION, MEMORY */
  forward<
    const Options extends (Omit<AttentionOptions, 'weights'> & { blockSize?: number | null | undefined }) &
      ResultRequest
  >(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    options: KnownOptions<Options, Omit<AttentionOptions, 'weights'> & { blockSize?: number | null | undefined }>
  ): AttentionResult<Options>
  forward(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    options?: (Omit<AttentionOptions, 'weights'> & { blockSize?: number | null | undefined }) | null
  ): AttentionOutput
  /** Asynchronous `forward`: see {@link AsyncOptions}. */
  forwardAsync<
    const Options extends (Omit<AttentionOptions, 'weights'> & {
      blockSize?: number | null | undefined
    } & AsyncOptions) &
      ResultRequest
  >(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    options: KnownOptions<
      Options,
      Omit<AttentionOptions, 'weights'> & { blockSize?: number | null | undefined } & AsyncOptions
    >
  ): Promise<AttentionResult<Options>>
  forwardAsync(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    options?: (Omit<AttentionOptions, 'weights'> & { blockSize?: number | null | undefined } & AsyncOptions) | null
  ): Promise<AttentionOutput>
}

/**
 * Softmax over the last dimension, like `torch.softmax(x, -1)`; a row with only −∞ gives zeros.
 *
 * @throws {AttentionError} SHAPE, DTYPE, MEMORY
 *
 * @example
 * ```js
 * import { createTensor, softmax } from '@ruvector/attention'
 * console.log(softmax(createTensor([0, 0, -Infinity], [3])).data) // Float32Array(3) [ 0.5, 0.5, 0 ]
 * ```
 */
export function softmax(x: Tensor): Tensor

/**
 * `x Wᵀ + b`, like `torch.nn.functional.linear`: `x [..., in]`, `weight [out, in]`, `bias [out]` give `[..., out]`.
 * Weights of 16 bits are widened, which is exact. With weights of 8 bits, each row of x is quantized in the same way;
 * products within a group are integers, and groups are added in 32-bit floats.
 *
 * @throws {AttentionError} SHAPE, DTYPE, MEMORY
 *
 * @example
 * ```js
 * import { createTensor, linear } from '@ruvector/attention'
 * const x = createTensor([1, 2], [1, 2])
 * const weight = createTensor([1, 1, 0, 1, 2, 0], [3, 2]) // [out, in]
 * console.log(linear(x, weight).data) // Float32Array(3) [ 3, 2, 2 ]
 * ```
 */
export function linear(x: Tensor, weight: Weight, bias?: Tensor | null): Tensor

// ── Norms, activations, means ────────────────────────────────────────────────────────────────────────────────────────

/**
 * Layer norm over the last dimension, `(x − mean) / √(variance + epsilon) · weight + bias`, like
 * `torch.nn.functional.layer_norm`: `x [..., M]`, `weight [M]` and `bias [M]` give `[..., M]`.
 *
 * @param options `weight` default: ones; `bias` default: zeros; `epsilon`, finite, at least 0, default: 1e-5
 * @throws {AttentionError} SHAPE, DTYPE, OPTION, MEMORY
 *
 * @example
 * ```js
 * import { createTensor, layerNorm } from '@ruvector/attention'
 * const { data } = layerNorm(createTensor([1, 2, 3], [1, 3]))
 * console.log(Array.from(data, (value) => value.toFixed(3))) // [ '-1.225', '0.000', '1.225' ]
 * ```
 */
export function layerNorm(
  x: Tensor,
  options?: {
    weight?: Tensor | null | undefined
    bias?: Tensor | null | undefined
    epsilon?: number | null | undefined
  } | null
): Tensor

/**
 * Root-mean-square norm over the last dimension, `x / √(mean(x²) + epsilon) · weight`, like
 * `torch.nn.functional.rms_norm`: `x [..., M]` and `weight [M]` give `[..., M]`.
 *
 * @param options `weight` default: ones; `epsilon`, finite, at least 0, default: 2⁻²³, like PyTorch for 32 bits
 * @throws {AttentionError} SHAPE, DTYPE, OPTION, MEMORY
 *
 * @example
 * ```js
 * import { createTensor, rmsNorm } from '@ruvector/attention'
 * const { data } = rmsNorm(createTensor([3, 4], [1, 2]))
 * console.log(Array.from(data, (value) => value.toFixed(3))) // [ '0.849', '1.131' ]
 * ```
 */
export function rmsNorm(
  x: Tensor,
  options?: { weight?: Tensor | null | undefined; epsilon?: number | null | undefined } | null
): Tensor

/**
 * `x · Φ(x)` for each element, with Φ of the normal distribution, like `torch.nn.functional.gelu`. Accurate to a few
 * units in the last place, also for negative x. `approximate: 'tanh'` uses the tanh formula.
 *
 * @throws {AttentionError} SHAPE, DTYPE, OPTION, MEMORY
 *
 * @example
 * ```js
 * import { createTensor, gelu } from '@ruvector/attention'
 * console.log(gelu(createTensor([1], [1])).data[0].toFixed(4)) // 0.8413
 * ```
 */
export function gelu(x: Tensor, options?: { approximate?: 'none' | 'tanh' | null | undefined } | null): Tensor

/**
 * `x / (1 + e⁻ˣ)` for each element, like `torch.nn.functional.silu`.
 *
 * @throws {AttentionError} SHAPE, DTYPE, MEMORY
 *
 * @example
 * ```js
 * import { createTensor, silu } from '@ruvector/attention'
 * console.log(silu(createTensor([1], [1])).data[0].toFixed(4)) // 0.7311
 * ```
 */
export function silu(x: Tensor): Tensor

/**
 * The mean over the first `lengths[b]` rows of each batch entry, `x [B,L,M]` gives `[B,M]`; or over the rows of each
 * packed sequence, `x [T,M]` with `cuSeqlens [n+1]` gives `[n,M]`. `normalize` scales each mean to Euclidean length 1,
 * as is usual for sentence embeddings. Without rows the result is zeros; rows beyond a length are never read.
 *
 * @param options `lengths`, `[B]`, each from 0 to `L`, default: all rows; `cuSeqlens` from 0 to `T`, excludes
 *   `lengths`; `normalize` default: false
 * @throws {AttentionError} SHAPE, DTYPE, OPTION, MEMORY
 *
 * @example
 * ```js
 * import { createTensor, meanPool } from '@ruvector/attention'
 * const x = createTensor([1, 2, 3, 4, 9, 9], [1, 3, 2])
 * console.log(meanPool(x, { lengths: Int32Array.of(2) }).data) // Float32Array(2) [ 2, 3 ]
 * ```
 */
export function meanPool(
  x: Tensor,
  options?: {
    lengths?: Integers | null | undefined
    cuSeqlens?: Integers | null | undefined
    normalize?: boolean | null | undefined
  } | null
): Tensor

/**
 * `a + b` of tensors whose shapes broadcast from the right, as in NumPy: dimensions are aligned at the last one, and a
 * dimension of 1, or one that is missing, repeats.
 *
 * @throws {AttentionError} SHAPE for shapes that do not broadcast; DTYPE, MEMORY
 *
 * @example
 * ```js
 * import { add, createTensor } from '@ruvector/attention'
 * console.log(add(createTensor([1, 2, 3, 4], [2, 2]), createTensor([10, 20], [2])).data) // Float32Array(4) [ 11, 22, 13, 24 ]
 * ```
 */
export function add(a: Tensor, b: Tensor): Tensor

/**
 * `a · b` of each pair of values, with shapes that broadcast like those of {@link add}.
 *
 * @throws {AttentionError} SHAPE for shapes that do not broadcast; DTYPE, MEMORY
 *
 * @example
 * ```js
 * import { createTensor, multiply } from '@ruvector/attention'
 * console.log(multiply(createTensor([1, 2], [2, 1]), createTensor([3, 5], [2])).data) // Float32Array(4) [ 3, 5, 6, 10 ]
 * ```
 */
export function multiply(a: Tensor, b: Tensor): Tensor

/**
 * `max(x, 0)` for each element, like `torch.relu`.
 *
 * @throws {AttentionError} SHAPE, DTYPE, MEMORY
 *
 * @example
 * ```js
 * import { createTensor, relu } from '@ruvector/attention'
 * console.log(relu(createTensor([-1, 2], [2])).data) // Float32Array(2) [ 0, 2 ]
 * ```
 */
export function relu(x: Tensor): Tensor

/**
 * The hyperbolic tangent of each element, like `torch.tanh`, within 3 units in the last place.
 *
 * @throws {AttentionError} SHAPE, DTYPE, MEMORY
 *
 * @example
 * ```js
 * import { createTensor, tanh } from '@ruvector/attention'
 * console.log(tanh(createTensor([1], [1])).data[0].toFixed(4)) // 0.7616
 * ```
 */
export function tanh(x: Tensor): Tensor

/**
 * `1 / (1 + e⁻ˣ)` for each element, like `torch.sigmoid`.
 *
 * @throws {AttentionError} SHAPE, DTYPE, MEMORY
 *
 * @example
 * ```js
 * import { createTensor, sigmoid } from '@ruvector/attention'
 * console.log(sigmoid(createTensor([0, 100], [2])).data) // Float32Array(2) [ 0.5, 1 ]
 * ```
 */
export function sigmoid(x: Tensor): Tensor

/**
 * `max(x, 0) + min(eˣ − 1, 0)` for each element, like `torch.nn.functional.elu`. Accurate to a few units in the last
 * place, also near 0.
 *
 * @throws {AttentionError} SHAPE, DTYPE, MEMORY
 *
 * @example
 * ```js
 * import { createTensor, elu } from '@ruvector/attention'
 * console.log(elu(createTensor([-100, 2], [2])).data) // Float32Array(2) [ -1, 2 ]
 * ```
 */
export function elu(x: Tensor): Tensor

/**
 * A copy with its axes in another order: axis `i` of the result is axis `order[i]` of `x`, like `torch.permute`.
 * Negative axes count from the end.
 *
 * @param order default: the last two axes swapped
 * @throws {AttentionError} SHAPE, DTYPE, OPTION unless `order` has each axis once; MEMORY
 *
 * @example
 * ```js
 * import { createTensor, transpose } from '@ruvector/attention'
 * console.log(transpose(createTensor([1, 2, 3, 4, 5, 6], [2, 3])).data) // Float32Array(6) [ 1, 4, 2, 5, 3, 6 ]
 * ```
 */
export function transpose(x: Tensor, order?: readonly number[] | null): Tensor

/**
 * Joins tensors along an axis, in which alone their shapes may differ, like `torch.cat`.
 *
 * @param axis default: 0; a negative one counts from the end
 * @throws {AttentionError} SHAPE, DTYPE, OPTION, MEMORY
 *
 * @example
 * ```js
 * import { concat, createTensor } from '@ruvector/attention'
 * const [a, b] = [createTensor([1, 2], [2, 1]), createTensor([3, 4, 5, 6], [2, 2])]
 * console.log(concat([a, b], 1).data) // Float32Array(6) [ 1, 3, 4, 2, 5, 6 ]
 * ```
 */
export function concat(parts: readonly Tensor[], axis?: number | null): Tensor

/** Options of {@link unfold}: a number for every spatial axis, or a list with one number for each. */
export interface UnfoldOptions {
  /** Size of a patch, at least 1. */
  kernel: number | readonly number[]
  /** The step from one patch to the next, at least 1. Default: 1. */
  stride?: number | readonly number[] | null | undefined
  /** Zeros added at both ends. Default: 0. */
  padding?: number | readonly number[] | null | undefined
}

/**
 * Patches of an image, or frames of a signal, as rows: `x [B,C,H,W]` or `[B,C,L]` gives `[B, patches, C · kernel]`, the
 * transposed result of `torch.nn.functional.unfold`. A convolution is then a product, {@link linear}, with the
 * convolution's weight reshaped to `[out, C · kernel]`.
 *
 * @throws {AttentionError} SHAPE, DTYPE, OPTION, MEMORY
 *
 * @example
 * ```js
 * import { createTensor, unfold } from '@ruvector/attention'
 * const frames = unfold(createTensor([1, 2, 3, 4], [1, 1, 4]), { kernel: 2, stride: 2 })
 * console.log(frames.shape, frames.data) // [ 1, 2, 2 ] Float32Array(4) [ 1, 2, 3, 4 ]
 * ```
 */
export function unfold(x: Tensor, options: UnfoldOptions): Tensor

/**
 * Rows of a table by their indices, like `torch.nn.functional.embedding`: `table [V,M]` and `ids [...]` give `[...,M]`
 * as 32-bit floats.
 *
 * @throws {AttentionError} OPTION for an index below 0 or not below `V`; SHAPE, DTYPE, MEMORY
 *
 * @example
 * ```js
 * import { createTensor, embedding } from '@ruvector/attention'
 * const table = createTensor([0, 1, 2, 3, 4, 5], [3, 2])
 * console.log(embedding(table, [2, 0]).data) // Float32Array(4) [ 4, 5, 0, 1 ]
 * ```
 */
export function embedding(table: Weight, ids: ArrayLike<number> | Integers | Tensor<Int32Array>): Tensor

/** Options of {@link topK}. */
export interface TopKOptions {
  /**
   * `'dot'` ranks by product. `'cosine'` divides it by both lengths; the cosine with a vector of length 0 is 0.
   * `'euclidean'` ranks by distance, smallest first. Default: `'dot'`.
   */
  metric?: 'dot' | 'cosine' | 'euclidean' | null | undefined
}

/** Results of {@link topK}. */
export interface TopKResult {
  /** The products, cosines or distances, best first, `[...,k]`. */
  values: Tensor
  /** The indices of their vectors, `[...,k]`. */
  indices: Tensor<Int32Array>
}

/**
 * Exact search: the `k` best of `vectors [N,D]` for each query `[...,D]`. Memory grows with `k`, not with `N`. On a tie
 * the lower index comes first, and NaN precedes everything, as in `torch.topk`. Products with vectors of 8 bits are
 * those of {@link linear}: the queries have 8 bits, too.
 *
 * @throws {AttentionError} OPTION unless `k` is an integer from 1 to `N`; SHAPE, DTYPE, MEMORY
 *
 * @example
 * ```js
 * import { createTensor, topK } from '@ruvector/attention'
 * const vectors = createTensor([1, 0, 0, 1, 1, 1], [3, 2])
 * const { values, indices } = topK(createTensor([1, 2], [1, 2]), vectors, 2)
 * console.log(indices.data, values.data) // Int32Array(2) [ 2, 1 ] Float32Array(2) [ 3, 2 ]
 * ```
 */
export function topK(queries: Tensor, vectors: Weight, k: number, options?: TopKOptions | null): TopKResult

/**
 * Asynchronous {@link topK}: see {@link AsyncOptions}.
 *
 * @example
 * ```js
 * import { createTensor, topKAsync } from '@ruvector/attention'
 * const vectors = createTensor([1, 0, 0, 1, 1, 1], [3, 2])
 * const { values } = await topKAsync(createTensor([0, 2], [1, 2]), vectors, 1, { metric: 'euclidean' })
 * console.log(values.data) // Float32Array(1) [ 1 ]
 * ```
 */
export function topKAsync(
  queries: Tensor,
  vectors: Weight,
  k: number,
  options?: (TopKOptions & AsyncOptions) | null
): Promise<TopKResult>

/** Options of {@link causalConvolution}. */
export interface CausalConvolutionOptions {
  /** A number for each channel, `[C]`. Default: 0. */
  bias?: Tensor | null | undefined
  /** The `K − 1` values before the sequences, `[B,C,K−1]`, as an earlier call returned them. Default: 0. */
  state?: Tensor | null | undefined
  /** `'silu'` applies {@link silu} to each value. Default: `'none'`. */
  activation?: 'none' | 'silu' | null | undefined
}

/** Results of {@link causalConvolution}. */
export interface CausalConvolutionResult {
  /** `[B,C,L]` */
  output: Tensor
  /** The last `K − 1` values of each channel, `[B,C,K−1]`, from which the next call continues. */
  state: Tensor
}

/**
 * Convolves each channel of `x [B,C,L]` with its own kernel, `weight [C,1,K]`, so that each position depends on itself
 * and the `K − 1` positions before it. Mamba, Gated DeltaNet and similar models do this before they mix positions. A
 * sequence in several calls, each with the state of the call before, gives the same bits as in one call. Like ONNX's
 * `CausalConvWithState`.
 *
 * @throws {AttentionError} SHAPE, DTYPE, OPTION, MEMORY
 *
 * @example
 * ```js
 * import { causalConvolution, createTensor } from '@ruvector/attention'
 * const weight = createTensor([0.5, 0.5], [1, 1, 2])
 * const { state } = causalConvolution(createTensor([2, 4, 6], [1, 1, 3]), weight)
 * const { output } = causalConvolution(createTensor([8], [1, 1, 1]), weight, { state })
 * console.log(output.data) // Float32Array(1) [ 7 ]
 * ```
 */
export function causalConvolution(
  x: Tensor,
  weight: Tensor,
  options?: CausalConvolutionOptions | null
): CausalConvolutionResult

/**
 * Asynchronous {@link causalConvolution}: see {@link AsyncOptions}.
 *
 * @example
 * ```js
 * import { causalConvolutionAsync, createTensor } from '@ruvector/attention'
 * const weight = createTensor([0.5, 0.5], [1, 1, 2])
 * const { output } = await causalConvolutionAsync(createTensor([2, 4, 6], [1, 1, 3]), weight)
 * console.log(output.data) // Float32Array(3) [ 1, 3, 5 ]
 * ```
 */
export function causalConvolutionAsync(
  x: Tensor,
  weight: Tensor,
  options?: (CausalConvolutionOptions & AsyncOptions) | null
): Promise<CausalConvolutionResult>

// ── Masks, statistics, times ─────────────────────────────────────────────────────────────────────────────────────────

/**
 * `causal: true` as a float mask `[length, keyLength]`: 0 where key `j ≤ i`, −∞ elsewhere. `keyLength` defaults to
 * `length`.
 *
 * @throws {AttentionError} SHAPE for an invalid length; MEMORY
 *
 * @example
 * ```js
 * import { createCausalMask } from '@ruvector/attention'
 * console.log(createCausalMask(2).data) // Float32Array(4) [ 0, -Infinity, 0, 0 ]
 * ```
 */
export function createCausalMask(length: number, keyLength?: number): Tensor

/**
 * `kvLengths` as a boolean mask `[B, 1, 1, maxLength]`: 1 for the first `lengths[b]` keys.
 *
 * @throws {AttentionError} OPTION for a length beyond `maxLength`, with its index; SHAPE, DTYPE
 *
 * @example
 * ```js
 * import { createPaddingMask } from '@ruvector/attention'
 * console.log(createPaddingMask([2, 3], 3).data) // Uint8Array(6) [ 1, 1, 0, 1, 1, 1 ]
 * ```
 */
export function createPaddingMask(lengths: ArrayLike<number>, maxLength: number): Tensor<Uint8Array>

/**
 * Mean, population standard deviation (over `n`, not `n − 1`), minimum and maximum, summed in doubles. A NaN makes all
 * four NaN; for an empty tensor, mean and deviation are NaN.
 *
 * @throws {AttentionError} SHAPE, DTYPE
 *
 * @example
 * ```js
 * import { computeStats, createTensor } from '@ruvector/attention'
 * console.log(computeStats(createTensor([1, 3], [2]))) // { mean: 2, std: 1, min: 1, max: 3 }
 * ```
 */
export function computeStats(tensor: Tensor | Float32Array): { mean: number; std: number; min: number; max: number }

/**
 * Scales all values together to mean 0 and variance 1: `(x − mean) / √(variance + epsilon)`. Default `epsilon`: 1e-5.
 *
 * @throws {AttentionError} SHAPE, DTYPE, OPTION, MEMORY
 *
 * @example
 * ```js
 * import { createTensor, normalize } from '@ruvector/attention'
 * const { data } = normalize(createTensor([1, 3], [2]), { epsilon: 0 })
 * console.log(data) // Float32Array(2) [ -1, 1 ]
 * ```
 */
export function normalize(tensor: Tensor, options?: { epsilon?: number | null | undefined } | null): Tensor

/**
 * Measures times between marks, in milliseconds, with the clock of `performance.now()`.
 *
 * @example
 * ```js
 * import { PerformanceMonitor, createTensor, softmax } from '@ruvector/attention'
 * const monitor = new PerformanceMonitor()
 * monitor.mark('start')
 * softmax(createTensor([1, 2], [2]))
 * console.log(monitor.measure('start') >= 0) // true
 * ```
 */
export declare class PerformanceMonitor {
  /**
   * Records the current time under a label, replacing an earlier mark of the same label.
   *
   * @throws {AttentionError} OPTION for a label that is not a string.
   */
  mark(label: string): void
  /**
   * The time from mark `start` to mark `end`, or until now.
   *
   * @throws {AttentionError} OPTION for a label that was not marked.
   */
  measure(start: string, end?: string): number
  /** Removes all marks. */
  clear(): void
}

// ── Key/value cache ──────────────────────────────────────────────────────────────────────────────────────────────────

export interface KVCacheConfig {
  /** Batch size `B`. Default: 1. */
  batch?: number | null | undefined
  /** Key/value heads `G`. */
  kvHeads: number
  /** Size of a head's keys and queries. */
  headDim: number
  /** Size of a head's values. Default: `headDim`. */
  valueDim?: number | null | undefined
  /**
   * Values are the first `valueDim` features of the keys, and stored with them alone, as in the cache of a
   * {@link LatentAttention}. Such a cache is filled by its layer, and has no append. Default: false.
   */
  valuesInKeys?: boolean | null | undefined
  /** The maximum number of keys; with `window`, the maximum number of keys in one appended block. */
  capacity: number
  /**
   * The number of keys that a query sees, including its own. The cache is then a ring buffer: it never fills up, and
   * discards keys that no later query can see. Default: all keys.
   */
  window?: number | null | undefined
  /**
   * The type in which keys and values are stored; scores and sums have 32 bits. Rows are rounded as by {@link convert}
   * when they are appended. Default: 'f32'.
   */
  type?: 'f32' | 'f16' | 'q8_0' | null | undefined
}

/**
 * Keeps keys and values in the backend's memory during decoding. Appending blocks and attending gives, row by row, the
 * same as one {@link scaledDotProductAttention} over the whole sequence with `causal: true`; a ring is the same as
 * `window: [window − 1, 0]`. The cache applies no positions: rotate queries and keys with {@link rotaryEmbedding}, at
 * positions from `length` on, before you append them.
 *
 * Owns memory outside the JavaScript heap: free it with `using` or dispose(); a finalizer is the fallback. Use after
 * dispose() throws DISPOSED.
 *
 * @throws {AttentionError} OPTION for a configuration that is invalid; MEMORY
 *
 * @example
 * ```js
 * import { KVCache, createTensor } from '@ruvector/attention'
 * const cache = new KVCache({ kvHeads: 1, headDim: 2, capacity: 8 })
 * const token = createTensor([1, 0], [1, 1, 1, 2]) // [batch, heads, length, size]
 * cache.append(token, token)
 * console.log(cache.length, cache.attend(token).output.shape) // 1 [ 1, 1, 1, 2 ]
 * ```
 */
export declare class KVCache implements Disposable {
  constructor(config: KVCacheConfig)
  /** The configuration, including all defaults; `window` and `type` only if they differ from their defaults. */
  readonly config: Readonly<
    { [Name in Exclude<keyof KVCacheConfig, 'window' | 'type' | 'valuesInKeys'>]-?: number } & {
      window?: number
      valuesInKeys?: true
      type?: 'f16' | 'q8_0'
    }
  >
  /**
   * Number of positions so far, of the batch entry that has most: keys appended, minus those truncated. In a ring it
   * grows beyond `capacity`.
   */
  readonly length: number
  /** Number of positions of each batch entry. */
  readonly lengths: Int32Array
  readonly capacity: number
  /**
   * Appends `k [B,G,n,headDim]` and `v [B,G,n,valueDim]`, or `[B,n,G,headDim]` and `[B,n,G,valueDim]` with
   * `layout: 'blhd'`. A single head also accepts `[B,n,headDim]` and `[B,n,valueDim]`.
   *
   * `lengths`, one from 0 to `n` for each batch entry, is the number of rows to append for it, so that prompts of
   * different lengths share a batch. Queries after it are the rows of this block: row `i` of entry `b` has position
   * `lengths[b] − appended[b] + i`, and rows beyond an entry's own give zeros.
   *
   * @throws {AttentionError} SHAPE, also if a batch entry lacks room for its keys; DOMAIN for values that 8 bits cannot
   * hold; the cache then stays unchanged. DTYPE, OPTION, DISPOSED
   */
  append(
    k: Tensor,
    v: Tensor,
    options?: { layout?: 'bhld' | 'blhd' | null | undefined; lengths?: Integers | null | undefined } | null
  ): this
  /**
   * Attention of the last `L` positions, `q [B,H,L,headDim]` with `H` a multiple of `G`, over all keys so far. Causal
   * unless `causal: false`. `S` is `length`, or `min(length, L + window − 1)` for a ring, which holds only its last
   * keys. Batch entries may have different lengths: key `j` of each is its own position `j`, or in a ring the `j`-th
   * that its queries see. A ring can only attend from the positions of the last appended block, since keys visible to
   * earlier ones are gone. With `causal: false` and no window, queries may outnumber keys, because positions do not
   * matter: cross-attention over the cached keys.
   *
   * @throws {AttentionError} SHAPE, DTYPE, OPTION (also for `queryOffset` and `kvLengths`, which the cache determines),
   * MEMORY, DISPOSED
   */
  attend<
    const Options extends Omit<AttentionOptions, 'queryOffset' | 'kvLengths' | 'cuSeqlens' | 'cuSeqlensKeys'> &
      ResultRequest
  >(
    q: Tensor,
    options: KnownOptions<Options, Omit<AttentionOptions, 'queryOffset' | 'kvLengths' | 'cuSeqlens' | 'cuSeqlensKeys'>>
  ): AttentionResult<Options>
  attend(
    q: Tensor,
    options?: Omit<AttentionOptions, 'queryOffset' | 'kvLengths' | 'cuSeqlens' | 'cuSeqlensKeys'> | null
  ): AttentionOutput
  /**
   * Truncates the cache to its first `length` positions, or each batch entry to its own number of them. With one
   * number, shorter entries stay as they are. A ring that has discarded keys can go back at most to the start of its
   * last block, or to 0.
   *
   * @throws {AttentionError} OPTION, SHAPE, DISPOSED; the cache then stays unchanged.
   */
  truncate(length: number | Integers): this
  /**
   * Replaces each batch entry `b` by the present entry `entries[b]`, as the beams of a beam search go on.
   *
   * @throws {AttentionError} SHAPE, OPTION for an index that is not one of an entry, MEMORY, DISPOSED
   */
  reorder(entries: ArrayLike<number> | Integers): this
  /** A copy with separate memory, for another continuation. */
  clone(): KVCache
  /**
   * Copies of all keys `[B,G,S,headDim]` and values `[B,G,S,valueDim]` that are left, or `[B,S,G,headDim]` and
   * `[B,S,G,valueDim]` with `layout: 'blhd'`. Row `j` of batch entry `b` is its position `starts[b] + j`, where
   * `starts` are zeros unless a ring has discarded keys. Rows beyond an entry's length are zeros.
   *
   * @throws {AttentionError} OPTION, MEMORY, DISPOSED
   */
  read(options?: { layout?: 'bhld' | 'blhd' | null | undefined } | null): {
    keys: Tensor
    values: Tensor
    starts: Int32Array
  }
  /** Frees the memory now. Further calls do nothing. */
  dispose(): void
  [Symbol.dispose](): void
}

// ── Layers ───────────────────────────────────────────────────────────────────────────────────────────────────────────

/** Parameters by name. */
export type StateDict<T = Tensor> = Record<string, T>

/** A tensor of 16-bit floats, given as their bits: IEEE binary16, or bfloat16. */
export interface HalfTensor {
  readonly type: 'f16' | 'bf16'
  readonly data: Uint16Array
  readonly shape: readonly number[]
}

/**
 * A tensor of 8 bits, GGUF's Q8_0: integers from −127 to 127 in groups of 32 along the last dimension, of which the
 * last group may be shorter. A weight is its integer times the scale of its group.
 */
export interface QuantizedTensor {
  readonly type: 'q8_0'
  readonly data: Int8Array
  /** The bits of the scales, IEEE binary16, `[..., ⌈last / 32⌉]`. */
  readonly scales: Uint16Array
  readonly shape: readonly number[]
}

/**
 * The types of weights: 32-bit floats; 16-bit floats, IEEE binary16 or bfloat16; and 8 bits in groups of 32 that share
 * a scale.
 */
export type WeightType = 'f32' | 'f16' | 'bf16' | 'q8_0'

/** Weights of any type. */
export type Weight = Tensor | HalfTensor | QuantizedTensor

/** Any entry of a weights file: floats, integers, bytes and booleans, 16-bit floats, or 8 bits in groups. */
export type StateEntry = Tensor | Tensor<Int32Array> | Tensor<Uint8Array> | HalfTensor | QuantizedTensor

/**
 * Converts weights to another type; the result is always new memory. Halves are rounded to the nearest, ties to even.
 * `'q8_0'` is to the bit GGUF's Q8_0: each group of 32 has the scale `d = max|x| / 127`, kept as f16, and the integers
 * `round(x / d)`, halves away from zero.
 *
 * @throws {AttentionError} DOMAIN for NaN, infinity and values of 8,321,040 or more, which `'q8_0'` cannot hold; SHAPE,
 * DTYPE, OPTION, MEMORY
 *
 * @example
 * ```js
 * import { convert, createTensor } from '@ruvector/attention'
 * const { data } = convert(createTensor([127, -63.5, 1.4], [3]), 'q8_0')
 * console.log(data) // Int8Array(3) [ 127, -64, 1 ]
 * ```
 */
export function convert(tensor: Weight, type: 'f32'): Tensor
export function convert(tensor: Weight, type: 'f16' | 'bf16'): HalfTensor
export function convert(tensor: Weight, type: 'q8_0'): QuantizedTensor
export function convert<T extends WeightType>(
  tensor: Weight,
  type: T
): T extends 'f32' ? Tensor : T extends 'q8_0' ? QuantizedTensor : HalfTensor

/**
 * Owns memory outside the JavaScript heap: free it with `using` or dispose(); a finalizer is the fallback. Use after
 * dispose() throws DISPOSED.
 */
export declare abstract class Layer implements Disposable {
  /** Total number of parameter values. */
  readonly numParameters: number
  /**
   * A copy of the parameters under PyTorch's names, in PyTorch's order, or under those of a family of models. A layer
   * scale, which loadStateDict folds into a projection, is then 1.
   *
   * @throws {AttentionError} OPTION for a family whose layers have no names for these parameters; MEMORY, DISPOSED
   */
  stateDict(options: StateDictOptions & { type: 'own' }): StateDict<Weight>
  stateDict(options?: StateDictOptions | null): StateDict
  /**
   * Loads the parameters from `state`. Its names are recognized: those of PyTorch, or of any family in `StateNames`.
   * Fused projections are split, transposed ones transposed, and layer scales folded into the projection before them.
   *
   * Skips buffers that checkpoints hold in addition to parameters, such as `rotary_emb.inv_freq`, `position_ids` or
   * GPT-2's causal mask, and integer entries that are not parameters. Converts other types to the
   * layer's own.
   *
   * @throws {AttentionError} SHAPE, DTYPE or FORMAT for entries that are missing, unexpected or of the wrong shape, and
   * for a prefix without entries; the layer then stays unchanged. OPTION, MEMORY, DISPOSED
   */
  loadStateDict(state: StateDict<StateEntry>, options?: LoadOptions | null): this
  /** Enables dropout, or disables it with `false`, which is the initial mode. */
  train(mode?: boolean): this
  /** Frees the parameters now. Further calls do nothing. */
  dispose(): void
  [Symbol.dispose](): void
}

/**
 * A family of models, by whose names a layer's parameters can be written. Other families share them: RoBERTa and
 * ELECTRA those of `bert`; DeiT those of `vit`; SigLIP those of `clip`; BART those of `whisper`.
 */
export type StateNames =
  | 'torch'
  | 'bert'
  | 'llama'
  | 'whisper'
  | 'vit'
  | 'dinov2'
  | 'timm'
  | 'clip'
  | 'wav2vec2'
  | 'distilbert'
  | 'albert'
  | 'mpnet'
  | 'modernbert'
  | 'nomic'
  | 't5'
  | 'gpt2'
  | 'gpt_neox'
  | 'bloom'
  | 'phi3'
  | 'starcoder2'
  | 'diffusers'

export interface StateDictOptions {
  /** The family whose names the entries have. Default: PyTorch's. */
  names?: StateNames | null | undefined
  /** `'own'` gives each entry as the layer keeps it. Default: `'f32'`, 32-bit floats. */
  type?: 'f32' | 'own' | null | undefined
}

export interface LoadOptions {
  /** Read only entries under this prefix, such as `'encoder.layer.0.attention'`, without the prefix and its dot. */
  prefix?: string | null | undefined
  /** Reject entries that are not parameters of the layer. Missing parameters are always an error. Default: true. */
  strict?: boolean | null | undefined
  /**
   * Maps names below the prefix to the layer's names: a record, or a function. null leaves an entry out. Names missing
   * from a record stay as they are.
   */
  rename?: Readonly<Record<string, string | null>> | ((name: string) => string | null) | null | undefined
}

export interface AttentionConfig {
  /** Query heads `H`. */
  numHeads: number
  /**
   * Size of a query, key or value in a head. Default: `modelDim / numHeads`; either `headDim` or `modelDim` is
   * required.
   */
  headDim?: number | null | undefined
  /** Size of the query input and of the output. Default: `numHeads · headDim`. */
  modelDim?: number | null | undefined
  /** Key/value heads `G`, a divisor of `numHeads`. Default: `numHeads`. */
  kvHeads?: number | null | undefined
  /** Size of the key input. Default: `modelDim`. */
  kDim?: number | null | undefined
  /** Size of the value input. Default: `modelDim`; for cross-attention `kDim`. */
  vDim?: number | null | undefined
  /** Use biases in the four projections, or in those of an object that are not false. Default: true. */
  useBias?:
    | boolean
    | {
        query?: boolean | null | undefined
        key?: boolean | null | undefined
        value?: boolean | null | undefined
        output?: boolean | null | undefined
      }
    | null
    | undefined
  /** The probability, in [0, 1), of dropping a weight in training. Default: 0. */
  dropout?: number | null | undefined
  /** Seed of the parameters, which are the same as in PyTorch after `torch.manual_seed(seed)`. Default: 0. */
  seed?: number | null | undefined
  /**
   * Rotates the projected queries and keys like {@link rotaryEmbedding}: query `i` at position `i + queryOffset`, key
   * `j` at position `j`, unless the call has `positions`. Default: no positions.
   */
  rotary?: Omit<RotaryOptions, 'positions' | 'layout'> | null | undefined
  /** {@link MaskOptions.causal} of calls that do not give it. Default: false. */
  causal?: boolean | null | undefined
  /** {@link MaskOptions.window} of calls that do not give it. Default: none. */
  window?: readonly [number, number] | null | undefined
  /** {@link LayerOptions.softcap} of calls that do not give it. Default: 0. */
  softcap?: number | null | undefined
  /** {@link LayerOptions.scale} of calls that do not give it. Default: 1/√headDim. */
  scale?: number | null | undefined
  /**
   * Normalizes the projected queries and keys before their rotation. `'head'`: each head by itself, as in Qwen 3 and
   * Gemma 3; `'model'`: all heads of a row together, as in OLMo 2. The parameters are `q_norm.weight` and
   * `k_norm.weight`. Default: no norm.
   */
  qkNorm?: 'head' | 'model' | QkNorm | null | undefined
  /**
   * Multiplies the joined heads by `sigmoid(gate)` before the output projection, as in Qwen3-Next. The query projection
   * then has twice its rows: each head's gate follows its query. Default: false.
   */
  outputGate?: boolean | null | undefined
  /**
   * Adds a learned key and its value, the parameters `bias_k` and `bias_v`, after those of every call, as in PyTorch.
   * Every row sees it, and weights have a column for it. Default: false.
   */
  addBiasKv?: boolean | null | undefined
  /** Adds a key and a value of zeros likewise, after the learned ones. Default: false. */
  addZeroAttn?: boolean | null | undefined
  /**
   * Gives every head a learned logit, the parameter `sinks` `[H]`, that takes its share of each row's softmax and adds
   * no value, as in gpt-oss. Default: false.
   */
  sinks?: boolean | null | undefined
  /**
   * Adds a learned bias to each score, which depends on the distance from the query to the key as in T5: the parameter
   * `relative_attention_bias.weight` `[buckets, H]`, as {@link relativePositionBias} spreads it. Queries count from
   * `queryOffset`, or from the length of the `cache`. Default: no bias.
   */
  relativeBias?: BucketConfig | null | undefined
  /** The type of the projections' matrices; biases and norms have 32 bits. Default: `'f32'`. */
  weightType?: WeightType | null | undefined
}

/** The distances that share a relative bias in an {@link AttentionConfig}. */
export interface BucketConfig {
  /** The number of buckets: at least 2, or 4 if `bidirectional`. Default: 32. */
  buckets?: number | null | undefined
  /** The distance from which on all share one bucket, more than the distances that have a bucket each. Default: 128. */
  maxDistance?: number | null | undefined
  /** Give keys after the query half of the buckets, instead of the bucket of distance 0. Default: unless `causal`. */
  bidirectional?: boolean | null | undefined
}

/** The norms of projected queries and keys in an {@link AttentionConfig}. */
export interface QkNorm {
  /** The values that one norm covers: each head by itself, or all heads of a row. */
  over: 'head' | 'model'
  /** Root-mean-square norm, or layer norm, which also has `q_norm.bias` and `k_norm.bias`. Default: 'rms'. */
  kind?: 'rms' | 'layer' | null | undefined
  /** Added to the variance, in [0, 1). Default: 1e-6; for 'layer' 1e-5. */
  epsilon?: number | null | undefined
  /** Added to every weight; Gemma stores its weights less 1. Default: 0. */
  weightOffset?: number | null | undefined
}

/** Options of a layer's asynchronous call, which takes no cache. */
export type AsyncLayerOptions = Omit<LayerOptions, 'cache'> & AsyncOptions & { cache?: null | undefined }

/** The sizes of a cache that a layer creates for itself. */
export type CacheOptions = Pick<KVCacheConfig, 'batch' | 'capacity' | 'window' | 'type'>

export interface LayerOptions extends MaskOptions {
  /**
   * Positions of the input's rows, for layers with `rotary`, as in {@link RotaryOptions}. Masks count rows as ever; the
   * keys of a separate input keep their positions. Default: the rows' own, from `queryOffset` on.
   */
  positions?: RotaryOptions['positions']
  /**
   * Appends this call's keys and values to the cache, and attends to all that it holds; rotary positions go on from its
   * lengths, and so do `causal` and `window`. `kvLengths` then counts the rows of this call that belong to each batch
   * entry; the others give the output of zeros. Cross-attention fills an empty cache, and reads it afterwards, when the
   * context may be null. If the call fails the cache is unchanged. Not for asynchronous calls.
   */
  cache?: KVCache | null | undefined
  /** Return the weights of each head, `[B,H,L,S]`. Default: false. */
  weights?: boolean | null | undefined
  /** Return the mean of the weights over the heads, `[B,L,S]`. Default: false. */
  averageWeights?: boolean | null | undefined
  /** The factor of the scores, finite. Default: the layer's, else 1/√headDim. */
  scale?: number | null | undefined
  /** Scores become `softcap · tanh(score / softcap)` before masks; 0 leaves them. Default: the layer's, else 0. */
  softcap?: number | null | undefined
  /** Seed for dropout in training. Default: the layer's seed. */
  seed?: number | null | undefined
  /** Memory for the output, of exactly its length, not overlapping any input. Default: newly allocated. */
  out?: Float32Array | null | undefined
}

/**
 * Multi-head attention, like `torch.nn.MultiheadAttention(batch_first=True)`: projections, attention in heads, output
 * projection. It also supports fewer key/value heads than query heads, and heads whose sizes do not add up to the model
 * size.
 *
 * @throws {AttentionError} OPTION for a configuration that is invalid; MEMORY
 *
 * @example
 * ```js
 * import { MultiHeadAttention, createTensor } from '@ruvector/attention'
 * const layer = new MultiHeadAttention({ numHeads: 2, headDim: 2, seed: 1 })
 * const x = createTensor(new Float32Array(12).fill(0.5), [1, 3, 4])
 * const { output, weights } = layer.forward(x, x, x, { weights: true })
 * console.log(output.shape, weights.shape, layer.numParameters) // [ 1, 3, 4 ] [ 1, 2, 3, 3 ] 80
 * ```
 */
export declare class MultiHeadAttention extends Layer {
  constructor(config: AttentionConfig)
  /**
   * The configuration with its defaults. Settings that change what the layer computes appear only if they are given:
   * `rotary`, `qkNorm`, and the defaults of calls.
   */
  readonly config: Readonly<
    {
      [Name in 'numHeads' | 'headDim' | 'modelDim' | 'kvHeads' | 'kDim' | 'vDim' | 'dropout' | 'seed']-?: number
    } & {
      useBias: boolean | Readonly<{ query: boolean; key: boolean; value: boolean; output: boolean }>
      rotary?: Readonly<Omit<RotaryOptions, 'positions' | 'layout'> & { interleaved: boolean; dim: number }>
      causal?: boolean
      window?: readonly [number, number]
      softcap?: number
      scale?: number
      qkNorm?: Readonly<Required<{ [Name in keyof QkNorm]: NonNullable<QkNorm[Name]> }>>
      outputGate?: true
      addBiasKv?: true
      addZeroAttn?: true
      sinks?: true
      relativeBias?: Readonly<Required<{ [Name in keyof BucketConfig]: NonNullable<BucketConfig[Name]> }>>
      weightType?: WeightType
    }
  >
  /**
   * An empty {@link KVCache} for this layer's `cache` option.
   *
   * @throws {AttentionError} OPTION, MEMORY, DISPOSED
   */
  createCache(options: CacheOptions): KVCache
  /**
   * `q [B,L,modelDim]`, `k [B,S,kDim]`, `v [B,S,vDim]` give `output [B,L,modelDim]`. `k` defaults to `q`, `v` to `k`.
   *
   * @throws {AttentionError} SHAPE, DTYPE, OPTION, MEMORY, DISPOSED
   */
  forward<const Options extends LayerOptions & ResultRequest>(
    q: Tensor,
    k: Tensor | null | undefined,
    v: Tensor | null | undefined,
    options: KnownOptions<Options, LayerOptions>
  ): AttentionResult<Options>
  forward(q: Tensor, k?: Tensor | null, v?: Tensor | null, options?: LayerOptions | null): AttentionOutput
  /** Asynchronous `forward`: see {@link AsyncOptions}. */
  forwardAsync<const Options extends AsyncLayerOptions & ResultRequest>(
    q: Tensor,
    k: Tensor | null | undefined,
    v: Tensor | null | undefined,
    options: KnownOptions<Options, AsyncLayerOptions>
  ): Promise<AttentionResult<Options>>
  forwardAsync(
    q: Tensor,
    k?: Tensor | null,
    v?: Tensor | null,
    options?: AsyncLayerOptions | null
  ): Promise<AttentionOutput>
}

/**
 * {@link MultiHeadAttention} of an input with itself.
 *
 * @example
 * ```js
 * import { SelfAttention, createTensor } from '@ruvector/attention'
 * const layer = new SelfAttention({ numHeads: 2, headDim: 2, seed: 1 })
 * const x = createTensor(new Float32Array(12).fill(0.5), [1, 3, 4])
 * console.log(layer.forward(x, { causal: true }).output.shape) // [ 1, 3, 4 ]
 * ```
 */
export declare class SelfAttention extends Layer {
  constructor(config: AttentionConfig)
  /** The configuration, including all defaults. */
  readonly config: MultiHeadAttention['config']
  /**
   * An empty {@link KVCache} for this layer's `cache` option.
   *
   * @throws {AttentionError} OPTION, MEMORY, DISPOSED
   */
  createCache(options: CacheOptions): KVCache
  /**
   * `x [B,L,modelDim]` gives `output [B,L,modelDim]`.
   *
   * @throws {AttentionError} SHAPE, DTYPE, OPTION, MEMORY, DISPOSED
   */
  forward<const Options extends LayerOptions & ResultRequest>(
    x: Tensor,
    options: KnownOptions<Options, LayerOptions>
  ): AttentionResult<Options>
  forward(x: Tensor, options?: LayerOptions | null): AttentionOutput
  /** Asynchronous `forward`: see {@link AsyncOptions}. */
  forwardAsync<const Options extends AsyncLayerOptions & ResultRequest>(
    x: Tensor,
    options: KnownOptions<Options, AsyncLayerOptions>
  ): Promise<AttentionResult<Options>>
  forwardAsync(x: Tensor, options?: AsyncLayerOptions | null): Promise<AttentionOutput>
}

/**
 * {@link MultiHeadAttention} of a query input over a context; their sizes may differ.
 *
 * @example
 * ```js
 * import { CrossAttention, createTensor } from '@ruvector/attention'
 * const layer = new CrossAttention({ numHeads: 2, headDim: 2, seed: 1 })
 * const x = createTensor(new Float32Array(12).fill(0.5), [1, 3, 4])
 * const context = createTensor(new Float32Array(20).fill(0.5), [1, 5, 4])
 * console.log(layer.forward(x, context).output.shape) // [ 1, 3, 4 ]
 * ```
 */
export declare class CrossAttention extends Layer {
  constructor(config: AttentionConfig)
  /** The configuration, including all defaults. */
  readonly config: MultiHeadAttention['config']
  /**
   * An empty {@link KVCache} for this layer's `cache` option.
   *
   * @throws {AttentionError} OPTION, MEMORY, DISPOSED
   */
  createCache(options: CacheOptions): KVCache
  /**
   * `query [B,L,modelDim]` and `context [B,S,kDim]` give `output [B,L,modelDim]`.
   *
   * @throws {AttentionError} SHAPE, DTYPE, OPTION, MEMORY, DISPOSED
   */
  forward<const Options extends LayerOptions & ResultRequest>(
    query: Tensor,
    context: Tensor | null,
    options: KnownOptions<Options, LayerOptions>
  ): AttentionResult<Options>
  forward(query: Tensor, context: Tensor | null, options?: LayerOptions | null): AttentionOutput
  /** Asynchronous `forward`: see {@link AsyncOptions}. */
  forwardAsync<const Options extends AsyncLayerOptions & ResultRequest>(
    query: Tensor,
    context: Tensor,
    options: KnownOptions<Options, AsyncLayerOptions>
  ): Promise<AttentionResult<Options>>
  forwardAsync(query: Tensor, context: Tensor, options?: AsyncLayerOptions | null): Promise<AttentionOutput>
}

// ── Encoder layers ───────────────────────────────────────────────────────────────────────────────────────────────────

export interface EncoderConfig {
  /** Size of input and output. */
  modelDim: number
  /** Attention heads, a divisor of `modelDim`. */
  numHeads: number
  /** Size between the two projections of the feed-forward network. Default: 2048. */
  feedForwardDim?: number | null | undefined
  /** Activation between the two projections; 'gelu' is the exact form, 'quick-gelu' is CLIP's. Default: 'relu'. */
  activation?: 'relu' | 'gelu' | 'gelu-tanh' | 'quick-gelu' | 'silu' | null | undefined
  /**
   * Multiplies the activation by a second projection of the input, as in ModernBERT and T5 1.1; its parameters are
   * `linear_gate.weight` and `linear_gate.bias`, and the activation is that of the gate. Default: false.
   */
  gated?: boolean | null | undefined
  /** Use biases in all projections and in layer norms. Default: true. */
  useBias?: boolean | null | undefined
  /** Layer norms, or root-mean-square norms, which have no biases. Default: 'layer'. */
  norm?: 'layer' | 'rms' | null | undefined
  /** Apply the norms to the input of attention and feed-forward network, instead of to the sums. Default: false. */
  normFirst?: boolean | null | undefined
  /** Give the attention a norm; ModernBERT's first layer has none. Default: true. */
  attentionNorm?: boolean | null | undefined
  /**
   * Further settings of the attention. `useBias`, `dropout` and `seed` default to the layer's; `numHeads` and
   * `modelDim` are the layer's. Default: none.
   */
  attention?: Partial<AttentionConfig> | null | undefined
  /** Added to the variance in the norms, in [0, 1). Default: 1e-5; BERT uses 1e-12. */
  epsilon?: number | null | undefined
  /** The probability, in [0, 1), of dropping a value in training. Default: 0.1. */
  dropout?: number | null | undefined
  /** Seed of the parameters, which are the same as in PyTorch after `torch.manual_seed(seed)`. Default: 0. */
  seed?: number | null | undefined
  /** The type of the projections' matrices; biases and norms have 32 bits. Default: `'f32'`. */
  weightType?: WeightType | null | undefined
}

/**
 * A transformer encoder layer, like `torch.nn.TransformerEncoderLayer(batch_first=True)`, with the same defaults:
 * self-attention and a feed-forward network, each with a residual connection, and two layer norms. Further settings
 * make it the encoder layer of ModernBERT or ViT. loadStateDict accepts PyTorch's names and those of such models, for
 * example under `'encoder.layer.0'`.
 *
 * In training, `dropout` applies to the attention weights, the attention output, the activation, and the output of the
 * feed-forward network. The dropped values depend only on the seed and on their positions.
 *
 * @throws {AttentionError} OPTION for a configuration that is invalid; MEMORY
 *
 * @example
 * ```js
 * import { TransformerEncoderLayer, createTensor } from '@ruvector/attention'
 * const layer = new TransformerEncoderLayer({ modelDim: 4, numHeads: 2, feedForwardDim: 8, seed: 1 })
 * const x = createTensor(new Float32Array(12).fill(0.5), [1, 3, 4])
 * console.log(layer.forward(x).output.shape) // [ 1, 3, 4 ]
 * ```
 */
export declare class TransformerEncoderLayer extends Layer {
  constructor(config: EncoderConfig)
  /**
   * The configuration with its defaults. `gated`, `useBias`, `norm`, `attentionNorm`, `weightType` and `attention`
   * appear only if they differ from their defaults.
   */
  readonly config: Readonly<
    {
      [
        Name in 'modelDim' | 'numHeads' | 'feedForwardDim' | 'activation' | 'normFirst' | 'epsilon' | 'dropout' | 'seed'
      ]-?: NonNullable<EncoderConfig[Name]>
    } & {
      gated?: true
      useBias?: false
      norm?: 'rms'
      attentionNorm?: false
      weightType?: WeightType
      attention?: MultiHeadAttention['config']
    }
  >
  /**
   * An empty {@link KVCache} for this layer's `cache` option.
   *
   * @throws {AttentionError} OPTION, MEMORY, DISPOSED
   */
  createCache(options: CacheOptions): KVCache
  /**
   * `x [B,L,modelDim]` gives `output [B,L,modelDim]`; `weights` are the attention weights.
   *
   * @throws {AttentionError} SHAPE, DTYPE, OPTION, MEMORY, DISPOSED
   */
  forward<const Options extends LayerOptions & ResultRequest>(
    x: Tensor,
    options: KnownOptions<Options, LayerOptions>
  ): AttentionResult<Options>
  forward(x: Tensor, options?: LayerOptions | null): AttentionOutput
  /** Asynchronous `forward`: see {@link AsyncOptions}. */
  forwardAsync<const Options extends AsyncLayerOptions & ResultRequest>(
    x: Tensor,
    options: KnownOptions<Options, AsyncLayerOptions>
  ): Promise<AttentionResult<Options>>
  forwardAsync(x: Tensor, options?: AsyncLayerOptions | null): Promise<AttentionOutput>
}

// ── Decoder layers ───────────────────────────────────────────────────────────────────────────────────────────────────

export interface DecoderConfig {
  /** Size of input and output. */
  modelDim: number
  /** Attention heads. */
  numHeads: number
  /** Key/value heads, a divisor of `numHeads`. Default: `numHeads`. */
  kvHeads?: number | null | undefined
  /** Size of a head. Default: `modelDim / numHeads`. */
  headDim?: number | null | undefined
  /** Size between the projections of the feed-forward network. */
  feedForwardDim: number
  /** Root-mean-square norms, or layer norms. Default: 'rms'. */
  norm?: 'rms' | 'layer' | null | undefined
  /** Added to the variance in the norms, in [0, 1). Default: 1e-6; with layer norms 1e-5. */
  epsilon?: number | null | undefined
  /** Added to the weights of the norms; Gemma stores its weights less 1. Default: 0. */
  weightOffset?: number | null | undefined
  /**
   * The norms around the attention and around the feed-forward network `f`.
   *
   * - `'pre'`: `x + f(norm(x))`, as in Llama and GPT-2.
   * - `'sandwich'`: `x + norm(f(norm(x)))`, as in Gemma 2 and 3.
   * - `'post'`: `x + norm(f(x))`, as in OLMo 2.
   *
   * Default: 'pre'.
   */
  normPlacement?: 'pre' | 'sandwich' | 'post' | null | undefined
  /** The feed-forward network takes the input of the layer, as in GPT-NeoX, not the attention's sum. Default: false. */
  parallel?: boolean | null | undefined
  /** Activation in the feed-forward network. Default: 'silu'; with layer norms 'gelu-tanh'. */
  activation?: EncoderConfig['activation']
  /**
   * Multiply the activation by another projection of the input (SwiGLU, GeGLU). Default: true unless `norm: 'layer'`.
   */
  gated?: boolean | null | undefined
  /** Use biases in projections and layer norms. Default: false unless `norm: 'layer'`. */
  useBias?: boolean | null | undefined
  /** Further settings of the attention, with `causal: true` and this layer's sizes, biases and seed as defaults. */
  attention?: Partial<AttentionConfig> | null | undefined
  /** Seed of the parameters. Default: 0. */
  seed?: number | null | undefined
  /** The type of the projections' matrices; biases and norms have 32 bits. Default: `'f32'`. */
  weightType?: WeightType | null | undefined
}

/**
 * A layer of a decoder-only model: causal self-attention and a feed-forward network, each with a residual connection.
 * Llama, Mistral, Qwen 2 and 3, Gemma 2 and 3, OLMo 2, Phi-3, GPT-2, GPT-NeoX, and relatives are configurations of it,
 * with the numbers of their eager modules in Transformers 5. stateDict returns Llama's names, such as
 * `self_attn.q_proj.weight`, `mlp.gate_proj.weight` and `input_layernorm.weight`; loadStateDict also accepts those of
 * the other families.
 *
 * @throws {AttentionError} OPTION for a configuration that is invalid; MEMORY
 *
 * @example
 * ```js
 * import { DecoderLayer, createTensor } from '@ruvector/attention'
 * const attention = { rotary: { base: 500000 } }
 * const layer = new DecoderLayer({ modelDim: 8, numHeads: 4, kvHeads: 2, feedForwardDim: 16, attention })
 * const x = createTensor(new Float32Array(24).fill(0.5), [1, 3, 8])
 * console.log(layer.forward(x).output.shape) // [ 1, 3, 8 ]
 * ```
 */
export declare class DecoderLayer extends Layer {
  constructor(config: DecoderConfig)
  /** The configuration, including all defaults; `weightType` only if it differs from its default. */
  readonly config: Readonly<
    { [Name in Exclude<keyof DecoderConfig, 'attention' | 'weightType'>]-?: NonNullable<DecoderConfig[Name]> } & {
      weightType?: WeightType
      attention: MultiHeadAttention['config']
    }
  >
  /**
   * An empty {@link KVCache} for this layer's `cache` option.
   *
   * @throws {AttentionError} OPTION, MEMORY, DISPOSED
   */
  createCache(options: CacheOptions): KVCache
  /**
   * `x [B,L,modelDim]` gives `output [B,L,modelDim]`; `weights` are the attention weights.
   *
   * @throws {AttentionError} SHAPE, DTYPE, OPTION, MEMORY, DISPOSED
   */
  forward<const Options extends LayerOptions & ResultRequest>(
    x: Tensor,
    options: KnownOptions<Options, LayerOptions>
  ): AttentionResult<Options>
  forward(x: Tensor, options?: LayerOptions | null): AttentionOutput
  /** Asynchronous `forward`: see {@link AsyncOptions}. */
  forwardAsync<const Options extends AsyncLayerOptions & ResultRequest>(
    x: Tensor,
    options: KnownOptions<Options, AsyncLayerOptions>
  ): Promise<AttentionResult<Options>>
  forwardAsync(x: Tensor, options?: AsyncLayerOptions | null): Promise<AttentionOutput>
}

export interface TransformerDecoderConfig extends EncoderConfig {
  /** Multiply the activation by another projection of the input, `linear_gate`. Default: false. */
  gated?: boolean | null | undefined
  /** Use biases in projections and layer norms. Default: true. */
  useBias?: boolean | null | undefined
  /** Layer norms or root-mean-square norms. Default: 'layer'. */
  norm?: 'layer' | 'rms' | null | undefined
  /** Normalize around the self-attention. Default: true. */
  attentionNorm?: boolean | null | undefined
  /**
   * Further settings of the self-attention, with `causal: true` and this layer's sizes, biases and seed as defaults.
   */
  attention?: Partial<AttentionConfig> | null | undefined
  /** Further settings of the cross-attention, such as `kDim`, the size of the context. */
  crossAttention?: Partial<AttentionConfig> | null | undefined
}

/** The options of a layer with cross-attention; all but those of the context are for the self-attention. */
export interface TransformerDecoderOptions extends LayerOptions {
  /** Valid rows of the context, one number for each batch entry. Default: all. */
  contextLengths?: Int32Array | null | undefined
  /**
   * Receives the projected keys and values of the context in the first call. Later calls only read it; their context
   * may be null. Refused by forwardAsync.
   */
  contextCache?: KVCache | null | undefined
}

/** The options of an asynchronous call of a layer with cross-attention. */
export type AsyncTransformerDecoderOptions = Omit<TransformerDecoderOptions, 'cache' | 'contextCache'> & AsyncOptions

/**
 * A layer of an encoder-decoder, like `torch.nn.TransformerDecoderLayer(batch_first=True)`, with the same defaults and
 * initial parameters: causal self-attention, cross-attention to a context, and a feed-forward network, each with a
 * residual connection and a norm. T5, BART and Whisper are configurations of it. loadStateDict accepts PyTorch's names
 * and theirs.
 *
 * In training, `dropout` applies to the attention weights, after the activation, and to the output of each part.
 *
 * @throws {AttentionError} OPTION for a configuration that is invalid; MEMORY
 *
 * @example
 * ```js
 * import { TransformerDecoderLayer, createTensor } from '@ruvector/attention'
 * const layer = new TransformerDecoderLayer({ modelDim: 4, numHeads: 2, feedForwardDim: 8, normFirst: true })
 * const x = createTensor(new Float32Array(12).fill(0.5), [1, 3, 4])
 * const context = createTensor(new Float32Array(20).fill(0.25), [1, 5, 4])
 * console.log(layer.forward(x, context).output.shape) // [ 1, 3, 4 ]
 * ```
 */
export declare class TransformerDecoderLayer extends Layer {
  constructor(config: TransformerDecoderConfig)
  /** The configuration, including all defaults; `weightType` only if it differs from its default. */
  readonly config: Readonly<
    {
      [Name in Exclude<keyof TransformerDecoderConfig, 'attention' | 'crossAttention' | 'weightType'>]-?: NonNullable<
        TransformerDecoderConfig[Name]
      >
    } & {
      weightType?: WeightType
      attention: MultiHeadAttention['config']
      crossAttention: MultiHeadAttention['config']
    }
  >
  /**
   * An empty {@link KVCache} for this layer's `cache` option, and for `contextCache` if both attentions have the same
   * key/value heads.
   *
   * @throws {AttentionError} OPTION, MEMORY, DISPOSED
   */
  createCache(options: CacheOptions): KVCache
  /**
   * `x [B,L,modelDim]` and `context [B,S,kDim]` give `output [B,L,modelDim]`; `weights` are those of the
   * self-attention. Of packed sequences, `cuSeqlensKeys` are the lengths of their contexts.
   *
   * @throws {AttentionError} SHAPE, DTYPE, OPTION, MEMORY, DISPOSED
   */
  forward<const Options extends TransformerDecoderOptions & ResultRequest>(
    x: Tensor,
    context: Tensor | null,
    options: KnownOptions<Options, TransformerDecoderOptions>
  ): AttentionResult<Options>
  forward(x: Tensor, context: Tensor | null, options?: TransformerDecoderOptions | null): AttentionOutput
  /** Asynchronous `forward`: see {@link AsyncOptions}. */
  forwardAsync<const Options extends AsyncTransformerDecoderOptions & ResultRequest>(
    x: Tensor,
    context: Tensor,
    options: KnownOptions<Options, AsyncTransformerDecoderOptions>
  ): Promise<AttentionResult<Options>>
  forwardAsync(x: Tensor, context: Tensor, options?: AsyncTransformerDecoderOptions | null): Promise<AttentionOutput>
}

/** Options of latent attention, which has no dropout. */
export type LatentOptions = Omit<LayerOptions, 'seed'>

/** Options of an asynchronous call of latent attention, which takes no cache. */
export type AsyncLatentOptions = Omit<LatentOptions, 'cache'> & AsyncOptions & { cache?: null | undefined }

export interface LatentConfig {
  /** Size of input and output. */
  modelDim: number
  /** Attention heads `H`. */
  numHeads: number
  /** Size of the latent of queries; null projects queries directly. Default: null. */
  queryRank?: number | null | undefined
  /** Size of the latent of keys and values. */
  latentRank: number
  /** Query and key features of a head without positions. */
  nopeDim: number
  /** Rotated query and key features of a head, an even number; the keys' are the same in all heads. */
  rotaryDim: number
  /** Size of a value in a head. */
  valueDim: number
  /** The rotation, as of {@link AttentionConfig.rotary}; DeepSeek's is `interleaved`. Default: `{ base: 10000 }`. */
  rotary?: AttentionConfig['rotary']
  /** Added to the variance in the norms of the latents, in [0, 1). Default: 1e-6. */
  epsilon?: number | null | undefined
  /** {@link MaskOptions.causal} of calls that do not give it. Default: false. */
  causal?: boolean | null | undefined
  /** {@link LayerOptions.scale} of calls that do not give it. Default: 1/√(nopeDim + rotaryDim). */
  scale?: number | null | undefined
  /** Use biases in the projections to latents and of the output. Default: false. */
  useBias?: boolean | null | undefined
  /** Seed of the parameters. Default: 0. */
  seed?: number | null | undefined
  /** The type of the projections' matrices; biases and norms have 32 bits. Default: `'f32'`. */
  weightType?: WeightType | null | undefined
}

/**
 * Attention over a low-rank latent, as in DeepSeek V2 and V3: keys and values of all heads are projections of one
 * latent vector per position, beside rotated key features that all heads share. The numbers and the names of parameters
 * are those of `DeepseekV3Attention` in Transformers 5: `q_proj`, or `q_a_proj`, `q_a_layernorm` and `q_b_proj` with a
 * `queryRank`; `kv_a_proj_with_mqa`, `kv_a_layernorm`, `kv_b_proj` and `o_proj`.
 *
 * With a `cache`, which keeps `latentRank + rotaryDim` numbers of a position and nothing per head, calls of few rows
 * apply the heads' weights to queries and outputs, and not to all that the cache holds.
 *
 * @throws {AttentionError} OPTION for a configuration that is invalid; MEMORY
 *
 * @example
 * ```js
 * import { LatentAttention, createTensor } from '@ruvector/attention'
 * const sizes = { latentRank: 4, nopeDim: 3, rotaryDim: 2, valueDim: 3 }
 * const layer = new LatentAttention({ modelDim: 8, numHeads: 2, ...sizes, causal: true })
 * const x = createTensor(new Float32Array(24).fill(0.5), [1, 3, 8])
 * console.log(layer.forward(x).output.shape) // [ 1, 3, 8 ]
 * ```
 */
export declare class LatentAttention extends Layer {
  constructor(config: LatentConfig)
  /** The configuration, with its defaults; `queryRank`, `scale` and `weightType` only if they are given. */
  readonly config: Readonly<
    {
      [Name in Exclude<keyof LatentConfig, 'queryRank' | 'rotary' | 'scale' | 'weightType'>]-?: NonNullable<
        LatentConfig[Name]
      >
    } & {
      queryRank?: number
      scale?: number
      weightType?: WeightType
      rotary: NonNullable<MultiHeadAttention['config']['rotary']>
    }
  >
  /**
   * An empty {@link KVCache} for this layer's `cache` option: one head, whose keys have `latentRank + rotaryDim`
   * features and whose values are the first `latentRank` of them.
   *
   * @throws {AttentionError} OPTION, MEMORY, DISPOSED
   */
  createCache(options: CacheOptions): KVCache
  /**
   * `x [B,L,modelDim]` gives `output [B,L,modelDim]`; row `i` has the position `i + queryOffset`.
   *
   * @throws {AttentionError} SHAPE, DTYPE, OPTION, MEMORY, DISPOSED
   */
  forward<const Options extends LatentOptions & ResultRequest>(
    x: Tensor,
    options: KnownOptions<Options, LatentOptions>
  ): AttentionResult<Options>
  forward(x: Tensor, options?: LatentOptions | null): AttentionOutput
  /** Asynchronous `forward`: see {@link AsyncOptions}. */
  forwardAsync<const Options extends AsyncLatentOptions & ResultRequest>(
    x: Tensor,
    options: KnownOptions<Options, AsyncLatentOptions>
  ): Promise<AttentionResult<Options>>
  forwardAsync(x: Tensor, options?: AsyncLatentOptions | null): Promise<AttentionOutput>
}

/** The configuration of a {@link Linear} layer. */
export interface LinearLayerConfig {
  /** Size of the input. */
  inFeatures: number
  /** Size of the output. */
  outFeatures: number
  /** Add a bias. Default: true. */
  useBias?: boolean | null | undefined
  /** The type in which the layer keeps its weight. Default: `'f32'`. */
  weightType?: WeightType | null | undefined
  /** Seed of the parameters, which are the same as in PyTorch after `torch.manual_seed(seed)`. Default: 0. */
  seed?: number | null | undefined
}

/**
 * A projection with parameters, `x Wᵀ + b`, like `torch.nn.Linear`: `weight [outFeatures, inFeatures]` and `bias
 * [outFeatures]`.
 *
 * @throws {AttentionError} OPTION for a configuration that is invalid; MEMORY
 *
 * @example
 * ```js
 * import { Linear, createTensor } from '@ruvector/attention'
 * const layer = new Linear({ inFeatures: 3, outFeatures: 2, seed: 1 })
 * console.log(layer.forward(createTensor(new Float32Array(12), [4, 3])).shape) // [ 4, 2 ]
 * ```
 */
export declare class Linear extends Layer {
  constructor(config: LinearLayerConfig)
  /** The configuration, including all defaults. */
  readonly config: Readonly<{ [Name in keyof LinearLayerConfig]-?: NonNullable<LinearLayerConfig[Name]> }>
  /**
   * `x [..., inFeatures]` gives `[..., outFeatures]`.
   *
   * @throws {AttentionError} SHAPE, DTYPE, MEMORY, DISPOSED
   */
  forward(x: Tensor): Tensor
  /** Asynchronous `forward`: see {@link AsyncOptions}. */
  forwardAsync(x: Tensor, options?: AsyncOptions | null): Promise<Tensor>
}

/** The configuration of an {@link Embedding}. */
export interface EmbeddingConfig {
  /** The number of rows `V`. */
  numEmbeddings: number
  /** Size of a row `M`. */
  embeddingDim: number
  /** The type in which the layer keeps its weight. Default: `'f32'`. */
  weightType?: WeightType | null | undefined
  /**
   * Seed of the parameters, those of PyTorch after `torch.manual_seed(seed)` to a few units in the last place.
   * Default: 0.
   */
  seed?: number | null | undefined
}

/**
 * A table with parameters, `weight [numEmbeddings, embeddingDim]`, like `torch.nn.Embedding`. {@link embedding} reads
 * rows of a table of your own.
 *
 * @throws {AttentionError} OPTION for a configuration that is invalid; MEMORY
 *
 * @example
 * ```js
 * import { Embedding } from '@ruvector/attention'
 * const table = new Embedding({ numEmbeddings: 10, embeddingDim: 4 })
 * console.log(table.forward([7, 0, 7]).shape) // [ 3, 4 ]
 * ```
 */
export declare class Embedding extends Layer {
  constructor(config: EmbeddingConfig)
  /** The configuration, including all defaults. */
  readonly config: Readonly<{ [Name in keyof EmbeddingConfig]-?: NonNullable<EmbeddingConfig[Name]> }>
  /**
   * `ids [...]` gives `[..., embeddingDim]`.
   *
   * @throws {AttentionError} OPTION for an index out of range; SHAPE, DTYPE, MEMORY, DISPOSED
   */
  forward(ids: ArrayLike<number> | Integers | Tensor<Int32Array>): Tensor
  /** Asynchronous `forward`: see {@link AsyncOptions}. */
  forwardAsync(ids: ArrayLike<number> | Integers | Tensor<Int32Array>, options?: AsyncOptions | null): Promise<Tensor>
}

// ── Linear attention ─────────────────────────────────────────────────────────────────────────────────────────────────

export interface LinearConfig {
  /** Size of three-dimensional inputs, all heads together; the size of a head is `D = modelDim / numHeads`. */
  modelDim: number
  /** Number of heads `H` in three-dimensional inputs, a divisor of `modelDim`. Default: 1. */
  numHeads?: number | null | undefined
  /**
   * Maps queries and keys to positive features φ(x), whose products are the weights.
   *
   * - `'elu'`: `elu(x) + 1` (Katharopoulos et al. 2020).
   * - `'relu'`: `max(x, 0) + 1e-3`.
   * - `'favor+'`: `exp(ωᵀx̂ − ‖x̂‖²/2 − c)/√m` with `x̂ = x/D^¼` and `m` random features (Choromanski et al. 2021). It
   *   estimates softmax attention without bias. The error falls as `1/√m` and grows with the size of queries and keys.
   *   The rows of ω are orthogonal in blocks of `D`, with χ(D)-distributed norms; c keeps exponentials in range and
   *   cancels out.
   *
   * The features of a query are divided by their largest, and the sums over keys by the largest feature so far. Both
   * factors cancel out, and features that would underflow, as those of a query of −100s, still weigh the values.
   *
   * Default: 'elu'. For the rule 'kernel' only.
   */
  featureMap?: 'elu' | 'relu' | 'favor+' | null | undefined
  /**
   * The rule by which keys and values enter the state. `'kernel'`: sums of feature maps, divided by the sum of the
   * weights. The others are the update rules of ONNX's `LinearAttention` (opset 27), whose state `S [D,E]` is read as
   * `scale · Sᵀq`; with `a = exp(decay)`:
   *
   * - `'linear'`: `S ← S + k ⊗ v`.
   * - `'gated'`: `S ← a S + k ⊗ v`, as in gated linear attention, RetNet and Mamba 2.
   * - `'delta'`: `S ← S + k ⊗ beta (v − Sᵀk)`, as in DeltaNet.
   * - `'gated_delta'`: `S ← a S + k ⊗ beta (v − (a S)ᵀk)`, as in Gated DeltaNet, Qwen3-Next and Kimi Linear.
   *
   * All but 'kernel' are causal. The delta rules expect keys of length 1. Default: 'kernel'.
   */
  rule?: 'kernel' | 'linear' | 'gated' | 'delta' | 'gated_delta' | null | undefined
  /**
   * Number of key/value heads `G` in three-dimensional inputs, a divisor of `numHeads`: each has one state, which
   * `numHeads / kvHeads` query heads read. Not for the rule 'kernel'. Default: `numHeads`.
   */
  kvHeads?: number | null | undefined
  /** Factor of the output, finite. Not for the rule 'kernel'. Default: `1/√D`. */
  scale?: number | null | undefined
  /**
   * Number of features per head. Always `D` for 'elu' and 'relu'. Default for 'favor+': `D · ⌈ln D⌉`, which is `D · ln
   * D` rounded up to whole blocks.
   */
  featureDim?: number | null | undefined
  /** Seed of ω, an integer from 0 to 2^53 − 1; the same on every backend. Default: 0. */
  seed?: number | null | undefined
}

/** Options of {@link LinearStream.step}. Gates and states belong to the rules other than 'kernel'. */
export interface LinearStepOptions {
  /** Query `i` sees the keys `j ≤ i`. Default: false in `forward` for the rule 'kernel'; otherwise always true. */
  causal?: boolean | null | undefined
  /**
   * Logarithms of the factors by which each position multiplies the state, usually negative; required by the rules
   * 'gated' and 'gated_delta'. One for each head, `[B,G,L]`, or one for each of the `D` rows of the state, `[B,G,L,D]`;
   * with three-dimensional inputs `[B,L,G]` or `[B,L,G·D]`. −∞ clears the state.
   */
  decay?: Tensor | null | undefined
  /**
   * The share of the difference between value and state that each position corrects, usually from 0 to 1; required by
   * the rules 'delta' and 'gated_delta'. `[B,G,L]` or `[B,1,L]`; with three-dimensional inputs `[B,L,G]` or `[B,L,1]`.
   */
  beta?: Tensor | null | undefined
  /** The state before the first position, `[B,G,D,E]`. Default: zeros, or the state of the stream. */
  state?: Tensor | null | undefined
  /** Return the state after the last position, `[B,G,D,E]`. Default: false. */
  returnState?: boolean | null | undefined
}

export interface LinearOptions extends LinearStepOptions {
  /** Valid keys of each batch entry, `[B]`, each from 0 to `S`; for the rule 'kernel' only. Default: all. */
  kvLengths?: Integers | null | undefined
  /** Memory for the output, of exactly its length, not overlapping any input. Default: newly allocated. */
  out?: Float32Array | null | undefined
}

export interface LinearOutput {
  output: Tensor
  /** `[B,G,D,E]`, if `returnState` is true. */
  state?: Tensor
}

/**
 * Linear attention, `out_i = φ(q_i)ᵀ (Σ_j φ(k_j) v_jᵀ) / (φ(q_i)ᵀ Σ_j φ(k_j))`: time and memory grow linearly with the
 * length. `rule` selects the recurrent forms instead, with decay and the delta rule (Yang et al. 2024). Has no
 * trainable parameters; 'favor+' keeps its projection ω outside the JavaScript heap: free it with `using` or dispose();
 * a finalizer is the fallback.
 *
 * @throws {AttentionError} OPTION for a configuration that is invalid; MEMORY
 *
 * @example
 * ```js
 * import { LinearAttention, createTensor } from '@ruvector/attention'
 * const attention = new LinearAttention({ modelDim: 2, featureMap: 'elu' })
 * const x = createTensor([1, 0, 0, 1], [1, 2, 2])
 * console.log(attention.forward(x, x, x, { causal: true }).output.shape) // [ 1, 2, 2 ]
 * ```
 */
export declare class LinearAttention implements Disposable {
  constructor(config: LinearConfig)
  /** The configuration, including the defaults of all options that its rule has. */
  readonly config: Readonly<
    { [Name in Exclude<keyof LinearConfig, 'kvHeads' | 'scale'>]-?: NonNullable<LinearConfig[Name]> } & {
      kvHeads?: number
      scale?: number
    }
  >
  /** Number of features per head; `D` for the rules other than 'kernel'. */
  readonly featureDim: number
  /**
   * `q [B,L,modelDim]`, `k [B,S,modelDim]`, `v [B,S,numHeads·E]` give `output [B,L,numHeads·E]`. Four-dimensional
   * inputs, `q [B,H,L,D]`, `k [B,H,S,D]`, `v [B,H,S,E]` with any `H`, give `[B,H,L,E]`. A row with no visible key is
   * all zeros.
   *
   * The rules other than 'kernel' take as many keys as queries, in `G` key/value heads: `k [B,L,G·D]`, `v [B,L,G·E]`,
   * or `k [B,G,L,D]`, `v [B,G,L,E]` with any `G` that divides `H`.
   *
   * @throws {AttentionError} SHAPE, DTYPE, OPTION, MEMORY, DISPOSED
   */
  forward(q: Tensor, k: Tensor, v: Tensor, options: LinearOptions & { returnState: true }): Required<LinearOutput>
  forward(q: Tensor, k: Tensor, v: Tensor, options?: LinearOptions | null): LinearOutput
  /** Asynchronous `forward`: see {@link AsyncOptions}. */
  forwardAsync(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    options: LinearOptions & AsyncOptions & { returnState: true }
  ): Promise<Required<LinearOutput>>
  forwardAsync(q: Tensor, k: Tensor, v: Tensor, options?: (LinearOptions & AsyncOptions) | null): Promise<LinearOutput>
  /**
   * φ(x): `[B,L,modelDim]` gives `[B,L,numHeads·featureDim]`, `[B,H,L,D]` gives `[B,H,L,featureDim]`. For 'favor+'
   * these are the features of queries: c is the largest exponent of each row, so the row's largest feature is `1/√m`.
   *
   * Only the rule 'kernel' has a feature map.
   *
   * @throws {AttentionError} SHAPE, DTYPE, OPTION, MEMORY, DISPOSED
   */
  featureMap(x: Tensor): Tensor
  /**
   * Causal attention, a few positions at a time, with constant memory. `batch` defaults to 1, the value size `valueDim`
   * of a head to `D`. A stream works until its attention is disposed.
   *
   * @throws {AttentionError} OPTION, DISPOSED
   */
  stream(options?: { batch?: number | null | undefined; valueDim?: number | null | undefined } | null): LinearStream
  /** Frees ω now. Further calls do nothing. */
  dispose(): void
  [Symbol.dispose](): void
}

/** A stream of {@link LinearAttention}. Owns memory outside the JavaScript heap: free it with `using` or dispose(). */
export interface LinearStream extends Disposable {
  /**
   * Processes the next position or positions and returns their rows: the same as `forward` with `causal` over all
   * positions so far. Shapes are as in `forward`, with as many keys as queries; four-dimensional inputs keep the same
   * heads in every step. A given `state` replaces the state of the stream.
   *
   * @throws {AttentionError} SHAPE, DTYPE, OPTION, MEMORY, DISPOSED; a step that fails changes nothing.
   */
  step(q: Tensor, k: Tensor, v: Tensor, options: LinearStepOptions & { returnState: true }): Required<LinearOutput>
  step(q: Tensor, k: Tensor, v: Tensor, options?: LinearStepOptions | null): LinearOutput
  /**
   * Discards all positions.
   *
   * @throws {AttentionError} DISPOSED
   */
  reset(): void
  /** Frees the memory now. Further calls do nothing. */
  dispose(): void
}

// ── Hyperbolic attention ─────────────────────────────────────────────────────────────────────────────────────────────

export interface HyperbolicConfig {
  /** The curvature of the space, negative, from −1e30 to −1e-30; `c` below means `−curvature`. */
  curvature: number
  /** Number of heads `H` in three-dimensional inputs, each in its own space. Default: 1. */
  numHeads?: number | null | undefined
  /**
   * The model that points belong to. `'poincare'`: the ball of radius `1/√c`, `D` coordinates. `'lorentz'`, or
   * `'hyperboloid'`:
   * `−x₀² + x₁² + … = −1/c` with `x₀ > 0`, `D + 1` coordinates. Both describe the same space. Default: 'poincare'.
   */
  manifold?: 'poincare' | 'lorentz' | 'hyperboloid' | null | undefined
  /** Divisor of the distances before softmax, positive. Default: 1. */
  temperature?: number | null | undefined
  /**
   * The inputs and outputs of `forward`. `'manifold'`: points. `'tangent'`: arbitrary vectors of size `D`, taken as
   * tangent vectors at the origin in both models (exp₀ on input, log₀ on output). Default: 'manifold'.
   */
  inputs?: 'manifold' | 'tangent' | null | undefined
}

export interface HyperbolicOptions extends Omit<MaskOptions, 'relativeBias' | 'cuSeqlens' | 'cuSeqlensKeys'> {
  /** Return the weights `[B,H,L,S]`. Default: false. */
  weights?: boolean | null | undefined
  /** Memory for the output, of exactly its length, not overlapping any input. Default: newly allocated. */
  out?: Float32Array | null | undefined
}

/**
 * Attention in hyperbolic space, and the geometry of this space like in geoopt, computed in doubles.
 *
 * In every function, points and tangent vectors use the coordinates of the model in `manifold`, even if the function is
 * named after the ball. Only `toLorentz` always takes points of the ball, and `toPoincare` points of the hyperboloid.
 * Tangent vectors at the origin (`expMap0`, `logMap0`, `inputs: 'tangent'`) have size `D` in both models: the
 * hyperboloid's first coordinate would always be 0 and is omitted.
 *
 * A point that is off the manifold by more than 1e-3, relative to the ball's radius or to `x₀`, is a DOMAIN error that
 * names its row. In the ball, points beyond `1 − 3e-8` of the radius count as that far out, so that distances from the
 * origin never decrease toward the boundary; results beyond `1 − 1e-5` of the radius are projected as by
 * `projectToBall`. On the hyperboloid, `x₀` is recomputed from the other coordinates, which 32-bit floats represent
 * more accurately. A result that overflows them, about `88/√c` from the origin, is a DOMAIN error. `forward` treats
 * points of the hyperboloid beyond `42.8/√c` as if they were that far away.
 *
 * Functions of several tensors take equal leading dimensions, or a single row that is used for all. Holds memory
 * outside the JavaScript heap: free it with `using` or dispose(); a finalizer is the fallback.
 *
 * @throws {AttentionError} OPTION for a configuration that is invalid
 *
 * @example
 * ```js
 * import { HyperbolicAttention, createTensor } from '@ruvector/attention'
 * const attention = new HyperbolicAttention({ curvature: -1 })
 * const points = createTensor([0.1, 0, 0, 0.2], [1, 2, 2])
 * console.log(attention.forward(points, points, points).output.shape) // [ 1, 2, 2 ]
 * ```
 */
export declare class HyperbolicAttention implements Disposable {
  constructor(config: HyperbolicConfig)
  /** The configuration, including all defaults. */
  readonly config: Readonly<{ [Name in keyof HyperbolicConfig]-?: NonNullable<HyperbolicConfig[Name]> }>
  /** The curvature from the configuration. */
  readonly curvature: number
  /**
   * For each query, the midpoint of the values under the weights `softmax_j(−distance(q_i, k_j) / temperature + mask)`.
   * In the ball this is the gyromidpoint, geoopt's `weighted_midpoint`; on the hyperboloid it is the Lorentzian
   * centroid, which is the same point.
   *
   * `q [B,L,H·D]`, `k [B,S,H·D]`, `v [B,S,H·E]` give `output [B,L,H·E]`; four-dimensional inputs are `[B,H,L,D]` and so
   * on. On the hyperboloid, `D` and `E` include `x₀`. A row with no visible key has zero weights, and the origin as
   * output: zeros, except for `x₀ = 1/√c` on the hyperboloid. All outputs are therefore valid points. Keys and values
   * that no row sees may have any value.
   *
   * @throws {AttentionError} SHAPE, DTYPE, OPTION, DOMAIN, MEMORY, DISPOSED
   */
  forward<const Options extends HyperbolicOptions & ResultRequest>(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    options: KnownOptions<Options, HyperbolicOptions>
  ): AttentionResult<Options>
  forward(q: Tensor, k: Tensor, v: Tensor, options?: HyperbolicOptions | null): AttentionOutput
  /** Asynchronous `forward`: see {@link AsyncOptions}. */
  forwardAsync<const Options extends (HyperbolicOptions & AsyncOptions) & ResultRequest>(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    options: KnownOptions<Options, HyperbolicOptions & AsyncOptions>
  ): Promise<AttentionResult<Options>>
  forwardAsync(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    options?: (HyperbolicOptions & AsyncOptions) | null
  ): Promise<AttentionOutput>
  /**
   * The geodesic distance, row by row: `[…,D]`, `[…,D]` give `[…]`. Accurate to 32 bits, however close the points are
   * to the boundary or to each other.
   *
   * @throws {AttentionError} SHAPE, DTYPE, DOMAIN, like all functions below
   */
  distance(a: Tensor, b: Tensor): Tensor
  /** The distances between all rows of `a` and all rows of `b`: `[L,D]`, `[S,D]` give `[L,S]`. */
  distanceMatrix(a: Tensor, b: Tensor): Tensor
  /**
   * Converts arbitrary vectors to points. In the ball, vectors beyond `1 − 1e-5` of the radius are moved inwards; on
   * the hyperboloid, `x₀` is set to match the other coordinates.
   */
  projectToBall(x: Tensor): Tensor
  /** The end point of the geodesic from `base` along `tangent`, whose length is the distance. */
  expMap(base: Tensor, tangent: Tensor): Tensor
  /** The tangent vector at `base` that `expMap` maps to `point`. */
  logMap(base: Tensor, point: Tensor): Tensor
  /**
   * `expMap` at the origin: `[…,D]` gives points. In the ball, the distance is twice the vector's length, up to
   * `1 − 1e-5` of the radius. On the hyperboloid it is the vector's length, and a point whose coordinates overflow,
   * about `88/√c` from the origin, is a DOMAIN error.
   */
  expMap0(tangent: Tensor): Tensor
  /** `logMap` at the origin: points give `[…,D]`. */
  logMap0(point: Tensor): Tensor
  /** The gyrovector sum `a ⊕ b`: the image of `b` under the translation that maps the origin to `a`. */
  mobiusAdd(a: Tensor, b: Tensor): Tensor
  /** The gyrovector multiple `factor ⊗ x`: the point at `factor` times the distance of `x` from the origin. */
  mobiusScale(factor: number, x: Tensor): Tensor
  /** Transports a tangent vector from `from` along the geodesic to `to`. */
  parallelTransport(from: Tensor, to: Tensor, tangent: Tensor): Tensor
  /**
   * The midpoint of points `[S,D]` under each row of weights `[L,S]`, which are finite and at least 0: `[L,D]`. Without
   * weights, all points count equally, and the result is `[1,D]`. If all weights are 0, it is the origin.
   */
  midpoint(points: Tensor, weights?: Tensor | null): Tensor
  /** Converts points of the ball to the hyperboloid: `[…,D]` gives `[…,D+1]`. */
  toLorentz(x: Tensor): Tensor
  /** Converts points of the hyperboloid to the ball: `[…,D+1]` gives `[…,D]`. */
  toPoincare(x: Tensor): Tensor
  /** Frees the backend's memory now. Further calls do nothing. */
  dispose(): void
  [Symbol.dispose](): void
}

// ── Graphs ───────────────────────────────────────────────────────────────────────────────────────────────────────────

/** The ends of edges: two lists, or the tensor `edge_index [2,K]` of PyTorch Geometric. */
export type EdgeEnds =
  | { source: ArrayLike<number | bigint>; target: ArrayLike<number | bigint>; edgeIndex?: null | undefined }
  | {
      edgeIndex: { data: ArrayLike<number | bigint>; shape: readonly number[] }
      source?: null | undefined
      target?: null | undefined
    }

/** The number of nodes: of one set, or of a set of sources and a set of targets. */
export type NodeCounts =
  | { numNodes: number; numSources?: null | undefined; numTargets?: null | undefined }
  | { numSources: number; numTargets: number; numNodes?: null | undefined }

/**
 * Edges `source → target` between nodes `0` to `numNodes − 1`, or from `numSources` sources to `numTargets` targets, in
 * the backend's memory: free it with `using` or dispose(); a finalizer is the fallback. Messages flow from source to
 * target, as in PyTorch Geometric. Duplicate edges and self-loops are kept. Letters in shapes: `N` nodes, `K` edges,
 * `H` heads; with two node sets, inputs have a row for each source and results one for each target.
 *
 * @example
 * ```js
 * import { Graph } from '@ruvector/attention'
 * const graph = Graph.fromEdges({ source: [0, 1], target: [1, 2], numNodes: 3 })
 * console.log(graph.numNodes, graph.numEdges) // 3 2
 * ```
 */
export declare class Graph implements Disposable {
  private constructor()
  /**
   * Creates a graph from edges `source[k] → target[k]`, or from both rows of `edgeIndex`. The arrays are copied. Memory
   * grows only with the number of edges.
   *
   * @throws {AttentionError} OPTION for an edge with an invalid node, named by its index (`source[3]`), and for a
   *   number of nodes outside 0 to 2^31 − 1; SHAPE if the lengths differ; DTYPE, MEMORY
   */
  static fromEdges(edges: NodeCounts & EdgeEnds): Graph
  /** The number of nodes, in both sets if there are two. */
  readonly numNodes: number
  /** The number of nodes that edges can come from. */
  readonly numSources: number
  /** The number of nodes that edges can lead to. */
  readonly numTargets: number
  readonly numEdges: number
  /**
   * The number of incoming edges per target.
   *
   * @throws {AttentionError} MEMORY, DISPOSED
   */
  inDegrees(): Int32Array
  /**
   * A graph with the same edges in the same order, with source and target exchanged.
   *
   * @throws {AttentionError} MEMORY, DISPOSED
   */
  reverse(): Graph
  /** Frees the edges now. Further calls do nothing. */
  dispose(): void
  [Symbol.dispose](): void
}

/**
 * Draws subgraphs for training and inference in batches, like `NeighborLoader` of PyTorch Geometric: up to `fanouts[0]`
 * incoming edges of each given node, then up to `fanouts[1]` of each node found, and so on, where −1 means all. The
 * n-th call of a sampler depends only on the seed, on n and on the nodes, on every backend.
 *
 * @throws {AttentionError} OPTION for a graph with two node sets, a fanout that is neither −1 nor at least 1, and any
 * other invalid configuration; DTYPE, DISPOSED
 *
 * @example
 * ```js
 * import { Graph, NeighborSampler } from '@ruvector/attention'
 * const graph = Graph.fromEdges({ source: [0, 1, 2], target: [3, 3, 0], numNodes: 4 })
 * const { nodes, edges } = new NeighborSampler(graph, { fanouts: [2, 1] }).sample([3])
 * console.log(nodes, edges) // Int32Array(4) [ 3, 0, 1, 2 ] Int32Array(3) [ 0, 1, 2 ]
 * ```
 */
export declare class NeighborSampler {
  /**
   * @param config.fanouts The number of edges per node in each hop.
   * @param config.seed Default: 0.
   * @param config.replace Draw with replacement: as many edges as the fanout for every node with edges. Default: false.
   */
  constructor(
    graph: Graph,
    config: { fanouts: ArrayLike<number>; seed?: number | null | undefined; replace?: boolean | null | undefined }
  )
  /**
   * Draws the subgraph around some nodes. `nodes` holds the given nodes, then those found; node `i` of `graph` is
   * `nodes[i]` of the whole graph, and edge `k` of `graph` is edge `edges[k]` of the whole: the rows of `x` and
   * `edgeAttr` to take. The first `nodes.length` rows of a layer's output belong to the given nodes.
   *
   * @throws {AttentionError} OPTION for a node that does not exist or is given twice, named by its index; DTYPE,
   *   MEMORY, DISPOSED
   */
  sample(nodes: ArrayLike<number>): { nodes: Int32Array; graph: Graph; edges: Int32Array }
}

/**
 * For each node, reduces `edgeWeight · x[source]` over its incoming edges to the sum, mean, maximum or minimum, feature
 * by feature: `x [N, ...]` gives `[N, ...]`, and with two node sets `x [numSources, ...]` gives `[numTargets, ...]`. A
 * node without incoming edges gets zeros; a NaN affects the nodes that it reaches.
 *
 * @param options.reduce Default: 'sum'.
 * @param options.edgeWeight `[K]`, or `[K,H]` for the heads of `x [N,H,...]`, in the order of the given edges, such as
 *   {@link edgeSoftmax} returns. Default: all 1.
 * @throws {AttentionError} SHAPE, DTYPE, OPTION, MEMORY, DISPOSED
 *
 * @example
 * ```js
 * import { Graph, createTensor, propagate } from '@ruvector/attention'
 * const graph = Graph.fromEdges({ source: [0, 1], target: [2, 2], numNodes: 3 })
 * const x = createTensor([1, 2, 0], [3, 1])
 * console.log(propagate(graph, x, { reduce: 'sum' }).data) // Float32Array(3) [ 0, 0, 3 ]
 * ```
 */
export function propagate(
  graph: Graph,
  x: Tensor,
  options?: {
    reduce?: 'sum' | 'mean' | 'max' | 'min' | null | undefined
    edgeWeight?: Float32Array | Tensor | null | undefined
  } | null
): Tensor

/**
 * Softmax of scores `[K]` or `[K,H]` over edges with the same target, in the order of the given edges, like
 * `torch_geometric.utils.softmax`. If all scores of a target are −∞, the result is zeros.
 *
 * @throws {AttentionError} SHAPE, DTYPE, MEMORY, DISPOSED
 *
 * @example
 * ```js
 * import { Graph, createTensor, edgeSoftmax } from '@ruvector/attention'
 * const graph = Graph.fromEdges({ source: [0, 1], target: [2, 2], numNodes: 3 })
 * console.log(edgeSoftmax(graph, createTensor([1, 1], [2])).data) // Float32Array(2) [ 0.5, 0.5 ]
 * ```
 */
export function edgeSoftmax(graph: Graph, scores: Tensor): Tensor

export interface GraphOptions {
  /** Edge features, `[K,edgeFeatures]`; required if the layer has `edgeFeatures`, otherwise rejected. */
  edgeAttr?: Tensor | null | undefined
  /** Edge weights, `[K]` or `[K,1]`; only for {@link GraphConvolution}. Default: all 1. */
  edgeWeight?: Float32Array | Tensor | null | undefined
  /** Return the attention weights of the edges; only for attention layers. Default: false. */
  weights?: boolean | null | undefined
  /** Seed for dropout in training. Default: the layer's seed. */
  seed?: number | null | undefined
}

/** The features of all nodes, or of the sources and of the targets of edges. */
export type NodeFeatures = Tensor | readonly [xSource: Tensor, xTarget: Tensor]

export interface GraphOutput {
  /** `[N, width]`. */
  output: Tensor
  /**
   * `[K′,H]`: the weights of the given edges, in their order. If the layer adds self-loops, self-loops among the given
   * edges are omitted, and those of the nodes 0 to `N − 1` follow; with two node sets, of the numbers that both sets
   * have. PyTorch Geometric returns the same edge order.
   * Dropped weights are 0, except in {@link GraphTransformer}, which returns weights before dropout.
   */
  weights?: Tensor
}

/** The results of a graph layer with these options; weights requested with a literal `true` are present. */
export type GraphResult<Options> = GraphOutput & Pick<Required<GraphOutput>, RequestedName<Options> & 'weights'>

/**
 * A layer of PyTorch Geometric: its state dict has the same names, and its parameters have the same initial values as
 * there after `torch.manual_seed(seed)`. Time is linear in the number of edges, and messages are never stored.
 */
export declare abstract class GraphLayer extends Layer {
  /** The configuration, including all defaults; `edgeFeatures` is null if edges have none. */
  readonly config: Readonly<Record<string, number | boolean | string | null | readonly [number, number]>>
  /**
   * `x [N,inFeatures]` gives `output [N,outFeatures]`, or `[N,numHeads·outFeatures]` if heads are concatenated. With
   * two node sets, `x` is a tensor for the sources and one for the targets, and the output has a row for each target.
   * {@link GraphConvolution} takes one node set.
   *
   * @throws {AttentionError} SHAPE, DTYPE, OPTION, MEMORY, DISPOSED
   */
  forward<const Options extends GraphOptions & { weights: true }>(
    graph: Graph,
    x: NodeFeatures,
    options: KnownOptions<Options, GraphOptions>
  ): GraphResult<Options>
  forward(graph: Graph, x: NodeFeatures, options?: GraphOptions | null): GraphOutput
  /** Asynchronous `forward`: see {@link AsyncOptions}. */
  forwardAsync<const Options extends (GraphOptions & AsyncOptions) & { weights: true }>(
    graph: Graph,
    x: NodeFeatures,
    options: KnownOptions<Options, GraphOptions & AsyncOptions>
  ): Promise<GraphResult<Options>>
  forwardAsync(graph: Graph, x: NodeFeatures, options?: (GraphOptions & AsyncOptions) | null): Promise<GraphOutput>
}

interface GraphConfig<InFeatures = number | readonly [source: number, target: number]> {
  /** Number of node features; of sources and of targets if these differ or have separate weights. */
  inFeatures: InFeatures
  /** Number of output features, per head if the layer has heads. */
  outFeatures: number
  /** Use biases. Default: true. */
  useBias?: boolean | null | undefined
  /** Seed of the parameters. Default: 0. */
  seed?: number | null | undefined
}

/** The configuration common to attention layers over graphs. */
interface GraphHeads extends GraphConfig {
  /** Default: 1. */
  numHeads?: number | null | undefined
  /** Concatenate the heads in the output, instead of averaging them. Default: true. */
  concat?: boolean | null | undefined
  /** Number of edge features. Default: none. */
  edgeFeatures?: number | null | undefined
  /** The probability, in [0, 1), of dropping a weight in training. Default: 0. */
  dropout?: number | null | undefined
}

/**
 * `GCNConv`: sums over neighbors, divided by the square roots of both degrees (Kipf & Welling 2017). Takes
 * `edgeWeight`.
 *
 * @throws {AttentionError} OPTION for a configuration that is invalid; MEMORY
 *
 * @example
 * ```js
 * import { Graph, GraphConvolution, createTensor } from '@ruvector/attention'
 * const graph = Graph.fromEdges({ source: [0, 1], target: [1, 2], numNodes: 3 })
 * const layer = new GraphConvolution({ inFeatures: 4, outFeatures: 2, seed: 1 })
 * console.log(layer.forward(graph, createTensor(new Float32Array(12), [3, 4])).output.shape) // [ 3, 2 ]
 * ```
 */
export declare class GraphConvolution extends GraphLayer {
  /**
   * @param config.normalize Divide by the square roots of the degrees. Default: true.
   * @param config.addSelfLoops Add a self-loop of weight 1 to each node without one; requires `normalize`, which is its
   * default.
   * @param config.improved Add self-loops of weight 2 in calls with `edgeWeight`. As in PyTorch Geometric, it has no
   * effect in other calls. Default: false.
   */
  constructor(
    config: GraphConfig<number> & {
      normalize?: boolean | null | undefined
      addSelfLoops?: boolean | null | undefined
      improved?: boolean | null | undefined
    }
  )
}

/**
 * `SAGEConv`: combines the mean, sum, maximum or minimum of the neighbors' features with the node's own (Hamilton, Ying
 * & Leskovec 2017).
 *
 * @throws {AttentionError} OPTION for a configuration that is invalid; MEMORY
 *
 * @example
 * ```js
 * import { Graph, GraphSage, createTensor } from '@ruvector/attention'
 * const graph = Graph.fromEdges({ source: [0, 1], target: [1, 2], numNodes: 3 })
 * const layer = new GraphSage({ inFeatures: 4, outFeatures: 2, seed: 1 })
 * console.log(layer.forward(graph, createTensor(new Float32Array(12), [3, 4])).output.shape) // [ 3, 2 ]
 * ```
 */
export declare class GraphSage extends GraphLayer {
  /**
   * @param config.reduce Default: 'mean'.
   * @param config.rootWeight Add a product with the node's own features. Default: true.
   * @param config.project Pass the neighbors' features through a linear layer and ReLU first. Default: false.
   * @param config.normalize Scale each output to length 1. Default: false.
   */
  constructor(
    config: GraphConfig & {
      reduce?: 'sum' | 'mean' | 'max' | 'min' | null | undefined
      rootWeight?: boolean | null | undefined
      project?: boolean | null | undefined
      normalize?: boolean | null | undefined
    }
  )
}

/**
 * `GATv2Conv` (Brody, Alon & Yahav 2022), or with `version: 1` `GATConv` (Veličković et al. 2018).
 *
 * @throws {AttentionError} OPTION for a configuration that is invalid; MEMORY
 *
 * @example
 * ```js
 * import { Graph, GraphAttention, createTensor } from '@ruvector/attention'
 * const graph = Graph.fromEdges({ source: [0, 1], target: [1, 2], numNodes: 3 })
 * const layer = new GraphAttention({ inFeatures: 4, outFeatures: 2, numHeads: 2, seed: 1 })
 * console.log(layer.forward(graph, createTensor(new Float32Array(12), [3, 4])).output.shape) // [ 3, 4 ]
 * ```
 */
export declare class GraphAttention extends GraphLayer {
  /**
   * @param config.version Default: 2.
   * @param config.negativeSlope Slope of the leaky ReLU below 0, from 0 to 1. Default: 0.2.
   * @param config.addSelfLoops Replace self-loops among the edges by one self-loop per node; with two node sets, by an
   * edge between the nodes of each number that both sets have. Default: true.
   * @param config.fillValue Every feature of these self-loops; 'mean' takes the mean of the features of the node's
   *   other incoming edges. Default: 'mean'.
   * @param config.residual Add a product with the node's own features. Default: false.
   */
  constructor(
    config: GraphHeads & {
      version?: 1 | 2 | null | undefined
      negativeSlope?: number | null | undefined
      addSelfLoops?: boolean | null | undefined
      fillValue?: 'mean' | number | null | undefined
      residual?: boolean | null | undefined
    }
  )
}

/**
 * `TransformerConv`: scaled dot-product attention over neighbors, with a skip connection (Shi et al. 2021).
 *
 * @throws {AttentionError} OPTION for a configuration that is invalid; MEMORY
 *
 * @example
 * ```js
 * import { Graph, GraphTransformer, createTensor } from '@ruvector/attention'
 * const graph = Graph.fromEdges({ source: [0, 1], target: [1, 2], numNodes: 3 })
 * const layer = new GraphTransformer({ inFeatures: 4, outFeatures: 2, numHeads: 2, seed: 1 })
 * console.log(layer.forward(graph, createTensor(new Float32Array(12), [3, 4])).output.shape) // [ 3, 4 ]
 * ```
 */
export declare class GraphTransformer extends GraphLayer {
  /** @param config.beta Gate the skip connection. Default: false. */
  constructor(config: GraphHeads & { beta?: boolean | null | undefined })
}

// ── Weights ──────────────────────────────────────────────────────────────────────────────────────────────────────────

/** Selects the entries of a file to read. */
export interface EntrySelection {
  /** Read only entries under this prefix, without the prefix and its dot. Default: all. */
  prefix?: string | null | undefined
  /** Read only entries for whose name in the file this function returns true. Default: all. */
  filter?: ((name: string) => boolean) | null | undefined
  /** Throw FORMAT for selected entries of 4, 6 or 8-bit floats or complex numbers, or skip them. Default: 'throw'. */
  unsupported?: 'throw' | 'skip' | null | undefined
}

export interface HalvesOptions {
  /** Widen F16 and BF16 to 32 bits, exactly, or keep their bits as a {@link HalfTensor}. Default: 'widen'. */
  halves?: 'widen' | 'keep' | null | undefined
}

/**
 * Reads the tensors of a [safetensors](https://github.com/huggingface/safetensors#format) file.
 *
 * - F32, F16, BF16 and F64 become floats of 32 bits; F64 is rounded.
 * - I8, I16, I32, I64, U16, U32 and U64 become an Int32Array if every value fits.
 * - U8 and BOOL become a Uint8Array.
 *
 * By default, the result's type declares all entries as floats. If a file also holds integers, pass another type:
 * `loadSafetensors<StateEntry>(bytes)`. Needs no `init()`.
 *
 * @throws {AttentionError} FORMAT for a file that is truncated, inconsistent or in another format, and for an integer
 *   beyond 32 bits or an unsupported type in a selected entry; DTYPE if `bytes` is not a byte array; OPTION, MEMORY
 *
 * @example
 * ```js
 * import { createTensor, loadSafetensors, saveSafetensors } from '@ruvector/attention'
 * const bytes = saveSafetensors({ 'encoder.weight': createTensor([1, 2], [2]) })
 * console.log(Object.keys(loadSafetensors(bytes))) // [ 'encoder.weight' ]
 * ```
 */
export function loadSafetensors<T extends StateEntry = Tensor>(
  bytes: Uint8Array | ArrayBuffer,
  options?: (EntrySelection & { halves?: 'widen' | null | undefined }) | null
): StateDict<T>
export function loadSafetensors<T extends StateEntry = Tensor | HalfTensor>(
  bytes: Uint8Array | ArrayBuffer,
  options: EntrySelection & HalvesOptions
): StateDict<T>

/** A source of {@link openSafetensors}: `read` returns the `length` bytes from `offset` on. */
export interface ByteReader {
  readonly size: number
  read(offset: number, length: number): Promise<Uint8Array>
}

/** An open file of Node's `fs/promises`. It stays open when the safetensors file is closed. */
export interface OpenFileHandle {
  read(
    buffer: Uint8Array,
    offset: number,
    length: number,
    position: number
  ): Promise<{ bytesRead: number; buffer: Uint8Array }>
  stat(): Promise<{ size: number; mtimeMs: number; isDirectory(): boolean }>
}

/** A path, a URL, a Blob or File, an open file of Node, or an object that reads bytes. */
export type SafetensorsSource =
  | string
  | (typeof globalThis extends { URL: { prototype: infer Url } } ? Url : never)
  | (typeof globalThis extends { Blob: { prototype: infer Blob } } ? Blob : never)
  | OpenFileHandle
  | ByteReader

/** An open safetensors file or sharded model. Only the headers are in memory. */
export interface SafetensorsFile<T extends StateEntry = Tensor> extends AsyncDisposable {
  /** All names, sorted. */
  readonly names: readonly string[]
  /** The metadata of the file; for a sharded model also that of its index, numbers as text. */
  readonly metadata: Readonly<Record<string, string>>
  /**
   * The element type in the file, such as 'F32' or 'BF16', the shape and the size in bytes.
   *
   * @throws {AttentionError} FORMAT for a name that is not in the file
   */
  describe(name: string): { type: string; shape: readonly number[]; bytes: number }
  /**
   * Reads one tensor, as {@link loadSafetensors} does.
   *
   * @throws {AttentionError} FORMAT for a name that is not in the file, an unsupported type, and a file that changed,
   *   was truncated or cannot be read; MEMORY; DISPOSED after `close()`
   */
  tensor<E extends StateEntry = StateEntry>(name: string): Promise<E>
  /**
   * Reads the selected tensors, for example one layer by its prefix.
   *
   * @throws {AttentionError} as `tensor`; OPTION
   */
  stateDict<E extends StateEntry = T>(options?: EntrySelection | null): Promise<StateDict<E>>
  /** Closes the files that were opened by path. Further calls do nothing. */
  close(): Promise<void>
}

/**
 * Opens a safetensors file, or the `model.safetensors.index.json` of a sharded model, and reads its headers. Tensors
 * are read on request, so files may be of any size. Needs no `init()`.
 *
 * A string is a path in runtimes with a file system, otherwise a URL relative to the page. Servers must support range
 * requests. An index must be given by its path or URL, with its shards in the same folder.
 *
 * @throws {AttentionError} FORMAT for a file that cannot be read, or is truncated, inconsistent or in another format,
 *   for a server without range requests, and for an index with missing shards or entries; DTYPE for another source;
 *   OPTION
 *
 * @example
 * ```js
 * import { createTensor, openSafetensors, saveSafetensors } from '@ruvector/attention'
 * const bytes = saveSafetensors({ 'a.weight': createTensor([1, 2], [2]), b: createTensor([3], [1]) })
 * const file = await openSafetensors(new Blob([bytes]))
 * console.log((await file.tensor('b')).data) // Float32Array(1) [ 3 ]
 * ```
 */
export function openSafetensors(
  source: SafetensorsSource,
  options?: { halves?: 'widen' | null | undefined } | null
): Promise<SafetensorsFile>
export function openSafetensors(
  source: SafetensorsSource,
  options: HalvesOptions
): Promise<SafetensorsFile<Tensor | HalfTensor>>

/**
 * Writes a state dict as the bytes of a safetensors file: floats as F32, an Int32Array as I32, a Uint8Array as U8, and
 * 16-bit floats as F16 or BF16. Equal entries give equal bytes. Needs no `init()`.
 *
 * @throws {AttentionError} SHAPE or DTYPE for an entry that is not a tensor; FORMAT for a name with lone surrogates;
 * OPTION for metadata other than strings; MEMORY
 *
 * @example
 * ```js
 * import { createTensor, loadSafetensors, saveSafetensors } from '@ruvector/attention'
 * const bytes = saveSafetensors({ x: createTensor([1, 2], [2]) }, { note: 'two numbers' })
 * console.log(loadSafetensors(bytes).x.data) // Float32Array(2) [ 1, 2 ]
 * ```
 */
export function saveSafetensors(state: StateDict<StateEntry>, metadata?: Record<string, string> | null): Uint8Array

// ── Batches ──────────────────────────────────────────────────────────────────────────────────────────────────────────

/**
 * Runs a job for each of many inputs, a few at a time, and keeps their order. An input is read only when its job can
 * start, and at most `concurrency` inputs ahead of the consumer of a stream, so memory stays bounded for any number of
 * inputs.
 *
 * A job passes the options that it receives on to an asynchronous call, so that the batch's signal cancels it and its
 * progress counts.
 *
 * @throws {AttentionError} OPTION
 *
 * @example
 * ```js
 * import { BatchProcessor, createTensor, scaledDotProductAttentionAsync } from '@ruvector/attention'
 * const processor = new BatchProcessor({ concurrency: 2 })
 * const x = createTensor([1, 0, 0, 1], [1, 2, 2])
 * const results = await processor.process([x, x, x], (input) => scaledDotProductAttentionAsync(input, input, input))
 * console.log(results.length) // 3
 * ```
 */
export declare class BatchProcessor {
  /** @param options.concurrency  maximum number of concurrent jobs, at least 1; default: number of threads plus one */
  constructor(options?: { concurrency?: number | null | undefined } | null)
  readonly concurrency: number
  /**
   * Returns all results, in the order of the inputs. Every input is processed, even if jobs fail.
   *
   * Progress counts the inputs if they have a `length` or `size`; otherwise it only reports the end.
   *
   * @throws {BatchError} if jobs failed; the signal's reason if it was cancelled
   */
  process<I, O>(
    inputs: Iterable<I> | AsyncIterable<I>,
    job: (input: I, options: JobOptions) => Promise<O>,
    options?: AsyncOptions | null
  ): Promise<O[]>
  /**
   * Yields the results one by one, in the order of the inputs, at the rate at which they are consumed. A failed job
   * rejects only its own `next()`; further calls of `next()` return the following results. Leaving a loop early cancels
   * the running jobs.
   */
  stream<I, O>(
    inputs: Iterable<I> | AsyncIterable<I>,
    job: (input: I, options: JobOptions) => Promise<O>,
    options?: AsyncOptions | null
  ): AsyncIterableIterator<O>
}

/** The options that a batch gives each job, to pass on to an asynchronous call. */
export interface JobOptions {
  signal: AbortSignal
  onProgress: (fraction: number) => void
}

/**
 * Thrown by a batch if jobs failed: `errors` has the exceptions of the jobs, and of the inputs if reading them failed.
 *
 * @example
 * ```js
 * import { BatchError, BatchProcessor } from '@ruvector/attention'
 * const processor = new BatchProcessor()
 * try {
 *   await processor.process([1, 2], async (input) => {
 *     if (input === 2) throw new Error('not this one')
 *     return input
 *   })
 * } catch (error) {
 *   console.log(error instanceof BatchError && error.errors.length) // 1
 * }
 * ```
 */
export declare class BatchError extends AggregateError {
  constructor(results: PromiseSettledResult<any>[])
  /** The outcome of each input, in order, including finished results. If reading the inputs failed, this comes last. */
  readonly results: PromiseSettledResult<any>[]
}

// ── Errors ───────────────────────────────────────────────────────────────────────────────────────────────────────────

/**
 * - `SHAPE`: dimensions or lengths that do not match.
 * - `DTYPE`: an array of the wrong type, or not a tensor at all.
 * - `OPTION`: an unknown option, or an invalid value.
 * - `DOMAIN`: a value outside the domain of a function.
 * - `FORMAT`: a weights file that cannot be read.
 * - `MEMORY`: a failed allocation.
 * - `DISPOSED`: use of a layer, cache, graph, stream or space after its dispose().
 * - `NOT_INITIALIZED`: a call before init() where init() is required.
 * - `BACKEND`: no backend could be loaded; the message lists every reason.
 * - `INTERNAL`: a fault of this package.
 */
export type AttentionErrorCode =
  | 'SHAPE'
  | 'DTYPE'
  | 'OPTION'
  | 'DOMAIN'
  | 'FORMAT'
  | 'MEMORY'
  | 'DISPOSED'
  | 'NOT_INITIALIZED'
  | 'BACKEND'
  | 'INTERNAL'

/**
 * Thrown for every invalid input. The message says what to change; the fields give programs the same information.
 *
 * @example
 * ```js
 * import { AttentionError, createTensor } from '@ruvector/attention'
 * try {
 *   createTensor([1, 2], [3])
 * } catch (error) {
 *   console.log(error instanceof AttentionError && error.code) // SHAPE
 * }
 * ```
 */
export declare class AttentionError extends Error {
  constructor(
    code: AttentionErrorCode,
    details: { argument?: string; expected?: string; actual?: string; message?: string; cause?: unknown }
  )
  readonly code: AttentionErrorCode
  /** The argument or option at fault, by its name in the call. */
  readonly argument?: string
  /** The expected value. */
  readonly expected?: string
  /** The actual value. */
  readonly actual?: string
}

/** Everything above except init and loadBackend, bound to one backend. */
export type Attention = Omit<typeof import('./index.js'), 'init' | 'loadBackend'>
