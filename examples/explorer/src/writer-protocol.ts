// The messages between the page and the worker whose model writes.

export type ToWriter =
  /** A GGUF file, or its address on the page's server. */
  { type: 'load'; file: Blob | string } | { type: 'write'; prompt: string } | { type: 'stop' }

/** A token of the text, and where it looks. */
export interface Written {
  name: string
  /** Its weights, `[layers, heads, n]` for the `n` tokens up to itself. */
  weights: Float32Array
}

export type FromWriter =
  | { type: 'progress'; fraction: number; doing: string }
  | { type: 'loaded'; title: string; layers: number; heads: number }
  /** The tokens of the beginning, or the next one. */
  | { type: 'tokens'; tokens: Written[] }
  | { type: 'ended'; said: string }
  | { type: 'failed'; message: string }
