// Graphs between two node sets, sampled subgraphs, heterogeneous graphs made of them, and parameters under older names:
// compared with PyTorch Geometric, and checked for general properties.
import test from 'ava'
import fc from 'fast-check'
import { onBothBackends } from '../support/backends.js'
import { difference, readGolden } from '../support/golden.js'
import { bits, faultOf, normal, random, requireClose } from '../support/tensors.js'

/** @typedef {import('@ruvector/attention').Attention} Attention */
/** @typedef {import('@ruvector/attention').Tensor} Tensor */

const { reference, cases } = readGolden('torch-geometric')
const tolerance = { absolute: 3e-5 }

/** @param {Tensor[]} tensors */
function sum(...tensors) {
  const [{ data, shape }, ...others] = tensors
  return { data: data.map((value, index) => others.reduce((total, other) => total + other.data[index], value)), shape }
}

/** @param {Tensor} tensor @param {ArrayLike<number>} order */
function rows({ data, shape }, order) {
  const width = shape.slice(1).reduce((a, b) => a * b, 1)
  const moved = new Float32Array(order.length * width)
  for (let to = 0; to < order.length; to++) {
    moved.set(data.subarray(order[to] * width, (order[to] + 1) * width), to * width)
  }
  return { data: moved, shape: [order.length, ...shape.slice(1)] }
}

const one = (/** @type {number} */ min, /** @type {number} */ max) => fc.integer({ min, max })

