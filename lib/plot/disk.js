// The Poincaré disk as a picture: points, geodesics between them, and labels where they fit.

import { describe, fault, isArray } from '../checks/errors.js'
import { pickOptions } from '../checks/options.js'
import { arrayType } from '../checks/tensor.js'
import {
  checkIndex,
  checkInteger,
  checkPlane,
  readEntries,
  readIndices,
  readLabels,
  readLines,
  readNumbers,
  readText,
  readTheme
} from './check.js'
import { geodesicPath } from './geodesic.js'
import { placeLabels } from './label-placement.js'
import { lineStyle, readStrengths, strengthKeys } from './strengths.js'
import { MARGIN, createPalette, frame, header, round, text } from './svg.js'
import { brief, escapeXml } from './text.js'

/** @typedef {import('./svg.js').Palette} Palette */
/** @typedef {readonly [x: number, y: number]} Point */
/** @typedef {{ x: number, y: number, radius: number }} Disc */
/** @typedef {ReturnType<typeof readOptions>} Options */

const NAMES = /** @type {const} */ (['curvature', 'labels', 'edges', 'weights', 'edgeWeights', 'highlight', 'title', 'notes', 'theme', 'size']) // prettier-ignore

/** Maximum number of points with tooltips. */
const FEW_POINTS = 400
/** Edges shorter than this many pixels are omitted. */
const SHORTEST_EDGE = 0.7

/** @type {typeof import('../../plot.d.ts').poincareDisk} */
export function poincareDisk(points, given) {
  const picked = pickOptions(given, NAMES)
  const curvature = picked.curvature ?? -1
  if (typeof curvature !== 'number' || !(curvature < 0) || !Number.isFinite(curvature)) {
    throw fault('OPTION', 'curvature', 'a finite number below 0', describe(curvature))
  }
  const inDisk = readPoints(points, 1 / Math.sqrt(-curvature))
  return draw(inDisk, readOptions(picked, inDisk.length))
}

/**
 * Scales the points to a disk of radius 1. Points that rounding has put on the boundary are accepted.
 *
 * @param {unknown} points
 * @param {number} radius
 * @returns {Point[]}
 */
function readPoints(points, radius) {
  const { data, count } = checkPlane('points', points)
  return Array.from({ length: count }, (_, row) => {
    const [x, y] = [data[2 * row], data[2 * row + 1]]
    const length = Math.hypot(x, y)
    if (length > radius * (1 + 1e-6)) {
      const ball = `a point inside the ball of radius ${Number(radius.toPrecision(6))}`
      throw fault('DOMAIN', `points[${row}]`, ball, `[${x}, ${y}]`)
    }
    const scale = 1 / Math.max(radius, length)
    return [x * scale, y * scale]
  })
}

/**
 * @param {{ [name in typeof NAMES[number]]?: unknown }} given
 * @param {number} count
 */
function readOptions(given, count) {
  const edges = readEdges(given.edges, count)
  if (given.edgeWeights !== undefined && given.edges === undefined) {
    throw fault('OPTION', 'edgeWeights', 'no weights without edges', describe(given.edgeWeights))
  }
  return {
    edges,
    labels: readLabels('labels', given.labels, count),
    weights: readStrengths('weights', readNumbers('weights', given.weights, count)),
    edgeWeights: readStrengths('edgeWeights', readNumbers('edgeWeights', given.edgeWeights, edges.length)),
    highlight: new Set(given.highlight === undefined ? [] : readIndices('highlight', given.highlight, count)),
    title: readText('title', given.title, 'Poincaré disk'),
    notes: readLines('notes', given.notes),
    theme: readTheme(given.theme),
    /** Points are larger if there are few. */
    large: Math.min(Math.max((200 / count) ** 0.25, 1), 1.8),
    size: given.size === undefined ? 800 : checkInteger('size', given.size, 100, 4000)
  }
}

/**
 * @param {unknown} value
 * @param {number} count
 * @returns {[number, number][]}
 */
