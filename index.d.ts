/// <reference lib="esnext.disposable" />
/**
 * Exact attention on typed arrays. The same interface and the same results on every backend: native code or WebAssembly.
 *
 * Letters in shapes: `B` batch, `H` query heads, `G` key/value heads, `L` query length, `S` key length, `D` query and key
 * size of a head, `E` value size of a head, `M` model size.
 *
 * Every wrong input is an {@link AttentionError}, thrown before any work; the next call works. Inputs are never written
 * to and never kept; outputs are fresh memory, unless the caller passes `out`.
 *
 * @module @ruvector/attention
 */

// ── Tensors ──────────────────────────────────────────────────────────────────────────────────────────────────────────

export type TensorData = Float32Array | Uint8Array | Int32Array

/**
 * Numbers and their shape: row-major, contiguous; `data.length` is the product of `shape`, which has at most 8
 * dimensions, zero allowed. A plain object will do, and any view of a larger buffer.
 */
export interface Tensor<T extends TensorData = Float32Array> {
  readonly data: T
  readonly shape: readonly number[]
}

/**
 * A tensor over `data`: a Float32Array is taken as it is, without a copy; other lists of numbers are copied.
 *
 * @throws {AttentionError} SHAPE if the length is not the product of `shape`; DTYPE if an entry is not a number; MEMORY
 */
export function createTensor(data: Float32Array | ArrayLike<number>, shape: readonly number[]): Tensor

/**
 * The same numbers under another shape; shares `data` with `tensor`.
 *
 * @throws {AttentionError} SHAPE if the shapes hold different numbers of elements; DTYPE for what is no tensor.
 */
export function reshape<T extends TensorData = Float32Array>(tensor: Tensor<T>, shape: readonly number[]): Tensor<T>

// ── Backend ──────────────────────────────────────────────────────────────────────────────────────────────────────────

export type BackendKind = 'native' | 'wasm'

/** What WebAssembly can be loaded from; runtimes without one of these classes leave it out. */
export type WasmSource =
  | string
  | ArrayBuffer
  | ArrayBufferView
  | (typeof globalThis extends { URL: { prototype: infer Url } } ? Url : never)
  | (typeof globalThis extends { Response: { prototype: infer Response } } ? Response : never)
  | (typeof globalThis extends { WebAssembly: { Module: { prototype: infer Module } } } ? Module : never)

export interface InitOptions {
  /**
   * Where the WebAssembly module comes from: a URL (in Node also a path), a Response, the bytes or the compiled module.
   * Default: the one shipped with the package. Where native code runs, or once a backend runs, it is not read.
   */
  wasm?: WasmSource
  /**
   * From 1 to 1024; default: what the machine offers. The most threads that one call may use natively, and the most workers
   * that asynchronous calls may run on in WebAssembly, whose other calls use the calling thread.
   */
  threads?: number
  /**
   * Takes a line for each candidate that was rejected, for the backend that was chosen, and from then on for each operation that
   * ends, with the shapes of its tensors and its time: `ruvector-attention: softmax [2,8]: 0.012 ms`. A call that runs elsewhere
   * is timed from its beginning, waiting included; one that fails has the code of its error. What this function throws, the call
   * throws. Default: no log, at no cost; in Node, Deno and Bun the environment variable `RUVECTOR_ATTENTION_DEBUG=1` writes these
   * lines to standard error.
   */
  log?: (line: string) => void
}

/**
 * Gets the backend ready. Browsers: await it once before the first call. Node, Deno, Bun and Cloudflare's runtime: not
 * needed. Concurrent calls share one promise, later ones find it fulfilled and may still change `threads` and `log`; after a
 * failure the next call tries again.
 *
 * @throws {AttentionError} OPTION for options it does not know; BACKEND if nothing can be loaded, with every reason.
 */
export function init(options?: InitOptions): Promise<void>

/**
 * What runs, and why not the better one: `simd` is the instruction set in use, `rejected` lists every candidate that
 * failed, with its error. `threads` is how many there may be; in WebAssembly, of workers for asynchronous calls, and 1 where
 * the runtime starts none: then those calls run on the calling thread, and `rejected` says why.
 *
 * @throws {AttentionError} NOT_INITIALIZED, BACKEND
 */
export function backend(): {
  kind: BackendKind
  simd: string
  threads: number
  version: string
  rejected: { candidate: string; error: Error }[]
}

/**
 * The whole API bound to one backend, for comparing them in one process; `threads` and `log` hold for that API alone.
 *
 * @throws {AttentionError} BACKEND if it can't be had; OPTION
 */
export function loadBackend(kind: BackendKind, options?: InitOptions): Promise<Attention>

/**
 * Bytes of the memory in which the backend keeps layers and works, apart from JavaScript's own: `allocated` now, `total`
 * taken from the system (WebAssembly's memory, which grows and never shrinks; natively what is allocated), and `peak`, the
 * most that was ever allocated.
 *
 * @throws {AttentionError} NOT_INITIALIZED, BACKEND
 */
export function memoryUsage(): { allocated: number; total: number; peak: number }

/** The version of this package. */
export const version: string

// ── Functions ────────────────────────────────────────────────────────────────────────────────────────────────────────

/** Which keys a query sees; everything given here has to hold. An option that is `undefined` or `null` is absent. */
export interface MaskOptions {
  /**
   * Uint8Array: boolean, non-zero attends. Float32Array: added to the scores; −∞ hides a key, a huge negative number
   * does not. Rank 1 to 4, broadcast to `[B,H,L,S]` from the right; any dimension may be 1. Beside 3-D inputs of a function,
   * or of hyperbolic attention with one head, a mask of rank 3 is `[B,L,S]`; layers have heads, and there it is `[H,L,S]`.
   */
  mask?: Tensor<Uint8Array> | Tensor<Float32Array> | null
  /** Query `i` sees the keys `j ≤ i + queryOffset`. Default: false. */
  causal?: boolean | null
  /** The key position of query 0, one for all or one a batch entry; may be negative. Default: 0. */
  queryOffset?: number | Int32Array | null
  /** Query `i` sees `i + queryOffset − left ≤ j ≤ i + queryOffset + right`; −1 leaves a side open. Default: all keys. */
  window?: readonly [left: number, right: number] | null
  /** Valid keys of each batch entry, `[B]`, each from 0 to `S`. Default: all. */
  kvLengths?: Int32Array | null
}

export interface AttentionOptions extends MaskOptions {
  /** The order of dimensions of 4-D inputs and the output: heads before length, or length before heads. Default: 'bhld'. */
  layout?: 'bhld' | 'blhd' | null
  /** The factor of `q · k`, finite. Default: 1/√D. */
  scale?: number | null
  /** Scores become `softcap · tanh(score / softcap)` before masks; 0 leaves them. Default: 0. */
  softcap?: number | null
  /** The probability, in [0, 1), with which a weight is dropped; the others grow by 1/(1 − dropout). Default: 0. */
  dropout?: number | null
  /** An integer from 0 to 2^53 − 1. Which weights drop depends on it and the weight's place alone. Default: 0. */
  seed?: number | null
  /** Return the weights `[B,H,L,S]`, after dropout. Default: false. */
  weights?: boolean | null
  /** Return the so many largest weights of each row, from 1 to `S`, without holding all. Default: none. */
  topWeights?: number | null
  /** Return the logarithm of each row's sum of exponentials, `[B,H,L]`. Default: false. */
  logSumExp?: boolean | null
  /** Memory for the output, of exactly its length and apart from every input. Default: fresh memory. */
  out?: Float32Array | null
}

