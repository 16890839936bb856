// The common parts of pictures: a palette for light and dark backgrounds, a frame with title and description, and text.

import { colorsOf } from './color.js'
import { escapeXml, shorten, wrap } from './text.js'

/** @typedef {'light' | 'dark' | 'auto'} Theme */
/** @typedef {ReturnType<typeof createPalette>} Palette */
/** @typedef {{ fill?: string, stroke?: string }} Paint */

const FONT = 'system-ui, -apple-system, Segoe UI, Roboto, Helvetica Neue, Arial, sans-serif'
export const MARGIN = 28

/**
 * Rounds a number to the precision that is visible in a picture.
 *
 * @param {number} value
 */
export const round = (value) => Number(value.toFixed(1))

/**
 * Colors by role, as SVG attributes. With theme 'auto', painted elements also get a class, and a style sheet sets their
 * dark colors. With a fixed theme, the picture has no style sheet and works in any context.
 *
 * @param {Theme} theme
 */
export function createPalette(theme) {
  const side = theme === 'dark' ? 1 : 0
  /** Class and CSS rule of each painted role. @type {Map<string, { name: string, rule: string }>} */
  const dark = new Map()

  /**
   * @param {'fill' | 'stroke'} property
   * @param {string} role
   */
  function className(property, role) {
    const known = dark.get(property + role)
    if (known) return known.name
    const name = `c${dark.size}`
    dark.set(property + role, { name, rule: `{${property}:${colorsOf(role)[1]}}` })
    return name
  }

  return {
    /** @param {Paint} paint */
    paint(paint) {
      const painted = /** @type {['fill' | 'stroke', string][]} */ (Object.entries(paint))
      const attributes = painted.map(([property, role]) => `${property}="${colorsOf(role)[side]}"`)
      if (theme === 'auto') {
        attributes.push(`class="${painted.map(([property, role]) => className(property, role)).join(' ')}"`)
      }
      return attributes.join(' ')
    },
    /** @param {string} scope  the class of the root element */
    style(scope) {
      if (dark.size === 0) return ''
      const rules = [...dark.values()].map(({ name, rule }) => `.${scope} .${name}${rule}`)
      return `<style>@media (prefers-color-scheme:dark){${rules.join('')}}</style>\n`
    }
  }
}

/**
 * An id prefix for references within a picture. Different pictures on one page must not share it.
 *
 * @param {string} content
 */
function nameFor(content) {
  let hash = 0x811c9dc5
  for (let index = 0; index < content.length; index++) hash = Math.imul(hash ^ content.charCodeAt(index), 0x01000193)
  return `plot-${(hash >>> 0).toString(36)}`
}

/**
 * A complete SVG document.
 *
 * @param {{ width: number, height: number, title: string, description: string, palette: Palette, parts: readonly
 *   string[] }} picture
 */
export function frame({ width, height, title, description, palette, parts }) {
  const [w, h] = [Math.ceil(width), Math.ceil(height)]
  const body = [`<rect width="${w}" height="${h}" rx="10" ${palette.paint({ fill: 'paper' })}/>`, ...parts].join('\n')
  const heading = [escapeXml(title), escapeXml(description)]
  const name = nameFor(heading.join() + body)
  // Shrinks in narrower columns of a page, with its proportions.
  const size = `width="${w}" height="${h}" style="max-width:100%;height:auto"`
  return `<svg xmlns="http://www.w3.org/2000/svg" ${size} viewBox="0 0 ${w} ${h}" role="img" aria-labelledby="${name}-title ${name}-desc" class="${name}" font-family="${FONT}" font-size="11">
<title id="${name}-title">${heading[0]}</title>
<desc id="${name}-desc">${heading[1]}</desc>
${palette.style(name)}${body}
</svg>
`
}

/**
 * @typedef {object} TextStyle
 * @property {number} [size]
 * @property {number} [weight]
 * @property {string} [fill]  color role
 * @property {'start' | 'middle' | 'end'} [anchor]
 * @property {number} [room]  maximum width
 * @property {boolean} [halo]  draw an outline, for contrast with the background
 * @property {number} [turn]  rotation in degrees, of lines in a group
 */

/**
 * One line of text; `content` comes from the caller and is escaped here.
 *
 * @param {Palette} palette
 * @param {number} x
 * @param {number} y
 * @param {string} content
 * @param {TextStyle} [style]
 */
export function text(palette, x, y, content, style = {}) {
  const { size = 11, weight, fill = 'ink', anchor, room = Infinity, halo } = style
  const attributes = [
    `x="${round(x)}" y="${round(y)}"`,
    size !== 11 && `font-size="${size}"`,
    weight && `font-weight="${weight}"`,
    anchor && anchor !== 'start' && `text-anchor="${anchor}"`,
    halo && 'stroke-width="3.5" stroke-linejoin="round" paint-order="stroke"',
    palette.paint({ fill, ...(halo && { stroke: 'paper' }) })
  ]
  return `<text ${attributes.filter(Boolean).join(' ')}>${escapeXml(shorten(content, room, size))}</text>`
}

/**
 * Lines of text with common attributes, which their group element holds.
 *
 * @param {Palette} palette
 * @param {TextStyle} style  common to all lines; each line rotates about its own position
 * @param {readonly { x: number, y: number, content: string }[]} lines
 */
export function texts(palette, { size = 11, fill = 'ink', anchor = 'start', room = Infinity, turn }, lines) {
  if (lines.length === 0) return ''
  const rows = lines.map(({ x, y, content }) => {
    const position = turn
      ? `transform="translate(${round(x)} ${round(y)}) rotate(${turn})"`
      : `x="${round(x)}" y="${round(y)}"`
    return `<text ${position}>${escapeXml(shorten(content, room, size))}</text>`
  })
  return `<g font-size="${size}" text-anchor="${anchor}" ${palette.paint({ fill })}>${rows.join('')}</g>`
}

/**
 * Title and notes at the top of a picture, wrapped to its width.
 *
 * @param {Palette} palette
 * @param {{ title: string, notes: readonly string[], width: number }} header
 */
export function header(palette, { title, notes, width }) {
  const parts = []
  const room = width - 2 * MARGIN
  let y = MARGIN - 6
  for (const line of title === '' ? [] : wrap(title, room, 20)) {
    y += 24
    parts.push(text(palette, MARGIN, y, line, { size: 20, weight: 600 }))
  }
  if (title !== '') y += 4
  for (const line of notes.flatMap((note) => wrap(note, room, 13))) {
    y += 18
    parts.push(text(palette, MARGIN, y, line, { size: 13, fill: 'muted' }))
  }
  return { parts, bottom: y + 14 }
}
