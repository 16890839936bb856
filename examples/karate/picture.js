// The picture of the example: members as discs in the colours of their communities, attention as curves between them.
import { springLayout } from './layout.js'

const width = 860
const height = 716
const margin = { top: 132, side: 52, bottom: 84 }
const font = 'system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif'
const ink = '#1c2333'
const muted = '#5b6478'
/** Fill and the ink on it, a community each; told apart by lightness as well. */
const communities = [
  { fill: '#1f5fa8', ink: '#ffffff' },
  { fill: '#f0a830', ink: ink },
  { fill: '#2f9e77', ink: '#ffffff' },
  { fill: '#b5446e', ink: '#ffffff' }
]

const round = (/** @type {number} */ value) => Number(value.toFixed(1))

/**
 * @param {ReturnType<typeof import('./karate.js').runNetwork>} result
 * @param {{ right: number, of: number }} score
 */
export function drawClub(result, score) {
  const { labels, source, target } = result
  const points = springLayout(labels.length, source, target).map(({ x, y }) => ({
    x: margin.side + x * (width - 2 * margin.side),
    y: margin.top + y * (height - margin.top - margin.bottom)
  }))
  spread(
    points,
    points.map((_, node) => radius(degreeOf(target, node)) + 5)
  )
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" font-family='${font}'>`,
    `<rect width="${width}" height="${height}" fill="#ffffff"/>`,
    text(margin.side - 20, 44, 'Whom the members of Zachary’s karate club look at', { size: 22, weight: 600 }),
    text(
      margin.side - 20,
      70,
      'Attention of a graph network’s first layer, mean of four heads: a curve runs to the member who looks.'
    ),
    text(
      margin.side - 20,
      90,
      `The network was told the community of four members, and sorts ${score.right} of the other ${score.of} rightly.`
    ),
    ...curves(result, points),
    ...members(result, points),
    ...legend(),
    '</svg>',
    ''
  ].join('\n')
}

/**
 * @param {number} x
 * @param {number} y
 * @param {string} content
 * @param {{ size?: number, weight?: number, fill?: string, anchor?: string }} [style]
 */
function text(x, y, content, { size = 13.5, weight = 400, fill = weight > 400 ? ink : muted, anchor = 'start' } = {}) {
  const place = `x="${round(x)}" y="${round(y)}" text-anchor="${anchor}"`
  return `<text ${place} font-size="${size}" font-weight="${weight}" fill="${fill}">${content}</text>`
}

/**
 * Moves discs apart that would touch.
 *
 * @param {import('./layout.js').Point[]} points
 * @param {readonly number[]} radii
 */
function spread(points, radii) {
  for (let round = 0; round < 50; round++) {
    for (const [a, from] of points.entries()) {
      for (const [b, to] of points.slice(0, a).entries()) {
        const [dx, dy] = [to.x - from.x, to.y - from.y]
        const distance = Math.hypot(dx, dy)
        const missing = Math.max(0, radii[a] + radii[b] - distance) / 2 / Math.max(distance, 1e-6)
        from.x -= dx * missing
        from.y -= dy * missing
        to.x += dx * missing
        to.y += dy * missing
      }
    }
  }
}

/** The radius of a member's disc: its area grows with its edges. */
const radius = (/** @type {number} */ degree) => 10 + 2.6 * Math.sqrt(degree)

/** @param {readonly number[]} target  @param {number} node */
const degreeOf = (target, node) => target.filter((other) => other === node).length

/**
 * A curve for each edge, from the member looked at to the one that looks, bent so that both directions are seen; strong ones
 * last, on top.
 *
 * @param {ReturnType<typeof import('./karate.js').runNetwork>} result
 * @param {import('./layout.js').Point[]} points
 */
