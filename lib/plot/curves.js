// The edges of a graph in a picture: curves from rim to rim with their arrows, loops, wide and dark by strength.

import { lineStyle } from './strengths.js'
import { round } from './svg.js'

/** @typedef {import('./layout.js').Point} Point */
/** @typedef {Point & { radius: number }} Disc */
/**
 * @typedef {object} Wanted
 * @property {readonly number[]} source
 * @property {readonly number[]} target
 * @property {Float64Array | undefined} strengths  from 0 to 1
 * @property {boolean} selfLoops
 * @property {boolean} directed
 */

/** So many strengths are told apart. */
const STEPS = 24
/** More discs than these have thinner lines between them. */
const FEW_DISCS = 100

/**
 * The edges, strong ones last, on top; those of one strength are one path.
 *
 * @param {import('./svg.js').Palette} palette
 * @param {Wanted} wanted
 * @param {readonly Disc[]} discs
 */
export function drawCurves(palette, { source, target, strengths, selfLoops, directed }, discs) {
  const centre = middleOf(discs)
  /** @type {Map<number, { lines: string, heads: string }>} */
  const steps = new Map()
  /** @type {Map<string, number>} */
  const seen = new Map()
  for (let edge = 0; edge < source.length; edge++) {
    // Where directions do not count, lines between two discs all lead one way, and bend apart.
    const isTurned = !directed && source[edge] > target[edge]
    const [from, to] = isTurned ? [target[edge], source[edge]] : [source[edge], target[edge]]
    if (from === to && !selfLoops) continue
    const again = seen.get(`${from} ${to}`) ?? 0
    seen.set(`${from} ${to}`, again + 1)
    const step = strengths ? Math.ceil(strengths[edge] * STEPS) : 0
    const size = strengths ? 2.4 + (7 * step) / STEPS : 4
    const shape = from === to ? loop(discs[from], centre, again) : curve(discs[from], discs[to], directed, again, size)
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
 * A curve from rim to rim, bent to one side so that both directions are seen, with the head of its arrow.
 *
 * @param {Disc} from
 * @param {Disc} to
 * @param {boolean} directed
 * @param {number} again  how many edges of this pair came before
 * @param {number} size  of the arrow's head
 */
function curve(from, to, directed, again, size) {
  const [dx, dy] = [to.x - from.x, to.y - from.y]
  const length = Math.max(Math.hypot(dx, dy), 1e-3)
  const bend = directed ? 0.1 + 0.07 * again : 0.07 * Math.ceil(again / 2) * (again % 2 === 0 ? 1 : -1)
  const middle = { x: (from.x + to.x) / 2 - dy * bend, y: (from.y + to.y) / 2 + dx * bend }
  const toward = (/** @type {Point} */ point, /** @type {Point} */ aim, /** @type {number} */ distance) => {
    const whole = Math.max(Math.hypot(aim.x - point.x, aim.y - point.y), 1e-3)
    const share = Math.min(distance / whole, 0.9)
    return { x: point.x + (aim.x - point.x) * share, y: point.y + (aim.y - point.y) * share }
  }
  const tip = toward(to, middle, to.radius + 1)
  const end = directed ? toward(to, middle, to.radius + 1 + Math.min(1.6 * size, length / 4)) : tip
  const line = `M${place(toward(from, middle, Math.max(from.radius - 1, 0)))}${bend === 0 ? 'L' : `Q${place(middle)} `}${place(end)}`
  const [ux, uy] = [tip.x - end.x, tip.y - end.y]
  const wide = Math.max(Math.hypot(ux, uy), 1e-3)
  const [sideX, sideY] = [(-uy / wide) * size * 0.7, (ux / wide) * size * 0.7]
  const head = `M${place(tip)}L${place({ x: end.x + sideX, y: end.y + sideY })}L${place({ x: end.x - sideX, y: end.y - sideY })}z`
  return { line, head }
}

/** @param {Point} point */
const place = ({ x, y }) => `${round(x)} ${round(y)}`

/**
 * A loop at the side of a disc that looks away from the others.
 *
 * @param {Disc} disc
 * @param {Point} centre  of all of them
 * @param {number} again
 */
function loop(disc, centre, again) {
  const angle = Math.atan2(disc.y - centre.y, disc.x - centre.x)
  const far = disc.radius * 2.2 + 10 + 8 * again
  const at = (/** @type {number} */ turn, /** @type {number} */ distance) =>
    place({ x: disc.x + Math.cos(angle + turn) * distance, y: disc.y + Math.sin(angle + turn) * distance })
  return { line: `M${at(-0.45, disc.radius)}C${at(-0.7, far)} ${at(0.7, far)} ${at(0.45, disc.radius)}`, head: '' }
}

/**
 * The middle of all discs.
 *
 * @param {readonly Disc[]} discs
 * @returns {Point}
 */
function middleOf(discs) {
  const sum = discs.reduce((sum, { x, y }) => ({ x: sum.x + x, y: sum.y + y }), { x: 0, y: 0 })
  // One disc alone looks up from a point below it.
  return discs.length === 1 ? { x: sum.x, y: sum.y + 1 } : { x: sum.x / discs.length, y: sum.y / discs.length }
}
