/**
 * What both generated modules (the napi-rs addon and the wasm-bindgen glue) offer, under the same names; lib/ calls nothing else.
 * Mechanisms do not show here: operations and kinds of objects are tables in the kernel crate (`calls.rs`).
 *
 * A wrong input throws an Error whose message is the JSON `{ code, argument, expected, actual }`.
 */
type Optional<T> = T | undefined | null

export interface Binding {
  version(): string
  /** The instruction set in use: 'avx512' | 'avx2' | 'sse2' | 'neon' | 'portable' | 'simd128' | 'relaxed-simd'. */
  simdLevel(): string
  /** Threads the machine (its cgroup) offers to one call. */
  defaultThreads(): number

  /**
   * Bytes: allocated now, reserved from the system, the most that ever were allocated, and the most that calls needed since
   * `resetPeak`. The last number counts memory that is kept from call to call once it is used again.
   */
  memoryUsage(): Float64Array
  /** Starts the last number of `memoryUsage` anew; calls that run at the same time share it. */
  resetPeak(): void
  /** The names of the operations in the order of their numbers, separated by commas. */
  operations(): string
  /**
   * Runs the operation of this number.
   *
   * - `header`, 64 numbers: `[threads, training, part, parts, objects, id, …, rank, dim, …, rank, dim, …]`: which part of how
   *   many is to be computed, the objects that the call works on, then every tensor's shape in the order of the arguments, the mask's last where one is given.
   * - `options` is a JSON object of the scalar options as the caller wrote them, or nothing; unknown names are refused by the
   *   kernel crate. A number that JSON cannot hold is written as the string "NaN", "Infinity" or "-Infinity".
   * - Inputs stand in their arguments' slots, a float mask in the fourth; `bytes` is a boolean mask or part of a file;
   *   integers are offsets or positions, then lengths.
   * - Outputs are arrays that lib/ made; their lengths are checked, their contents overwritten.
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
   * As `call`, on another thread; natively alone. The arrays are the call's until it ends. `control` is shared with it: a first
   * number other than 0 ends it between two pieces of work, the second one says how many millionths are done.
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
  /** Whether calls tell the global function `reportAttentionProgress` how far they are; in WebAssembly alone. */
  setReports?(reports: boolean): void

  /** Makes an object that lives in the backend's memory until it is freed, and gives its number. */
  create(kind: string, config: string, integers1: Optional<Int32Array>, integers2: Optional<Int32Array>): number
  /** A further number for an object as it is now; it stays so, whatever becomes of the other. */
  hold(id: number): number
  free(id: number): void
  /** The configuration of an object with every default filled in, as JSON. */
  describe(id: number): string
  /** The parameters of an object, in PyTorch's order: JSON `[{ "name", "shape" }]`. */
  stateEntries(id: number): string
  readState(id: number, index: number, output: Float32Array): void
  /** Takes a state dict under any of the known names, or throws and changes nothing; `entries` describes `data` in its order. */
  loadState(id: number, entries: string, data: Float32Array[], prefix: string): void

  /**
   * What a safetensors file holds: JSON `[{ "name", "shape", "dtype", "bytes": [start, end] }]`, sorted by name. `start` is the
   * file as far as its header goes, or all of it.
   */
  safetensorsEntries(start: Uint8Array, fileLength: number): string
  /** `entries` is JSON `[{ "name", "shape" }]`, in the order of `data`; `metadata` a JSON object of strings. */
  saveSafetensors(entries: string, data: Float32Array[], metadata: string): Uint8Array
}
