// Whole models: reads a folder as the hub has it, and makes a model of it on one backend.

import { describe, fault } from '../checks/errors.js'
import { pickOptions } from '../checks/options.js'
import { Watch, throwIfAborted } from '../runtime/async/watch.js'
import { ENCODERS } from './encoders.js'
import { openFolder } from './folder.js'
import { createModel, Model } from './model.js'
import { Checkpoint, Network } from './network.js'
import { readPooling } from './pooling.js'
import { checkTokenizer, Encoder, readTokenizer } from './tokens.js'

/** @param {import('../../core.d.ts').Attention & { init(): Promise<void> }} entry  the API of the entry */
export function createModels(entry) {
  /**
   * @param {unknown} source
   * @param {unknown} [options]
   */
  async function loadModel(source, options) {
    const given = pickOptions(options, ['tokenizer', 'signal', 'onProgress', 'attention'])
    const watch = new Watch()
    if (given.signal !== undefined) watch.take('signal', given.signal)
    if (given.onProgress !== undefined) watch.take('onProgress', given.onProgress)
    throwIfAborted(watch.signal)
    const attention = /** @type {import('../../index.d.ts').Attention} */ (given.attention ?? entry)
    if (given.attention === undefined) await entry.init()
    const folder = openFolder(source)
    const config = await folder.object('config.json')
    if (config === undefined) throw fault('FORMAT', 'source', 'a folder with a config.json', 'none')
    const row = familyOf(config)
    const network = new Network(attention, row, config)
    const [pooling, tokens] = [await readPooling(folder, attention), await tokensOf(folder, given.tokenizer)]
    const limit = Math.min(pooling.maxLength ?? tokens?.maxLength ?? Infinity, positionsOf(network))
    const numParameters = await loadWeights(folder, row, network, watch)
    return createModel({
      family: String(config.model_type),
      config: Object.freeze(config),
      network,
      pooling,
      numParameters,
      ...(tokens && { tokens: new Encoder(tokens.tokenizer, limit, tokens.side) })
    })
  }

  return { loadModel, Model }
}

/** @param {Record<string, any>} config */
function familyOf({ model_type: family }) {
  if (typeof family === 'string' && Object.hasOwn(ENCODERS, family)) return ENCODERS[family]
  throw fault('FORMAT', 'config.json: model_type', `one of ${Object.keys(ENCODERS).join(', ')}`, describe(family))
}

/**
 * @param {import('./folder.js').Folder} folder
 * @param {unknown} given
 */
async function tokensOf(folder, given) {
  if (given === undefined) return readTokenizer(folder)
  return { tokenizer: checkTokenizer(given), maxLength: undefined, side: /** @type {const} */ ('right') }
}

/** The number of tokens that have positions. @param {Network} network */
function positionsOf({ row, sizes, config }) {
  return row.positions === undefined ? Infinity : sizes.maxPositions - (row.firstPosition?.(config) ?? 0)
}

/**
 * @param {import('./folder.js').Folder} folder
 * @param {import('./encoders.js').Row} row
 * @param {Network} network
 * @param {Watch} watch
 */
async function loadWeights(folder, row, network, watch) {
  const file = await folder.weights()
  try {
    const total = file.names.reduce((sum, name) => sum + file.describe(name).shape.reduce((a, b) => a * b, 1), 0)
    let done = 0
    const checkpoint = new Checkpoint(file, row.roots, row.words, (elements) => {
      throwIfAborted(watch.signal)
      done += elements
      watch.onProgress?.(Math.min(done / total, 1))
    })
    await network.load(checkpoint)
    watch.onProgress?.(1)
    return checkpoint.parameters
  } finally {
    await file.close()
  }
}
