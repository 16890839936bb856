// The graph over a sentence: links between words, restricted by a mask.

import type { Edges } from '@ruvector/attention/plot'
import type { Settings } from './settings.ts'

/** Number of linked words to either side. */
const NEAR = 2

/**
 * Links from each token to its neighbors, to itself, and to the nearest copies of the same word, both ways; or between
 * all tokens.
 */
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
  if (settings.links === 'neighbors') linkCopies(names, link)
  return { numNodes: names.length, source, target }
}

function linkCopies(names: readonly string[], link: (from: number, to: number) => void) {
  const last = new Map<string, number>()
  names.forEach((name, index) => {
    const before = last.get(name)
    last.set(name, index)
    // Nearer copies are neighbors already.
    if (before === undefined || index - before <= NEAR || name === '[PAD]') return
    link(before, index)
    link(index, before)
  })
}

/** True if a mask lets the token `to` see the token `from`. */
export function isSeen(from: number, to: number, valid: number, { mask, reach }: Pick<Settings, 'mask' | 'reach'>) {
  if (mask === 'causal') return from <= to
  if (mask === 'window') return Math.abs(from - to) <= reach
  return from < valid
}
