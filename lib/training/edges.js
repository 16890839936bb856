// Edges that messages flow along: those of a graph, closed by self-loops or not, and those from edges to their targets.

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
    edges = new Edges(backend, parts, [graph.numSources, graph.numTargets])
    known.set(graph, edges)
  }
  return edges
}

export class Edges {
  #backend
  #sizes
  /** @type {Resident | undefined} */
  #resident
  /** @type {Resident | undefined} */
  #reversed
  /** @type {Edges | undefined} */
  #incidence
  /** @type {Closed | undefined} */
  #closed

  /**
   * @param {Backend} backend
   * @param {{ resident?: Resident, source: Int32Array, target: Int32Array }} parts
   * @param {Sizes} sizes
   */
  constructor(backend, { resident, source, target }, sizes) {
    this.#backend = backend
    this.#resident = resident
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

  get resident() {
    return (this.#resident ??= this.#create(this.#sizes, this.source, this.target))
  }

  /** From targets to sources: the way of gradients. */
  get reversed() {
    const [sources, targets] = this.#sizes
    return (this.#reversed ??= this.#create([targets, sources], this.target, this.source))
  }

  /** Edges from each edge, by its number, to its target. */
  get incidence() {
    return (this.#incidence ??= this.#fromEdges(this.target))
  }

  /** The edges without self-loops, then one for each number that is a source's and a target's, as layers add them. */
  get closed() {
    return (this.#closed ??= this.#close())
  }

  /** The number of edges that reach each target. */
  inDegrees() {
    const degrees = allocateIndices('degrees', this.numTargets)
    for (const node of this.target) degrees[node]++
    return degrees
  }

  /** @param {Int32Array} target */
  #fromEdges(target) {
    const source = allocateIndices('edges', target.length)
    source.forEach((_, edge) => (source[edge] = edge))
    return new Edges(this.#backend, { source, target }, [target.length, this.numTargets])
  }

  /** @returns {Closed} */
  #close() {
    const { source, target, count } = this
    const common = Math.min(...this.#sizes)
    const loops = allocateIndices('edges', common).fill(count)
    const kept = allocateIndices('edges', count)
    let length = 0
    for (let edge = 0; edge < count; edge++) {
      if (source[edge] === target[edge]) loops[source[edge]] = edge
      else kept[length++] = edge
    }
    const numbers = allocateIndices('edges', length + common)
    const ends = [source, target].map((nodes) => {
      const all = allocateIndices('edges', numbers.length)
      for (let at = 0; at < length; at++) all[at] = nodes[kept[at]]
      for (let node = 0; node < common; node++) all[length + node] = node
      return all
    })
    for (let at = 0; at < numbers.length; at++) numbers[at] = at < length ? kept[at] : count + at - length
    return {
      edges: new Edges(this.#backend, { source: ends[0], target: ends[1] }, this.#sizes),
      kept: numbers.subarray(0, length),
      incidence: this.#fromEdges(ends[1].subarray(0, length)),
      loops,
      numbers
    }
  }

  /**
   * @param {Sizes} sizes
   * @param {Int32Array} source
   * @param {Int32Array} target
   */
  #create([numSources, numTargets], source, target) {
    const json = JSON.stringify({ numSources, numTargets })
    return new Resident(this.#backend, 'createGraph', json, source, target)
  }
}

/**
 * @typedef {object} Closed
 * @property {Edges} edges
 * @property {Int32Array} kept  the numbers of the edges that are no self-loops
 * @property {Edges} incidence  from the kept edges to their targets
 * @property {Int32Array} loops  the self-loop of each node before, or else the number of edges
 * @property {Int32Array} numbers  the number that the kernel gives to each edge
 */
