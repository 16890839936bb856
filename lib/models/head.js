// The part after the last layer: from hidden states to logits, as steps over weights of the checkpoint.

import { fault } from '../checks/errors.js'
import { withoutDrawing } from '../runtime/resident.js'
import { project } from './embeddings.js'

/** @typedef {import('../../index.d.ts').Attention} Attention */
/** @typedef {import('./embeddings.js').Matrix} Matrix */
/** @typedef {import('./embeddings.js').Norm} Norm */
/** @typedef {import('./embeddings.js').Projection} Projection */
/** @typedef {import('./checkpoints.js').HeadStep} HeadStep */
/**
 * Attention of one learned query to all rows, then a feed-forward network.
 *
 * @typedef {{ query: Matrix, layer: any, norm: Norm, up: Projection, down: Projection }} Probe
 */

/** @param {Matrix} matrix @param {(x: number) => number} change @returns {Matrix} */
export const mapped = ({ data, shape }, change) => ({ data: data.map(change), shape })

/**
 * Applies a function to each row on its own, since the order of sums in a product follows the number of rows.
 *
 * @param {Matrix} x
 * @param {(row: Matrix) => Matrix} change
 * @returns {Matrix}
 */
export function eachRow({ data, shape: [count, size] }, change) {
  if (count === 0) return { data, shape: [0, change({ data: new Float32Array(size), shape: [1, size] }).shape[1]] }
  const rows = Array.from({ length: count }, (_, row) =>
    change({ data: data.subarray(row * size, (row + 1) * size), shape: [1, size] })
  )
  return stack(rows)
}

/** @param {readonly Matrix[]} rows  at least one, each `[1, width]` @returns {Matrix} */
function stack(rows) {
  const width = rows[0].shape[1]
  const output = new Float32Array(rows.length * width)
  rows.forEach((row, index) => output.set(row.data, index * width))
  return { data: output, shape: [rows.length, width] }
}

/** @param {Matrix} x @param {number} start @param {number} end @returns {Matrix} */
const rowsOf = ({ data, shape: [, size] }, start, end) => ({
  data: data.subarray(start * size, end * size),
  shape: [end - start, size]
})

/** The mean of all rows, `[1, size]`. @param {Matrix} x @returns {Matrix} */
function meanOf({ data, shape: [count, size] }) {
  const sums = new Float64Array(size)
  for (let i = 0; i < data.length; i++) sums[i % size] += data[i]
  return { data: Float32Array.from(sums, (sum) => sum / count), shape: [1, size] }
}

/**
 * From the rows of one text or image to one row.
 *
 * @type {Record<import('./checkpoints.js').Pool, (x: Matrix, ids: Int32Array, end: number | undefined) => Matrix>}
 */
const POOLS = {
  first: (x) => rowsOf(x, 0, 1),
  last: (x) => rowsOf(x, x.shape[0] - 1, x.shape[0]),
  mean: meanOf,
  patches: (x) => meanOf(rowsOf(x, 1, x.shape[0])),
  both: (x) => {
    const data = [...POOLS.first(x, EMPTY, undefined).data, ...POOLS.patches(x, EMPTY, undefined).data]
    return { data: Float32Array.from(data), shape: [1, data.length] }
  },
  // CLIP's first configurations have 2 here for the largest id.
  end: (x, ids, token) => {
    const place = token === undefined || token === 2 ? ids.indexOf(Math.max(...ids)) : Math.max(ids.indexOf(token), 0)
    return rowsOf(x, place, place + 1)
  }
}
const EMPTY = new Int32Array(0)

export class Head {
  /** @type {Map<string, Projection>} */
  #parts = new Map()
  /** @type {Map<string, Probe>} */
  #probes = new Map()
  /**
   * Layers with the weights of 8 bits, in the order in which products are fast.
   *
   * @type {Map<string, { weight: object, layer: any }>}
   */
  #arranged = new Map()

  /**
   * @param {Attention} attention
   * @param {readonly HeadStep[]} steps
   * @param {string | undefined} activation  of the layers
   * @param {number | undefined} endToken
   */
  constructor(attention, steps, activation, endToken) {
    this.attention = attention
    this.steps = steps
    this.activation = activation
    this.endToken = endToken
  }

  /**
   * @param {import('./network.js').Parts} parts
   * @param {import('./embeddings.js').TokenEmbeddings | undefined} words  the owner of the weight of tied steps
   * @param {number} numHeads
   */
  async load(parts, words, numHeads) {
    for (const step of this.steps) {
      if ('norm' in step) this.#parts.set(step.norm, await parts.norm(step.norm))
      if ('linear' in step) this.#parts.set(step.linear, await loadWords(parts, step, words))
      if ('probe' in step) this.#probes.set(step.probe, await this.#loadProbe(parts, step.probe, numHeads))
    }
  }

