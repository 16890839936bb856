// Graphs of the graphology library: the same nodes and edges, in its order.
import test from 'ava'
import Graphology from 'graphology'
import { init } from '@ruvector/attention'
import { fromGraphology } from '@ruvector/attention/graphology'
import { onBothBackends } from '../support/backends.js'
import { close, faultOf } from '../support/tensors.js'

/** @type {typeof import('graphology').default} */
const Graph = /** @type {any} */ (Graphology)

test('nodes and edges keep their order, and an undirected edge leads both ways', async (t) => {
  await init()
  const club = new Graph({ type: 'mixed', multi: true })
  for (const name of ['ada', 'bob', 'cy']) club.addNode(name)
  club.addDirectedEdgeWithKey('follows', 'cy', 'ada')
  club.addUndirectedEdgeWithKey('friends', 'ada', 'bob')
  club.addUndirectedEdgeWithKey('self', 'bob', 'bob')
  club.addDirectedEdgeWithKey('again', 'cy', 'ada')
  const { graph, nodes, index, edges, edgeWeight } = fromGraphology(club)
  t.deepEqual(nodes, ['ada', 'bob', 'cy'])
  t.deepEqual(
    [...index],
    [
      ['ada', 0],
      ['bob', 1],
      ['cy', 2]
    ]
  )
  t.deepEqual(edges.toSorted(), ['again', 'follows', 'friends', 'friends', 'self'])
  t.deepEqual([...graph.inDegrees()], [3, 2, 0])
  t.is(edgeWeight, undefined)
  t.is(fromGraphology(new Graph()).graph.numNodes, 0)
})

onBothBackends((kind, attention) => {
  test(`${kind}: messages along a graphology graph reach its own neighbors`, (t) => {
    const graphology = new Graph({ type: 'directed' })
    for (let node = 0; node < 40; node++) graphology.addNode(`n${node}`)
    for (let edge = 0; edge < 200; edge++) {
      graphology.mergeEdge(`n${(edge * 7) % 40}`, `n${(edge * edge + 3) % 40}`, { weight: (edge % 9) / 4 })
    }
    const { graph, nodes, edgeWeight, edges } = fromGraphology(graphology, { weight: 'weight', Graph: attention.Graph })
    t.is(graph.numEdges, graphology.size)
    t.deepEqual(edges, graphology.edges())
    const x = { data: Float32Array.from(nodes, (_, node) => node / 8), shape: [nodes.length, 1] }
    const expected = nodes.map((node) =>
      graphology.reduceInEdges(node, (sum, _, { weight }, source) => sum + weight * x.data[nodes.indexOf(source)], 0)
    )
    close(t, attention.propagate(graph, x, { edgeWeight }), expected)
    const layer = new attention.GraphAttention({ inFeatures: 1, outFeatures: 3 })
    t.deepEqual(layer.forward(graph, x).output.shape, [40, 3])
  })
})

test('an invalid graph and a non-numeric weight are errors', (t) => {
  const any = (/** @type {any} */ value) => value
  const { message: _, ...found } = faultOf(t, () => fromGraphology(any({ nodes: [] })))
  t.deepEqual(found, { code: 'DTYPE', argument: 'graph', expected: 'a graphology graph', actual: 'an object' })
  const graphology = new Graph()
  graphology.mergeEdgeWithKey('e', 'a', 'b', { weight: '3' })
  t.like(
    faultOf(t, () => fromGraphology(graphology, { weight: 'weight' })),
    { argument: 'e.weight', code: 'DTYPE' }
  )
  t.like(
    faultOf(t, () => fromGraphology(graphology, { weight: any(3) })),
    { argument: 'weight', code: 'OPTION' }
  )
  t.like(
    faultOf(t, () => fromGraphology(graphology, any({ wait: 1 }))),
    { argument: 'wait', code: 'OPTION' }
  )
  for (const other of ['Graph', {}, Map, { fromEdges: 1 }]) {
    t.like(
      faultOf(t, () => fromGraphology(graphology, { Graph: any(other) })),
      { argument: 'Graph', code: 'OPTION', expected: 'the Graph class of a backend' }
    )
  }
})
