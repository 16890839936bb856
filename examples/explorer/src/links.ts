// The graph over a sentence: who is linked with whom, and which of the links a mask leaves.

import type { Edges } from '@ruvector/attention/plot'
import type { Settings } from './settings.ts'

/** Words to either side that a word is linked with. */
const NEAR = 2

/** Links from a token to its neighbours, to itself and to the nearest copies of the same word, both ways; or between all. */
export function linksOf(names: readonly string[], valid: number, settings: Settings): Edges {
  const source: number[] = []
  const target: number[] = []
  const link = (from: number, to: number) => {
    if (!isSeen(from, to, valid, settings)) return
    source.push(from)
    target.push(to)
  }
  names.forEach((_, to) => {
    if (settings.links === 'everyone') names.forEach((_, from) => link(from, to))
    else for (let from = Math.max(0, to - NEAR); from <= Math.min(names.length - 1, to + NEAR); from++) link(from, to)
  })
  if (settings.links === 'neighbours') linkCopies(names, link)
  return { numNodes: names.length, source, target }
}

function linkCopies(names: readonly string[], link: (from: number, to: number) => void) {
  const last = new Map<string, number>()
  names.forEach((name, index) => {
    const before = last.get(name)
    last.set(name, index)
    // Nearer ones are neighbours already.
    if (before === undefined || index - before <= NEAR || name === '[PAD]') return
    link(before, index)
    link(index, before)
  })
}

/** Whether a mask lets the token `to` see the token `from`. */
function isSeen(from: number, to: number, valid: number, { mask, reach }: Settings) {
  if (mask === 'causal') return from <= to
  if (mask === 'window') return Math.abs(from - to) <= reach
  return from < valid
}
