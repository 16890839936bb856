// Where the nodes of a small graph stand in a picture: springs along the edges, and everything pushes everything else away.

/**
 * @typedef {{ x: number, y: number }} Point
 */

/**
 * Positions in the unit square, the same at every run (Fruchterman & Reingold 1991).
 *
 * @param {number} nodes
 * @param {readonly number[]} source
 * @param {readonly number[]} target
 * @returns {Point[]}
 */
export function springLayout(nodes, source, target) {
  const distance = 1 / Math.sqrt(nodes)
  const points = Array.from({ length: nodes }, (_, node) => {
    // A spiral of golden angles: even, and no two alike.
    const [radius, angle] = [Math.sqrt((node + 0.5) / nodes), node * Math.PI * (3 - Math.sqrt(5))]
    return { x: radius * Math.cos(angle), y: radius * Math.sin(angle) }
  })
  const rounds = 600
  for (let round = 0; round < rounds; round++) {
    const forces = points.map(() => ({ x: 0, y: 0 }))
    const pull = (/** @type {number} */ a, /** @type {number} */ b, /** @type {(d: number) => number} */ strength) => {
      const [dx, dy] = [points[b].x - points[a].x, points[b].y - points[a].y]
      const length = Math.max(Math.hypot(dx, dy), 1e-3)
      const force = strength(length) / length
      forces[a].x += dx * force
      forces[a].y += dy * force
    }
    for (let a = 0; a < nodes; a++) {
      for (let b = 0; b < nodes; b++) if (a !== b) pull(a, b, (d) => -(distance ** 2) / d)
      // A little towards the middle, or loose ends would drift away.
      forces[a].x -= points[a].x * distance
      forces[a].y -= points[a].y * distance
    }
    for (const [edge, from] of source.entries()) pull(from, target[edge], (d) => d ** 2 / distance / 2)
    const step = 0.1 * (1 - round / rounds)
    for (const [node, { x, y }] of forces.entries()) {
      const length = Math.max(Math.hypot(x, y), 1e-9)
      const move = Math.min(length, step) / length
      points[node].x += x * move
      points[node].y += y * move
    }
  }
  return intoUnitSquare(points)
}

/** @param {Point[]} points */
function intoUnitSquare(points) {
  const spread = (/** @type {number[]} */ values) => {
    const [low, high] = [Math.min(...values), Math.max(...values)]
    return (/** @type {number} */ value) => (value - low) / (high - low || 1)
  }
  const [x, y] = [spread(points.map((point) => point.x)), spread(points.map((point) => point.y))]
  return points.map((point) => ({ x: x(point.x), y: y(point.y) }))
}
