// A model from a folder: hidden states, embeddings, scores and labels of texts.

import { AttentionError, describe, fault, isArray, isObject } from '../checks/errors.js'
import { pickOptions } from '../checks/options.js'
import { isLength } from '../checks/tensor.js'
import { giveAway } from '../runtime/async/request.js'
import { throwIfAborted, watchOf } from '../runtime/async/watch.js'
import { disposeSymbol } from '../face/layers.js'
import { batchesOf, pack } from './batches.js'
import { Generator, TextStream, answer, promptText, readGeneration } from './generate.js'
import { normalizeRows } from './pooling.js'

/** @typedef {{ data: Float32Array, shape: number[] }} Matrix */
/** @typedef {import('./tokens.js').Tokens} Tokens */
/** @typedef {import('./network.js').Network} Network */
/**
 * The parts of a model.
 *
 * @typedef {object} Parts
 * @property {string} family
 * @property {Readonly<Record<string, any>>} config
 * @property {{ texts?: Network, images?: Network, answers?: Network }} networks
 * @property {import('./tokens.js').Encoder} [tokens]
 * @property {import('./pooling.js').Pooling} pooling
 * @property {import('./group.js').Group} workers  as many batches are computed at the same time
 * @property {number} numParameters
 * @property {import('../../index.d.ts').WeightType} type  of the matrices
 * @property {{ ends: ReadonlySet<number>, template?: string | undefined, config: Record<string, any> }} chat  the
 *   tokens
 *   that end a text, the template of messages, and tokenizer_config.json
 */

/** Tokens of a batch unless the caller says otherwise: enough for products on several threads, few for the cache. */
const BATCH_TOKENS = 2048

/** Only loadModel makes models. */
const KEY = Symbol('model')

export class Model {
  #parts
  #isDisposed = false
  /** @type {Generator | undefined} */
  #generator

  /**
   * @param {symbol} key
   * @param {Parts} parts
   */
  constructor(key, parts) {
    if (key !== KEY) throw new TypeError('Model has no public constructor; use loadModel')
    this.#parts = parts
  }

  get family() {
    return this.#parts.family
  }

  get config() {
    return this.#parts.config
  }

  get numParameters() {
    return this.#parts.numParameters
  }

  get bytes() {
    return Object.values(this.#parts.networks).reduce((sum, network) => sum + network.bytes, 0)
  }

  get type() {
    return this.#parts.type
  }

  /** @returns {('embed' | 'rerank' | 'classify' | 'generate')[]} */
  get tasks() {
    const { texts, answers } = this.#parts.networks
    if (texts === undefined) return []
    const { task, isGenerator } = texts
    if (isGenerator || answers) return (answers ?? texts).task === undefined ? ['embed'] : ['embed', 'generate']
    if (task !== 'ForSequenceClassification') return ['embed']
    return labelCount(this.config) === 1 ? ['embed', 'rerank'] : ['embed', 'classify']
  }

  get embeddings() {
    const { texts, images } = this.#open().networks
    return /** @type {NonNullable<Network['words'] | Network['patches']>} */ (texts?.words ?? images?.patches)
  }

  get layers() {
    const { texts, images, answers } = this.#open().networks
    return [texts, images, answers].flatMap((network) => network?.layers ?? [])
  }

  #open() {
    if (!this.#isDisposed) return this.#parts
    throw new AttentionError('DISPOSED', {
      argument: 'this',
      expected: 'a model in use',
      actual: 'a disposed one',
      message: 'this model has been disposed of; load it again, or dispose of it later'
    })
  }

  /**
   * The network of one kind of inputs.
   *
   * @param {'texts' | 'images'} kind
   */
  #network(kind) {
    const network = this.#open().networks[kind]
    if (network) return network
    throw fault('OPTION', 'model', `a model of ${kind}`, `one of other inputs (${this.family})`)
  }