export interface AttentionOutput {
  /** The shape of the queries with the value size last. */
  output: Tensor
  /** `[B,H,L,S]`, or `[B,L,S]` where a layer was asked for the mean over heads. `H` is 1 for 3-D inputs. */
  weights?: Tensor
  /** `[B,H,L,k]`, descending; of equal weights the lower key comes first. */
  topWeights?: { values: Tensor; indices: Tensor<Int32Array> }
  /** `[B,H,L]`, natural logarithm over the scaled scores; −∞ for a row without a visible key. */
  logSumExp?: Tensor
}

/**
 * The options of a call that runs off the calling thread: on Node's threads natively, on workers in WebAssembly. Inputs are
 * copied when the call is made: what is changed afterwards changes nothing. Results are those of the same call without
 * `Async`, to the last bit; whatever goes wrong rejects the promise. Calls begin in the order in which they are made, as many
 * at once as there are threads; a large one that is alone uses all of them.
 *
 * `out` is written when the promise is fulfilled. Where a runtime starts no workers, see {@link backend}, the call runs on the
 * calling thread.
 */
export interface AsyncOptions {
  /** Cancels the call, waiting or running: it rejects at once with the signal's reason, and its thread is free soon after. */
  signal?: AbortSignal | null
  /** Hears how much is done, a number that grows to 1, a few times a call. What it throws rejects the call. */
  onProgress?: ((fraction: number) => void) | null
}

/**
 * Scaled dot-product attention, `softmax(scale · q kᵀ + mask) v`, as `torch.nn.functional.scaled_dot_product_attention`
 * and the ONNX operator `Attention` define it. Exact, in tiles: no memory of size `L×S` unless `weights` is asked for.
 *
 * `q [B,H,L,D]`, `k [B,G,S,D]`, `v [B,G,S,E]` give `output [B,H,L,E]`; query head `h` reads key/value head
 * `floor(h / (H/G))`. 3-D inputs `[B,L,D]` are one head. A row with no visible key is all zeros.
 *
 * @throws {AttentionError} SHAPE, DTYPE, OPTION, MEMORY
 */
export function scaledDotProductAttention(
  q: Tensor,
  k: Tensor,
  v: Tensor,
  options?: AttentionOptions | null
): AttentionOutput

/** As {@link scaledDotProductAttention}, off the calling thread: see {@link AsyncOptions}. */
export function scaledDotProductAttentionAsync(
  q: Tensor,
  k: Tensor,
  v: Tensor,
  options?: (AttentionOptions & AsyncOptions) | null
): Promise<AttentionOutput>

/**
 * The weights of {@link scaledDotProductAttention}, `[B,H,L,S]`, or what they were at an earlier stage, as the ONNX
 * operator's `qk_matmul_output` gives them: `'scores'` scaled products, `'softcapped'`, `'biased'` with the masks' −∞,
 * `'weights'` (default) after softmax and dropout. It has no other result: `weights`, `topWeights` and `logSumExp` are
 * refused.
 *
 * @throws {AttentionError} SHAPE, DTYPE, OPTION, MEMORY
 */
export function attentionWeights(
  q: Tensor,
  k: Tensor,
  options?: (AttentionOptions & { stage?: 'scores' | 'softcapped' | 'biased' | 'weights' | null }) | null
): Tensor

/**
 * Turns pairs of features by angles that grow with the position, as the ONNX operator `RotaryEmbedding` does: with
 * `θ = position · scale · base^(−2i/dim)`, pair `i` becomes `(x₁ cos θ − x₂ sin θ, x₁ sin θ + x₂ cos θ)`. What is at
 * feature `dim` and behind stays as it is. `x` is `[B,H,L,D]`, `[B,L,H,D]` in layout `'blhd'`, or `[B,L,D]`. Angles are
 * computed in 64 bits: positions in the millions are as exact as small ones.
 *
 * @throws {AttentionError} SHAPE, DTYPE, OPTION (positions below 0, positions times `scale` beyond 2^31), MEMORY
 */
export function rotaryEmbedding(
  x: Tensor,
  options?: {
    /** `L` positions that all batch entries share, or `B·L` of them, each at least 0. Default: 0, 1, and so on. */
    positions?: Int32Array | null
    /** At least 1, and less than 1e15. Default: 10000. */
    base?: number | null
    /** Pairs are neighbours, `x[2i]` and `x[2i+1]`; otherwise halves, `x[i]` and `x[i+dim/2]`. Default: false. */
    interleaved?: boolean | null
    /** How many features turn, an even number (ONNX's `rotary_embedding_dim`). Default: `D`. */
    dim?: number | null
    /** The factor of the positions, finite, at least 0: below 1 it interpolates between trained ones. Default: 1. */
    scale?: number | null
    /** The order of the dimensions of a 4-D input. Default: 'bhld'. */
    layout?: 'bhld' | 'blhd' | null
  } | null
): Tensor

/**
 * Joins attention over parts of the keys into attention over all of them, exactly: long keys split over calls, workers or
 * machines. Each part is a result with `logSumExp`, all of the same shapes; rows for which a part has no visible key add
 * nothing. Outputs and log-sum-exps are joined, `weights` and `topWeights` are not.
 *
 * `layout` is that of the outputs. Results of this package know theirs; of others, such as copies that came from a worker, it is read
 * from the shapes, where with as many heads as rows `'bhld'` is meant.
 *
 * @throws {AttentionError} SHAPE or DTYPE, naming `parts[i]`; OPTION, MEMORY
 */
export function mergeAttention(
  parts: readonly AttentionOutput[],
  options?: { layout?: 'bhld' | 'blhd' | null } | null
): AttentionOutput

/**
 * {@link scaledDotProductAttention} with its settings kept; a call's own options go before them. `dropout` acts in every
 * call. It owns no memory.
 *
 * @throws {AttentionError} OPTION
 */
export declare class ScaledDotProductAttention {
  constructor(
    headDim: number,
    options?: { dropout?: number | null; scale?: number | null; seed?: number | null } | null
  )
  /** The size of a head's queries and keys, which is checked at each call. */
  readonly headDim: number
  /** The factor of `q · k`; 1/√headDim unless given. */
  readonly scale: number
  /** @throws {AttentionError} SHAPE, DTYPE, OPTION, MEMORY */
  forward(q: Tensor, k: Tensor, v: Tensor, options?: AttentionOptions | null): AttentionOutput
  /** As `forward`, off the calling thread: see {@link AsyncOptions}. */
  forwardAsync(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    options?: (AttentionOptions & AsyncOptions) | null
  ): Promise<AttentionOutput>
  /** As {@link attentionWeights}. */
  attentionWeights(q: Tensor, k: Tensor, options?: Parameters<typeof attentionWeights>[2]): Tensor
}

