// Where labels stand, so that none lies on another: the first place of several that is free, in the order of importance.

import { clean, cut, widthOf } from './text.js'

/** @typedef {{ left: number, top: number, right: number, bottom: number }} Box */
/**
 * @typedef {object} Wanted
 * @property {number} x  of the point
 * @property {number} y
 * @property {number} radius  of its disc
 * @property {string} label
 * @property {number} size  of the font
 * @property {number} [weight]
 */
/** @typedef {{ x: number, y: number, label: string, size: number, weight?: number, anchor: 'start' | 'middle' | 'end' }} Placed */

const BIN = 40
const LONGEST = 220
/** What stays free around a label. */
const AIR = 2

/** Boxes that are taken, by the squares that they touch. */
class Taken {
  /** @type {Map<string, Box[]>} */
  #bins = new Map()

  /** @param {Box} box */
  #keysOf({ left, top, right, bottom }) {
    const keys = []
    for (let x = Math.floor(left / BIN); x <= Math.floor(right / BIN); x++) {
      for (let y = Math.floor(top / BIN); y <= Math.floor(bottom / BIN); y++) keys.push(`${x} ${y}`)
    }
    return keys
  }

  /** @param {Box} box */
  add(box) {
    for (const key of this.#keysOf(box)) {
      const bin = this.#bins.get(key)
      if (bin) bin.push(box)
      else this.#bins.set(key, [box])
    }
  }

  /** @param {Box} box */
  isFree(box) {
    return this.#keysOf(box).every((key) =>
      (this.#bins.get(key) ?? []).every(
        (other) =>
          box.right <= other.left || other.right <= box.left || box.bottom <= other.top || other.bottom <= box.top
      )
    )
  }
}

/**
 * The places of labels, of the most important first; one that finds none is smaller or left out.
 *
 * @param {readonly Wanted[]} wanted
 * @param {readonly { x: number, y: number, radius: number }[]} discs  that labels leave free
 * @param {Box} bounds
 * @param {number} most  labels
 * @returns {Placed[]}
 */
export function placeLabels(wanted, discs, bounds, most) {
  const taken = new Taken()
  for (const { x, y, radius } of discs)
    taken.add({ left: x - radius, top: y - radius, right: x + radius, bottom: y + radius })
  /** @type {Placed[]} */
  const labels = []
  for (const label of wanted) {
    if (labels.length >= most) break
    const placed = place(label, taken, bounds)
    if (placed !== undefined) labels.push(placed)
  }
  return labels
}

/**
 * @param {Wanted} wanted
 * @param {Taken} taken
 * @param {Box} bounds
 * @returns {Placed | undefined}
 */
function place({ x, y, radius, label, size: wantedSize, weight }, taken, bounds) {
  const shown = cut(clean(label.slice(0, 400)), LONGEST, (part) => widthOf(part, wantedSize))
  for (const size of [wantedSize, Math.max(9, wantedSize - 3)]) {
    const width = widthOf(shown, size) * (weight ? 1.07 : 1)
    const gap = radius + 3 + AIR
    const middle = y + size * 0.35
    const places = /** @type {const} */ ([
      { anchor: 'start', x: x + gap, y: middle },
      { anchor: 'end', x: x - gap, y: middle },
      { anchor: 'middle', x, y: y - gap },
      { anchor: 'middle', x, y: y + gap + size * 0.75 },
      { anchor: 'start', x: x + 0.7 * gap, y: y - 0.7 * gap },
      { anchor: 'start', x: x + 0.7 * gap, y: y + 0.7 * gap + size * 0.75 },
      { anchor: 'end', x: x - 0.7 * gap, y: y - 0.7 * gap },
      { anchor: 'end', x: x - 0.7 * gap, y: y + 0.7 * gap + size * 0.75 }
    ])
    for (const candidate of places) {
      const left = candidate.x - { start: 0, middle: width / 2, end: width }[candidate.anchor]
      const box = {
        left: left - AIR,
        top: candidate.y - size * 0.8 - AIR,
        right: left + width + AIR,
        bottom: candidate.y + size * 0.25 + AIR
      }
      const inside =
        box.left >= bounds.left && box.right <= bounds.right && box.top >= bounds.top && box.bottom <= bounds.bottom
      if (!inside || !taken.isFree(box)) continue
      taken.add(box)
      return { ...candidate, label: shown, size, weight }
    }
  }
  return undefined
}