  #tokens() {
    const { tokens } = this.#open()
    if (tokens) return tokens
    throw fault(
      'OPTION',
      'tokenizer',
      'a tokenizer.json in the folder, or the option `tokenizer` of loadModel',
      'neither'
    )
  }

  /** @param {unknown} text */
  tokenize(text) {
    const { ids, types } = this.#tokens().encode(text)
    return { ids: Int32Array.from(ids), types: Int32Array.from(types) }
  }

  /**
   * @param {unknown} inputs
   * @param {unknown} [options]
   */
  async encode(inputs, options) {
    const { logits, attentions, hiddenStates, signal } = pickOptions(options, [
      'logits',
      'attentions',
      'hiddenStates',
      'signal'
    ])
    const watch = watchOf({ signal })
    const isImages = isObject(inputs) && !isArray(inputs) && 'pixels' in inputs
    const network = this.#network(isImages ? 'images' : 'texts')
    if (logits === true && network.task === undefined) {
      throw fault('OPTION', 'logits', 'a folder with a head', describe(this.config.architectures?.[0]))
    }
    // Weights are computed text by text.
    const room = attentions ? 1 : BATCH_TOKENS
    const { ids, starts, batches } = isImages
      ? imageInputs(network, /** @type {{ pixels: unknown }} */ (inputs).pixels, room)
      : textInputs(network, readInputs(inputs), room)
    const size = network.size
    const count = starts[starts.length - 1]
    const empty = () => ({ data: new Float32Array(count * size), shape: [count, size] })
    const hidden = empty()
    const states = hiddenStates ? Array.from({ length: network.layers.length + 1 }, empty) : undefined
    const maps = attentions ? Array.from({ length: starts.length - 1 }, () => /** @type {Matrix[]} */ ([])) : undefined
    await eachBatch(batches, this.#parts.workers.limit, watch, async ({ items, embed }) => {
      const onState = (/** @type {number} */ index, /** @type {Matrix} */ x) =>
        states && scatter(x, items, starts, states[index])
      const output = await run(network, embed(), watch, { onState, weights: maps && maps[items[0]] })
      scatter(output, items, starts, hidden)
    })
    return {
      hidden,
      cuSeqlens: starts,
      ...(logits === true && { logits: network.head(hidden, starts, ids) }),
      ...(maps && { attentions: maps }),
      ...(states && { hiddenStates: states })
    }
  }

  /**
   * @param {unknown} texts
   * @param {unknown} [options]
   */
  async embed(texts, options) {
    const given = pickOptions(options, ['prompt', 'normalize', 'dimensions', 'batchTokens', 'signal', 'onProgress'])
    const watch = watchOf(given)
    const { pooling, workers } = this.#open()
    const network = this.#network('texts')
    const prompt = promptOf(given.prompt, pooling)
    const encoder = this.#tokens()
    const list = readTexts(texts)
    const all = list.map((text) =>
      filled(network, encoder.encode(prompt + (pooling.lowercase ? text.toLowerCase() : text)))
    )
    const skip = prompt !== '' && !pooling.includesPrompt ? encoder.promptLength(prompt) : 0
    const finish = finishOf(pooling, given)
    const pool = poolOf(network, pooling)
    const empty = finish(pool({ data: new Float32Array(0), shape: [0, network.size] }, pack([]), 0))
    const size = empty.shape[1]
    const vectors = new Float32Array(all.length * size)
    let done = 0
    const batches = batchesOf(all, batchTokensOf(given.batchTokens), network.isPacked)
    await eachBatch(batches, workers.limit, watch, async ({ texts: some, tokens }) => {
      const packed = pack(tokens)
      const hidden = await run(network, embedTexts(network, packed), watch, {})
      const { data } = finish(pool(hidden, packed, skip))
      some.forEach((text, row) => vectors.set(data.subarray(row * size, (row + 1) * size), text * size))
      done += some.length
      watch.onProgress?.(done / all.length)
    })
    return { data: vectors, shape: [all.length, size] }
  }

  /**
   * @param {unknown} query
   * @param {unknown} documents
   * @param {unknown} [options]
   */
  async rerank(query, documents, options) {
    const { topK, signal } = pickOptions(options, ['topK', 'signal'])
    this.#checkTask('rerank')
    if (typeof query !== 'string') throw fault('DTYPE', 'query', 'a string', describe(query))
    const list = readTexts(documents, 'documents')
    const logits = await this.#classes(
      list.map((text) => [query, text]),
      signal
    )
    const { data } = hasSigmoid(this.config) ? this.#network('texts').attention.sigmoid(logits) : logits
    const scores = Array.from(data, (score, index) => ({ index, score }))
    return scores.sort((a, b) => b.score - a.score || a.index - b.index).slice(0, countOf(topK, list.length))
  }

  /**
   * @param {unknown} texts
   * @param {unknown} [options]
   */
  async classify(texts, options) {
    const { topK, signal } = pickOptions(options, ['topK', 'signal'])
    this.#checkTask('classify')
    const logits = await this.#classes(readTexts(texts), signal)
    const { softmax, sigmoid } = this.#network('texts').attention
    const isMulti = this.config.problem_type === 'multi_label_classification'
    const { data, shape } = isMulti ? sigmoid(logits) : softmax(logits)
    const [count, labels] = shape
    const names = this.config.id2label ?? {}
    return Array.from({ length: count }, (_, text) => {
      const scores = Array.from(data.subarray(text * labels, (text + 1) * labels))
      const named = scores.map((score, index) => ({ label: String(names[index] ?? `LABEL_${index}`), score }))
      return named.sort((a, b) => b.score - a.score).slice(0, countOf(topK, labels))
    })
  }

  /**
   * @param {unknown} prompt
   * @param {unknown} [options]
   */
  async *generate(prompt, options) {
    const names = /** @type {const} */ ([
      'maxTokens',
      'temperature',
      'topK',
      'topP',
      'repetitionPenalty',
      'seed',
      'stop',
      'signal'
    ])
    const { signal, ...given } = pickOptions(options, names)
    const watch = watchOf({ signal })
    const { maxTokens, stops, sampling } = readGeneration(given)
    this.#checkTask('generate')
    const { chat } = this.#parts
    const network = this.#network('texts')
    const encoder = this.#tokens()
    const { text, isBare } = await promptText(prompt, chat)
    const ids = encoder.encodeWhole(text, isBare)
    const room = network.maxLength - ids.length
    if (ids.length === 0) throw fault('OPTION', 'prompt', 'at least one token', 'none')
    if (room < 1) throw fault('OPTION', 'prompt', `fewer than ${network.maxLength} tokens`, `${ids.length}`)
    const count = Math.min(maxTokens, room)
    const stream = new TextStream((all) => encoder.decode(all), stops)
    let made = 0
    for await (const token of this.#tokensAfter(ids, count, sampling, watch)) {
      throwIfAborted(watch.signal)
      this.#open()
      made++
      const isEnd = chat.ends.has(token)
      const part = isEnd ? '' : stream.push(token)
      const isLast = isEnd || stream.isStopped || made === count
      const rest = isLast ? stream.end() : ''
      if (!isEnd || rest !== '') yield { token, text: part + rest }
      if (isLast) return
    }
  }

  /**
   * The tokens after a prompt, or the answer of an encoder-decoder, until the caller stops.
   *
   * @param {readonly number[]} ids
   * @param {number} count  the most tokens
   * @param {import('./sampling.js').Sampling} sampling
   * @param {import('../runtime/async/watch.js').Watch} watch
   */
  async *#tokensAfter(ids, count, sampling, watch) {
    const network = this.#network('texts')
    const { answers } = this.#parts.networks
    if (answers === undefined) {
      this.#generator ??= new Generator(network)
      return yield* this.#generator.run(ids, ids.length + count, sampling)
    }
    const packed = pack([{ ids: [...ids], types: ids.map(() => 0) }])
    const { data, shape } = await run(network, embedTexts(network, packed), watch, {})
    const { decoder_start_token_id: start, pad_token_id: padding = 0 } = this.config
    yield* answer(answers, { data, shape: [1, ...shape] }, Number(start ?? padding), count, sampling)
  }

  /** @param {'rerank' | 'classify' | 'generate'} task */
  #checkTask(task) {
    this.#open()
    if (this.tasks.includes(task)) return
    const expected = `a model for ${task}`
    throw fault('OPTION', 'model', expected, `one for ${this.tasks.join(', ')} (${this.config.architectures?.[0]})`)
  }

  /**
   * The logits of texts or pairs, `[n, labels]`.
   *
   * @param {readonly unknown[]} texts
   * @param {unknown} signal
   */
  async #classes(texts, signal) {
    const watch = watchOf({ signal })
    const network = this.#network('texts')
    const encoder = this.#tokens()
    const all = texts.map((text) => encoder.encode(text))
    const labels = labelCount(this.config)
    const data = new Float32Array(all.length * labels)
    const batches = batchesOf(all, BATCH_TOKENS, network.isPacked)
    await eachBatch(batches, this.#parts.workers.limit, watch, async ({ texts: some, tokens }) => {
      const packed = pack(tokens)
      const hidden = await run(network, embedTexts(network, packed), watch, {})
      const logits = network.head(hidden, packed.starts, packed.ids)
      some.forEach((text, row) => data.set(logits.data.subarray(row * labels, (row + 1) * labels), text * labels))
    })
    return { data, shape: [all.length, labels] }
  }

  dispose() {
    this.#isDisposed = true
    this.#generator?.dispose()
    for (const network of Object.values(this.#parts.networks)) network.dispose()
    this.#parts.workers.end()
  }

  [disposeSymbol]() {
    this.dispose()
  }
}

/** @param {Parts} parts */
export const createModel = (parts) => new Model(KEY, parts)

/**
 * Computes batches, a number of them at the same time; after an error no other begins.
 *
 * @template Batch
 * @param {readonly Batch[]} batches
 * @param {number} lanes
 * @param {import('../runtime/async/watch.js').Watch} watch
 * @param {(batch: Batch) => Promise<void>} compute
 */
async function eachBatch(batches, lanes, watch, compute) {
  const waiting = [...batches].reverse()
  const lane = async () => {
    for (let batch = waiting.pop(); batch !== undefined; batch = waiting.pop()) {
      try {
        throwIfAborted(watch.signal)
        await compute(batch)
      } catch (error) {
        waiting.length = 0
        throw error
      }
    }
  }
  const ends = await Promise.allSettled(Array.from({ length: Math.min(lanes, batches.length) }, lane))
  const failed = ends.find(({ status }) => status === 'rejected')
  if (failed) throw /** @type {PromiseRejectedResult} */ (failed).reason
}

/**
 * Rows that enter the first layer, and the first row of each text or image.
 *
 * @typedef {{ rows: Matrix, starts: Int32Array }} Embedded
 */
/**
 * Some inputs by their places in the caller's list, and their rows.
 *
 * @typedef {{ items: number[], embed: () => Embedded }} InputBatch
 */

/**
 * @param {Network} network
 * @param {import('./embeddings.js').Packed} packed
 * @returns {Embedded}
 */
const embedTexts = (network, packed) => ({
  rows: /** @type {NonNullable<Network['words']>} */ (network.words).run(packed),
  starts: packed.starts
})

/**
 * @param {Network} network
 * @param {readonly Tokens[]} tokens
 * @param {number} room  tokens of a batch
 */
function textInputs(network, tokens, room) {
  const { ids, starts } = pack(tokens)
  const batches = batchesOf(tokens, room, network.isPacked).map(({ texts: items, tokens: some }) => ({
    items,
    embed: () => embedTexts(network, pack(some))
  }))
  return { ids, starts, batches }
}

/**
 * @param {Network} network
 * @param {any} pixels  `[B,C,H,W]`
 * @param {number} room  rows of a batch
 */
function imageInputs(network, pixels, room) {
  const patches = /** @type {NonNullable<Network['patches']>} */ (network.patches)
  const count = patches.check(pixels)
  const [images, ...shape] = pixels.shape
  const values = shape.reduce((/** @type {number} */ a, /** @type {number} */ b) => a * b, 1)
  const rowOf = (/** @type {number} */ image) =>
    patches.run({ data: pixels.data.subarray(image * values, (image + 1) * values), shape: [1, ...shape] })
  const size = Math.max(1, Math.floor(room / count))
  const batches = Array.from({ length: Math.ceil(images / size) }, (_, batch) => {
    const items = Array.from({ length: Math.min(size, images - batch * size) }, (_, index) => batch * size + index)
    return { items, embed: () => joined(items.map(rowOf), network.size) }
  })
  return {
    ids: new Int32Array(0),
    starts: Int32Array.from({ length: images + 1 }, (_, image) => image * count),
    batches
  }
}

/**
 * @param {readonly Matrix[]} parts
 * @param {number} size
 * @returns {Embedded}
 */
function joined(parts, size) {
  const starts = new Int32Array(parts.length + 1)
  parts.forEach(({ shape }, index) => (starts[index + 1] = starts[index] + shape[0]))
  const count = starts[parts.length]
  const data = new Float32Array(count * size)
  parts.forEach((part, index) => data.set(part.data, starts[index] * size))
  return { rows: { data, shape: [count, size] }, starts }
}

/**
 * Runs some texts or images through all layers, off the calling thread.
 *
 * @param {Network} network
 * @param {Embedded} embedded  one text, or images of one length, unless the network packs its inputs
 * @param {import('../runtime/async/watch.js').Watch} watch
 * @param {{ onState?: (index: number, x: Matrix) => void, weights?: Matrix[] | undefined }} wanted
 * @returns {Promise<Matrix>}  `[T, modelDim]`
 */
async function run(network, { rows, starts }, watch, { onState, weights }) {
  const [count, size] = rows.shape
  const items = starts.length - 1
  // Weights are those of one text at a time; packed texts have none.
  const isPacked = network.isPacked && weights === undefined
  const shape = isPacked ? [1, count, size] : [items, items === 0 ? 0 : count / items, size]
  let x = { data: rows.data, shape }
  const lengths = Array.from({ length: items }, (_, item) => starts[item + 1] - starts[item])
  const relativeBias = network.biasOf(Math.max(...lengths, 1))
  onState?.(0, rows)
  const last = network.layers.length - 1
  for (const [index, layer] of network.layers.entries()) {
    const options = {
      ...(watch.signal && { signal: watch.signal }),
      ...(weights && { weights: true }),
      ...(isPacked && { cuSeqlens: starts }),
      ...(relativeBias && { relativeBias })
    }
    giveAway(x.data)
    const { output, weights: map } = await layer.forwardAsync(x, options)
    x = index === last ? { data: network.finish({ data: output.data, shape: [count, size] }).data, shape } : output
    weights?.push({ data: map.data, shape: map.shape.slice(1) })
    onState?.(index + 1, { data: x.data, shape: [count, size] })
  }
  return { data: x.data, shape: [count, size] }
}

/**
 * The tokens of a text, up to the last position if the model was trained on such texts alone.
 *
 * @param {Network} network
 * @param {Tokens} tokens
 * @returns {Tokens}
 */
function filled({ row, maxLength, config }, tokens) {
  if (row.fill === undefined) return tokens
  const missing = maxLength - tokens.ids.length
  const more = (/** @type {number} */ value) => Array.from({ length: Math.max(missing, 0) }, () => value)
  return { ids: [...tokens.ids, ...more(row.fill(config))], types: [...tokens.types, ...more(0)] }
}

/**
 * From hidden states to one vector per text: by the folder's modules, or by the head of models of texts and images.
 *
 * @param {Network} network
 * @param {import('./pooling.js').Pooling} pooling
 */
function poolOf(network, pooling) {
  return (
    /** @type {Matrix} */ hidden,
    /** @type {import('./embeddings.js').Packed} */ packed,
    /** @type {number} */ skip
  ) => {
    const { ids, starts } = packed
    if (network.row.embedsByHead && network.task !== undefined) return network.head(hidden, starts, ids)
    const spans = Array.from({ length: starts.length - 1 }, (_, text) => {
      const end = starts[text + 1]
      return { start: Math.min(starts[text] + skip, end), end }
    })
    return pooling.pool(hidden, spans)
  }
}

/**
 * Writes the rows of a batch to the places of its texts.
 *
 * @param {Matrix} x
 * @param {readonly number[]} texts
 * @param {Int32Array} starts  of all texts
 * @param {Matrix} output
 */
function scatter(x, texts, starts, output) {
  const size = x.shape[1]
  let at = 0
  for (const text of texts) {
    const values = (starts[text + 1] - starts[text]) * size
    output.data.set(x.data.subarray(at, at + values), starts[text] * size)
    at += values
  }
}

/** @param {Record<string, any>} config */
const labelCount = (config) => (config.id2label ? Object.keys(config.id2label).length : (config.num_labels ?? 2))

/**
 * @param {unknown} texts
 * @param {string} [argument]
 * @returns {string[]}
 */
function readTexts(texts, argument = 'texts') {
  if (typeof texts === 'string') return [texts]
  if (!isArray(texts)) throw fault('DTYPE', argument, 'a string or a list of strings', describe(texts))
  return Array.from(texts, (text, index) => {
    if (typeof text === 'string') return text
    throw fault('DTYPE', `${argument}[${index}]`, 'a string', describe(text))
  })
}

/**
 * The ids and types of texts that the caller tokenized.
 *
 * @param {any} inputs
 * @returns {Tokens[]}
 */
function readInputs(inputs) {
  const isList = isArray(inputs)
  if (!isList && !(isObject(inputs) && 'ids' in inputs)) {
    throw fault('DTYPE', 'inputs', 'a list of ids of each text, or { ids, types? }', describe(inputs))
  }
  const { ids, types } = /** @type {any} */ (isList ? { ids: inputs } : inputs)
  const lists = readLists('ids', ids)
  const typeLists = types === undefined || types === null ? undefined : readLists('types', types)
  return lists.map((list, text) => {
    const own = typeLists?.[text] ?? list.map(() => 0)
    if (own.length !== list.length) throw fault('SHAPE', `types[${text}]`, `${list.length} types`, `${own.length}`)
    return { ids: list, types: own }
  })
}

/**
 * @param {string} argument
 * @param {unknown} lists
 * @returns {number[][]}
 */
function readLists(argument, lists) {
  if (!isArray(lists)) throw fault('DTYPE', argument, 'a list of integers for each text', describe(lists))
  return Array.from(lists, (list, text) => {
    const isListed = isObject(list) && isLength(/** @type {any} */ (list).length)
    const numbers = isListed ? Array.from(/** @type {ArrayLike<number>} */ (list), Number) : undefined
    if (numbers?.every(isLength)) return numbers
    throw fault('DTYPE', `${argument}[${text}]`, 'a list of integers', describe(list))
  })
}

/**
 * @param {unknown} given
 * @param {import('./pooling.js').Pooling} pooling
 */
function promptOf(given, { prompts, defaultPrompt }) {
  if (given === undefined) return defaultPrompt === undefined ? '' : (prompts[defaultPrompt] ?? '')
  if (typeof given !== 'string') throw fault('OPTION', 'prompt', 'a string', describe(given))
  return Object.hasOwn(prompts, given) ? prompts[given] : given
}

/** @param {unknown} given */
function batchTokensOf(given) {
  if (given === undefined) return BATCH_TOKENS
  if (isLength(given) && Number(given) > 0) return Number(given)
  throw fault('OPTION', 'batchTokens', 'a positive integer', describe(given))
}

/**
 * The steps after pooling: those of the folder, then the cut to some dimensions, then normalization if asked.
 *
 * @param {import('./pooling.js').Pooling} pooling
 * @param {{ normalize?: unknown, dimensions?: unknown }} given
 */
function finishOf({ steps }, { normalize, dimensions }) {
  if (normalize !== undefined && typeof normalize !== 'boolean') {
    throw fault('OPTION', 'normalize', 'a boolean', describe(normalize))
  }
  const own = normalize === false ? steps.filter((step) => step !== normalizeRows) : steps
  return (/** @type {Matrix} */ pooled) => {
    const whole = own.reduce((vectors, step) => step(vectors), pooled)
    const short = dimensions === undefined ? whole : cut(whole, dimensions)
    return normalize === true ? normalizeRows(short) : short
  }
}

/**
 * @param {Matrix} vectors
 * @param {unknown} dimensions
 */
function cut({ data, shape: [count, size] }, dimensions) {
  const kept = Number(dimensions)
  if (!isLength(dimensions) || kept < 1 || kept > size) {
    throw fault('OPTION', 'dimensions', `an integer from 1 to ${size}`, describe(dimensions))
  }
  const output = new Float32Array(count * kept)
  for (let row = 0; row < count; row++) output.set(data.subarray(row * size, row * size + kept), row * kept)
  return { data: output, shape: [count, kept] }
}

/**
 * @param {unknown} topK
 * @param {number} count
 */
function countOf(topK, count) {
  if (topK === undefined) return count
  if (isLength(topK) && Number(topK) > 0) return Number(topK)
  throw fault('OPTION', 'topK', 'a positive integer', describe(topK))
}

/**
 * True if a cross-encoder's score is a sigmoid of its logit, as it is unless the folder names another activation.
 *
 * @param {Record<string, any>} config
 */
function hasSigmoid(config) {
  const given = config.sentence_transformers?.activation_fn ?? config.sbert_ce_default_activation_function
  const name = given === undefined || given === null ? 'Sigmoid' : String(given).split('.').at(-1)
  if (name === 'Sigmoid' || name === 'Identity') return name === 'Sigmoid'
  throw fault('FORMAT', 'config.json: activation_fn', 'Sigmoid or Identity', describe(given))
}