/**
 * {@link scaledDotProductAttention} in tiles of `blockSize` keys with an online softmax (Dao et al. 2022): memory grows with
 * `L·D`. The result does not depend on `blockSize` but for rounding. Every option works, except that `weights`, which
 * would be as many as tiles save, are refused. It owns no memory.
 *
 * @throws {AttentionError} OPTION
 */
export declare class FlashAttention {
  constructor(
    headDim: number,
    options?: {
      /** Keys of one tile: an integer of at least 1, above 4096 as 4096; up to 8 rows go in steps of at most 16. Default: 64. */
      blockSize?: number | null
    } | null
  )
  /** The size of a head's queries and keys, which is checked at each call. */
  readonly headDim: number
  readonly blockSize: number
  /** @throws {AttentionError} SHAPE, DTYPE, OPTION, MEMORY */
  forward(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    options?: (Omit<AttentionOptions, 'weights'> & { blockSize?: number | null }) | null
  ): AttentionOutput
  /** As `forward`, off the calling thread: see {@link AsyncOptions}. */
  forwardAsync(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    options?: (Omit<AttentionOptions, 'weights'> & { blockSize?: number | null } & AsyncOptions) | null
  ): Promise<AttentionOutput>
}

/**
 * Softmax over the last dimension, as `torch.softmax(x, -1)`; a row of nothing but −∞ gives zeros.
 *
 * @throws {AttentionError} SHAPE, DTYPE, MEMORY
 */
export function softmax(x: Tensor): Tensor

/**
 * `x Wᵀ + b`, as `torch.nn.functional.linear`: `x [..., in]`, `weight [out, in]`, `bias [out]` give `[..., out]`.
 *
 * @throws {AttentionError} SHAPE, DTYPE, MEMORY
 */
export function linear(x: Tensor, weight: Tensor, bias?: Tensor | null): Tensor

// ── Norms, activations, means ────────────────────────────────────────────────────────────────────────────────────────

/**
 * Layer norm over the last dimension, `(x − mean) / √(variance + epsilon) · weight + bias`, as
 * `torch.nn.functional.layer_norm`: `x [..., M]`, `weight [M]` and `bias [M]` give `[..., M]`.
 *
 * @param options `weight` default: ones; `bias` default: zeros; `epsilon`, finite, at least 0, default: 1e-5
 * @throws {AttentionError} SHAPE, DTYPE, OPTION, MEMORY
 */
export function layerNorm(
  x: Tensor,
  options?: { weight?: Tensor | null; bias?: Tensor | null; epsilon?: number | null } | null
): Tensor

/**
 * Root-mean-square norm over the last dimension, `x / √(mean(x²) + epsilon) · weight`, as
 * `torch.nn.functional.rms_norm`: `x [..., M]` and `weight [M]` give `[..., M]`.
 *
 * @param options `weight` default: ones; `epsilon`, finite, at least 0, default: 2⁻²³, PyTorch's for 32 bits
 * @throws {AttentionError} SHAPE, DTYPE, OPTION, MEMORY
 */
export function rmsNorm(x: Tensor, options?: { weight?: Tensor | null; epsilon?: number | null } | null): Tensor

/**
 * `x · Φ(x)` of each number, Φ the normal distribution's, as `torch.nn.functional.gelu`: to a few units in the last
 * place, for negative x too. `approximate: 'tanh'` is the formula with the hyperbolic tangent.
 *
 * @throws {AttentionError} SHAPE, DTYPE, OPTION, MEMORY
 */
export function gelu(x: Tensor, options?: { approximate?: 'none' | 'tanh' | null } | null): Tensor

/**
 * `x / (1 + e⁻ˣ)` of each number, as `torch.nn.functional.silu`.
 *
 * @throws {AttentionError} SHAPE, DTYPE, MEMORY
 */
export function silu(x: Tensor): Tensor

/**
 * The mean over the first `lengths[b]` rows of each batch entry: `x [B,L,M]` gives `[B,M]`. With `normalize` each mean
 * gets the Euclidean length 1, as sentence embeddings do. No rows give zeros; rows beyond a length are never read.
 *
 * @param options `lengths`, `[B]`, each from 0 to `L`, default: all rows; `normalize` default: false
 * @throws {AttentionError} SHAPE, DTYPE, OPTION, MEMORY
 */
export function meanPool(
  x: Tensor,
  options?: { lengths?: Int32Array | null; normalize?: boolean | null } | null
): Tensor

// ── Masks, statistics, times ─────────────────────────────────────────────────────────────────────────────────────────

/**
 * What `causal: true` means as a float mask `[length, keyLength]`: 0 where key `j ≤ i`, −∞ elsewhere. `keyLength` is
 * `length` unless given.
 *
 * @throws {AttentionError} SHAPE for what is no length; MEMORY
 */
export function createCausalMask(length: number, keyLength?: number): Tensor

/**
 * What `kvLengths` means as a boolean mask `[B, 1, 1, maxLength]`: 1 for the first `lengths[b]` keys.
 *
 * @throws {AttentionError} OPTION for a length beyond `maxLength`, with its place; SHAPE, DTYPE
 */
export function createPaddingMask(lengths: ArrayLike<number>, maxLength: number): Tensor<Uint8Array>

/**
 * Mean, standard deviation (of the population: over `n`, not `n − 1`), smallest and largest value, summed in doubles. A NaN
 * makes all four NaN; of nothing, mean and deviation are NaN.
 *
 * @throws {AttentionError} SHAPE, DTYPE
 */
export function computeStats(tensor: Tensor | Float32Array): { mean: number; std: number; min: number; max: number }

/**
 * All values together brought to mean 0 and variance 1: `(x − mean) / √(variance + epsilon)`. Default `epsilon`: 1e-5.
 *
 * @throws {AttentionError} SHAPE, DTYPE, OPTION, MEMORY
 */
export function normalize(tensor: Tensor, options?: { epsilon?: number | null } | null): Tensor

/** Times between marks, in milliseconds, by the clock of `performance.now()`. */
export declare class PerformanceMonitor {
  /**
   * Notes the present time under a label; an earlier mark of the same label is forgotten.
   *
   * @throws {AttentionError} OPTION for a label that is no string.
   */
  mark(label: string): void
  /**
   * From the mark `start` to the mark `end`, or to now.
   *
   * @throws {AttentionError} OPTION for a label that was not marked.
   */
  measure(start: string, end?: string): number
  /** Forgets every mark. */
  clear(): void
}

// ── Key/value cache ──────────────────────────────────────────────────────────────────────────────────────────────────

