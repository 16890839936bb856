// Positions of tokens in the hyperbolic plane: their embeddings along the two directions in which they vary most.

import type { Tensor } from '@ruvector/attention'

/** Distance of the outermost token from the center, as a tangent vector there. */
const REACH = 1.5
const STEPS = 60

/** The embeddings `[1, L, size]` as tangent vectors at the center, `[L, 2]`, by their principal components. */
export function principalPlane({ data, shape: [, length, size] }: Tensor): Tensor {
  const rows = centered(data, length, size)
  const first = principal(rows, size, [])
  const second = principal(rows, size, [first])
  const positions = new Float32Array(length * 2)
  let farthest = 0
  rows.forEach((row, index) => {
    const [x, y] = [dot(row, first), dot(row, second)]
    positions.set([x, y], 2 * index)
    farthest = Math.max(farthest, Math.hypot(x, y))
  })
  return { data: positions.map((value) => (value * REACH) / (farthest || 1)), shape: [length, 2] }
}

function centered(data: Float32Array, length: number, size: number) {
  const rows = Array.from({ length }, (_, index) => Float64Array.from(data.subarray(index * size, (index + 1) * size)))
  for (let i = 0; i < size; i++) {
    const mean = rows.reduce((sum, row) => sum + row[i], 0) / length
    for (const row of rows) row[i] -= mean
  }
  return rows
}

/** The direction of the largest variance orthogonal to the previous ones, by power iteration. */
function principal(rows: readonly Float64Array[], size: number, found: readonly Float64Array[]) {
  let direction: Float64Array = Float64Array.from({ length: size }, (_, i) => Math.cos(i * 1.7 + found.length))
  for (let step = 0; step < STEPS; step++) {
    for (const other of found) {
      const along = dot(direction, other)
      direction = direction.map((value, i) => value - along * other[i])
    }
    const next = new Float64Array(size)
    for (const row of rows) {
      const along = dot(row, direction)
      for (let i = 0; i < size; i++) next[i] += along * row[i]
    }
    const norm = Math.sqrt(dot(next, next))
    // All tokens coincide, so any direction works.
    if (norm < 1e-12) return direction
    direction = next.map((value) => value / norm)
  }
  // Keeps the first token at the top left, so that a growing sentence does not flip.
  return rows.length > 0 && dot(rows[0], direction) > 0 ? direction.map((value) => -value) : direction
}

function dot(a: Float64Array, b: Float64Array) {
  let sum = 0
  for (let i = 0; i < a.length; i++) sum += a[i] * b[i]
  return sum
}
