// Entries that checkpoints of a family may have, and the family that a set of names belongs to.

import { ATTENTION } from './attention.js'
import { CROSS_DECODER, DECODER, ENCODER } from './layers.js'

/** @typedef {import('./attention.js').Family} Family */
/** @typedef {Readonly<Record<string, Family>>} Families */
/** @typedef {Required<import('./attention.js').Source> & { name: string }} Item */

/** Families by the layer that loads them; the first one's names are the layer's own. */
export const FAMILIES = /** @type {const} */ ({
  TransformerDecoderLayer: CROSS_DECODER,
  TransformerEncoderLayer: ENCODER,
  DecoderLayer: DECODER,
  MultiHeadAttention: ATTENTION,
  SelfAttention: ATTENTION,
  CrossAttention: ATTENTION
})

/** @type {WeakMap<Family, readonly Item[]>} */
const expanded = new WeakMap()

/**
 * The entries that checkpoints of a family may have.
 *
 * @param {Family} family
 */
export function itemsOf(family) {
  let items = expanded.get(family)
  if (items === undefined) {
    items = Object.entries(family.names).flatMap(([pattern, source]) => {
      const given = typeof source === 'string' ? { parts: source.split(' ') } : source
      const item = { transposed: false, byHead: false, scale: false, ungated: false, ignored: false, ...given }
      if (!pattern.includes('*')) return [{ ...item, name: pattern }]
      return ['weight', 'bias'].map((kind) => ({
        ...item,
        name: pattern.replace('*', kind),
        parts: item.parts.map((part) => `${part}.${kind}`)
      }))
    })
    expanded.set(family, items)
  }
  return items
}

/**
 * The family whose names explain most of the given ones, or undefined if none explains any.
 *
 * @param {Families} families
 * @param {ReadonlySet<string>} names
 */
export function recognize(families, names) {
  let best = { family: /** @type {Family | undefined} */ (undefined), count: 0 }
  for (const family of Object.values(families)) {
    const count = itemsOf(family).filter(({ name }) => names.has(name)).length
    if (count > best.count) best = { family, count }
  }
  return best.family
}

/** The names of BERT before 2019 for the parameters of norms. */
const OLD_NORM = /(LayerNorm\.)(gamma|beta)$/

/** @param {string} name */
export const currentName = (name) =>
  name.replace(OLD_NORM, (_, norm, kind) => `${norm}${kind === 'gamma' ? 'weight' : 'bias'}`)
