// Names of graph layers' parameters in PyTorch Geometric before 2.0, and between 2.0 and 2.4.

import { allocate } from '../checks/tensor.js'

/** @typedef {import('./translate.js').Entry} Entry */

/** `GATConv` of 1.6 and 1.7; in releases before 2.5, sources and targets named their shared weight. */
const ADDITIVE = {
  att_l: 'att_src',
  att_r: 'att_dst',
  'lin_l.weight': 'lin_src.weight',
  'lin_r.weight': 'lin_dst.weight'
}

/** `SAGEConv` of 1.5. */
const SAGE = { 'lin_rel.weight': 'lin_l.weight', 'lin_rel.bias': 'lin_l.bias', 'lin_root.weight': 'lin_r.weight' }

/**
 * The entries of a graph layer under today's names; entries under other names stay as they are.
 *
 * @param {import('./translate.js').Layout} layout
 * @param {readonly Entry[]} entries
 * @param {string} prefix
 * @returns {readonly Entry[]}
 */
export function currentGraphNames({ operation, config }, entries, prefix) {
  const isAdditive = config.version === 1
  /** @type {Record<string, string>} */
  const names = isAdditive ? ADDITIVE : operation === 'createGraphSage' ? SAGE : {}
  const hasWeight = isAdditive || operation === 'createGraphConvolution'
  return entries.flatMap((entry) => {
    if (!entry.name.startsWith(prefix)) return [entry]
    const name = entry.name.slice(prefix.length)
    if (Object.hasOwn(names, name)) return [{ ...entry, name: prefix + names[name] }]
    // Up to 1.5, the weight was transposed, and one vector scored both ends.
    if (name === 'weight' && hasWeight && entry.shape.length === 2) return [transposed(entry, `${prefix}lin.weight`)]
    if (name === 'att' && isAdditive && entry.shape.length === 3) return halves(entry, prefix)
    return [entry]
  })
}

/** @param {Entry} entry @param {string} name @returns {Entry} */
function transposed({ data, shape: [rows, columns] }, name) {
  const output = allocate(name, data.length)
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) output[column * rows + row] = data[row * columns + column]
  }
  return { name, shape: [columns, rows], data: output }
}

/**
 * The scores of targets and of sources, which a row of each head holds in this order.
 *
 * @param {Entry} entry
 * @param {string} prefix
 */
function halves({ data, shape: [first, heads, width] }, prefix) {
  const channels = Math.floor(width / 2)
  return ['att_dst', 'att_src'].map((name, half) => {
    const part = allocate(name, first * heads * channels)
    for (let row = 0; row < first * heads; row++) {
      const start = row * width + half * channels
      part.set(data.subarray(start, start + channels), row * channels)
    }
    return { name: prefix + name, shape: [first, heads, channels], data: part }
  })
}
