// Graphs, message passing and graph network layers: compared with PyTorch Geometric, and checked for general
// properties.
import test from 'ava'
import fc from 'fast-check'
import { onBothBackends } from '../support/backends.js'
import { difference, readGolden } from '../support/golden.js'
import { bits, close, faultOf, normal, random, requireClose } from '../support/tensors.js'

/** @typedef {import('../support/golden.js').Case} Case */
/** @typedef {import('@ruvector/attention').Attention} Attention */
/** @typedef {import('@ruvector/attention').Graph} Graph */
/** @typedef {import('@ruvector/attention').GraphOptions} GraphOptions */
/** @typedef {import('@ruvector/attention').Tensor} Tensor */
/** @typedef {'GraphConvolution' | 'GraphSage' | 'GraphAttention' | 'GraphTransformer'} Name */

const { reference, cases } = readGolden('torch-geometric')
/** Tolerance for a 64-bit reference rounded to 32 bits. */
const tolerance = { absolute: 3e-5 }

/**
 * @param {Case} golden
 * @returns {{ state: Record<string, Tensor>, options: GraphOptions }}
 */
function inputsOf({ tensors }) {
  const state = Object.entries(tensors).filter(([name]) => name.startsWith('state.'))
  const { edgeAttr, edgeWeight } = tensors
  return {
    state: Object.fromEntries(state.map(([name, tensor]) => [name.slice('state.'.length), tensor])),
    options: { edgeAttr, edgeWeight: edgeWeight?.data }
  }
}

/**
 * The graph of a case's edges, `[2, K]`.
 *
 * @param {Attention} attention
 * @param {Tensor} edges
 * @param {number} numNodes
 */
function graphOf(attention, { data }, numNodes) {
  const [source, target] = [data.subarray(0, data.length / 2), data.subarray(data.length / 2)]
  return attention.Graph.fromEdges({ numNodes, source: Int32Array.from(source), target })
}

onBothBackends((kind, attention) => {
  /**
   * @param {string} layer
   * @param {any} config
   */
  const make = (layer, config) => new attention[/** @type {Name} */ (layer)](config)

  for (const golden of cases.filter((candidate) => candidate.kind === 'initial')) {
    test(`${kind} draws the parameters that ${reference} draws: ${golden.name}`, (t) => {
      const { state } = inputsOf(golden)
      const layer = make(golden.layer, golden.config)
      const drawn = layer.stateDict()
      t.deepEqual(Object.keys(drawn), golden.order)
      for (const [name, tensor] of Object.entries(state)) t.is(bits(drawn[name]), bits(tensor), name)
      t.is(
        layer.numParameters,
        Object.values(state).reduce((sum, { data }) => sum + data.length, 0)
      )
    })
  }

  for (const golden of cases.filter((candidate) => candidate.kind === 'forward')) {
    test(`${kind} gives what ${reference} gives: ${golden.name}`, (t) => {
      const { x, edges, output, weights, order } = golden.tensors
      const { state, options } = inputsOf(golden)
      const layer = make(golden.layer, { ...golden.config, seed: 1 }).loadStateDict(state)
      const graph = graphOf(attention, edges, x.shape[0])
      const found = layer.forward(graph, x, { ...options, weights: weights !== undefined })
      t.is(difference(found.output, output, tolerance), undefined)
      if (!weights) return t.is(found.weights, undefined)
      t.is(difference(found.weights, weights, tolerance), undefined)
      t.deepEqual(weightedEdges(edges, x.shape[0], layer.config.addSelfLoops === true), [...order.data])
      t.is(bits(layer.forward(graph, x, options).output), bits(found.output))
    })
  }

  for (const golden of cases.filter((candidate) => candidate.kind === 'propagate')) {
    test(`${kind} gives what ${reference} gives: ${golden.name}`, (t) => {
      const { x, edges, edgeWeight, output } = golden.tensors
      const options = { reduce: golden.reduce, edgeWeight: edgeWeight?.data }
      const graph = graphOf(attention, edges, x.shape[0])
      t.is(difference(attention.propagate(graph, x, options), output, tolerance), undefined)
    })
  }

  for (const golden of cases.filter((candidate) => candidate.kind === 'softmax')) {
    test(`${kind} gives what ${reference} gives: ${golden.name}`, (t) => {
      const { scores, edges, output } = golden.tensors
      t.is(difference(attention.edgeSoftmax(graphOf(attention, edges, 9), scores), output, tolerance), undefined)
    })
  }
})

