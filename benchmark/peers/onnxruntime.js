// ONNX Runtime for Node and for the web (WebAssembly, one thread), each with two operators: its own MultiHeadAttention
// and ONNX's Attention.

import { createRequire } from 'node:module'
import { availableParallelism } from 'node:os'
import { reported } from '../building.js'
import { additiveMask, headsFirst, headsLast } from '../inputs.js'
import { attentionGraph, encoderLayerGraph } from './onnx-layers.js'
import { onnxModel } from './onnx-model.js'
import { importOnnxWeb } from './onnx-web.js'

/** @typedef {import('../types.d.ts').Case} Case */
/** @typedef {import('../types.d.ts').Contender} Contender */
/** @typedef {import('../types.d.ts').Found} Found */
/** @typedef {import('../types.d.ts').Inputs} Inputs */
/** @typedef {{ data: Float32Array | Uint8Array, shape: readonly number[] }} Feed */
/**
 * - `feeds`: the inputs of the model.
 * - `read`: converts its output to our layout, if necessary.
 *
 * @typedef {{ model: Parameters<typeof onnxModel>[0], feeds: Record<string, Feed>, read?: (output: Float32Array) =>
 *   Float32Array }} Plan
 */

/** @param {Case} problem @param {Inputs} inputs @returns {Plan | string} */
function multiHeadAttention(problem, inputs) {
  const { heads, kvHeads, queries, causal } = problem
  if (kvHeads !== heads) return 'no grouped heads'
  if (inputs.mask?.data instanceof Uint8Array) return 'no boolean masks'
  const bias = additiveMask(problem, inputs, false)
  // The faster layout for each: that of a cache for one query, that of projections for several.
  const [key, value] = queries === 1 ? [inputs.k, inputs.v] : [headsLast(inputs.k), headsLast(inputs.v)]
  const feeds = {
    q: headsLast(inputs.q),
    k: key,
    v: value,
    ...(bias && { bias: { ...bias, shape: [1, 1, ...bias.shape] } })
  }
  const node = {
    op: 'MultiHeadAttention',
    domain: 'com.microsoft',
    inputs: bias ? ['q', 'k', 'v', '', '', 'bias'] : ['q', 'k', 'v'],
    output: 'y',
    attributes: { num_heads: heads, ...(causal && { unidirectional: 1 }) }
  }
  const model = { nodes: [node], inputs: feeds, output: { name: 'y', shape: feeds.q.shape } }
  return { model, feeds, read: (output) => headsFirst(output, problem) }
}

/** @param {Case} problem @param {Inputs} inputs @returns {Plan} */
function attention({ causal }, { q, k, v, mask }) {
  const feeds = { q, k, v, ...(mask && { mask }) }
  const node = {
    op: 'Attention',
    inputs: Object.keys(feeds),
    output: 'y',
    ...(causal && { attributes: { is_causal: 1 } })
  }
  return { model: { nodes: [node], inputs: feeds, output: { name: 'y', shape: q.shape } }, feeds }
}

/**
 * A layer around the operator: three projections and MultiHeadAttention, or ONNX Runtime's fused Attention, which
 * includes projections.
 *
 * @param {Case} problem
 * @param {Inputs} inputs
 * @param {boolean} isFused
 * @returns {Plan}
 */
function layer({ heads }, { x, state }, isFused) {
  const graph = attentionGraph(state, '', { heads, isFused }, 'x', 'y')
  return { model: { ...graph, inputs: { x }, output: { name: 'y', shape: x.shape } }, feeds: { x } }
}

/**
 * An encoder layer around either operator; ONNX Runtime fuses other nodes when it loads the model.
 *
 * @param {Case} problem
 * @param {Inputs} inputs
 * @param {boolean} isFused
 * @returns {Plan}
 */
function encoderLayer({ heads }, { x, state }, isFused) {
  const graph = encoderLayerGraph(state, '', { heads, isFused, epsilon: 1e-5 }, 'x', 'y')
  return { model: { ...graph, inputs: { x }, output: { name: 'y', shape: x.shape } }, feeds: { x } }
}

/**
 * @param {any} ort
 * @param {Pick<Contender, 'family' | 'version' | 'warmsUp' | 'threaded'>} about
 * @returns {Found}
 */
function contenders(ort, about) {
  /** @param {string} operator @param {(problem: Case, inputs: Inputs) => Plan | string} plan @returns {Contender} */
  const contender = (operator, plan) => ({
    ...about,
    name: `${about.family} ${operator}`,
    side: 'peer',
    kinds: ['attention', 'layer', 'encoder'],
    async prepare(problem, inputs) {
      const planned = plan(problem, inputs)
      if (typeof planned === 'string') return planned
      const options = {
        intraOpNumThreads: problem.threads,
        interOpNumThreads: 1,
        executionMode: 'sequential',
        logSeverityLevel: 3
      }
      const model = onnxModel(planned.model)
      const session = await reported(
        `compiling the ONNX model of ${problem.name} for ${about.family}'s ${operator}`,
        () => ort.InferenceSession.create(model, options)
      )
      const feeds = Object.fromEntries(
        Object.entries(planned.feeds).map(([name, { data, shape }]) => [
          name,
          new ort.Tensor(data instanceof Uint8Array ? 'bool' : 'float32', data, shape)
        ])
      )
      const { read = (/** @type {Float32Array} */ output) => output } = planned
      return {
        run: () => session.run(feeds),
        read: ({ y }) => read(y.data),
        dispose: () => session.release()
      }
    }
  })
  /**
   * @param {(problem: Case, inputs: Inputs) => string | Plan} attend
   * @param {boolean} isFused
   * @returns {(problem: Case, inputs: Inputs) => string | Plan}
   */
  const planner = (attend, isFused) => (problem, inputs) => {
    if (problem.kind === 'layer') return layer(problem, inputs, isFused)
    return problem.kind === 'encoder' ? encoderLayer(problem, inputs, isFused) : attend(problem, inputs)
  }
  return {
    contenders: [
      contender('MultiHeadAttention', planner(multiHeadAttention, false)),
      contender('Attention', planner(attention, true))
    ]
  }
}

/** @param {string} name */
const versionOf = (name) => createRequire(import.meta.url)(`${name}/package.json`).version

/** @returns {Promise<Found>} */
export async function onnxruntimeNode() {
  const name = 'onnxruntime-node'
  const { default: ort } = await import(name)
  return contenders(ort, {
    family: name,
    version: versionOf(name),
    warmsUp: false,
    threaded: availableParallelism() > 1
  })
}

/** @returns {Promise<Found>} */
export async function onnxruntimeWeb() {
  const ort = await importOnnxWeb()
  return contenders(ort, {
    family: 'onnxruntime-web',
    version: ort.env.versions.common,
    warmsUp: true,
    threaded: false
  })
}
