// Graph layers and the functions of graphs on the tape, composed of the primitives of message passing.

import { readEdgeWeight } from '../face/graph.js'
import { describe, fault, isArray } from '../checks/errors.js'
import { pickOptions, refuseMore, splitOptions } from '../checks/options.js'
import { allocateIndices, allocateTensor, formatShape } from '../checks/tensor.js'
import { edgesOf } from './edges.js'
import { edgeDots, edgeSoftmax, edgeSums, inverseRoot, jointScores, leaky, propagate } from './messages.js'
import { Value } from './tape.js'

/** @typedef {import('./edges.js').Edges} Edges */
/** @typedef {import('./edges.js').Closed} Closed */
/** @typedef {import('./messages.js').Reduce} Reduce */
/** @typedef {import('./recorder.js').Recorder} Recorder */
/** @typedef {import('./scope.js').Inputs} Inputs */
/** @typedef {import('./scope.js').Parameters} Parameters */
/**
 * One call of a graph layer.
 *
 * @typedef {object} GraphCall
 * @property {Parameters} parameters
 * @property {Record<string, any>} config
 * @property {Edges} edges
 * @property {[sources: Value, targets: Value]} nodes
 * @property {Value} [edgeAttr]  `[K, edgeFeatures]`
 * @property {Value} [edgeWeight]  `[K, 1]`
 * @property {{ probability: number, seed: number }} [dropout]
 */

/** The reductions that have gradients. @type {readonly unknown[]} */
const REDUCTIONS = ['sum', 'mean', 'max', 'min']

/** @type {import('./functions.js').Trace} */
export function propagateOf(recorder, inputs, [graph, x, options, ...more]) {
  refuseMore('propagate', more)
  const edges = edgesOf(recorder.backend, graph)
  const input = inputs.tensor('x', x)
  const { reduce = 'sum', edgeWeight } = pickOptions(options, ['reduce', 'edgeWeight'])
  if (!REDUCTIONS.includes(reduce)) throw fault('OPTION', 'reduce', 'a known reduction', describe(reduce))
  const weight = inputs.optional('edgeWeight', readEdgeWeight(edgeWeight))
  return propagate(recorder, edges, input, weight, /** @type {Reduce} */ (reduce))
}

/** @type {import('./functions.js').Trace} */
export const edgeSoftmaxOf = (recorder, inputs, [graph, scores]) =>
  edgeSoftmax(recorder, edgesOf(recorder.backend, graph), inputs.tensor('scores', scores))

/**
 * A layer that is recorded by `trace`, after its arguments were read.
 *
 * @param {(recorder: Recorder, call: GraphCall) => Value} trace
 * @returns {import('./layers.js').TraceLayer}
 */
const graphLayer =
  (trace) =>
  (recorder, inputs, { config, parameters, resident }, [graph, x, options]) => {
    const edges = edgesOf(recorder.backend, graph)
    const { values, json } = splitOptions('options', options, ['edgeAttr', 'edgeWeight'])
    const { weights, seed = config.seed, ...unknown } = JSON.parse(json)
    if (weights) throw fault('OPTION', 'weights', 'none: vjp has the output alone', `${weights}`)
    const [name] = Object.keys(unknown)
    if (name !== undefined) throw fault('OPTION', name, 'no such option', 'one')
    const probability = resident.training ? (config.dropout ?? 0) : 0
    return trace(recorder, {
      parameters,
      config,
      edges,
      nodes: readNodes(inputs, config, edges, x),
      edgeAttr: readEdges(recorder, inputs, edges, 'edgeAttr', values.edgeAttr, config.edgeFeatures),
      edgeWeight: readEdges(
        recorder,
        inputs,
        edges,
        'edgeWeight',
        readEdgeWeight(values.edgeWeight),
        weightsOf(config)
      ),
      ...(probability > 0 && { dropout: { probability, seed } })
    })
  }

/** Only GraphConvolution takes weights of edges, one for each. @param {Record<string, any>} config */
const weightsOf = (config) => ('improved' in config ? 1 : undefined)

/**
 * The features of the nodes, or of the sources and of the targets.
 *
 * @param {Inputs} inputs
 * @param {Record<string, any>} config
 * @param {Edges} edges
 * @param {unknown} x
 * @returns {[Value, Value]}
 */
