/**
 * The common interface of both generated modules (the napi-rs addon and the wasm-bindgen glue); lib/ calls nothing
 * else. Mechanisms do not appear here: operations and kinds of objects are tables in `crates/attention-calls`.
 *
 * Invalid input throws an Error whose message is the JSON `{ code, argument, expected, actual }`.
 */
type Optional<T> = T | undefined | null

export interface Binding {
  version(): string
  /** The instruction set in use: 'avx512' | 'avx2' | 'sse2' | 'neon' | 'portable' | 'simd128' | 'relaxed-simd'. */
  simdLevel(): string
  /** Number of threads that the machine, or its cgroup, offers to one call. */
  defaultThreads(): number

  /**
   * Bytes allocated now, reserved from the system, allocated at the peak, and needed at most by calls since
   * `resetPeak`. The last number counts memory that is kept between calls only when it is used again.
   */
  memoryUsage(): Float64Array
  /** Resets the last number of `memoryUsage`; concurrent calls share it. */
  resetPeak(): void
  /** The names of the operations in the order of their ids, separated by commas. */
  operations(): string
  /**
   * Runs the operation with this id.
   *
   * - `header`, 64 numbers: `[threads, training, part, parts, objects, id, …, rank, dim, …, rank, dim, …]`. `part` of
   *   `parts` is to be computed; `id`s name the objects of the call; then follow the shapes of all tensors in argument
   *   order, that of a mask last.
   * - `options` is a JSON object of the caller's scalar options, or undefined; the kernel crate rejects unknown names.
   *   Numbers that JSON cannot represent are the strings "NaN", "Infinity" or "-Infinity".
   * - Inputs are in the slots of their arguments, a float mask in the fourth; `bytes` is a boolean mask or part of a
   *   file; integers are offsets or positions, then lengths.
   * - Outputs are arrays allocated by lib/; their lengths are checked, their contents overwritten.
   */
  call(
    operation: number,
    header: Float64Array,
    options: Optional<string>,
    input1: Optional<Float32Array>,
    input2: Optional<Float32Array>,
    input3: Optional<Float32Array>,
    input4: Optional<Float32Array>,
    bytes: Optional<Uint8Array>,
    integers1: Optional<Int32Array>,
    integers2: Optional<Int32Array>,
    output1: Optional<Float32Array>,
    output2: Optional<Float32Array>,
    output3: Optional<Float32Array>,
    output4: Optional<Float32Array>,
    indices: Optional<Int32Array>
  ): void

  /**
   * Like `call`, on another thread; native only. The call owns the arrays until it ends, and shares `control`: a
   * nonzero first number cancels it between two work items, and the second number is its progress in millionths.
   */
  callLater?(
    operation: number,
    header: Float64Array,
    options: Optional<string>,
    inputs: (Float32Array | undefined)[],
    bytes: Optional<Uint8Array>,
    integers: (Int32Array | undefined)[],
    outputs: (Float32Array | undefined)[],
    indices: Optional<Int32Array>,
    control: Int32Array
  ): Promise<unknown>
  /** Makes calls report their progress to the global function `reportAttentionProgress`; WebAssembly only. */
  setReports?(reports: boolean): void

  /** Creates an object in the backend's memory, which exists until it is freed, and returns its id. */
  create(kind: string, config: string, integers1: Optional<Int32Array>, integers2: Optional<Int32Array>): number
  /** Returns another id for the current state of an object, independent of later changes. */
  hold(id: number): number
  free(id: number): void
  /** The configuration of an object including all defaults, as JSON. */
  describe(id: number): string
  /** The parameters of an object, in PyTorch's order: JSON `[{ "name", "shape" }]`. */
  stateEntries(id: number): string
  readState(id: number, index: number, output: Float32Array): void
  /**
   * Loads a state dict under any of the supported names, or throws and changes nothing; `entries` describes `data` in
   * order. Entries that are not parameters are an error if it is `strict`.
   */
  loadState(id: number, entries: string, data: Float32Array[], prefix: string, strict: boolean): void
}
