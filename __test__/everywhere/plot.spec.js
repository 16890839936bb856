// Pictures of results: well-formed XML for any label, correct geometry, and aligned text.
import test from 'ava'
import fc from 'fast-check'
import { attentionHeatmap, attentionHeatmapText, graphPlot, poincareDisk } from '@ruvector/attention/plot'
import { widthOf } from '../../lib/plot/text.js'
import { faultOf, random } from '../support/tensors.js'
import { readXml } from '../support/xml.js'

/** @typedef {import('@ruvector/attention').Tensor} Tensor */
const any = (/** @type {any} */ value) => value

/**
 * Rows that sum to 1.
 *
 * @param {readonly number[]} shape
 * @param {number} [seed]
 * @returns {Tensor}
 */
function shares(shape, seed = 1) {
  const next = random(seed)
  const keys = shape[shape.length - 1]
  const data = Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, () => next() ** 4 + 1e-6)
  for (let start = 0; start < data.length; start += keys) {
    const row = data.subarray(start, start + keys)
    const sum = row.reduce((total, value) => total + value, 0)
    for (let key = 0; key < keys; key++) row[key] /= sum
  }
  return { data, shape }
}

/** @type {(data: readonly number[], shape: readonly number[]) => Tensor} */
const tensor = (data, shape) => ({ data: Float32Array.from(data), shape })

/**
 * The values in the tooltips, in the order of the cells.
 *
 * @param {string} svg
 */
const tooltips = (svg) => [...svg.matchAll(/<title>([^<]*)<\/title>/g)].map(([, words]) => words)

const labels = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 12 }),
  fc.array(fc.integer({ min: 0, max: 0xffff }), { maxLength: 8 }).map((codes) => String.fromCharCode(...codes)),
  fc.constantFrom('<script>', '"\'&', ']]>', '<!--', '&amp;', '\0\u001b[31m', '\ud800', '\ufffe', 'a\nb', '  ', '')
)

// ── Soundness ────────────────────────────────────────────────────────────────────────────────────────────────────────

test('any labels, titles and notes give well-formed XML without injected elements', (t) => {
  const weights = shares([2, 3, 3])
  const points = tensor([0, 0, 0.5, 0, 0, -0.9], [3, 2])
  const graph = { numNodes: 3, source: [0, 1, 2, 2], target: [1, 2, 0, 2] }
  const texts = fc.tuple(labels, labels, labels)
  const property = fc.property(texts, labels, fc.constantFrom('auto', 'light', 'dark'), (names, title, theme) => {
    const common = { title, notes: names, theme: /** @type {'auto'} */ (theme) }
    const pictures = [
      attentionHeatmap(weights, {
        ...common,
        queryLabels: names,
        keyLabels: names,
        captions: [names, null],
        markLabel: title,
        marks: [{ query: 0, key: 1 }, null]
      }),
      poincareDisk(points, { ...common, labels: names, highlight: [1], edges: [[0, 1]] }),
      graphPlot(graph, { ...common, labels: names, groups: names, marks: [{ nodes: [0], label: title }] })
    ]
    for (const picture of pictures) {
      const { elements } = readXml(picture)
      const known = ['svg', 'title', 'desc', 'style', 'rect', 'g', 'path', 'text', 'circle']
      for (const name of elements.keys()) if (!known.includes(name)) throw new Error(`<${name}>`)
      if (/NaN|undefined|Infinity/.test(picture.replace(/>[^<]*</g, '><'))) throw new Error('a number is missing')
    }
  })
  t.notThrows(() => fc.assert(property, { numRuns: 150, includeErrorInReport: true }))
})

test('a label is shown unchanged, shortened if it is long, and made visible if it is only spaces', (t) => {
  const long = 'antidisestablishmentarianism of the nineteenth century'
  const options = { queryLabels: ['<a> & "b"', '\n'], keyLabels: [long, '  '] }
  const { texts } = readXml(attentionHeatmap(shares([2, 2]), options))
  for (const label of ['<a> & "b"', '⏎', '␣␣']) t.true(texts.includes(label), label)
  t.true(texts.some((text) => /^antidis.*…$/.test(text)))
  t.false(texts.includes(long))
})

test('a label of megabytes does not make a picture of megabytes', (t) => {
  const long = 'é'.repeat(2 ** 21)
  const options = { queryLabels: [long], keyLabels: [long] }
  t.true(attentionHeatmap(shares([1, 1]), options).length < 20_000)
  t.true(attentionHeatmapText(shares([1, 1]), { ...options, color: false, width: 60 }).length < 1000)
  t.true(poincareDisk(tensor([0, 0], [1, 2]), { labels: [long], highlight: [0] }).length < 20_000)
  t.true(graphPlot({ numNodes: 1, source: [], target: [] }, { labels: [long], groups: [long] }).length < 20_000)
})

test('a picture has a description for screen readers', (t) => {
  const weights = tensor([0.1, 0.9, 0.5, 0.5], [2, 2])
  const svg = attentionHeatmap(weights, { queryLabels: ['it', 'was'], keyLabels: ['dog', 'cat'], title: 'Who' })
  const [, name] = /<svg [^>]*role="img" aria-labelledby="(plot-\w+)-title \1-desc"/.exec(svg) ?? []
  t.true(svg.includes(`<title id="${name}-title">Who</title>`))
  t.regex(
    svg,
    /<desc id="[^"]*">Attention weights of 1 head: 2 queries in rows, 2 keys in columns\. Head 0: largest 90 %, it → cat\./
  )
  t.regex(poincareDisk(tensor([0, 0], [1, 2])), /<desc [^>]*>1 points in the Poincaré disk/)
  t.regex(graphPlot({ numNodes: 2, source: [0], target: [1] }), /<desc [^>]*>A graph of 2 nodes and 1 edges/)
})