function readNodes(inputs, { inFeatures, ...config }, { numSources, numTargets }, x) {
  const widths = isArray(inFeatures) ? inFeatures : [inFeatures, inFeatures]
  if (isArray(x) && (x.length !== 2 || 'improved' in config)) throw fault('SHAPE', 'x', 'node features', 'a list')
  const names = isArray(x) ? ['xSource', 'xTarget'] : ['x']
  const values = names.map((name, at) => inputs.tensor(name, isArray(x) ? x[at] : x))
  if (isArray(x)) {
    for (const name of names) inputs.values.delete(name)
    inputs.values.set('x', values)
  }
  const [sources, targets = sources] = values
  const expected = [
    [numSources, widths[0]],
    [numTargets, widths[1]]
  ]
  for (const [at, { shape }] of [sources, targets].entries()) {
    if (`${shape}` !== `${expected[at]}`) throw fault('SHAPE', 'x', formatShape(expected[at]), formatShape(shape))
  }
  return [sources, targets]
}

/**
 * Values of edges, as rows of `width`.
 *
 * @param {Recorder} recorder
 * @param {Inputs} inputs
 * @param {Edges} edges
 * @param {string} name
 * @param {unknown} given
 * @param {number | null | undefined} width  none if the layer takes no such values
 */
function readEdges(recorder, inputs, edges, name, given, width) {
  const value = inputs.optional(name, given)
  if (!width && value === undefined) return undefined
  const shape = [edges.count, width ?? 0]
  if (value === undefined && name === 'edgeWeight') return undefined
  if (value === undefined || !width) throw fault('OPTION', name, 'values of edges as the layer has them', 'others')
  const fits = `${value.shape}` === `${shape}` || (width === 1 && `${value.shape}` === `${[edges.count]}`)
  if (!fits) throw fault('SHAPE', name, formatShape(shape), formatShape(value.shape))
  return recorder.reshape(value, shape)
}

/** @param {Parameters} parameters @param {string} name */
const matrix = (parameters, name) => /** @type {Value} */ (parameters.value(name))

/**
 * A projection of a layer, by the name of its module.
 *
 * @param {Recorder} recorder
 * @param {GraphCall} call
 * @param {string} module
 * @param {Value} x
 */
const project = (recorder, { parameters }, module, x) =>
  recorder.linear(x, matrix(parameters, `${module}.weight`), parameters.value(`${module}.bias`))

/** @param {Recorder} recorder @param {Value} x @param {number} factor */
const scale = (recorder, x, factor) =>
  recorder.multiply(x, Value.constant({ data: Float32Array.of(factor), shape: [1] }))

/** @param {number[]} shape @param {number} value */
function filled(shape, value) {
  const tensor = allocateTensor('output', shape)
  tensor.data.fill(value)
  return Value.constant(tensor)
}

/** @param {Int32Array} data */
const list = (data) => ({ data, shape: [data.length] })

/** @param {Recorder} recorder @param {Value} x @param {Value | undefined} bias */
const withBias = (recorder, x, bias) => (bias ? recorder.add(x, bias) : x)

/**
 * `GCNConv`: the message of an edge is its weight times its source, over the roots of both degrees.
 *
 * @param {Recorder} recorder
 * @param {GraphCall} call
 */
function convolution(recorder, call) {
  const { parameters, config, nodes } = call
  let { edges, edgeWeight } = call
  if (config.addSelfLoops) {
    const { closed } = edges
    if (edgeWeight) edgeWeight = closedWeights(recorder, closed, edgeWeight, config.improved ? 2 : 1)
    edges = closed.edges
  }
  const x = project(recorder, call, 'lin', nodes[0])
  const bias = parameters.value('bias')
  if (!config.normalize) return withBias(recorder, propagate(recorder, edges, x, edgeWeight), bias)
  const degrees = propagate(recorder, edges, filled([edges.numSources, 1], 1), edgeWeight)
  const roots = inverseRoot(recorder, degrees)
  const sums = propagate(recorder, edges, recorder.multiply(x, roots), edgeWeight)
  return withBias(recorder, recorder.multiply(sums, roots), bias)
}

/**
 * The weights of closed edges: a self-loop keeps its weight, and a new one has that of `loop`.
 *
 * @param {Recorder} recorder
 * @param {Closed} closed
 * @param {Value} weight
 * @param {number} loop
 */
function closedWeights(recorder, { kept, loops }, weight, loop) {
  const table = recorder.concat([weight, filled([1, 1], loop)], 0)
  const rows = allocateIndices('edges', kept.length + loops.length)
  rows.set(kept)
  rows.set(loops, kept.length)
  return recorder.embedding(table, list(rows))
}

