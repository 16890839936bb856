// A network on one backend: embeddings, layers, the last norm and the head, made from a checkpoint one part at a time.

import { fault } from '../checks/errors.js'

/** @typedef {import('../../index.d.ts').Attention} Attention */
/** @typedef {{ data: Float32Array, shape: number[] }} Matrix */
/** @typedef {import('./checkpoints.js').Row} Row */
/** @typedef {import('./checkpoints.js').HeadStep} HeadStep */
/** A norm's parameters. @typedef {{ weight: Matrix, bias?: Matrix, epsilon: number }} Norm */
/** A weight with its bias. @typedef {{ weight: Matrix, bias?: Matrix }} Projection */
/**
 * Packed texts: ids and types of all tokens, and where each text starts; the last entry is the number of tokens.
 *
 * @typedef {{ ids: Int32Array, types: Int32Array, starts: Int32Array }} Packed
 */

/** @param {Matrix} matrix @param {(x: number) => number} change @returns {Matrix} */
const mapped = ({ data, shape }, change) => ({ data: data.map(change), shape })

/** The sum of word, position and type embeddings, scaled, normalized and projected. */
class Embeddings {
  /** @type {Matrix | undefined} */ positions
  /** @type {Matrix | undefined} */ types
  /** @type {Norm | undefined} */ norm
  /** @type {Projection | undefined} */ projection
  firstPosition = 0
  scale = 1

  /**
   * @param {Attention} attention
   * @param {Matrix} words
   */
  constructor(attention, words) {
    this.attention = attention
    this.words = words
  }

  /**
   * @param {Packed} packed
   * @param {number} [past]  tokens before those of each text
   * @returns {Matrix}
   */
  run({ ids, types, starts }, past = 0) {
    const size = this.words.shape[1]
    const data = new Float32Array(ids.length * size)
    for (let text = 0; text + 1 < starts.length; text++) {
      for (let at = starts[text]; at < starts[text + 1]; at++) {
        const row = data.subarray(at * size, (at + 1) * size)
        addRow(row, this.words, ids[at], 'ids', this.scale)
        if (this.positions) addRow(row, this.positions, this.firstPosition + past + at - starts[text], 'positions')
        if (this.types) addRow(row, this.types, types[at], 'types')
      }
    }
    let x = /** @type {Matrix} */ ({ data, shape: [ids.length, size] })
    if (this.norm) x = /** @type {Matrix} */ (this.attention.layerNorm(x, this.norm))
    return this.projection ? project(this.attention, x, this.projection) : x
  }
}

/**
 * @param {Float32Array} row
 * @param {Matrix} table
 * @param {number} index
 * @param {string} argument
 * @param {number} [scale]
 */
function addRow(row, { data, shape: [count, size] }, index, argument, scale = 1) {
  if (!(index >= 0 && index < count)) {
    throw fault('DOMAIN', argument, `integers from 0 to ${count - 1}`, `${index}`)
  }
  for (let i = 0; i < size; i++) row[i] += Math.fround(data[index * size + i] * scale)
}

/**
 * @param {Attention} attention
 * @param {Matrix} x
 * @param {Projection} projection
 */
const project = (attention, x, { weight, bias }) => /** @type {Matrix} */ (attention.linear(x, weight, bias))

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
  const width = rows[0].shape[1]
  const output = new Float32Array(count * width)
  rows.forEach((row, index) => output.set(row.data, index * width))
  return { data: output, shape: [count, width] }
}

export class Network {
  /** @type {any[]} */
  layers = []
  /** @type {Embeddings | undefined} */
  embeddings = undefined
  /** The end of the architecture's name, such as `ForTokenClassification`; undefined without a head. @type {string | undefined} */
  task = undefined
  /** The table of biases that all layers share. @type {Matrix | undefined} */
  #relativeBias
  /** @type {Norm | undefined} */
  #finalNorm
  /** @type {readonly HeadStep[]} */
  #steps = []
  /** @type {Map<string, Projection>} */
  #parts = new Map()

