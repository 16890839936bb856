// Edges that messages flow along: those of a graph, and the same edges closed by self-loops.

import { graphParts } from '../face/graph.js'
import { describe, fault, isObject } from '../checks/errors.js'
import { allocateIndices } from '../checks/tensor.js'
import { Resident } from '../runtime/resident.js'

/** @typedef {import('../runtime/backend.js').Backend} Backend */
/** The numbers of sources and of targets. @typedef {readonly [sources: number, targets: number]} Sizes */

/** The edges of graphs, with what was derived from them. @type {WeakMap<object, Edges>} */
const known = new WeakMap()

/**
 * @param {Backend} backend
 * @param {any} graph
 */
export function edgesOf(backend, graph) {
  const parts = isObject(graph) ? graphParts.get(graph) : undefined
  if (!parts?.resident.isOf(backend)) throw fault('DTYPE', 'graph', 'a Graph of this backend', describe(graph))
  parts.resident.use()
  let edges = known.get(graph)
  if (edges === undefined) {
    edges = new Edges(parts, [graph.numSources, graph.numTargets])
    known.set(graph, edges)
  }
  return edges
}

export class Edges {
  #sizes
  /** @type {Closed | undefined} */
  #closed

  /**
   * @param {{ resident: Resident, source: Int32Array, target: Int32Array }} parts
   * @param {Sizes} sizes
   */
  constructor({ resident, source, target }, sizes) {
    this.resident = resident
    this.#sizes = sizes
    this.source = source
    this.target = target
  }

  get count() {
    return this.source.length
  }

  get numSources() {
    return this.#sizes[0]
  }

  get numTargets() {
    return this.#sizes[1]
  }

  /**
   * The edges without self-loops, then one for each node, as GCN weights them.
   *
   * @param {Backend} backend
   * @returns {Closed}
   */
  closed(backend) {
    return (this.#closed ??= this.#close(backend))
  }

  /**
   * @param {Backend} backend
   * @returns {Closed}
   */
  #close(backend) {
    const { source, target, count } = this
    const [numSources, numTargets] = this.#sizes
    const common = Math.min(numSources, numTargets)
    const loops = allocateIndices('edges', common).fill(count)
    const kept = allocateIndices('edges', count)
    let length = 0
    for (let edge = 0; edge < count; edge++) {
      if (source[edge] === target[edge]) loops[source[edge]] = edge
      else kept[length++] = edge
    }
    const ends = [source, target].map((nodes) => {
      const all = allocateIndices('edges', length + common)
      for (let at = 0; at < length; at++) all[at] = nodes[kept[at]]
      for (let node = 0; node < common; node++) all[length + node] = node
      return all
    })
    const json = JSON.stringify({ numSources, numTargets })
    const resident = new Resident(backend, 'createGraph', json, ...ends)
    return {
      edges: new Edges({ resident, source: ends[0], target: ends[1] }, this.#sizes),
      kept: kept.subarray(0, length),
      loops
    }
  }
}

/**
 * @typedef {object} Closed
 * @property {Edges} edges
 * @property {Int32Array} kept  the numbers of the edges that are not self-loops
 * @property {Int32Array} loops  the last self-loop of each node before, or else the number of edges
 */
