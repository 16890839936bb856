// Spring layout of a graph: edges attract their nodes, and all nodes repel each other.

/** @typedef {{ x: number, y: number }} Point */

/** Upper limit for the pairs of nodes processed in total; large graphs get fewer rounds. */
const MAX_PAIRS = 1e8
/** Up to this many nodes, all pairs repel each other individually; beyond, distant nodes are grouped. */
const MAX_EXACT_NODES = 400

/**
 * Node positions in the unit square; deterministic (Fruchterman & Reingold 1991).
 *
 * @param {number} nodes
 * @param {readonly number[]} source
 * @param {readonly number[]} target
 * @returns {Point[]}
 */
export function springLayout(nodes, source, target) {
  const distance = 1 / Math.sqrt(nodes)
  const [x, y] = spiral(nodes)
  const [forceX, forceY] = [new Float64Array(nodes), new Float64Array(nodes)]
  const perRound = nodes <= MAX_EXACT_NODES ? nodes ** 2 / 2 : nodes * 300
  const rounds = Math.round(Math.min(Math.max(MAX_PAIRS / Math.max(perRound, 1), 60), 600))
  for (let round = 0; round < rounds; round++) {
    // A weak pull to the center, so that disconnected parts do not drift away.
    for (let node = 0; node < nodes; node++) {
      forceX[node] = -x[node] * distance
      forceY[node] = -y[node] * distance
    }
    const push = (
      /** @type {number} */ node,
      /** @type {number} */ dx,
      /** @type {number} */ dy,
      /** @type {number} */ mass
    ) => {
      const force = (mass * distance ** 2) / Math.max(dx * dx + dy * dy, 1e-6)
      forceX[node] -= dx * force
      forceY[node] -= dy * force
    }
    if (nodes <= MAX_EXACT_NODES) eachPair(x, y, push)
    else eachCluster(x, y, push)
    for (let edge = 0; edge < source.length; edge++) {
      const [a, b] = [source[edge], target[edge]]
      const [dx, dy] = [x[b] - x[a], y[b] - y[a]]
      const force = Math.sqrt(dx * dx + dy * dy) / distance / 2
      forceX[a] += dx * force
      forceY[a] += dy * force
      forceX[b] -= dx * force
      forceY[b] -= dy * force
    }
    const step = 0.1 * (1 - round / rounds)
    for (let node = 0; node < nodes; node++) {
      const length = Math.max(Math.hypot(forceX[node], forceY[node]), 1e-9)
      const move = Math.min(length, step) / length
      x[node] += forceX[node] * move
      y[node] += forceY[node] * move
    }
  }
  return intoUnitSquare(x, y)
}

/**
 * Start positions on a spiral with the golden angle: evenly spread, and all different.
 *
 * @param {number} nodes
 */
function spiral(nodes) {
  const [x, y] = [new Float64Array(nodes), new Float64Array(nodes)]
  for (let node = 0; node < nodes; node++) {
    const [radius, angle] = [Math.sqrt((node + 0.5) / nodes), node * Math.PI * (3 - Math.sqrt(5))]
    x[node] = radius * Math.cos(angle)
    y[node] = radius * Math.sin(angle)
  }
  return [x, y]
}

/** @typedef {(node: number, dx: number, dy: number, mass: number) => void} Push */

/**
 * @param {Float64Array} x
 * @param {Float64Array} y
 * @param {Push} push
 */
function eachPair(x, y, push) {
  for (let a = 0; a < x.length; a++) {
    for (let b = a + 1; b < x.length; b++) {
      push(a, x[b] - x[a], y[b] - y[a], 1)
      push(b, x[a] - x[b], y[a] - y[b], 1)
    }
  }
}

/**
 * Repulsion of each node by the others; distant squares act as a single mass at their center (Barnes & Hut 1986).
 *
 * @param {Float64Array} x
 * @param {Float64Array} y
 * @param {Push} push
 */
function eachCluster(x, y, push) {
  const tree = buildTree(
    x,
    y,
    Array.from(x, (_, node) => node)
  )
  for (let node = 0; node < x.length; node++) {
    const open = [tree]
    for (let square = open.pop(); square !== undefined; square = open.pop()) {
      const [dx, dy] = [square.x - x[node], square.y - y[node]]
      if (square.size * square.size < 0.8 * (dx * dx + dy * dy)) push(node, dx, dy, square.mass)
      else if (square.parts.length > 0) open.push(...square.parts)
      else for (const other of square.nodes) if (other !== node) push(node, x[other] - x[node], y[other] - y[node], 1)
    }
  }
}