  /**
   * @param {Attention} attention
   * @param {Row} row
   * @param {import('./config.js').Stack} stack
   * @param {Record<string, any>} config
   */
  constructor(attention, row, stack, config) {
    this.attention = attention
    this.row = row
    this.stack = stack
    this.config = config
  }

  /** True if texts of different lengths may share a pass through the layers. */
  get isPacked() {
    return this.row.stack === 'encoder'
  }

  get size() {
    return this.stack.modelDim
  }

  /** The number of tokens that have positions. */
  get maxLength() {
    const { row, stack, config } = this
    return (stack.maxPositions ?? Infinity) - (row.firstPosition?.(config) ?? 0)
  }

  /**
   * Reads every part of the checkpoint; what was made is disposed of if that fails.
   *
   * @param {import('./checkpoint.js').Checkpoint} checkpoint
   */
  async load(checkpoint) {
    try {
      this.embeddings = await this.#loadEmbeddings(checkpoint)
      await this.#loadLayers(checkpoint)
      const { finalNorm, relativeBias } = this.row
      if (relativeBias !== undefined) this.#relativeBias = await checkpoint.tensor(`^${relativeBias}`)
      if (finalNorm !== undefined) this.#finalNorm = await this.#loadNorm(checkpoint, `^${finalNorm}`)
      await this.#loadHead(checkpoint)
    } catch (error) {
      this.dispose()
      throw error
    }
  }

