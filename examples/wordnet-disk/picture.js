// The picture of the example: the taxonomy in the Poincaré disk, centered on one concept.
import { poincareDisk } from '@ruvector/attention/plot'

/**
 * @param {readonly import('./taxonomy.js').Concept[]} concepts
 * @param {Float32Array} seen  points, `[N, 2]`
 * @param {Float32Array} weights
 * @param {number} concept
 * @param {readonly number[]} named  concepts to label
 */
export function drawDisk(concepts, seen, weights, concept, named) {
  const labels = concepts.map(({ name }, index) => (index === concept || named.includes(index) ? name : null))
  return poincareDisk(
    { data: seen, shape: [concepts.length, 2] },
    {
      labels,
      edges: concepts.flatMap(({ parent }, index) => (parent >= 0 ? [/** @type {const} */ ([index, parent])] : [])),
      // The concept's own weight is so large that the others would be invisible next to it.
      weights: weights.map((weight, index) => (index === concept ? 0 : weight)),
      highlight: [concept],
      title: `Attention of “${concepts[concept].name}” over ${concepts.length} kinds of ${concepts[0].name}`,
      notes: [
        'WordNet’s nouns in the Poincaré disk, centered on the concept; lines are geodesics.',
        'Larger, more intense points receive more of the concept’s hyperbolic attention.'
      ]
    }
  )
}
