// Labels in pictures: safe in XML, and shortened to fit. Widths are estimates, as no font metrics are available here.

/** @type {Record<string, string>} */
const ENTITIES = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' }

/** Visible symbols for line ends and tabs, which a picture would not show. @type {Record<string, string>} */
const VISIBLE = { '\n': '⏎', '\r': '␍', '\t': '⇥' }

/** Characters that XML cannot contain, and controls that change the direction of surrounding text. */
const FORBIDDEN = /[\p{Cc}\p{Cs}\ufffe\uffff\u202a-\u202e\u2066-\u2069]/gu

/**
 * Replaces everything in a caller's text that would be lost or harmful. Text that consists of spaces becomes visible.
 *
 * @param {string} text
 */
export function clean(text) {
  const shown = /^ +$/.test(text) ? '␣'.repeat(text.length) : text
  return shown.replace(/[\n\r\t]/g, (character) => VISIBLE[character]).replace(FORBIDDEN, '\ufffd')
}

/**
 * Escapes text for an XML element or attribute.
 *
 * @param {string} text
 */
export function escapeXml(text) {
  return clean(text).replace(/[&<>"']/g, (character) => ENTITIES[character])
}

/**
 * Estimated width of a character, in ems.
 *
 * @param {string} character
 */
function emsOf(character) {
  const code = /** @type {number} */ (character.codePointAt(0))
  if (code >= 0x1100 && /[\p{Script=Han}\p{Script=Hangul}\p{Script=Hiragana}\p{Script=Katakana}]/u.test(character)) {
    return 1
  }
  if (code >= 0x2300 && /\p{Extended_Pictographic}/u.test(character)) return 1.2
  if (/\p{M}/u.test(character)) return 0
  if (/[ijlI.,:;'|! ]/.test(character)) return 0.33
  if (/[tfr()[\]/"-]/.test(character)) return 0.43
  if (/[sczxvkyJ]/.test(character)) return 0.56
  if (/[mwMW@%—…]/.test(character)) return 0.96
  return /[\p{Lu}_<>+=~→]/u.test(character) ? 0.72 : 0.63
}

/**
 * Estimated width of a text, in the unit of the font's `size`.
 *
 * @param {string} text
 * @param {number} size
 */
export function widthOf(text, size) {
  let ems = 0
  for (const character of text) ems += emsOf(character)
  return ems * size
}

/**
 * Splits a text into user-perceived characters.
 *
 * @param {string} text
 * @returns {string[]}
 */
export function graphemes(text) {
  if (typeof Intl !== 'object' || Intl.Segmenter === undefined) return [...text]
  return Array.from(new Intl.Segmenter(undefined, { granularity: 'grapheme' }).segment(text), ({ segment }) => segment)
}

/**
 * The longest prefix that fits, with an ellipsis if something was cut.
 *
 * @param {string} text
 * @param {number} room
 * @param {(text: string) => number} measure
 */
export function cut(text, room, measure) {
  // Cut before measuring, so that huge texts are not scanned.
  const start = text.length > 2000 ? text.slice(0, 2000) : text
  if (start === text && measure(text) <= room) return text
  let kept = ''
  let used = measure('…')
  for (const character of graphemes(start)) {
    used += measure(character)
    if (used > room) break
    kept += character
  }
  return `${kept}…`
}

/**
 * Shortens a name for use in a sentence or tooltip to 80 characters.
 *
 * @param {string} text
 */
export function brief(text) {
  // Cut at whole code points: an incomplete surrogate pair is removed too.
  return text.length <= 80 ? text : `${Array.from(text.slice(0, 80)).slice(0, -1).join('')}…`
}

/**
 * Cleans a caller's text and shortens it to a width.
 *
 * @param {string} text
 * @param {number} width
 * @param {number} size  of the font
 */
export function shorten(text, width, size) {
  return cut(clean(text.slice(0, 4000)), width, (part) => widthOf(part, size))
}

/**
 * Wraps text to lines of at most `width`, at spaces; a single wider word is shortened.
 *
 * @param {string} text
 * @param {number} width
 * @param {number} size
 */
export function wrap(text, width, size) {
  /** @type {string[]} */
  const lines = []
  let line = ''
  for (const word of clean(text).split(/ +/)) {
    const longer = line === '' ? word : `${line} ${word}`
    if (line !== '' && widthOf(longer, size) > width) {
      lines.push(line)
      line = word
    } else {
      line = longer
    }
  }
  return [...lines, line].map((part) => shorten(part, width, size))
}
