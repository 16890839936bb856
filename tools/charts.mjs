// Draws docs/performance-length.svg and docs/performance-ratios.svg from the tables of docs/performance.md, so that
// charts and tables have the same figures.
//   node tools/charts.mjs

import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { MARGIN, createPalette, frame, header, round, text } from '../lib/plot/svg.js'
import { root } from './shell.mjs'

/** @typedef {{ name: string, times: Record<string, number> }} Case  times in seconds, by column */
/** @typedef {ReturnType<typeof createPalette>} Palette */
/** @typedef {readonly [x: number, y: number]} Point */

/** Each contender with its color and its sign. */
const SERIES = /** @type {Record<string, { color: string, sign: 'disc' | 'square' | 'diamond' }>} */ ({
  native: { color: 'group-0', sign: 'disc' },
  'wasm simd128': { color: 'group-0', sign: 'disc' },
  'onnxruntime-node': { color: 'mark', sign: 'square' },
  'onnxruntime-web': { color: 'mark', sign: 'square' },
  PyTorch: { color: 'group-2', sign: 'diamond' },
  'PyTorch Geometric': { color: 'group-2', sign: 'diamond' },
  'tfjs-wasm': { color: 'group-6', sign: 'diamond' }
})
const WIDTH = 900
/** Multiplications and additions per second of one core at its best, in billions: docs/performance.md. */
const PEAK = 114

const UNITS = /** @type {Record<string, number>} */ ({ µs: 1e-6, ms: 1e-3, s: 1 })

/**
 * The cases of every table with a column `native`.
 *
 * @param {string} markdown
 * @returns {Case[]}
 */
export function readCases(markdown) {
  const tables = markdown.split(/\n\n/).filter((block) => /^\| (case|graph) .*\| native /.test(block))
  return tables.flatMap((table) => {
    const [head, , ...rows] = table.split('\n').map((line) => line.split('|').map((cell) => cell.trim()))
    return rows.map((cells) => {
      const times = head.flatMap((name, column) => {
        const [, value, unit] = /^([\d.]+) (µs|ms|s)$/.exec(cells[column] ?? '') ?? []
        return unit === undefined ? [] : [[name, Number(value) * UNITS[unit]]]
      })
      return { name: cells[1], times: Object.fromEntries(times) }
    })
  })
}

/**
 * @param {Palette} palette
 * @param {string} series
 * @param {Point} at
 */
function sign(palette, series, [x, y]) {
  const { color, sign: shape } = SERIES[series]
  const paint = palette.paint({ fill: color })
  if (shape === 'disc') return `<circle cx="${round(x)}" cy="${round(y)}" r="5" ${paint}/>`
  if (shape === 'square') return `<rect x="${round(x - 4)}" y="${round(y - 4)}" width="8" height="8" ${paint}/>`
  return `<path d="M${round(x)} ${round(y - 6)}l6 6l-6 6l-6 -6z" ${paint}/>`
}

/**
 * @param {Palette} palette
 * @param {Point} from
 * @param {Point} to
 * @param {string} [color]
 */
const line = (palette, from, to, color = 'line') =>
  `<path d="M${from.map(round).join(' ')}L${to.map(round).join(' ')}" ${palette.paint({ stroke: color })}/>`

/**
 * Signs with their names, in a row.
 *
 * @param {Palette} palette
 * @param {readonly string[]} names
 * @param {Point} at
 */
function legend(palette, names, [x, y]) {
  let left = x
  return names.flatMap((name) => {
    const parts = [sign(palette, name, [left + 6, y - 5]), text(palette, left + 18, y, name, { size: 13 })]
    left += 44 + 7.4 * name.length
    return parts
  })
}

/** @typedef {{ left: number, right: number, top: number, bottom: number }} Area */

/**
 * One panel of speeds: lengths from left to right, by powers of two, and billions of operations per second.
 *
 * @param {Palette} palette
 * @param {readonly Case[]} cases
 * @param {readonly string[]} names
 * @param {{ area: Area, isCausal: boolean, top: number, title: string, peak?: number }} panel
 */
function speedPanel(palette, cases, names, { area, isCausal, top, title, peak }) {
  const x = (/** @type {number} */ length) => area.left + ((area.right - area.left) * Math.log2(length / 16)) / 7
  const y = (/** @type {number} */ speed) => area.bottom - ((area.bottom - area.top) * speed) / top
  const parts = [text(palette, area.left, area.top - 16, title, { size: 14, weight: 600 })]
  for (let speed = 0; speed <= top; speed += top / 4) {
    parts.push(line(palette, [area.left, y(speed)], [area.right, y(speed)]))
    parts.push(text(palette, area.left - 8, y(speed) + 4, `${speed}`, { size: 13, anchor: 'end', fill: 'muted' }))
  }
  for (const length of [16, 64, 512, 1024, 2048]) {
    parts.push(text(palette, x(length), area.bottom + 20, `${length}`, { size: 13, anchor: 'middle', fill: 'muted' }))
  }
  if (peak !== undefined) {
    parts.push(line(palette, [area.left, y(peak)], [area.right, y(peak)], 'edge'))
    parts.push(text(palette, area.left + 4, y(peak) + 16, 'the core’s peak', { size: 13, fill: 'muted' }))
  }
  const lengths = cases.flatMap(({ name, times }) => {
    const [, length, causal] = /^B=1 H=8 S=(\d+) D=64( causal)?$/.exec(name) ?? []
    return length !== undefined && (causal !== undefined) === isCausal ? [{ length: Number(length), times }] : []
  })
  for (const name of names) {
    const points = lengths.flatMap(({ length, times }) => {
      const pairs = isCausal ? (length * (length + 1)) / 2 : length ** 2
      return times[name] === undefined
        ? []
        : [/** @type {const} */ ([x(length), y((4 * 8 * 64 * pairs) / times[name] / 1e9)])]
    })
    const path = points.map((point) => point.map(round).join(' ')).join('L')
    const stroke = palette.paint({ stroke: SERIES[name].color })
    if (points.length > 1) parts.push(`<path d="M${path}" fill="none" stroke-width="2" ${stroke}/>`)
    parts.push(...points.map((point) => sign(palette, name, point)))
  }
  return parts
}