/**
 * `SAGEConv`.
 *
 * @param {Recorder} recorder
 * @param {GraphCall} call
 */
function sage(recorder, call) {
  const { parameters, config, edges, nodes } = call
  const [sources, targets] = nodes
  const x = config.project ? recorder.activate('relu', project(recorder, call, 'lin', sources)) : sources
  const around = project(recorder, call, 'lin_l', propagate(recorder, edges, x, undefined, config.reduce))
  const output = config.rootWeight
    ? recorder.add(around, recorder.linear(targets, matrix(parameters, 'lin_r.weight')))
    : around
  if (!config.normalize) return output
  const [rows, width] = output.shape
  return recorder.meanPool(recorder.reshape(output, [rows, 1, width]), {}, '{"normalize":true}')
}

/**
 * `GATConv` and `GATv2Conv`.
 *
 * @param {Recorder} recorder
 * @param {GraphCall} call
 */
function attention(recorder, call) {
  const { parameters, config, nodes } = call
  let { edges, edgeAttr } = call
  const { count } = edges
  let numbers
  if (config.addSelfLoops) {
    const { closed } = edges
    if (edgeAttr) edgeAttr = closedAttributes(recorder, closed, edgeAttr, config.fillValue)
    ;({ edges, numbers } = closed)
  }
  const scored = config.version === 1 ? additive : joint
  const { values, scores } = scored(recorder, call, edges, edgeAttr)
  const weights = drop(recorder, call, edgeSoftmax(recorder, edges, scores), count, numbers)
  const attended = joinHeads(recorder, config, propagate(recorder, edges, values, weights))
  const skip = config.residual ? recorder.linear(nodes[1], matrix(parameters, 'res.weight')) : undefined
  return withBias(recorder, skip ? recorder.add(attended, skip) : attended, parameters.value('bias'))
}

/**
 * The features of closed edges: those of a new self-loop are a constant, or the mean over the node's other edges.
 *
 * @param {Recorder} recorder
 * @param {Closed} closed
 * @param {Value} edgeAttr
 * @param {'mean' | number} fillValue
 */
function closedAttributes(recorder, { kept, incidence, loops }, edgeAttr, fillValue) {
  const own = recorder.embedding(edgeAttr, list(kept))
  const shape = [loops.length, edgeAttr.shape[1]]
  if (fillValue !== 'mean') return recorder.concat([own, filled(shape, fillValue)], 0)
  const means = propagate(recorder, incidence, own, undefined, 'mean')
  const [ofLoops] = recorder.split(means, 0, [loops.length, incidence.numTargets - loops.length])
  return recorder.concat([own, ofLoops], 0)
}

/**
 * The values and scores of `GATConv`.
 *
 * @param {Recorder} recorder
 * @param {GraphCall} call
 * @param {Edges} edges
 * @param {Value} [edgeAttr]
 */
function additive(recorder, { parameters, config, nodes }, edges, edgeAttr) {
  const [ofSources, ofTargets] = (isArray(config.inFeatures) ? ['lin_src', 'lin_dst'] : ['lin', 'lin']).map((name) =>
    matrix(parameters, `${name}.weight`)
  )
  /** `attention · (W x)` for each row and head, as `(Wᵀ attention) · x`. @param {string} name @param {Value} weight @param {Value} x */
  const score = (name, weight, x) => {
    const [, heads, channels] = matrix(parameters, name).shape
    const inputs = weight.shape[1]
    const products = recorder.multiply(
      recorder.reshape(weight, [heads, channels, inputs]),
      recorder.reshape(matrix(parameters, name), [heads, channels, 1])
    )
    return recorder.linear(x, recorder.reshape(recorder.sum(products, [heads, 1, inputs]), [heads, inputs]))
  }
  const [sources, targets] = nodes
  const ends = edgeSums(recorder, edges, score('att_src', ofSources, sources), score('att_dst', ofTargets, targets))
  const all = edgeAttr ? recorder.add(ends, score('att_edge', matrix(parameters, 'lin_edge.weight'), edgeAttr)) : ends
  const values = splitHeads(recorder, config, recorder.linear(sources, ofSources))
  return { values, scores: leaky(recorder, all, config.negativeSlope) }
}

/**
 * The values and scores of `GATv2Conv`.
 *
 * @param {Recorder} recorder
 * @param {GraphCall} call
 * @param {Edges} edges
 * @param {Value} [edgeAttr]
 */
