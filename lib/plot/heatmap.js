// Attention weights as SVG: one panel per head, one row per query, one column per key, all on the same scale.

import { fault } from '../checks/errors.js'
import { pickOptions } from '../checks/options.js'
import {
  HIDDEN,
  INFINITE,
  NOT_A_NUMBER,
  areShares,
  chooseHeads,
  formatValue,
  describeWeights,
  readReduce,
  readScale,
  downsample,
  describeDownsampling
} from './cells.js'
import { checkIndex, checkInteger, readLabels, readLines, readList, readText, readTheme } from './check.js'
import { LEVELS } from './color.js'
import { MARGIN, createPalette, frame, header, round, text, texts } from './svg.js'
import { brief, clean, escapeXml, widthOf, wrap } from './text.js'

/** @typedef {import('./cells.js').Chosen} Chosen */
/** @typedef {import('./cells.js').CellGrid} CellGrid */
/** @typedef {import('./svg.js').Palette} Palette */
/** @typedef {{ query: number, key: number }} Mark */
/** @typedef {ReturnType<typeof readOptions>} Options */
/** @typedef {ReturnType<typeof panelSizes>} Sizes */
/**
 * @typedef {{ palette: Palette, options: Options, grid: CellGrid, scale: ReturnType<typeof readScale>, sizes: Sizes }}
 *   Drawing
 */

const NAMES = /** @type {const} */ (['queryLabels', 'keyLabels', 'head', 'batch', 'title', 'notes', 'captions', 'marks', 'markLabel', 'columns', 'theme', 'maxCells', 'reduce', 'range', 'scale']) // prettier-ignore

/** Default limit for the cells of all panels together; it bounds the size of the SVG. */
const MAX_CELLS = 36_000
/** Up to this many cells in total, each has a tooltip; up to eight times as many, only those with large values. */
const FEW_CELLS = 512
const LABEL_SIZE = 11
/** Height of a row of labels, and width of a column of rotated ones. */
const LABEL_PITCH = 13
const LABEL_ANGLE = -58
const [SINE, COSINE] = [Math.sin((-LABEL_ANGLE * Math.PI) / 180), Math.cos((-LABEL_ANGLE * Math.PI) / 180)]
const GUTTER = 24
const [CAPTION, SMALL_CAPTION] = [12, 10.5]

/** @type {typeof import('../../plot.d.ts').attentionHeatmap} */
export function attentionHeatmap(weights, given) {
  const picked = pickOptions(given, NAMES)
  const chosen = chooseHeads(weights, picked)
  const options = readOptions(picked, chosen)
  const most = Math.min(Math.max(options.maxCells, 1), 4096)
  const grid = downsample(chosen, { rows: most, columns: most }, options.reduce)
  const drawing = {
    palette: createPalette(options.theme),
    options,
    grid,
    scale: readScale(grid, picked),
    sizes: panelSizes(chosen, grid, options)
  }
  return draw(chosen, drawing)
}

/**
 * @param {{ [name in typeof NAMES[number]]?: unknown }} given
 * @param {Chosen} chosen
 */
function readOptions(given, chosen) {
  const { heads, queries, keys, numHeads } = chosen
  const shares = areShares(chosen)
  const usual = Math.min(Math.max(Math.floor(Math.sqrt(MAX_CELLS / heads.length)), 16), 160)
  return {
    shares,
    queryLabels: readLabels('queryLabels', given.queryLabels, queries),
    keyLabels: readLabels('keyLabels', given.keyLabels, keys),
    title: readText('title', given.title, shares ? 'Attention weights' : 'Attention scores'),
    notes: readLines('notes', given.notes),
    captions: readPerHead('captions', given.captions, heads.length, readLines) ?? [],
    marks: readPerHead('marks', given.marks, heads.length, (name, mark) => readMark(name, mark, queries, keys)) ?? [],
    markLabel: readText('markLabel', given.markLabel),
    columns: given.columns === undefined ? undefined : checkInteger('columns', given.columns, 1, Infinity),
    theme: readTheme(given.theme),
    maxCells: given.maxCells === undefined ? usual : checkInteger('maxCells', given.maxCells, 1, 4096),
    reduce: readReduce(given.reduce, shares),
    named: numHeads > 1
  }
}

