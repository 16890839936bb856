// Graph layers and the functions of graphs on the tape, composed of the primitives of message passing.

import { readEdgeWeight } from '../face/graph.js'
import { describe, fault, isArray } from '../checks/errors.js'
import { pickOptions, refuseMore, splitOptions } from '../checks/options.js'
import { allocateIndices, allocateTensor, formatShape } from '../checks/tensor.js'
import { edgesOf } from './edges.js'
import { edgeAttention, edgeSoftmax, inverseRoot, propagate } from './messages.js'
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
    const closed = edges.closed(recorder.backend)
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
 * Attention over the edges of a call, with the options of its layer.
 *
 * @param {Recorder} recorder
 * @param {GraphCall} call
 * @param {import('./messages.js').Scored} scored
 */
function attend(recorder, { config, edges, dropout }, scored) {
  const { addSelfLoops, negativeSlope, fillValue } = config
  const filled = fillValue === 'mean' ? undefined : fillValue
  const options = { addSelfLoops, negativeSlope, fillValue: filled, dropout: dropout?.probability, seed: dropout?.seed }
  return joinHeads(recorder, config, edgeAttention(recorder, edges, scored, options))
}

/**
 * `GATConv` and `GATv2Conv`.
 *
 * @param {Recorder} recorder
 * @param {GraphCall} call
 */
function attention(recorder, call) {
  const { parameters, config, nodes } = call
  const attended = attend(recorder, call, config.version === 1 ? additive(recorder, call) : joint(recorder, call))
  const skip = config.residual ? recorder.linear(nodes[1], matrix(parameters, 'res.weight')) : undefined
  return withBias(recorder, skip ? recorder.add(attended, skip) : attended, parameters.value('bias'))
}

/**
 * The values and scores of `GATConv`.
 *
 * @param {Recorder} recorder
 * @param {GraphCall} call
 */
function additive(recorder, { parameters, config, nodes, edgeAttr }) {
  const [ofSources, ofTargets] = (isArray(config.inFeatures) ? ['lin_src', 'lin_dst'] : ['lin', 'lin']).map((name) =>
    matrix(parameters, `${name}.weight`)
  )
  /**
   * `Wᵀ attention` for each head, so that `attention · (W x)` is its product with x.
   *
   * @param {string} name
   * @param {Value} weight
   */
  const fold = (name, weight) => {
    const [, heads, channels] = matrix(parameters, name).shape
    const inputs = weight.shape[1]
    const products = recorder.multiply(
      recorder.reshape(weight, [heads, channels, inputs]),
      recorder.reshape(matrix(parameters, name), [heads, channels, 1])
    )
    return recorder.reshape(recorder.sum(products, [heads, 1, inputs]), [heads, inputs])
  }
  const [sources, targets] = nodes
  const scored = {
    values: splitHeads(recorder, config, recorder.linear(sources, ofSources)),
    sources: recorder.linear(sources, fold('att_src', ofSources)),
    targets: recorder.linear(targets, fold('att_dst', ofTargets))
  }
  if (!edgeAttr) return scored
  const folded = fold('att_edge', matrix(parameters, 'lin_edge.weight'))
  const edges = recorder.linear(edgeAttr, folded)
  if (!config.addSelfLoops || config.fillValue === 'mean') return { ...scored, edges }
  const loop = filled([1, config.edgeFeatures], config.fillValue)
  return { ...scored, edges, projection: recorder.linear(loop, folded) }
}

/**
 * The values and scores of `GATv2Conv`.
 *
 * @param {Recorder} recorder
 * @param {GraphCall} call
 */
function joint(recorder, call) {
  const { parameters, config, nodes } = call
  const [values, targets] = ['lin_l', 'lin_r'].map((module, end) =>
    splitHeads(recorder, config, project(recorder, call, module, nodes[end]))
  )
  return { values, targets, attention: matrix(parameters, 'att'), ...features(call) }
}

/** The features of edges and their weight, if there are any. @param {GraphCall} call */
const features = ({ parameters, edgeAttr }) =>
  edgeAttr && { edges: edgeAttr, projection: matrix(parameters, 'lin_edge.weight') }

/**
 * `TransformerConv`.
 *
 * @param {Recorder} recorder
 * @param {GraphCall} call
 */
function transformer(recorder, call) {
  const { parameters, config, nodes } = call
  const heads = (/** @type {string} */ module, /** @type {Value} */ x) =>
    splitHeads(recorder, config, project(recorder, call, module, x))
  const output = attend(recorder, call, {
    values: heads('lin_value', nodes[0]),
    sources: heads('lin_key', nodes[0]),
    targets: heads('lin_query', nodes[1]),
    ...features(call)
  })
  const skip = project(recorder, call, 'lin_skip', nodes[1])
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

/** The graph layers, by the operations that create them. @type {[string, import('./layers.js').TraceLayer][]} */
export const GRAPH_LAYERS = [
  ['createGraphConvolution', graphLayer(convolution)],
  ['createGraphSage', graphLayer(sage)],
  ['createGraphAttention', graphLayer(attention)],
  ['createGraphTransformer', graphLayer(transformer)]
]
