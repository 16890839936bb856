// Converts graphs of the graphology library: nodes are numbered in graphology's order.

import { Graph as DefaultGraph } from '@ruvector/attention'
import { describe, fault, isFunction, isObject } from '../checks/errors.js'
import { pickOptions } from '../checks/options.js'

/** @typedef {import('./index.d.ts').GraphologyGraph} GraphologyGraph */

/**
 * @param {unknown} graph
 * @returns {GraphologyGraph}
 */
function checkGraph(graph) {
  const { forEachNode, forEachEdge } = isObject(graph) ? /** @type {any} */ (graph) : {}
  if (!isFunction(forEachNode) || !isFunction(forEachEdge)) {
    throw fault('DTYPE', 'graph', 'a graphology graph', describe(graph))
  }
  return {
    forEachNode: (visit) => Reflect.apply(forEachNode, graph, [visit]),
    forEachEdge: (visit) => Reflect.apply(forEachEdge, graph, [visit])
  }
}

/** @type {typeof import('./index.d.ts').fromGraphology} */
export function fromGraphology(graphology, options) {
  const given = checkGraph(graphology)
  const { weight, Graph = DefaultGraph } = pickOptions(options, ['weight', 'Graph'])
  if (weight !== undefined && typeof weight !== 'string') {
    throw fault('OPTION', 'weight', "the name of an edge's attribute", describe(weight))
  }
  const isAsked = isFunction(Graph) || isObject(Graph)
  if (!isAsked || !isFunction(/** @type {any} */ (Graph).fromEdges)) {
    throw fault('OPTION', 'Graph', 'the Graph class of a backend', describe(Graph))
  }
  /** @type {string[]} */
  const nodes = []
  /** @type {Map<string, number>} */
  const index = new Map()
  given.forEachNode((node) => {
    index.set(node, nodes.length)
    nodes.push(node)
  })

  /** @type {string[]} */
  const edges = []
  /** @type {number[]} */
  const source = []
  /** @type {number[]} */
  const target = []
  /** @type {number[]} */
  const weights = []
  given.forEachEdge((edge, attributes, from, to, _source, _target, undirected) => {
    const ends = [Number(index.get(from)), Number(index.get(to))]
    const number = weight === undefined ? 1 : attributes[weight]
    if (typeof number !== 'number') throw fault('DTYPE', `${edge}.${weight}`, 'a number', describe(number))
    // An undirected edge becomes two edges, except for a self-loop.
    for (const [a, b] of undirected && from !== to ? [ends, [ends[1], ends[0]]] : [ends]) {
      edges.push(edge)
      source.push(a)
      target.push(b)
      weights.push(number)
    }
  })
  const graph = /** @type {typeof DefaultGraph} */ (Graph).fromEdges({ numNodes: nodes.length, source, target })
  return { graph, nodes, index, edges, ...(weight !== undefined && { edgeWeight: Float32Array.from(weights) }) }
}
