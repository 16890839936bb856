/**
 * Pictures of results: attention weights as heatmaps, points of the Poincaré ball, and graphs with their attention. All
 * functions are pure, take plain tensors, need no backend, and run wherever JavaScript runs.
 *
 * Pictures are complete SVG documents, for a file, an `<img>` or inline use in a page. They contain no scripts and no
 * external fonts or files, and every text from the caller is escaped. Each has a title and a description for screen
 * readers. The same input always gives the same SVG text.
 *
 * An option that is `undefined` or `null` counts as absent; an unknown option is an AttentionError with code OPTION.
 *
 * @module @ruvector/attention/plot
 */
import type { Tensor } from './index.js'

/** The background of a picture: light, dark, or following the reader's `prefers-color-scheme`. */
export type Theme = 'auto' | 'light' | 'dark'

export interface WeightsOptions {
  /** One label per query, `L` in all; null for none. Default: numbers. */
  queryLabels?: readonly (string | null)[] | null | undefined
  /** One label per key, `S` in all; null for none. Default: numbers. */
  keyLabels?: readonly (string | null)[] | null | undefined
  /** The head to draw, or several, in the order given. Default: all. */
  head?: number | readonly number[] | null | undefined
  /** The batch entry of `[B,H,L,S]`. Default: 0. */
  batch?: number | null | undefined
  /**
   * How a cell that covers several tokens combines their values: `'sum'` adds over its keys and averages over its
   * queries, which preserves row sums; `'mean'`; `'max'`. Default: 'sum' if every row sums to 1, otherwise 'mean'.
   */
  reduce?: 'sum' | 'mean' | 'max' | null | undefined
  /**
   * The values at the ends of the color scale, shared by all heads. Default: from 0, or the smallest value if negative,
   * to the largest.
   */
  range?: readonly [low: number, high: number] | null | undefined
  /**
   * How values map to the color scale. Default: 'sqrt', which keeps small values visible; 'linear' if any value is
   * negative.
   */
  scale?: 'sqrt' | 'linear' | null | undefined
}

export interface HeatmapOptions extends WeightsOptions {
  /** Default: 'Attention weights', or 'Attention scores' if rows do not sum to 1; '' for none. */
  title?: string | null | undefined
  /** Lines below the title. */
  notes?: readonly string[] | null | undefined
  /** Default: 'auto'. */
  theme?: Theme | null | undefined
  /**
   * The maximum number of rows and columns per panel; longer inputs are downsampled, and the picture says so. Default:
   * 16 to 160, depending on the number of heads.
   */
  maxCells?: number | null | undefined
  /** Lines of text above each drawn head, in the same order. */
  captions?: readonly (readonly string[] | null)[] | null | undefined
  /** A cell to mark with a ring in each drawn head, in the same order. */
  marks?: readonly ({ query: number; key: number } | null)[] | null | undefined
  /** The meaning of the rings, for the legend. */
  markLabel?: string | null | undefined
  /** Number of panels per row. Default: chosen automatically. */
  columns?: number | null | undefined
}

/**
 * Attention weights as SVG: one panel per head, one row per query, one column per key, all on the same color scale. The
 * scale is perceptually uniform and its lightness is monotonic, so it also works for color-blind readers.
 *
 * `weights` is `[L,S]`, `[H,L,S]` or `[B,H,L,S]`: attention weights, or values of an earlier stage. NaN and infinities
 * get their own markings; −∞ is drawn as hidden. For the mean over heads, `[B,L,S]`, batch entries are drawn in place
 * of heads.
 *
 * @throws {AttentionError} SHAPE for other ranks or a wrong number of labels; DTYPE; OPTION
 */
export function attentionHeatmap(weights: Tensor, options?: HeatmapOptions | null): string

export interface TextHeatmapOptions extends WeightsOptions {
  /** A heading line. Default: none. */
  title?: string | null | undefined
  /** Use 24-bit color; otherwise shading characters. Default: whatever standard output supports. */
  color?: boolean | null | undefined
  /** The background of the terminal. Default: 'dark'. */
  theme?: 'dark' | 'light' | null | undefined
  /**
   * Width of the terminal in columns, at least 16; keys that do not fit are downsampled. Default: that of standard
   * output, or 80.
   */
  width?: number | null | undefined
  /** The maximum number of rows and columns per head. Default: 64 rows, and as many columns as fit. */
  maxCells?: number | null | undefined
}

/**
 * Attention weights as text for a terminal: one line per query, one or two columns per key, heads one below the other.
 * Control characters in labels are replaced, and wide characters count as two columns. The text does not end with a
 * newline.
 *
 * @throws {AttentionError} as {@link attentionHeatmap} does
 */
