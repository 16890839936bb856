// The picture of the example: the taxonomy in the Poincaré disk, seen from the concept that looks.
import { poincareDisk } from '@ruvector/attention/plot'

/**
 * @param {readonly import('./taxonomy.js').Concept[]} concepts
 * @param {Float32Array} seen  the points, `[N, 2]`
 * @param {Float32Array} weights
 * @param {number} concept
 * @param {readonly number[]} named  the concepts to name
 */
export function drawDisk(concepts, seen, weights, concept, named) {
  const labels = concepts.map(({ name }, index) => (index === concept || named.includes(index) ? name : null))
  return poincareDisk(
    { data: seen, shape: [concepts.length, 2] },
    {
      labels,
      edges: concepts.flatMap(({ parent }, index) => (parent >= 0 ? [/** @type {const} */ ([index, parent])] : [])),
      // The weight of the concept itself would leave the others pale.
      weights: weights.map((weight, index) => (index === concept ? 0 : weight)),
      highlight: [concept],
      title: `What “${concepts[concept].name}” looks at among ${concepts.length} kinds of ${concepts[0].name}`,
      notes: [
        'WordNet’s nouns in the Poincaré disk, the concept in its centre; lines are geodesics.',
        'The larger and stronger a point, the more of the concept’s hyperbolic attention it has.'
      ]
    }
  )
}
