// The example on WordNet: its taxonomy, its layout in the ball, and the attention of a concept, on both backends.
import test from 'ava'
import { lookFrom, strongest } from '../../examples/wordnet-disk/attend.js'
import { drawDisk } from '../../examples/wordnet-disk/picture.js'
import { layOut, readTaxonomy } from '../../examples/wordnet-disk/taxonomy.js'
import { onBothBackends } from '../support/backends.js'

const concepts = readTaxonomy(15568)
const points = layOut(concepts)
const wolf = concepts.findIndex(({ name }) => name === 'wolf')

test('the taxonomy is a tree of a few thousand concepts, each below its parent', (t) => {
  t.true(concepts.length > 3000)
  t.is(concepts[0].name, 'animal')
  for (const { parent, depth } of concepts.slice(1)) t.is(depth, concepts[parent].depth + 1)
  t.is(concepts[0].leaves, concepts.filter(({ children }) => children.length === 0).length)
  t.is(concepts[concepts[wolf].parent].name, 'canine')
})

onBothBackends((kind, attention) => {
  const { weights, seen } = lookFrom(attention, points, wolf)

  test(`${kind}: a concept attends most to itself, then to its nearest neighbor, and the weights sum to 1`, (t) => {
    t.true(Math.abs(weights.reduce((sum, weight) => sum + weight, 0) - 1) < 1e-5)
    t.is(
      weights.reduce((best, weight, index) => (weight > weights[best] ? index : best), 0),
      wolf
    )
    const near = strongest(weights, wolf, 40)
    for (const relative of [concepts[wolf].parent, ...concepts[wolf].children]) t.true(near.includes(relative))
  })

  test(`${kind}: moved to the center, a concept keeps its distances to all others`, (t) => {
    t.true(Math.hypot(seen[2 * wolf], seen[2 * wolf + 1]) < 1e-3)
    const { HyperbolicAttention } = attention
    const space = new HyperbolicAttention({ curvature: -1 })
    const child = concepts[wolf].children[0]
    const row = (/** @type {Float32Array} */ data, /** @type {number} */ index) => ({
      data: data.slice(2 * index, 2 * index + 2),
      shape: [1, 2]
    })
    const [before] = space.distance(row(points.data, wolf), row(points.data, child)).data
    const [after] = space.distance(row(seen, wolf), row(seen, child)).data
    t.true(before > 1 && Math.abs(after - before) < 1e-4, `${before}, ${after}`)
    space.dispose()
  })

  test(`${kind}: the picture names the concept and draws nothing outside the disk`, (t) => {
    const picture = drawDisk(concepts, seen, weights, wolf, strongest(weights, wolf, 20))
    t.regex(picture, /^<svg .*<\/svg>\n$/s)
    t.regex(picture, />wolf<\/text>/)
    t.notRegex(picture, /NaN|undefined/)
  })
})
