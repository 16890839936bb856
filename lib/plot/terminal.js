// Attention weights for a terminal: one line per query, one or two columns per key, in color or with shading
// characters.

import { pickOptions } from '../checks/options.js'
import {
  HIDDEN,
  NOT_A_NUMBER,
  areShares,
  chooseHeads,
  formatValue,
  readReduce,
  readScale,
  downsample,
  describeDownsampling
} from './cells.js'
import { checkInteger, readBoolean, readChoice, readLabels, readText } from './check.js'
import { LEVELS, colorsOf } from './color.js'
import { columnsOf, fit, pad } from './columns.js'
import { graphemes } from './text.js'

/** @typedef {ReturnType<typeof readOptions>} Options */
/** @typedef {import('./cells.js').Chosen} Chosen */
/** @typedef {import('./cells.js').CellGrid} CellGrid */
/**
 * @typedef {{ options: Options, grid: CellGrid, scale: ReturnType<typeof readScale>, cell: number, left: number, names:
 *   string[] }} Drawing
 */

const NAMES = /** @type {const} */ (['queryLabels', 'keyLabels', 'head', 'batch', 'title', 'color', 'theme', 'width', 'maxCells', 'reduce', 'range', 'scale']) // prettier-ignore
const MAX_LINES = 64
const MAX_LABEL_WIDTH = 24
/** Maximum height of vertical column labels, one character per line. */
const MAX_LABEL_HEIGHT = 10
/** Shading characters from zero, a dot that guides the eye, to the maximum. */
const SHADES = ['·', '░', '▒', '▓', '█']
const RESET = '\u001b[0m'

/** The capabilities of this process's terminal, if it has one. */
function terminal() {
  const stream = globalThis.process?.stdout
  const shows = stream?.isTTY && typeof stream.hasColors === 'function' && stream.hasColors(2 ** 24)
  return { columns: stream?.columns || 80, color: Boolean(shows) }
}

/** @type {typeof import('../../plot.d.ts').attentionHeatmapText} */
export function attentionHeatmapText(weights, given) {
  const picked = pickOptions(given, NAMES)
  const chosen = chooseHeads(weights, picked)
  const options = readOptions(picked, chosen)
  const rows = Math.min(options.maxCells, MAX_LINES)
  // Downsampled rows have no labels.
  const named = chosen.queries <= rows ? (options.queryLabels ?? []) : []
  const names = named.map((label) => fit(label, MAX_LABEL_WIDTH))
  const digits = String(chosen.queries - 1).length
  const left = Math.max(0, ...names.map(columnsOf)) + (names.length > 0 ? 1 : 0) + Math.max(digits, 2) + 1
  const room = Math.max(4, options.width - left)
  const cell = Math.ceil(chosen.keys / Math.ceil(chosen.keys / Math.min(options.maxCells, room))) * 2 <= room ? 2 : 1
  const grid = downsample(
    chosen,
    { rows, columns: Math.min(options.maxCells, Math.floor(room / cell)) },
    options.reduce
  )
  return draw(chosen, { options, grid, scale: readScale(grid, picked), cell, left, names })
}

/**
 * @param {{ [name in typeof NAMES[number]]?: unknown }} given
 * @param {Chosen} chosen
 */
function readOptions(given, chosen) {
  const { queries, keys, numHeads } = chosen
  const shares = areShares(chosen)
  const shown = terminal()
  return {
    shares,
    queryLabels: readLabels('queryLabels', given.queryLabels, queries),
    keyLabels: readLabels('keyLabels', given.keyLabels, keys),
    title: readText('title', given.title),
    color: readBoolean('color', given.color, shown.color),
    theme: readChoice('theme', given.theme, /** @type {const} */ (['dark', 'light'])),
    width: given.width === undefined ? shown.columns : checkInteger('width', given.width, 16, 10_000),
    maxCells: given.maxCells === undefined ? 4096 : checkInteger('maxCells', given.maxCells, 1, 4096),
    reduce: readReduce(given.reduce, shares),
    named: numHeads > 1
  }
}

/**
 * @param {Chosen} chosen
 * @param {Drawing} drawing
 */
function draw(chosen, drawing) {
  const { options, grid } = drawing
  const downsampling = describeDownsampling(grid, options.reduce)
  const panels = grid.heads.flatMap(({ head, values }) => [
    ...(options.named ? ['', `Head ${head}`] : []),
    ...columnHeads(chosen, drawing),
    ...rowsOf(drawing, values)
  ])
  const lines = [
    ...(options.title === '' ? [] : [fit(options.title, options.width)]),
    ...(options.title === '' && options.named ? panels.slice(1) : panels),
    legend(drawing),
    ...(downsampling === undefined ? [] : wrapWords(downsampling, options.width))
  ]
  return lines.join('\n')
}

/**
 * @param {Drawing} drawing
 * @param {Float64Array} values
 */
