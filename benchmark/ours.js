// This package as contenders: the native backend, and each variant of the WebAssembly module that
// this engine supports.

import { readFileSync } from 'node:fs'
import { loadBackend } from '../index.js'
import { loadModel } from '../lib/entries/models.js'
import * as trainingEntry from '../lib/entries/training.js'
import { applyPatch } from '../lib/loaders/patch.js'
import { variants } from '../lib/loaders/wasm.js'
import { reported } from './building.js'
import { encoderConfig, randomTensor } from './inputs.js'
import { MODEL, MODELS, missingModel, preparedModel, textsOf } from './texts.js'

/** @typedef {import('./types.d.ts').Contender} Contender */
/** @typedef {import('../index.js').Attention} Attention */
/** @typedef {import('../training.js').Attention} Training */
/**
 * The APIs of one backend.
 *
 * @typedef {{ main: (threads: number) => Promise<Attention>, training: (threads: number) => Promise<Training> }} Apis
 */

/** The entry with its documented types. */
const { loadBackend: loadTrainingBackend } = /** @type {typeof import('../training.js')} */ (
  /** @type {unknown} */ (trainingEntry)
)

/**
 * Scales points well into the unit ball.
 *
 * @param {import('../index.js').Tensor} tensor
 */
const shrunk = ({ data, shape }) => ({ data: data.map((value) => value / (1.5 * Math.sqrt(shape[3]))), shape })

/** @param {readonly number[]} lengths */
function cumulative(lengths) {
  let end = 0
  return Int32Array.from([0, ...lengths], (length) => (end += length))
}

/** A relative bias or sinks. @param {import('./types.d.ts').Case} problem */
const besideOf = ({ beside, heads, queries, keys }) =>
  beside === 'sinks'
    ? { sinks: randomTensor([heads], 19) }
    : { relativeBias: randomTensor([heads, queries + keys - 1], 19) }

/**
 * The layer and the graph of a case.
 *
 * @param {Attention} api
 * @param {import('./types.d.ts').Case} problem
 * @param {import('./types.d.ts').Inputs} inputs
 */
function graphLayer(api, { queries, heads, dim, version }, { edges, state }) {
  const graph = api.Graph.fromEdges({ numNodes: queries, .../** @type {NonNullable<typeof edges>} */ (edges) })
  const sizes = { inFeatures: heads * dim, outFeatures: dim, numHeads: heads, version }
  const layer = new api.GraphAttention(sizes).loadStateDict(state)
  return { graph, layer, dispose: () => [graph, layer].forEach((resource) => resource.dispose()) }
}

/**
 * Prepares a forward and a backward pass.
 *
 * @param {Training} api
 * @param {import('./types.d.ts').Case} problem
 * @param {import('./types.d.ts').Inputs} inputs
 * @returns {import('./types.d.ts').Prepared}
 */
function gradients(api, problem, inputs) {
  const { q, k, v, x } = inputs
  const gradient = /** @type {import('../index.js').Tensor} */ (inputs.gradient)
  const { scaledDotProductAttention, vjp } = api
  const read = (/** @type {Float32Array} */ data) => data
  if (problem.kind === 'attention-gradients') {
    return { run: () => vjp(scaledDotProductAttention, q, k, v).backward(gradient).inputs.q.data, read }
  }
  const { graph, layer, dispose } = graphLayer(api, problem, inputs)
  return { run: () => vjp(layer, graph, x).backward(gradient).inputs.x.data, read, dispose }
}

/**
 * Prepares a whole model, or returns the reason that it cannot run.
 *
 * @param {Attention} api
 * @param {import('./types.d.ts').Case} problem
 */
async function model(api, problem) {
  const missing = missingModel()
  if (missing !== undefined) return missing
  const loaded = await loadModel(`${MODELS}/${MODEL}`, { attention: api, type: problem.weightType })
  const texts = textsOf(/** @type {NonNullable<typeof problem.texts>} */ (problem.texts))
  const run = async () => (await loaded.embed(texts)).data
  return preparedModel(problem, run, () => loaded.dispose())
}

/**
 * @param {string} name
 * @param {boolean} isNative
 * @param {Apis} apis
 * @returns {Promise<Contender>}
 */
