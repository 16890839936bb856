// The parameters of one layer under the names of one family: read from a checkpoint's entries, and written to them.

import { fault } from '../checks/errors.js'
import { allocate, elements, formatShape } from '../checks/tensor.js'
import { itemsOf } from './items.js'
import { joinRows, takeRows, transpose, widened } from './rows.js'
import { convert } from '../numbers/convert.js'

/** @typedef {import('./attention.js').Family} Family */
/** @typedef {import('./items.js').Item} Item */
/** @typedef {import('./rows.js').Values} Values */
/** @typedef {import('./translate.js').Entry} Entry */
/** @typedef {import('./translate.js').Layout} Layout */
/** @typedef {import('./translate.js').Parameter} Parameter */

/** Reads and writes the parameters of one layer under the names of one family. */
export class NamedParameters {
  #items
  #zeros
  #groups
  /** Shapes of the layer's parameters. @type {Map<string, readonly number[]>} */
  #shapes = new Map()
  /** Parameters by the layer's names. @type {Map<string, readonly string[]>} */
  #parts = new Map()
  #prefix

  /**
   * @param {Layout} layout
   * @param {Family} own
   * @param {Family} family
   * @param {string} prefix
   */
  constructor({ config, entries }, own, family, prefix) {
    this.#prefix = prefix
    this.#zeros = family.zeros ?? []
    const sizes = sizesOf(config)
    this.#groups = sizes.groups
    for (const { name, shape } of entries) {
      const item = itemsOf(own).find((candidate) => candidate.name === name)
      const parts = item?.parts ?? [name]
      this.#parts.set(name, parts)
      for (const part of parts) {
        const [rows, ...rest] = shape
        this.#shapes.set(part, parts.length === 1 ? shape : [sizes.rows(part, rows / parts.length), ...rest])
      }
    }
    this.#items = this.#itemsOf(family)
  }

  /**
   * The family's entries, without the gate if the layer has none.
   *
   * @param {Family} family
   */
  #itemsOf(family) {
    if (this.#shapes.has('gate.weight')) return itemsOf(family).filter(({ ungated }) => !ungated)
    const withoutGate = itemsOf(family).map((item) => ({
      ...item,
      parts: item.parts.filter((part) => !part.startsWith('gate.'))
    }))
    return withoutGate.filter(({ parts, ignored }) => ignored || parts.length > 0)
  }

  /** @param {string} name  one of the layer's own */
  partsOf(name) {
    return this.#parts.get(name) ?? [name]
  }