function rowsOf({ options, grid, scale, cell, left, names }, values) {
  const { rows, columns, queriesPerCell } = grid
  return Array.from({ length: rows }, (_, row) => {
    const query = row * queriesPerCell
    const name = names.length > 0 ? `${names[query]} ` : ''
    const cells = Array.from(values.subarray(row * columns, (row + 1) * columns), scale.levelOf)
    return `${pad(`${name}${String(query).padStart(2)}`, left - 1)} ${options.color ? colorLine(cells, cell, options.theme) : cells.map((level) => shade(level, cell)).join('')}`
  })
}

/**
 * @param {readonly number[]} levels
 * @param {number} width
 * @param {'light' | 'dark'} theme
 */
function colorLine(levels, width, theme) {
  let line = ''
  for (const [index, level] of levels.entries()) {
    if (level !== levels[index - 1]) line += background(level, theme)
    line += { [NOT_A_NUMBER]: '?', [HIDDEN]: '-' }[level]?.repeat(width) ?? ' '.repeat(width)
  }
  return line + RESET
}

/**
 * @param {number} level
 * @param {'light' | 'dark'} theme
 */
function background(level, theme) {
  if (level === NOT_A_NUMBER || level === HIDDEN) return RESET
  const [light, dark] = colorsOf(`level-${level < 0 ? LEVELS : level}`)
  const [red, green, blue] = [1, 3, 5].map((start) =>
    parseInt((theme === 'dark' ? dark : light).slice(start, start + 2), 16)
  )
  return `\u001b[48;2;${red};${green};${blue}m`
}

/**
 * @param {number} level
 * @param {number} width
 */
function shade(level, width) {
  if (level === NOT_A_NUMBER) return '?'.repeat(width)
  if (level === HIDDEN) return '-'.repeat(width)
  const at = level < 0 ? SHADES.length - 1 : Math.round((level / LEVELS) * (SHADES.length - 1))
  return at === 0 ? SHADES[0].padStart(width) : SHADES[at].repeat(width)
}

/**
 * The header of the columns: numbers if the row labels already name the keys, otherwise the keys' own labels.
 *
 * @param {Chosen} chosen
 * @param {Drawing} drawing
 */
function columnHeads({ keys }, { options, grid, cell, left }) {
  const { keyLabels, queryLabels } = options
  const { columns, keysPerCell } = grid
  const isSame = keyLabels !== undefined && keyLabels.join('\n') === queryLabels?.join('\n')
  if (keyLabels !== undefined && !isSame && keysPerCell === 1) return hanging(keyLabels, cell, left)
  const apart = String(keys - 1).length + 1
  const every = Math.max(1, Math.ceil(apart / cell))
  let line = ' '.repeat(left)
  for (let column = 0; column < columns; column += every) {
    // Each number ends at the end of its column.
    line = line.padEnd(left + column * cell)
    const number = String(column * keysPerCell).padStart(cell)
    if (line.length + number.length <= options.width) line += number
  }
  return [line.trimEnd()]
}

/**
 * Vertical labels, one above each column.
 *
 * @param {readonly string[]} labels
 * @param {number} cell
 * @param {number} left
 */
function hanging(labels, cell, left) {
  const letters = labels.map((label) => {
    const all = graphemes(fit(label, 200)).filter((letter) => columnsOf(letter) > 0)
    return all.length > MAX_LABEL_HEIGHT ? [...all.slice(0, MAX_LABEL_HEIGHT - 1), '…'] : all
  })
  const height = Math.max(...letters.map(({ length }) => length))
  return Array.from({ length: height }, (_, line) => {
    const row = letters.map((own) => {
      const letter = own[line - height + own.length] ?? ''
      // A single column has no room for a wide character.
      return pad(columnsOf(letter) > cell ? '·' : letter, cell)
    })
    return `${' '.repeat(left)}${row.join('')}`.trimEnd()
  })
}

/** @param {Drawing} drawing */
function legend({ options, scale, left }) {
  const positions = [0, 0.25, 0.5, 0.75, 1]
  const entries = positions.map((position) => {
    const level = Math.round(position * LEVELS)
    const sample = options.color ? colorLine([level], 2, options.theme) : shade(level, 1)
    return `${sample} ${formatValue(scale.valueAt(position), options.shares, scale.decimals)}`
  })
  return `${' '.repeat(left)}${entries.join('  ')}`
}

/**
 * @param {string} words
 * @param {number} width
 */
function wrapWords(words, width) {
  /** @type {string[]} */
  const lines = []
  for (const word of words.split(' ')) {
    const longer = lines.length === 0 ? word : `${lines.at(-1)} ${word}`
    if (lines.length > 0 && columnsOf(longer) <= width) lines[lines.length - 1] = longer
    else lines.push(word)
  }
  return lines
}