/**
 * @template T
 * @param {string} argument
 * @param {unknown} value
 * @param {number} count
 * @param {(name: string, entry: unknown) => T} read
 */
function readPerHead(argument, value, count, read) {
  const list = readList(argument, value, 'a list with one entry per drawn head', (name, entry) =>
    entry === undefined || entry === null ? undefined : read(name, entry)
  )
  if (list !== undefined && list.length !== count) throw fault('SHAPE', argument, `${count} entries`, `${list.length}`)
  return list
}

/**
 * @param {string} argument
 * @param {unknown} mark
 * @param {number} queries
 * @param {number} keys
 * @returns {Mark}
 */
function readMark(argument, mark, queries, keys) {
  const { query, key } = /** @type {Partial<Mark>} */ (mark)
  return { query: checkIndex(`${argument}.query`, query, queries), key: checkIndex(`${argument}.key`, key, keys) }
}

/**
 * The dimensions of a panel.
 *
 * @param {Chosen} chosen
 * @param {CellGrid} grid
 * @param {Options} options
 */
function panelSizes({ heads, queries, keys }, { rows, columns, queriesPerCell, keysPerCell }, options) {
  const wanted = heads.length === 1 ? 480 : heads.length <= 16 ? 256 : heads.length <= 48 ? 192 : 128
  const most = heads.length === 1 ? 48 : 26
  const size = Math.min(Math.max(wanted / Math.max(rows, columns), 2), most)
  const side = (/** @type {number} */ count, /** @type {boolean} */ labelled) =>
    Math.floor(
      Math.max(labelled ? LABEL_PITCH : 0, count <= 16 && count * size < wanted / 4 ? Math.min(most, 26) : size)
    )
  const rowLabels = labelsOf(options.queryLabels, queries, queriesPerCell)
  const columnLabels = labelsOf(options.keyLabels, keys, keysPerCell)
  const cellWidth = side(columns, columnLabels.every && columns <= 48)
  const cellHeight = side(rows, rowLabels.every && rows <= 48)
  const widest = (/** @type {readonly string[]} */ labels, /** @type {number} */ room) =>
    Math.min(Math.max(...labels.map((label) => widthOf(clean(label.slice(0, 200)), LABEL_SIZE))), room)
  const left = 8 + widest(rowLabels.labels, 130)
  const labelLength = widest(columnLabels.labels, 96)
  const rotated = columnLabels.every
  const overhang = rotated ? Math.max(0, labelLength * COSINE - cellWidth / 2) : 8
  const width = columns * cellWidth + Math.max(overhang, GUTTER)
  // Captions reach at least to the edge of the picture, but not to the next caption.
  const room = width + 14
  const captions = options.captions.map((lines) => lines?.flatMap((line) => wrapCaption(line, room)))
  const captionLines = Math.max(0, ...captions.map((lines) => lines?.length ?? 0))
  const captionTop = options.named ? 18 : 0
  const top = captionTop + captionLines * 16 + (rotated ? labelLength * SINE + 12 : 18)
  return {
    rowLabels,
    columnLabels,
    cellWidth,
    cellHeight,
    left,
    top,
    rotated,
    captions,
    captionTop,
    room,
    labelLength,
    width: left + width,
    height: top + rows * cellHeight + GUTTER
  }
}

/**
 * Labels of rows or columns: the caller's, if each token has its own cell, otherwise token numbers at intervals.
 *
 * @param {readonly string[] | undefined} given
 * @param {number} tokens
 * @param {number} perCell
 */
function labelsOf(given, tokens, perCell) {
  const every = given !== undefined && perCell === 1
  return { every, labels: every ? given : [String(tokens - 1)] }
}

/**
 * @param {Chosen} chosen
 * @param {Drawing} drawing
 */
