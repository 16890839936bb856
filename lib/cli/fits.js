// Finds the layers of this package that the tensors of a file fit, by names and shapes. A layer fits if the names are
// exactly those that its loadStateDict expects: no tensor may be missing, extra, or of another shape.

import { GRAPH_PARAMETERS } from '../names/graph-parameters.js'
import { FAMILIES, itemsOf } from '../names/items.js'
import { attentionConfig, blockConfig } from '../names/shapes.js'
import { isBuffer } from '../weights/buffers.js'

/** @typedef {{ name: string, shape: number[], dtype: string }} Entry */
/** @typedef {{ layer: string, naming: string, prefix: string, config: Record<string, unknown> }} Fit */
/** @typedef {Record<string, number>} Sizes */
/** @typedef {(typeof GRAPH_PARAMETERS)[number]} Table */

const READABLE = ['F32', 'F16', 'BF16', 'F64']

/** Layers with families of names, those that contain others first. */
const FAMILY_LAYERS = /** @type {const} */ ([
  ['TransformerDecoderLayer', FAMILIES.TransformerDecoderLayer, blockConfig],
  ['TransformerEncoderLayer', FAMILIES.TransformerEncoderLayer, blockConfig],
  ['DecoderLayer', FAMILIES.DecoderLayer, blockConfig],
  ['MultiHeadAttention, SelfAttention, CrossAttention', FAMILIES.MultiHeadAttention, attentionConfig]
])

/**
 * The configuration of a graph layer, or undefined if its sizes contradict each other.
 *
 * @param {Table} table
 * @param {Sizes} sizes
 * @param {(when: string) => boolean} has  true if the layer has the parameters of a setting
 */
function graphConfig({ layer, type, rows }, sizes, has) {
  const { sources, targets = sources, edgeFeatures } = sizes
  // Two weights of the same shape count as one under two names, as before release 2.5.
  const hasTwo = rows.some(({ name }) => name === 'lin_dst.weight')
  if (type === 'GATConv' && hasTwo !== (sources !== targets)) return undefined
  const outputs = outputsOf(type, sizes)
  return (
    outputs && {
      inFeatures: sources === targets ? sources : [sources, targets],
      ...outputs,
      ...(has('residual') && { residual: true }),
      ...(edgeFeatures && { edgeFeatures }),
      ...(has('gate') && { beta: true }),
      ...(layer === 'GraphSage' && !has('root') && { rootWeight: false }),
      ...(has('project') && { project: true }),
      useBias: has('bias')
    }
  )
}

/**
 * Heads and features of the output.
 *
 * @param {string} type
 * @param {Sizes} sizes
 */
function outputsOf(type, { heads, channels, width, output = width }) {
  if (type === 'TransformerConv') {
    // Shapes do not reveal the number of concatenated heads.
    if (width === output) return { 'numHeads · outFeatures': width }
    return width % output === 0 ? { outFeatures: output, numHeads: width / output, concat: false } : undefined
  }
  if (heads === undefined) return output === width ? { outFeatures: width } : undefined
  if (width !== heads * channels || (output !== width && output !== channels)) return undefined
  // With a single head, concatenation and mean are the same.
  const concat = output !== width && { concat: false }
  return { outFeatures: channels, numHeads: heads, ...concat, version: type === 'GATConv' ? 1 : 2 }
}

/**
 * True if a shape matches its description and the sizes known so far; adds new sizes to them. Equal names must have
 * equal sizes, and `3*output` is three times `output`.
 *
 * @param {readonly number[]} shape
 * @param {string} description
 * @param {Sizes} sizes
 */
function matches(shape, description, sizes) {
  const dims = description.split(' ')
  return (
    shape.length === dims.length &&
    dims.every((dim, index) => {
      const [, factor = '1', name] = /^(?:(\d+)\*)?(\w+)$/.exec(dim) ?? []
      const size = shape[index] / Number(factor)
      if (/^\d+$/.test(name)) return size === Number(name)
      sizes[name] ??= size
      return Number.isInteger(size) && size > 0 && sizes[name] === size
    })
  )
}

/**
 * The entries of one weight under the two names of releases before 2.5, under today's name.
 *
 * @param {ReadonlyMap<string, Entry>} members
 */
function withOneWeight(members) {
  const [source, target] = ['lin_src.weight', 'lin_dst.weight'].map((name) => members.get(name))
  if (source === undefined || (target && target.shape.join() !== source.shape.join())) return members
  const { 'lin_src.weight': weight, 'lin_dst.weight': _, ...rest } = Object.fromEntries(members)
  return new Map(Object.entries({ ...rest, 'lin.weight': weight }))
}

/**
 * @param {Table} table
 * @param {string} prefix
 * @param {ReadonlyMap<string, Entry>} given  tensors under the prefix, by their remaining names
 * @returns {Fit | undefined}
 */