/** @typedef {{ x: number, y: number, size: number, mass: number, nodes: number[], parts: Square[] }} Square */

/**
 * Builds a quadtree with a few nodes per leaf.
 *
 * @param {Float64Array} x
 * @param {Float64Array} y
 * @param {number[]} nodes
 * @returns {Square}
 */
function buildTree(x, y, nodes) {
  const [acrossX, acrossY] = [extentOf(x, nodes), extentOf(y, nodes)]
  const size = Math.max(acrossX.size, acrossY.size)
  const square = {
    x: acrossX.mean,
    y: acrossY.mean,
    size,
    mass: nodes.length,
    nodes,
    parts: /** @type {Square[]} */ ([])
  }
  // Coincident nodes cannot be separated.
  if (nodes.length <= 8 || size < 1e-9) return square
  const quarters = [0, 1, 2, 3].map((quarter) =>
    nodes.filter((node) => Number(x[node] > acrossX.middle) + 2 * Number(y[node] > acrossY.middle) === quarter)
  )
  square.parts = quarters.filter(({ length }) => length > 0).map((part) => buildTree(x, y, part))
  return square
}

/**
 * @param {Float64Array} values
 * @param {readonly number[]} nodes
 */
function extentOf(values, nodes) {
  let [low, high, sum] = [Infinity, -Infinity, 0]
  for (const node of nodes) {
    low = Math.min(low, values[node])
    high = Math.max(high, values[node])
    sum += values[node]
  }
  return { size: high - low, middle: (low + high) / 2, mean: sum / nodes.length }
}

/**
 * Visits the pairs of nodes in the same or in neighboring squares of a grid.
 *
 * @param {Float64Array} x
 * @param {Float64Array} y
 * @param {number} size
 * @param {(a: number, b: number) => void} visit
 */
function eachNearPair(x, y, size, visit) {
  /** @type {Map<string, number[]>} */
  const squares = new Map()
  const squareOf = (/** @type {number} */ node) => [Math.floor(x[node] / size), Math.floor(y[node] / size)]
  for (let node = 0; node < x.length; node++) {
    const [column, row] = squareOf(node)
    // Each pair once: a node meets those inserted before it.
    for (let near = -1; near <= 1; near++) {
      for (let next = -1; next <= 1; next++) {
        for (const other of squares.get(`${column + near} ${row + next}`) ?? []) visit(other, node)
      }
    }
    const own = squares.get(`${column} ${row}`)
    if (own) own.push(node)
    else squares.set(`${column} ${row}`, [node])
  }
}

/**
 * @param {Float64Array} x
 * @param {Float64Array} y
 * @returns {Point[]}
 */
function intoUnitSquare(x, y) {
  const spread = (/** @type {Float64Array} */ values) => {
    const low = values.reduce((least, value) => Math.min(least, value), Infinity)
    const high = values.reduce((most, value) => Math.max(most, value), -Infinity)
    return (/** @type {number} */ value) => (high > low ? (value - low) / (high - low) : 0.5)
  }
  const [placeX, placeY] = [spread(x), spread(y)]
  return Array.from(x, (_, node) => ({ x: placeX(x[node]), y: placeY(y[node]) }))
}

/**
 * Moves overlapping discs apart, a little per round.
 *
 * @param {Point[]} points
 * @param {readonly number[]} radii
 */
export function moveApart(points, radii) {
  const size = 2 * radii.reduce((most, radius) => Math.max(most, radius), 1)
  // Thousands of discs have no room to separate, and each round takes long.
  const rounds = Math.min(50, Math.ceil(50_000 / points.length))
  for (let round = 0; round < rounds; round++) {
    let touching = false
    const [x, y] = [Float64Array.from(points, (point) => point.x), Float64Array.from(points, (point) => point.y)]
    eachNearPair(x, y, size, (a, b) => {
      const [from, to] = [points[a], points[b]]
      const [dx, dy] = [to.x - from.x, to.y - from.y]
      const distance = Math.hypot(dx, dy)
      const missing = radii[a] + radii[b] - distance
      if (missing <= 0.01) return
      touching = true
      // Coincident discs separate horizontally.
      const share = missing / 2 / Math.max(distance, 1e-6)
      const [moveX, moveY] = distance > 1e-6 ? [dx * share, dy * share] : [missing / 2, 0]
      from.x -= moveX
      from.y -= moveY
      to.x += moveX
      to.y += moveY
    })
    if (!touching) return
  }
}
