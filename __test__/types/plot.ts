// Valid uses of the plot functions in TypeScript, and invalid ones marked by @ts-expect-error.
import type { AttentionOutput, GraphOutput, Tensor } from '@ruvector/attention'
import {
  attentionHeatmap,
  attentionHeatmapText,
  graphPlot,
  poincareDisk,
  type DiskOptions,
  type Edges,
  type GraphPlotOptions,
  type HeatmapOptions,
  type Theme
} from '@ruvector/attention/plot'

export function uses(result: AttentionOutput, points: Tensor, edges: Edges, layer: GraphOutput): string[] {
  const theme: Theme = 'auto'
  const words = ['it', null, 'was'] as const
  const heatmap: HeatmapOptions = {
    queryLabels: words,
    keyLabels: words,
    head: [0, 2],
    range: [0, 1],
    theme,
    batch: null
  }
  const disk: DiskOptions = {
    edges: [[0, 1]],
    labels: words,
    weights: points,
    edgeWeights: [1],
    highlight: Int32Array.of(0)
  }
  const plot: GraphPlotOptions = {
    weights: layer.weights,
    groups: ['a', 2],
    groupLabels: { a: 'ants', 2: 'bees' },
    labels: [1, 'b', null]
  }
  if (!result.weights) return []
  return [
    attentionHeatmap(result.weights),
    attentionHeatmap(result.weights, { ...heatmap, marks: [{ query: 0, key: 1 }, null], captions: [['a'], null] }),
    attentionHeatmapText(result.weights, { color: false, width: 80, theme: 'light' }),
    poincareDisk(points, disk),
    poincareDisk(points, { edges: Int32Array.of(0, 1), curvature: -0.5 }),
    graphPlot(edges, { ...plot, marks: [{ nodes: [0], label: 'told', group: 2 }], positions: points }),
    graphPlot({ numNodes: 2, source: [0], target: Int32Array.of(1) })
  ]
}

export function refused(weights: Tensor, points: Tensor, edges: Edges) {
  // @ts-expect-error bare arrays are not tensors
  attentionHeatmap(new Float32Array(4))
  // @ts-expect-error there is no such option
  attentionHeatmap(weights, { labels: ['a'] })
  // @ts-expect-error there is no such theme
  attentionHeatmap(weights, { theme: 'sepia' })
  // @ts-expect-error a terminal does not follow the reader's settings
  attentionHeatmapText(weights, { theme: 'auto' })
  // @ts-expect-error edges are pairs
  poincareDisk(points, { edges: [[0, 1, 2]] })
  // @ts-expect-error a graph has nodes
  graphPlot({ source: [0], target: [1] })
  // @ts-expect-error weights of edges have a shape, or are a Float32Array
  graphPlot(edges, { weights: [1] })
}