function graphFit(table, prefix, given) {
  const { layer, type, rows } = table
  const members = type === 'GATConv' ? withOneWeight(given) : given
  const parameters = rows.filter(({ name }) => members.has(name))
  /** @type {Sizes} */
  const sizes = {}
  const fits = parameters.every(({ name, shape }) => matches(members.get(name)?.shape ?? [], shape, sizes))
  // A setting brings all of its parameters, or none.
  const found = new Set(parameters.map(({ when }) => when))
  const isComplete = rows.every(({ name, when }) => members.has(name) || (when !== 'always' && !found.has(when)))
  if (!fits || !isComplete || members.size > parameters.length) return undefined
  const config = graphConfig(table, sizes, (when) => found.has(when))
  return config && { layer, naming: `PyTorch Geometric (${type})`, prefix: prefix.replace(/\.$/, ''), config }
}

/**
 * Graph layers, found by the first parameter that all layers of a type have.
 *
 * @param {readonly Entry[]} entries
 */
function graphFits(entries) {
  return GRAPH_PARAMETERS.flatMap((table) => {
    const key = /** @type {import('../names/graph-parameters.js').Row} */ (
      table.rows.find(({ when }) => when === 'always')
    ).name
    return entries.flatMap(({ name }) => {
      if (name !== key && !name.endsWith(`.${key}`)) return []
      const prefix = name.slice(0, name.length - key.length)
      const members = entries.filter((entry) => entry.name.startsWith(prefix))
      const found = graphFit(table, prefix, new Map(members.map((entry) => [entry.name.slice(prefix.length), entry])))
      return found ? [found] : []
    })
  })
}

/**
 * Layers under the names of families: those that contain others hide them.
 *
 * @param {readonly Entry[]} entries
 */
function familyFits(entries) {
  /** @type {Fit[]} */
  const fits = []
  for (const [layer, families, configOf] of FAMILY_LAYERS) {
    for (const family of Object.values(families)) {
      for (const [prefix, members] of groupsOf(family, entries)) {
        if (isInside(prefix, fits)) continue
        const config = configOf(family, members)
        if (config) fits.push({ layer, naming: family.title, prefix, config })
      }
    }
  }
  return fits
}

/**
 * Entries by prefixes under which a family's output projection is.
 *
 * @param {import('../names/attention.js').Family} family
 * @param {readonly Entry[]} entries
 */
function groupsOf(family, entries) {
  const keys = itemsOf(family).filter(({ parts, scale }) => !scale && parts.includes('output.weight'))
  /** @type {Map<string, Map<string, readonly number[]>>} */
  const groups = new Map()
  for (const { name } of entries) {
    const key = keys.find((item) => name === item.name || name.endsWith(`.${item.name}`))
    if (key === undefined) continue
    const prefix = name.slice(0, name.length - key.name.length)
    const members = entries.filter((entry) => entry.name.startsWith(prefix))
    groups.set(prefix.slice(0, -1), new Map(members.map((entry) => [entry.name.slice(prefix.length), entry.shape])))
  }
  return groups
}

/** True if a prefix is that of a fit, or below it. @param {string} prefix @param {readonly Fit[]} fits */
const isInside = (prefix, fits) => fits.some((fit) => fit.prefix === '' || `${prefix}.`.startsWith(`${fit.prefix}.`))

/**
 * Norms: a one-dimensional weight, with an optional bias, under a name that contains 'norm' or 'ln_'.
 *
 * @param {readonly Entry[]} entries
 * @returns {Fit[]}
 */
function norms(entries) {
  const byName = new Map(entries.map((entry) => [entry.name, entry]))
  return entries.flatMap(({ name, shape }) => {
    const [, prefix, kind] = /^(.*norm[^.]*|(?:.*\.)?ln_[^.]*)\.(weight|gamma)$/i.exec(name) ?? []
    if (prefix === undefined || shape.length !== 1) return []
    const bias = byName.get(`${prefix}.${kind === 'weight' ? 'bias' : 'beta'}`)
    if (bias !== undefined && bias.shape.join() !== shape.join()) return []
    const layer = bias ? 'layerNorm' : 'rmsNorm'
    return [
      {
        layer,
        naming: bias ? `${kind} and ${kind === 'weight' ? 'bias' : 'beta'}` : kind,
        prefix,
        config: { size: shape[0] }
      }
    ]
  })
}

/**
 * All layers that the tensors fit. Parts of an encoder layer are not listed separately. Tensors that loadStateDict
 * skips do not count.
 *
 * @param {readonly Entry[]} all
 * @returns {Fit[]}
 */
export function findFits(all) {
  const entries = all.filter(({ name, shape, dtype }) => READABLE.includes(dtype) && !isBuffer(name, shape))
  const families = familyFits(entries)
  const blocks = families.filter(({ layer }) => layer.endsWith('Layer'))
  const others = [...graphFits(entries), ...norms(entries)].filter(({ prefix }) => !isInside(prefix, blocks))
  return [...families, ...others].sort((a, b) => a.prefix.localeCompare(b.prefix, 'en', { numeric: true }))
}
