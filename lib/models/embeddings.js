// From tokens to the rows that enter the first layer.

import { describe, fault } from '../checks/errors.js'
import { pickOptions, refuseMore } from '../checks/options.js'
import { checkIntegers, formatShape } from '../checks/tensor.js'
import { Layer, recorded } from '../face/layers.js'
import { throwIfAborted } from '../runtime/async/watch.js'

/** @typedef {import('../../index.d.ts').Attention} Attention */
/** @typedef {import('./tables.js').Tables} Tables */
/** @typedef {{ data: Float32Array, shape: number[] }} Matrix */
/** A norm's parameters. @typedef {{ weight: Matrix, bias?: Matrix, epsilon: number }} Norm */
/** A weight with its bias. @typedef {{ weight: import('../../index.d.ts').Weight, bias?: Matrix }} Projection */
/** A weight and its bias by name. @typedef {{ weight: string, bias?: string }} Names */
/**
 * Packed texts: ids and types of all tokens, and where each text starts; the last entry is the number of tokens.
 *
 * @typedef {{ ids: Int32Array, types: Int32Array, starts: Int32Array }} Packed
 */
/**
 * The tokens of a call, each with its type and its position.
 *
 * @typedef {{ ids: Int32Array, types: Int32Array, positions: Int32Array }} Placed
 */

/**
 * @param {Attention} attention
 * @param {Matrix} x
 * @param {Projection} projection
 */
export const project = (attention, x, { weight, bias }) => /** @type {Matrix} */ (attention.linear(x, weight, bias))

/**
 * The first part of a network: it computes on the calling thread, from parameters in JavaScript's memory.
 *
 * @extends {Layer<Matrix>}
 */
export class FirstLayer extends Layer {
  /**
   * @param {Tables} tables
   * @param {(layer: any, ...args: any[]) => Matrix} forward
   * @param {readonly string[]} names  of its options
   */
  constructor(tables, forward, names = []) {
    super(/** @type {any} */ (tables), (layer, watch, input, options, ...more) => {
      refuseMore('forward', more)
      const { signal, onProgress, ...given } = pickOptions(options, [
        ...names,
        ...(watch ? ['signal', 'onProgress'] : [])
      ])
      if (signal !== undefined) watch?.take('signal', signal)
      if (onProgress !== undefined) watch?.take('onProgress', onProgress)
      tables.use()
      const run = () => /** @type {any} */ (forward(layer, input, given))
      const later = async () => {
        throwIfAborted(watch?.signal)
        const output = run()
        watch?.onProgress?.(1)
        return output
      }
      return /** @type {any} */ ({ run, later })
    })
    this.tables = tables
  }

  /** A norm or a projection of the tables. @param {Names} names */
  part({ weight, bias }) {
    const { tables } = this
    return { weight: tables.tensor(weight), ...(bias !== undefined && { bias: tables.tensor(bias) }) }
  }
}

/**
 * The names of a `TokenEmbeddings`' parameters, and its settings.
 *
 * @typedef {object} Settings
 * @property {string} words
 * @property {string} [positions]
 * @property {string} [types]
 * @property {Names} [norm]
 * @property {Names} [projection]
 * @property {number} firstPosition  the row of a text's first token
 * @property {number} scale  of the words
 * @property {number} epsilon
 */

/** The sum of word, position and type embeddings, scaled, normalized and projected. */
export class TokenEmbeddings extends FirstLayer {
  #attention
  #settings

