// A graph as SVG: nodes as discs in the colors of their groups, edges as curves, wider and darker with their weights.

import { describe, fault, isObject } from '../checks/errors.js'
import { pickOptions } from '../checks/options.js'
import { arrayType, asTensor, checkArray, checkTensor, formatShape } from '../checks/tensor.js'
import {
  checkIndex,
  checkInteger,
  checkPlane,
  readBoolean,
  readIndices,
  readLines,
  readList,
  readText,
  readTheme
} from './check.js'
import { GROUP_COLORS } from './color.js'
import { drawCurves } from './curves.js'
import { moveApart, springLayout } from './layout.js'
import { placeLabels } from './label-placement.js'
import { readStrengths, strengthKeys } from './strengths.js'
import { MARGIN, createPalette, frame, header, round, text } from './svg.js'
import { brief, clean, escapeXml, widthOf, wrap } from './text.js'

/** @typedef {import('./svg.js').Palette} Palette */
/** @typedef {import('./layout.js').Point} Point */
/** @typedef {{ numNodes: number, source: number[], target: number[] }} Edges */
/** @typedef {ReturnType<typeof readOptions>} Options */
/** @typedef {import('./curves.js').Disc} Disc */
/** @typedef {{ nodes: number[], label: string, group: string | undefined }} Mark */

const NAMES = /** @type {const} */ (['labels', 'groups', 'groupLabels', 'positions', 'weights', 'head', 'addSelfLoops', 'selfLoops', 'directed', 'marks', 'title', 'notes', 'theme', 'width']) // prettier-ignore

/** Upper limit for the number of nodes, more than any picture can show. */
const MAX_NODES = 1_000_000

/** Maximum number of nodes that are numbered and have tooltips. */
const FEW_NODES = 100

/** @type {typeof import('../../plot.d.ts').graphPlot} */
export function graphPlot(graph, given) {
  const edges = readGraph(graph)
  const options = readOptions(pickOptions(given, NAMES), edges)
  return draw(options)
}

/**
 * @param {unknown} graph
 * @returns {Edges}
 */
function readGraph(graph) {
  if (!isObject(graph) || !('source' in graph) || !('target' in graph)) {
    throw fault('DTYPE', 'graph', 'the edges { numNodes, source, target }', describe(graph))
  }
  const { numNodes } = /** @type {Partial<Edges>} */ (graph)
  const count = checkInteger('numNodes', numNodes, 0, MAX_NODES)
  const [source, target] = [readIndices('source', graph.source, count), readIndices('target', graph.target, count)]
  if (source.length !== target.length) {
    throw fault('SHAPE', 'target', `${source.length} nodes, the length of source`, `${target.length}`)
  }
  return { numNodes: count, source, target }
}

/**
 * @param {{ [name in typeof NAMES[number]]?: unknown }} given
 * @param {Edges} edges
 */
function readOptions(given, edges) {
  const { numNodes } = edges
  const added = readBoolean('addSelfLoops', given.addSelfLoops, false)
  if (added && given.weights === undefined) throw fault('OPTION', 'addSelfLoops', 'weights of such a layer', 'none')
  if (given.head !== undefined && given.weights === undefined)
    throw fault('OPTION', 'head', 'weights with heads', 'none')
  const all = added ? withSelfLoops(edges) : edges
  const groups = readGroups(given.groups, numNodes)
  return {
    edges: all,
    weights: readStrengths('weights', readWeights(given.weights, given.head, all.source.length)),
    labels: readNodeLabels(given.labels, numNodes),
    groups,
    groupLabels: readGroupLabels(given.groupLabels),
    positions: given.positions === undefined ? undefined : checkPlane('positions', given.positions, numNodes).data,
    selfLoops: readBoolean('selfLoops', given.selfLoops, true),
    directed: readBoolean('directed', given.directed, true),
    marks:
      readList('marks', given.marks, 'a list of marks', (name, mark) => readMark(name, mark, numNodes, groups)) ?? [],
    title: readText('title', given.title, 'Graph'),
    notes: readLines('notes', given.notes),
    theme: readTheme(given.theme),
    width: given.width === undefined ? 860 : checkInteger('width', given.width, 200, 4000)
  }
}

