// The pictures of the page: the graph, whose colors are the classes that the network predicts, and curves.

/** @typedef {import('./network.js').Data} Data */
/** @typedef {{ x: Float32Array, y: Float32Array }} Places */

/** The maximum number of edges drawn; a larger graph shows evenly spaced ones. */
const MOST_EDGES = 3000

/** The value of a color of the page's style. @param {string} name */
const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim()

/**
 * Draws nodes and edges. Nodes whose label was given have a ring; those that the network takes for another class are
 * hollow.
 *
 * @param {HTMLCanvasElement} canvas
 * @param {{ data: Data, places: Places }} graph
 * @param {Uint8Array} [predicted]  none before the first step
 */
export function drawGraph(canvas, { data, places }, predicted) {
  const { width, height } = canvas.getBoundingClientRect()
  const ratio = devicePixelRatio
  Object.assign(canvas, { width: Math.round(width * ratio), height: Math.round(height * ratio) })
  const context = canvas.getContext('2d')
  if (context === null || width === 0) return
  context.scale(ratio, ratio)
  const { numNodes, source, target, given, labels } = data
  const isSmall = numNodes < 100
  const radius = isSmall ? 9 : Math.max(1.2, width / 260)
  const margin = 2 * radius + 4
  const at = (/** @type {number} */ node) => [
    margin + ((places.x[node] + 1) / 2) * (width - 2 * margin),
    margin + ((places.y[node] + 1) / 2) * (height - 2 * margin)
  ]

  context.strokeStyle = color(isSmall ? 'edge' : 'faint-edge')
  context.lineWidth = isSmall ? 1.5 : 0.5
  context.beginPath()
  const every = Math.ceil(source.length / MOST_EDGES)
  for (let edge = 0; edge < source.length; edge += every) {
    for (const [order, node] of [source[edge], target[edge]].entries()) {
      const [x, y] = at(node)
      if (order === 0) context.moveTo(x, y)
      else context.lineTo(x, y)
    }
  }
  context.stroke()

  const classes = Array.from({ length: Math.max(...labels) + 1 }, (_, label) => color(`class-${label}`))
  drawNodes(context, { at, radius, isSmall, classes }, { given, labels, predicted })
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {{ at: (node: number) => number[], radius: number, isSmall: boolean, classes: string[] }} how
 * @param {{ given: boolean[], labels: number[], predicted: Uint8Array | undefined }} nodes
 */
function drawNodes(context, { at, radius, isSmall, classes }, { given, labels, predicted }) {
  const [paper, ink, unknown] = ['paper', 'ink', 'unknown'].map(color)
  for (const [node, label] of labels.entries()) {
    const [x, y] = at(node)
    const own = predicted ? classes[predicted[node]] : unknown
    context.beginPath()
    context.arc(x, y, radius, 0, 2 * Math.PI)
    const isWrong = predicted !== undefined && predicted[node] !== label && !given[node]
    context.fillStyle = isWrong && isSmall ? paper : own
    context.fill()
    if (isSmall) {
      context.lineWidth = 3
      context.strokeStyle = own
      context.stroke()
    }
    if (!given[node]) continue
    context.beginPath()
    context.arc(x, y, radius + (isSmall ? 5 : 1), 0, 2 * Math.PI)
    context.lineWidth = isSmall ? 2 : 0.75
    context.strokeStyle = ink
    context.stroke()
  }
}

/**
 * Draws a curve over the steps, from 0 to `most`.
 *
 * @param {SVGElement} svg  with a viewBox of 300 × 120
 * @param {readonly number[]} values
 * @param {{ steps: number, most: number }} axes
 */
export function drawCurve(svg, values, { steps, most }) {
  const [left, right, top, bottom] = [4, 296, 6, 114]
  const points = values.map((value, at) => {
    const x = left + ((right - left) * at) / Math.max(steps - 1, 1)
    return `${x.toFixed(1)},${(bottom - ((bottom - top) * value) / (most || 1)).toFixed(1)}`
  })
  const [line, end] = ['polyline', 'circle'].map((name) => /** @type {Element} */ (svg.querySelector(name)))
  line.setAttribute('points', points.join(' '))
  const [x, y] = (points.at(-1) ?? '-9,-9').split(',')
  end.setAttribute('cx', x)
  end.setAttribute('cy', y)
}