function draw(chosen, { palette, options, grid, scale, sizes }) {
  const drawing = { palette, options, grid, scale, sizes }
  const count = grid.heads.length
  const most = options.columns ?? Math.max(1, Math.floor(1500 / sizes.width))
  const across = options.columns === undefined ? Math.ceil(count / Math.ceil(count / most)) : Math.min(most, count)
  const width = Math.max(2 * MARGIN + across * sizes.width - GUTTER / 2, 440)
  const downsampling = describeDownsampling(grid, options.reduce)
  const head = header(palette, {
    title: options.title,
    notes: [
      ...options.notes,
      ...(chosen.batches > 1 ? [`Batch entry ${chosen.batch}.`] : []),
      ...(downsampling ? [downsampling] : [])
    ],
    width
  })
  const key = legend(drawing, head.bottom, width)
  const panels = grid.heads.map((panel, index) => {
    const x = MARGIN + (index % across) * sizes.width
    const y = key.bottom + Math.floor(index / across) * sizes.height
    return `<g transform="translate(${round(x)} ${round(y)})">\n${drawPanel(drawing, panel, index)}\n</g>`
  })
  const height = key.bottom + Math.ceil(count / across) * sizes.height - GUTTER + MARGIN
  const description = [describeWeights(chosen, options), downsampling].filter(Boolean).join(' ')
  return frame({
    width,
    height,
    title: options.title || 'Heatmap',
    description,
    palette,
    parts: [...head.parts, ...key.parts, ...panels]
  })
}

/**
 * @param {Drawing} drawing
 * @param {CellGrid['heads'][number]} panel
 * @param {number} index
 */
function drawPanel(drawing, { head, values }, index) {
  const { palette, options, sizes } = drawing
  const lines = sizes.captions[index] ?? []
  return [
    ...(options.named ? [text(palette, sizes.left, 12, `Head ${head}`, { size: 14, weight: 600 })] : []),
    ...lines.map((line, at) => caption(palette, sizes.left, sizes.captionTop + 12 + at * 16, line, sizes.room)),
    drawCells(drawing, values),
    ...drawMark(drawing, options.marks[index]),
    ...drawLabels(drawing),
    ...tooltips(drawing, head, values)
  ].join('\n')
}

/**
 * The lines of a caption: one, if it fits at the smaller size.
 *
 * @param {string} line
 * @param {number} room
 */
function wrapCaption(line, room) {
  return widthOf(clean(line.slice(0, 400)), SMALL_CAPTION) > room ? wrap(line, room, CAPTION) : [line]
}

/**
 * A line above a head; long lines use a smaller font.
 *
 * @param {Palette} palette
 * @param {number} x
 * @param {number} y
 * @param {string} line
 * @param {number} room
 */
function caption(palette, x, y, line, room) {
  const size = widthOf(clean(line.slice(0, 400)), CAPTION) > room ? SMALL_CAPTION : CAPTION
  return text(palette, x, y, line, { size, fill: 'muted', room })
}

/**
 * Draws the cells. A run of equal levels in a row is one stroke, as wide as the row is high.
 *
 * @param {Drawing} drawing
 * @param {Float64Array} values
 */
function drawCells({ palette, options, grid, scale, sizes }, values) {
  const { rows, columns } = grid
  const { left, top, cellWidth, cellHeight } = sizes
  /** @type {Map<number, string>} */
  const runs = new Map()
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns;) {
      const level = scale.levelOf(values[row * columns + column])
      const start = column
      do column++
      while (column < columns && scale.levelOf(values[row * columns + column]) === level)
      if (level !== 0) runs.set(level, `${runs.get(level) ?? ''}M${start} ${row}h${column - start}`)
    }
  }
  const strokes = Array.from(runs, ([level, path]) => `<path ${palette.paint({ stroke: roleOf(level) })} d="${path}"/>`)
  const [width, height] = [columns * cellWidth, rows * cellHeight]
  const parts = [
    `<rect x="${round(left)}" y="${round(top)}" width="${width}" height="${height}" ${palette.paint({ fill: 'level-0' })}/>`,
    `<g transform="translate(${round(left)} ${round(top + cellHeight / 2)}) scale(${cellWidth} ${cellHeight})" shape-rendering="crispEdges">${strokes.join('')}</g>`,
    crosses(palette, sizes, grid, (cell) => scale.levelOf(values[cell]))
  ]
  if (Math.min(cellWidth, cellHeight) >= 8) parts.push(gridLines(palette, sizes, grid))
  if (Math.min(cellWidth, cellHeight) >= 34) parts.push(...numbers(palette, sizes, grid, scale, options.shares, values))
  return parts.join('\n')
}