function readEdges(value, count) {
  if (value === undefined) return []
  if (arrayType(value) === 'Int32Array') {
    const flat = readIndices('edges', value, count)
    if (flat.length % 2 !== 0) throw fault('SHAPE', 'edges', 'an even number of points', `${flat.length}`)
    return Array.from({ length: flat.length / 2 }, (_, edge) => [flat[2 * edge], flat[2 * edge + 1]])
  }
  if (!isArray(value)) throw fault('DTYPE', 'edges', 'a list of pairs or an Int32Array', describe(value))
  return readEntries('edges', value, (pair, edge) => {
    if (!isArray(pair) || pair.length !== 2) throw fault('OPTION', `edges[${edge}]`, 'a pair of points', describe(pair))
    return [checkIndex(`edges[${edge}][0]`, pair[0], count), checkIndex(`edges[${edge}][1]`, pair[1], count)]
  })
}

/**
 * @param {readonly Point[]} points
 * @param {Options} options
 */
function draw(points, options) {
  const palette = createPalette(options.theme)
  const width = options.size + 2 * MARGIN
  const head = header(palette, { title: options.title, notes: options.notes, width })
  const radius = options.size / 2
  const disk = { x: width / 2, y: head.bottom + 4 + radius, radius }
  const discs = points.map((point, index) => discOf(point, index, disk, options))
  const names = labels(discs, options, palette, disk)
  const legend = strengthKeys(palette, disk.x - radius, disk.y + radius + 24, disk.x + radius, keysOf(options))
  const parts = [
    ...head.parts,
    `<circle cx="${round(disk.x)}" cy="${round(disk.y)}" r="${radius}" ${palette.paint({ fill: 'wash', stroke: 'line' })}/>`,
    ...edges(points, options, palette, disk),
    ...dots(discs, options, palette),
    ...names,
    ...legend.parts
  ]
  const height = disk.y + radius + MARGIN + legend.height
  return frame({
    width,
    height,
    title: options.title || 'Poincaré disk',
    description: describeDisk(points, options, names.length),
    palette,
    parts
  })
}

/** @param {Options} options */
function keysOf({ weights, edgeWeights }) {
  return [
    ...(weights ? [{ ...weights, label: 'point', sign: /** @type {const} */ ('disc') }] : []),
    ...(edgeWeights ? [{ ...edgeWeights, label: 'edge', sign: /** @type {const} */ ('line') }] : [])
  ]
}

/**
 * Discs shrink toward the boundary, where hyperbolic distances appear smaller.
 *
 * @param {Point} point
 * @param {number} index
 * @param {Disc} disk
 * @param {Options} options
 * @returns {Disc}
 */
function discOf([x, y], index, disk, { weights, highlight, size, large }) {
  const near = 1 - x * x - y * y
  const strength = weights?.strengths[index] ?? 0
  const radius = (0.9 + 3.6 * near + 3 * strength) * Math.min(1, size / 500) * large
  return {
    x: disk.x + disk.radius * x,
    y: disk.y + disk.radius * y,
    radius: highlight.has(index) ? Math.max(2.2 * radius, 6) : radius
  }
}

/**
 * @param {readonly Point[]} points
 * @param {Options} options
 * @param {Palette} palette
 * @param {Disc} disk
 */
function edges(points, { edges, edgeWeights }, palette, disk) {
  /** @type {Map<number, string>} */
  const paths = new Map()
  for (const [edge, [from, to]] of edges.entries()) {
    const [a, b] = [points[from], points[to]]
    if (Math.hypot(a[0] - b[0], a[1] - b[1]) * disk.radius < SHORTEST_EDGE) continue
    const step = edgeWeights ? Math.round(edgeWeights.strengths[edge] * 8) : 0
    paths.set(step, `${paths.get(step) ?? ''}${geodesicPath(a, b, disk)}`)
  }
  return [...paths]
    .sort(([a], [b]) => a - b)
    .map(([step, path]) => {
      const { width, opacity } = edgeWeights ? lineStyle(step / 8) : { width: 0.9, opacity: 1 }
      const stroke = palette.paint({ stroke: edgeWeights ? 'edge' : 'line' })
      return `<path fill="none" ${stroke} stroke-width="${width}" stroke-opacity="${opacity}" d="${path}"/>`
    })
}

/**
 * Draws the points, strong ones on top. Where many overlap, as near the boundary, only one is drawn.
 *
 * @param {readonly Disc[]} discs
 * @param {Options} options
 * @param {Palette} palette
 */
