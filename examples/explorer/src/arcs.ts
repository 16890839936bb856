// Arcs from a word to the words that it looks at, drawn behind the words, which may fill several lines.

import { drawn } from './dom.ts'

/** Smaller shares of attention get no arc. */
const SMALLEST = 0.015
const MOST = 24
/** Width of the arc of all attention. */
const WIDEST = 9
/** Height of an arc between neighbors, and of the highest between lines. */
const LOW = 14
const BETWEEN = 30

export interface Look {
  /** The index of the word that looks. */
  from: number
  /** Its shares of attention, one per word. */
  row: Float32Array
  /** The index of the word whose arc is emphasized. */
  pinned: number | undefined
}

/** The lines of words. */
interface Lines {
  /** The top of the first line, and the room above it. */
  first: number
  room: number
}

interface Box {
  x: number
  top: number
  bottom: number
}

/** @param words  elements in the same order as the row, positioned inside the parent of `svg` */
export function drawArcs(svg: SVGSVGElement, words: readonly HTMLElement[], { from, row, pinned }: Look) {
  const room = svg.getBoundingClientRect()
  const boxes = words.map((word) => {
    const { left, right, top, bottom } = word.getBoundingClientRect()
    return { x: (left + right) / 2 - room.left, top: top - room.top, bottom: bottom - room.top }
  })
  const air = Number.parseFloat(getComputedStyle(words[0].closest('.chips') ?? svg).paddingTop)
  const lines = { first: boxes[0].top, room: air - 12 }
  const most = Math.max(...row, SMALLEST)
  const shown = boxes
    .map((_, index) => index)
    .filter((index) => row[index] >= SMALLEST)
    .sort((a, b) => row[b] - row[a])
    .slice(0, MOST)
    // Strong arcs are drawn over weak ones.
    .reverse()
  const arcs = shown.map((index) => {
    const share = row[index]
    const isPinned = index === pinned
    return drawn('path', {
      d: index === from ? loop(boxes[index]) : curve(boxes[from], boxes[index], lines),
      class: isPinned ? 'arc pinned' : 'arc',
      'stroke-width': (1 + WIDEST * share).toFixed(2),
      'stroke-opacity': isPinned ? 1 : (0.18 + 0.82 * (share / most)).toFixed(3)
    })
  })
  svg.replaceChildren(...arcs)
}

/** A curve above the line for words of the same line, else from one line to the other. */
function curve(a: Box, b: Box, { first, room }: Lines) {
  if (Math.abs(a.top - b.top) < 4) {
    const highest = a.top - first < 4 ? room : BETWEEN
    const rise = Math.min(LOW + Math.abs(a.x - b.x) * 0.2, highest)
    // The control points of a cubic curve are a third higher than the curve.
    const y = a.top - (4 / 3) * rise
    return `M${round(a.x)} ${round(a.top)}C${round(a.x)} ${round(y)} ${round(b.x)} ${round(y)} ${round(b.x)} ${round(b.top)}`
  }
  const [start, end] = a.top < b.top ? [a.bottom, b.top] : [a.top, b.bottom]
  const middle = (start + end) / 2
  return `M${round(a.x)} ${round(start)}C${round(a.x)} ${round(middle)} ${round(b.x)} ${round(middle)} ${round(b.x)} ${round(end)}`
}

/** A small loop above a word that looks at itself. */
const loop = ({ x, top }: Box) =>
  `M${round(x - 5)} ${round(top)}C${round(x - 17)} ${round(top - 24)} ${round(x + 17)} ${round(top - 24)} ${round(x + 5)} ${round(top)}`

const round = (value: number) => Number(value.toFixed(1))