function joint(recorder, call, edges, edgeAttr) {
  const { parameters, config, nodes } = call
  const sources = project(recorder, call, 'lin_l', nodes[0])
  const targets = project(recorder, call, 'lin_r', nodes[1])
  const features = edgeAttr && project(recorder, call, 'lin_edge', edgeAttr)
  const inputs = /** @type {const} */ ([sources, targets, matrix(parameters, 'att'), features])
  const scores = jointScores(recorder, edges, inputs, config.negativeSlope)
  return { values: splitHeads(recorder, config, sources), scores }
}

/**
 * `TransformerConv`.
 *
 * @param {Recorder} recorder
 * @param {GraphCall} call
 */
function transformer(recorder, call) {
  const { parameters, config, edges, nodes, edgeAttr } = call
  const [sources, targets] = nodes
  const heads = (/** @type {string} */ module, /** @type {Value} */ x) =>
    splitHeads(recorder, config, project(recorder, call, module, x))
  const [queries, keys, values] = [heads('lin_query', targets), heads('lin_key', sources), heads('lin_value', sources)]
  const features = edgeAttr && heads('lin_edge', edgeAttr)
  // The features of an edge are added to its key and to its value.
  const products = edgeDots(recorder, edges, keys, queries)
  const all = features ? recorder.add(products, edgeDots(recorder, edges.incidence, features, queries)) : products
  const softmax = edgeSoftmax(recorder, edges, scale(recorder, all, 1 / Math.sqrt(config.outFeatures)))
  const weights = drop(recorder, call, softmax, edges.count)
  const sums = propagate(recorder, edges, values, weights)
  const both = features ? recorder.add(sums, propagate(recorder, edges.incidence, features, weights)) : sums
  const output = joinHeads(recorder, config, both)

  const skip = project(recorder, call, 'lin_skip', targets)
  if (!config.beta) return recorder.add(output, skip)
  // β · skip + (1 − β) · output = output + β · (skip − output)
  const change = recorder.add(skip, scale(recorder, output, -1))
  const gates = recorder.concat([output, skip, scale(recorder, change, -1)], -1)
  const beta = recorder.activate('sigmoid', recorder.linear(gates, matrix(parameters, 'lin_beta.weight')))
  return recorder.add(output, recorder.multiply(beta, change))
}

/** @param {Recorder} recorder @param {Record<string, any>} config @param {Value} x */
const splitHeads = (recorder, { numHeads, outFeatures }, x) => recorder.reshape(x, [x.shape[0], numHeads, outFeatures])

/**
 * Concatenates heads `[N, H, C]`, or averages them.
 *
 * @param {Recorder} recorder
 * @param {Record<string, any>} config
 * @param {Value} x
 */
function joinHeads(recorder, { concat, numHeads, outFeatures }, x) {
  const [rows] = x.shape
  if (concat) return recorder.reshape(x, [rows, numHeads * outFeatures])
  const sum = recorder.sum(x, [rows, 1, outFeatures])
  return recorder.reshape(scale(recorder, sum, 1 / numHeads), [rows, outFeatures])
}

/** The stream of dropout that attention weights of the first head have. */
const FIRST_HEAD = 2 ** 32 - 1

/**
 * Drops weights as the kernel does: by the number of the edge, which the self-loops that were added continue.
 *
 * @param {Recorder} recorder
 * @param {GraphCall} call
 * @param {Value} weights  `[K′, H]`
 * @param {number} count  of the edges given
 * @param {Int32Array} [numbers]  of the edges; by default from 0 on
 */
function drop(recorder, { dropout }, weights, count, numbers) {
  if (dropout === undefined) return weights
  const [rows, heads] = weights.shape
  const all = numbers ? count + rows : rows
  const options = { ...dropout, stream: FIRST_HEAD, length: Math.max(1, all) }
  const factors = recorder.dropout(filled([all, heads], 1), options)
  return recorder.multiply(weights, numbers ? recorder.embedding(factors, list(numbers)) : factors)
}

/** The graph layers, by the operations that create them. @type {[string, import('./layers.js').TraceLayer][]} */
export const GRAPH_LAYERS = [
  ['createGraphConvolution', graphLayer(convolution)],
  ['createGraphSage', graphLayer(sage)],
  ['createGraphAttention', graphLayer(attention)],
  ['createGraphTransformer', graphLayer(transformer)]
]
