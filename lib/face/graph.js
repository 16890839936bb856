// Graphs in a backend's memory, message passing along their edges, and graph network layers.

import { attentionOutput } from './attention.js'
import { describe, fault, isArray, isObject } from '../checks/errors.js'
import { showInConsole } from './inspect.js'
import { Layer, disposeSymbol, freezeConfig, residentOf } from './layers.js'
import { encodeConfig, refuseMore, splitOptions } from '../checks/options.js'
import { Resident } from '../runtime/resident.js'
import {
  allocateIndices,
  arrayType,
  checkArray,
  checkShape,
  checkTensor,
  formatShape,
  integersOf,
  lengthOf,
  listLengthOf,
  withoutMembers
} from '../checks/tensor.js'

/** @typedef {import('../checks/tensor.js').Checked} Checked */
/**
 * Results of a call; index.d.ts derives their types from the requested options.
 *
 * @typedef {Required<import('../../index.d.ts').GraphOutput>} GraphOutput
 */

/**
 * Copies the nodes at one end of the edges, from which the graph is recreated after a fault.
 *
 * @param {string} name
 * @param {any} nodes
 */
function copyNodes(name, nodes) {
  if (arrayType(nodes) === 'Int32Array') {
    /** @type {Int32Array} */
    const checked = withoutMembers(checkArray(name, nodes, 'Int32Array'))
    const copy = allocateIndices(name, checked.length)
    copy.set(checked)
    return copy
  }
  return integersOf(name, nodes, listLengthOf(nodes))
}

/**
 * Reads the ends of edges from `source` and `target`, or from both rows of PyTorch Geometric's `edge_index`.
 *
 * @param {Record<string, any>} edges
 */
function readEnds({ source, target, edgeIndex }) {
  if (edgeIndex === undefined) return [copyNodes('source', source), copyNodes('target', target)]
  const more = source === undefined ? target : source
  if (more !== undefined) throw fault('OPTION', 'edgeIndex', 'nothing beside source and target', describe(edgeIndex))
  if (!isObject(edgeIndex) || arrayType(edgeIndex) !== undefined || isArray(edgeIndex)) {
    throw fault('DTYPE', 'edgeIndex', 'a tensor { data, shape } of integers', describe(edgeIndex))
  }
  const { data, shape } = /** @type {any} */ (edgeIndex)
  const dims = checkShape('edgeIndex', shape)
  const nodes = copyNodes('edgeIndex', data)
  const [ends, count] = dims
  if (dims.length !== 2 || ends !== 2 || nodes.length !== 2 * count) {
    throw fault('SHAPE', 'edgeIndex', '[2, K], and as many elements', `${nodes.length} of shape ${formatShape(dims)}`)
  }
  return [nodes.slice(0, count), nodes.slice(count)]
}

/**
 * Reads the features of nodes: a tensor, or one for sources and one for targets.
 *
 * @param {unknown} x
 * @returns {[Checked, Checked | undefined]}
 */
function readNodes(x) {
  if (!isArray(x)) return [checkTensor('x', x), undefined]
  if (x.length !== 2) throw fault('SHAPE', 'x', '[xSource, xTarget]', `a list of ${describe(x.length)}`)
  return [checkTensor('xSource', x[0]), checkTensor('xTarget', x[1])]
}

/**
 * Reads weights of edges: an array with one for each edge, or a tensor such as `edgeSoftmax` returns.
 *
 * @param {unknown} value
 * @returns {Checked | undefined}
 */
export function readEdgeWeight(value) {
  if (value === undefined) return undefined
  if (isObject(value) && !isArray(value) && !ArrayBuffer.isView(value)) return checkTensor('edgeWeight', value)
  /** @type {Float32Array} */
  const data = checkArray('edgeWeight', value, 'Float32Array')
  return { data, shape: [lengthOf(data)] }
}

/**
 * Reads one weight per edge, `[K]` or `[K,1]`.
 *
 * @param {unknown} value
 */