function curves({ source, target, weights: [weights] }, points) {
  if (weights === undefined) return []
  const heads = weights.shape[1]
  const attention = source.map((_, edge) => {
    const own = weights.data.subarray(edge * heads, (edge + 1) * heads)
    return own.reduce((sum, weight) => sum + weight, 0) / heads
  })
  const order = attention.map((_, edge) => edge).sort((a, b) => attention[a] - attention[b])
  return order.map((edge) => {
    const [from, to, share] = [points[source[edge]], points[target[edge]], attention[edge]]
    const [dx, dy] = [to.x - from.x, to.y - from.y]
    const length = Math.hypot(dx, dy)
    const bend = 0.1
    const middle = { x: (from.x + to.x) / 2 - dy * bend, y: (from.y + to.y) / 2 + dx * bend }
    // The curve stops at the rim of the disc that looks.
    const gap = (radius(degreeOf(target, target[edge])) + 1) / length
    const end = { x: to.x - (to.x - middle.x) * gap * 2, y: to.y - (to.y - middle.y) * gap * 2 }
    const path = `M${round(from.x)} ${round(from.y)}Q${round(middle.x)} ${round(middle.y)} ${round(end.x)} ${round(end.y)}`
    const strength = `stroke-width="${round(0.6 + 9 * share)}" stroke-opacity="${(0.16 + 0.84 * Math.min(1, 2 * share)).toFixed(2)}"`
    return `<path d="${path}" fill="none" stroke="#39435c" stroke-linecap="round" ${strength}/>`
  })
}

/**
 * @param {ReturnType<typeof import('./karate.js').runNetwork>} result
 * @param {import('./layout.js').Point[]} points
 */
function members({ labels, predicted, trained, target }, points) {
  return points.flatMap(({ x, y }, node) => {
    const { fill, ink: onFill } = communities[labels[node]]
    const size = radius(degreeOf(target, node))
    const place = `cx="${round(x)}" cy="${round(y)}"`
    const disc = `<circle ${place} r="${round(size)}" fill="${fill}" stroke="#ffffff" stroke-width="2"/>`
    const marks = []
    if (trained[node])
      marks.push(`<circle ${place} r="${round(size + 4)}" fill="none" stroke="${ink}" stroke-width="1.6"/>`)
    if (predicted[node] !== labels[node]) {
      const wrong = communities[predicted[node]].fill
      marks.push(
        `<circle ${place} r="${round(size + 3)}" fill="none" stroke="${wrong}" stroke-width="4" stroke-dasharray="5 3"/>`
      )
    }
    // Members are numbered from 1, as in Zachary's paper.
    const label = text(x, y + 4.6, String(node + 1), { size: 13, weight: 600, fill: onFill, anchor: 'middle' })
    return [disc, ...marks, label]
  })
}

function legend() {
  const y = height - 34
  const parts = []
  let x = margin.side - 12
  for (const [index, { fill }] of communities.entries()) {
    parts.push(`<circle cx="${x}" cy="${y - 5}" r="8" fill="${fill}"/>`)
    x += 20
    if (index === communities.length - 1) parts.push(text(x - 6, y, 'community'))
  }
  x += 92
  parts.push(`<circle cx="${x}" cy="${y - 5}" r="9" fill="none" stroke="${ink}" stroke-width="1.6"/>`)
  parts.push(text(x + 17, y, 'told in training'))
  x += 148
  const wrong = communities[1].fill
  parts.push(
    `<circle cx="${x}" cy="${y - 5}" r="9" fill="none" stroke="${wrong}" stroke-width="4" stroke-dasharray="5 3"/>`
  )
  parts.push(text(x + 19, y, 'sorted into the ring’s colour'))
  x += 232
  for (const [share, label] of /** @type {const} */ ([
    [0.05, '5 %'],
    [0.25, '25 %'],
    [0.5, '50 %']
  ])) {
    parts.push(
      `<path d="M${x} ${y - 5}h30" stroke="#39435c" stroke-linecap="round" stroke-width="${round(0.6 + 9 * share)}" stroke-opacity="${(0.16 + 0.84 * Math.min(1, 2 * share)).toFixed(2)}"/>`
    )
    parts.push(text(x + 38, y, label))
    x += 84
  }
  return parts
}
