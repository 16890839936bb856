// The example on Zachary's karate club, and the guide to graphs: PyTorch Geometric's numbers, and the documented
// output.
import test from 'ava'
import { runNetwork, score } from '../../examples/karate/karate.js'
import { drawClub } from '../../examples/karate/picture.js'
import { onBothBackends } from '../support/backends.js'
import { difference } from '../support/golden.js'
import { linesOf, programsOf } from '../support/programs.js'
import { readXml } from '../support/xml.js'

onBothBackends((kind, attention) => {
  test(`${kind}: the network classifies the members as in PyTorch Geometric, with the same attention`, (t) => {
    const result = runNetwork(attention)
    t.is(difference(result.output, result.expected.output, { absolute: 2e-5 }), undefined)
    for (const [layer, weights] of result.weights.entries()) {
      t.is(difference(weights, result.expected.weights[layer], { absolute: 2e-5 }), undefined)
    }
    // The output of scripts/golden/karate.py.
    t.deepEqual(score(result), { correct: 26, total: 30 })
  })

  test(`${kind}: the picture has one disc per member and one curve per edge, on the canvas`, (t) => {
    const result = runNetwork(attention)
    const svg = drawClub(result, score(result))
    const { texts } = readXml(svg)
    t.is(svg.match(/M[\d.]+ [\d.]+Q/g)?.length, 156)
    const labels = texts.filter((text) => /^\d+$/.test(text)).map(Number)
    t.deepEqual(
      labels,
      Array.from({ length: 34 }, (_, node) => node + 1)
    )
    // Four labels were given in training, and four predictions are wrong; the legend has one ring of each kind.
    t.is(svg.match(/<circle [^>]*fill="none" stroke-width="1.6"/g)?.length, 4 + 1)
    t.is(svg.match(/<circle [^>]*stroke-dasharray/g)?.length, 4 + 1)
    const [, width, height] = (/viewBox="0 0 (\d+) (\d+)"/.exec(svg) ?? []).map(Number)
    const places = [...svg.matchAll(/cx="([\d.-]+)" cy="([\d.-]+)" r="([\d.]+)"/g)]
    for (const [, x, y, size] of places.map((place) => place.map(Number))) {
      t.true(x - size >= 0 && x + size <= width && y - size >= 0 && y + size <= height)
    }
  })
})

for (const kind of ['native', 'wasm']) {
  test(`${kind}: the programs in the guide print the documented output`, async (t) => {
    const programs = programsOf('docs/graphs.md')
    t.is(programs.length, 7)
    for (const { code, lines } of programs) {
      t.true(lines.length > 0)
      t.deepEqual(await linesOf(code, kind), lines)
    }
  })
}