export interface KVCacheConfig {
  /** Batch entries `B`. Default: 1. */
  batch?: number | null
  /** Key/value heads `G`. */
  kvHeads: number
  /** Size of a head's keys and queries. */
  headDim: number
  /** Size of a head's values. Default: `headDim`. */
  valueDim?: number | null
  /** The most keys that it holds; with `window`, the most keys of one block that is appended. */
  capacity: number
  /**
   * How many keys a query sees, its own position included, from 1 to `capacity`. The cache is then a ring: it never fills,
   * and forgets the keys that no later query sees. Default: all keys.
   */
  window?: number | null
}

/**
 * Keys and values that stay in the backend's memory while a decoder runs. Appending block by block and attending gives, row
 * for row, what one {@link scaledDotProductAttention} over the whole sequence gives with `causal: true`, and with
 * `window: [window − 1, 0]` for a ring. Positions are the caller's: turn queries and keys by {@link rotaryEmbedding} at
 * positions from `length` on, before they are appended.
 *
 * Owns memory outside the JavaScript heap: `using`, or dispose(); a finalizer is the backstop. Use after dispose throws
 * DISPOSED.
 *
 * @throws {AttentionError} OPTION for a configuration that doesn't fit; MEMORY
 */
export declare class KVCache implements Disposable {
  constructor(config: KVCacheConfig)
  /** The configuration with every default filled in; `window` is there where it was given. */
  readonly config: Readonly<{ [Name in Exclude<keyof KVCacheConfig, 'window'>]-?: number } & { window?: number }>
  /** Positions so far: keys appended, less those truncated. A ring counts on beyond `capacity`. */
  readonly length: number
  readonly capacity: number
  /**
   * Appends `k [B,G,n,headDim]` and `v [B,G,n,valueDim]`; for one head also `[B,n,headDim]` and `[B,n,valueDim]`.
   *
   * @throws {AttentionError} SHAPE, where the cache has no room for `n` more too; nothing changes then. DTYPE, DISPOSED
   */
  append(k: Tensor, v: Tensor): this
  /**
   * Attention of the last `L` positions, `q [B,H,L,headDim]` with `H` a multiple of `G`, over the keys so far; causal unless
   * `causal: false`. `S` is `length`, for a ring `min(length, L + window − 1)`: its last keys. A ring attends from the
   * positions of the block appended last; earlier ones have lost keys that they see. With `causal: false` and no window there
   * may be more queries than keys, as nothing depends on where they stand: cross attention over what a cache holds.
   *
   * @throws {AttentionError} SHAPE, DTYPE, OPTION (`queryOffset` and `kvLengths` too, which the cache knows), MEMORY, DISPOSED
   */
  attend(q: Tensor, options?: Omit<AttentionOptions, 'queryOffset' | 'kvLengths'> | null): AttentionOutput
  /**
   * Goes back to the first `length` positions. A ring that has forgotten keys goes back to where its last block begins at
   * most, or to 0.
   *
   * @throws {AttentionError} OPTION, DISPOSED
   */
  truncate(length: number): this
  /** Frees the memory now. Calling it again does nothing. */
  dispose(): void
  [Symbol.dispose](): void
}

// ── Layers ───────────────────────────────────────────────────────────────────────────────────────────────────────────

/** Parameters by name. */
export type StateDict = Record<string, Tensor>

/**
 * Owns memory outside the JavaScript heap: `using`, or dispose(); a finalizer is the backstop. Use after dispose throws
 * DISPOSED.
 */
export declare abstract class Layer implements Disposable {
  /** How many numbers the parameters hold. */
  readonly numParameters: number
  /** A copy of the parameters under PyTorch's names, in PyTorch's order. */
  stateDict(): StateDict
  /**
   * Takes the parameters from `state`, by the names of PyTorch, BERT, Llama or Whisper. With `prefix`, such as
   * `'encoder.layer.0.attention'`, only the entries under it count, less the prefix and its dot.
   *
   * @throws {AttentionError} SHAPE, DTYPE or FORMAT for missing, extra or wrongly shaped entries; nothing changes then. OPTION, MEMORY,
   * DISPOSED
   */
  loadStateDict(state: StateDict, options?: { prefix?: string | null } | null): this
  /** Turns dropout on, or with `false` off, where it is at first. */
  train(mode?: boolean): this
  /** Frees the parameters now. Calling it again does nothing. */
  dispose(): void
  [Symbol.dispose](): void
}

export interface AttentionConfig {
  /** Query heads `H`. */
  numHeads: number
  /** Size of a head's queries, keys and values. */
  headDim: number
  /** Size of the query input and of the output. Default: `numHeads · headDim`. */
  modelDim?: number | null
  /** Key/value heads `G`, a divisor of `numHeads`. Default: `numHeads`. */
  kvHeads?: number | null
  /** Size of the key input. Default: `modelDim`. */
  kDim?: number | null
  /** Size of the value input. Default: `modelDim`; for cross attention `kDim`. */
  vDim?: number | null
  /** Whether the four projections have biases. Default: true. */
  useBias?: boolean | null
  /** The probability, in [0, 1), with which a weight is dropped in training. Default: 0. */
  dropout?: number | null
  /** What the parameters are drawn from, as PyTorch draws them after `torch.manual_seed(seed)`. Default: 0. */
  seed?: number | null
  /**
   * Turns the projected queries and keys as {@link rotaryEmbedding} does: query `i` at position `i + queryOffset`, key `j`
   * at position `j`. Default: no positions.
   */
  rotary?: { base?: number | null; interleaved?: boolean | null; dim?: number | null } | null
}

export interface LayerOptions extends MaskOptions {
  /** Return the weights of each head, `[B,H,L,S]`. Default: false. */
  weights?: boolean | null
  /** Return the mean of the weights over the heads, `[B,L,S]`. Default: false. */
  averageWeights?: boolean | null
  /** The factor of the scores, finite. Default: 1/√headDim. */
  scale?: number | null
  /** Scores become `softcap · tanh(score / softcap)` before masks; 0 leaves them. Default: 0. */
  softcap?: number | null
  /** What training drops. Default: the layer's seed. */
  seed?: number | null
  /** Memory for the output, of exactly its length and apart from every input. Default: fresh memory. */
  out?: Float32Array | null
}

/**
 * Multi-head attention, as `torch.nn.MultiheadAttention(batch_first=True)`: projections, attention in heads, output
 * projection. Beyond it: fewer key/value heads than query heads, and heads that do not add up to the model size.
 *
 * @throws {AttentionError} OPTION for a configuration that doesn't fit; MEMORY
 */
export declare class MultiHeadAttention extends Layer {
  constructor(config: AttentionConfig)
  /** The configuration with every default filled in. */
  readonly config: Readonly<
    { [Name in Exclude<keyof AttentionConfig, 'rotary'>]-?: NonNullable<AttentionConfig[Name]> } & {
      rotary?: Readonly<{ base: number; interleaved: boolean; dim: number }>
    }
  >
  /**
   * `q [B,L,modelDim]`, `k [B,S,kDim]`, `v [B,S,vDim]` give `output [B,L,modelDim]`. Without `k` it is `q`, without `v`
   * it is `k`.
   *
   * @throws {AttentionError} SHAPE, DTYPE, OPTION, MEMORY, DISPOSED
   */
  forward(q: Tensor, k?: Tensor | null, v?: Tensor | null, options?: LayerOptions | null): AttentionOutput
  /** As `forward`, off the calling thread: see {@link AsyncOptions}. */
  forwardAsync(
    q: Tensor,
    k?: Tensor | null,
    v?: Tensor | null,
    options?: (LayerOptions & AsyncOptions) | null
  ): Promise<AttentionOutput>
}

