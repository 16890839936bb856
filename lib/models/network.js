// An encoder on one backend: embeddings, layers and head, made from the entries of a checkpoint one part at a time.

import { fault } from '../checks/errors.js'
import { sizesOf } from './encoders.js'

/** @typedef {import('../../index.d.ts').Attention} Attention */
/** @typedef {{ data: Float32Array, shape: number[] }} Matrix */
/** @typedef {import('./encoders.js').Row} Row */
/** A norm's parameters. @typedef {{ weight: Matrix, bias?: Matrix, epsilon: number }} Norm */
/**
 * Packed texts: ids and types of all tokens, and where each text starts; the last entry is the number of tokens.
 *
 * @typedef {{ ids: Int32Array, types: Int32Array, starts: Int32Array }} Packed
 */

/** Activations of heads beside those of the API. */
const tanh = (/** @type {Matrix} */ { data, shape }) => ({ data: data.map(Math.tanh), shape })
const relu = (/** @type {Matrix} */ { data, shape }) => ({ data: data.map((x) => Math.max(x, 0)), shape })

/** Reads entries of a checkpoint, and counts them. */
export class Checkpoint {
  #file
  #root
  #onEntry
  parameters = 0

  /**
   * @param {import('../weights/open.js').SafetensorsFile} file
   * @param {readonly string[]} roots  possible prefixes of the base model
   * @param {string} words  an entry below the root
   * @param {(elements: number) => void} onEntry
   */
  constructor(file, roots, words, onEntry) {
    this.#file = file
    const root = roots.find((prefix) => file.names.includes(prefix + words))
    if (root === undefined) {
      throw fault('FORMAT', 'model.safetensors', `an entry ${roots.at(-1)}${words}`, 'none of that name')
    }
    this.#root = root
    this.#onEntry = onEntry
  }

  /** @param {string} name  with `^` at the front if it is below the root */
  #full(name) {
    return name.startsWith('^') ? this.#root + name.slice(1) : name
  }

  /** @param {string} name */
  has(name) {
    return this.#file.names.includes(this.#full(name))
  }

  /**
   * @param {string} name
   * @returns {Promise<Matrix>}
   */
  async tensor(name) {
    const full = this.#full(name)
    const tensor = await this.#file.tensor(full)
    if (!(tensor.data instanceof Float32Array))
      throw fault('FORMAT', full, 'an entry of floats', tensor.data.constructor.name)
    this.#count(tensor)
    return tensor
  }

  /** @param {string} name */
  async optional(name) {
    return this.has(name) ? this.tensor(name) : undefined
  }

  /** The entries below a prefix. @param {string} prefix */
  async state(prefix) {
    const state = await this.#file.stateDict({ prefix: this.#full(prefix) })
    for (const tensor of Object.values(state)) this.#count(tensor)
    return state
  }

  /** @param {{ shape: readonly number[] }} tensor */
  #count({ shape }) {
    const elements = shape.reduce((product, size) => product * size, 1)
    this.parameters += elements
    this.#onEntry(elements)
  }
}

/** The sum of word, position and type embeddings, normalized and projected. */
class Embeddings {
  /** @type {Matrix | undefined} */ positions
  /** @type {Matrix | undefined} */ types
  /** @type {Norm | undefined} */ norm
  /** @type {{ weight: Matrix, bias: Matrix } | undefined} */ projection
  firstPosition = 0

  /**
   * @param {Attention} attention
   * @param {Matrix} words
   */
  constructor(attention, words) {
    this.attention = attention
    this.words = words
  }

  /** @param {Packed} packed @returns {Matrix} */
  run({ ids, types, starts }) {
    const { words, positions } = this
    const size = words.shape[1]
    const data = new Float32Array(ids.length * size)
    const add = (
      /** @type {Matrix} */ table,
      /** @type {number} */ row,
      /** @type {number} */ at,
      /** @type {string} */ what
    ) => {
      if (!(row >= 0 && row < table.shape[0])) {
        throw fault('DOMAIN', what, `an integer from 0 to ${table.shape[0] - 1}`, `${row}`)
      }
      for (let i = 0; i < size; i++) data[at * size + i] += table.data[row * size + i]
    }
    for (let text = 0; text + 1 < starts.length; text++) {
      for (let at = starts[text]; at < starts[text + 1]; at++) {
        add(words, ids[at], at, 'ids')
        if (positions) add(positions, this.firstPosition + at - starts[text], at, 'positions')
        if (this.types) add(this.types, types[at], at, 'types')
      }
    }
    let x = /** @type {Matrix} */ ({ data, shape: [ids.length, size] })
    if (this.norm) x = /** @type {Matrix} */ (this.attention.layerNorm(x, this.norm))
    if (this.projection)
      x = /** @type {Matrix} */ (this.attention.linear(x, this.projection.weight, this.projection.bias))
    return x
  }
}

export class Network {
  /** @type {any[]} */
  layers = []
  /** @type {import('./encoders.js').HeadStep[]} */
  #steps = []
  /** @type {Map<string, { weight: Matrix, bias?: Matrix }>} */
  #parts = new Map()