async function contender(name, isNative, { main: load, training }) {
  const { version, simd } = (await load(1)).backend()
  return {
    name: `${name} ${simd}`,
    family: isNative ? 'native' : `wasm ${simd}`,
    side: 'ours',
    version,
    warmsUp: !isNative,
    threaded: isNative,
    async prepare(problem, inputs) {
      if (inputs.gradient) return gradients(await training(problem.threads), problem, inputs)
      const { q, k, v, mask, x, state, edges, gates } = inputs
      const api = await load(problem.threads)
      if (problem.kind === 'model') return model(api, problem)
      if (problem.kind === 'linear') {
        const linear = new api.LinearAttention({ modelDim: problem.dim })
        const run = () => linear.forward(q, k, v).output.data
        return { run, read: (data) => data, dispose: () => linear.dispose() }
      }
      if (problem.kind === 'recurrent') {
        const { heads, dim } = problem
        const linear = new api.LinearAttention({ modelDim: heads * dim, numHeads: heads, rule: 'gated_delta' })
        const run = () => linear.forward(q, k, v, gates).output.data
        return { run, read: (data) => data, dispose: () => linear.dispose() }
      }
      if (problem.kind === 'hyperbolic') {
        const { heads } = problem
        const space = new api.HyperbolicAttention({ curvature: -1, numHeads: heads })
        const points = [q, k, v].map((tensor) => space.projectToBall(shrunk(tensor)))
        const run = () => space.forward(points[0], points[1], points[2]).output.data
        return { run, read: (data) => data }
      }
      if (problem.kind === 'product') {
        const { dim, keys, weightType } = problem
        const layer = new api.Linear({ inFeatures: dim, outFeatures: keys, weightType, seed: 5 })
        return { run: () => layer.forward(x).data, read: (data) => data, dispose: () => layer.dispose() }
      }
      if (edges) {
        const { graph, layer, dispose } = graphLayer(api, problem, inputs)
        return { run: () => layer.forward(graph, x).output.data, read: (data) => data, dispose }
      }
      if (problem.kind !== 'attention') {
        const { heads, dim } = problem
        /**
         * @type {import('@ruvector/attention').Layer & { forward: (x: any, options: any) =>
         *   import('@ruvector/attention').AttentionOutput }}
         */
        const layer =
          problem.kind === 'layer'
            ? new api.MultiHeadAttention({ numHeads: heads, headDim: dim })
            : new api.TransformerEncoderLayer(encoderConfig(heads, dim))
        layer.loadStateDict(state)
        const options = problem.lengths && { cuSeqlens: cumulative(problem.lengths) }
        return {
          run: () => layer.forward(x, options).output.data,
          read: (data) => data,
          dispose: () => layer.dispose()
        }
      }
      if (problem.cached) {
        const { kvHeads, dim, keys } = problem
        const cache = new api.KVCache({ batch: problem.batch, kvHeads, headDim: dim, capacity: keys }).append(k, v)
        return { run: () => cache.attend(q).output.data, read: (data) => data, dispose: () => cache.dispose() }
      }
      const options = {
        ...(mask && { mask }),
        ...(problem.beside && besideOf(problem)),
        ...(problem.causal && { causal: true }),
        ...(problem.out && { out: new Float32Array(q.data.length) })
      }
      return { run: () => api.scaledDotProductAttention(q, k, v, options).output.data, read: (data) => data }
    }
  }
}

/** The native backend, at the instruction set of this process. */
export const nativeContender = () =>
  contender('native', true, {
    main: (threads) => loadBackend('native', { threads }),
    training: (threads) => loadTrainingBackend('native', { threads })
  })

/** @param {string} file  of the module @param {import('../lib/loaders/wasm.js').Variant} variant */
async function compile(file, variant) {
  const read = (/** @type {string} */ ending) =>
    readFileSync(new URL(`../packages/wasm/${file}.${ending}`, import.meta.url))
  const plain = read('simd.wasm')
  const bytes = variant === 'relaxed' ? applyPatch(plain, read('relaxed.patch')) : plain
  return reported(`compiling ${file}.simd.wasm${variant === 'relaxed' ? ', patched' : ''}`, () =>
    WebAssembly.compile(bytes)
  )
}

/** @param {import('../lib/loaders/wasm.js').Variant} variant */
async function wasmContender(variant) {
  // Compiled once; each case creates an instance.
  const module = await compile('attention', variant)
  /** @type {Promise<WebAssembly.Module> | undefined} */
  let training
  return contender('wasm', false, {
    main: () => loadBackend('wasm', { wasm: module }),
    training: async () => {
      training ??= compile('attention.training', variant)
      return loadTrainingBackend('wasm', { wasm: await training })
    }
  })
}

/** Start the contenders of the variants of the module that this engine supports, the best one last. */
export const wasmContenders = variants()
  .toReversed()
  .map((variant) => () => wasmContender(variant))

/**
 * Returns the contenders of this package, native code first, and the reasons for missing ones.
 *
 * @returns {Promise<{ contenders: Contender[], absent: { absent: string, reason: string }[] }>}
 */
export async function ours() {
  const candidates = [
    { name: 'native', make: nativeContender },
    ...wasmContenders.map((make) => ({ name: 'wasm', make }))
  ]
  const contenders = []
  const absent = []
  for (const { name, make } of candidates) {
    try {
      contenders.push(await make())
    } catch (error) {
      absent.push({ absent: name, reason: /** @type {Error} */ (error).message })
    }
  }
  return { contenders, absent }
}
