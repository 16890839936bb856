/**
 * Pictures of results: attention weights as heatmaps, points of the Poincaré ball, graphs with their attention. Pure
 * functions of plain tensors; they need no backend, and run wherever JavaScript does.
 *
 * Pictures are SVG, complete documents that can stand alone, in an `<img>` or inside a page: no scripts, no fonts or files
 * from elsewhere, every text of the caller's escaped. Each has a title and a description for readers who don't see it. The
 * same input gives the same text.
 *
 * An option that is `undefined` or `null` is absent; one that is not known is an AttentionError of code OPTION.
 *
 * @module @ruvector/attention/plot
 */
import type { Tensor } from './index.js'

/** What a picture is drawn on: light paper, dark paper, or by the reader's `prefers-color-scheme`. */
export type Theme = 'auto' | 'light' | 'dark'

export interface WeightsOptions {
  /** A label each query, `L` of them; null for none. Default: numbers. */
  queryLabels?: readonly (string | null)[] | null
  /** A label each key, `S` of them; null for none. Default: numbers. */
  keyLabels?: readonly (string | null)[] | null
  /** The head to draw, or several, in this order. Default: all. */
  head?: number | readonly number[] | null
  /** The batch entry of `[B,H,L,S]`. Default: 0. */
  batch?: number | null
  /**
   * How the values of several tokens become one cell's, where there are too many: `'sum'` over its keys and mean over its
   * queries, so that the sums of rows stay; `'mean'`; `'max'`. Default: 'sum' where rows add up to 1, otherwise 'mean'.
   */
  reduce?: 'sum' | 'mean' | 'max' | null
  /** The values at the ends of the scale, the same for all heads. Default: 0 or the smallest, if it is below, to the largest. */
  range?: readonly [low: number, high: number] | null
  /** How values spread over the scale. Default: 'sqrt', which shows small ones, and 'linear' where some are below 0. */
  scale?: 'sqrt' | 'linear' | null
}

export interface HeatmapOptions extends WeightsOptions {
  /** Default: 'Attention weights', or 'Attention scores' where rows do not add up to 1; '' for none. */
  title?: string | null
  /** Lines below the title. */
  notes?: readonly string[] | null
  /** Default: 'auto'. */
  theme?: Theme | null
  /** The most rows and the most columns of a panel; more tokens are thinned, which the picture says. Default: from 16 to 160, by the number of heads. */
  maxCells?: number | null
  /** Lines above each head that is drawn, in their order. */
  captions?: readonly (readonly string[] | null)[] | null
  /** A cell to ring in each head that is drawn, in their order. */
  marks?: readonly ({ query: number; key: number } | null)[] | null
  /** What the rings mean. */
  markLabel?: string | null
  /** Panels side by side. Default: as many as look well. */
  columns?: number | null
}

/**
 * Attention weights as an SVG: a panel a head, a row a query, a column a key, all on one scale of colours. Its steps are even
 * to the eye and its lightness goes one way, so that colour-blind readers see the same.
 *
 * `weights` is `[L,S]`, `[H,L,S]` or `[B,H,L,S]`, as attention returns them on request, or earlier stages of them: NaN and
 * infinities are drawn as what they are, −∞ as hidden. The mean over heads, `[B,L,S]`, has its batch entries drawn as heads.
 *
 * @throws {AttentionError} SHAPE for other ranks and a wrong number of labels; DTYPE; OPTION
 */
export function attentionHeatmap(weights: Tensor, options?: HeatmapOptions | null): string

export interface TextHeatmapOptions extends WeightsOptions {
  /** A line above. Default: none. */
  title?: string | null
  /** Colours of 24 bits; otherwise shades of characters. Default: what standard output shows. */
  color?: boolean | null
  /** The background of the terminal. Default: 'dark'. */
  theme?: 'dark' | 'light' | null
  /** Columns of the terminal, at least 16; more keys than fit are thinned. Default: standard output's, or 80. */
  width?: number | null
  /** The most rows and the most columns of a head. Default: 64 rows, and as many columns as fit. */
  maxCells?: number | null
}

/**
 * Attention weights as text for a terminal: a line a query, one or two columns a key, heads below each other. Labels are
 * cleaned of control characters, and wide characters count for two columns. Has no line end at its end.
 *
 * @throws {AttentionError} as {@link attentionHeatmap}
 */
