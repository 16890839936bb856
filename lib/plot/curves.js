// The edges of a graph picture: curves between discs with arrowheads, and loops, wider and darker with their strength.

import { lineStyle } from './strengths.js'
import { round } from './svg.js'

/** @typedef {import('./layout.js').Point} Point */
/** @typedef {Point & { radius: number }} Disc */
/**
 * @typedef {object} EdgeList
 * @property {readonly number[]} source
 * @property {readonly number[]} target
 * @property {Float64Array | undefined} strengths  from 0 to 1
 * @property {boolean} selfLoops
 * @property {boolean} directed
 */

/** Number of distinct strengths. */
const STEPS = 24
/** With more discs than this, edges are thinner. */
const FEW_DISCS = 100

/**
 * Draws the edges, strong ones last so that they are on top. Edges of equal strength share one path.
 *
 * @param {import('./svg.js').Palette} palette
 * @param {EdgeList} wanted
 * @param {readonly Disc[]} discs
 */
export function drawCurves(palette, { source, target, strengths, selfLoops, directed }, discs) {
  const center = middleOf(discs)
  /** @type {Map<number, { lines: string, heads: string }>} */
  const steps = new Map()
  /** @type {Map<string, number>} */
  const seen = new Map()
  for (let edge = 0; edge < source.length; edge++) {
    // If directions do not matter, all lines between two discs lead the same way and bend apart.
    const isReversed = !directed && source[edge] > target[edge]
    const [from, to] = isReversed ? [target[edge], source[edge]] : [source[edge], target[edge]]
    if (from === to && !selfLoops) continue
    const repeat = seen.get(`${from} ${to}`) ?? 0
    seen.set(`${from} ${to}`, repeat + 1)
    const step = strengths ? Math.ceil(strengths[edge] * STEPS) : 0
    const size = strengths ? 2.4 + (7 * step) / STEPS : 4
    const shape =
      from === to ? loop(discs[from], center, repeat) : curve(discs[from], discs[to], directed, repeat, size)
    const { lines, heads } = steps.get(step) ?? { lines: '', heads: '' }
    steps.set(step, { lines: lines + shape.line, heads: directed ? heads + shape.head : '' })
  }
  const plain = discs.length > FEW_DISCS ? { width: 0.7, opacity: 0.45 } : { width: 1.1, opacity: 0.6 }
  return [...steps]
    .sort(([a], [b]) => a - b)
    .flatMap(([step, { lines, heads }]) => {
      const { width, opacity } = strengths ? lineStyle(step / STEPS) : plain
      const stroke = `${palette.paint({ stroke: 'edge' })} stroke-width="${width}" stroke-opacity="${opacity}"`
      const path = `<path fill="none" stroke-linecap="round" ${stroke} d="${lines}"/>`
      return heads === ''
        ? [path]
        : [path, `<path ${palette.paint({ fill: 'edge' })} fill-opacity="${opacity}" d="${heads}"/>`]
    })
}

/**
 * A curve between the rims of two discs with an arrowhead, bent to one side so that both directions stay visible.
 *
 * @param {Disc} from
 * @param {Disc} to
 * @param {boolean} directed
 * @param {number} repeat  number of earlier edges between the same discs
 * @param {number} size  of the arrowhead
 */
function curve(from, to, directed, repeat, size) {
  const [dx, dy] = [to.x - from.x, to.y - from.y]
  const length = Math.max(Math.hypot(dx, dy), 1e-3)
  const bend = directed ? 0.1 + 0.07 * repeat : 0.07 * Math.ceil(repeat / 2) * (repeat % 2 === 0 ? 1 : -1)
  const middle = { x: (from.x + to.x) / 2 - dy * bend, y: (from.y + to.y) / 2 + dx * bend }
  const toward = (/** @type {Point} */ point, /** @type {Point} */ aim, /** @type {number} */ distance) => {
    const whole = Math.max(Math.hypot(aim.x - point.x, aim.y - point.y), 1e-3)
    const share = Math.min(distance / whole, 0.9)
    return { x: point.x + (aim.x - point.x) * share, y: point.y + (aim.y - point.y) * share }
  }
  const tip = toward(to, middle, to.radius + 1)
  const end = directed ? toward(to, middle, to.radius + 1 + Math.min(1.6 * size, length / 4)) : tip
  const line = `M${coordinates(toward(from, middle, Math.max(from.radius - 1, 0)))}${bend === 0 ? 'L' : `Q${coordinates(middle)} `}${coordinates(end)}`
  const [ux, uy] = [tip.x - end.x, tip.y - end.y]
  const wide = Math.max(Math.hypot(ux, uy), 1e-3)
  const [sideX, sideY] = [(-uy / wide) * size * 0.7, (ux / wide) * size * 0.7]
  const head = `M${coordinates(tip)}L${coordinates({ x: end.x + sideX, y: end.y + sideY })}L${coordinates({ x: end.x - sideX, y: end.y - sideY })}z`
  return { line, head }
}

/** @param {Point} point */
const coordinates = ({ x, y }) => `${round(x)} ${round(y)}`

/**
 * A loop on the side of a disc that faces away from the others.
 *
 * @param {Disc} disc
 * @param {Point} center  of all discs
 * @param {number} repeat
 */
function loop(disc, center, repeat) {
  const angle = Math.atan2(disc.y - center.y, disc.x - center.x)
  const far = disc.radius * 2.2 + 10 + 8 * repeat
  const at = (/** @type {number} */ turn, /** @type {number} */ distance) =>
    coordinates({ x: disc.x + Math.cos(angle + turn) * distance, y: disc.y + Math.sin(angle + turn) * distance })
  return { line: `M${at(-0.45, disc.radius)}C${at(-0.7, far)} ${at(0.7, far)} ${at(0.45, disc.radius)}`, head: '' }
}

/**
 * The center of all discs.
 *
 * @param {readonly Disc[]} discs
 * @returns {Point}
 */
function middleOf(discs) {
  const sum = discs.reduce((sum, { x, y }) => ({ x: sum.x + x, y: sum.y + y }), { x: 0, y: 0 })
  // A single disc has its loops at the top.
  return discs.length === 1 ? { x: sum.x, y: sum.y + 1 } : { x: sum.x / discs.length, y: sum.y / discs.length }
}
