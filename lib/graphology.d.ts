/**
 * Graphs of graphology as graphs of this package.
 *
 * @module @ruvector/attention/graphology
 */
import type { Graph } from '@ruvector/attention'

/** What is asked of a graph of graphology: any of its kinds will do. */
export interface GraphologyGraph {
  forEachNode(visit: (node: string) => void): void
  forEachEdge(
    visit: (
      edge: string,
      attributes: Record<string, any>,
      source: string,
      target: string,
      sourceAttributes: Record<string, any>,
      targetAttributes: Record<string, any>,
      undirected: boolean
    ) => void
  ): void
}

/**
 * A graph of graphology as a {@link Graph}. Nodes are numbered, and edges ordered, as graphology goes through them; an
 * undirected edge stands for two, one each way, the second right behind the first, unless it leads from a node to itself.
 *
 * @param options.weight The name of the edges' attribute that gives `edgeWeight`.
 * @param options.Graph The class of one backend's API. Default: that of `@ruvector/attention`.
 * @throws {AttentionError} DTYPE for what is no such graph, and for a weight that is no number; OPTION
 */
export function fromGraphology(
  graph: GraphologyGraph,
  options?: { weight?: string | null; Graph?: typeof Graph | null } | null
): {
  graph: Graph
  /** The key of each node, by its number. */
  nodes: string[]
  /** The number of each node, by its key. */
  index: Map<string, number>
  /** The key of the edge that each of the graph's edges comes from. */
  edges: string[]
  /** `[K]`, where `weight` names an attribute. */
  edgeWeight?: Float32Array
}
