// Translates state dicts between the names of checkpoints and those of a layer: entries are renamed, split, joined,
// transposed, reordered and scaled as the tables of families say.

import { fault } from '../checks/errors.js'
import { currentGraphNames } from './graph.js'
import { FAMILIES, currentName, recognize } from './items.js'
import { NamedParameters } from './parameters.js'
import { joinRows } from './rows.js'

/** An entry. @typedef {{ name: string } & Parameter} Entry */
/** A parameter of a layer, as `query.weight`. @typedef {{ shape: number[] } & import('./rows.js').Values} Parameter */
/**
 * The origins of a layer's parameters: their names and shapes follow from these.
 *
 * @typedef {object} Layout
 * @property {import('../runtime/operations.js').Operation} operation  creates the layer
 * @property {Record<string, any>} config
 * @property {import('../weights/state.js').Entries} entries
 */

/** @param {Layout} layout @returns {import('./items.js').Families | undefined} */
const familiesOf = ({ operation }) => FAMILIES[/** @type {keyof typeof FAMILIES} */ (operation.replace(/^create/, ''))]

/**
 * The entries under the layer's own names. Entries whose names are no family's stay as they are.
 *
 * @param {Layout} layout
 * @param {readonly Entry[]} entries
 * @param {{ prefix: string, strict: boolean }} options
 * @returns {readonly Entry[]}
 */
export function toLayerNames(layout, entries, { prefix, strict }) {
  const families = familiesOf(layout)
  if (families === undefined) return currentGraphNames(layout, entries, prefix)
  const named = new Map(entries.map((entry) => [currentName(entry.name.slice(prefix.length)), entry]))
  const family = recognize(families, new Set(named.keys()))
  const [own] = Object.values(families)
  if (family === undefined || family === own) return entries
  const parameters = new NamedParameters(layout, own, family, prefix)
  const found = parameters.read(named, strict)
  return layout.entries.map(({ name, shape }) => {
    const parts = parameters.partsOf(name).map((part) => parameters.require(found, part))
    return { name: prefix + name, shape, ...joinRows(name, parts, shape.length === 2 ? shape[1] : 1) }
  })
}

/**
 * A layer's parameters under the names of a family.
 *
 * @param {Layout} layout
 * @param {Record<string, Parameter>} state
 * @param {string} names
 * @returns {Record<string, Parameter>}
 */
export function toFamilyNames(layout, state, names) {
  const families = familiesOf(layout) ?? {}
  const [own] = Object.values(families)
  const family = Object.hasOwn(families, names) ? families[names] : undefined
  if (family === undefined) {
    const known = Object.keys(families).map((name) => `'${name}'`)
    throw fault('OPTION', 'names', known.length > 0 ? `one of ${known.join(', ')}` : 'no names', `'${names}'`)
  }
  if (family === own) return state
  const source = new NamedParameters(layout, own, own, '')
  const entries = Object.entries(state).map(([name, tensor]) => /** @type {const} */ ([name, { name, ...tensor }]))
  return new NamedParameters(layout, own, family, '').write(source.read(new Map(entries), true), names)
}
