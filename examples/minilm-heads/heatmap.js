// Draws attention weights: small multiples of heads as SVG text, one head as text for a terminal. Knows nothing of the model.

/** @typedef {{ data: Float32Array, shape: readonly number[] }} Tensor */

const cell = 16
const labelWidth = 66
const labelHeight = 52
const captionHeight = 54
const gutter = 24
const margin = 32
const headerHeight = 92
const font = 'system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif'

/** From "no attention" to "all of it", light to dark, steps even to the eye. */
const ramp = ['#f4f6fa', '#dbe6f4', '#b7d0ea', '#8ab4dc', '#5b93cb', '#3570b3', '#1f4f91', '#14336a', '#0b1c42']
const levels = 64

const escapes = /** @type {Record<string, string>} */ ({
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;'
})
// Control characters other than tab and line ends cannot stand in XML at all, nor can half a surrogate pair.
const escapeXml = (/** @type {string} */ text) =>
  text
    .replace(/[&<>"']/g, (character) => escapes[character])
    .replace(/[^\P{Cc}\t\n\r]|\p{Cs}|[\ufffe\uffff]/gu, '\ufffd')

/** A weight's place on the ramp: its square root, so that a twentieth is still seen. */
const level = (/** @type {number} */ weight) => Math.round(Math.sqrt(Math.min(Math.max(weight, 0), 1)) * levels)

/** @param {number} position 0 to `levels` */
function colour(position) {
  const at = (position / levels) * (ramp.length - 1)
  const lower = Math.min(Math.floor(at), ramp.length - 2)
  const channels = [1, 3, 5].map((start) => {
    const [from, to] = [ramp[lower], ramp[lower + 1]].map((hex) => parseInt(hex.slice(start, start + 2), 16))
    return Math.round(from + (to - from) * (at - lower))
      .toString(16)
      .padStart(2, '0')
  })
  return `#${channels.join('')}`
}

const ring = (/** @type {number} */ x, /** @type {number} */ y, /** @type {number} */ size) =>
  `<rect x="${x - 1}" y="${y - 1}" width="${size + 2}" height="${size + 2}" fill="none" stroke="#d9480f" stroke-width="1.7"/>`

/**
 * The weights of one head of the first batch entry, row by row.
 * @param {Tensor} weights `[batch, heads, queries, keys]`
 * @param {number} head
 */
function rowsOf(weights, head) {
  const [, , queries, keys] = weights.shape
  return Array.from({ length: queries }, (_, i) => {
    const start = (head * queries + i) * keys
    return weights.data.subarray(start, start + keys)
  })
}

/**
 * @typedef {object} HeatmapOptions
 * @property {readonly string[]} queryLabels a label a row
 * @property {readonly string[]} keyLabels a label a column
 * @property {readonly number[]} [heads] the heads to draw; all unless given
 * @property {readonly (readonly string[])[]} [captions] up to two lines for each head drawn
 * @property {readonly { query: number, key: number }[]} [marks] a cell to ring for each head drawn
 * @property {string} [markLabel] what the ring means, for the legend
 * @property {string} [title]
 * @property {readonly string[]} [notes] lines under the title
 * @property {number} [columns] panels side by side; 4 unless given
 */

/**
 * @param {Float32Array[]} rows
 * @param {number} head
 * @param {readonly string[]} caption
 * @param {{ query: number, key: number } | undefined} mark
 * @param {HeatmapOptions} options
 */
function panel(rows, head, caption, mark, { queryLabels, keyLabels }) {
  const left = labelWidth
  const top = captionHeight + labelHeight
  /** @type {Map<number, string>} */
  const plain = new Map()
  /** @type {string[]} */
  const named = []
  rows.forEach((row, i) =>
    row.forEach((weight, j) => {
      const [x, y, size] = [left + j * cell, top + i * cell, cell - 1]
      if (weight < 0.1) {
        plain.set(level(weight), `${plain.get(level(weight)) ?? ''}M${x} ${y}h${size}v${size}h-${size}z`)
        return
      }
      const label = escapeXml(`head ${head}: ${queryLabels[i]} → ${keyLabels[j]} ${(weight * 100).toFixed(0)} %`)
      const place = `x="${x}" y="${y}" width="${size}" height="${size}"`
      named.push(`<rect ${place} fill="${colour(level(weight))}"><title>${label}</title></rect>`)
    })
  )
  const cells = Array.from(plain, ([position, path]) => `<path fill="${colour(position)}" d="${path}"/>`)
  const rowLabels = queryLabels.map(
    (label, i) => `<text x="${left - 5}" y="${top + i * cell + 12}" text-anchor="end">${escapeXml(label)}</text>`
  )
  const columnLabels = keyLabels.map((label, j) => {
    const [x, y] = [left + j * cell + 11, top - 5]
    return `<text x="${x}" y="${y}" transform="rotate(-58 ${x} ${y})">${escapeXml(label)}</text>`
  })
  return [
    `<text x="${left}" y="14" class="head">Head ${head}</text>`,
    ...caption.map(
      (line, index) => `<text x="${left}" y="${31 + 16 * index}" class="caption">${escapeXml(line)}</text>`
    ),
    ...cells,
    ...named,
    ...(mark === undefined ? [] : [ring(left + mark.key * cell, top + mark.query * cell, cell - 1)]),
    ...rowLabels,
    ...columnLabels
  ].join('\n')
}

/**
 * @param {number} right where the legend ends
 * @param {string | undefined} markLabel
 */
function legend(right, markLabel) {
  const [width, height, top] = [220, 12, margin + 18]
  const left = right - width
  const steps = Array.from({ length: levels }, (_, index) => {
    const x = left + (index * width) / levels
    return `<rect x="${x}" y="${top}" width="${width / levels + 0.5}" height="${height}" fill="${colour(index + 1)}"/>`
  })
  const ticks = [0, 0.05, 0.25, 0.5, 1].map((weight) => {
    const x = left + Math.sqrt(weight) * width
    return `<text x="${x.toFixed(1)}" y="${top + height + 15}" text-anchor="middle">${weight * 100} %</text>`
  })
  const heading = `<text x="${left}" y="${top - 9}" class="caption">share of a row’s attention</text>`
  const mark =
    markLabel === undefined
      ? []
      : [
          ring(left + 1, top + 32, 10),
          `<text x="${left + 20}" y="${top + 41}" class="caption">${escapeXml(markLabel)}</text>`
        ]
  return [heading, ...steps, ...ticks, ...mark].join('\n')
}

/**
 * A picture of attention weights: a panel a head, rows the tokens that look, columns the tokens looked at.
 * @param {Tensor} weights `[batch, heads, queries, keys]`; the first batch entry is drawn
 * @param {HeatmapOptions} options
 * @returns {string} an SVG document with a light background of its own
 */
export function attentionHeatmap(weights, options) {
  const [, count, queries, keys] = weights.shape
  const { title = 'Attention weights', notes = [], captions = [], marks = [], columns = 4 } = options
  const heads = options.heads ?? Array.from({ length: count }, (_, head) => head)
  const across = Math.min(columns, heads.length)
  const panelWidth = labelWidth + keys * cell + gutter
  const panelHeight = captionHeight + labelHeight + queries * cell + gutter
  const width = 2 * margin + across * panelWidth
  const height = 2 * margin + headerHeight + Math.ceil(heads.length / across) * panelHeight - gutter
  const panels = heads.map((head, index) => {
    const x = margin + (index % across) * panelWidth
    const y = margin + headerHeight + Math.floor(index / across) * panelHeight
    const content = panel(rowsOf(weights, head), head, captions[index] ?? [], marks[index], options)
    return `<g transform="translate(${x} ${y})">\n${content}\n</g>`
  })
  const lines = notes.map(
    (note, index) => `<text x="${margin}" y="${margin + 44 + index * 20}" class="note">${escapeXml(note)}</text>`
  )
  return `<?xml version="1.0" encoding="UTF-8"?>
<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" role="img" font-family="${escapeXml(font)}" font-size="11" fill="#3c4454">
<title>${escapeXml(title)}</title>
<style>.title { font-size: 22px; font-weight: 600; fill: #141a26 } .note { font-size: 14px } .head { font-size: 14px; font-weight: 600; fill: #141a26 } .caption { font-size: 12px }</style>
<rect width="${width}" height="${height}" rx="12" fill="#ffffff"/>
<text x="${margin}" y="${margin + 18}" class="title">${escapeXml(title)}</text>
${lines.join('\n')}
${legend(width - margin - gutter, options.markLabel)}
${panels.join('\n')}
</svg>
`
}

const shades = [
  { from: 0.4, text: '██' },
  { from: 0.2, text: '▓▓' },
  { from: 0.1, text: '▒▒' },
  { from: 0.04, text: '░░' },
  { from: -Infinity, text: ' ·' }
]

/**
 * One head for a terminal: a line a query, two characters a key; every other key is numbered, as the queries are.
 * @param {Tensor} weights `[batch, heads, queries, keys]`
 * @param {{ queryLabels: readonly string[], keyLabels: readonly string[], head: number }} options
 */
export function terminalHeatmap(weights, { queryLabels, keyLabels, head }) {
  const width = Math.max(...queryLabels.map((label) => label.length))
  const lines = rowsOf(weights, head).map((row, i) => {
    const cells = Array.from(row, (weight) => (shades.find(({ from }) => weight >= from) ?? shades[4]).text)
    return `${queryLabels[i].padStart(width)} ${String(i).padStart(2)} ${cells.join('')}`
  })
  const numbers = keyLabels.map((_, j) => (j % 2 === 0 ? String(j % 100) : '').padStart(2)).join('')
  return [
    `${' '.repeat(width + 4)}${numbers}`,
    ...lines,
    `${' '.repeat(width + 4)}░ 4 %  ▒ 10 %  ▓ 20 %  █ 40 % or more`
  ].join('\n')
}