/**
 * The edges that the weights belong to, in the documented order: `[2, K′]`, flat.
 *
 * @param {Tensor} edges
 * @param {number} numNodes
 * @param {boolean} closed  true if each node has a self-loop instead of the given ones
 */
function weightedEdges({ data }, numNodes, closed) {
  const count = data.length / 2
  const given = Array.from({ length: count }, (_, edge) => [data[edge], data[count + edge]])
  const kept = closed ? given.filter(([from, to]) => from !== to) : given
  const loops = Array.from({ length: closed ? numNodes : 0 }, (_, node) => [node, node])
  const all = [...kept, ...loops]
  return [...all.map(([from]) => from), ...all.map(([, to]) => to)]
}

// ── Properties ───────────────────────────────────────────────────────────────────────────────────────────────────────

const one = (/** @type {number} */ min, /** @type {number} */ max) => fc.integer({ min, max })
const problems = fc.record({
  nodes: one(1, 30),
  edges: one(0, 120),
  features: one(1, 12),
  outputs: one(1, 20),
  heads: one(1, 4),
  edgeFeatures: one(1, 3),
  flag: fc.boolean(),
  seed: one(0, 1e6)
})
/** @typedef {typeof problems extends fc.Arbitrary<infer Problem> ? Problem : never} Problem */

/** @param {Problem} problem */
function draw({ nodes, edges, features, edgeFeatures, seed }) {
  const next = random(seed)
  const node = () => Math.floor(next() * nodes)
  return {
    source: Int32Array.from({ length: edges }, node),
    target: Int32Array.from({ length: edges }, node),
    x: normal([nodes, features], seed + 1),
    edgeAttr: normal([edges, edgeFeatures], seed + 2),
    edgeWeight: Float32Array.from({ length: edges }, () => next() + 0.1)
  }
}

/**
 * Every layer, with all its options.
 *
 * @param {Attention} attention
 * @param {Problem} problem
 */
function layersOf(attention, { features, outputs, heads, edgeFeatures, flag, seed }) {
  const sizes = { inFeatures: features, outFeatures: outputs, seed }
  const attends = { ...sizes, numHeads: heads, edgeFeatures, concat: flag }
  return [
    { layer: new attention.GraphConvolution({ ...sizes, addSelfLoops: flag }), takes: 'edgeWeight' },
    { layer: new attention.GraphSage({ ...sizes, reduce: flag ? 'max' : 'mean', normalize: flag }), takes: '' },
    { layer: new attention.GraphSage({ ...sizes, reduce: 'sum', project: flag, rootWeight: !flag }), takes: '' },
    { layer: new attention.GraphAttention({ ...attends, version: 1, addSelfLoops: flag }), takes: 'edgeAttr' },
    { layer: new attention.GraphAttention({ ...attends, addSelfLoops: flag, residual: flag }), takes: 'edgeAttr' },
    { layer: new attention.GraphTransformer({ ...attends, beta: flag }), takes: 'edgeAttr' }
  ]
}

/** @param {number} length  @param {number} seed */
function permutation(length, seed) {
  const next = random(seed)
  const order = Array.from({ length }, (_, index) => ({ index, key: next() }))
  return order.sort((a, b) => a.key - b.key).map(({ index }) => index)
}

/**
 * The rows of a tensor in another order.
 *
 * @param {Tensor} tensor
 * @param {number[]} order
 */
function rows({ data, shape }, order) {
  const size = shape.slice(1).reduce((a, b) => a * b, 1)
  const moved = new Float32Array(data.length)
  for (const [to, from] of order.entries()) moved.set(data.subarray(from * size, (from + 1) * size), to * size)
  return { data: moved, shape }
}

/** @param {string} takes  @param {ReturnType<typeof draw>} drawn */
const optionsFor = (takes, { edgeAttr, edgeWeight }) =>
  takes === 'edgeAttr' ? { edgeAttr } : takes === 'edgeWeight' ? { edgeWeight } : {}

