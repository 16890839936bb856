// Finds the layers of this package that the tensors of a file fit, by names and shapes. A layer fits if the names are
// exactly those that its loadStateDict expects: no tensor may be missing, extra, or of another shape.

import { FAMILIES, itemsOf } from '../names/items.js'
import { attentionConfig, blockConfig } from '../names/shapes.js'
import { isBuffer } from '../weights/buffers.js'

/** @typedef {{ name: string, shape: number[], dtype: string }} Entry */
/** @typedef {{ layer: string, naming: string, prefix: string, config: Record<string, unknown> }} Fit */
/** @typedef {Record<string, number>} Sizes */
/**
 * A layer under one naming scheme. A shape is a list of named sizes; equal names must have equal sizes, and `3*m` is
 * three times `m`. The first required name identifies the layer.
 *
 * @typedef {object} Rule
 * @property {string} layer
 * @property {string} naming
 * @property {Record<string, string>} required
 * @property {Record<string, string>} [optional]
 * @property {(sizes: Sizes, has: (name: string) => boolean) => Fit['config'] | undefined} config  undefined if the
 * sizes contradict each other
 */

const READABLE = ['F32', 'F16', 'BF16', 'F64']

/** Layers with families of names, those that contain others first. */
const FAMILY_LAYERS = /** @type {const} */ ([
  ['TransformerDecoderLayer', FAMILIES.TransformerDecoderLayer, blockConfig],
  ['TransformerEncoderLayer', FAMILIES.TransformerEncoderLayer, blockConfig],
  ['DecoderLayer', FAMILIES.DecoderLayer, blockConfig],
  ['MultiHeadAttention, SelfAttention, CrossAttention', FAMILIES.MultiHeadAttention, attentionConfig]
])

/**
 * The weights of a `GATConv`. Two of the same shape count as one under two names, as before release 2.5.
 *
 * @type {readonly Record<string, string>[]}
 */
const ADDITIVE_WEIGHTS = [
  { 'lin.weight': 'w in' },
  { 'lin_src.weight': 'w in' },
  { 'lin_src.weight': 'w in', 'lin_dst.weight': 'w to' }
]

/** @type {readonly Rule[]} */
const LAYERS = [
  {
    layer: 'GraphAttention',
    naming: 'PyTorch Geometric (GATv2Conv)',
    required: { att: '1 h c', 'lin_l.weight': 'w in', 'lin_r.weight': 'w to' },
    optional: { bias: 'o', 'lin_l.bias': 'w', 'lin_r.bias': 'w', 'lin_edge.weight': 'w e', 'res.weight': 'o to' },
    config: (sizes, has) => {
      const biases = ['bias', 'lin_l.bias', 'lin_r.bias'].filter(has).length
      return biases % 3 === 0 ? graphConfig(sizes, has, { version: 2 }) : undefined
    }
  },
  ...ADDITIVE_WEIGHTS.map((weights) => ({
    layer: 'GraphAttention',
    naming: 'PyTorch Geometric (GATConv)',
    required: { att_src: '1 h c', att_dst: '1 h c', ...weights },
    optional: { bias: 'o', att_edge: '1 h c', 'lin_edge.weight': 'w e', 'res.weight': 'o to' },
    config: (/** @type {Sizes} */ sizes, /** @type {(name: string) => boolean} */ has) =>
      has('att_edge') === has('lin_edge.weight') ? graphConfig(sizes, has, { version: 1 }) : undefined
  })),
  {
    layer: 'GraphTransformer',
    naming: 'PyTorch Geometric (TransformerConv)',
    required: {
      'lin_skip.weight': 'o to',
      'lin_query.weight': 'w to',
      'lin_key.weight': 'w in',
      'lin_value.weight': 'w in'
    },
    optional: {
      'lin_key.bias': 'w',
      'lin_query.bias': 'w',
      'lin_value.bias': 'w',
      'lin_skip.bias': 'o',
      'lin_edge.weight': 'w e',
      'lin_beta.weight': '1 3*o'
    },
    config: ({ in: from, to, w, o, e }, has) => {
      const biases = ['lin_key.bias', 'lin_query.bias', 'lin_value.bias', 'lin_skip.bias'].filter(has).length
      if (biases % 4 !== 0) return undefined
      // Shapes do not reveal the number of concatenated heads.
      const sizes = w === o ? { 'numHeads · outFeatures': w } : { outFeatures: o, numHeads: w / o, concat: false }
      if (w % o !== 0) return undefined
      return {
        inFeatures: inFeatures(from, to),
        ...sizes,
        ...(e && { edgeFeatures: e }),
        ...(has('lin_beta.weight') && { beta: true }),
        useBias: biases > 0
      }
    }
  },
  {
    layer: 'GraphSage',
    naming: 'PyTorch Geometric (SAGEConv)',
    required: { 'lin_l.weight': 'o in' },
    optional: { 'lin_l.bias': 'o', 'lin_r.weight': 'o to', 'lin.weight': 'in in', 'lin.bias': 'in' },
    config: ({ in: from, to, o }, has) => {
      if (has('lin.weight') !== has('lin.bias')) return undefined
      return {
        inFeatures: inFeatures(from, to),
        outFeatures: o,
        ...(!has('lin_r.weight') && { rootWeight: false }),
        ...(has('lin.weight') && { project: true }),
        useBias: has('lin_l.bias')
      }
    }
  },
  {
    layer: 'GraphConvolution',
    naming: 'PyTorch Geometric (GCNConv)',
    required: { 'lin.weight': 'o in' },
    optional: { bias: 'o' },
    config: ({ in: inFeatures, o }, has) => ({ inFeatures, outFeatures: o, useBias: has('bias') })
  }
]

