/** Messages between the page and its worker. */
export type ToWorker =
  { type: 'embed'; file: File } | { type: 'cancel' } | { type: 'search'; query: string; id: number }

/** A text that was found, with the number of its line in the file. */
export interface Hit {
  line: number
  text: string
  score: number
}

export type FromWorker =
  | { type: 'downloading'; bytes: number }
  | { type: 'ready'; bytes: number }
  | { type: 'embedded'; done: number; total: number; seconds: number }
  | { type: 'cancelled'; done: number; total: number }
  | { type: 'found'; id: number; hits: Hit[]; among: number }
  | { type: 'failed'; reason: string }
