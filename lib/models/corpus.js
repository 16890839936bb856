// Vectors of all texts in a file, as a folder of shards. A manifest identifies the input, the model and the options; an
// index has the place of each shard's texts in the input. Every shard can be computed by itself, in any process.

import { AttentionError, describe, fault } from '../checks/errors.js'
import { pickOptions } from '../checks/options.js'
import { isLength } from '../checks/tensor.js'
import { disposeSymbol } from '../face/layers.js'
import { throwIfAborted, watchOf } from '../runtime/async/watch.js'
import { openSafetensors } from '../weights/open.js'
import { saveSafetensors } from '../weights/save.js'
import { bytesOf, disk, fileFault, piecesOf, removeParts, sha256, writeWhole } from './disk.js'
import { checkInput, recordLines, recordsOf, textsIn } from './texts.js'

/** @typedef {import('./model.js').Model} Model */
/** @typedef {import('./texts.js').Text} Text */
/** @typedef {import('../../models.d.ts').CorpusManifest} Manifest */
/** @typedef {Manifest['options']} Options */
/**
 * The texts of a shard: bytes of the input from `start` to `end`, which begin with the line of the number `line`.
 *
 * @typedef {{ start: number, end: number, line: number, texts: number, sha256: string }} Place
 */
/** @typedef {(source: unknown, options?: object) => Promise<Model>} Load */

const MANIFEST = 'manifest.json'
const INDEX = 'shards.jsonl'
const SHARD_TEXTS = 10_000
/** Options of loading a model. */
const LOADING = /** @type {const} */ (['attention', 'signal', 'onProgress', 'workers'])

/** @param {string | Uint8Array} bytes */
const hashOf = (bytes) => sha256().update(bytes).digest('hex')

/**
 * Identifies a model by the names and contents of its files, whatever the order in which the system lists them.
 *
 * @param {string} source  the path of a folder or of a file
 */
async function identify(source) {
  const { fs, path } = disk()
  const hash = sha256()
  try {
    const isFolder = (await fs.stat(source)).isDirectory()
    const entries = isFolder ? await fs.readdir(source, { withFileTypes: true, recursive: true }) : []
    const inside = entries
      .filter((entry) => entry.isFile() && /\.(json|jinja|safetensors|gguf)$/.test(entry.name))
      .map((entry) => path.relative(source, path.join(entry.parentPath, entry.name)).replaceAll('\\', '/'))
    for (const name of isFolder ? inside.sort() : ['']) {
      hash.update(`${name}\n`)
      for await (const piece of piecesOf(path.join(source, name), name)) hash.update(piece)
    }
  } catch (error) {
    throw error instanceof AttentionError ? error : fileFault('model', error)
  }
  return { name: path.basename(path.resolve(source)), sha256: hash.digest('hex') }
}

/**
 * Reads an input once: its hash, and the place of each shard.
 *
 * @param {string} path
 * @param {string} field
 * @param {number} shardTexts
 */
async function divide(path, field, shardTexts) {
  const whole = sha256()
  const records = recordsOf(path, field)
  /** @type {Place[]} */
  const places = []
  let hash = sha256()
  let [start, end, line, texts] = [0, 0, 1, 0]
  const finish = (/** @type {number} */ next) => {
    places.push({ start, end, line, texts, sha256: hash.digest('hex') })
    hash = sha256()
    ;[start, line, texts] = [end, next, 0]
  }
  let number = 0
  for await (const record of recordLines(path, records, (piece) => whole.update(piece))) {
    hash.update(record.bytes)
    end += record.bytes.length
    number = record.number
    if (record.text !== undefined && ++texts === shardTexts) finish(number + 1)
  }
  if (texts > 0) finish(number + 1)
  const columns = records.columns()
  const count = places.reduce((sum, place) => sum + place.texts, 0)
  const input = { field, bytes: end, texts: count, sha256: whole.digest('hex'), ...(columns && { columns }) }
  return { input, places }
}

/** The part of a manifest that vectors depend on. @param {Manifest} manifest */
function essenceOf({ input: { path: _path, ...input }, model: { name: _name, ...model }, options, shards, version }) {
  return JSON.stringify({ version, input, model, options, shards })
}

/**
 * Reads a file of a corpus; undefined if there is none.
 *
 * @param {string} folder
 * @param {string} name
 */
async function readText(folder, name) {
  const { fs, path } = disk()
  try {
    return await fs.readFile(path.join(folder, name), 'utf8')
  } catch (error) {
    if (/** @type {NodeJS.ErrnoException} */ (error).code === 'ENOENT') return undefined
    throw fileFault(name, error)
  }
}

/** @param {string} folder @returns {Promise<Manifest | undefined>} */
async function readManifest(folder) {
  const text = await readText(folder, MANIFEST)
  if (text === undefined) return undefined
  let manifest
  try {
    manifest = JSON.parse(text)
  } catch {
    throw fault('FORMAT', MANIFEST, 'JSON', 'something else')
  }
  if (manifest?.version === 1 && manifest.shards?.sha256) return manifest
  throw fault('FORMAT', MANIFEST, 'a manifest of version 1', describe(manifest?.version))
}