/**
 * The features of every node, or of sources and of targets if these differ.
 *
 * @param {number} from
 * @param {number} [to]
 */
const inFeatures = (from, to = from) => (from === to ? from : [from, to])

/**
 * @param {Sizes} sizes
 * @param {(name: string) => boolean} has
 * @param {{ version: number }} version
 */
function graphConfig({ in: from, to, h, c, w, o = w, e }, has, version) {
  if (w !== h * c || (o !== w && o !== c)) return undefined
  const useBias = has('bias')
  return {
    inFeatures: inFeatures(from, to),
    outFeatures: c,
    numHeads: h,
    // With a single head, concatenation and mean are the same.
    ...(o !== w && { concat: false }),
    ...(has('res.weight') && { residual: true }),
    ...version,
    ...(e && { edgeFeatures: e }),
    useBias
  }
}

/**
 * True if a shape matches its description and the sizes known so far; adds new sizes to them.
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
 * @param {Rule} rule
 * @param {string} prefix
 * @param {ReadonlyMap<string, Entry>} members  tensors under the prefix, by their remaining names
 * @returns {Fit | undefined}
 */
function fit({ layer, naming, required, optional = {}, config }, prefix, members) {
  const missing = Object.keys(required).some((name) => !members.has(name))
  if (missing || members.size > Object.keys(required).length + Object.keys(optional).length) return undefined
  /** @type {Sizes} */
  const sizes = {}
  for (const [name, { shape }] of members) {
    const description = Object.hasOwn(required, name)
      ? required[name]
      : Object.hasOwn(optional, name)
        ? optional[name]
        : undefined
    if (description === undefined || !matches(shape, description, sizes)) return undefined
  }
  const found = config(sizes, (name) => members.has(name))
  return found && { layer, naming, prefix: prefix.replace(/\.$/, ''), config: found }
}

/**
 * The layers that fit, found by the first required name of each rule.
 *
 * @param {readonly Rule[]} rules
 * @param {readonly Entry[]} entries
 */
function fitsOf(rules, entries) {
  return rules.flatMap((rule) => {
    const [key] = Object.keys(rule.required)
    return entries.flatMap(({ name }) => {
      if (name !== key && !name.endsWith(`.${key}`)) return []
      const prefix = name.slice(0, name.length - key.length)
      const members = entries.filter((entry) => entry.name.startsWith(prefix))
      const found = fit(rule, prefix, new Map(members.map((entry) => [entry.name.slice(prefix.length), entry])))
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
  const others = [...fitsOf(LAYERS, entries), ...norms(entries)].filter(({ prefix }) => !isInside(prefix, blocks))
  return [...families, ...others].sort((a, b) => a.prefix.localeCompare(b.prefix, 'en', { numeric: true }))
}
