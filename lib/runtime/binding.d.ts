/**
 * The common interface of both generated modules (the napi-rs addon and the wasm-bindgen glue); lib/ calls nothing
 * else. Mechanisms do not appear here: operations and kinds of objects are tables in `crates/attention-calls`.
 *
 * Invalid input throws an Error whose message is the JSON `{ code, argument, expected, actual }`.
 */
type Optional<T> = T | undefined | null

export interface Binding {
  version(): string
  /**
   * The instruction set in use: 'amx' | 'avx512' | 'avx2' | 'sse2' | 'neon' | 'portable' | 'simd128' | 'relaxed-simd',
   * or 'amx-emulated' for tests.
   */
  simdLevel(): string
  /** Asks the system for AMX, for the whole process. Returns the reason if it cannot be used; native only. */
  requestAmx?(): Optional<string>
  /** Number of threads that the machine, or its cgroup, offers to one call. */
  defaultThreads(): number

  /**
   * Bytes allocated now, reserved from the system, allocated at the peak, and needed at most by calls since
   * `resetPeak`. The last number counts memory that is kept between calls only when it is used again.
   */
  memoryUsage(): Float64Array
  /** Resets the last number of `memoryUsage`; concurrent calls share it. */
  resetPeak(): void
  /**
   * The memory of the calls of this binding's thread, laid out as `CallMemory` of `crates/attention-calls`. Growth of
   * WebAssembly's memory detaches the view; another call of this function then returns the same memory again.
   */
  callMemory(): Uint8Array
  /**
   * Runs the operation with this number on the inputs that its memory describes.
   *
   * - `options` is a JSON object of the caller's scalar options, or undefined; the kernel crate rejects unknown names.
   *   Numbers that JSON cannot represent are the strings "NaN", "Infinity" or "-Infinity".
   * - `arrays` are the inputs that are too large for the memory, in order.
   * - `out` receives the first result, and is checked for its length.
   *
   * Returns the results that are too large for the memory, in order; the memory describes all of them.
   */
  call(
    operation: number,
    options: Optional<string>,
    arrays: Optional<unknown[]>,
    out: Optional<Float32Array>
  ): Optional<unknown[]>
  /**
   * The number of operations of the call in the memory if parts of it can be computed separately, otherwise 0;
   * WebAssembly only. Depends only on the shapes of the inputs.
   */
  divisible?(operation: number, options: Optional<string>): number

  /**
   * Like `call`, on another thread; native only. `memory` is a copy of the call's memory, which describes the results
   * when the call has ended. The call owns the arrays until then, and shares `control`: a nonzero first number cancels
   * it between two work items, and the second number is its progress in millionths.
   */
  callLater?(
    operation: number,
    memory: Uint8Array,
    options: Optional<string>,
    arrays: Optional<unknown[]>,
    control: Int32Array
  ): Promise<any>
  /** Makes calls report their progress to the global function `reportAttentionProgress`; WebAssembly only. */
  setReports?(reports: boolean): void

  /** Returns another id for the current state of an object, independent of later changes. */
  hold(id: number): number
  free(id: number): void
  /**
   * The bytes that an object occupies; WebAssembly only, since the native binding reports them to the engine itself.
   */
  bytesOf?(id: number): number
  /** The configuration of an object including all defaults, as JSON. */
  describe(id: number): string
  /** The parameters of an object, in PyTorch's order: JSON `[{ "name", "shape" }]`. */
  stateEntries(id: number): string
  readState(id: number, index: number, output: Float32Array): void
  /**
   * Loads a state dict under any of the supported names, or throws and changes nothing; `entries` describes `data` in
   * order. With `strict`, entries that are not parameters are an error.
   */
  loadState(id: number, entries: string, data: Float32Array[], prefix: string, strict: boolean): void
  /**
   * Takes a step of an optimizer in place, or throws and changes nothing; only in modules with training. `plan` is a
   * JSON object with the members `rule` ("adamw" or "sgd") and its options, `threads`, `clipNorm` and `updates`, a list
   * of `{ "name", "shape", "states", "object", "entry" }`: each update has the id of the object of its states, created
   * by the operation `createTensors`, and its parameter is the entry of an object or, without one, the next of
   * `parameters`. `gradients` are in the order of the updates.
   */
  step?(plan: string, gradients: Float32Array[], parameters: Float32Array[]): void
}