/** @param {number} level */
function roleOf(level) {
  if (level >= 0) return `level-${level}`
  return level === INFINITE ? `level-${LEVELS}` : level === NOT_A_NUMBER ? 'nan' : 'paper'
}

/**
 * Draws a cross over NaN and infinite values, and a slash over cells that −∞ hides.
 *
 * @param {Palette} palette
 * @param {Sizes} sizes
 * @param {CellGrid} grid
 * @param {(cell: number) => number} levelOf
 */
function crosses(palette, { left, top, cellWidth, cellHeight }, { rows, columns }, levelOf) {
  // Smaller cells show these values by color only.
  if (Math.min(cellWidth, cellHeight) < 8) return ''
  /** @type {Map<number, string>} */
  const paths = new Map()
  for (let cell = 0; cell < rows * columns; cell++) {
    const level = levelOf(cell)
    if (level >= 0) continue
    const [x, y] = [round(left + (cell % columns) * cellWidth), round(top + Math.floor(cell / columns) * cellHeight)]
    const slash = `M${x} ${y + cellHeight}l${cellWidth} -${cellHeight}`
    const cross = level === HIDDEN ? slash : `${slash}m0 ${cellHeight}l-${cellWidth} -${cellHeight}`
    paths.set(level, `${paths.get(level) ?? ''}${cross}`)
  }
  return Array.from(paths, ([level, path]) => {
    const stroke = palette.paint({ stroke: level === HIDDEN ? 'line' : 'mark' })
    return `<path fill="none" ${stroke} d="${path}"/>`
  }).join('')
}

/**
 * @param {Palette} palette
 * @param {Sizes} sizes
 * @param {CellGrid} grid
 */
function gridLines(palette, { left, top, cellWidth, cellHeight }, { rows, columns }) {
  const [x, y] = [round(left), round(top)]
  const across = Array.from(
    { length: rows + 1 },
    (_, row) => `M${x} ${round(y + row * cellHeight)}h${columns * cellWidth}`
  )
  const down = Array.from({ length: columns + 1 }, (_, at) => `M${round(x + at * cellWidth)} ${y}v${rows * cellHeight}`)
  return `<path fill="none" ${palette.paint({ stroke: 'paper' })} d="${[...across, ...down].join('')}"/>`
}

/**
 * Prints the values in the cells, if they are large enough.
 *
 * @param {Palette} palette
 * @param {Sizes} sizes
 * @param {CellGrid} grid
 * @param {Drawing['scale']} scale
 * @param {boolean} shares
 * @param {Float64Array} values
 */
function numbers(palette, { left, top, cellWidth, cellHeight }, { columns }, scale, shares, values) {
  return Array.from(values, (value, cell) => {
    const words = formatValue(value, shares, scale.decimals)
    const level = scale.levelOf(value)
    if (level < 0 || widthOf(words, LABEL_SIZE) > cellWidth - 6) return ''
    const [x, y] = [left + ((cell % columns) + 0.5) * cellWidth, top + (Math.floor(cell / columns) + 0.5) * cellHeight]
    return text(palette, x, y + 4, words, { anchor: 'middle', fill: `on-level-${level}` })
  }).filter((number) => number !== '')
}

/**
 * @param {Drawing} drawing
 * @param {Mark | undefined} mark
 */
