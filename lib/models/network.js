// A network on one backend: embeddings, layers, the last norm and the head, made from a checkpoint one part at a time.

import { fault } from '../checks/errors.js'
import { elements, scalesShape } from '../checks/tensor.js'
import { residentOf } from '../face/layers.js'
import { withoutDrawing } from '../runtime/resident.js'
import { TokenEmbeddings } from './embeddings.js'
import { Head, mapped } from './head.js'
import { PatchEmbeddings } from './patches.js'
import { Tables, owned } from './tables.js'

/** @typedef {import('../../index.d.ts').Attention} Attention */
/** @typedef {import('./checkpoint.js').Checkpoint} Checkpoint */
/** @typedef {import('./checkpoints.js').Row} Row */
/** @typedef {import('./embeddings.js').Matrix} Matrix */
/** @typedef {import('./embeddings.js').Norm} Norm */
/** @typedef {import('./embeddings.js').Projection} Projection */

/**
 * The backend and the type of matrices.
 *
 * @typedef {{ attention: Attention, type: import('../../index.d.ts').WeightType }} Target
 */

/** @param {import('../../index.d.ts').Weight} weight */
const bytesOf = (weight) => weight.data.byteLength + ('scales' in weight ? weight.scales.byteLength : 0)

/** The bytes of a parameter of a layer. @param {import('../weights/state.js').EntryDescription} entry */
function bytesOfEntry({ shape, type }) {
  if (type === 'q8_0') return elements(shape) + 2 * elements(scalesShape(shape))
  return elements(shape) * (type ? 2 : 4)
}

/** Reads parts of several entries from a checkpoint. */
export class Parts {
  /** Bytes of matrices in the type of the model, less those of the same matrices as 32-bit floats. */
  saved = 0

  /**
   * @param {Checkpoint} checkpoint
   * @param {number} epsilon  of all norms
   * @param {Target} target
   */
  constructor(checkpoint, epsilon, { attention, type }) {
    this.checkpoint = checkpoint
    this.epsilon = epsilon
    this.attention = attention
    this.type = type
  }

  /**
   * Reads a matrix of a product, or of words, in the type of the model.
   *
   * @param {string} name
   * @returns {Promise<import('../../index.d.ts').Weight>}
   */
  matrix = async (name) => {
    const given = await this.checkpoint.weight(name)
    const { type = 'f32' } = /** @type {{ type?: string }} */ (given)
    const weight = type === this.type ? given : this.attention.convert(given, this.type)
    this.saved += bytesOf(weight) - 4 * given.data.length
    return owned(weight)
  }

  /**
   * @param {string} name
   * @param {number} [offset]  added to the weight
   * @returns {Promise<Norm>}
   */
  norm = async (name, offset = 0) => {
    const { weight, bias } = await this.projection(name)
    return { weight: mapped(weight, (x) => x + offset), ...(bias && { bias }), epsilon: this.epsilon }
  }

  /**
   * @param {string} name
   * @returns {Promise<{ weight: Matrix, bias?: Matrix }>}
   */
  projection = async (name) => {
    const bias = await this.checkpoint.optional(`${name}.bias`)
    return { weight: await this.checkpoint.tensor(`${name}.weight`), ...(bias && { bias }) }
  }

  /**
   * Adds an entry below the root to tables, and returns its name.
   *
   * @param {Tables} tables
   * @param {string} name
   */
  table = async (tables, name) => tables.add(name, await this.checkpoint.tensor(`^${name}`))

  /**
   * Adds a weight and its bias, if there is one.
   *
   * @param {Tables} tables
   * @param {string} name
   */
  pair = async (tables, name) => {
    const { weight, bias } = await this.projection(`^${name}`)
    return {
      weight: tables.add(`${name}.weight`, weight),
      ...(bias && { bias: tables.add(`${name}.bias`, bias) })
    }
  }
}

/** Scalings of rotary positions that depend on the length of the sequence. */
const LENGTH_SCALINGS = ['dynamic', 'longrope']

export class Network {
  /** @type {any[]} */
  layers = []
  /** The memory of all parameters. */
  bytes = 0
  /** @type {TokenEmbeddings | undefined} */
  words = undefined
  /** @type {PatchEmbeddings | undefined} */
  patches = undefined
  /**
   * The end of the architecture's name, such as `ForTokenClassification`; undefined without a head.
   *
   * @type {string | undefined}
   */
  task = undefined
  /** The table of biases that all layers share. @type {Matrix | undefined} */
  #relativeBias
  /** @type {Norm | undefined} */
  #finalNorm
  /** @type {Head | undefined} */
  #head

  /**
   * @param {Target} target
   * @param {Row} row
   * @param {import('./config.js').Stack} stack
   * @param {Record<string, any>} config
   */
  constructor(target, row, stack, config) {
    this.target = target
    this.attention = target.attention
    this.row = row
    this.stack = stack
    this.config = config
  }

  /** True if texts may share a pass through the layers, as no frequencies follow the length of one. */
  get isPacked() {
    return !this.stack.layers.some(({ config }) =>
      LENGTH_SCALINGS.includes(config.attention?.rotary?.scaling?.rope_type)
    )
  }

  /** True if the layers are those of a decoder. */
  get isGenerator() {
    return this.row.stack === 'decoder'
  }