  /**
   * @param {Attention} attention
   * @param {Tables} tables
   * @param {Settings} settings
   */
  constructor(attention, tables, settings) {
    super(tables, (/** @type {TokenEmbeddings} */ layer, ids, options) => layer.#forward(ids, options), [
      'types',
      'positions',
      'cuSeqlens'
    ])
    this.#attention = attention
    this.#settings = settings
  }

  /** The table of words. */
  get words() {
    return this.tables.get(this.#settings.words)
  }

  get config() {
    const { words, positions, types, projection } = this.#settings
    const rows = (/** @type {string | undefined} */ name) => (name === undefined ? 0 : this.tables.get(name).shape[0])
    const { shape, ...weight } = this.tables.get(words)
    return Object.freeze({
      numEmbeddings: shape[0],
      embeddingDim: shape[1],
      modelDim: projection ? rows(projection.weight) : shape[1],
      numPositions: Math.max(rows(positions) - this.#settings.firstPosition, 0),
      numTypes: rows(types),
      weightType: 'type' in weight ? weight.type : 'f32'
    })
  }

  /**
   * @param {Packed} packed
   * @param {number} [past]  tokens before those of each text
   * @returns {Matrix}
   */
  run({ ids, types, starts }, past = 0) {
    return this.#compute({ ids, types, positions: positionsOf(starts, past) })
  }

  /** @param {Placed} placed @returns {Matrix} */
  #compute(placed) {
    const { positions, types, norm, projection, scale, epsilon } = this.#settings
    const { ids } = placed
    this.#check(placed)
    const table = this.words
    const { data } = /** @type {Matrix} */ (this.#attention.embedding(table, ids))
    if (scale !== 1) for (let i = 0; i < data.length; i++) data[i] *= scale
    if (positions) addRows(data, this.tables.tensor(positions), this.#rowsOf(placed))
    if (types) addRows(data, this.tables.tensor(types), placed.types)
    let x = /** @type {Matrix} */ ({ data, shape: [ids.length, table.shape[1]] })
    if (norm) x = /** @type {Matrix} */ (this.#attention.layerNorm(x, { ...this.part(norm), epsilon }))
    return projection ? project(this.#attention, x, this.part(projection)) : x
  }

  /** The rows of the table of positions. @param {Placed} placed */
  #rowsOf({ positions }) {
    const { firstPosition } = this.#settings
    return firstPosition === 0 ? positions : positions.map((position) => position + firstPosition)
  }

  /** @param {Placed} placed */
  #check({ ids, types, positions }) {
    const { words, ...names } = this.#settings
    const rows = (/** @type {string} */ name) => this.tables.get(name).shape[0]
    checkRange('ids', ids, rows(words))
    if (names.positions) checkRange('positions', positions, rows(names.positions) - names.firstPosition)
    if (names.types) checkRange('types', types, rows(names.types))
  }

  /** @param {unknown} ids @param {Record<string, unknown>} options @returns {Matrix} */
  #forward(ids, options) {
    const { placed, shape } = readTokens(ids, options)
    const { data, shape: rows } = this.#compute(placed)
    return { data, shape: [...shape, rows[1]] }
  }

  /**
   * Records a call of `forward`.
   *
   * @param {import('../training/recorder.js').Recorder} recorder
   * @param {unknown} _inputs  tokens have no gradients
   * @param {{ parameters: import('../training/scope.js').Parameters }} target
   * @param {readonly unknown[]} args
   */
  [recorded](recorder, _inputs, { parameters }, [ids, options, ...more]) {
    refuseMore('forward', more)
    const { placed, shape } = readTokens(ids, pickOptions(options, ['types', 'positions', 'cuSeqlens']))
    this.#check(placed)
    const { words, positions, types, norm, projection, scale, epsilon } = this.#settings
    const value = (/** @type {string | undefined} */ name) =>
      /** @type {import('../training/tape.js').Value} */ (name === undefined ? undefined : parameters.value(name))
    const rowsOf = (/** @type {any} */ table, /** @type {Int32Array} */ data) =>
      recorder.embedding(table, { data, shape })
    let x = rowsOf(parameters.matrix(words), placed.ids)
    if (scale !== 1) x = recorder.multiply(x, recorder.constant({ data: Float32Array.of(scale), shape: [1] }))
    if (positions) x = recorder.add(x, rowsOf(value(positions), this.#rowsOf(placed)))
    if (types) x = recorder.add(x, rowsOf(value(types), placed.types))
    if (norm) x = recorder.norm('layer', x, { weight: value(norm.weight), bias: value(norm.bias) }, epsilon)
    return projection ? recorder.linear(x, value(projection.weight), value(projection.bias)) : x
  }
}

/**
 * The position of each token of packed texts.
 *
 * @param {Int32Array} starts
 * @param {number} past  tokens before those of each text
 */
function positionsOf(starts, past) {
  const positions = new Int32Array(starts[starts.length - 1])
  for (let text = 0; text + 1 < starts.length; text++) {
    for (let at = starts[text]; at < starts[text + 1]; at++) positions[at] = past + at - starts[text]
  }
  return positions
}

/**
 * Adds a row of a table to each row.
 *
 * @param {Float32Array} data
 * @param {Matrix} table
 * @param {Int32Array} rows
 */
function addRows(data, { data: table, shape: [, size] }, rows) {
  for (let row = 0, at = 0; row < rows.length; row++) {
    for (let from = rows[row] * size, end = from + size; from < end; from++, at++) data[at] += table[from]
  }
}

/** @param {string} argument @param {Int32Array} rows @param {number} count */
function checkRange(argument, rows, count) {
  const wrong = rows.find((row) => !(row >= 0 && row < count))
  if (wrong !== undefined) throw fault('DOMAIN', argument, `integers from 0 to ${count - 1}`, `${wrong}`)
}

/**
 * The tokens of a call of `forward`: those of one text, of texts of one length, or of packed texts.
 *
 * @param {unknown} given
 * @param {Record<string, unknown>} options
 */
function readTokens(given, { types, positions, cuSeqlens }) {
  const { data: ids, shape } = checkIntegers('ids', given)
  if (shape.length !== 1 && shape.length !== 2) {
    throw fault('SHAPE', 'ids', 'a list, or a tensor [B, L]', formatShape(shape))
  }
  const [count, length] = shape.length === 1 ? [1, ids.length] : shape
  const own = (/** @type {string} */ name, /** @type {unknown} */ value) => {
    const { data } = checkIntegers(name, value)
    if (data.length === ids.length) return data
    throw fault('SHAPE', name, `${ids.length} integers, one for each token`, `${data.length}`)
  }
  const starts =
    cuSeqlens === undefined
      ? Int32Array.from({ length: count + 1 }, (_, text) => text * length)
      : readStarts(cuSeqlens, count, ids.length)
  return {
    placed: {
      ids,
      types: types === undefined ? new Int32Array(ids.length) : own('types', types),
      positions: positions === undefined ? positionsOf(starts, 0) : own('positions', positions)
    },
    shape: [count, length]
  }
}

/**
 * @param {unknown} cuSeqlens
 * @param {number} count  of the batch
 * @param {number} length  in tokens
 */
function readStarts(cuSeqlens, count, length) {
  if (count !== 1) throw fault('OPTION', 'cuSeqlens', 'one batch entry', `${count}`)
  const { data } = checkIntegers('cuSeqlens', cuSeqlens)
  const isRising = data.every((start, text) => start >= (data[text - 1] ?? 0))
  if (isRising && data[0] === 0 && data[data.length - 1] === length) return data
  throw fault('OPTION', 'cuSeqlens', `integers from 0 to ${length} that never fall`, describe(cuSeqlens))
}