export function attentionHeatmapText(weights: Tensor, options?: TextHeatmapOptions | null): string

/** Numbers by edge or by point: a tensor, its bare data, or a list. */
export type Numbers = Tensor | Float32Array | readonly number[]

export interface DiskOptions {
  /** The curvature of the ball, below 0: its radius is `1/√−curvature`. Default: −1. */
  curvature?: number | null
  /** A label each point; null for none. Those that would lie on others are made smaller or left out. */
  labels?: readonly (string | null)[] | null
  /** Pairs of points, as lists of two or one after the other in an Int32Array. They are joined by geodesics. */
  edges?: readonly (readonly [number, number])[] | Int32Array | null
  /** A number of at least 0 for each point: larger ones are larger and stronger in colour, and named first. */
  weights?: Numbers | null
  /** A number of at least 0 for each edge: larger ones are wider and darker. */
  edgeWeights?: Numbers | null
  /** Points to emphasise. */
  highlight?: readonly number[] | Int32Array | null
  /** Default: 'Poincaré disk'; '' for none. */
  title?: string | null
  /** Lines below the title. */
  notes?: readonly string[] | null
  /** Default: 'auto'. */
  theme?: Theme | null
  /** The diameter of the disk in pixels, from 100 to 4000. Default: 800. */
  size?: number | null
}

/**
 * Points of the Poincaré ball in two dimensions as an SVG: `points` is `[N,2]`, such as a `HyperbolicAttention` takes.
 * Edges are true geodesics: arcs of circles that meet the boundary at right angles, straight through the centre.
 *
 * @throws {AttentionError} DOMAIN for a point outside the ball, naming its row; SHAPE, DTYPE, OPTION
 */
export function poincareDisk(points: Tensor, options?: DiskOptions | null): string

/** Edges `source[k] → target[k]`: what `Graph.fromEdges` takes. A Graph itself keeps its edges in the backend's memory. */
export interface Edges {
  numNodes: number
  source: Int32Array | readonly number[]
  target: Int32Array | readonly number[]
}

export interface GraphPlotOptions {
  /** A label each node; null for none. Default: numbers, where there are at most 100 nodes. */
  labels?: readonly (string | number | null)[] | null
  /** The group of each node, which its colour shows; the first eight have one of their own. */
  groups?: readonly (string | number)[] | Int32Array | null
  /** What groups are called in the legend, by group. Default: the groups themselves. */
  groupLabels?: Readonly<Record<string | number, string>> | null
  /** Where the nodes are, `[N,2]`, x to the right and y down, in any unit. Default: a layout by springs, the same at every run. */
  positions?: Tensor | null
  /** Attention or another number of at least 0 for each edge, `[K]` or `[K,H]`. */
  weights?: Tensor | Float32Array | null
  /** The head of `[K,H]`. Default: the mean over the heads. */
  head?: number | null
  /**
   * Whether `weights` come from a layer that added self-loops (`config.addSelfLoops`): one for each node, after the edges
   * that are none. Default: false.
   */
  addSelfLoops?: boolean | null
  /** Draw edges from a node to itself. Default: true. */
  selfLoops?: boolean | null
  /** Draw the direction of edges: as curves with arrowheads, one each way; otherwise as straight lines. Default: true. */
  directed?: boolean | null
  /** Nodes to ring, and what that means; the ring has the colour of `group`, if given. */
  marks?: readonly { nodes: readonly number[]; label: string; group?: string | number | null }[] | null
  /** Default: 'Graph'; '' for none. */
  title?: string | null
  /** Lines below the title. */
  notes?: readonly string[] | null
  /** Default: 'auto'. */
  theme?: Theme | null
  /** The width in pixels, from 200 to 4000. Default: 860. */
  width?: number | null
}

/**
 * A graph as an SVG: nodes as discs, larger with their incoming edges, and edges as curves, wide and dark by their weights.
 *
 * @throws {AttentionError} OPTION for an edge that names no node, by its index; DOMAIN for positions or weights that cannot be
 * drawn; SHAPE, DTYPE
 */
export function graphPlot(graph: Edges, options?: GraphPlotOptions | null): string