test('the same input gives the same SVG text, and ids are unique to a picture', (t) => {
  const name = (/** @type {string} */ svg) => /class="(plot-\w+)"/.exec(svg)?.[1]
  const [a, b] = [shares([4, 4], 1), shares([4, 4], 2)]
  t.is(attentionHeatmap(a), attentionHeatmap(a))
  t.not(name(attentionHeatmap(a)), name(attentionHeatmap(b)))
  const svg = attentionHeatmap(a)
  for (const [, scope] of svg.matchAll(/[{}]\.([\w-]+) /g)) t.is(scope, String(name(svg)))
})

// ── Themes ───────────────────────────────────────────────────────────────────────────────────────────────────────────

test('light and dark pictures have no style sheet; an automatic one has a style sheet with the dark colors', (t) => {
  const draw = (/** @type {'auto' | 'light' | 'dark'} */ theme) => [
    attentionHeatmap(shares([3, 3]), { theme }),
    poincareDisk(tensor([0, 0, 0.5, 0.5], [2, 2]), { theme, edges: [[0, 1]], weights: [1, 2], labels: ['a', 'b'] }),
    graphPlot({ numNodes: 2, source: [0], target: [1] }, { theme, groups: [0, 1], weights: Float32Array.of(1) })
  ]
  const [auto, light, dark] = [draw('auto'), draw('light'), draw('dark')]
  const colors = (/** @type {string} */ svg) => new Set(svg.match(/#[\da-f]{6}/g))
  for (const [index, svg] of auto.entries()) {
    for (const plain of [light[index], dark[index]]) t.notRegex(plain, /<style|class="c/)
    const [sheet] = /<style>@media \(prefers-color-scheme:dark\)\{.*\}<\/style>/.exec(svg) ?? ['']
    const [shown, hidden] = [colors(svg.replace(sheet, '')), colors(sheet)]
    t.deepEqual([...shown].sort(), [...colors(light[index])].sort())
    t.deepEqual([...hidden].sort(), [...colors(dark[index])].sort())
  }
})

/**
 * The colors of the scale in a picture's legend, as linear light.
 *
 * @param {'light' | 'dark'} theme
 */
function scaleOf(theme) {
  const svg = attentionHeatmap(shares([40, 40]), { theme })
  const legend = [...svg.matchAll(/height="12" fill="#(\w{6})"/g)].map(([, hex]) =>
    [0, 2, 4].map((start) => {
      const channel = parseInt(hex.slice(start, start + 2), 16) / 255
      return channel <= 0.04045 ? channel / 12.92 : ((channel + 0.055) / 1.055) ** 2.4
    })
  )
  return legend
}

test('the color scale is perceptually uniform, and its lightness is monotonic for color-blind readers too', (t) => {
  const lab = (/** @type {number[]} */ [r, g, b]) => {
    const [l, m, s] = [
      Math.cbrt(0.4122214708 * r + 0.5363325363 * g + 0.0514459929 * b),
      Math.cbrt(0.2119034982 * r + 0.6806995451 * g + 0.1073969566 * b),
      Math.cbrt(0.0883024619 * r + 0.2817188376 * g + 0.6299787005 * b)
    ]
    return [
      0.2104542553 * l + 0.793617785 * m - 0.0040720468 * s,
      1.9779984951 * l - 2.428592205 * m + 0.4505937099 * s,
      0.0259040371 * l + 0.7827717662 * m - 0.808675766 * s
    ]
  }
  // Linear light as seen with protanopia, deuteranopia and tritanopia (Viénot, Brettel & Mollon 1999; Machado et al.
  // 2009).
  const sights = [
    [
      [1, 0, 0],
      [0, 1, 0],
      [0, 0, 1]
    ],
    [
      [0.1124, 0.8876, 0],
      [0.1124, 0.8876, 0],
      [0.004, -0.004, 1]
    ],
    [
      [0.2928, 0.7072, 0],
      [0.2928, 0.7072, 0],
      [-0.0223, 0.0223, 1]
    ],
    [
      [1.2555, -0.0767, -0.1788],
      [-0.0784, 0.9308, 0.1476],
      [0.0047, 0.6914, 0.3039]
    ]
  ]
  for (const theme of /** @type {const} */ (['light', 'dark'])) {
    const colors = scaleOf(theme)
    t.is(colors.length, 33)
    for (const sight of sights) {
      const seen = colors.map((color) =>
        lab(
          sight.map((row) =>
            Math.max(
              0,
              row.reduce((sum, f, i) => sum + f * color[i], 0)
            )
          )
        )
      )
      const way = theme === 'light' ? -1 : 1
      const falls = seen.slice(1).map(([lightness], index) => way * (lightness - seen[index][0]))
      t.true(Math.min(...falls) > 0.005, `${theme}: ${falls}`)
    }
    const seen = colors.map(lab)
    const steps = seen
      .slice(1)
      .map((point, index) => Math.hypot(...point.map((value, axis) => value - seen[index][axis])))
    t.true(Math.max(...steps) < 1.35 * Math.min(...steps), `${theme}: ${steps.map((step) => step.toFixed(4))}`)
  }
})

test('text on a group’s color has enough contrast', (t) => {
  const luminance = (/** @type {string} */ hex) =>
    [1, 3, 5]
      .map((start) => parseInt(hex.slice(start, start + 2), 16) / 255)
      .map((value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4))
      .reduce((sum, value, index) => sum + value * [0.2126, 0.7152, 0.0722][index], 0)
  for (const theme of /** @type {const} */ (['light', 'dark'])) {
    const nodes = Array.from({ length: 10 }, (_, node) => node)
    const svg = graphPlot({ numNodes: 10, source: [], target: [] }, { theme, groups: nodes, labels: nodes })
    // Ten groups, in the order of their nodes: the last two share the color of all further ones.
    const fills = [...svg.matchAll(/<g [^>]*fill="(#\w{6})"[^>]*>((?:<circle.*?<\/circle>)+)/g)].flatMap(
      ([, fill, own]) => (own.match(/<circle/g) ?? []).map(() => fill)
    )
    const inks = [...svg.matchAll(/<text [^>]*font-weight="600" text-anchor="middle" fill="(#\w{6})">\d</g)].map(
      ([, ink]) => ink
    )
    t.is(inks.length, 10)
    t.is(new Set(fills).size, 9)
    for (const [index, ink] of inks.entries()) {
      const [light, dark] = [luminance(ink), luminance(fills[index])].sort((a, b) => b - a)
      t.true((light + 0.05) / (dark + 0.05) >= 4.5, `${theme}: ${ink} on ${fills[index]}`)
    }
  }
})

// ── Heatmaps ─────────────────────────────────────────────────────────────────────────────────────────────────────────

test('a matrix, heads and a batch are drawn: the selected heads and entry, in their order', (t) => {
  const weights = shares([2, 3, 4, 5])
  const part = (/** @type {number} */ batch, /** @type {number} */ head) =>
    weights.data.slice((batch * 3 + head) * 20, (batch * 3 + head + 1) * 20)
  const cells = (/** @type {string} */ svg) => tooltips(svg).map((words) => words.replace(/^head \d+: /, ''))
  const matrix = (/** @type {Float32Array} */ data) => cells(attentionHeatmap({ data, shape: [4, 5] }))
  t.is(matrix(part(0, 0)).length, 20)
  t.deepEqual(
    cells(attentionHeatmap(weights)),
    [0, 1, 2].flatMap((head) => matrix(part(0, head)))
  )
  t.deepEqual(cells(attentionHeatmap(weights, { batch: 1, head: 2 })), matrix(part(1, 2)))
  t.deepEqual(
    cells(attentionHeatmap(weights, { head: [2, 0] })),
    [2, 0].flatMap((head) => matrix(part(0, head)))
  )
  t.deepEqual(cells(attentionHeatmap({ data: part(1, 1), shape: [1, 4, 5] })), matrix(part(1, 1)))
  const { texts } = readXml(attentionHeatmap(weights, { batch: 1, head: [2, 0] }))
  t.deepEqual(
    texts.filter((text) => text.startsWith('Head')),
    ['Head 2', 'Head 0']
  )
  t.true(texts.includes('Batch entry 1.'))
})

test('NaN, infinities and values hidden by −∞ are drawn and named as such', (t) => {
  const svg = attentionHeatmap(tensor([0.5, NaN, Infinity, -Infinity, 0.25, 0.125], [2, 3]))
  t.deepEqual(tooltips(svg), ['0 → 0 0.5', '0 → 1 NaN', '0 → 2 ∞', '1 → 0 −∞', '1 → 1 0.25', '1 → 2 0.125'])
  const { texts } = readXml(svg)
  for (const words of ['not a number', '∞', 'hidden (−∞)']) t.true(texts.includes(words), words)
  t.notRegex(svg.replace(/>[^<]*</g, '><'), /NaN|Infinity|∞/)
  for (const value of [NaN, Infinity, -Infinity, 0, -3]) {
    const { texts } = readXml(
      attentionHeatmap(
        tensor(
          Array.from({ length: 9 }, () => value),
          [3, 3]
        )
      )
    )
    t.is(texts.includes('not a number'), Number.isNaN(value))
  }
  t.notRegex(attentionHeatmap(shares([3, 3])), /not a number/)
})

test('downsampling is stated, and preserves row sums, or takes means or maxima', (t) => {
  const weights = shares([37, 53], 5)
  const whole = Array.from({ length: 37 }, (_, row) => weights.data.subarray(row * 53, (row + 1) * 53))
  const values = (/** @type {'sum' | 'mean' | 'max'} */ reduce) => {
    const svg = attentionHeatmap(weights, { maxCells: 10, reduce })
    t.regex(svg, />Downsampled: each cell covers 4 queries × 6 keys and shows /)
    const cells = tooltips(svg).map((words) => Number(/ ([\d.]+) %$/.exec(words)?.[1]) / 100)
    t.is(cells.length, 10 * 9)
    return Array.from({ length: 10 }, (_, row) => cells.slice(row * 9, (row + 1) * 9))
  }
  // Tooltips have two digits.
  const near = (/** @type {number} */ found, /** @type {number} */ expected, /** @type {number} */ tolerance) =>
    t.true(Math.abs(found - expected) <= tolerance, `${found}, ${expected}`)
  for (const row of values('sum'))
    near(
      row.reduce((sum, value) => sum + value, 0),
      1,
      9 * 0.005
    )
  const block = (/** @type {number} */ row, /** @type {number} */ column) =>
    whole.slice(row * 4, row * 4 + 4).flatMap((line) => [...line.subarray(column * 6, column * 6 + 6)])
  const [means, largest] = [values('mean'), values('max')]
  for (const [row, column] of [
    [0, 0],
    [3, 4],
    [9, 8]
  ]) {
    const cell = block(row, column)
    near(means[row][column], cell.reduce((sum, value) => sum + value, 0) / cell.length, 0.005)
    near(largest[row][column], Math.max(...cell), 0.005)
  }
  t.notRegex(attentionHeatmap(weights), /Downsampled/)
})

test('NaN survives downsampling, and a hidden value does not', (t) => {
  const weights = tensor(
    Array.from({ length: 64 }, (_, index) => index / 64),
    [8, 8]
  )
  weights.data[0] = NaN
  weights.data[9] = -Infinity
  weights.data[63] = Infinity
  for (let index = 4; index < 8; index++) for (let row = 0; row < 4; row++) weights.data[row * 8 + index] = -Infinity
  for (const reduce of /** @type {const} */ (['sum', 'mean', 'max'])) {
    const found = tooltips(attentionHeatmap(weights, { maxCells: 2, reduce })).map((words) => words.split(' ').at(-1))
    t.is(found[0], 'NaN')
    t.is(found[1], '−∞')
    t.true(Number(found[2]) > 0)
    t.is(found[3], '∞')
  }
})

test('long sequences and many heads give pictures of a reasonable size, with sharp cells', (t) => {
  for (const shape of [
    [512, 512],
    [12, 512, 512],
    [1, 32, 300, 300],
    [144, 24, 24],
    [8, 1, 2000]
  ]) {
    const svg = attentionHeatmap(shares(shape, 3))
    t.true(svg.length < 430_000, `${shape}: ${svg.length}`)
    const scales = [...svg.matchAll(/scale\((\d+) (\d+)\)/g)]
    t.true(scales.length > 0 && scales.every(([, x, y]) => Number(x) >= 2 && Number(y) >= 2))
  }
})

test('negative scores have a linear scale, and a given range is kept', (t) => {
  const ticks = (/** @type {string} */ svg) => readXml(svg).texts.filter((text) => /^[−\d.]+( %)?$/.test(text))
  const scores = tensor([-1, 0, 1, 3], [2, 2])
  t.deepEqual(ticks(attentionHeatmap(scores)).slice(0, 5), ['−1', '0', '1', '2', '3'])
  t.deepEqual(ticks(attentionHeatmap(scores, { range: [-2, 6], scale: 'linear' })).slice(0, 5), [
    '−2',
    '0',
    '2',
    '4',
    '6'
  ])
  const even = tensor([0.5, 0.5], [1, 2])
  t.deepEqual(ticks(attentionHeatmap(even, { range: [0, 1] })).slice(0, 5), ['0 %', '6.3 %', '25 %', '56 %', '100 %'])
})

// ── Terminals ────────────────────────────────────────────────────────────────────────────────────────────────────────

test('the terminal picture has one line per query and two columns per key', (t) => {
  const weights = tensor([1, 0, 0, 0.25, 0.5, 0.25], [2, 3])
  const words = ['die', 'Katze']
  t.is(
    attentionHeatmapText(weights, { queryLabels: words, color: false, width: 80 }),
    ['          0 1 2', '  die  0 ██ · ·', 'Katze  1 ▒▒▓▓▒▒', '         · 0 %  ░ 6.3 %  ▒ 25 %  ▓ 56 %  █ 100 %'].join(
      '\n'
    )
  )
})

test('wide characters take two columns and combining marks none, so that the cells of all rows are aligned', (t) => {
  const words = ['東京', 'naïve', 'e\u0301te\u0301', '👩‍👩‍👧', '한국어', 'ｗ', '🇩🇪', 'x', '‼️']
  const columns = [4, 5, 3, 2, 6, 2, 2, 1, 2]
  const text = attentionHeatmapText(shares([9, 1]), { queryLabels: words, color: false, width: 40 })
  const rows = text.split('\n').slice(1, 10)
  for (const [index, row] of rows.entries()) {
    t.is(row, `${' '.repeat(6 - columns[index])}${words[index]} ${String(index).padStart(2)} ██`)
  }
})

/** A background color, or its end. */
const ownEscapes = new RegExp(String.raw`\u001b\[(48;2;\d+;\d+;\d+|0)m`, 'g')

test('labels cannot pass an escape sequence to the terminal', (t) => {
  const property = fc.property(fc.tuple(labels, labels), fc.boolean(), (names, color) => {
    const text = attentionHeatmapText(shares([2, 2]), {
      queryLabels: names,
      keyLabels: names.toReversed(),
      title: names[0],
      color,
      width: 40
    })
    const rest = text.replace(ownEscapes, '')
    if (color !== rest.length < text.length) throw new Error('colors')
    if (/[^\P{Cc}\n]|[\u202a-\u202e\u2066-\u2069]/u.test(rest)) throw new Error(JSON.stringify(rest))
  })
  t.notThrows(() => fc.assert(property, { numRuns: 300, includeErrorInReport: true }))
})

test('lines are no wider than the terminal, because keys that do not fit are downsampled', (t) => {
  const property = fc.property(
    fc.tuple(fc.integer({ min: 1, max: 200 }), fc.integer({ min: 1, max: 700 })),
    fc.integer({ min: 60, max: 200 }),
    (shape, width) => {
      const text = attentionHeatmapText(shares(shape), { color: false, width })
      for (const line of text.split('\n')) if (line.length > width) throw new Error(`${line.length}: ${line}`)
      if (text.split('\n').length > 70) throw new Error('too many lines')
    }
  )
  t.notThrows(() => fc.assert(property, { numRuns: 100, includeErrorInReport: true }))
  const text = attentionHeatmapText(shares([2, 512]), { color: false, width: 60 })
  t.regex(text, /Downsampled: each cell covers 1 query × \d+ keys/)
})

test('keys with different labels have vertical labels above them', (t) => {
  const text = attentionHeatmapText(shares([1, 3]), { keyLabels: ['ab', '東', 'xyz'], color: false, width: 40 })
  t.deepEqual(text.split('\n').slice(0, 3), ['        x', '    a   y', '    b東 z'])
})

test('several heads follow each other, and values off the scale are marked', (t) => {
  const text = attentionHeatmapText(tensor([NaN, 1, -Infinity, 1], [2, 1, 2]), { color: false, width: 40 })
  const lines = text.split('\n')
  t.is(lines[0], 'Head 0')
  t.is(lines[2], ' 0 ??██')
  t.is(lines[4], 'Head 1')
  t.is(lines[6], ' 0 --██')
})

// ── The disk ─────────────────────────────────────────────────────────────────────────────────────────────────────────

/**
 * The disk and the edges of a picture: end points, and the circle of those that are arcs.
 *
 * @param {string} svg
 */
function readDisk(svg) {
  const [, x, y, radius] = (/<circle cx="([\d.]+)" cy="([\d.]+)" r="(\d+)"/.exec(svg) ?? []).map(Number)
  const edges = [...svg.matchAll(/M([\d.-]+) ([\d.-]+)(?:L|A([\d.]+) [\d.]+ 0 0 ([01]) )([\d.-]+) ([\d.-]+)/g)].map(
    ([, ax, ay, r, sweep, bx, by]) => {
      const [from, to] = [
        [Number(ax), Number(ay)],
        [Number(bx), Number(by)]
      ]
      if (r === undefined) return { from, to }
      // By SVG's rules, the sweep flag determines on which side the center of a small arc is.
      const [dx, dy] = [to[0] - from[0], to[1] - from[1]]
      const half = Math.hypot(dx, dy) / 2
      const away = (Math.sqrt(Math.max(Number(r) ** 2 - half ** 2, 0)) / (2 * half)) * (sweep === '1' ? 1 : -1)
      const center = [(from[0] + to[0]) / 2 - dy * away, (from[1] + to[1]) / 2 + dx * away]
      return { from, to, circle: { center, radius: Number(r) } }
    }
  )
  return { disk: { x, y, radius }, edges }
}

test('edges are geodesics: circles that meet the boundary at right angles, through both points', (t) => {
  const unit = fc.double({ min: 0, max: 1, noNaN: true })
  const point = fc.tuple(unit, unit).map(([area, turn]) => {
    const [radius, angle] = [0.98 * Math.sqrt(area), 2 * Math.PI * turn]
    return [radius * Math.cos(angle), radius * Math.sin(angle)]
  })
  const property = fc.property(point, point, fc.constantFrom(-1, -4, -0.25), (a, b, curvature) => {
    const scale = 1 / Math.sqrt(-curvature)
    // Shorter edges are drawn too coarsely to measure their circle.
    if (Math.hypot(a[0] - b[0], a[1] - b[1]) < 0.3) return
    const svg = poincareDisk(
      tensor(
        [...a, ...b].map((value) => value * scale),
        [2, 2]
      ),
      { edges: [[0, 1]], curvature, size: 4000 }
    )
    const { disk, edges } = readDisk(svg)
    const [{ from, to, circle }] = edges
    for (const [[x, y], at] of /** @type {const} */ ([
      [a, from],
      [b, to]
    ])) {
      const off = Math.hypot(disk.x + disk.radius * x - at[0], disk.y + disk.radius * y - at[1])
      if (off > 0.02) throw new Error(`an end is off by ${off}`)
    }
    if (circle === undefined) {
      // Straight: the center is on the line, up to visible precision.
      const distance = Math.abs(a[0] * b[1] - a[1] * b[0]) / Math.hypot(a[0] - b[0], a[1] - b[1])
      if (distance > 1e-3) throw new Error(`a straight line at ${distance} from the center`)
      return
    }
    // Right angles: the tangents form a triangle with the radii.
    const [cx, cy] = [circle.center[0] - disk.x, circle.center[1] - disk.y]
    const cosine = (disk.radius ** 2 + circle.radius ** 2 - cx ** 2 - cy ** 2) / (2 * disk.radius * circle.radius)
    if (Math.abs(cosine) > 0.005) throw new Error(`an angle with cosine ${cosine}`)
  })
  t.notThrows(() => fc.assert(property, { numRuns: 500, includeErrorInReport: true }))
})

test('the geodesic of two equidistant points bulges toward the center, and is straight through the center', (t) => {
  const points = tensor([0.8, 0, 0, 0.8, -0.8, 0], [3, 2])
  const { disk, edges } = readDisk(poincareDisk(points, { edges: Int32Array.of(0, 1, 0, 2), theme: 'light' }))
  t.is(edges.length, 2)
  t.is(edges[1].circle, undefined)
  const { center, radius } = /** @type {NonNullable<typeof edges[0]['circle']>} */ (edges[0].circle)
  t.true(center[0] > disk.x && center[1] > disk.y)
  const nearest = Math.hypot(center[0] - disk.x, center[1] - disk.y) - radius
  t.true(nearest > 0 && nearest < (disk.radius * 0.8) / Math.SQRT2)
})

test('a point outside the ball is rejected by its row, one on the rim because of rounding is not', (t) => {
  const draw = (/** @type {number[]} */ data, /** @type {any} */ options) =>
    faultOf(t, () => poincareDisk(tensor(data, [data.length / 2, 2]), options))
  t.like(draw([0, 0, 0.8, 0.7], {}), {
    code: 'DOMAIN',
    argument: 'points[1]',
    expected: 'a point inside the ball of radius 1'
  })
  t.like(draw([0.6, 0], { curvature: -4 }), {
    code: 'DOMAIN',
    argument: 'points[0]',
    expected: 'a point inside the ball of radius 0.5'
  })
  t.like(draw([0, 0, NaN, 0], {}), { code: 'DOMAIN', argument: 'points[1]', actual: '[NaN, 0]' })
  t.notThrows(() =>
    poincareDisk(tensor([Math.fround(Math.SQRT1_2), Math.fround(Math.SQRT1_2), 1, 0, 1.9, 0].slice(0, 4), [2, 2]), {
      edges: [[0, 1]]
    })
  )
  t.notThrows(() => poincareDisk(tensor([1.9, 0], [1, 2]), { curvature: -0.25 }))
  t.like(draw([0, 0], { curvature: 0 }), { code: 'OPTION', argument: 'curvature', actual: '0' })
})

test('overlapping labels are omitted, and highlighted and strong ones take precedence', (t) => {
  const data = Array.from({ length: 200 }, (_, index) => [0.01 * (index % 14), 0.01 * Math.floor(index / 14)]).flat()
  const names = Array.from({ length: 200 }, (_, index) => `name ${index}`)
  const weights = names.map((_, index) => (index === 150 ? 1 : 0.01))
  const { texts } = readXml(poincareDisk(tensor(data, [200, 2]), { labels: names, weights, highlight: [77] }))
  const shown = texts.filter((text) => /^name \d+$/.test(text))
  for (const name of ['name 77', 'name 150']) t.true(shown.includes(name), name)
  t.true(shown.length < 30, `${shown.length}`)
})

test('two thousand points of a tree give a picture of a reasonable size', (t) => {
  const next = random(1)
  const points = Array.from({ length: 2000 }, () => [0.999 * Math.sqrt(next()), 2 * Math.PI * next()])
  const flat = points.flatMap(([radius, angle]) => [radius * Math.cos(angle), radius * Math.sin(angle)])
  const edges = Int32Array.from({ length: 3998 }, (_, index) =>
    index % 2 === 0 ? index / 2 + 1 : Math.floor(index / 8)
  )
  const svg = poincareDisk(tensor(flat, [2000, 2]), { edges, labels: points.map((_, index) => `${index}`) })
  t.true(svg.length < 400_000, `${svg.length}`)
})

test('edges of a disk are drawn from the lightest to the heaviest, edges of one strength as one path', (t) => {
  const points = tensor([0, 0, 0.5, 0, 0, 0.5, -0.5, 0, 0, -0.5], [5, 2])
  const edges = Int32Array.of(0, 1, 0, 2, 0, 3, 0, 4)
  const widths = (/** @type {any} */ edgeWeights) =>
    [
      ...poincareDisk(points, { edges, edgeWeights }).matchAll(/<path [^>]*stroke-width="([\d.]+)" stroke-opacity/g)
    ].map(([, width]) => Number(width))
  t.deepEqual(widths([4, 0, 2, 4]).slice(0, 3), [0.6, 2.8, 5])
  t.deepEqual(widths(undefined), [0.9])
})

// ── Graphs ───────────────────────────────────────────────────────────────────────────────────────────────────────────

test('positions keep their proportions, and the automatic layout is deterministic and separates nodes', (t) => {
  const discs = (/** @type {string} */ svg) =>
    [...svg.matchAll(/<circle cx="([\d.]+)" cy="([\d.]+)" r="([\d.]+)"/g)].map(([, x, y, r]) => ({
      x: Number(x),
      y: Number(y),
      r: Number(r)
    }))
  const [a, b, c] = discs(
    graphPlot({ numNodes: 3, source: [0, 1], target: [1, 2] }, { positions: tensor([0, 0, 30, 0, 0, 10], [3, 2]) })
  )
  t.true(Math.abs((b.x - a.x) / (c.y - a.y) - 3) < 0.01)
  t.is(a.y, b.y)
  for (const numNodes of [1, 2, 34, 150]) {
    const source = Array.from({ length: numNodes }, (_, node) => node)
    const target = source.map((node) => Math.floor(node / 3))
    const svg = graphPlot({ numNodes, source, target })
    t.is(svg, graphPlot({ numNodes, source: Int32Array.from(source), target: Int32Array.from(target) }))
    const found = discs(svg).slice(0, numNodes)
    for (const [index, one] of found.entries()) {
      for (const other of found.slice(0, index)) {
        const apart = Math.hypot(one.x - other.x, one.y - other.y) - one.r - other.r
        if (apart < -0.5) t.fail(`${numNodes}: ${index} lies on another by ${apart}`)
      }
    }
  }
})

test('a thousand nodes in three rings, and coincident nodes, are drawn too', (t) => {
  const numNodes = 900
  const source = Array.from({ length: numNodes }, (_, node) => node)
  const svg = graphPlot({ numNodes, source, target: source.map((node) => (node + 3) % numNodes) }, { directed: false })
  t.is(svg.match(/<circle /g)?.length, numNodes)
  t.true(svg.length < 400_000)
  const heap = graphPlot(
    { numNodes: 4, source: [0, 1], target: [1, 2] },
    { positions: tensor([1, 1, 1, 1, 1, 1, 1, 1], [4, 2]) }
  )
  t.notRegex(heap, /NaN|Infinity/)
  t.is(readXml(graphPlot({ numNodes: 0, source: [], target: [] })).elements.get('circle'), undefined)
})

/**
 * The drawn strength of each edge, weakest first.
 *
 * @param {string} svg
 */
const strokes = (svg) =>
  [...svg.matchAll(/stroke-width="([\d.]+)" stroke-opacity="[\d.]+" d="([^"]*)"/g)].map(([, width, d]) => [
    Number(width),
    d.match(/M/g)?.length
  ])

test('weights are the mean over heads or one head, and self-loops of a layer belong to the nodes', (t) => {
  // The layer replaces the self-loop among the edges by its own.
  const graph = { numNodes: 3, source: [0, 1, 1], target: [1, 1, 2] }
  const [first, second] = [
    [1, 0, 0.5, 0.5, 0.25],
    [0, 1, 0.5, 0, 0.25]
  ]
  const weights = tensor(
    first.flatMap((weight, edge) => [weight, second[edge]]),
    [5, 2]
  )
  const draw = (/** @type {any} */ options) =>
    strokes(graphPlot(graph, { addSelfLoops: true, weights, directed: false, ...options }))
  const alone = (/** @type {readonly number[]} */ list) =>
    strokes(
      graphPlot(
        { numNodes: 3, source: [0, 1, 0, 1, 2], target: [1, 2, 0, 1, 2] },
        { weights: Float32Array.from(list), directed: false }
      )
    )
  t.deepEqual(draw({ head: 0 }), alone(first))
  t.deepEqual(draw({ head: 1 }), alone(second))
  t.deepEqual(draw({}), alone(first.map((weight, edge) => (weight + second[edge]) / 2)))
  const count = (/** @type {any} */ found) =>
    found.reduce((/** @type {number} */ sum, /** @type {any} */ [, edges]) => sum + edges, 0)
  t.is(count(draw({})), 5)
  t.is(count(draw({ selfLoops: false })), 2)
  t.like(
    faultOf(t, () => graphPlot(graph, { weights })),
    { code: 'SHAPE', argument: 'weights', expected: '[3] or [3, H], one weight per edge', actual: '[5, 2]' }
  )
})

test('directed edges are curves with arrowheads, one per direction; undirected ones are straight', (t) => {
  const graph = { numNodes: 2, source: [0, 1], target: [1, 0] }
  const directed = graphPlot(graph, {})
  t.is(directed.match(/M[\d.]+ [\d.]+Q/g)?.length, 2)
  t.is(directed.match(/M[\d. ]+L[\d. ]+L[\d. ]+z/g)?.length, 2)
  const plain = graphPlot({ numNodes: 2, source: [0], target: [1] }, { directed: false })
  t.is(plain.match(/M[\d.]+ [\d.]+L[\d. ]+"/g)?.length, 1)
  t.notRegex(plain, /Q|z"/)
  // Parallel edges bend apart, whatever their direction.
  const several = graphPlot({ numNodes: 2, source: [0, 1, 0, 1], target: [1, 0, 1, 0] }, { directed: false })
  const lines = several.match(/M[\d. ]+[LQ][\d. ]+/g)
  t.is(new Set(lines).size, 4)
})

test('groups have names in the legend, sorted by number or in order of appearance; marks are rings', (t) => {
  const graph = { numNodes: 4, source: [0], target: [1] }
  const legend = (/** @type {any} */ options) =>
    readXml(graphPlot(graph, { labels: [null, null, null, null], ...options }))
      .texts.slice(1)
      .filter((text) => !/^(A graph|Graph|node)/.test(text))
  t.deepEqual(legend({ groups: Int32Array.of(10, 9, 10, 9) }), ['9', '10'])
  t.deepEqual(legend({ groups: ['b', 'a', 'b', 'c'], groupLabels: { a: 'Ants' } }), ['b', 'Ants', 'c'])
  const marks = [
    { nodes: [0, 1], label: 'told' },
    { nodes: [2], label: 'wrong', group: 1 },
    { nodes: [3], label: 'wrong', group: 0 }
  ]
  t.deepEqual(legend({ groups: [0, 0, 1, 1], marks }), ['0', '1', 'told', 'wrong'])
  t.deepEqual(legend({ groups: [0, 0, 1, 1], marks, weights: Float32Array.of(0.9) }).slice(4), [
    'weight of edge',
    '0.08',
    '0.4',
    '0.8'
  ])
})

test('the words of a legend wrap in a narrow picture, and all of them are visible inside it', (t) => {
  const long = 'the pair of tokens with the largest gradient of the loss, counted from the start'
  const graph = { numNodes: 4, source: [0], target: [1] }
  const mark = { nodes: [0], label: `mark: ${long}` }
  const lost = tensor([NaN, -Infinity, Infinity, 1], [2, 2])
  const groups = { groups: ['a', 'b', 'a', 'b'], groupLabels: { a: `group: ${long}` } }
  const strengths = { weights: Float32Array.of(0.9), marks: [mark], width: 200 }
  const point = { weights: [0.0123], edges: [[0, 0]], edgeWeights: [0.0123], size: 144 }
  /** @type {[string, string[]][]} */
  const pictures = [
    [attentionHeatmap(shares([2, 2]), { markLabel: long }), [long]],
    [
      attentionHeatmap(shares([2, 2]), { captions: [['the words of a caption that is wider than its only panel']] }),
      []
    ],
    [attentionHeatmap(lost, { markLabel: long }), [long, 'not a number', 'hidden (−∞)']],
    [graphPlot(graph, { ...groups, ...strengths }), [`group: ${long}`, mark.label, 'weight of edge 0.08 0.4 0.8']],
    [poincareDisk(tensor([0, 0], [1, 2]), any(point)), ['weight of point 0.001 0.005 0.01 weight of edge 0.001']]
  ]
  for (const [svg, expected] of pictures) {
    const width = Number(/ width="(\d+)"/.exec(svg)?.[1])
    const lines = [...svg.matchAll(/^.*?<text x="([\d.]+)" y="[\d.]+"( font-size="([\d.]+)"[^>]*)>([^<]*)</gm)]
    const legend = lines
      .filter(([, , style]) => !style.includes('anchor'))
      .map(([, x, , size, words]) => {
        t.true(Number(x) + widthOf(words, Number(size)) <= width, `${words} in ${width}`)
        return words
      })
    for (const words of expected) t.true(legend.join(' ').includes(words), `${words}: ${legend.join(' ')}`)
    t.true(svg.includes('style="max-width:100%;height:auto"'))
  }
})

// ── Faults ───────────────────────────────────────────────────────────────────────────────────────────────────────────

test('input that cannot be drawn is an error with argument, expectation and value', (t) => {
  const square = shares([2, 2])
  const heat = (/** @type {any} */ weights, /** @type {any} */ options) => {
    const fault = faultOf(t, () => attentionHeatmap(weights, options))
    t.deepEqual(
      faultOf(t, () => attentionHeatmapText(weights, options)),
      fault
    )
    return fault
  }
  t.like(heat(new Float32Array(4), {}), { code: 'DTYPE', argument: 'weights' })
  t.like(heat(tensor([1], [1]), {}), {
    code: 'SHAPE',
    argument: 'weights',
    expected: '[L, S], [H, L, S] or [B, H, L, S], none of them 0',
    actual: '[1]'
  })
  t.like(heat(tensor([], [0, 3]), {}), { code: 'SHAPE', actual: '[0, 3]' })
  t.like(heat(square, { head: 1 }), {
    code: 'OPTION',
    argument: 'head',
    expected: 'an integer from 0 to 0',
    actual: '1'
  })
  t.like(heat(square, { head: [] }), { code: 'OPTION', argument: 'head' })
  t.like(heat(square, { head: [0, 'x'] }), { code: 'OPTION', argument: 'head[1]', actual: '"x"' })
  t.like(heat(square, { batch: -1 }), { code: 'OPTION', argument: 'batch' })
  t.like(heat(square, { queryLabels: ['a'] }), {
    code: 'SHAPE',
    argument: 'queryLabels',
    expected: '2 labels',
    actual: '1'
  })
  t.like(heat(square, { keyLabels: ['a', 7] }), { code: 'OPTION', argument: 'keyLabels[1]', actual: '7' })
  t.like(heat(square, { maxCells: 0 }), { code: 'OPTION', argument: 'maxCells' })
  t.like(heat(square, { reduce: 'min' }), { code: 'OPTION', argument: 'reduce', expected: "'sum' or 'mean' or 'max'" })
  t.like(heat(square, { range: [1, 0] }), { code: 'OPTION', argument: 'range' })
  for (const range of [[0], [0, 1, 2], [0, NaN], [-Infinity, 0], ['0', 1], 1]) {
    t.like(heat(square, { range }), { code: 'OPTION', argument: 'range', expected: 'two finite numbers' })
  }
  t.like(heat(square, { scale: 'log' }), { code: 'OPTION', argument: 'scale' })
  t.like(
    faultOf(t, () => attentionHeatmap(square, any({ colour: 1 }))),
    { code: 'OPTION', argument: 'colour', actual: 'an unknown name' }
  )
  t.like(
    faultOf(t, () => attentionHeatmap(square, any({ theme: 'blue' }))),
    { code: 'OPTION', argument: 'theme' }
  )
  t.like(
    faultOf(t, () => attentionHeatmap(square, { marks: [{ query: 0, key: 9 }] })),
    { argument: 'marks[0].key', actual: '9' }
  )
  t.like(
    faultOf(t, () => attentionHeatmap(square, { captions: [] })),
    { code: 'SHAPE', argument: 'captions' }
  )
  t.like(
    faultOf(t, () => attentionHeatmapText(square, any({ color: 'yes' }))),
    { argument: 'color', actual: '"yes"' }
  )
  t.like(
    faultOf(t, () => attentionHeatmapText(square, { width: 3 })),
    { argument: 'width' }
  )

  const disk = (/** @type {any} */ points, /** @type {any} */ options) =>
    faultOf(t, () => poincareDisk(points, options))
  const two = tensor([0, 0, 0.1, 0], [2, 2])
  t.like(disk(tensor([1, 2, 3], [1, 3]), {}), {
    code: 'SHAPE',
    argument: 'points',
    expected: '[N, 2]',
    actual: '[1, 3]'
  })
  t.like(disk(two, { edges: [[0, 2]] }), { code: 'OPTION', argument: 'edges[0][1]', actual: '2' })
  t.like(disk(two, { edges: [0, 1] }), { argument: 'edges[0]' })
  t.like(disk(two, { edges: Int32Array.of(0) }), { code: 'SHAPE', argument: 'edges' })
  t.like(disk(two, { edges: Int32Array.of(0, 5) }), { argument: 'edges[1]', actual: '5' })
  t.like(disk(two, { weights: [1] }), { code: 'SHAPE', argument: 'weights', expected: '2 numbers', actual: '1' })
  t.like(disk(two, { weights: [1, -1] }), { code: 'DOMAIN', argument: 'weights[1]', actual: '-1' })
  t.like(disk(two, { edgeWeights: [1] }), { code: 'OPTION', argument: 'edgeWeights' })
  t.like(disk(two, { highlight: [9] }), { argument: 'highlight[0]' })
  t.like(disk(two, { size: 5 }), { argument: 'size' })
  t.like(disk(two, { radius: 5 }), { argument: 'radius', actual: 'an unknown name' })

  const graph = (/** @type {any} */ edges, /** @type {any} */ options) => faultOf(t, () => graphPlot(edges, options))
  const pair = { numNodes: 2, source: [0], target: [1] }
  t.like(graph({}, {}), { code: 'DTYPE', argument: 'graph', actual: 'an object' })
  t.like(graph({ ...pair, target: [2] }, {}), {
    code: 'OPTION',
    argument: 'target[0]',
    expected: 'an integer from 0 to 1',
    actual: '2'
  })
  t.like(graph({ ...pair, target: [] }, {}), { code: 'SHAPE', argument: 'target' })
  t.like(graph({ ...pair, numNodes: -1 }, {}), { code: 'OPTION', argument: 'numNodes' })
  t.like(graph({ ...pair, source: 'x' }, {}), { code: 'DTYPE', argument: 'source' })
  t.like(graph(pair, { groups: [1] }), { code: 'SHAPE', argument: 'groups' })
  t.like(graph(pair, { labels: [{}, 1] }), { code: 'OPTION', argument: 'labels[0]' })
  t.like(graph(pair, { labels: ['a'] }), { code: 'SHAPE', argument: 'labels', expected: '2 labels', actual: '1' })
  t.like(graph(pair, { groupLabels: 'ants' }), { code: 'OPTION', argument: 'groupLabels', actual: '"ants"' })
  t.like(graph(pair, { groupLabels: { a: 1 } }), { code: 'OPTION', argument: 'groupLabels.a', actual: '1' })
  t.like(graph(pair, { positions: tensor([0, 0], [1, 2]) }), {
    code: 'SHAPE',
    argument: 'positions',
    expected: '[2, 2]'
  })
  t.like(graph(pair, { positions: tensor([0, 0, NaN, 0], [2, 2]) }), { code: 'DOMAIN', argument: 'positions[1]' })
  t.like(graph(pair, { weights: Float32Array.of(NaN) }), { code: 'DOMAIN', argument: 'weights[0]' })
  t.like(graph(pair, { head: 0 }), { code: 'OPTION', argument: 'head' })
  t.like(graph(pair, { addSelfLoops: true }), { code: 'OPTION', argument: 'addSelfLoops' })
  t.like(graph(pair, { marks: [{ nodes: [0], label: 'x', group: 3 }] }), { code: 'OPTION', argument: 'marks[0].group' })
  t.like(graph(pair, { directed: 1 }), { code: 'OPTION', argument: 'directed' })
  t.like(graph(pair, { layout: 1 }), { code: 'OPTION', argument: 'layout', actual: 'an unknown name' })
})
