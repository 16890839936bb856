// Runs whole models in a page for `engines.js`: this package, or ONNX Runtime for the web. The import map of
// models.html resolves the packages.

import { Tokenizer } from '@huggingface/tokenizers'
import { backend, init } from '../../lib/entries/core-browser.js'
import { loadModel } from '../../lib/entries/models-browser.js'
import { onnxEmbedder, vectorsOf } from '../peers/onnx-texts.js'
import { importOnnxWeb } from '../peers/onnx-web.js'

/** Texts, and the address of the folder of a model. @typedef {{ texts: string[], folder: string }} Wanted */

/** @type {{ run: () => Promise<Float32Array>, dispose: () => unknown } | undefined} */
let running

/** Returns what the tables show of this package. */
export async function about() {
  await init()
  return backend()
}

/** Returns the version of ONNX Runtime. @returns {Promise<string>} */
export const versionOfPeer = async () => (await importOnnxWeb()).env.versions.common

/** @param {Wanted & { weightType?: import('../../index.js').WeightType }} wanted  @returns the vectors of the texts */
export async function prepareOurs({ texts, folder, weightType }) {
  const model = await loadModel(folder, { type: weightType })
  running = { run: async () => (await model.embed(texts)).data, dispose: () => model.dispose() }
  return Array.from(await running.run())
}

/** @param {Wanted & { file: string }} wanted  @returns the vectors of the texts */
export async function preparePeer({ texts, folder, file }) {
  const ort = await importOnnxWeb()
  const load = async (/** @type {string} */ name) => fetch(`${folder}/${name}`)
  const [tokens, config] = [await load('tokenizer.json'), await load('tokenizer_config.json')]
  const tokenizer = new Tokenizer(await tokens.json(), await config.json())
  const bytes = await (await load(file)).arrayBuffer()
  const session = await ort.InferenceSession.create(bytes, { executionProviders: ['wasm'] })
  const embed = onnxEmbedder(ort, session, tokenizer)
  running = { run: () => vectorsOf(texts, embed), dispose: () => session.release() }
  return Array.from(await running.run())
}

/** @param {number} count  of calls  @returns their seconds */
export async function time(count) {
  const start = performance.now()
  for (let call = 0; call < count; call++) await running?.run()
  return (performance.now() - start) / 1000
}

export async function dispose() {
  await running?.dispose()
  running = undefined
}