/** {@link MultiHeadAttention} of one input with itself. */
export declare class SelfAttention extends Layer {
  constructor(config: AttentionConfig)
  /** The configuration with every default filled in. */
  readonly config: MultiHeadAttention['config']
  /**
   * `x [B,L,modelDim]` gives `output [B,L,modelDim]`.
   *
   * @throws {AttentionError} SHAPE, DTYPE, OPTION, MEMORY, DISPOSED
   */
  forward(x: Tensor, options?: LayerOptions | null): AttentionOutput
  /** As `forward`, off the calling thread: see {@link AsyncOptions}. */
  forwardAsync(x: Tensor, options?: (LayerOptions & AsyncOptions) | null): Promise<AttentionOutput>
}

/** {@link MultiHeadAttention} of a query input with a context, whose sizes may differ. */
export declare class CrossAttention extends Layer {
  constructor(config: AttentionConfig)
  /** The configuration with every default filled in. */
  readonly config: MultiHeadAttention['config']
  /**
   * `query [B,L,modelDim]` and `context [B,S,kDim]` give `output [B,L,modelDim]`.
   *
   * @throws {AttentionError} SHAPE, DTYPE, OPTION, MEMORY, DISPOSED
   */
  forward(query: Tensor, context: Tensor, options?: LayerOptions | null): AttentionOutput
  /** As `forward`, off the calling thread: see {@link AsyncOptions}. */
  forwardAsync(query: Tensor, context: Tensor, options?: (LayerOptions & AsyncOptions) | null): Promise<AttentionOutput>
}

// ── Encoder layers ───────────────────────────────────────────────────────────────────────────────────────────────────

export interface EncoderConfig {
  /** Size of input and output. */
  modelDim: number
  /** Attention heads, a divisor of `modelDim`. */
  numHeads: number
  /** Size between the two projections of the feed-forward network. Default: 2048. */
  feedForwardDim?: number | null
  /** What lies between them; GELU is the exact one. Default: 'relu'. */
  activation?: 'relu' | 'gelu' | null
  /** Whether attention and feed-forward normalise their input, rather than the sum of input and output. Default: false. */
  normFirst?: boolean | null
  /** What the norms add to the variance, in [0, 1). Default: 1e-5; BERT has 1e-12. */
  epsilon?: number | null
  /** The probability, in [0, 1), with which a value is dropped in training. Default: 0.1. */
  dropout?: number | null
  /** What the parameters are drawn from, as PyTorch draws them after `torch.manual_seed(seed)`. Default: 0. */
  seed?: number | null
}

/**
 * A layer of a transformer's encoder, as `torch.nn.TransformerEncoderLayer(batch_first=True)`, its defaults included:
 * self attention and a feed-forward network, each added to its input, and two layer norms. loadStateDict takes PyTorch's
 * names and those of a BERT layer, such as a checkpoint has under `'encoder.layer.0'`.
 *
 * In training `dropout` acts on the attention's weights, on its output, on the activation and on the feed-forward
 * network's output: what drops depends on the seed and the value's place alone.
 *
 * @throws {AttentionError} OPTION for a configuration that doesn't fit; MEMORY
 */
export declare class TransformerEncoderLayer extends Layer {
  constructor(config: EncoderConfig)
  /** The configuration with every default filled in. */
  readonly config: Readonly<{ [Name in keyof EncoderConfig]-?: NonNullable<EncoderConfig[Name]> }>
  /**
   * `x [B,L,modelDim]` gives `output [B,L,modelDim]`; `weights` are those of its attention.
   *
   * @throws {AttentionError} SHAPE, DTYPE, OPTION, MEMORY, DISPOSED
   */
  forward(x: Tensor, options?: LayerOptions | null): AttentionOutput
  /** As `forward`, off the calling thread: see {@link AsyncOptions}. */
  forwardAsync(x: Tensor, options?: (LayerOptions & AsyncOptions) | null): Promise<AttentionOutput>
}

// ── Linear attention ─────────────────────────────────────────────────────────────────────────────────────────────────

export interface LinearConfig {
  /** Size of 3-D inputs, all heads together; a head's size is `D = modelDim / numHeads`. */
  modelDim: number
  /** Heads `H` that 3-D inputs are split into, a divisor of `modelDim`. Default: 1. */
  numHeads?: number | null
  /**
   * Makes queries and keys into positive features φ(x), whose products are the weights.
   *
   * - `'elu'`: `elu(x) + 1` (Katharopoulos et al. 2020).
   * - `'relu'`: `max(x, 0) + 1e-3`.
   * - `'favor+'`: `exp(ωᵀx̂ − ‖x̂‖²/2 − c)/√m` with `x̂ = x/D^¼` and `m` random features (Choromanski et al. 2021). It estimates
   *   softmax attention without bias, with an error that falls as `1/√m` and grows with the size of queries and keys. The
   *   rows of ω are orthogonal in blocks of `D`, with χ(D)-distributed norms; c keeps exponentials in range and cancels.
   *
   * Default: 'elu'.
   */
  featureMap?: 'elu' | 'relu' | 'favor+' | null
  /**
   * Features of a head. For 'elu' and 'relu' it is `D` and can be nothing else. Default for 'favor+': `D · ⌈ln D⌉`, the whole
   * blocks that hold `D · ln D`.
   */
  featureDim?: number | null
  /** What ω is drawn from, an integer from 0 to 2^53 − 1; the same on every backend. Default: 0. */
  seed?: number | null
}

export interface LinearOptions {
  /** Query `i` sees the keys `j ≤ i`. Default: false. */
  causal?: boolean | null
  /** Valid keys of each batch entry, `[B]`, each from 0 to `S`. Default: all. */
  kvLengths?: Int32Array | null
  /** Memory for the output, of exactly its length and apart from every input. Default: fresh memory. */
  out?: Float32Array | null
}

/**
 * Linear attention, `out_i = φ(q_i)ᵀ (Σ_j φ(k_j) v_jᵀ) / (φ(q_i)ᵀ Σ_j φ(k_j))`: time and memory grow with the length, not with
 * its square. Has no parameters, but with 'favor+' ω, in memory outside the JavaScript heap: `using`, or dispose(); a finalizer
 * is the backstop.
 *
 * @throws {AttentionError} OPTION for a configuration that doesn't fit; MEMORY
 */
