// The example on WordNet: its taxonomy, its layout in the ball, and the attention of a concept, on both backends.
import test from 'ava'
import { lookFrom, strongest } from '../../examples/wordnet-disk/attend.js'
import { drawDisk } from '../../examples/wordnet-disk/picture.js'
import { isForEveryone, layOut, readTaxonomy } from '../../examples/wordnet-disk/taxonomy.js'
import { onBothBackends } from '../support/backends.js'

const concepts = readTaxonomy(15568)
const wolf = concepts.findIndex(({ name }) => name === 'wolf')
const points = layOut(concepts, wolf)

/** Hyperbolic distance. @param {Float32Array} data @param {number} a @param {number} b */
function distance(data, a, b) {
  const [x, y] = [a, b].map((index) => data.subarray(2 * index, 2 * index + 2))
  const [between, xx, yy] = [Math.hypot(x[0] - y[0], x[1] - y[1]), Math.hypot(...x), Math.hypot(...y)]
  return Math.acosh(1 + (2 * between ** 2) / ((1 - xx ** 2) * (1 - yy ** 2)))
}

test('the taxonomy is a tree of a few thousand concepts, each below its parent', (t) => {
  t.true(concepts.length > 3000)
  t.is(concepts[0].name, 'animal')
  for (const { parent, depth } of concepts.slice(1)) t.is(depth, concepts[parent].depth + 1)
  t.is(concepts[0].leaves, concepts.filter(({ children }) => children.length === 0).length)
  t.is(concepts[concepts[wolf].parent].name, 'canine')
})

test('the layout uses the whole disk, from every concept', (t) => {
  for (const center of [0, wolf, concepts[wolf].parent, concepts.length - 1]) {
    const { data } = layOut(concepts, center)
    t.deepEqual([...data.subarray(2 * center, 2 * center + 2)], [0, 0])
    const sectors = new Set(
      concepts.flatMap((_, index) =>
        index === center ? [] : [Math.floor((4 * Math.atan2(data[2 * index + 1], data[2 * index])) / Math.PI)]
      )
    )
    t.true(sectors.size >= 8, `${concepts[center].name}: ${sectors.size}`)
    t.true(data.every((x) => Math.abs(x) < 1))
  }
})

test('distances do not depend on the concept at the center', (t) => {
  const { parent, children } = concepts[wolf]
  const other = layOut(concepts, parent).data
  for (const child of children) {
    const expected = distance(points.data, wolf, child)
    t.true(Math.abs(distance(other, wolf, child) - expected) < 1e-3)
    t.true(expected >= 0.7 - 1e-4)
  }
})

test('names that are also insults are not drawn', (t) => {
  const refused = concepts.filter(({ name }) => !isForEveryone(name)).map(({ name }) => name)
  t.true(refused.includes('bitch') && refused.length < 30, `${refused}`)
  for (const name of ['wolf', 'cat', 'peacock', 'bass', 'titmouse']) t.true(isForEveryone(name), name)
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
    const { parent, children } = concepts[wolf]
    const fromParent = layOut(concepts, parent)
    const moved = lookFrom(attention, fromParent, wolf).seen
    t.true(Math.hypot(moved[2 * wolf], moved[2 * wolf + 1]) < 1e-3)
    for (const child of children) {
      t.true(Math.abs(distance(moved, wolf, child) - distance(fromParent.data, wolf, child)) < 1e-3)
    }
  })

  test(`${kind}: the picture names the concept and draws nothing outside the disk`, (t) => {
    const picture = drawDisk(concepts, seen, weights, wolf, strongest(weights, wolf, 20))
    t.regex(picture, /^<svg .*<\/svg>\n$/s)
    t.regex(picture, />wolf<\/text>/)
    t.notRegex(picture, /NaN|undefined/)
  })
})
