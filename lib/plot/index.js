// The subpath @ruvector/attention/plot: pictures of results, as SVG or as text for a terminal. Independent of backends.

export { attentionHeatmap } from './heatmap.js'
export { attentionHeatmapText } from './terminal.js'
export { poincareDisk } from './disk.js'
export { graphPlot } from './graph.js'
