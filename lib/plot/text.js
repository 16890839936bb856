// Labels as pictures show them: safe in XML, no wider than their place. Widths are estimates, as no font is at hand here.

/** @type {Record<string, string>} */
const ENTITIES = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' }

/** Line ends and tabs, which a picture would show as nothing. @type {Record<string, string>} */
const VISIBLE = { '\n': '⏎', '\r': '␍', '\t': '⇥' }

/** What XML cannot hold at all, and controls that would turn the text around them. */
const FORBIDDEN = /[\p{Cc}\p{Cs}\ufffe\uffff\u202a-\u202e\u2066-\u2069]/gu

/**
 * A caller's text with nothing in it that would be lost or harmful: spaces that are all there is become visible.
 *
 * @param {string} text
 */
export function clean(text) {
  const shown = /^ +$/.test(text) ? '␣'.repeat(text.length) : text
  return shown.replace(/[\n\r\t]/g, (character) => VISIBLE[character]).replace(FORBIDDEN, '\ufffd')
}

/**
 * Text for an element or an attribute of XML.
 *
 * @param {string} text
 */
export function escapeXml(text) {
  return clean(text).replace(/[&<>"']/g, (character) => ENTITIES[character])
}

/**
 * About how wide a character is, in ems.
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
 * About how wide text is, in the unit of `size`, the font's.
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
 * What users see as one character each, so that none is cut in two.
 *
 * @param {string} text
 * @returns {string[]}
 */
export function graphemes(text) {
  if (typeof Intl !== 'object' || Intl.Segmenter === undefined) return [...text]
  return Array.from(new Intl.Segmenter(undefined, { granularity: 'grapheme' }).segment(text), ({ segment }) => segment)
}

/**
 * The longest beginning that fits, and an ellipsis where something was left out.
 *
 * @param {string} text
 * @param {number} room
 * @param {(text: string) => number} measure
 */
export function cut(text, room, measure) {
  // Long before anything is measured: the rest of a megabyte is not looked at.
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
 * A name within a sentence or a tooltip: its first 80 characters.
 *
 * @param {string} text
 */
export function brief(text) {
  // By whole characters: what is left of a half one goes as well.
  return text.length <= 80 ? text : `${Array.from(text.slice(0, 80)).slice(0, -1).join('')}…`
}

/**
 * A caller's text, cleaned and shortened to a width.
 *
 * @param {string} text
 * @param {number} width
 * @param {number} size  of the font
 */
export function shorten(text, width, size) {
  return cut(clean(text.slice(0, 4000)), width, (part) => widthOf(part, size))
}

/**
 * Text in lines of at most a width, broken at spaces; a word that is wider is shortened.
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