export function attentionHeatmapText(weights: Tensor, options?: TextHeatmapOptions | null): string

/** One number per edge or per point: a tensor, its bare data, or a list. */
export type Numbers = Tensor | Float32Array | readonly number[]

export interface DiskOptions {
  /** The curvature of the ball, negative; the radius is `1/√−curvature`. Default: −1. */
  curvature?: number | null | undefined
  /** One label per point; null for none. Labels that would overlap others are shrunk or omitted. */
  labels?: readonly (string | null)[] | null | undefined
  /** Pairs of points, as a list of pairs or flat in an Int32Array. Geodesics connect them. */
  edges?: readonly (readonly [number, number])[] | Int32Array | null | undefined
  /** One number ≥ 0 per point: points with larger weights are bigger, more intense in color, and labeled first. */
  weights?: Numbers | null | undefined
  /** One number ≥ 0 per edge: edges with larger weights are wider and darker. */
  edgeWeights?: Numbers | null | undefined
  /** Points to emphasize. */
  highlight?: readonly number[] | Int32Array | null | undefined
  /** Default: 'Poincaré disk'; '' for none. */
  title?: string | null | undefined
  /** Lines below the title. */
  notes?: readonly string[] | null | undefined
  /** Default: 'auto'. */
  theme?: Theme | null | undefined
  /** The diameter of the disk in pixels, from 100 to 4000. Default: 800. */
  size?: number | null | undefined
}

/**
 * Points of the two-dimensional Poincaré ball as SVG. `points` is `[N,2]`, such as a `HyperbolicAttention` takes. Edges
 * are true geodesics: circular arcs that meet the boundary at right angles, or straight lines through the center.
 *
 * @throws {AttentionError} DOMAIN for a point outside the ball, named by its row; SHAPE, DTYPE, OPTION
 */
export function poincareDisk(points: Tensor, options?: DiskOptions | null): string

/**
 * Edges `source[k] → target[k]`, as `Graph.fromEdges` takes them. A Graph itself stores its edges in the backend's
 * memory.
 */
export interface Edges {
  numNodes: number
  source: Int32Array | readonly number[]
  target: Int32Array | readonly number[]
}

export interface GraphPlotOptions {
  /** One label per node; null for none. Default: numbers, for up to 100 nodes. */
  labels?: readonly (string | number | null)[] | null | undefined
  /** The group of each node, shown by color; the first eight groups have distinct colors. */
  groups?: readonly (string | number)[] | Int32Array | null | undefined
  /** Names of the groups in the legend, keyed by group. Default: the groups themselves. */
  groupLabels?: Readonly<Record<string | number, string>> | null | undefined
  /** Node positions, `[N,2]`, x to the right and y down, in any unit. Default: a deterministic spring layout. */
  positions?: Tensor | null | undefined
  /** Attention, or another number ≥ 0, for each edge: `[K]` or `[K,H]`. */
  weights?: Tensor | Float32Array | null | undefined
  /** The head of `[K,H]`. Default: the mean over the heads. */
  head?: number | null | undefined
  /**
   * Set this if `weights` come from a layer that added self-loops (`config.addSelfLoops`): one per node, following the
   * edges that are not self-loops. Default: false.
   */
  addSelfLoops?: boolean | null | undefined
  /** Draw edges from a node to itself. Default: true. */
  selfLoops?: boolean | null | undefined
  /**
   * Draw edge directions, as curves with arrowheads, one curve per direction; otherwise draw straight lines. Default:
   * true.
   */
  directed?: boolean | null | undefined
  /** Nodes to mark with a ring, and the meaning of the ring, which takes the color of `group` if given. */
  marks?:
    | readonly { nodes: readonly number[]; label: string; group?: string | number | null | undefined }[]
    | null
    | undefined
  /** Default: 'Graph'; '' for none. */
  title?: string | null | undefined
  /** Lines below the title. */
  notes?: readonly string[] | null | undefined
  /** Default: 'auto'. */
  theme?: Theme | null | undefined
  /** The width in pixels, from 200 to 4000. Default: 860. */
  width?: number | null | undefined
}

/**
 * A graph as SVG: nodes are discs that grow with the number of incoming edges, edges are curves that get wider and
 * darker with their weights.
 *
 * @throws {AttentionError} OPTION for an edge with an invalid node, named by its index; DOMAIN for positions or weights
 * that cannot be drawn; SHAPE, DTYPE
 */
export function graphPlot(graph: Edges, options?: GraphPlotOptions | null): string