  /**
   * @param {Attention} attention
   * @param {Row} row
   * @param {Record<string, any>} config
   */
  constructor(attention, row, config) {
    this.attention = attention
    this.row = row
    this.sizes = sizesOf(row, config)
    this.config = config
    /** @type {Embeddings | undefined} */
    this.embeddings = undefined
  }

  /**
   * Reads every part of the checkpoint; what was made is disposed of if that fails.
   *
   * @param {Checkpoint} checkpoint
   */
  async load(checkpoint) {
    try {
      this.embeddings = await this.#loadEmbeddings(checkpoint)
      const count = this.row.isShared ? 1 : this.sizes.numLayers
      for (let index = 0; index < count; index++) this.layers.push(await this.#loadLayer(checkpoint, index))
      while (this.layers.length < this.sizes.numLayers) this.layers.push(this.layers[0])
      await this.#loadHead(checkpoint)
    } catch (error) {
      this.dispose()
      throw error
    }
  }

  /** @param {Checkpoint} checkpoint */
  async #loadEmbeddings(checkpoint) {
    const { row, sizes } = this
    const embeddings = new Embeddings(this.attention, await checkpoint.tensor(`^${row.words}`))
    if (row.positions) embeddings.positions = await checkpoint.tensor(`^${row.positions}`)
    if (row.types) embeddings.types = await checkpoint.optional(`^${row.types}`)
    if (row.norm) embeddings.norm = await this.#loadNorm(checkpoint, `^${row.norm}`)
    if (row.projection && embeddings.words.shape[1] !== sizes.modelDim) {
      const [weight, bias] = [`^${row.projection}.weight`, `^${row.projection}.bias`]
      embeddings.projection = { weight: await checkpoint.tensor(weight), bias: await checkpoint.tensor(bias) }
    }
    embeddings.firstPosition = row.firstPosition?.(this.config) ?? 0
    return embeddings
  }

  /**
   * @param {Checkpoint} checkpoint
   * @param {string} name
   * @returns {Promise<Norm>}
   */
  async #loadNorm(checkpoint, name) {
    const bias = await checkpoint.optional(`${name}.bias`)
    return { weight: await checkpoint.tensor(`${name}.weight`), ...(bias && { bias }), epsilon: this.sizes.epsilon }
  }

  /**
   * @param {Checkpoint} checkpoint
   * @param {number} index
   */
  async #loadLayer(checkpoint, index) {
    const { modelDim, numHeads, feedForwardDim, activation, epsilon } = this.sizes
    const more = this.row.configure?.(this.sizes, this.config, index) ?? {}
    const config = /** @type {any} */ ({ modelDim, numHeads, feedForwardDim, activation, epsilon, ...more })
    const layer = new this.attention.TransformerEncoderLayer(config)
    try {
      return layer.loadStateDict(await checkpoint.state(`^${this.row.layer(index)}`))
    } catch (error) {
      layer.dispose()
      throw error
    }
  }

  /** @param {Checkpoint} checkpoint */
  async #loadHead(checkpoint) {
    const steps = this.headSteps()
    for (const step of steps) {
      const name = 'linear' in step ? step.linear : 'norm' in step ? step.norm : undefined
      if (name === undefined) continue
      const isTied = 'isTied' in step && step.isTied && !checkpoint.has(`${name}.weight`)
      const weight = isTied
        ? /** @type {Embeddings} */ (this.embeddings).words
        : await checkpoint.tensor(`${name}.weight`)
      const bias =
        (await checkpoint.optional(`${name}.bias`)) ??
        (isTied ? await checkpoint.optional(name.replace(/[^.]*$/, 'bias')) : undefined)
      this.#parts.set(name, { weight, ...(bias && { bias }) })
    }
    this.#steps = steps
  }

  /** The end of the architecture's name, such as `ForTokenClassification`; undefined for the model without a head. */
  get task() {
    const [name = ''] = this.config.architectures ?? []
    return Object.keys(this.row.heads).find((task) => String(name).endsWith(task))
  }

  /** @returns {import('./encoders.js').HeadStep[]} */
  headSteps() {
    return this.task === undefined ? [] : [...this.row.heads[this.task]]
  }

  /**
   * The logits of some rows of the last hidden states.
   *
   * @param {Matrix} x
   */
  head(x) {
    for (const step of this.#steps) {
      if ('activate' in step) x = this.#activate(step.activate === 'hidden' ? this.sizes.activation : step.activate, x)
      else if ('norm' in step) {
        const norm = { .../** @type {Norm} */ (this.#parts.get(step.norm)), epsilon: this.sizes.epsilon }
        x = /** @type {Matrix} */ (this.attention.layerNorm(x, norm))
      } else {
        const { weight, bias } = /** @type {Norm} */ (this.#parts.get(step.linear))
        x = /** @type {Matrix} */ (this.attention.linear(x, weight, bias))
      }
    }
    return x
  }

  /**
   * @param {string} name
   * @param {Matrix} x
   */
  #activate(name, x) {
    if (name === 'tanh') return tanh(x)
    if (name === 'relu') return relu(x)
    if (name === 'silu') return /** @type {Matrix} */ (this.attention.silu(x))
    return /** @type {Matrix} */ (this.attention.gelu(x, { approximate: name === 'gelu-tanh' ? 'tanh' : 'none' }))
  }

  dispose() {
    for (const layer of this.layers) layer.dispose()
  }
}