export declare class LinearAttention implements Disposable {
  constructor(config: LinearConfig)
  /** The configuration with every default filled in. */
  readonly config: Readonly<{ [Name in keyof LinearConfig]-?: NonNullable<LinearConfig[Name]> }>
  /** Features of a head. */
  readonly featureDim: number
  /**
   * `q [B,L,modelDim]`, `k [B,S,modelDim]`, `v [B,S,numHeads·E]` give `output [B,L,numHeads·E]`; 4-D inputs, `q [B,H,L,D]`,
   * `k [B,H,S,D]`, `v [B,H,S,E]` with any `H`, give `[B,H,L,E]`. A row with no visible key is all zeros.
   *
   * @throws {AttentionError} SHAPE, DTYPE, OPTION, MEMORY, DISPOSED
   */
  forward(q: Tensor, k: Tensor, v: Tensor, options?: LinearOptions | null): AttentionOutput
  /** As `forward`, off the calling thread: see {@link AsyncOptions}. */
  forwardAsync(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    options?: (LinearOptions & AsyncOptions) | null
  ): Promise<AttentionOutput>
  /**
   * φ(x): `[B,L,modelDim]` gives `[B,L,numHeads·featureDim]`, `[B,H,L,D]` gives `[B,H,L,featureDim]`. For 'favor+' as queries
   * have it: c is the largest exponent of each row, so that its largest feature is `1/√m`.
   *
   * @throws {AttentionError} SHAPE, DTYPE, MEMORY, DISPOSED
   */
  featureMap(x: Tensor): Tensor
  /**
   * Causal attention a few positions at a time, in memory that does not grow. `batch` is 1 and `valueDim`, the value size `E` of
   * a head, `D` unless given. A stream works as long as its attention is not disposed.
   *
   * @throws {AttentionError} OPTION, DISPOSED
   */
  stream(options?: { batch?: number | null; valueDim?: number | null } | null): LinearStream
  /** Frees ω now. Calling it again does nothing. */
  dispose(): void
  [Symbol.dispose](): void
}

/** What {@link LinearAttention.stream} gives. Owns memory outside the JavaScript heap: `using`, or dispose(). */
export interface LinearStream extends Disposable {
  /**
   * Takes the next positions in, one or more, and gives their rows: what `forward` with `causal` gives for them over all
   * positions so far. Shapes as there, with as many keys as queries; 4-D inputs have the same heads in every step.
   *
   * @throws {AttentionError} SHAPE, DTYPE, MEMORY, DISPOSED; a step that fails changes nothing.
   */
  step(q: Tensor, k: Tensor, v: Tensor): AttentionOutput
  /**
   * Forgets every position.
   *
   * @throws {AttentionError} DISPOSED
   */
  reset(): void
  /** Frees the memory now. Calling it again does nothing. */
  dispose(): void
}

// ── Hyperbolic attention ─────────────────────────────────────────────────────────────────────────────────────────────

export interface HyperbolicConfig {
  /** The space's curvature, a number below 0, from −1e30 to −1e-30; `c` stands for `−curvature`. */
  curvature: number
  /** Heads `H` that 3-D inputs are split into, each in a space of its own. Default: 1. */
  numHeads?: number | null
  /**
   * The coordinates of points. `'poincare'`: the ball of radius `1/√c`, `D` coordinates. `'lorentz'`, or `'hyperboloid'`:
   * `−x₀² + x₁² + … = −1/c` with `x₀ > 0`, `D + 1` coordinates. Both are the same space. Default: 'poincare'.
   */
  manifold?: 'poincare' | 'lorentz' | 'hyperboloid' | null
  /** What distances are divided by before softmax, above 0. Default: 1. */
  temperature?: number | null
  /**
   * What `forward` takes and gives: `'manifold'` points; `'tangent'` vectors of size `D`, any at all, taken as tangent vectors
   * at the origin in both models (exp₀ on the way in, log₀ out). Default: 'manifold'.
   */
  inputs?: 'manifold' | 'tangent' | null
}

export interface HyperbolicOptions extends MaskOptions {
  /** Return the weights `[B,H,L,S]`. Default: false. */
  weights?: boolean | null
  /** Memory for the output, of exactly its length and apart from every input. Default: fresh memory. */
  out?: Float32Array | null
}

/**
 * Attention in hyperbolic space, and the geometry of that space as geoopt has it, computed in doubles.
 *
 * Points and tangent vectors have the coordinates of the model in `manifold`, for every function, those that are named after
 * the ball included; only `toLorentz` takes points of the ball and `toPoincare` points of the hyperboloid, whatever the model.
 * Tangent vectors at the origin (`expMap0`, `logMap0`, `inputs: 'tangent'`) have size `D` in both: the first coordinate that
 * the hyperboloid would add is always 0, and is left out.
 *
 * A point that lies off the manifold by more than 1e-3, of the ball's radius or of `x₀`, is a DOMAIN error that names its row.
 * In the ball, points at or just beyond the boundary are taken as `projectToBall` gives them, and so are results beyond
 * `1 − 1e-5` of the radius. On the hyperboloid `x₀` is taken from the other coordinates, as 32 bits hold these better.
 *
 * Functions of several tensors take the same leading dimensions of each, or one row for all. Lives in part outside the
 * JavaScript heap: `using`, or dispose(); a finalizer is the backstop.
 *
 * @throws {AttentionError} OPTION for a configuration that doesn't fit
 */
