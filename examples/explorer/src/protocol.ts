// The messages between the page and its worker.

import type { Projections } from './model.ts'
import type { Settings } from './settings.ts'
import type { Files } from './whole.ts'

/** The page's settings that affect pictures but not numbers. */
export interface View {
  theme: 'light' | 'dark'
  /** Width of pictures in pixels. */
  width: number
  /** The query token; undefined before one is selected. */
  token: number | undefined
  /** The key token of the pinned cell; undefined before a cell is pinned. */
  key: number | undefined
}

export type ToWorker =
  | { type: 'run'; id: number; settings: Settings; view: View }
  | { type: 'draw'; id: number; view: View }
  | { type: 'measure'; id: number; settings: Settings }
  | { type: 'cancel'; id: number }
  /** Loads the whole model, from its files or from a folder on the page's server. */
  | { type: 'load'; files: Files | string }

export interface Picture {
  kind: 'heatmap' | 'disk' | 'graph'
  svg: string
}

/** Everything that depends on the view. */
export interface Shown {
  pictures: Picture[]
  /** A program that computes the row of the query token. */
  code: string
}

export interface Result extends Shown {
  tokens: string[]
  /** Number of tokens that are not padding. */
  valid: number
  /** The query token. */
  token: number
  /** The layer and the heads whose attention is shown. */
  layer: number
  heads: number[]
  /** The heads that have a panel each; empty for their mean. */
  panels: number[]
  /** Number of tokens, from the first, that can be the query token. */
  rowCount: number
  /** Their attention to all tokens, `[rowCount, tokens]`, averaged over the selected heads. */
  rows: Float32Array
  /** Description of the average. */
  rowsAre: string
  facts: Fact[]
  /** Notes for the reader about this result. */
  notes: string[]
  /** The weights of every layer of the model over the sentence, `[12, L, L]` each. */
  maps: Float32Array[]
  /** The model and the sentence of the maps, which are the same while this is. */
  mapsOf: string
  /** Queries, keys and values, for the steps of a head. */
  projections?: Projections | undefined
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
  | { type: 'pictures'; id: number; shown: Shown }
  | { type: 'model'; layers: number; title: string }
  | { type: 'unloaded'; message: string }
  | { type: 'timings'; id: number; timings: Timing[] }
  | { type: 'cancelled'; id: number }
  | { type: 'failed'; id: number; message: string }
