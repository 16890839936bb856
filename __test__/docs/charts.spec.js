// The charts of docs/performance.md show the figures of its tables.
import { readFileSync } from 'node:fs'
import test from 'ava'
import { drawCharts, readCases } from '../../tools/charts.mjs'

const docs = new URL('../../docs/', import.meta.url)
const page = readFileSync(new URL('performance.md', docs), 'utf8')

test('the charts are those of the tables: `node tools/charts.mjs` draws them', (t) => {
  for (const [name, svg] of Object.entries(drawCharts(page))) {
    t.true(readFileSync(new URL(name, docs), 'utf8') === svg, name)
    t.true(page.includes(`](${name})`), name)
    t.notRegex(svg, /NaN|undefined|Infinity/)
    // A sign per figure, in colors for light and dark pages.
    t.regex(svg, /prefers-color-scheme:dark/)
  }
})

test('every ratio of a table is drawn once', (t) => {
  const svg = drawCharts(page)['performance-ratios.svg']
  const ours = { 'onnxruntime-node': 'native', PyTorch: 'native', 'PyTorch Geometric': 'native' }
  const web = { 'onnxruntime-web': 'wasm simd128', 'tfjs-wasm': 'wasm simd128' }
  const pairs = Object.entries({ ...ours, ...web })
  const figures = readCases(page).flatMap(({ times }) =>
    pairs.filter(([other, own]) => times[other] !== undefined && times[own] !== undefined)
  )
  const signs = svg.match(/<rect [^r]*height="8"|<path d="M[^"]*l6 6/g) ?? []
  const inLegend = 4
  t.true(figures.length > 60)
  t.is(signs.length, figures.length + inLegend)
})