  /** @param {import('./checkpoint.js').Checkpoint} checkpoint */
  async #loadEmbeddings(checkpoint) {
    const { row, config } = this
    const embeddings = new Embeddings(this.attention, await checkpoint.tensor(`^${row.words}`))
    if (row.positions) embeddings.positions = await checkpoint.tensor(`^${row.positions}`)
    if (row.types) embeddings.types = await checkpoint.optional(`^${row.types}`)
    if (row.norm) embeddings.norm = await this.#loadNorm(checkpoint, `^${row.norm}`)
    if (row.projection && embeddings.words.shape[1] !== this.size) {
      embeddings.projection = await this.#loadProjection(checkpoint, `^${row.projection}`)
    }
    embeddings.firstPosition = row.firstPosition?.(config) ?? 0
    embeddings.scale = row.scale?.(config) ?? 1
    return embeddings
  }

  /** @param {import('./checkpoint.js').Checkpoint} checkpoint */
  async #loadLayers(checkpoint) {
    /** @type {Map<string, any>} */
    const made = new Map()
    for (const [index, { layer: kind, config }] of this.stack.layers.entries()) {
      const prefix = this.row.layer(index)
      let layer = made.get(prefix)
      if (layer === undefined) {
        const Layer = /** @type {any} */ (this.attention)[kind]
        layer = new Layer(config)
        made.set(prefix, layer)
        this.layers.push(layer.loadStateDict(await checkpoint.state(`^${prefix}`)))
      } else {
        this.layers.push(layer)
      }
    }
  }

  /**
   * @param {import('./checkpoint.js').Checkpoint} checkpoint
   * @param {string} name
   * @returns {Promise<Norm>}
   */
  async #loadNorm(checkpoint, name) {
    const { weight, bias } = await this.#loadProjection(checkpoint, name)
    const offset = name === `^${this.row.finalNorm}` ? (this.row.normOffset ?? 0) : 0
    return { weight: mapped(weight, (x) => x + offset), ...(bias && { bias }), epsilon: this.stack.epsilon }
  }

  /**
   * @param {import('./checkpoint.js').Checkpoint} checkpoint
   * @param {string} name
   * @returns {Promise<Projection>}
   */
  async #loadProjection(checkpoint, name) {
    const bias = await checkpoint.optional(`${name}.bias`)
    return { weight: await checkpoint.tensor(`${name}.weight`), ...(bias && { bias }) }
  }

  /** @param {import('./checkpoint.js').Checkpoint} checkpoint */
  async #loadHead(checkpoint) {
    const heads = this.row.heads(this.config)
    const [architecture = ''] = this.config.architectures ?? []
    const task = Object.keys(heads).find((ending) => String(architecture).endsWith(ending))
    if (task === undefined) {
      // Names such as BertForQuestionAnswering state a head; BertModel states none.
      if (!/For[A-Z]|LMHead/.test(architecture)) return
      const known = Object.keys(heads).map((ending) => `…${ending}`)
      throw fault('FORMAT', 'config.json: architectures', ['…Model', ...known].join(', '), `'${architecture}'`)
    }
    const steps = heads[task]
    const own = steps.filter((step) => 'linear' in step && !step.isTied && !step.linear.startsWith('^'))
    // Folders of sentence-transformers often name a head that they do not have.
    if (own.length > 0 && !own.some((step) => 'linear' in step && checkpoint.has(`${step.linear}.weight`))) return
    for (const step of steps) {
      if ('norm' in step) this.#parts.set(step.norm, await this.#loadNorm(checkpoint, step.norm))
      if ('linear' in step) this.#parts.set(step.linear, await this.#loadWords(checkpoint, step))
    }
    this.#steps = steps
    this.task = task
  }

  /**
   * @param {import('./checkpoint.js').Checkpoint} checkpoint
   * @param {{ linear: string, isTied?: boolean }} step
   * @returns {Promise<Projection>}
   */
  async #loadWords(checkpoint, { linear: name, isTied = false }) {
    if (!isTied || checkpoint.has(`${name}.weight`)) return this.#loadProjection(checkpoint, name)
    const bias =
      (await checkpoint.optional(`${name}.bias`)) ?? (await checkpoint.optional(name.replace(/[^.]*$/, 'bias')))
    return { weight: /** @type {Embeddings} */ (this.embeddings).words, ...(bias && { bias }) }
  }

  /**
   * The biases of the distance for texts of at most this length; undefined if the network has none.
   *
   * @param {number} length
   */
  biasOf(length) {
    const table = this.#relativeBias
    return table && this.attention.relativePositionBias(table, length)
  }

  /**
   * Applies the last norm.
   *
   * @param {Matrix} x
   */
  finish(x) {
    if (this.#finalNorm === undefined) return x
    const norm = this.row.normKind === 'rms' ? this.attention.rmsNorm : this.attention.layerNorm
    return /** @type {Matrix} */ (norm(x, this.#finalNorm))
  }

  /**
   * The logits of some rows of the last hidden states.
   *
   * @param {Matrix} x
   */
  head(x) {
    return this.#steps.reduce((rows, step) => this.#apply(step, rows), x)
  }

  /**
   * @param {HeadStep} step
   * @param {Matrix} x
   * @returns {Matrix}
   */
  #apply(step, x) {
    if ('softcap' in step) return mapped(x, (value) => step.softcap * Math.tanh(value / step.softcap))
    if ('activate' in step) return this.#activate(step.activate, x)
    const part = /** @type {Projection} */ (this.#parts.get('norm' in step ? step.norm : step.linear))
    if ('linear' in step) return project(this.attention, x, part)
    return /** @type {Matrix} */ (this.attention.layerNorm(x, /** @type {Norm} */ (part)))
  }

  /**
   * @param {string} name
   * @param {Matrix} x
   */
  #activate(name, x) {
    const own = name === 'hidden' ? this.stack.layers[0]?.config.activation : name
    const { gelu, relu, silu, tanh } = this.attention
    if (own === 'gelu' || own === 'gelu-tanh') {
      return /** @type {Matrix} */ (gelu(x, { approximate: own === 'gelu' ? 'none' : 'tanh' }))
    }
    const known = /** @type {Record<string, (x: Matrix) => any>} */ ({ relu, silu, tanh })
    if (Object.hasOwn(known, own)) return known[own](x)
    throw fault('FORMAT', 'hidden_act', `one of gelu, gelu-tanh, ${Object.keys(known).join(', ')} in a head`, own)
  }

  dispose() {
    for (const layer of this.layers) layer.dispose()
  }
}
