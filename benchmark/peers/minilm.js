// Peers that embed texts with all-MiniLM-L6-v2 from ONNX files: transformers.js, and onnxruntime-node with the
// tokenizer that this package uses. Both receive the texts sorted by length in batches of 32, which is best for them.

import { existsSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { MODELS, ONNX_MODEL, preparedModel, textsOf } from '../texts.js'

/** @typedef {import('../types.d.ts').Case} Case */
/** @typedef {import('../types.d.ts').Found} Found */
/** A batch of texts, and their places in the caller's list. @typedef {{ texts: string[], places: number[] }} Batch */
/** @typedef {{ embed: (texts: string[]) => Promise<Float32Array>, end: () => unknown }} Embedder */

const BATCH = 32
const SIZE = 384
const MAX_TOKENS = 256
const folder = `${MODELS}/${ONNX_MODEL}`

/** The options of a session of ONNX Runtime. @param {Case} problem */
const sessionOptions = ({ threads }) => ({
  intraOpNumThreads: threads,
  interOpNumThreads: 1,
  executionMode: 'sequential',
  logSeverityLevel: 3
})

/** @param {readonly string[]} texts @returns {Batch[]} */
function batchesOf(texts) {
  const places = texts.map((_, place) => place).toSorted((a, b) => texts[a].length - texts[b].length)
  return Array.from({ length: Math.ceil(texts.length / BATCH) }, (_, batch) => {
    const own = places.slice(batch * BATCH, (batch + 1) * BATCH)
    return { places: own, texts: own.map((place) => texts[place]) }
  })
}

/**
 * @param {string} name
 * @param {string} version
 * @param {(problem: Case) => Promise<Embedder>} open
 * @returns {Found}
 */
function found(name, version, open) {
  /** @type {import('../types.d.ts').Contender} */
  const contender = {
    name: `${name} on texts`,
    family: name,
    side: 'peer',
    version,
    warmsUp: true,
    threaded: true,
    kinds: ['model'],
    async prepare(problem) {
      if (!existsSync(folder)) return 'needs the ONNX files that benchmark/peers/minilm.py writes'
      const texts = textsOf(/** @type {NonNullable<Case['texts']>} */ (problem.texts))
      const { embed, end } = await open(problem)
      const run = async () => {
        const vectors = new Float32Array(texts.length * SIZE)
        for (const batch of batchesOf(texts)) {
          const rows = await embed(batch.texts)
          batch.places.forEach((place, row) => vectors.set(rows.subarray(row * SIZE, (row + 1) * SIZE), place * SIZE))
        }
        return vectors
      }
      return preparedModel(problem, run, end)
    }
  }
  return { contenders: [contender] }
}

/** @returns {Promise<Found>} */
export async function transformersJs() {
  const name = '@huggingface/transformers'
  const { env, pipeline } = await import(name)
  return found(name, env.version, async (problem) => {
    Object.assign(env, { allowRemoteModels: false, localModelPath: MODELS })
    const dtype = problem.weightType === 'q8_0' ? 'q8' : 'fp32'
    const options = { dtype, device: 'cpu', session_options: sessionOptions(problem) }
    const extract = await pipeline('feature-extraction', ONNX_MODEL, options)
    return {
      embed: async (texts) => (await extract(texts, { pooling: 'mean', normalize: true })).data,
      end: () => extract.dispose()
    }
  })
}

/** @returns {Promise<Found>} */
export async function onnxruntimeOnTexts() {
  const name = 'onnxruntime-node'
  const { default: ort } = await import(name)
  const { Tokenizer } = await import('@huggingface/tokenizers')
  const { version } = createRequire(import.meta.url)(`${name}/package.json`)
  return found(name, version, async (problem) => {
    const [tokens, config] = ['tokenizer.json', 'tokenizer_config.json'].map((file) =>
      JSON.parse(readFileSync(`${folder}/${file}`, 'utf8'))
    )
    const tokenizer = new Tokenizer(tokens, config)
    const file = problem.weightType === 'q8_0' ? 'model_quantized.onnx' : 'model.onnx'
    const session = await ort.InferenceSession.create(`${folder}/onnx/${file}`, sessionOptions(problem))
    return {
      async embed(texts) {
        const ids = texts.map((text) => truncated(tokenizer.encode(text).ids))
        const [feeds, length] = padded(ort, ids)
        const { last_hidden_state: hidden } = await session.run(feeds)
        return meanVectors(hidden.data, ids, length)
      },
      end: () => session.release()
    }
  })
}

/** Keeps the token that ends a text. @param {number[]} ids */
const truncated = (ids) => (ids.length > MAX_TOKENS ? [...ids.slice(0, MAX_TOKENS - 1), ids[ids.length - 1]] : ids)

/**
 * The inputs of BERT for texts of different lengths, and the length of the longest.
 *
 * @param {any} ort
 * @param {readonly number[][]} ids
 * @returns {[Record<string, any>, number]}
 */
function padded(ort, ids) {
  const length = Math.max(...ids.map((own) => own.length))
  const [tokens, mask, types] = Array.from({ length: 3 }, () => new BigInt64Array(ids.length * length))
  ids.forEach((own, text) => {
    own.forEach((id, token) => (tokens[text * length + token] = BigInt(id)))
    mask.fill(1n, text * length, text * length + own.length)
  })
  const tensor = (/** @type {BigInt64Array} */ data) => new ort.Tensor('int64', data, [ids.length, length])
  return [{ input_ids: tensor(tokens), attention_mask: tensor(mask), token_type_ids: tensor(types) }, length]
}

/**
 * The mean of each text's rows, scaled to length 1.
 *
 * @param {Float32Array} hidden
 * @param {readonly number[][]} ids
 * @param {number} length  in rows of each text
 */
function meanVectors(hidden, ids, length) {
  const vectors = new Float32Array(ids.length * SIZE)
  ids.forEach((own, text) => {
    const vector = vectors.subarray(text * SIZE, (text + 1) * SIZE)
    for (let row = text * length; row < text * length + own.length; row++) {
      for (let at = 0; at < SIZE; at++) vector[at] += hidden[row * SIZE + at]
    }
    const norm = Math.sqrt(vector.reduce((sum, x) => sum + x * x, 0))
    for (let at = 0; at < SIZE; at++) vector[at] /= norm
  })
  return vectors
}
