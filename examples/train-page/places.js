// The place of each node in the picture, from −1 to 1.

/** @typedef {import('./network.js').Data} Data */

/**
 * Neighbors attract each other, and all nodes repel each other (Fruchterman & Reingold 1991).
 *
 * @param {Data} data
 */
export function placeByForces({ numNodes, source, target }) {
  const x = Float32Array.from({ length: numNodes }, (_, node) => Math.cos(node * 2.4) * (0.3 + (node % 7) / 10))
  const y = Float32Array.from({ length: numNodes }, (_, node) => Math.sin(node * 2.4) * (0.3 + (node % 7) / 10))
  const length = 1.1 / Math.sqrt(numNodes)
  for (let step = 0; step < 400; step++) {
    const [dx, dy] = [new Float32Array(numNodes), new Float32Array(numNodes)]
    /** @param {number} a @param {number} b @param {(distance: number) => number} force */
    const push = (a, b, force) => {
      const [u, v] = [x[a] - x[b], y[a] - y[b]]
      const distance = Math.max(Math.hypot(u, v), 0.01)
      dx[a] += (u / distance) * force(distance)
      dy[a] += (v / distance) * force(distance)
    }
    for (let a = 0; a < numNodes; a++) {
      for (let b = 0; b < numNodes; b++) if (a !== b) push(a, b, (distance) => length ** 2 / distance)
    }
    source.forEach((a, edge) => push(a, target[edge], (distance) => -(distance ** 2) / length))
    const limit = 0.1 * (1 - step / 400)
    for (let node = 0; node < numNodes; node++) {
      const size = Math.max(Math.hypot(dx[node], dy[node]), 1e-6)
      x[node] += (dx[node] / size) * Math.min(size, limit)
      y[node] += (dy[node] / size) * Math.min(size, limit)
    }
  }
  return fit(x, y)
}

/**
 * A disk for each label, in a circle. Nodes fill their disk evenly, at the golden angle.
 *
 * @param {Data} data
 */
export function placeByLabels({ labels }) {
  const count = Math.max(...labels) + 1
  const sizes = Array.from({ length: count }, (_, label) => labels.filter((own) => own === label).length)
  const placed = Array(count).fill(0)
  const radius = 0.9 * Math.sin(Math.PI / count)
  const places = labels.map((label) => {
    const at = placed[label]++
    const [angle, middle] = [at * 2.399963, (2 * Math.PI * label) / count - Math.PI / 2]
    const distance = radius * Math.sqrt((at + 0.5) / sizes[label])
    return [Math.cos(middle) + distance * Math.cos(angle), Math.sin(middle) + distance * Math.sin(angle)]
  })
  return fit(
    Float32Array.from(places, ([x]) => x),
    Float32Array.from(places, ([, y]) => y)
  )
}

/**
 * Scales both axes to −1 to 1.
 *
 * @param {Float32Array} x
 * @param {Float32Array} y
 */
function fit(x, y) {
  const [first, second] = [x, y].map((values) => {
    const [least, most] = [values.reduce((a, b) => Math.min(a, b)), values.reduce((a, b) => Math.max(a, b))]
    return values.map((value) => (2 * (value - least)) / (most - least) - 1)
  })
  return { x: first, y: second }
}
