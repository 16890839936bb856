// Geodesics of the Poincaré disk of radius 1: arcs of circles that meet its boundary at right angles, or its diameters.

/** @typedef {readonly [x: number, y: number]} Point */

/** Circles so large are straight within any picture. */
const STRAIGHT = 1e4

/**
 * The circle of the geodesic through two points, or undefined where it is a diameter. With `|c|² = r² + 1` it meets the
 * boundary at right angles, and both points lie on it: `2 c·p = |p|² + 1` (Needham, Visual Complex Analysis, ch. 6).
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
 * The geodesic from one point to another as part of a path of SVG, `place` putting the disk into the picture.
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
 * Two decimals: an arc's ends and its radius have to fit each other.
 *
 * @param {number} value
 */
const fine = (value) => Number(value.toFixed(2))
