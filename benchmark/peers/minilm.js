// Peers that embed texts with all-MiniLM-L6-v2 from ONNX files: transformers.js, and ONNX Runtime for Node and for the
// web with the tokenizer that this package uses. They receive the texts sorted by length in batches of 32, which is
// best for them.

import { readFileSync } from 'node:fs'
import { MODELS, ONNX_MODEL, missingPeerModel, modelFile, preparedModel, textsOf } from '../texts.js'
import { onnxEmbedder, vectorsOf } from './onnx-texts.js'
import { importOnnxWeb } from './onnx-web.js'

/** @typedef {import('../types.d.ts').Case} Case */
/** @typedef {{ embed: import('./onnx-texts.js').Embed, end: () => unknown }} Embedder */

const folder = `${MODELS}/${ONNX_MODEL}`

/** The options of a session of ONNX Runtime. @param {Case} problem */
const sessionOptions = ({ threads }) => ({
  intraOpNumThreads: threads,
  interOpNumThreads: 1,
  executionMode: 'sequential',
  logSeverityLevel: 3
})

/**
 * @param {string} name
 * @param {string} version
 * @param {boolean} threaded
 * @param {(problem: Case) => Promise<Embedder>} open
 */
function found(name, version, threaded, open) {
  /** @type {import('../types.d.ts').Contender} */
  const contender = {
    name: `${name} on texts`,
    family: name,
    side: 'peer',
    version,
    warmsUp: true,
    threaded,
    kinds: ['model'],
    async prepare(problem) {
      const missing = missingPeerModel()
      if (missing !== undefined) return missing
      const texts = textsOf(/** @type {NonNullable<Case['texts']>} */ (problem.texts))
      const { embed, end } = await open(problem)
      return preparedModel(problem, () => vectorsOf(texts, embed), end)
    }
  }
  return { contenders: [contender] }
}

export async function transformersJs() {
  const name = '@huggingface/transformers'
  const { env, pipeline } = await import(name)
  return found(name, env.version, true, async (problem) => {
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

/**
 * ONNX Runtime in one of its packages, with the tokenizer that this package uses.
 *
 * @param {string} name
 * @param {any} ort
 * @param {boolean} threaded
 */
async function onnxruntime(name, ort, threaded) {
  const { Tokenizer } = await import('@huggingface/tokenizers')
  return found(name, ort.env.versions.common, threaded, async (problem) => {
    const [tokens, config] = ['tokenizer.json', 'tokenizer_config.json'].map((file) =>
      JSON.parse(readFileSync(`${folder}/${file}`, 'utf8'))
    )
    const bytes = readFileSync(`${folder}/${modelFile(problem)}`)
    const session = await ort.InferenceSession.create(bytes, sessionOptions(problem))
    return { embed: onnxEmbedder(ort, session, new Tokenizer(tokens, config)), end: () => session.release() }
  })
}

export async function onnxruntimeOnTexts() {
  const name = 'onnxruntime-node'
  const { default: ort } = await import(name)
  return onnxruntime(name, ort, true)
}

export async function onnxruntimeWebOnTexts() {
  return onnxruntime('onnxruntime-web', await importOnnxWeb(), false)
}