/** @param {readonly Case[]} cases */
function drawLengths(cases) {
  const palette = createPalette('auto')
  const title = 'Speed by length'
  const notes = ['Billions of operations per second; 8 heads of 64, one thread. Higher is better.']
  const head = header(palette, { title, notes, width: WIDTH })
  const parts = [...head.parts]
  const rows = [
    { names: ['native', 'onnxruntime-node', 'PyTorch'], top: 120, peak: PEAK, what: 'native' },
    { names: ['wasm simd128', 'onnxruntime-web', 'tfjs-wasm'], top: 40, peak: undefined, what: 'WebAssembly' }
  ]
  const half = WIDTH / 2
  rows.forEach(({ names, top, peak, what }, row) => {
    const start = head.bottom + 16 + row * 350
    parts.push(...legend(palette, names, [MARGIN + 36, start + 8]))
    for (const isCausal of [false, true]) {
      const left = isCausal ? half + 36 : MARGIN + 36
      const area = { left, right: left + half - 84, top: start + 64, bottom: start + 290 }
      const panelTitle = isCausal ? `${what}, causal` : `${what}, every key`
      parts.push(
        ...speedPanel(palette, cases, names, { area, isCausal, top, title: panelTitle, ...(peak && { peak }) })
      )
    }
  })
  const height = head.bottom + 16 + 2 * 350 + 4
  parts.push(
    text(palette, WIDTH / 2, height - 14, 'length of the sequence', { size: 13, anchor: 'middle', fill: 'muted' })
  )
  const description = 'Native code and WebAssembly with other libraries, over 16 to 2048 keys; the table has the times.'
  return frame({ width: WIDTH, height, title, description, palette, parts })
}

/** Panels of ratios: our backend, and the libraries that are compared with it. */
const RATIOS = [
  { ours: 'native', names: ['onnxruntime-node', 'PyTorch', 'PyTorch Geometric'], title: 'compared with native code' },
  { ours: 'wasm simd128', names: ['onnxruntime-web', 'tfjs-wasm'], title: 'compared with WebAssembly' }
]
const [LEAST, MOST] = [0.5, 64]

/** @param {readonly Case[]} cases */
function drawRatios(cases) {
  const palette = createPalette('auto')
  const title = 'Time of other libraries as a multiple of ours'
  const head = header(palette, {
    title,
    notes: ['Right of 1×, ours is faster. Attention over graphs is compared with PyTorch Geometric.'],
    width: WIDTH
  })
  const parts = [...head.parts]
  const names = RATIOS.flatMap((panel) => panel.names).filter((name) => name !== 'PyTorch Geometric')
  parts.push(...legend(palette, names, [MARGIN, head.bottom + 18]))
  const [top, step, label] = [head.bottom + 74, 21, 352]
  const bottom = top + cases.length * step
  const width = (WIDTH - MARGIN - label) / 2
  cases.forEach(({ name }, row) =>
    parts.push(text(palette, label - 12, top + row * step + 4, name, { size: 12, anchor: 'end', room: label - 12 }))
  )
  RATIOS.forEach(({ ours, names: others, title: panelTitle }, panel) => {
    const left = label + panel * width
    const room = width - 24
    const x = (/** @type {number} */ ratio) => left + (room * Math.log2(ratio / LEAST)) / Math.log2(MOST / LEAST)
    parts.push(text(palette, left, top - 34, panelTitle, { size: 14, weight: 600 }))
    for (let ratio = LEAST; ratio <= MOST; ratio *= 2) {
      const color = ratio === 1 ? 'edge' : 'line'
      parts.push(line(palette, [x(ratio), top - 12], [x(ratio), bottom - 8], color))
      if (ratio >= 1) {
        for (const y of [top - 16, bottom + 10]) {
          parts.push(text(palette, x(ratio), y, `${ratio}×`, { size: 12, anchor: 'middle', fill: 'muted' }))
        }
      }
    }
    cases.forEach(({ times }, row) => {
      for (const name of others) {
        const ratio = times[name] / times[ours]
        if (ratio >= LEAST && ratio <= MOST) parts.push(sign(palette, name, [x(ratio), top + row * step]))
      }
    })
  })
  const description = 'One row per case of the tables, with the time of each library divided by ours.'
  return frame({ width: WIDTH, height: bottom + 28, title, description, palette, parts })
}

/** Both charts, by the names of their files. @param {string} markdown  docs/performance.md */
export function drawCharts(markdown) {
  const cases = readCases(markdown)
  return { 'performance-length.svg': drawLengths(cases), 'performance-ratios.svg': drawRatios(cases) }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const folder = join(root, 'docs')
  const charts = drawCharts(readFileSync(join(folder, 'performance.md'), 'utf8'))
  for (const [name, svg] of Object.entries(charts)) writeFileSync(join(folder, name), svg)
}