onBothBackends((kind, attention) => {
  const { Graph, GraphAttention, GraphConvolution, GraphSage, GraphTransformer, NeighborSampler } = attention

  for (const golden of cases.filter((candidate) => candidate.kind === 'between')) {
    test(`${kind} gives what ${reference} gives: ${golden.name}`, (t) => {
      const { x, xTarget, edgeIndex, edgeAttr, output, weights } = golden.tensors
      const state = Object.entries(golden.tensors).filter(([name]) => name.startsWith('state.'))
      const named = Object.fromEntries(state.map(([name, tensor]) => [name.slice('state.'.length), tensor]))
      const Layer = /** @type {any} */ (attention)[golden.layer]
      const layer = new Layer({ ...golden.config, seed: 1 }).loadStateDict(named)
      const graph = Graph.fromEdges({ numSources: x.shape[0], numTargets: xTarget.shape[0], edgeIndex })
      const found = layer.forward(graph, [x, xTarget], { edgeAttr, weights: weights !== undefined })
      t.is(difference(found.output, output, tolerance), undefined)
      t.is(weights && difference(found.weights, weights, tolerance), undefined)
      t.deepEqual(layer.config.inFeatures, golden.config.inFeatures)
    })
  }

  for (const golden of cases.filter((candidate) => candidate.kind === 'heterogeneous')) {
    test(`${kind}: a layer for each relation and sums of their outputs give what ${reference} gives: ${golden.name}`, (t) => {
      const { tensors } = golden
      /** @type {Record<string, Tensor>} */
      let x = { author: tensors['x.author'], paper: tensors['x.paper'] }
      const [numAuthors, numPapers] = [x.author.shape[0], x.paper.shape[0]]
      const edges = (/** @type {string} */ relation) => ({ edgeIndex: tensors[`edgeIndex.${relation}`] })
      const writes = Graph.fromEdges({ numSources: numAuthors, numTargets: numPapers, ...edges('writes') })
      const cites = Graph.fromEdges({ numNodes: numPapers, ...edges('cites') })
      const writtenBy = Graph.fromEdges({ numSources: numPapers, numTargets: numAuthors, ...edges('written_by') })
      for (const depth of [0, 1]) {
        const [author, paper] = [x.author.shape[1], x.paper.shape[1]]
        const load = (/** @type {any} */ layer, /** @type {string} */ relation) =>
          layer.loadStateDict(tensors, { prefix: `layer${depth}.${relation}` })
        const heads = { numHeads: 2, concat: false, addSelfLoops: false }
        const convolutions = {
          writes: load(new GraphSage({ inFeatures: [author, paper], outFeatures: 8 }), 'writes'),
          cites: load(new GraphAttention({ inFeatures: paper, outFeatures: 8 }), 'cites'),
          writtenBy: load(
            new GraphAttention({ inFeatures: [paper, author], outFeatures: 8, version: 1, ...heads }),
            'written_by'
          )
        }
        x = {
          author: attention.relu(convolutions.writtenBy.forward(writtenBy, [x.paper, x.author]).output),
          paper: attention.relu(
            sum(
              convolutions.writes.forward(writes, [x.author, x.paper]).output,
              convolutions.cites.forward(cites, x.paper).output
            )
          )
        }
      }
      t.is(difference(x.author, tensors['output.author'], tolerance), undefined)
      t.is(difference(x.paper, tensors['output.paper'], tolerance), undefined)
    })
  }

  test(`${kind}: edges between two sets equal edges of one set that holds both`, (t) => {
    const problems = fc.record({ sources: one(1, 12), targets: one(1, 12), edges: one(0, 60), seed: one(0, 1e6) })
    const holds = fc.property(problems, ({ sources, targets, edges, seed }) => {
      const next = random(seed)
      const draw = (/** @type {number} */ count) => Int32Array.from({ length: edges }, () => Math.floor(next() * count))
      const [source, target] = [draw(sources), draw(targets)]
      const apart = Graph.fromEdges({ numSources: sources, numTargets: targets, source, target })
      const numNodes = sources + targets
      t.deepEqual([apart.numNodes, apart.numSources, apart.numTargets], [numNodes, sources, targets])
      const whole = Graph.fromEdges({ numNodes, source, target: target.map((node) => node + sources) })
      const [x, y, edgeAttr] = [
        normal([sources, 5], seed),
        normal([targets, 5], seed + 1),
        normal([edges, 2], seed + 2)
      ]
      const both = { data: Float32Array.of(...x.data, ...y.data), shape: [numNodes, 5] }
      const last = Array.from({ length: targets }, (_, node) => sources + node)
      t.deepEqual([...apart.inDegrees()], [...whole.inDegrees().subarray(sources)])
      t.deepEqual([...apart.reverse().inDegrees()], [...whole.reverse().inDegrees().subarray(0, sources)])
      for (const reduce of /** @type {const} */ (['sum', 'mean', 'max', 'min'])) {
        const expected = rows(attention.propagate(whole, both, { reduce }), last)
        t.is(bits(attention.propagate(apart, x, { reduce })), bits(expected))
      }
      const scores = normal([edges, 2], seed + 3)
      t.is(bits(attention.edgeSoftmax(apart, scores)), bits(attention.edgeSoftmax(whole, scores)))
      const sizes = { inFeatures: 5, outFeatures: 3, seed }
      const heads = { ...sizes, numHeads: 2, edgeFeatures: 2 }
      for (const { layer, options } of [
        { layer: new GraphSage({ ...sizes, project: true }), options: {} },
        {
          layer: new GraphAttention({ ...heads, version: 1, addSelfLoops: false, residual: true }),
          options: { edgeAttr }
        },
        { layer: new GraphAttention({ ...heads, addSelfLoops: false }), options: { edgeAttr } },
        { layer: new GraphTransformer({ ...heads, beta: true }), options: { edgeAttr } }
      ]) {
        const expected = rows(layer.forward(whole, both, options).output, last)
        requireClose(layer.forward(apart, [x, y], options).output, expected, 1e-5, layer.constructor.name)
      }
    })
    t.notThrows(() => fc.assert(holds, { numRuns: 40 }))
  })

  test(`${kind}: edges are the same as lists, BigInts, Int32Arrays and edge_index`, (t) => {
    const [source, target] = [
      [0, 2, 1],
      [1, 0, 2]
    ]
    const x = normal([3, 2], 1)
    const counts = { numNodes: 3 }
    const expected = bits(attention.propagate(Graph.fromEdges({ ...counts, source, target }), x))
    const big = (/** @type {number[]} */ nodes) => BigInt64Array.from(nodes, BigInt)
    const flat = [...source, ...target]
    for (const edges of [
      { source: Int32Array.from(source), target: big(target) },
      { source: big(source), target: target.map(BigInt) },
      { edgeIndex: { data: Int32Array.from(flat), shape: [2, 3] } },
      { edgeIndex: { data: big(flat), shape: [2, 3] } },
      { edgeIndex: { data: flat, shape: [2, 3] } }
    ]) {
      t.is(bits(attention.propagate(Graph.fromEdges({ ...counts, ...edges }), x)), expected)
    }
  })

  test(`${kind}: a sample holds the edges that it names, and layers compute on it what they compute on the whole`, (t) => {
    const problems = fc.record({
      nodes: one(1, 40),
      edges: one(0, 200),
      hops: one(1, 3),
      fanout: one(-1, 4),
      replace: fc.boolean(),
      seed: one(0, 1e6)
    })
    const holds = fc.property(problems, ({ nodes: numNodes, edges: count, hops, fanout, replace, seed }) => {
      const next = random(seed)
      const draw = () => Int32Array.from({ length: count }, () => Math.floor(next() * numNodes))
      const [source, target] = [draw(), draw()]
      const whole = Graph.fromEdges({ numNodes, source, target })
      const fanouts = new Array(hops).fill(fanout === 0 ? 5 : fanout)
      const sampler = new NeighborSampler(whole, { fanouts, seed, replace })
      const given = Array.from({ length: Math.min(numNodes, 3) }, (_, index) => numNodes - 1 - index)
      const { nodes, graph, edges } = sampler.sample(given)
      t.deepEqual([...nodes.subarray(0, given.length)], given)
      t.is(new Set(nodes).size, nodes.length)
      t.deepEqual([graph.numNodes, graph.numEdges], [nodes.length, edges.length])
      // Each target of the whole graph counts its edges in the sample.
      const degrees = new Int32Array(numNodes)
      for (const edge of edges) {
        degrees[target[edge]]++
        t.true(nodes.includes(source[edge]) && nodes.includes(target[edge]))
      }
      t.deepEqual(
        [...graph.inDegrees()],
        Array.from(nodes, (node) => degrees[node])
      )
      if (!replace || fanouts[0] === -1) t.is(new Set(edges).size, edges.length)
      const incoming = whole.inDegrees()
      for (const node of given) {
        const most = fanouts[0] === -1 ? incoming[node] : fanouts[0]
        t.is(degrees[node], replace && incoming[node] > 0 ? most : Math.min(most, incoming[node]))
      }
      // With every edge of as many hops as layers, the given nodes have the outputs of the whole graph.
      if (fanouts[0] !== -1) return
      const x = normal([numNodes, 4], seed)
      const layers = fanouts.map((_, depth) => new GraphSage({ inFeatures: 4, outFeatures: 4, seed: depth }))
      const run = (/** @type {any} */ over, /** @type {Tensor} */ features) =>
        layers.reduce((rest, layer) => attention.tanh(layer.forward(over, rest).output), features)
      const places = given.map((_, place) => place)
      requireClose(rows(run(graph, rows(x, nodes)), places), rows(run(whole, x), given), 1e-5)
    })
    t.notThrows(() => fc.assert(holds, { numRuns: 60 }))
  })

  test(`${kind}: samplers with the same seed draw the same, call by call, and other seeds and calls draw anew`, (t) => {
    const next = random(1)
    const draw = () => Int32Array.from({ length: 4000 }, () => Math.floor(next() * 100))
    const graph = Graph.fromEdges({ numNodes: 100, source: draw(), target: draw() })
    const edgesOf = (/** @type {any} */ config) => {
      const sampler = new NeighborSampler(graph, { fanouts: [5, 3], ...config })
      return [1, 2].map(() => [...sampler.sample([7, 3]).edges].join())
    }
    const [first, second] = edgesOf({ seed: 4 })
    t.deepEqual(edgesOf({ seed: 4 }), [first, second])
    t.not(first, second)
    t.not(edgesOf({ seed: 5 })[0], first)
    t.deepEqual(edgesOf({}), edgesOf({ seed: 0, replace: false }))
    t.not(edgesOf({ seed: 4, replace: true })[0], first)
  })

  test(`${kind}: parameters under the names of PyTorch Geometric 1.x load`, (t) => {
    const additive = { inFeatures: 3, outFeatures: 4, numHeads: 2, version: /** @type {const} */ (1) }
    const transposed = (/** @type {Tensor} */ { data, shape: [height, width] }) => ({
      data: Float32Array.from(data, (_, index) => data[(index % height) * width + Math.floor(index / height)]),
      shape: [width, height]
    })
    /** @param {any} layer @param {any} state @param {any} other */
    const loads = (layer, state, other) => {
      const under = Object.fromEntries(Object.entries(state).map(([name, tensor]) => [`conv1.${name}`, tensor]))
      other.loadStateDict({ ...under, 'conv2.weight': normal([2, 2], 1) }, { prefix: 'conv1' })
      t.deepEqual(Object.values(other.stateDict()).map(bits), Object.values(layer.stateDict()).map(bits))
    }
    const gat = new GraphAttention({ ...additive, seed: 2 })
    const { att_src: source, att_dst: target, 'lin.weight': weight, bias } = gat.stateDict()
    const again = () => new GraphAttention(additive)
    // 1.6 and 1.7
    loads(gat, { att_l: source, att_r: target, bias, 'lin_l.weight': weight, 'lin_r.weight': weight }, again())
    // Up to 1.5: targets first.
    const both = [0, 1].flatMap((head) =>
      [target, source].flatMap(({ data }) => [...data.subarray(4 * head, 4 * head + 4)])
    )
    loads(gat, { weight: transposed(weight), att: { data: Float32Array.from(both), shape: [1, 2, 8] }, bias }, again())
    const gcn = new GraphConvolution({ inFeatures: 3, outFeatures: 4, seed: 2 })
    const { 'lin.weight': product, bias: added } = gcn.stateDict()
    loads(gcn, { weight: transposed(product), bias: added }, new GraphConvolution({ inFeatures: 3, outFeatures: 4 }))
    const sage = new GraphSage({ inFeatures: [3, 2], outFeatures: 4, seed: 2 })
    const { 'lin_l.weight': left, 'lin_l.bias': offset, 'lin_r.weight': right } = sage.stateDict()
    const older = { 'lin_rel.weight': left, 'lin_rel.bias': offset, 'lin_root.weight': right }
    loads(sage, older, new GraphSage({ inFeatures: [3, 2], outFeatures: 4 }))
    const pair = new GraphAttention({ ...additive, inFeatures: [3, 5], seed: 2 })
    const { 'lin_src.weight': from, 'lin_dst.weight': to, ...rest } = pair.stateDict()
    const vectors = { att_l: rest.att_src, att_r: rest.att_dst, bias: rest.bias }
    loads(
      pair,
      { ...vectors, 'lin_l.weight': from, 'lin_r.weight': to },
      new GraphAttention({ ...additive, inFeatures: [3, 5] })
    )
  })

  test(`${kind}: every invalid input is an error with the right fields`, (t) => {
    const any = (/** @type {any} */ value) => value
    const apart = Graph.fromEdges({ numSources: 3, numTargets: 2, source: [0, 2], target: [1, 1] })
    const whole = Graph.fromEdges({ numNodes: 3, source: [0, 2], target: [1, 1] })
    const [x, y] = [normal([3, 2], 1), normal([2, 4], 2)]
    const sage = new GraphSage({ inFeatures: [2, 4], outFeatures: 2 })
    const gcn = new GraphConvolution({ inFeatures: 2, outFeatures: 2 })
    const edges = (/** @type {any} */ given) => () => Graph.fromEdges({ source: [0], target: [1], ...given })
    const index = (/** @type {any} */ edgeIndex) => () => Graph.fromEdges({ numNodes: 3, edgeIndex })
    const sampler = (/** @type {any} */ config) => () => new NeighborSampler(whole, { fanouts: [2], ...config })
    const anInteger = 'an integer from 0 to 2147483647'
    /** @type {[() => unknown, string, string, string, string][]} */
    const faults = [
      [edges({ numSources: 2 }), 'OPTION', 'numTargets', anInteger, 'nothing'],
      [edges({ numTargets: 2 }), 'OPTION', 'numSources', anInteger, 'nothing'],
      [
        edges({ numSources: 1, numTargets: 2, numNodes: 2 }),
        'OPTION',
        'numNodes',
        'nothing, as there are numSources and numTargets',
        '2'
      ],
      [edges({ numSources: 1, numTargets: 1 }), 'OPTION', 'target[0]', 'a node from 0 to 0', '1'],
      [edges({ numNodes: 3, edgeIndex: x }), 'OPTION', 'edgeIndex', 'nothing beside source and target', 'an object'],
      [
        index({ data: [0, 1, 2], shape: [2, 1] }),
        'SHAPE',
        'edgeIndex',
        '[2, K], and as many elements',
        '3 of shape [2, 1]'
      ],
      [
        index({ data: [0, 1, 2], shape: [3, 1] }),
        'SHAPE',
        'edgeIndex',
        '[2, K], and as many elements',
        '3 of shape [3, 1]'
      ],
      [index([0, 1]), 'DTYPE', 'edgeIndex', 'a tensor { data, shape } of integers', 'an array'],
      [
        () => sage.forward(apart, x),
        'SHAPE',
        'x',
        '[xSource, xTarget], as the graph has two node sets',
        'one tensor [3, 2]'
      ],
      [
        () => sage.forward(whole, x),
        'SHAPE',
        'x',
        '[xSource, xTarget], as inFeatures has two sizes',
        'one tensor [3, 2]'
      ],
      [() => sage.forward(apart, any([x])), 'SHAPE', 'x', '[xSource, xTarget]', 'a list of 1'],
      [() => sage.forward(apart, [y, y]), 'SHAPE', 'xSource', '[3, 2]', '[2, 4]'],
      [() => sage.forward(apart, [x, x]), 'SHAPE', 'xTarget', '[2, 4]', '[3, 2]'],
      [
        () => gcn.forward(whole, [x, x]),
        'OPTION',
        'x',
        'one node set, as GraphConvolution does not take two (GraphSage does)',
        'two'
      ],
      [
        () => gcn.forward(apart, x),
        'OPTION',
        'x',
        'one node set, as GraphConvolution does not take two (GraphSage does)',
        'two'
      ],
      [() => attention.propagate(apart, y), 'SHAPE', 'x', '[3, …], a row for each source', '[2, 4]'],
      [sampler({ fanouts: [] }), 'OPTION', 'fanouts', 'at least one number of edges', 'none'],
      [sampler({ fanouts: [2, 0] }), 'OPTION', 'fanouts[1]', 'an integer of at least 1, or -1 for all edges', '0'],
      [sampler({ fanouts: 2 }), 'DTYPE', 'fanouts', 'an Int32Array or a list of integers', '2'],
      [sampler({ seed: -1 }), 'OPTION', 'seed', 'an integer from 0 to 2^53 - 1', '-1'],
      [sampler({ replace: 1 }), 'OPTION', 'replace', 'a boolean', '1'],
      [sampler({ fanout: 1 }), 'OPTION', 'fanout', "'replace' or 'seed'", 'an unknown name'],
      [
        () => new NeighborSampler(apart, { fanouts: [1] }),
        'OPTION',
        'graph',
        'a graph with one node set',
        'two node sets'
      ],
      [() => new NeighborSampler(any(x), { fanouts: [1] }), 'DTYPE', 'graph', 'a Graph of this backend', 'an object'],
      [() => sampler({})().sample([3]), 'OPTION', 'nodes[0]', 'a node from 0 to 2', '3'],
      [() => sampler({})().sample([1, 1]), 'OPTION', 'nodes[1]', 'a node that is not given twice', '1'],
      [() => sampler({})().sample(any('1')), 'DTYPE', 'nodes', 'an Int32Array or a list of integers', '"1"']
    ]
    for (const [call, code, argument, expected, actual] of faults) {
      const { message: _, ...found } = faultOf(t, call)
      t.deepEqual(found, { code, argument, expected, actual })
    }
    const disposed = Graph.fromEdges({ numNodes: 1, source: [], target: [] })
    const used = new NeighborSampler(disposed, { fanouts: [1] })
    disposed.dispose()
    t.is(faultOf(t, () => used.sample([0])).code, 'DISPOSED')
  })
})

const backends = await (async () => {
  const all = /** @type {Attention[]} */ ([])
  onBothBackends((_, attention) => all.push(attention))
  return all
})()

if (backends.length > 1) {
  test('samplers draw the same on both backends', (t) => {
    const next = random(2)
    const draw = () => Int32Array.from({ length: 3000 }, () => Math.floor(next() * 90))
    const [source, target] = [draw(), draw()]
    const [native, wasm] = backends.map(({ Graph, NeighborSampler }) => {
      const graph = Graph.fromEdges({ numNodes: 90, source, target })
      return [false, true].map((replace) => {
        const sampler = new NeighborSampler(graph, { fanouts: [4, 2], seed: 2 ** 40 + 3, replace })
        return [1, 2].map(() => {
          const { nodes, edges } = sampler.sample([5, 8])
          return [[...nodes], [...edges]]
        })
      })
    })
    t.deepEqual(native, wasm)
  })
}