/**
 * The edges that a layer's weights refer to if the layer added self-loops.
 *
 * @param {Edges} edges
 * @returns {Edges}
 */
function withSelfLoops({ numNodes, source, target }) {
  const kept = source.map((_, edge) => edge).filter((edge) => source[edge] !== target[edge])
  const loops = Array.from({ length: numNodes }, (_, node) => node)
  return {
    numNodes,
    source: [...kept.map((edge) => source[edge]), ...loops],
    target: [...kept.map((edge) => target[edge]), ...loops]
  }
}

/**
 * One weight per edge: that of one head, or the mean over all heads.
 *
 * @param {unknown} weights
 * @param {unknown} head
 * @param {number} count
 */
function readWeights(weights, head, count) {
  if (weights === undefined) return undefined
  const isBare = arrayType(weights) === 'Float32Array'
  const { data, shape } = isBare ? asTensor('weights', weights) : checkTensor('weights', weights)
  if (shape.length < 1 || shape.length > 2 || shape[0] !== count || shape[1] === 0) {
    throw fault('SHAPE', 'weights', `[${count}] or [${count}, H], one weight per edge`, formatShape(shape))
  }
  const heads = shape[1] ?? 1
  const chosen = head === undefined ? undefined : checkIndex('head', head, heads)
  return Float64Array.from({ length: count }, (_, edge) => {
    if (chosen !== undefined) return data[edge * heads + chosen]
    let sum = 0
    for (let index = 0; index < heads; index++) sum += data[edge * heads + index]
    return sum / heads
  })
}

/**
 * @param {unknown} labels
 * @param {number} count
 * @returns {string[]}
 */
function readNodeLabels(labels, count) {
  const given = readList('labels', labels, 'a list of strings or numbers', (name, label) => {
    if (typeof label === 'number') return String(label)
    return label === null || label === undefined ? '' : readText(name, label)
  })
  if (given !== undefined && given.length !== count)
    throw fault('SHAPE', 'labels', `${count} labels`, `${given.length}`)
  return given ?? Array.from({ length: count }, (_, node) => (count <= FEW_NODES ? String(node) : ''))
}

/**
 * The group of each node, and the distinct groups: numbers in ascending order, names in order of appearance.
 *
 * @param {unknown} groups
 * @param {number} count
 */
function readGroups(groups, count) {
  if (groups === undefined) return undefined
  const list = arrayType(groups) === 'Int32Array' ? [...checkArray('groups', groups, 'Int32Array')] : groups
  const byNode = readList('groups', list, 'an Int32Array or a list of numbers or strings', readGroup) ?? []
  if (byNode.length !== count) throw fault('SHAPE', 'groups', `${count} groups, one per node`, `${byNode.length}`)
  const names = [...new Set(byNode)]
  if (names.every((name) => String(Number(name)) === name)) names.sort((a, b) => Number(a) - Number(b))
  return { byNode, names, color: new Map(names.map((name, index) => [name, Math.min(index, GROUP_COLORS)])) }
}

/**
 * @param {string} argument
 * @param {unknown} group
 */
function readGroup(argument, group) {
  if (typeof group === 'string') return group
  if (typeof group !== 'number') throw fault('OPTION', argument, 'a number or a string', describe(group))
  return String(group)
}

/**
 * @param {unknown} labels
 * @returns {Map<string, string>}
 */
function readGroupLabels(labels) {
  if (labels === undefined) return new Map()
  if (!isObject(labels)) {
    throw fault('OPTION', 'groupLabels', 'an object with a string per group', describe(labels))
  }
  return new Map(Object.entries(labels).map(([group, label]) => [group, readText(`groupLabels.${group}`, label)]))
}

/**
 * @param {string} argument
 * @param {unknown} mark
 * @param {number} count
 * @param {ReturnType<typeof readGroups>} groups
 * @returns {Mark}
 */
