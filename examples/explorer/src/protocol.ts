// What the page and its worker say to each other.

import type { Settings } from './settings.ts'

/** How pictures are drawn: what of the page they depend on, and what not of the numbers. */
export interface View {
  theme: 'light' | 'dark'
  /** Pixels that pictures have across. */
  width: number
  /** The token whose attention is looked at; undefined where nobody has chosen one yet. */
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
  /** The token whose attention is looked at. */
  token: number
  /** How many of them, from the first on, can be looked from. */
  rowCount: number
  /** The attention of each of these to every token: `[rowCount, tokens]`, the mean over the heads shown. */
  rows: Float32Array
  /** What the rows are a mean of. */
  rowsAre: string
  facts: Fact[]
  /** What a reader has to know of this result. */
  notes: string[]
  pictures: Picture[]
}

export interface Fact {
  name: string
  value: string
}

export interface Timing {
  name: string
  /** The size of the module in bytes. */
  bytes: number
  milliseconds?: number
  runs?: number
  /** Why there is no time. */
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