export declare class HyperbolicAttention implements Disposable {
  constructor(config: HyperbolicConfig)
  /** The configuration with every default filled in. */
  readonly config: Readonly<{ [Name in keyof HyperbolicConfig]-?: NonNullable<HyperbolicConfig[Name]> }>
  /** The curvature as it was given. */
  readonly curvature: number
  /**
   * Each query's midpoint of the values, under the weights `softmax_j(−distance(q_i, k_j) / temperature + mask)`: in the ball
   * the gyromidpoint, geoopt's `weighted_midpoint`; on the hyperboloid the Lorentzian centroid, which is the same point.
   *
   * `q [B,L,H·D]`, `k [B,S,H·D]`, `v [B,S,H·E]` give `output [B,L,H·E]`; 4-D inputs are `[B,H,L,D]` and so on. For points of the
   * hyperboloid, `D` and `E` count `x₀`. A row with no visible key has weights of 0 and the origin for output, which is zeros
   * but for `x₀ = 1/√c` on the hyperboloid, so that outputs are points that the next layer takes. Keys and values that no row
   * sees may be anything.
   *
   * @throws {AttentionError} SHAPE, DTYPE, OPTION, DOMAIN, MEMORY, DISPOSED
   */
  forward(q: Tensor, k: Tensor, v: Tensor, options?: HyperbolicOptions | null): AttentionOutput
  /** As `forward`, off the calling thread: see {@link AsyncOptions}. */
  forwardAsync(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    options?: (HyperbolicOptions & AsyncOptions) | null
  ): Promise<AttentionOutput>
  /**
   * The geodesic distance, row by row: `[…,D]`, `[…,D]` give `[…]`. Exact to 32 bits however near to the boundary or to each
   * other the points lie.
   *
   * @throws {AttentionError} SHAPE, DTYPE, DOMAIN, as all functions below
   */
  distance(a: Tensor, b: Tensor): Tensor
  /** The distance of each row of `a` from each of `b`: `[L,D]`, `[S,D]` give `[L,S]`. */
  distanceMatrix(a: Tensor, b: Tensor): Tensor
  /**
   * Makes points of whatever numbers come: in the ball, what lies beyond `1 − 1e-5` of the radius is drawn in; on the
   * hyperboloid, `x₀` is set to what the other coordinates ask for.
   */
  projectToBall(x: Tensor): Tensor
  /** The end of the geodesic that leaves `base` along `tangent`, whose length is the distance. */
  expMap(base: Tensor, tangent: Tensor): Tensor
  /** The tangent vector at `base` that `expMap` takes to `point`. */
  logMap(base: Tensor, point: Tensor): Tensor
  /** `expMap` at the origin: `[…,D]` gives points. In the ball a vector's length is half of the distance there. */
  expMap0(tangent: Tensor): Tensor
  /** `logMap` at the origin: points give `[…,D]`. */
  logMap0(point: Tensor): Tensor
  /** The gyrovector sum `a ⊕ b`: where the translation that takes the origin to `a` takes `b`. */
  mobiusAdd(a: Tensor, b: Tensor): Tensor
  /** The gyrovector multiple `factor ⊗ x`: the point at `factor` times the distance from the origin. */
  mobiusScale(factor: number, x: Tensor): Tensor
  /** Carries a tangent vector at `from` along the geodesic to `to`, without turning it. */
  parallelTransport(from: Tensor, to: Tensor, tangent: Tensor): Tensor
  /**
   * The midpoint of points `[S,D]` under each row of weights `[L,S]`, finite and of at least 0: `[L,D]`. Without weights all
   * count alike, and the result is `[1,D]`. Where nothing has weight, it is the origin.
   */
  midpoint(points: Tensor, weights?: Tensor | null): Tensor
  /** Points of the ball as points of the hyperboloid: `[…,D]` gives `[…,D+1]`. */
  toLorentz(x: Tensor): Tensor
  /** Points of the hyperboloid as points of the ball: `[…,D+1]` gives `[…,D]`. */
  toPoincare(x: Tensor): Tensor
  /** Frees what the backend holds. Calling it again does nothing. */
  dispose(): void
  [Symbol.dispose](): void
}

// ── Graphs ───────────────────────────────────────────────────────────────────────────────────────────────────────────

/**
 * Edges `source → target` between the nodes `0` to `numNodes − 1`, in the backend's memory: `using`, or dispose(); a
 * finalizer is the backstop. Messages flow from source to target, as in PyTorch Geometric. Duplicate edges and self-loops
 * stay as they are given. Letters in shapes: `N` nodes, `K` edges, `H` heads.
 */
export declare class Graph implements Disposable {
  private constructor()
  /**
   * The graph of the edges `source[k] → target[k]`, whose arrays are copied. Memory grows with the edges alone.
   *
   * @throws {AttentionError} OPTION for an edge that names no node, by its index (`source[3]`), and for `numNodes` out of
   * 0 to 2^31 − 1; SHAPE if the lengths differ; DTYPE, MEMORY
   */
  static fromEdges(edges: {
    numNodes: number
    source: Int32Array | ArrayLike<number>
    target: Int32Array | ArrayLike<number>
  }): Graph
  readonly numNodes: number
  readonly numEdges: number
  /**
   * The number of incoming edges of each node.
   *
   * @throws {AttentionError} MEMORY, DISPOSED
   */
  inDegrees(): Int32Array
  /**
   * The graph of the same edges, in the same order, with source and target exchanged.
   *
   * @throws {AttentionError} MEMORY, DISPOSED
   */
  reverse(): Graph
  /** Frees the edges now. Calling it again does nothing. */
  dispose(): void
  [Symbol.dispose](): void
}

/**
 * Adds up `edgeWeight · x[source]` over the incoming edges of each node, or takes mean, largest or smallest, feature by
 * feature: `x [N, ...]` gives `[N, ...]`. A node without incoming edges gets zeros; a NaN spoils the nodes that it reaches.
 *
 * @param options.reduce Default: 'sum'.
 * @param options.edgeWeight `[K]`, in the order of the edges given. Default: 1 each.
 * @throws {AttentionError} SHAPE, DTYPE, OPTION, MEMORY, DISPOSED
 */
export function propagate(
  graph: Graph,
  x: Tensor,
  options?: { reduce?: 'sum' | 'mean' | 'max' | 'min' | null; edgeWeight?: Float32Array | null } | null
): Tensor

/**
 * The softmax of scores `[K]` or `[K,H]` over the edges that share a target, in the order of the edges given, as
 * `torch_geometric.utils.softmax`. Where all of them are −∞, zeros.
 *
 * @throws {AttentionError} SHAPE, DTYPE, MEMORY, DISPOSED
 */
export function edgeSoftmax(graph: Graph, scores: Tensor): Tensor

export interface GraphOptions {
  /** The features of the edges, `[K,edgeFeatures]`; required where the layer has `edgeFeatures`, refused where not. */
  edgeAttr?: Tensor | null
  /** The weights of the edges, `[K]`; {@link GraphConvolution} alone takes them. Default: 1 each. */
  edgeWeight?: Float32Array | null
  /** Return the weights of the edges; attention layers alone have them. Default: false. */
  weights?: boolean | null
  /** What training drops. Default: the layer's seed. */
  seed?: number | null
}

export interface GraphOutput {
  /** `[N, width]`. */
  output: Tensor
  /**
   * `[K′,H]`: the weights of the edges given, in their order. Where the layer adds self-loops: without the self-loops among
   * them, and after them those of the self-loops of the nodes 0 to `N − 1`; this is the order of the edges that PyTorch
   * Geometric returns. Dropped weights are 0, but in {@link GraphTransformer}, which gives those before dropout.
   */
  weights?: Tensor
}

/**
 * A layer of PyTorch Geometric: its state dict has the same names, and its parameters are drawn as after
 * `torch.manual_seed(seed)`. Time is linear in the edges, and no memory is held for messages.
 */
export declare abstract class GraphLayer extends Layer {
  /** The configuration with every default filled in; `edgeFeatures` is null where edges have none. */
  readonly config: Readonly<Record<string, number | boolean | string | null>>
  /**
   * `x [N,inFeatures]` gives `output [N,outFeatures]`, or `[N,numHeads·outFeatures]` where heads stand side by side.
   *
   * @throws {AttentionError} SHAPE, DTYPE, OPTION, MEMORY, DISPOSED
   */
  forward(graph: Graph, x: Tensor, options?: GraphOptions | null): GraphOutput
  /** As `forward`, off the calling thread: see {@link AsyncOptions}. */
  forwardAsync(graph: Graph, x: Tensor, options?: (GraphOptions & AsyncOptions) | null): Promise<GraphOutput>
}

interface GraphConfig {
  /** Features of a node. */
  inFeatures: number
  /** Features of an output, or of each head of it. */
  outFeatures: number
  /** Whether there are biases. Default: true. */
  useBias?: boolean | null
  /** What the parameters are drawn from. Default: 0. */
  seed?: number | null
}