function drawMark({ palette, grid, sizes }, mark) {
  if (mark === undefined) return []
  const x = sizes.left + Math.floor(mark.key / grid.keysPerCell) * sizes.cellWidth
  const y = sizes.top + Math.floor(mark.query / grid.queriesPerCell) * sizes.cellHeight
  return [ring(palette, x, y, sizes.cellWidth, sizes.cellHeight)]
}

/**
 * @param {Palette} palette
 * @param {number} x
 * @param {number} y
 * @param {number} width
 * @param {number} height
 */
function ring(palette, x, y, width, height) {
  const geometry = `x="${round(x - 0.5)}" y="${round(y - 0.5)}" width="${width + 1}" height="${height + 1}"`
  return `<rect ${geometry} fill="none" stroke-width="1.8" ${palette.paint({ stroke: 'mark' })}/>`
}

/** @param {Drawing} drawing */
function drawLabels({ palette, grid, sizes }) {
  const { rowLabels, columnLabels, left, top, cellWidth, cellHeight, labelLength } = sizes
  const rows = ticks(rowLabels, grid.rows, grid.queriesPerCell, cellHeight, LABEL_PITCH, 20)
  const columns = ticks(columnLabels, grid.columns, grid.keysPerCell, cellWidth, LABEL_PITCH, 34)
  const fill = (/** @type {{ every: boolean }} */ { every }) => (every ? 'ink' : 'muted')
  const rowTexts = rows.map(({ label, at }) => ({ x: left - 5, y: top + (at + 0.5) * cellHeight + 4, content: label }))
  const columnTexts = columns.map(({ label, at }) => ({
    x: left + (at + 0.5) * cellWidth + (sizes.rotated ? 3 : 0),
    y: top - 5,
    content: label
  }))
  const across = sizes.rotated ? { turn: LABEL_ANGLE, room: labelLength } : { anchor: /** @type {const} */ ('middle') }
  return [
    texts(palette, { anchor: 'end', room: 130, fill: fill(rowLabels) }, rowTexts),
    texts(palette, { ...across, fill: fill(columnLabels) }, columnTexts)
  ]
}

/**
 * Selects the labels that fit, with their cells: every `step`-th of the caller's labels, or round numbers.
 *
 * @param {{ every: boolean, labels: readonly string[] }} labels
 * @param {number} cells
 * @param {number} perCell
 * @param {number} size
 * @param {number} pitch  minimum distance of the caller's labels
 * @param {number} apart  minimum distance of numbers
 */
function ticks({ every, labels }, cells, perCell, size, pitch, apart) {
  if (every) {
    const step = Math.ceil(pitch / size)
    return labels.map((label, at) => ({ label, at })).filter(({ label, at }) => at % step === 0 && label !== '')
  }
  const room = (apart / size) * perCell
  const magnitude = 10 ** Math.floor(Math.log10(room))
  const step = Math.max(1, [1, 2, 5, 10].map((factor) => factor * magnitude).find((step) => step >= room) ?? 1)
  const count = Math.floor((cells * perCell - 1) / step) + 1
  return Array.from({ length: count }, (_, tick) => ({
    label: String(tick * step),
    at: (tick * step) / perCell
  })).filter(({ at }) => at < cells)
}

/**
 * Tooltips for every cell if there are few, for cells with large values if there are more, otherwise none.
 *
 * @param {Drawing} drawing
 * @param {number} head
 * @param {Float64Array} values
 */
function tooltips({ options, grid, scale, sizes }, head, values) {
  const { rows, columns, queriesPerCell, keysPerCell } = grid
  const cells = rows * columns * grid.heads.length
  if (cells > 8 * FEW_CELLS) return []
  const from = cells > FEW_CELLS ? LEVELS / 3 : -Infinity
  const name = (
    /** @type {readonly string[] | undefined} */ labels,
    /** @type {number} */ at,
    /** @type {number} */ per
  ) => (per > 1 ? `${at * per}…` : labels?.[at] || String(at))
  const titles = Array.from(values, (value, cell) => {
    const [row, column] = [Math.floor(cell / columns), cell % columns]
    const level = scale.levelOf(value)
    if (level >= 0 && level < from) return ''
    const names = [name(options.queryLabels, row, queriesPerCell), name(options.keyLabels, column, keysPerCell)]
    const words = `${options.named ? `head ${head}: ` : ''}${names.map(brief).join(' → ')} ${formatValue(value, options.shares)}`
    return `<path d="M${column} ${row}h1v1h-1z"><title>${escapeXml(words)}</title></path>`
  }).join('')
  const transform = `translate(${round(sizes.left)} ${round(sizes.top)}) scale(${sizes.cellWidth} ${sizes.cellHeight})`
  return titles === '' ? [] : [`<g transform="${transform}" fill="none" pointer-events="all">${titles}</g>`]
}