/**
 * @param {string} folder
 * @param {Manifest} manifest
 * @returns {Promise<Place[]>}
 */
async function readIndex(folder, { shards }) {
  const text = (await readText(folder, INDEX)) ?? ''
  if (hashOf(text) !== shards.sha256) throw fault('FORMAT', INDEX, 'the index of the manifest', 'another file')
  return text
    .split('\n')
    .slice(0, -1)
    .map((line) => JSON.parse(line))
}

/** @param {readonly Place[]} places */
const indexText = (places) => places.map((place) => `${JSON.stringify(place)}\n`).join('')

/** @param {unknown} value @param {string} name */
function checkPath(value, name) {
  if (typeof value !== 'string' || value === '') throw fault('DTYPE', name, 'a path', describe(value))
  return value
}

/** Only createCorpus and openCorpus make corpora. */
const KEY = Symbol('corpus')

export class Corpus {
  #folder
  #input
  #places
  #essence
  #model
  manifest

  /**
   * @param {symbol} key
   * @param {{ folder: string, input: string, manifest: Manifest, places: Place[], model?: Model | undefined }} parts
   */
  constructor(key, parts) {
    if (key !== KEY) throw new TypeError('Corpus has no public constructor; use createCorpus or openCorpus')
    this.#folder = parts.folder
    this.#input = parts.input
    this.#places = parts.places
    this.#model = parts.model
    this.#essence = hashOf(essenceOf(parts.manifest))
    this.manifest = Object.freeze(parts.manifest)
  }

  get numTexts() {
    return this.manifest.input.texts
  }

  get numShards() {
    return this.#places.length
  }

  get model() {
    return this.#model
  }