  /**
   * @param {import('./network.js').Parts} parts
   * @param {string} name
   * @param {number} numHeads
   * @returns {Promise<Probe>}
   */
  async #loadProbe(parts, name, numHeads) {
    const { data, shape } = await parts.checkpoint.tensor(`${name}.probe`)
    const layer = new this.attention.CrossAttention({ modelDim: shape[2], numHeads })
    try {
      layer.loadStateDict(await parts.checkpoint.state(`${name}.attention.`))
      const [norm, up, down] = [
        await parts.norm(`${name}.layernorm`),
        await parts.projection(`${name}.mlp.fc1`),
        await parts.projection(`${name}.mlp.fc2`)
      ]
      return { query: { data, shape }, layer, norm, up, down }
    } catch (error) {
      layer.dispose()
      throw error
    }
  }

  /** True if the head gives one row per text or image. */
  get isPooled() {
    return this.steps.some((step) => 'pool' in step || 'probe' in step)
  }

  /**
   * The logits of texts or images, `[n, …]`, or of all rows.
   *
   * @param {Matrix} hidden
   * @param {Int32Array} starts
   * @param {Int32Array} [ids]
   */
  run(hidden, starts, ids = EMPTY) {
    if (!this.isPooled) return this.#steps(hidden, EMPTY)
    const rows = Array.from({ length: starts.length - 1 }, (_, index) => {
      const [start, end] = [starts[index], starts[index + 1]]
      return this.#steps(rowsOf(hidden, start, end), ids.subarray(start, end))
    })
    if (rows.length > 0) return stack(rows)
    const size = hidden.shape[1]
    const { shape } = this.#steps({ data: new Float32Array(size), shape: [1, size] }, EMPTY)
    return { data: new Float32Array(0), shape: [0, shape[1]] }
  }

  /** @param {Matrix} x @param {Int32Array} ids */
  #steps(x, ids) {
    return this.steps.reduce((rows, step) => this.#apply(step, rows, ids), x)
  }

  /**
   * @param {HeadStep} step
   * @param {Matrix} x
   * @param {Int32Array} ids
   * @returns {Matrix}
   */
  #apply(step, x, ids) {
    if ('pool' in step) return POOLS[step.pool](x, ids, this.endToken)
    if ('scale' in step) return mapped(x, (value) => value * step.scale)
    if ('softcap' in step) return mapped(x, (value) => step.softcap * Math.tanh(value / step.softcap))
    if ('activate' in step) return this.#activate(step.activate, x)
    if ('probe' in step) return this.#attend(/** @type {Probe} */ (this.#probes.get(step.probe)), x)
    const part = /** @type {Projection} */ (this.#parts.get('norm' in step ? step.norm : step.linear))
    if ('linear' in step) return this.#project(step.linear, x, part)
    return /** @type {Matrix} */ (this.attention.layerNorm(x, /** @type {Norm} */ (part)))
  }

  /** @param {string} name @param {Matrix} x @param {Projection} part @returns {Matrix} */
  #project(name, x, part) {
    const { weight, bias } = part
    const [outFeatures, inFeatures] = weight.shape
    if (!('type' in weight) || weight.type !== 'q8_0') return project(this.attention, x, part)
    const known = this.#arranged.get(name)
    if (known?.weight === weight) return /** @type {Matrix} */ (known.layer.forward(x))
    // Training has replaced the weight, or this is the first call.
    const config = { inFeatures, outFeatures, useBias: bias !== undefined, weightType: weight.type }
    const layer = withoutDrawing(() => new this.attention.Linear(config))
    try {
      layer.loadStateDict({ weight, ...(bias && { bias }) })
    } catch (error) {
      layer.dispose()
      throw error
    }
    known?.layer.dispose()
    this.#arranged.set(name, { weight, layer })
    return /** @type {Matrix} */ (layer.forward(x))
  }

  /** @param {Probe} probe @param {Matrix} x @returns {Matrix} */
  #attend({ query, layer, norm, up, down }, { data, shape: [count, size] }) {
    const { output } = layer.forward(query, { data, shape: [1, count, size] })
    const row = { data: output.data, shape: [1, size] }
    const inner = project(this.attention, /** @type {Matrix} */ (this.attention.layerNorm(row, norm)), up)
    const outer = project(this.attention, this.#activate('hidden', inner), down)
    return sum(row, outer)
  }

  /**
   * @param {string} name
   * @param {Matrix} x
   */
  #activate(name, x) {
    const own = name === 'hidden' ? String(this.activation) : name
    const { gelu, relu, silu, tanh } = this.attention
    if (own === 'gelu' || own === 'gelu-tanh') {
      return /** @type {Matrix} */ (gelu(x, { approximate: own === 'gelu' ? 'none' : 'tanh' }))
    }
    const known = /** @type {Record<string, (x: Matrix) => any>} */ ({ relu, silu, tanh })
    if (Object.hasOwn(known, own)) return known[own](x)
    throw fault('FORMAT', 'hidden_act', `one of gelu, gelu-tanh, ${Object.keys(known).join(', ')} in a head`, own)
  }

  dispose() {
    for (const { layer } of [...this.#probes.values(), ...this.#arranged.values()]) layer.dispose()
    this.#arranged.clear()
  }
}

/** @param {Matrix} a @param {Matrix} b @returns {Matrix} */
const sum = (a, b) => ({ data: a.data.map((x, index) => x + b.data[index]), shape: a.shape })

/**
 * @param {import('./network.js').Parts} parts
 * @param {{ linear: string, isTied?: boolean }} step
 * @param {import('./embeddings.js').TokenEmbeddings | undefined} words
 * @returns {Promise<Projection>}
 */
async function loadWords({ checkpoint, matrix }, { linear: name, isTied = false }, words) {
  if (!isTied || words === undefined || checkpoint.has(`${name}.weight`)) {
    const bias = await checkpoint.optional(`${name}.bias`)
    return { weight: await matrix(`${name}.weight`), ...(bias && { bias }) }
  }
  const bias =
    (await checkpoint.optional(`${name}.bias`)) ?? (await checkpoint.optional(name.replace(/[^.]*$/, 'bias')))
  return {
    // Training may replace it.
    get weight() {
      return words.words
    },
    ...(bias && { bias })
  }
}
