/**
 * What both generated modules (the napi-rs addon and the wasm-bindgen glue) offer, under the same names; lib/ calls nothing else.
 *
 * - `header` carries the thread limit and every shape: `[threads, rank, dim, …, rank, dim, …]` in the order of the tensor arguments,
 *   the mask's shape last where one is given.
 * - `options` is a JSON object of the scalar options as the caller wrote them, or nothing; unknown names are refused by the kernel crate.
 *   A number that JSON cannot hold is written as the string "NaN", "Infinity" or "-Infinity".
 * - Outputs are arrays that lib/ made; their lengths are checked, their contents overwritten.
 * - A wrong input throws an Error whose message is the JSON `{ code, argument, expected, actual }`.
 */
type Optional<T> = T | undefined | null

export interface Binding {
  version(): string
  /** The instruction set in use: 'avx512' | 'avx2' | 'sse2' | 'neon' | 'portable' | 'simd128' | 'relaxed-simd'. */
  simdLevel(): string
  /** Threads the machine (its cgroup) offers to one call. */
  defaultThreads(): number
  /** Panics with the message: the fault tests' way to provoke what must never happen. */
  provokePanic(message: string): void

  scaledDotProductAttention(
    header: Float64Array,
    q: Float32Array,
    k: Float32Array,
    v: Float32Array,
    output: Float32Array,
    options: Optional<string>,
    booleanMask: Optional<Uint8Array>,
    floatMask: Optional<Float32Array>,
    queryOffset: Optional<Int32Array>,
    kvLengths: Optional<Int32Array>,
    weights: Optional<Float32Array>,
    logSumExp: Optional<Float32Array>,
    topValues: Optional<Float32Array>,
    topIndices: Optional<Int32Array>
  ): void
  attentionWeights(
    header: Float64Array,
    q: Float32Array,
    k: Float32Array,
    output: Float32Array,
    options: Optional<string>,
    booleanMask: Optional<Uint8Array>,
    floatMask: Optional<Float32Array>,
    queryOffset: Optional<Int32Array>,
    kvLengths: Optional<Int32Array>
  ): void
  softmax(header: Float64Array, x: Float32Array, output: Float32Array): void
  linear(
    header: Float64Array,
    x: Float32Array,
    weight: Float32Array,
    bias: Optional<Float32Array>,
    output: Float32Array
  ): void

  MultiHeadAttention: new (config: string, kind: string) => MultiHeadAttentionHandle
  SafetensorsReader: new (bytes: Uint8Array) => SafetensorsReaderHandle
  /** `entries` is JSON `[{ "name", "shape" }]`, in the order of `data`; `metadata` a JSON object of strings. */
  saveSafetensors(entries: string, data: Float32Array[], metadata: string): Uint8Array
}

/** A layer's parameters, whatever the layer: JSON describes them, typed arrays carry them. */
export interface LayerHandle {
  /** The configuration with every default filled in, as JSON. */
  config(): string
  numParameters(): number
  /** JSON `[{ "name", "shape" }]`, in PyTorch's order. */
  stateEntries(): string
  readState(index: number, output: Float32Array): void
  /** Takes a state dict under any of the known names, or throws and changes nothing. */
  loadState(entries: string, data: Float32Array[], prefix: string): void
  free(): void
}

export interface MultiHeadAttentionHandle extends LayerHandle {
  /** `header` holds the shapes of q, then of k and v where they are given, then of the mask. */
  forward(
    header: Float64Array,
    q: Float32Array,
    k: Optional<Float32Array>,
    v: Optional<Float32Array>,
    output: Float32Array,
    training: boolean,
    options: Optional<string>,
    booleanMask: Optional<Uint8Array>,
    floatMask: Optional<Float32Array>,
    queryOffset: Optional<Int32Array>,
    kvLengths: Optional<Int32Array>,
    weights: Optional<Float32Array>
  ): void
}

export interface SafetensorsReaderHandle {
  /** JSON `[{ "name", "shape" }]`, sorted by name. */
  entries(): string
  /** Widens F16 and BF16 to 32 bits. */
  read(index: number, output: Float32Array): void
  free(): void
}
