// The messages between the page and its worker.

import type { Settings } from './settings.ts'

/** The page's settings that affect pictures but not numbers. */
export interface View {
  theme: 'light' | 'dark'
  /** Width of pictures in pixels. */
  width: number
  /** The query token; undefined before one is selected. */
  token: number | undefined
}

export type ToWorker =
  | { type: 'run'; id: number; settings: Settings; view: View }
  | { type: 'draw'; id: number; view: View }
  | { type: 'measure'; id: number; settings: Settings }
  | { type: 'cancel'; id: number }

export interface Picture {
  kind: 'heatmap' | 'disk' | 'graph'
  svg: string
}

export interface Result {
  tokens: string[]
  /** The query token. */
  token: number
  /** Number of tokens, from the first, that can be the query token. */
  rowCount: number
  /** Their attention to all tokens, `[rowCount, tokens]`, averaged over the selected heads. */
  rows: Float32Array
  /** Description of the average. */
  rowsAre: string
  facts: Fact[]
  /** Notes for the reader about this result. */
  notes: string[]
  pictures: Picture[]
}

export interface Fact {
  name: string
  value: string
}

export interface Timing {
  name: string
  /** Size of the module in bytes. */
  bytes: number
  milliseconds?: number
  runs?: number
  /** The reason for a missing time. */
  failure?: string
}

export type FromWorker =
  | { type: 'ready'; backend: string }
  | { type: 'progress'; id: number; fraction: number; doing: string }
  | { type: 'result'; id: number; result: Result }
  | { type: 'pictures'; id: number; pictures: Picture[] }
  | { type: 'timings'; id: number; timings: Timing[] }
  | { type: 'cancelled'; id: number }
  | { type: 'failed'; id: number; message: string }