function readMark(argument, mark, count, groups) {
  if (typeof mark !== 'object' || mark === null) throw fault('OPTION', argument, 'an object', describe(mark))
  const { nodes, label, group } = /** @type {Record<string, unknown>} */ (mark)
  const name = group === undefined || group === null ? undefined : readGroup(`${argument}.group`, group)
  if (name !== undefined && !groups?.color.has(name)) {
    throw fault('OPTION', `${argument}.group`, 'a group that at least one node has', describe(group))
  }
  return {
    nodes: readIndices(`${argument}.nodes`, nodes, count),
    label: readText(`${argument}.label`, label),
    group: name
  }
}

/** @param {Options} options */
function draw(options) {
  const palette = createPalette(options.theme)
  const head = header(palette, { title: options.title, notes: options.notes, width: options.width })
  const { discs, bottom } = arrange(options, head.bottom + 8)
  const legend = drawLegend(palette, options, bottom + 24)
  const parts = [...head.parts, ...edgesOf(palette, options, discs), ...nodes(palette, options, discs), ...legend.parts]
  const height = legend.bottom + MARGIN
  return frame({
    width: options.width,
    height,
    title: options.title || 'Graph',
    description: describeGraph(options),
    palette,
    parts
  })
}

/**
 * The discs of the nodes; their areas grow with the number of incoming edges.
 *
 * @param {Options} options
 * @param {number} top
 */
function arrange({ edges, positions, width, marks, selfLoops }, top) {
  const { numNodes, source, target } = edges
  const factor =
    Math.min(Math.max(Math.sqrt(34 / Math.max(numNodes, 1)), 0.16), 1.5) * Math.min(1, Math.sqrt(width / 700))
  const degrees = new Float64Array(numNodes)
  for (const [edge, node] of target.entries()) if (source[edge] !== node) degrees[node] += 1
  const usual = Math.max(4, degrees.reduce((sum, degree) => sum + degree, 0) / Math.max(numNodes, 1))
  const radii = Array.from(degrees, (degree) => factor * (10 + 5.6 * Math.min(Math.sqrt(degree / usual), 4)))
  const ringed = marks.length > 0 ? 5 : 0
  const looped = selfLoops && source.some((node, edge) => node === target[edge])
  const room = radii.reduce((most, radius) => Math.max(most, radius), 0) * (looped ? 2 : 1) + ringed + 4
  const inner = Math.max(width - 2 * (MARGIN + room), 50)
  const { points, height } = positions ? fromPositions(positions, inner) : fromLayout(edges, inner, radii, ringed)
  const discs = points.map(({ x, y }, node) => ({ x: MARGIN + room + x, y: top + room + y, radius: radii[node] }))
  return { discs, bottom: top + height + 2 * room }
}

/**
 * @param {ArrayLike<number>} positions
 * @param {number} width
 */
function fromPositions(positions, width) {
  let [left, right, top, bottom] = [Infinity, -Infinity, Infinity, -Infinity]
  for (let index = 0; index < positions.length; index += 2) {
    left = Math.min(left, positions[index])
    right = Math.max(right, positions[index])
    top = Math.min(top, positions[index + 1])
    bottom = Math.max(bottom, positions[index + 1])
  }
  const [across, down] = [right - left || 1, bottom - top || 1]
  const scale = Math.min(width / across, (width * 1.4) / down)
  const points = Array.from({ length: positions.length / 2 }, (_, node) => ({
    x: (width - across * scale) / 2 + (positions[2 * node] - left) * scale,
    y: (positions[2 * node + 1] - top) * scale
  }))
  return { points, height: positions.length > 0 ? Math.max(bottom - top, 0) * scale : 0 }
}

/**
 * @param {Edges} edges
 * @param {number} width
 * @param {readonly number[]} radii
 * @param {number} ringed
 */
function fromLayout({ numNodes, source, target }, width, radii, ringed) {
  const height = Math.round(width * Math.min(0.66, 0.24 + numNodes / 50))
  const points = springLayout(numNodes, source, target).map(({ x, y }) => ({ x: x * width, y: y * height }))
  moveApart(
    points,
    radii.map((radius) => radius + 2 + ringed * 0.6)
  )
  return { points: fitInto(points, width, height), height }
}

/**
 * Moves points back inside the picture if separating them has pushed some out.
 *
 * @param {readonly Point[]} points
 * @param {number} width
 * @param {number} height
 * @returns {Point[]}
 */
