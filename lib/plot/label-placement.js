// Label placement without overlap: each label, in order of importance, takes the first free position of several.

import { clean, cut, widthOf } from './text.js'

/** @typedef {{ left: number, top: number, right: number, bottom: number }} Box */
/**
 * @typedef {object} LabelRequest
 * @property {number} x  of the point's center
 * @property {number} y
 * @property {number} radius  of the point's disc
 * @property {string} label
 * @property {number} size  font size
 * @property {number} [weight]
 */
/**
 * @typedef {{ x: number, y: number, label: string, size: number, weight?: number, anchor: 'start' | 'middle' | 'end' }}
 *   Placed
 */

const BIN = 40
const MAX_LABEL_WIDTH = 220
/** Free space around a label. */
const PADDING = 2

/** Occupied boxes, indexed by the grid squares that they touch. */
class OccupiedBoxes {
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
 * Positions of labels, the most important first. A label without a free position is shrunk or omitted.
 *
 * @param {readonly LabelRequest[]} wanted
 * @param {readonly { x: number, y: number, radius: number }[]} discs  obstacles
 * @param {Box} bounds
 * @param {number} most  maximum number of labels
 * @returns {Placed[]}
 */
export function placeLabels(wanted, discs, bounds, most) {
  const occupied = new OccupiedBoxes()
  for (const { x, y, radius } of discs)
    occupied.add({ left: x - radius, top: y - radius, right: x + radius, bottom: y + radius })
  /** @type {Placed[]} */
  const labels = []
  for (const label of wanted) {
    if (labels.length >= most) break
    const placed = placeLabel(label, occupied, bounds)
    if (placed !== undefined) labels.push(placed)
  }
  return labels
}

/**
 * @param {LabelRequest} wanted
 * @param {OccupiedBoxes} occupied
 * @param {Box} bounds
 * @returns {Placed | undefined}
 */
function placeLabel({ x, y, radius, label, size: wantedSize, weight }, occupied, bounds) {
  const shown = cut(clean(label.slice(0, 400)), MAX_LABEL_WIDTH, (part) => widthOf(part, wantedSize))
  for (const size of [wantedSize, Math.max(9, wantedSize - 3)]) {
    const width = widthOf(shown, size) * (weight ? 1.07 : 1)
    const gap = radius + 3 + PADDING
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
        left: left - PADDING,
        top: candidate.y - size * 0.8 - PADDING,
        right: left + width + PADDING,
        bottom: candidate.y + size * 0.25 + PADDING
      }
      const inside =
        box.left >= bounds.left && box.right <= bounds.right && box.top >= bounds.top && box.bottom <= bounds.bottom
      if (!inside || !occupied.isFree(box)) continue
      occupied.add(box)
      return { ...candidate, label: shown, size, weight }
    }
  }
  return undefined
}