onBothBackends((kind, attention) => {
  test(`${kind}: renumbering the nodes renumbers the outputs`, (t) => {
    const holds = fc.property(problems, (problem) => {
      const drawn = draw(problem)
      const order = permutation(problem.nodes, problem.seed + 3)
      const place = order.map((_, node) => order.indexOf(node))
      const moved = (/** @type {Int32Array} */ nodes) => nodes.map((node) => place[node])
      const { source, target, x } = drawn
      const graph = attention.Graph.fromEdges({ numNodes: problem.nodes, source, target })
      const other = attention.Graph.fromEdges({
        numNodes: problem.nodes,
        source: moved(source),
        target: moved(target)
      })
      for (const { layer, takes } of layersOf(attention, problem)) {
        const options = optionsFor(takes, drawn)
        const expected = rows(layer.forward(graph, x, options).output, order)
        requireClose(layer.forward(other, rows(x, order), options).output, expected, 1e-5, layer.constructor.name)
      }
    })
    t.notThrows(() => fc.assert(holds, { numRuns: 60 }))
  })

  test(`${kind}: the order of the edges does not matter, and weights follow it`, (t) => {
    const holds = fc.property(problems, (problem) => {
      const drawn = draw(problem)
      const order = permutation(problem.edges, problem.seed + 3)
      const { source, target, x, edgeAttr, edgeWeight } = drawn
      const numNodes = problem.nodes
      const graph = attention.Graph.fromEdges({ numNodes, source, target })
      const moved = {
        ...drawn,
        edgeAttr: rows(edgeAttr, order),
        edgeWeight: rows({ data: edgeWeight, shape: [edgeWeight.length] }, order).data
      }
      const other = attention.Graph.fromEdges({
        numNodes,
        source: order.map((edge) => source[edge]),
        target: order.map((edge) => target[edge])
      })
      // With self-loops removed, the remaining edges would have other positions.
      for (const { layer, takes } of layersOf(attention, { ...problem, flag: false })) {
        const weights = takes === 'edgeAttr'
        const expected = layer.forward(graph, x, { ...optionsFor(takes, drawn), weights })
        const found = layer.forward(other, x, { ...optionsFor(takes, moved), weights })
        requireClose(found.output, expected.output, 1e-5, layer.constructor.name)
        if (expected.weights) requireClose(found.weights, rows(expected.weights, order), 1e-5, layer.constructor.name)
      }
      const scores = normal([problem.edges, problem.heads], problem.seed)
      const softened = rows(attention.edgeSoftmax(graph, scores), order)
      requireClose(attention.edgeSoftmax(other, rows(scores, order)), softened)
    })
    t.notThrows(() => fc.assert(holds, { numRuns: 60 }))
  })

  test(`${kind}: the weights of edges with the same target sum to 1, and the output is their weighted sum`, (t) => {
    const holds = fc.property(problems, (problem) => {
      const { source, target, x } = draw(problem)
      const graph = attention.Graph.fromEdges({ numNodes: problem.nodes, source, target })
      for (const version of /** @type {const} */ ([1, 2])) {
        const { features, heads, outputs, seed } = problem
        const layer = new attention.GraphAttention({
          inFeatures: features,
          outFeatures: outputs,
          numHeads: heads,
          version,
          seed
        })
        const { output, weights } = layer.forward(graph, x, { weights: true })
        const all = { data: Float32Array.of(...source, ...target), shape: [2, source.length] }
        const ends = weightedEdges(all, problem.nodes, true)
        const closed = attention.Graph.fromEdges({
          numNodes: problem.nodes,
          source: ends.slice(0, ends.length / 2),
          target: ends.slice(ends.length / 2)
        })
        const state = layer.stateDict()
        const projection = version === 1 ? ['lin.weight'] : ['lin_l.weight', 'lin_l.bias']
        const values = attention.linear(x, state[projection[0]], state[projection[1]])
        for (let head = 0; head < heads; head++) {
          const column = (/** @type {Tensor | undefined} */ tensor, /** @type {number} */ size) =>
            tensor?.data.filter((_, index) => Math.floor(index / size) % heads === head) ?? new Float32Array()
          const edgeWeight = column(weights, 1)
          const ones = { data: new Float32Array(problem.nodes).fill(1), shape: [problem.nodes, 1] }
          requireClose(attention.propagate(closed, ones, { edgeWeight }), ones)
          const own = { data: column(values, outputs), shape: [problem.nodes, outputs] }
          requireClose(attention.propagate(closed, own, { edgeWeight }), column(output, outputs), 1e-4)
        }
      }
    })
    t.notThrows(() => fc.assert(holds, { numRuns: 40 }))
  })

  test(`${kind}: a graph reports its sizes and degrees, and can be reversed`, (t) => {
    const graph = attention.Graph.fromEdges({
      numNodes: 5,
      source: [3, 3, 0, 1, 3],
      target: Int32Array.of(1, 0, 1, 1, 1)
    })
    t.deepEqual([graph.numNodes, graph.numEdges], [5, 5])
    t.deepEqual([...graph.inDegrees()], [1, 4, 0, 0, 0])
    const turned = graph.reverse()
    t.deepEqual([turned.numNodes, turned.numEdges], [5, 5])
    t.deepEqual([...turned.inDegrees()], [1, 1, 0, 3, 0])
    t.deepEqual([...turned.reverse().inDegrees()], [...graph.inDegrees()])
    const x = normal([5, 3], 1)
    graph.dispose()
    t.is(faultOf(t, () => graph.inDegrees()).code, 'DISPOSED')
    t.is(faultOf(t, () => attention.propagate(graph, x)).code, 'DISPOSED')
    t.notThrows(() => attention.propagate(turned, x))
    graph.dispose()
    graph[Symbol.dispose]()
  })

  test(`${kind}: later changes to the arrays of a graph do not affect it`, (t) => {
    const source = Int32Array.of(0, 1, 2)
    const target = Int32Array.of(1, 2, 0)
    const graph = attention.Graph.fromEdges({ numNodes: 3, source, target })
    const x = normal([3, 2], 1)
    const before = bits(attention.propagate(graph.reverse(), x))
    source.fill(2)
    target.fill(0)
    t.is(bits(attention.propagate(graph.reverse(), x)), before)
  })

  test(`${kind}: a node without incoming edges gets zeros, and from a layer the result of an empty sum`, (t) => {
    const graph = attention.Graph.fromEdges({ numNodes: 3, source: [0, 2], target: [1, 1] })
    const x = { data: Float32Array.of(1, 2, -3, 4, 5, -6), shape: [3, 2] }
    for (const [reduce, middle] of /** @type {const} */ ([
      ['sum', [6, -4]],
      ['mean', [3, -2]],
      ['max', [5, 2]],
      ['min', [1, -6]]
    ])) {
      t.deepEqual([...attention.propagate(graph, x, { reduce }).data], [0, 0, ...middle, 0, 0], reduce)
    }
    const layer = new attention.GraphAttention({ inFeatures: 2, outFeatures: 2, addSelfLoops: false })
    layer.loadStateDict({ ...layer.stateDict(), bias: { data: Float32Array.of(7, 8), shape: [2] } })
    const { data } = layer.forward(graph, x).output
    t.deepEqual([...data.subarray(0, 2), ...data.subarray(4)], [7, 8, 7, 8])
  })

  test(`${kind}: graphs without nodes or edges, and features of any rank, work like others`, (t) => {
    const none = attention.Graph.fromEdges({ numNodes: 0, source: [], target: [] })
    const x = { data: new Float32Array(), shape: [0, 3] }
    t.deepEqual(attention.propagate(none, x).shape, [0, 3])
    t.deepEqual(attention.edgeSoftmax(none, { data: new Float32Array(), shape: [0, 4] }).shape, [0, 4])
    t.is(none.inDegrees().length, 0)
    for (const { layer, takes } of layersOf(attention, problemOf())) {
      const options =
        takes === 'edgeAttr' ? { edgeAttr: { data: new Float32Array(), shape: [0, 2] }, weights: true } : {}
      const { output, weights } = layer.forward(none, x, options)
      t.deepEqual([output.shape[0], output.data.length], [0, 0])
      if (takes === 'edgeAttr') t.is(weights?.shape[0], 0)
    }
    const ring = attention.Graph.fromEdges({ numNodes: 3, source: [0, 1, 2], target: [1, 2, 0] })
    const cube = normal([3, 2, 2], 1)
    t.deepEqual(attention.propagate(ring, cube), rows(cube, [2, 0, 1]))
    t.deepEqual(attention.propagate(ring, normal([3], 2)).shape, [3])
    t.deepEqual(attention.propagate(ring, { data: new Float32Array(), shape: [3, 0] }).shape, [3, 0])
  })

  test(`${kind}: the weights that edgeSoftmax returns can be passed on as they are`, (t) => {
    const graph = attention.Graph.fromEdges({ numNodes: 3, source: [0, 1, 2, 0], target: [1, 2, 1, 1] })
    const [x, layer] = [normal([3, 2], 1), new attention.GraphConvolution({ inFeatures: 2, outFeatures: 2 })]
    for (const shape of [[4], [4, 1]]) {
      const edgeWeight = attention.edgeSoftmax(graph, normal(shape, 2))
      t.deepEqual(edgeWeight.shape, shape)
      const [asTensor, asArray] = [{ edgeWeight }, { edgeWeight: edgeWeight.data }]
      t.deepEqual(attention.propagate(graph, x, asTensor), attention.propagate(graph, x, asArray))
      t.deepEqual(layer.forward(graph, x, asTensor), layer.forward(graph, x, asArray))
    }
  })

  test(`${kind}: weights of heads apply to their heads, as in attention composed of edgeSoftmax and propagate`, (t) => {
    const graph = attention.Graph.fromEdges({ numNodes: 3, source: [0, 1, 2, 0], target: [1, 2, 1, 1] })
    const x = normal([3, 2, 5], 1)
    const edgeWeight = attention.edgeSoftmax(graph, normal([4, 2], 2))
    const part = (/** @type {any} */ { data }, /** @type {number} */ head) => ({
      data: Float32Array.from([0, 1, 2].flatMap((node) => [...data.subarray((2 * node + head) * 5).subarray(0, 5)])),
      shape: [3, 5]
    })
    for (const reduce of /** @type {const} */ (['sum', 'mean', 'max', 'min'])) {
      const found = attention.propagate(graph, x, { reduce, edgeWeight })
      t.deepEqual(found.shape, x.shape)
      for (const head of [0, 1]) {
        const own = edgeWeight.data.filter((_, index) => index % 2 === head)
        t.deepEqual(part(found, head), attention.propagate(graph, part(x, head), { reduce, edgeWeight: own }))
      }
    }
    const refused = faultOf(t, () => attention.propagate(graph, normal([3, 3, 5], 1), { edgeWeight }))
    t.like(refused, { code: 'SHAPE', argument: 'edgeWeight' })
  })

  test(`${kind}: NaN weights and features affect only what they reach`, (t) => {
    const graph = attention.Graph.fromEdges({ numNodes: 4, source: [0, 1, 2, 0], target: [1, 2, 3, 3] })
    const x = normal([4, 3], 1)
    const edgeWeight = Float32Array.of(1, NaN, 2, 3)
    for (const reduce of /** @type {const} */ (['sum', 'mean', 'max', 'min'])) {
      const { data } = attention.propagate(graph, x, { reduce, edgeWeight })
      t.deepEqual(
        [0, 1, 2, 3].map((node) => Number.isNaN(data[node * 3])),
        [false, false, true, false],
        reduce
      )
    }
    const softened = attention.edgeSoftmax(graph, { data: Float32Array.of(1, 2, NaN, 3), shape: [4] })
    t.deepEqual([...softened.data], [1, 1, NaN, NaN])
    const hidden = attention.edgeSoftmax(graph, {
      data: Float32Array.of(-Infinity, -Infinity, -Infinity, 3),
      shape: [4]
    })
    t.deepEqual([...hidden.data], [0, 0, 0, 1])
  })

  test(`${kind}: training drops weights by seed, edge and head, and scales the others`, (t) => {
    const { source, target, x } = draw({ ...problemOf(), nodes: 40, edges: 400, seed: 4 })
    const graph = attention.Graph.fromEdges({ numNodes: 40, source, target })
    const sizes = { inFeatures: 3, outFeatures: 6, numHeads: 5, dropout: 0.25, seed: 3 }
    for (const layer of [new attention.GraphAttention(sizes), new attention.GraphAttention({ ...sizes, version: 1 })]) {
      const weights = (/** @type {GraphOptions} */ options = {}) =>
        layer.forward(graph, x, { ...options, weights: true }).weights?.data ?? new Float32Array()
      const kept = weights()
      layer.train()
      const dropped = weights()
      t.is(bits({ data: weights({ seed: 3 }), shape: [] }), bits({ data: dropped, shape: [] }))
      t.not(bits({ data: weights({ seed: 5 }), shape: [] }), bits({ data: dropped, shape: [] }))
      const share = dropped.filter((weight) => weight === 0).length / dropped.length
      t.true(Math.abs(share - 0.25) < 0.04, String(share))
      close(
        t,
        dropped,
        kept.map((weight, index) => (dropped[index] === 0 ? 0 : weight / 0.75))
      )
      layer.train(false)
      t.is(bits({ data: weights(), shape: [] }), bits({ data: kept, shape: [] }))
    }
    // As in PyTorch Geometric, this layer's weights are those before dropout.
    const transformer = new attention.GraphTransformer(sizes)
    const before = transformer.forward(graph, x, { weights: true })
    const trained = transformer.train().forward(graph, x, { weights: true })
    t.is(bits(trained.weights), bits(before.weights))
    t.not(bits(trained.output), bits(before.output))
  })

  test(`${kind}: state dicts of older releases, and under a prefix, load unchanged`, (t) => {
    const config = { inFeatures: 3, outFeatures: 4, numHeads: 2, version: /** @type {const} */ (1) }
    const layer = new attention.GraphAttention({ ...config, seed: 8 })
    const { 'lin.weight': weight, ...rest } = layer.stateDict()
    const older = { ...rest, 'lin_src.weight': weight, 'lin_dst.weight': weight }
    const named = Object.fromEntries(Object.entries(older).map(([name, tensor]) => [`conv1.${name}`, tensor]))
    const other = new attention.GraphAttention(config)
    other.loadStateDict({ ...named, 'conv2.bias': weight }, { prefix: 'conv1' })
    t.deepEqual(Object.values(other.stateDict()).map(bits), Object.values(layer.stateDict()).map(bits))
    const different = { ...older, 'lin_dst.weight': normal(weight.shape, 3) }
    t.like(
      faultOf(t, () => other.loadStateDict(different)),
      { code: 'FORMAT', argument: 'lin_dst.weight' }
    )
    t.like(
      faultOf(t, () => other.loadStateDict(rest)),
      { code: 'FORMAT', argument: 'lin.weight', expected: 'an entry of shape [8, 3]', actual: 'no such entry' }
    )
    t.deepEqual(Object.values(other.stateDict()).map(bits), Object.values(layer.stateDict()).map(bits))
    layer.dispose()
    t.is(faultOf(t, () => layer.stateDict()).code, 'DISPOSED')
  })

  test(`${kind}: every invalid input is an error with the right fields, and the next call works`, (t) => {
    const { Graph, GraphAttention, GraphConvolution, GraphSage, GraphTransformer } = attention
    const graph = Graph.fromEdges({ numNodes: 3, source: [0, 1], target: [1, 2] })
    const x = normal([3, 2], 1)
    const sizes = { inFeatures: 2, outFeatures: 2 }
    const plain = new GraphAttention(sizes)
    const withEdges = new GraphTransformer({ ...sizes, edgeFeatures: 3 })
    const edges = (/** @type {any} */ given) => () =>
      Graph.fromEdges({ numNodes: 3, source: [0], target: [1], ...given })
    const any = (/** @type {any} */ value) => value
    /** @type {[() => unknown, string, string, string, string][]} */
    const faults = [
      [edges({ source: [0, 3], target: [1, 1] }), 'OPTION', 'source[1]', 'a node from 0 to 2', '3'],
      [edges({ target: [-1] }), 'OPTION', 'target[0]', 'a node from 0 to 2', '-1'],
      [edges({ target: [2 ** 32] }), 'OPTION', 'target[0]', 'a 32-bit integer', '4294967296'],
      [edges({ target: [0.5] }), 'OPTION', 'target[0]', 'a 32-bit integer', '0.5'],
      [edges({ target: ['1'] }), 'DTYPE', 'target[0]', 'a number', '"1"'],
      [edges({ target: [1, 2] }), 'SHAPE', 'target', 'a length of 1, as source has', '2'],
      [edges({ source: 3 }), 'DTYPE', 'source', 'an Int32Array or a list of integers', '3'],
      [edges({ source: undefined }), 'DTYPE', 'source', 'an Int32Array or a list of integers', 'undefined'],
      [edges({ numNodes: 2 ** 31 }), 'OPTION', 'numNodes', 'an integer from 0 to 2147483647', '2147483648'],
      [edges({ numNodes: -1 }), 'OPTION', 'numNodes', 'an integer from 0 to 2147483647', '-1'],
      [edges({ numNodes: undefined }), 'OPTION', 'numNodes', 'an integer from 0 to 2147483647', 'nothing'],
      [edges({ numNodes: 0 }), 'OPTION', 'source[0]', 'no edge, as there is no node', '0'],
      [edges({ numEdges: 1 }), 'OPTION', 'numEdges', "'numNodes', 'numSources' or 'numTargets'", 'an unknown name'],
      [() => Graph.fromEdges(any(7)), 'OPTION', 'edges', 'an object', '7'],
      [() => attention.propagate(any({}), x), 'DTYPE', 'graph', 'a Graph of this backend', 'an object'],
      [
        () => attention.propagate(graph, any(x.data)),
        'DTYPE',
        'x',
        'a tensor { data: Float32Array, shape: number[] }',
        'a Float32Array'
      ],
      [() => attention.propagate(graph, normal([2, 3], 1)), 'SHAPE', 'x', '[3, …], a row for each node', '[2, 3]'],
      [
        () => attention.propagate(graph, x, { reduce: any('mul') }),
        'OPTION',
        'reduce',
        "'sum', 'mean', 'max' or 'min'",
        '"mul"'
      ],
      [
        () => attention.propagate(graph, x, { edgeWeight: new Float32Array(3) }),
        'SHAPE',
        'edgeWeight',
        '[2], or [2, H] for x [N, H, …]',
        '[3]'
      ],
      [
        () => attention.propagate(graph, x, { edgeWeight: any([1, 1]) }),
        'DTYPE',
        'edgeWeight',
        'a Float32Array',
        'an array'
      ],
      [
        () => attention.propagate(graph, x, { edgeWeight: normal([2, 2], 1) }),
        'SHAPE',
        'edgeWeight',
        '[2], or [2, H] for x [N, H, …]',
        '[2, 2]'
      ],
      [
        () => attention.propagate(graph, x, { edgeWeight: normal([3], 1) }),
        'SHAPE',
        'edgeWeight',
        '[2], or [2, H] for x [N, H, …]',
        '[3]'
      ],
      [
        () => attention.propagate(graph, x, any({ weight: 1 })),
        'OPTION',
        'weight',
        "'reduce' or 'edgeWeight'",
        'an unknown name'
      ],
      [() => attention.edgeSoftmax(graph, x), 'SHAPE', 'scores', '[2] or [2, H], a row for each edge', '[3, 2]'],
      [() => plain.forward(graph, normal([3, 3], 1)), 'SHAPE', 'x', '[3, 2]', '[3, 3]'],
      [() => plain.forward(graph, normal([2], 1), { weights: true }), 'SHAPE', 'x', '[3, 2]', '[2]'],
      [
        () => plain.forward(graph, x, { edgeAttr: x }),
        'OPTION',
        'edgeAttr',
        'none, as the layer has no edgeFeatures',
        '[3, 2]'
      ],
      [
        () => plain.forward(graph, x, { edgeWeight: new Float32Array(2) }),
        'OPTION',
        'edgeWeight',
        'none, as only GraphConvolution takes weights of edges',
        'weights'
      ],
      [() => plain.forward(graph, x, any({ weight: true })), 'OPTION', 'weight', "'weights'", 'an unknown name'],
      [
        () => withEdges.forward(graph, x),
        'OPTION',
        'edgeAttr',
        'the features of edges, as the layer has edgeFeatures',
        'nothing'
      ],
      [() => withEdges.forward(graph, x, { edgeAttr: x }), 'SHAPE', 'edgeAttr', '[2, 3]', '[3, 2]'],
      [
        () => new GraphSage(sizes).forward(graph, x, { weights: true }),
        'OPTION',
        'weights',
        'no request, as this layer has no attention weights',
        'true'
      ],
      [
        () => new GraphConvolution(any({ inFeatures: 2 })),
        'OPTION',
        'outFeatures',
        'an integer of at least 1',
        'nothing'
      ],
      [() => new GraphAttention({ ...sizes, version: any(3) }), 'OPTION', 'version', '1 or 2', '3'],
      [
        () => new GraphAttention({ ...sizes, negativeSlope: NaN }),
        'OPTION',
        'negativeSlope',
        'a number from 0 to 1',
        'NaN'
      ],
      [
        () => new GraphSage({ ...sizes, ...any({ heads: 2 }) }),
        'OPTION',
        'heads',
        "'inFeatures', 'outFeatures', 'reduce', 'rootWeight', 'project', 'normalize', 'useBias' or 'seed'",
        'an unknown name'
      ],
      [
        () => new GraphConvolution({ ...sizes, normalize: false, addSelfLoops: true }),
        'OPTION',
        'addSelfLoops',
        'false, as normalize is false',
        'true'
      ],
      [
        () => new GraphAttention({ ...sizes, fillValue: any('add') }),
        'OPTION',
        'fillValue',
        "'mean' or a finite number",
        '"add"'
      ],
      [
        () => new GraphAttention({ ...sizes, fillValue: NaN }),
        'OPTION',
        'fillValue',
        "'mean' or a finite number",
        'NaN'
      ],
      [
        () => new GraphSage({ inFeatures: [2, 0], outFeatures: 2 }),
        'OPTION',
        'inFeatures',
        'two integers of at least 1, [source, target]',
        '[2,0]'
      ],
      [
        () => new GraphSage({ inFeatures: any([2, 3, 4]), outFeatures: 2 }),
        'OPTION',
        'inFeatures',
        'two integers of at least 1, [source, target]',
        '[2,3,4]'
      ],
      [
        () => new GraphSage({ inFeatures: any('2'), outFeatures: 2 }),
        'OPTION',
        'inFeatures',
        'an integer of at least 1, or two of them, [source, target]',
        '"2"'
      ],
      [
        () => new GraphConvolution({ inFeatures: any([2, 3]), outFeatures: 2 }),
        'OPTION',
        'inFeatures',
        'an integer of at least 1',
        '[2,3]'
      ]
    ]
    for (const [call, code, argument, expected, actual] of faults) {
      const { message: _, ...found } = faultOf(t, call)
      t.deepEqual(found, { code, argument, expected, actual })
    }
    t.notThrows(() => plain.forward(graph, x))
    t.throws(() => Reflect.construct(Graph, []), { instanceOf: TypeError, message: /Graph\.fromEdges/ })
    t.throws(() => Reflect.construct(attention.GraphLayer, [sizes]), { instanceOf: TypeError })
  })

  test(`${kind}: the cost of a graph of nearly 2^31 nodes depends on its edges`, (t) => {
    const last = 2 ** 31 - 2
    const graph = attention.Graph.fromEdges({ numNodes: 2 ** 31 - 1, source: [0, last, 7], target: [last, last, 0] })
    t.is(graph.numNodes, 2 ** 31 - 1)
    const scores = { data: Float32Array.of(2, 2, 5), shape: [3] }
    t.deepEqual([...attention.edgeSoftmax(graph, scores).data], [0.5, 0.5, 1])
    t.is(faultOf(t, () => attention.propagate(graph, normal([3, 1], 1))).argument, 'x')
    const layer = new attention.GraphAttention({ inFeatures: 1, outFeatures: 1 })
    t.is(faultOf(t, () => layer.forward(graph, normal([3, 1], 1), { weights: true })).argument, 'x')
  })
})

/** @returns {Problem} */
function problemOf() {
  return { nodes: 0, edges: 0, features: 3, outputs: 4, heads: 2, edgeFeatures: 2, flag: true, seed: 1 }
}

const [first, second] = await (async () => {
  const all = /** @type {Attention[]} */ ([])
  onBothBackends((_, attention) => all.push(attention))
  return all
})()

if (second) {
  test('both backends give the same results, and neither accepts a graph of the other', (t) => {
    const problem = { ...problemOf(), nodes: 200, edges: 3000, features: 33, outputs: 17 }
    const drawn = draw(problem)
    const { source, target, x } = drawn
    const [graph, other] = [first, second].map(({ Graph }) => Graph.fromEdges({ numNodes: 200, source, target }))
    const others = layersOf(second, problem)
    for (const [index, { layer, takes }] of layersOf(first, problem).entries()) {
      const options = optionsFor(takes, drawn)
      close(t, layer.forward(graph, x, options).output, others[index].layer.forward(other, x, options).output, 1e-5)
    }
    t.is(faultOf(t, () => first.propagate(other, x)).argument, 'graph')
  })
}