function fitInto(points, width, height) {
  const [x, y] = [points.map((point) => point.x), points.map((point) => point.y)]
  const rescale = (/** @type {readonly number[]} */ values, /** @type {number} */ room) => {
    const low = values.reduce((least, value) => Math.min(least, value), 0)
    const high = values.reduce((most, value) => Math.max(most, value), room)
    return (/** @type {number} */ value) => ((value - low) / (high - low)) * room
  }
  const [placeX, placeY] = [rescale(x, width), rescale(y, height)]
  return points.map((point) => ({ x: placeX(point.x), y: placeY(point.y) }))
}

/**
 * @param {Palette} palette
 * @param {Options} options
 * @param {readonly Disc[]} discs
 */
function edgesOf(palette, { edges, weights, selfLoops, directed }, discs) {
  const { source, target } = edges
  return drawCurves(palette, { source, target, strengths: weights?.strengths, selfLoops, directed }, discs)
}

/**
 * Draws discs, rings, and labels: inside a disc if they fit, otherwise next to it if there is room.
 *
 * @param {Palette} palette
 * @param {Options} options
 * @param {readonly Disc[]} discs
 */
function nodes(palette, { edges, labels, groups, marks, width }, discs) {
  const colorOf = (/** @type {number} */ node) => groups?.color.get(groups.byNode[node]) ?? 0
  const edge = discs.length > FEW_NODES ? 1 : 2
  /** Circles by color, so that each group shares its attributes. @type {Map<number, string>} */
  const circles = new Map()
  for (const [node, { x, y, radius }] of discs.entries()) {
    const geometry = `cx="${round(x)}" cy="${round(y)}" r="${round(radius)}"`
    const words = [labels[node] || `node ${node}`, ...(groups ? [groups.byNode[node]] : [])].map(brief).join(', ')
    const circle =
      discs.length > 4 * FEW_NODES
        ? `<circle ${geometry}/>`
        : `<circle ${geometry}><title>${escapeXml(words)}</title></circle>`
    circles.set(colorOf(node), (circles.get(colorOf(node)) ?? '') + circle)
  }
  const paint = (/** @type {number} */ color) => palette.paint({ fill: `group-${color}`, stroke: 'paper' })
  const colored = Array.from(circles, ([color, group]) => `<g stroke-width="${edge}" ${paint(color)}>${group}</g>`)
  const fits = labels.map((label, node) => {
    const size = Math.min(13, discs[node].radius)
    return label !== '' && size >= 8 && widthOf(clean(label.slice(0, 40)), size) <= 1.75 * discs[node].radius
  })
  const inside = labels.flatMap((label, node) => {
    if (!fits[node]) return []
    const { x, y, radius } = discs[node]
    const size = round(Math.min(13, radius))
    return [
      text(palette, x, y + size * 0.35, label, {
        size,
        weight: 600,
        fill: `on-group-${colorOf(node)}`,
        anchor: 'middle'
      })
    ]
  })
  const wanted = labels
    .map((label, node) => ({ ...discs[node], label, node, size: 12 }))
    .filter(({ label, node }) => label !== '' && !fits[node])
    .sort((a, b) => b.radius - a.radius)
  const bottom = discs.reduce((most, { y, radius }) => Math.max(most, y + radius), 0) + 6
  const bounds = { left: 4, right: width - 4, top: 0, bottom }
  const beside = placeLabels(wanted, discs, bounds, 40 + edges.numNodes / 10).map(({ x, y, label, ...style }) =>
    text(palette, x, y, label, { ...style, halo: true })
  )
  return [...colored, ...marks.flatMap((mark) => rings(palette, mark, groups, discs)), ...inside, ...beside]
}

/**
 * @param {Palette} palette
 * @param {Mark} mark
 * @param {Options['groups']} groups
 * @param {readonly Disc[]} discs
 */
function rings(palette, { nodes, group }, groups, discs) {
  return nodes.map((node) => {
    const { x, y, radius } = discs[node]
    return ringAt(palette, x, y, radius, group === undefined ? undefined : groups?.color.get(group))
  })
}

/**
 * @param {Palette} palette
 * @param {number} x
 * @param {number} y
 * @param {number} radius
 * @param {number | undefined} group
 */