function readSingleEdgeWeight(value) {
  const weight = readEdgeWeight(value)
  if (weight === undefined) return undefined
  const { data, shape } = weight
  if (shape.length === 1 || (shape.length === 2 && shape[1] === 1)) return data
  throw fault('SHAPE', 'edgeWeight', '[K] or [K, 1], a weight for each edge', formatShape(shape))
}

/**
 * The resident part of graphs with the ends of their edges, for gradients.
 *
 * @type {WeakMap<object, { resident: Resident, source: Int32Array, target: Int32Array }>}
 */
export const graphParts = new WeakMap()

/** @param {import('../runtime/call-memory.js').Result[]} results @returns {any[]} */
const dataOf = (results) => results.map(({ data }) => data)

/** @param {import('../runtime/backend.js').Backend} backend */
export function createGraphs(backend) {
  /**
   * The resident part of a graph, and its sizes.
   *
   * @type {(graph: unknown) => { resident: Resident, numNodes: number, numEdges: number, numSelfLoops: number }}
   */
  let graphOf
  /** @type {(json: string, source: Int32Array, target: Int32Array) => Graph} */
  let graphBetween

  class Graph {
    #resident
    #source
    #target
    #sizes

    /**
     * Only for {@link Graph.fromEdges}.
     *
     * @param {Resident} [resident]
     * @param {Int32Array} [source]
     * @param {Int32Array} [target]
     */
    constructor(resident, source, target) {
      if (!(resident instanceof Resident)) throw new TypeError('use Graph.fromEdges to create a graph')
      this.#resident = resident
      this.#source = /** @type {Int32Array} */ (source)
      this.#target = /** @type {Int32Array} */ (target)
      this.#sizes = resident.describe()
      graphParts.set(this, { resident, source: this.#source, target: this.#target })
    }

    /** @param {unknown} edges */
    static fromEdges(edges) {
      const { values, json } = splitOptions('edges', edges, ['source', 'target', 'edgeIndex'])
      const [source, target] = readEnds(values)
      return graphBetween(json, source, target)
    }

    static {
      graphBetween = (json, source, target) =>
        new Graph(new Resident(backend, 'createGraph', json, source, target), source, target)
      graphOf = (graph) => {
        if (!isObject(graph) || !(#resident in graph)) {
          throw fault('DTYPE', 'graph', 'a Graph of this backend', describe(graph))
        }
        return { resident: graph.#resident, ...graph.#sizes }
      }
      showInConsole(Graph, (graph) => ({ ...graph.#sizes, backend: graph.#resident.backendKind }))
    }

    /** @returns {number} */
    get numNodes() {
      return this.#sizes.numNodes
    }

    /** @returns {number} */
    get numSources() {
      return this.#sizes.numSources ?? this.#sizes.numNodes
    }

    /** @returns {number} */
    get numTargets() {
      return this.#sizes.numTargets ?? this.#sizes.numNodes
    }

    /** @returns {number} */
    get numEdges() {
      return this.#sizes.numEdges
    }

    inDegrees() {
      this.#resident.use()
      return backend.call('inDegrees', this.#resident).run().data
    }

    reverse() {
      this.#resident.use()
      const json =
        this.#sizes.numSources === undefined
          ? `{"numNodes":${this.numNodes}}`
          : `{"numSources":${this.numTargets},"numTargets":${this.numSources}}`
      return graphBetween(json, this.#target, this.#source)
    }

    dispose() {
      this.#resident.dispose()
    }

    [disposeSymbol]() {
      this.dispose()
    }
  }

  class NeighborSampler {
    #graph
    #fanouts
    #json
    #calls = 0

    /**
     * @param {unknown} graph
     * @param {unknown} config
     */
    constructor(graph, config) {
      const { values, json } = splitOptions('config', config, ['fanouts'])
      this.#fanouts = copyNodes('fanouts', values.fanouts)
      this.#json = json
      this.#graph = graphOf(graph).resident
      // Reports an invalid graph or configuration now.
      this.#draw(new Int32Array())
    }

    /** @param {Int32Array} nodes */
    #draw(nodes) {
      this.#graph.use()
      const call = backend.call('sampleNeighbors', this.#graph).integers(nodes).integers(this.#fanouts)
      return call.integers(Int32Array.of(this.#calls)).options(this.#json).returning(dataOf).run()
    }

    /** @param {unknown} nodes */
    sample(nodes) {
      const [found, edges, source, target] = this.#draw(copyNodes('nodes', nodes))
      this.#calls++
      return { nodes: found, graph: graphBetween(`{"numNodes":${found.length}}`, source, target), edges }
    }
  }

  /** @extends {Layer<GraphOutput>} */
  class GraphLayer extends Layer {
    #config

    /**
     * Only for subclasses inside the package; subclasses by users cannot construct a layer.
     *
     * @param {Resident} [resident]
     */
    constructor(resident) {
      super(resident, GraphLayer.#prepare)
      this.#config = freezeConfig(/** @type {Resident} */ (resident).describe())
    }

    get config() {
      return this.#config
    }

    /**
     * @param {GraphLayer} layer
     * @param {import('../runtime/async/watch.js').Watch | undefined} watch
     * @param {unknown} graph
     * @param {unknown} x
     * @param {unknown} [options]
     */
    static #prepare(layer, watch, graph, x, options) {
      const { resident } = graphOf(graph)
      const [sources, targets] = readNodes(x)
      const { values, json } = splitOptions('options', options, ['edgeAttr', 'edgeWeight'], watch)
      const edgeAttr = values.edgeAttr === undefined ? undefined : checkTensor('edgeAttr', values.edgeAttr)
      const edgeWeight = readSingleEdgeWeight(values.edgeWeight)
      return backend
        .call('graphLayer', residentOf(layer), resident)
        .input(sources)
        .input(targets)
        .input(edgeAttr)
        .floats(edgeWeight)
        .options(json)
        .returning(/** @type {(results: any[]) => GraphOutput} */ (attentionOutput))
    }
  }

  /**
   * @param {'createGraphConvolution' | 'createGraphSage' | 'createGraphAttention' | 'createGraphTransformer'} operation
   * @param {unknown} config
   */
  const make = (operation, config) => new Resident(backend, operation, encodeConfig(config))

  class GraphConvolution extends GraphLayer {
    /** @param {unknown} config */
    constructor(config) {
      super(make('createGraphConvolution', config))
    }
  }

  class GraphSage extends GraphLayer {
    /** @param {unknown} config */
    constructor(config) {
      super(make('createGraphSage', config))
    }
  }

  class GraphAttention extends GraphLayer {
    /** @param {unknown} config */
    constructor(config) {
      super(make('createGraphAttention', config))
    }
  }

  class GraphTransformer extends GraphLayer {
    /** @param {unknown} config */
    constructor(config) {
      super(make('createGraphTransformer', config))
    }
  }

  /**
   * @param {unknown} graph
   * @param {unknown} x
   * @param {unknown} [options]
   */
  function propagate(graph, x, options) {
    const { resident } = graphOf(graph)
    const input = checkTensor('x', x)
    const { values, json } = splitOptions('options', options, ['edgeWeight'])
    const edgeWeight = readEdgeWeight(values.edgeWeight)
    return backend.call('propagate', resident).input(input).input(edgeWeight).options(json).run()
  }

  /**
   * @param {unknown} graph
   * @param {unknown} scores
   * @param {...unknown} more
   */
  function edgeSoftmax(graph, scores, ...more) {
    refuseMore('edgeSoftmax', more)
    const { resident } = graphOf(graph)
    const input = checkTensor('scores', scores)
    return backend.call('edgeSoftmax', resident).input(input).run()
  }

  const layers = { GraphLayer, GraphConvolution, GraphSage, GraphAttention, GraphTransformer }
  return { Graph, NeighborSampler, ...layers, propagate, edgeSoftmax }
}
