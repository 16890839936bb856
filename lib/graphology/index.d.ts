/**
 * Converts graphs of the graphology library to graphs of this package.
 *
 * @module @ruvector/attention/graphology
 */
import type { Graph } from '@ruvector/attention'

/** The methods of a graphology graph that are used here; every kind of graphology graph has them. */
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
 * Converts a graphology graph to a {@link Graph}. Nodes are numbered and edges ordered as graphology iterates over
 * them. An undirected edge becomes two consecutive edges, one in each direction, except for a self-loop.
 *
 * @param options.weight The edge attribute to read `edgeWeight` from.
 * @param options.Graph The Graph class of a specific backend. Default: that of `@ruvector/attention`.
 * @throws {AttentionError} DTYPE if the argument is not such a graph, or a weight is not a number; OPTION
 */
export function fromGraphology(
  graph: GraphologyGraph,
  options?: { weight?: string | null | undefined; Graph?: typeof Graph | null | undefined } | null
): {
  graph: Graph
  /** The key of each node, by its number. */
  nodes: string[]
  /** The number of each node, by its key. */
  index: Map<string, number>
  /** For each edge of the result, the key of its original edge. */
  edges: string[]
  /** `[K]`, present if `weight` names an attribute. */
  edgeWeight?: Float32Array
}