function ringAt(palette, x, y, radius, group) {
  const [gap, style] = group === undefined ? [4, 'stroke-width="1.6"'] : [3, 'stroke-width="4" stroke-dasharray="5 3"']
  const stroke = palette.paint({ stroke: group === undefined ? 'ink' : `group-${group}` })
  return `<circle cx="${round(x)}" cy="${round(y)}" r="${round(radius + gap)}" fill="none" ${style} ${stroke}/>`
}

/**
 * The legend of groups, marks and strengths, in as many lines as needed.
 *
 * @param {Palette} palette
 * @param {Options} options
 * @param {number} top
 */
function drawLegend(palette, { groups, groupLabels, marks, weights, width }, top) {
  /** @type {string[]} */
  const parts = []
  let [x, y] = [MARGIN, top]
  const style = { size: 12.5, fill: 'muted' }
  const entry = (/** @type {(x: number, y: number) => string} */ sign, /** @type {string} */ words) => {
    const lines = wrap(words, Math.min(380, width - 2 * MARGIN - 22), style.size)
    const size = 34 + Math.max(...lines.map((line) => widthOf(line, style.size)))
    if (x + size - 12 > width - MARGIN && x > MARGIN) [x, y] = [MARGIN, y + 24]
    parts.push(sign(x + 8, y - 4), ...lines.map((line, at) => text(palette, x + 22, y + 16 * at, line, style)))
    y += 16 * (lines.length - 1)
    // Nothing may follow on the last line of an entry with several lines.
    x += lines.length > 1 ? width : size + 12
  }
  const disc = (/** @type {number} */ color) => (/** @type {number} */ x, /** @type {number} */ y) =>
    `<circle cx="${x}" cy="${y}" r="7" ${palette.paint({ fill: `group-${color}` })}/>`
  for (const [index, name] of (groups?.names ?? []).slice(0, GROUP_COLORS).entries()) {
    entry(disc(index), groupLabels.get(name) ?? name)
  }
  if (groups && groups.names.length > GROUP_COLORS) entry(disc(GROUP_COLORS), 'other groups')
  const labels = new Set()
  for (const { label, group } of marks) {
    if (label === '' || labels.has(label)) continue
    labels.add(label)
    entry((x, y) => ringAt(palette, x, y, 5, group === undefined ? undefined : groups?.color.get(group)), label)
  }
  if (weights) {
    if (x + 360 > width && x > MARGIN) [x, y] = [MARGIN, y + 24]
    const keys = strengthKeys(palette, x, y, width - MARGIN, [{ ...weights, label: 'edge', sign: 'line' }])
    parts.push(...keys.parts)
    y += keys.height - 20
  }
  return { parts, bottom: parts.length > 0 ? y : top - 24 }
}

/** @param {Options} options */
function describeGraph({ edges, labels, groups, groupLabels, weights, marks }) {
  const { numNodes, source, target } = edges
  const nameOf = (/** @type {number} */ node) => brief(labels[node] || `node ${node}`)
  const sizes = groups?.names
    .slice(0, 12)
    .map((name) => `${brief(groupLabels.get(name) ?? name)}: ${groups.byNode.filter((group) => group === name).length}`)
  const strongest = weights
    ? [...weights.strengths.keys()]
        .filter((edge) => source[edge] !== target[edge])
        .sort((a, b) => weights.strengths[b] - weights.strengths[a])
        .slice(0, 5)
    : []
  return [
    `A graph of ${numNodes} nodes and ${source.length} edges.`,
    sizes && `Nodes by group: ${sizes.join(', ')}.`,
    ...marks
      .slice(0, 8)
      .map(
        ({ nodes, label }) =>
          nodes.length > 0 && `${brief(label || 'Ringed')}: ${nodes.slice(0, 20).map(nameOf).join(', ')}.`
      ),
    weights &&
      strongest.length > 0 &&
      `Strongest edges: ${strongest.map((edge) => `${nameOf(source[edge])} → ${nameOf(target[edge])} ${Number(weights.values[edge].toPrecision(2))}`).join(', ')}.`
  ]
    .filter(Boolean)
    .join(' ')
}