  /** @param {unknown} shard */
  #place(shard) {
    if (isLength(shard) && shard < this.numShards) return this.#places[shard]
    throw fault('OPTION', 'shard', `an integer from 0, less than ${this.numShards}`, describe(shard))
  }

  /** @param {number} shard */
  #path(shard) {
    return disk().path.join(this.#folder, `shard-${String(shard).padStart(6, '0')}.safetensors`)
  }

  /**
   * @param {unknown} shard
   * @returns {Promise<Text[]>}
   */
  async texts(shard) {
    const { start, end, line, sha256: expected } = this.#place(shard)
    const { path, field, columns } = this.manifest.input
    const bytes = await bytesOf(this.#input, start, end, 'input')
    if (hashOf(bytes) !== expected) {
      throw fault('FORMAT', 'input', `the texts of shard ${shard} as the manifest has them`, 'others')
    }
    return textsIn(bytes, recordsOf(path, field, line === 1 ? undefined : columns), line)
  }

  /** @param {unknown} shard */
  async has(shard) {
    this.#place(shard)
    try {
      await this.#read(/** @type {number} */ (shard))
      return true
    } catch (error) {
      if (error instanceof AttentionError) return false
      throw error
    }
  }

  /**
   * Reads a shard and verifies that it is whole and of this corpus.
   *
   * @param {number} shard
   */
  async #read(shard) {
    const refuse = (/** @type {string} */ actual) =>
      fault('FORMAT', `shard ${shard}`, 'a whole file of this corpus', actual)
    const file = await openSafetensors(this.#path(shard)).catch((error) => {
      throw refuse(error.cause?.code === 'ENOENT' ? 'none' : (error.actual ?? error.message))
    })
    try {
      const { ids, corpus, vectors: expected } = file.metadata
      if (corpus !== this.#essence) throw refuse('that of another corpus')
      const vectors = /** @type {{ data: Float32Array, shape: [number, number] }} */ (await file.tensor('vectors'))
      if (hashOf(bytesIn(vectors.data)) !== expected) throw refuse('a damaged file')
      return { ids: /** @type {Text['id'][]} */ (JSON.parse(ids)), vectors }
    } finally {
      await file.close()
    }
  }

  /** @param {unknown} shard */
  async read(shard) {
    this.#place(shard)
    return this.#read(/** @type {number} */ (shard))
  }

  /**
   * @param {unknown} shard
   * @param {unknown} [options]
   */
  async embed(shard, options) {
    const watch = watchOf(pickOptions(options, ['signal', 'onProgress']))
    const model = this.#model
    if (model === undefined) throw fault('OPTION', 'model', 'a corpus opened with its model', 'none')
    if (await this.has(shard)) return false
    const texts = await this.texts(shard)
    const vectors = await model.embed(
      texts.map(({ text }) => text),
      {
        ...this.manifest.options,
        ...(watch.signal && { signal: watch.signal }),
        ...(watch.onProgress && { onProgress: watch.onProgress })
      }
    )
    throwIfAborted(watch.signal)
    const metadata = {
      ids: JSON.stringify(texts.map(({ id }) => id)),
      corpus: this.#essence,
      vectors: hashOf(bytesIn(vectors.data))
    }
    await writeWhole(this.#path(/** @type {number} */ (shard)), saveSafetensors({ vectors }, metadata))
    return true
  }

  /** @param {unknown} [options] */
  async verify(options) {
    const watch = watchOf(pickOptions(options, ['signal', 'onProgress']))
    await removeParts(this.#folder)
    /** @type {number[]} */
    const missing = []
    for (let shard = 0; shard < this.numShards; shard++) {
      throwIfAborted(watch.signal)
      if (!(await this.has(shard))) missing.push(shard)
      watch.onProgress?.((shard + 1) / this.numShards)
    }
    return missing
  }

  dispose() {
    this.#model?.dispose()
  }

  [disposeSymbol]() {
    this.dispose()
  }
}

/** @param {Float32Array} data */
const bytesIn = (data) => new Uint8Array(data.buffer, data.byteOffset, data.byteLength)

/**
 * The functions of corpora over a function that loads models.
 *
 * @param {Load} load
 */
export function createCorpora(load) {
  /**
   * @param {unknown} folder
   * @param {unknown} options
   */
  async function createCorpus(folder, options) {
    const output = checkPath(folder, 'folder')
    const names = /** @type {const} */ (['input', 'field', 'shardTexts', 'prompt', 'normalize', 'dimensions', 'resume'])
    const {
      input: given,
      field: column,
      shardTexts = SHARD_TEXTS,
      resume,
      ...rest
    } = pickOptions(options, [...names, 'model', 'type', ...LOADING])
    const { prompt, normalize, dimensions, model: source, ...loading } = rest
    const { input, field } = checkInput(given, { field: column })
    if (!isLength(shardTexts) || shardTexts < 1) {
      throw fault('OPTION', 'shardTexts', 'a positive integer', describe(shardTexts))
    }
    const embedding = Object.fromEntries(
      Object.entries({ prompt, normalize, dimensions }).filter(([, value]) => value !== undefined)
    )
    const from = checkPath(source, 'model')
    const divided = await divide(input, field, shardTexts)
    const model = await load(from, loading)
    try {
      // Rejects an option that the model does not take before anything is written.
      await model.embed([], embedding)
      const { name, sha256: hash } = await identify(from)
      const index = indexText(divided.places)
      /** @type {Manifest} */
      const manifest = {
        version: 1,
        input: { path: disk().path.resolve(input), ...divided.input },
        model: { name, family: model.family, type: model.type, sha256: hash },
        options: embedding,
        shards: { count: divided.places.length, texts: shardTexts, sha256: hashOf(index) }
      }
      await claim(output, manifest, index, resume === true)
      return new Corpus(KEY, { folder: output, input, manifest, places: divided.places, model })
    } catch (error) {
      model.dispose()
      throw error
    }
  }

  /**
   * @param {unknown} folder
   * @param {unknown} [options]
   */
  async function openCorpus(folder, options) {
    const output = checkPath(folder, 'folder')
    const { input, model: source, type, ...loading } = pickOptions(options, ['input', 'model', 'type', ...LOADING])
    const manifest = await readManifest(output)
    if (manifest === undefined) throw fault('FORMAT', 'folder', `a folder with a ${MANIFEST}`, 'none')
    if (type !== undefined && type !== manifest.model.type) {
      throw fault('OPTION', 'type', `'${manifest.model.type}', as the vectors have it`, describe(type))
    }
    const places = await readIndex(output, manifest)
    const path = input === undefined ? manifest.input.path : checkPath(input, 'input')
    const parts = { folder: output, input: path, manifest, places }
    if (source === undefined) return new Corpus(KEY, parts)
    const from = checkPath(source, 'model')
    const { sha256: hash } = await identify(from)
    if (hash !== manifest.model.sha256) {
      throw fault('OPTION', 'model', `the model of the corpus, ${manifest.model.name}`, 'another model')
    }
    return new Corpus(KEY, { ...parts, model: await load(from, { ...loading, type: manifest.model.type }) })
  }

  return { Corpus, createCorpus, openCorpus }
}

/**
 * Makes a folder that of a corpus. A folder that has vectors is refused, unless they are resumed and those of the same
 * corpus.
 *
 * @param {string} folder
 * @param {Manifest} manifest
 * @param {string} index
 * @param {boolean} resumes
 */
async function claim(folder, manifest, index, resumes) {
  const { fs, path } = disk()
  const known = await readManifest(folder)
  if (known !== undefined && !resumes) {
    throw fault('OPTION', 'folder', 'a folder without vectors, or the option `resume`', 'vectors')
  }
  if (known !== undefined) {
    if (essenceOf(known) !== essenceOf(manifest)) {
      throw fault('OPTION', 'folder', 'the same input, model and options', 'vectors of others')
    }
    await removeParts(folder)
    return
  }
  await fs.mkdir(folder, { recursive: true })
  await writeWhole(path.join(folder, INDEX), index)
  // Written last, so that a folder with a manifest is complete.
  await writeWhole(path.join(folder, MANIFEST), `${JSON.stringify(manifest, null, 2)}\n`)
}