function dots(discs, { weights, labels, highlight }, palette) {
  const strength = (/** @type {number} */ index) => (highlight.has(index) ? 2 : (weights?.strengths[index] ?? 0))
  const order = discs.map((_, index) => index).sort((a, b) => strength(b) - strength(a) || a - b)
  const seen = new Set()
  const drawn = order.filter((index) => {
    const { x, y, radius } = discs[index]
    const grid = Math.max(radius, 0.7)
    const spot = highlight.has(index) ? index : `${grid.toFixed(1)} ${Math.round(x / grid)} ${Math.round(y / grid)}`
    return seen.has(spot) ? false : seen.add(spot)
  })
  /** Circles by strength, so that each group shares its attributes. @type {Map<number, string>} */
  const groups = new Map()
  for (const index of drawn.reverse()) {
    const { x, y, radius } = discs[index]
    const step = Math.round(10 * strength(index))
    const geometry = `cx="${round(x)}" cy="${round(y)}" r="${round(radius)}"`
    const title = escapeXml(nameOf(index, labels, weights))
    const circle =
      discs.length <= FEW_POINTS ? `<circle ${geometry}><title>${title}</title></circle>` : `<circle ${geometry}/>`
    groups.set(step, (groups.get(step) ?? '') + circle)
  }
  return Array.from(groups, ([step, circles]) => {
    const opacity = step > 0 && step < 10 ? ` fill-opacity="${round(0.3 + 0.07 * step)}"` : ''
    return `<g ${palette.paint({ fill: step > 0 ? 'accent' : 'muted' })}${opacity}>${circles}</g>`
  })
}

/**
 * @param {number} index
 * @param {readonly string[] | undefined} labels
 * @param {Options['weights']} weights
 */
function nameOf(index, labels, weights) {
  const name = brief(labels?.[index] || `point ${index}`)
  return weights ? `${name}: ${Number(weights.values[index].toPrecision(3))}` : name
}

/**
 * Places the labels: highlighted points first, then the strongest, then those nearest to the center.
 *
 * @param {readonly Disc[]} discs
 * @param {Options} options
 * @param {Palette} palette
 * @param {Disc} disk
 */
function labels(discs, { labels: given, weights, highlight }, palette, disk) {
  if (given === undefined) return []
  const importance = (/** @type {number} */ index) => {
    const strength = weights?.strengths[index] ?? 0
    return (highlight.has(index) ? 1e6 : 0) + (strength > 0.1 ? 1e3 * strength : 0) + discs[index].radius
  }
  const wanted = given
    .map((label, index) => ({ label, index, importance: importance(index) }))
    .filter(({ label }) => label !== '')
    .sort((a, b) => b.importance - a.importance)
    .map(({ label, index }) => {
      const emphasis = highlight.has(index)
      return { ...discs[index], label, size: emphasis ? 17 : 12.5, weight: emphasis ? 700 : undefined }
    })
  // Among many points, a label may cover unimportant ones.
  const isImportant = (/** @type {number} */ index) => highlight.has(index) || (weights?.strengths[index] ?? 0) > 0.1
  const obstacles = discs.filter((_, index) => discs.length <= 60 || isImportant(index))
  const [left, right] = [disk.x - disk.radius - MARGIN + 4, disk.x + disk.radius + MARGIN - 4]
  const bounds = { left, right, top: disk.y - disk.radius - 4, bottom: disk.y + disk.radius + 12 }
  return placeLabels(wanted, obstacles, bounds, disk.radius / 5).map(({ x, y, label, ...style }) =>
    text(palette, x, y, label, { ...style, halo: true })
  )
}

/**
 * @param {readonly Point[]} points
 * @param {Options} options
 * @param {number} named
 */
function describeDisk(points, { edges, highlight, labels, weights }, named) {
  const strongest = weights
    ? [...weights.strengths.keys()].sort((a, b) => weights.strengths[b] - weights.strengths[a]).slice(0, 5)
    : []
  return [
    `${points.length} points in the Poincaré disk, ${edges.length} of their pairs joined by geodesics.`,
    highlight.size > 0 &&
      `Emphasized: ${[...highlight]
        .slice(0, 10)
        .map((index) => nameOf(index, labels, undefined))
        .join(', ')}.`,
    strongest.length > 0 && `Largest weights: ${strongest.map((index) => nameOf(index, labels, weights)).join(', ')}.`,
    labels && `${named} of ${labels.filter((label) => label !== '').length} labels are shown.`
  ]
    .filter(Boolean)
    .join(' ')
}
