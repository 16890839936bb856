// The subpath @ruvector/attention/plot: pictures of results, as SVG or for a terminal. Takes no part of a backend.

export { attentionHeatmap } from './heatmap.js'
export { attentionHeatmapText } from './terminal.js'
export { poincareDisk } from './disk.js'
export { graphPlot } from './graph.js'