  /**
   * The parameters that the entries hold.
   *
   * @param {ReadonlyMap<string, Entry>} entries
   * @param {boolean} strict
   */
  read(entries, strict) {
    /** @type {Map<string, Values>} */
    const found = new Map()
    /** @type {[string, Values][]} */
    const scales = []
    const items = new Map(this.#items.map((item) => [item.name, item]))
    for (const [name, entry] of entries) {
      const item = items.get(name)
      if (item?.ignored) continue
      if (item === undefined || !this.#has(item)) {
        if (strict) throw this.#surplus(entry.name, item)
        continue
      }
      this.#checkShape(item, entry)
      if (item.scale) {
        scales.push([item.parts[0], { data: widened(entry, entry.shape) }])
        continue
      }
      for (const [part, data] of this.#split(item, entry)) {
        if (found.has(part)) throw fault('FORMAT', entry.name, 'one entry per parameter', 'two')
        found.set(part, data)
      }
    }
    for (const [part, scale] of scales) this.#fold(found, part, scale)
    return found
  }

  /**
   * @param {ReadonlyMap<string, Values>} found
   * @param {string} part
   * @returns {Values}
   */
  require(found, part) {
    const values = found.get(part)
    if (values !== undefined) return values
    const zeros = this.#zeros
    const shape = /** @type {readonly number[]} */ (this.#shapes.get(part))
    const isBias = part.endsWith('.bias')
    const mayLack = isBias && zeros.includes(part.slice(0, -'.bias'.length))
    if (mayLack && (zeros.includes('query') || found.has('query.bias')))
      return { data: allocate(part, elements(shape)) }
    const candidates = this.#items.filter((item) => item.parts.includes(part))
    const item = candidates.find(({ parts }) => parts.every((other) => !found.has(other))) ?? candidates[0]
    if (item === undefined) {
      throw fault('FORMAT', this.#prefix + part, 'a parameter that these names have a place for', 'no such entry')
    }
    const expected = `an entry of shape ${formatShape(this.#shapeOf(item))}${isBias ? ', as useBias is true' : ''}`
    throw fault('FORMAT', this.#prefix + item.name, expected, 'no such entry')
  }

  /**
   * @param {ReadonlyMap<string, Values>} found
   * @param {string} names
   * @returns {Record<string, Parameter>}
   */
  write(found, names) {
    /** @type {Set<string>} */
    const written = new Set()
    /** @type {[string, Parameter][]} */
    const state = []
    for (const item of this.#items) {
      if (item.ignored || !this.#has(item) || item.parts.some((part) => written.has(part))) continue
      if (!item.scale && !this.#isJoint(item)) {
        throw fault('OPTION', 'names', 'names of separate projections, as the sizes of inputs differ', `'${names}'`)
      }
      const shape = this.#shapeOf(item)
      const values = item.scale ? { data: allocate(item.name, elements(shape)).fill(1) } : this.#join(item, found)
      state.push([item.name, { ...values, shape }])
      if (!item.scale) for (const part of item.parts) written.add(part)
    }
    const left = [...found.keys()].find((part) => !written.has(part))
    if (left !== undefined) throw fault('OPTION', 'names', `names with a place for ${left}`, `'${names}'`)
    return Object.fromEntries(state)
  }

  /** True if the layer has what the entry holds. @param {Item} item */
  #has({ parts, scale }) {
    return parts.every((part) => this.#shapes.has(scale ? `${part}.weight` : part))
  }

  /**
   * The shape of an entry in a checkpoint.
   *
   * @param {Item} item
   * @returns {number[]}
   */
  #shapeOf({ parts, transposed, scale }) {
    const shapes = parts.map((part) => this.#shapes.get(scale ? `${part}.weight` : part) ?? [0])
    if (parts.length === 1 && !transposed && !scale) return [...shapes[0]]
    const rows = shapes.reduce((sum, [count]) => sum + count, 0)
    const columns = shapes[0].slice(1)
    if (scale || columns.length === 0) return [rows]
    return transposed ? [...columns, rows] : [rows, ...columns]
  }

  /** True if the parameters of an entry have rows of the same size. @param {Item} item */
  #isJoint({ parts }) {
    const columns = parts.map((part) => this.#shapes.get(part)?.[1])
    return columns.every((count) => count === columns[0])
  }

  /** @param {Item} item @param {Entry} entry */
  #checkShape(item, { name, shape }) {
    const expected = this.#shapeOf(item)
    if (!item.scale && !this.#isJoint(item)) {
      throw fault('SHAPE', name, 'separate projections, as the sizes of inputs differ', formatShape(shape))
    }
    if (shape.join() !== expected.join()) throw fault('SHAPE', name, formatShape(expected), formatShape(shape))
  }

  /**
   * The rows of an entry that belong to each of its parameters, in their order.
   *
   * @param {Item} item
   */
  #blocks({ parts, byHead }) {
    const counts = parts.map((part) => /** @type {readonly number[]} */ (this.#shapes.get(part))[0])
    const groups = byHead ? this.#groups : 1
    const blocks = []
    let row = 0
    for (let group = 0; group < groups; group++) {
      for (const [index, part] of parts.entries()) {
        const count = counts[index] / groups
        blocks.push({ part, row, count, to: group * count })
        row += count
      }
    }
    return blocks
  }

  /**
   * @param {Item} item
   * @param {Entry} entry
   * @returns {[string, Values][]}
   */
  #split(item, entry) {
    const { name, shape } = entry
    const isTransposed = item.transposed && shape.length === 2
    let rows = valuesOf(entry)
    if (isTransposed) rows = { data: transpose(name, widened(entry, shape), shape) }
    // Groups of 8 bits run along whole rows of a matrix.
    else if (shape.length !== 2) rows = { data: widened(entry, shape) }
    if (item.parts.length === 1) return [[item.parts[0], rows]]
    const width = elements(shape) / (isTransposed ? shape[1] : shape[0])
    /** @type {Map<string, Values[]>} */
    const parts = new Map(item.parts.map((part) => [part, []]))
    for (const { part, row, count } of this.#blocks(item)) parts.get(part)?.push(takeRows(rows, width, row, count))
    return [...parts].map(([part, slices]) => [part, joinRows(part, slices, width)])
  }

  /**
   * The inverse of `#split`.
   *
   * @param {Item} item
   * @param {ReadonlyMap<string, Values>} found
   * @returns {Values}
   */
  #join(item, found) {
    const shapes = item.parts.map((part) => /** @type {readonly number[]} */ (this.#shapes.get(part)))
    const rows = shapes.reduce((sum, [count]) => sum + count, 0)
    const width = shapes[0].slice(1).reduce((size, count) => size * count, 1)
    const slices = this.#blocks(item).map(({ part, count, to }) => {
      const values = found.get(part)
      return values ? takeRows(values, width, to, count) : { data: allocate(item.name, count * width) }
    })
    const joined = joinRows(item.name, slices, width)
    if (!item.transposed || shapes[0].length !== 2) return joined
    const turned = { data: transpose(item.name, widened(joined, [rows, width]), [rows, width]), shape: [width, rows] }
    return joined.type === undefined ? { data: turned.data } : valuesOf(convert(turned, joined.type))
  }

  /**
   * Multiplies the rows of a parameter, and its bias, by a layer scale.
   *
   * @param {Map<string, Values>} found
   * @param {string} part
   * @param {Values} scale
   */
  #fold(found, part, { data: scale }) {
    for (const name of [`${part}.weight`, `${part}.bias`]) {
      const values = found.get(name)
      if (values === undefined) continue
      const width = values.data.length / scale.length
      const data = widened(values, [scale.length, width])
      found.set(name, { data: data.map((value, index) => value * scale[Math.floor(index / width)]) })
    }
  }

  /** @param {string} name @param {Item | undefined} item */
  #surplus(name, item) {
    if (item?.parts.every((part) => part.endsWith('.bias'))) {
      return fault('FORMAT', name, 'no biases, as useBias is false', 'a bias')
    }
    const known = this.#items.filter((candidate) => !candidate.ignored && this.#has(candidate))
    const names = known.map((candidate) => `'${candidate.name}'`)
    return fault('FORMAT', name, `one of ${names.join(', ')}`, 'an entry that is no parameter of this layer')
  }
}

/**
 * Numbers of rows that the names of a layer do not tell.
 *
 * @param {Record<string, any>} config
 */
function sizesOf(config) {
  const read = (/** @type {string} */ part) => {
    const isCross = part.startsWith('cross_')
    const own = { ...config, ...(isCross ? config.crossAttention : config.attention) }
    const kvHeads = own.kvHeads ?? own.numHeads
    const headDim = own.headDim ?? own.modelDim / own.numHeads
    return { query: own.numHeads * headDim * (own.outputGate ? 2 : 1), kv: kvHeads * headDim, kvHeads }
  }
  return {
    groups: read('').kvHeads,
    /** @param {string} part @param {number} other */
    rows(part, other) {
      const role = part.replace(/^cross_|\.\w+$/g, '')
      if (role === 'query') return read(part).query
      return role === 'key' || role === 'value' ? read(part).kv : other
    }
  }
}

/** The elements of an entry without its name and shape. @param {Values} entry @returns {Values} */
const valuesOf = ({ data, type, scales }) => ({ data, ...(type && { type }), ...(scales && { scales }) })
