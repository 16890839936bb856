// Whole models: reads a folder as the hub has it, and makes a model of it on one backend.

import { describe, fault } from '../checks/errors.js'
import { pickOptions } from '../checks/options.js'
import { residentOf } from '../face/layers.js'
import { throwIfAborted, watchOf } from '../runtime/async/watch.js'
import { Checkpoint, rootsOf, rowsOf } from './checkpoint.js'
import { readConfig } from './config.js'
import { createCorpora } from './corpus.js'
import { openFolder } from './folder.js'
import { Group } from './group.js'
import { openGguf } from '../weights/gguf.js'
import { createModel, Model } from './model.js'
import { Network } from './network.js'
import { readPooling } from './pooling.js'
import { readTexts } from './texts.js'
import { checkTokenizer, Encoder, readTokenizer } from './tokens.js'

/** @typedef {import('./checkpoints.js').Row} Row */
/** @typedef {import('../../index.d.ts').WeightType} WeightType */

/** @type {readonly WeightType[]} */
const TYPES = ['f32', 'f16', 'bf16', 'q8_0']

/** @param {unknown} given @returns {WeightType | undefined} */
function readType(given) {
  if (given === undefined) return undefined
  const type = TYPES.find((known) => known === given)
  if (type !== undefined) return type
  throw fault('OPTION', 'type', `one of ${TYPES.map((known) => `'${known}'`).join(', ')}`, describe(given))
}

/** The number of workers that hold a model, each a copy, in WebAssembly. @param {unknown} given */
function readWorkers(given) {
  if (given === undefined) return 1
  if (Number.isInteger(given) && Number(given) >= 1 && Number(given) <= 1024) return Number(given)
  throw fault('OPTION', 'workers', 'an integer from 1 to 1024', describe(given))
}

/** @param {import('../../core.d.ts').Attention & { init(): Promise<void> }} entry  the API of the entry */
export function createModels(entry) {
  /**
   * @param {unknown} source
   * @param {unknown} [options]
   */
  async function loadModel(source, options) {
    const given = pickOptions(options, ['type', 'tokenizer', 'signal', 'onProgress', 'attention', 'workers'])
    const watch = watchOf(given)
    const type = readType(given.type)
    const workers = readWorkers(given.workers)
    const attention = /** @type {import('../../index.d.ts').Attention} */ (given.attention ?? entry)
    if (given.attention === undefined) await entry.init()
    const folder = await openFolder(source)
    try {
      return await modelFrom(folder, { attention, type, workers }, given.tokenizer, watch)
    } finally {
      await folder.close()
    }
  }

  return { loadModel, openGguf, Model, readTexts, ...createCorpora(loadModel) }
}

/**
 * @param {import('./folder.js').Folder | import('./gguf.js').GgufFolder} folder
 * @param {{ attention: import('../../index.d.ts').Attention, type: WeightType | undefined, workers: number }} target
 * @param {unknown} tokenizer  the caller's own
 * @param {import('../runtime/async/watch.js').Watch} watch
 */
async function modelFrom(folder, { attention, type: given, workers }, tokenizer, watch) {
  const config = await folder.object('config.json')
  if (config === undefined) throw fault('FORMAT', 'source', 'a folder with a config.json', 'none')
  const rows = rowsOf(config)
  const { stacks } = readConfig(config)
  const pooling = await readPooling(folder, attention)
  const texts = (await folder.object('tokenizer_config.json')) ?? {}
  const tokens = await tokensOf(folder, texts, tokenizer)
  const make = (/** @type {Row} */ row, /** @type {WeightType} */ own) =>
    new Network({ attention, type: given ?? own }, row, stacks[row.stack], config)
  const { networks, numParameters } = await loadWeights(folder, rows, make, watch)
  const group = new Group(workers)
  for (const network of Object.values(networks)) {
    for (const layer of network.layers) residentOf(layer).group = group
  }
  const limit = Math.min(pooling.maxLength ?? tokens?.maxLength ?? Infinity, networks.texts?.maxLength ?? Infinity)
  return createModel({
    family: String(config.model_type),
    config: Object.freeze(config),
    networks,
    pooling,
    workers: group,
    numParameters,
    type: Object.values(networks)[0].target.type,
    chat: await readChat(folder, config, texts),
    ...(tokens && { tokens: new Encoder(tokens.tokenizer, limit, tokens.side) })
  })
}

/**
 * @param {import('./folder.js').Folder | import('./gguf.js').GgufFolder} folder
 * @param {Record<string, any>} texts  tokenizer_config.json
 * @param {unknown} given
 */
async function tokensOf(folder, texts, given) {
  if (given === undefined) return readTokenizer(folder, texts)
  return { tokenizer: checkTokenizer(given), maxLength: undefined, side: /** @type {const} */ ('right') }
}

/**
 * The tokens that end a generated text, and the template of messages.
 *
 * @param {import('./folder.js').Folder | import('./gguf.js').GgufFolder} folder
 * @param {Record<string, any>} config
 * @param {Record<string, any>} texts  tokenizer_config.json
 */
async function readChat(folder, config, texts) {
  const generation = await folder.object('generation_config.json')
  const ends = generation?.eos_token_id ?? config.eos_token_id ?? []
  const template = (await folder.text('chat_template.jinja')) ?? texts.chat_template
  return {
    ends: new Set([ends].flat().map(Number)),
    template: typeof template === 'string' ? template : undefined,
    config: texts
  }
}

/**
 * Loads the networks that the file has; none stays in memory if one fails.
 *
 * @param {import('./folder.js').Folder | import('./gguf.js').GgufFolder} folder
 * @param {readonly Row[]} rows
 * @param {(row: Row, own: WeightType) => Network} make  receives the type of the file's matrices
 * @param {import('../runtime/async/watch.js').Watch} watch
 */
async function loadWeights(folder, rows, make, watch) {
  const file = /** @type {import('./checkpoint.js').Weights} */ (await folder.weights())
  /** @type {{ texts?: Network, images?: Network, answers?: Network }} */
  const networks = {}
  try {
    const total = file.names.reduce((sum, name) => sum + file.describe(name).shape.reduce((a, b) => a * b, 1), 0)
    const own = file.names.some((name) => file.describe(name).type === 'Q8_0') ? 'q8_0' : 'f32'
    let done = 0
    const onEntry = (/** @type {number} */ elements) => {
      throwIfAborted(watch.signal)
      done += elements
      watch.onProgress?.(Math.min(done / total, 1))
    }
    for (const { row, root } of rootsOf(file, rows)) {
      const network = make(row, own)
      networks[network.role] = network
      await network.load(new Checkpoint(file, root, onEntry), networks.texts)
    }
    watch.onProgress?.(1)
    throwIfAborted(watch.signal)
    return { networks, numParameters: done }
  } catch (error) {
    for (const network of Object.values(networks)) network.dispose()
    throw error
  } finally {
    await file.close()
  }
}