  /** The state of this network is that of texts, images or answers. */
  get role() {
    return this.row.role ?? (this.row.patches ? 'images' : 'texts')
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
   * @param {Checkpoint} checkpoint
   * @param {Network} [encoder]  the network whose words this one shares
   */
  async load(checkpoint, encoder) {
    const { row, stack } = this
    const parts = new Parts(checkpoint, stack.epsilon, this.target)
    try {
      if (row.role === 'answers') this.words = encoder?.words
      else if (row.patches) this.patches = await this.#loadPatches(parts, row.patches)
      else this.words = await this.#loadWords(parts)
      await this.#loadLayers(checkpoint)
      if (row.relativeBias) this.#relativeBias = await checkpoint.tensor(`^${row.relativeBias}`)
      if (row.finalNorm) this.#finalNorm = await parts.norm(`^${row.finalNorm}`, row.normOffset)
      await this.#loadHead(parts)
      this.bytes += checkpoint.bytes + parts.saved
    } catch (error) {
      this.dispose()
      throw error
    }
  }

  /** @param {Parts} parts */
  async #loadWords(parts) {
    const { row, config, stack } = this
    const tables = new Tables(this.layers)
    const words = tables.add(row.words ?? '', await parts.matrix(`^${row.words}`))
    const isProjected = row.projection && tables.get(words).shape[1] !== this.size
    return new TokenEmbeddings(this.attention, tables, {
      words,
      ...(row.positions && { positions: await parts.table(tables, row.positions) }),
      ...(row.types && parts.checkpoint.has(`^${row.types}`) && { types: await parts.table(tables, row.types) }),
      ...(row.norm && { norm: await parts.pair(tables, row.norm) }),
      ...(isProjected && { projection: await parts.pair(tables, row.projection ?? '') }),
      firstPosition: row.firstPosition?.(config) ?? 0,
      scale: row.scale?.(config) ?? 1,
      epsilon: stack.epsilon
    })
  }

  /**
   * @param {Parts} parts
   * @param {NonNullable<Row['patches']>} row
   */
  async #loadPatches(parts, { weight, positions, classToken, isResized = false }) {
    const { row, stack } = this
    const image = [stack.imageSize].flat()
    const tables = new Tables(this.layers)
    const settings = {
      positions: await parts.table(tables, positions),
      patches: await parts.pair(tables, weight),
      ...(classToken && { classToken: await parts.table(tables, classToken) }),
      ...(row.norm && { norm: await parts.pair(tables, row.norm) }),
      isResized,
      imageSize: /** @type {const} */ ([Number(image[0]), Number(image.at(-1))]),
      epsilon: stack.epsilon
    }
    return new PatchEmbeddings(this.attention, tables, settings).checked(`^${positions}`)
  }

  /** @param {Checkpoint} checkpoint */
  async #loadLayers(checkpoint) {
    /** @type {Map<string, any>} */
    const made = new Map()
    const [entry, name] = this.row.layerBias ?? []
    const shared = entry === undefined ? {} : { [String(name)]: await checkpoint.tensor(`^${entry}`) }
    for (const [index, { layer: kind, config }] of this.stack.layers.entries()) {
      const prefix = this.row.layer(index)
      const known = made.get(prefix)
      const { type } = this.target
      const typed = type === 'f32' ? config : { ...config, weightType: type }
      const layer = known ?? withoutDrawing(() => new /** @type {any} */ (this.attention)[kind](typed))
      made.set(prefix, layer)
      // From here on, the layer is disposed of with the network.
      this.layers.push(layer)
      if (known !== undefined) continue
      layer.loadStateDict({ ...(await checkpoint.state(`^${prefix}`)), ...shared })
      for (const parameter of residentOf(layer).entries()) this.bytes += bytesOfEntry(parameter)
    }
  }

  /** @param {Parts} parts */
  async #loadHead(parts) {
    const { row, config, stack } = this
    const heads = row.heads(config)
    const [architecture = ''] = config.architectures ?? []
    const task = Object.keys(heads).find((ending) => String(architecture).endsWith(ending))
    if (task === undefined) {
      // Names such as BertForQuestionAnswering state a head; BertModel states none.
      if (!/For[A-Z]|LMHead/.test(architecture)) return
      const known = Object.keys(heads).map((ending) => `…${ending}`)
      throw fault('FORMAT', 'config.json: architectures', ['…Model', ...known].join(', '), `'${architecture}'`)
    }
    const steps = heads[task]
    if (steps.length === 0) return
    const own = steps.flatMap((step) =>
      'linear' in step && !step.isTied && !step.linear.startsWith('^') ? [`${step.linear}.weight`] : []
    )
    // Folders of sentence-transformers often name a head that they do not have.
    if (own.length > 0 && !own.some((name) => parts.checkpoint.has(name))) return
    const [layer] = stack.layers
    this.#head = new Head(this.attention, steps, layer?.config.activation, row.endToken?.(config))
    await this.#head.load(parts, this.words, layer?.config.numHeads)
    this.task = task
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
   * The logits of texts or images if the head has one row for each, else of all rows of the last hidden states.
   *
   * @param {Matrix} hidden
   * @param {Int32Array} starts
   * @param {Int32Array} [ids]
   */
  head(hidden, starts, ids) {
    return /** @type {Head} */ (this.#head).run(hidden, starts, ids)
  }

  dispose() {
    for (const layer of this.layers) layer.dispose()
    this.words?.dispose()
    this.patches?.dispose()
    this.#head?.dispose()
  }
}
