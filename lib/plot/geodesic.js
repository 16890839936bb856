// Geodesics of the Poincaré disk of radius 1: circular arcs that meet the boundary at right angles, or diameters.

/** @typedef {readonly [x: number, y: number]} Point */

/** Circles with a larger radius are straight lines at any picture size. */
const STRAIGHT = 1e4

/**
 * The circle of the geodesic through two points, or undefined if it is a diameter. It meets the boundary at right
 * angles because `|c|² = r² + 1`; both points lie on it because `2 c·p = |p|² + 1` (Needham, Visual Complex Analysis,
 * ch. 6).
 *
 * @param {Point} a
 * @param {Point} b
 */
function circleThrough([ax, ay], [bx, by]) {
  const area = 2 * (ax * by - ay * bx)
  const [a, b] = [ax * ax + ay * ay + 1, bx * bx + by * by + 1]
  const [x, y] = [(a * by - b * ay) / area, (b * ax - a * bx) / area]
  const radius = Math.sqrt(x * x + y * y - 1)
  return radius < STRAIGHT ? { x, y, radius } : undefined
}

/**
 * The geodesic between two points as SVG path data, in the coordinates of the picture's `disk`.
 *
 * @param {Point} a
 * @param {Point} b
 * @param {{ x: number, y: number, radius: number }} disk
 */
export function geodesicPath(a, b, disk) {
  const at = (/** @type {Point} */ [x, y]) => `${fine(disk.x + disk.radius * x)} ${fine(disk.y + disk.radius * y)}`
  const circle = circleThrough(a, b)
  if (circle === undefined) return `M${at(a)}L${at(b)}`
  const turns = (a[0] - circle.x) * (b[1] - circle.y) > (a[1] - circle.y) * (b[0] - circle.x) ? 1 : 0
  const radius = fine(circle.radius * disk.radius)
  return `M${at(a)}A${radius} ${radius} 0 0 ${turns} ${at(b)}`
}

/**
 * Rounds to two decimals, so that the end points of an arc match its radius.
 *
 * @param {number} value
 */
const fine = (value) => Number(value.toFixed(2))