/** What attention layers over graphs share. */
interface GraphHeads extends GraphConfig {
  /** Default: 1. */
  numHeads?: number | null
  /** Whether heads stand side by side in the output; otherwise it is their mean. Default: true. */
  concat?: boolean | null
  /** Features of an edge. Default: none. */
  edgeFeatures?: number | null
  /** The probability, in [0, 1), with which a weight is dropped in training. Default: 0. */
  dropout?: number | null
}

/**
 * `GCNConv`: sums over the neighbours, divided by the roots of both ends' degrees (Kipf & Welling 2017). Takes `edgeWeight`.
 *
 * @throws {AttentionError} OPTION for a configuration that doesn't fit; MEMORY
 */
export declare class GraphConvolution extends GraphLayer {
  /** @param config.addSelfLoops Give a self-loop of weight 1 to each node that has none. Default: true. */
  constructor(config: GraphConfig & { addSelfLoops?: boolean | null })
}

/**
 * `SAGEConv`: the mean or the largest of the neighbours' features beside the node's own (Hamilton, Ying & Leskovec 2017).
 *
 * @throws {AttentionError} OPTION for a configuration that doesn't fit; MEMORY
 */
export declare class GraphSage extends GraphLayer {
  /**
   * @param config.reduce Default: 'mean'.
   * @param config.normalize Divide each output by its length. Default: false.
   */
  constructor(config: GraphConfig & { reduce?: 'mean' | 'max' | null; normalize?: boolean | null })
}

/**
 * `GATv2Conv` (Brody, Alon & Yahav 2022), or with `version: 1` `GATConv` (Veličković et al. 2018).
 *
 * @throws {AttentionError} OPTION for a configuration that doesn't fit; MEMORY
 */
export declare class GraphAttention extends GraphLayer {
  /**
   * @param config.version Default: 2.
   * @param config.negativeSlope Of the leaky rectifier below 0, from 0 to 1. Default: 0.2.
   * @param config.addSelfLoops Give one self-loop to each node in place of those among the edges; its features are the mean
   * of those of the node's other incoming edges. Default: true.
   */
  constructor(
    config: GraphHeads & { version?: 1 | 2 | null; negativeSlope?: number | null; addSelfLoops?: boolean | null }
  )
}

/**
 * `TransformerConv`: scaled dot-product attention over the neighbours, and a skip connection (Shi et al. 2021).
 *
 * @throws {AttentionError} OPTION for a configuration that doesn't fit; MEMORY
 */
export declare class GraphTransformer extends GraphLayer {
  /** @param config.beta Gate the skip connection. Default: false. */
  constructor(config: GraphHeads & { beta?: boolean | null })
}

// ── Weights ──────────────────────────────────────────────────────────────────────────────────────────────────────────

/**
 * The tensors of a safetensors file: F32 as they are, F16 and BF16 widened. With `prefix`, only the entries under it,
 * less the prefix and its dot.
 *
 * @throws {AttentionError} FORMAT for a file that is cut short, inconsistent or of another element type; DTYPE if
 * `bytes` are no bytes; OPTION, MEMORY
 */
export function loadSafetensors(bytes: Uint8Array | ArrayBuffer, options?: { prefix?: string | null } | null): StateDict

/**
 * The state dict as the bytes of a safetensors file, in F32.
 *
 * @throws {AttentionError} SHAPE or DTYPE for what is no tensor; FORMAT for a name that is no text; OPTION for metadata other than
 * strings; MEMORY
 */
export function saveSafetensors(state: StateDict, metadata?: Record<string, string> | null): Uint8Array

// ── Batches ──────────────────────────────────────────────────────────────────────────────────────────────────────────

/**
 * Runs a job for each of many inputs, a few at a time, and keeps their order. An input is taken only when its job can begin,
 * and no more than `concurrency` inputs ahead of whoever reads a stream: memory stays bounded however many there are.
 *
 * A job hands the options that it gets on to an asynchronous call, so that the batch's signal cancels it and its progress
 * counts.
 *
 * @throws {AttentionError} OPTION
 */
export declare class BatchProcessor {
  /** @param options.concurrency  the most jobs at once, at least 1; default: one more than there are threads */
  constructor(options?: { concurrency?: number | null } | null)
  readonly concurrency: number
  /**
   * All results, in the order of the inputs. Every input is tried, also where jobs fail.
   *
   * Progress counts the inputs where they have a `length` or `size`, and else tells the end alone.
   *
   * @throws {BatchError} if jobs failed; the signal's reason if it was cancelled
   */
  process<I, O>(
    inputs: Iterable<I> | AsyncIterable<I>,
    job: (input: I, options: JobOptions) => Promise<O>,
    options?: AsyncOptions | null
  ): Promise<O[]>
  /**
   * The results one by one, in the order of the inputs, at the pace at which they are read. A failed job rejects its own
   * `next()`; whoever calls `next()` again gets the following results. Leaving a loop early cancels the jobs under way.
   */
  stream<I, O>(
    inputs: Iterable<I> | AsyncIterable<I>,
    job: (input: I, options: JobOptions) => Promise<O>,
    options?: AsyncOptions | null
  ): AsyncIterableIterator<O>
}

/** What a job of a batch gets to hand on to an asynchronous call. */
export interface JobOptions {
  signal: AbortSignal
  onProgress: (fraction: number) => void
}

/** What a batch ends with when jobs failed: `errors` has what they threw, and what the inputs threw, if they did. */
export declare class BatchError extends AggregateError {
  constructor(results: PromiseSettledResult<any>[])
  /** What became of each input, in their order: what is done is not lost. Where the inputs threw, that stands at the end. */
  readonly results: PromiseSettledResult<any>[]
}

// ── Errors ───────────────────────────────────────────────────────────────────────────────────────────────────────────

/**
 * - `SHAPE`: dimensions or lengths that do not fit each other.
 * - `DTYPE`: an array of the wrong type, or no tensor at all.
 * - `OPTION`: an unknown option, or a value that it does not take.
 * - `DOMAIN`: a value outside the domain of a function.
 * - `FORMAT`: a weights file that cannot be read.
 * - `MEMORY`: an allocation that cannot be had.
 * - `DISPOSED`: use of a layer, cache, graph, stream or space after its dispose().
 * - `NOT_INITIALIZED`: a call before init() where it is needed.
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

/** What every wrong input throws: the message says what to change, the fields say it to programs. */
export declare class AttentionError extends Error {
  constructor(
    code: AttentionErrorCode,
    details: { argument?: string; expected?: string; actual?: string; message?: string; cause?: unknown }
  )
  readonly code: AttentionErrorCode
  /** The argument or option at fault, by its name in the call. */
  readonly argument?: string
  /** What it has to be. */
  readonly expected?: string
  /** What it was. */
  readonly actual?: string
}

/** Everything above but init and loadBackend, bound to one backend. */
export type Attention = Omit<typeof import('./index.js'), 'init' | 'loadBackend'>