/**
 * The legend: colors with their values, marks, and the signs for values that are not finite.
 *
 * @param {Drawing} drawing
 * @param {number} top
 * @param {number} pictureWidth
 */
function legend({ palette, options, grid, scale }, top, pictureWidth) {
  const width = 224
  const [x, y] = [MARGIN, top + 14]
  const heading = options.shares ? 'share of the query’s attention' : 'value'
  const step = width / (LEVELS + 1)
  const parts = [text(palette, x, y, heading, { size: 12, fill: 'muted' })]
  for (let level = 0; level <= LEVELS; level++) {
    const geometry = `x="${round(x + level * step)}" y="${y + 7}" width="${round(step + 0.4)}" height="12"`
    parts.push(`<rect ${geometry} ${palette.paint({ fill: `level-${level}` })} shape-rendering="crispEdges"/>`)
  }
  for (const [index, position] of [0, 0.25, 0.5, 0.75, 1].entries()) {
    const anchor = index === 0 ? 'start' : index === 4 ? 'end' : 'middle'
    parts.push(
      text(
        palette,
        x + position * width,
        y + 33,
        formatValue(scale.valueAt(position), options.shares, scale.decimals),
        {
          anchor
        }
      )
    )
  }
  const found = new Set(
    grid.heads.flatMap(({ values }) => Array.from(values, scale.levelOf)).filter((level) => level < 0)
  )
  const entries = [
    ...(options.markLabel === '' ? [] : [{ level: undefined, words: options.markLabel }]),
    ...[...found].map((level) => ({
      level,
      words: { [NOT_A_NUMBER]: 'not a number', [INFINITE]: '∞', [HIDDEN]: 'hidden (−∞)' }[level] ?? ''
    }))
  ]
  const signs = keys(palette, entries, x + width + 28, y + 7, pictureWidth - MARGIN)
  return { parts: [...parts, ...signs.parts], bottom: Math.max(top + 62, signs.bottom) }
}

/**
 * Draws signs with their explanations, one below the other; long explanations continue on further lines.
 *
 * @param {Palette} palette
 * @param {readonly { level?: number, words: string }[]} entries
 * @param {number} left
 * @param {number} middle  where the only line starts; several start above it
 * @param {number} right
 */
function keys(palette, entries, left, middle, right) {
  const wrapped = entries.map(({ level, words }) => ({ level, lines: wrap(words, right - left - 20, 12) }))
  const isOneLine = wrapped.length === 1 && wrapped[0].lines.length === 1
  let next = middle - (isOneLine ? 0 : 9)
  const parts = wrapped.flatMap(({ level, lines }) => {
    const top = next
    next += 3 + 15 * lines.length
    const cell = { left, top, cellWidth: 12, cellHeight: 12 }
    const sign =
      level === undefined
        ? ring(palette, left + 1, top + 1, 10, 10)
        : `<rect x="${left}" y="${top}" width="12" height="12" ${palette.paint({ fill: roleOf(level) })}/>${crosses(palette, /** @type {Sizes} */ (cell), /** @type {CellGrid} */ ({ rows: 1, columns: 1 }), () => level)}`
    const style = { size: 12, fill: 'muted' }
    return [sign, ...lines.map((line, at) => text(palette, left + 20, top + 10 + 15 * at, line, style))]
  })
  return { parts, bottom: next + 14 }
}
