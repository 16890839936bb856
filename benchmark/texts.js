// Whole models: all-MiniLM-L6-v2 from texts to vectors, which `npm run setup` fetches in the repository.

import { existsSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

/** @typedef {import('./types.d.ts').Case} Case */

/** @param {string} path */
const inRepository = (path) => fileURLToPath(new URL(`../${path}`, import.meta.url))

/** The folder of the models, and the name of each model's folder in it. */
export const MODELS = inRepository('output/models')
export const MODEL = 'all-MiniLM-L6-v2'
/** The same model as ONNX files, which peers/minilm.py writes. */
export const ONNX_MODEL = `${MODEL}-onnx`

/** The file of a peer's model. @param {Case} problem */
export const modelFile = ({ weightType }) => `onnx/model${weightType === 'q8_0' ? '_quantized' : ''}.onnx`

/** The reason that the model cannot run; undefined if it can. */
export const missingModel = () =>
  existsSync(`${MODELS}/${MODEL}/model.safetensors`) ? undefined : 'needs the model that `npm run setup` fetches'

export const missingPeerModel = () =>
  existsSync(`${MODELS}/${ONNX_MODEL}`) ? undefined : 'needs the ONNX files that benchmark/peers/minilm.py writes'

/** Vectors of 8 bits are not compared, as each program rounds in its own way. @param {Case} problem */
export const isExact = ({ weightType }) => weightType !== 'q8_0'

/** Texts of one row, by name: their numbers of words. */
const SETS = {
  /** The sentences of examples/minilm-search, about 13 tokens each. */
  sentences: undefined,
  /** One text in twelve fills the model's 256 tokens, the others have 3 to 40 words. */
  mixed: Array.from({ length: 96 }, (_, text) => (text % 12 === 0 ? 240 : 3 + ((text * 37) % 38))),
  long: Array(8).fill(240)
}

/** @typedef {keyof typeof SETS} TextSet */

/** @param {TextSet} name @returns {string[]} */
export function textsOf(name) {
  const sentences = readFileSync(inRepository('examples/minilm-search/sentences.txt'), 'utf8').trim().split('\n')
  const lengths = SETS[name]
  if (lengths === undefined) return sentences
  const words = sentences.join(' ').split(' ')
  return lengths.map((length, text) => words.slice(text * 11, text * 11 + length).join(' '))
}

/**
 * A row for each type of weights and set of texts. Peers have files of 32-bit floats and of 8 bits.
 *
 * @returns {Case[]}
 */
export const modelCases = () =>
  /** @type {const} */ (['f32', 'f16', 'q8_0']).flatMap((weightType) =>
    /** @type {const} */ ([
      ['sentences', 316, '316 sentences'],
      ['mixed', 96, '96 texts of mixed lengths'],
      ['long', 8, '8 texts of 256 tokens']
    ]).map(([texts, batch, title]) => ({
      name: `MiniLM ${weightType}, ${title}`,
      group: 'model',
      kind: /** @type {const} */ ('model'),
      texts,
      weightType,
      batch,
      heads: 12,
      kvHeads: 12,
      queries: 256,
      keys: 256,
      dim: 32,
      causal: false,
      out: false,
      ownOnly: weightType === 'f16',
      unit: /** @type {const} */ ('texts/s'),
      threads: 1,
      flops: 0,
      bytes: 0
    }))
  )

/**
 * A contender's call.
 *
 * @param {Case} problem
 * @param {() => Promise<Float32Array>} run
 * @param {() => unknown} dispose
 * @returns {import('./types.d.ts').Prepared}
 */
export function preparedModel(problem, run, dispose) {
  if (isExact(problem)) return { run, read: (vectors) => vectors, dispose }
  const time = async (/** @type {number} */ count) => {
    const start = performance.now()
    for (let call = 0; call < count; call++) await run()
    return (performance.now() - start) / 1000
  }
  return { time, dispose }
}
