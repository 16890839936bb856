// Gradients of graph layers and of the functions of graphs: against PyTorch's autograd over PyTorch Geometric, and
// against differences of outputs.
import { loadBackend } from '@ruvector/attention/training'
import test from 'ava'
import { readGolden } from '../support/golden.js'
import { bits, faultOf, normal } from '../support/tensors.js'
import { distance, inner, moved, onBothTrainingBackends, randomized } from '../support/training.js'

/** @typedef {import('@ruvector/attention/training').Tensor} Tensor */
/** @typedef {import('@ruvector/attention/training').Attention} Training */
/** Type of deliberately loose values. @typedef {any} Any */
/**
 * One list of names for the inputs of calls, of which node features come in one tensor or two.
 *
 * @typedef {Record<string, Tensor>} Named
 */

const { cases } = readGolden('graph-gradients')

/**
 * The tensors of a case below a prefix.
 *
 * @param {Record<string, Any>} tensors
 * @param {string} prefix
 * @returns {Named}
 */
const below = (tensors, prefix) =>
  Object.fromEntries(
    Object.entries(tensors).flatMap(([name, tensor]) =>
      name.startsWith(prefix) ? [[name.slice(prefix.length), tensor]] : []
    )
  )

/** @param {Tensor} tensor */
const largest = ({ data }) => data.reduce((most, value) => Math.max(most, Math.abs(value)), 0)
/** True for the result of a sum of doubles that cancel. @param {Tensor} tensor */
const isZero = (tensor) => largest(tensor) < 1e-12

/** The arguments after the graph. @param {Named} inputs @param {object} [options] */
function argumentsOf({ x, xSource, xTarget, scores, ...arrays }, options) {
  const all = { ...arrays, ...options }
  const first = scores ?? x ?? [xSource, xTarget]
  return Object.keys(all).length > 0 ? [first, all] : [first]
}

/** Gradients of inputs by the names of {@link argumentsOf}. @param {Any} inputs @returns {Named} */
const named = ({ x, ...others }) => ({
  ...(Array.isArray(x) ? { xSource: x[0], xTarget: x[1] } : x && { x }),
  ...others
})

/** @param {Any} random @param {number} count @param {number} nodes */
const drawn = (random, count, nodes) =>
  Int32Array.from({ length: count }, (_, at) => Math.floor(Math.abs(random.data[at]) * 997) % nodes)

/**
 * A random graph with self-loops, edges given twice, and a last node without edges.
 *
 * @param {Training} training
 * @param {readonly [sources: number, targets: number]} sizes
 * @param {number} count
 */
function randomGraph({ Graph }, [sources, targets], count) {
  const source = drawn(normal([count], 1), count, sources - 1)
  const target = drawn(normal([count], 2), count, targets - 1)
  source[count - 1] = source[0]
  target[count - 1] = target[0]
  for (let edge = 3; edge < 6; edge++) source[edge] = target[edge] = edge % Math.min(sources, targets)
  const counts = sources === targets ? { numNodes: sources } : { numSources: sources, numTargets: targets }
  return Graph.fromEdges({ ...counts, source, target })
}

onBothTrainingBackends((kind, training) => {
  const { Graph, edgeSoftmax, propagate, vjp } = training

  for (const { name, tensors, layer, config, target, options, ...golden } of cases) {
    test(`${kind}: the gradients of ${name} are PyTorch's`, (t) => {
      const [source, ends] = golden.edges
      const [sources, targets] = golden.nodes
      const counts = targets === undefined ? { numNodes: sources } : { numSources: sources, numTargets: targets }
      const graph = Graph.fromEdges({ ...counts, source, target: ends })
      const called = layer
        ? new /** @type {Any} */ (training)[layer](config).loadStateDict(below(tensors, 'state.'))
        : /** @type {Any} */ (training)[target]
      const pass = vjp(called, graph, ...argumentsOf(below(tensors, 'in.'), options))
      t.true(Number(distance(pass.output, tensors.output)) < 1e-5, 'output')
      const { inputs, parameters } = pass.backward(tensors.gradient)
      const found = { ...named(inputs), ...parameters }
      const expected = { ...below(tensors, 'grad.in.'), ...below(tensors, 'grad.state.') }
      t.deepEqual(Object.keys(found).sort(), Object.keys(expected).sort())
      for (const [key, tensor] of Object.entries(expected)) {
        // A softmax does not depend on the bias of keys, so its terms, which are about 1, add up to 0.
        const off = isZero(tensor) ? largest(found[key]) : distance(found[key], tensor)
        t.true(Number(off) < 2e-5, `${key}: ${off}`)
      }
    })
  }

  /**
   * Checks that the output of `vjp` is that of the call, and that its gradients predict how the output changes along a
   * random direction of all inputs and parameters.
   *
   * @param {import('ava').ExecutionContext} t
   * @param {Any} target
   * @param {Any} graph
   * @param {Named} given
   * @param {object} [options]
   */
  function check(t, target, graph, given, options) {
    const call = (/** @type {Named} */ inputs) =>
      target.forward
        ? target.forward(graph, ...argumentsOf(inputs, options)).output
        : target(graph, ...argumentsOf(inputs, options))
    const pass = vjp(target, graph, ...argumentsOf(given, options))
    const off = distance(pass.output, call(given))
    t.true(Number(off) < 1e-5, `output: ${off}`)
    const gradient = normal(pass.output.shape, 77)
    const { inputs, parameters } = pass.backward(gradient)
    const [found, state] = [named(inputs), target.stateDict?.() ?? {}]
    t.deepEqual(Object.keys(found), Object.keys(given))
    t.deepEqual(Object.keys(parameters), Object.keys(state))
    const along = (/** @type {Named} */ tensors, /** @type {number} */ seed) =>
      Object.fromEntries(Object.entries(tensors).map(([name, { shape }], at) => [name, normal(shape, seed + at)]))
    const [ofInputs, ofParameters] = [along(found, 200), along(parameters, 300)]
    const slopes = [
      ...Object.entries(found).map(([name, tensor]) => inner(tensor, ofInputs[name])),
      ...Object.entries(parameters).map(([name, tensor]) => inner(tensor, ofParameters[name]))
    ]
    const at = (/** @type {number} */ step) => {
      const move = (/** @type {Named} */ tensors, /** @type {Named} */ directions) =>
        Object.fromEntries(
          Object.entries(tensors).map(([name, tensor]) => [name, moved(tensor, directions[name], step)])
        )
      target.loadStateDict?.(move(state, ofParameters))
      return inner(call(move(given, ofInputs)), gradient)
    }
    const step = 2e-4
    const slope = (at(step) - at(-step)) / (2 * step)
    target.loadStateDict?.(state)
    const expected = slopes.reduce((a, b) => a + b, 0)
    const scale = Math.max(1, Math.abs(expected), Math.sqrt(gradient.data.length))
    t.true(Math.abs(slope - expected) < 2e-2 * scale, `slope ${slope}, predicted ${expected}`)
  }

  const nodes = (/** @type {number} */ features) => ({ x: normal([9, features], 5) })
  const pair = { xSource: normal([9, 5], 5), xTarget: normal([7, 4], 6) }
  const edgeAttr = normal([24, 3], 7)
  const heads = { outFeatures: 3, numHeads: 2, dropout: 0.4, seed: 6 }

  test(`${kind}: attention over graphs has gradients in training, with dropout by the seed`, (t) => {
    const [one, two] = [randomGraph(training, [9, 9], 24), randomGraph(training, [9, 7], 24)]
    for (const more of [{ version: 1 }, { version: 2 }, { version: 2, addSelfLoops: false, numHeads: 5 }]) {
      const config = { ...heads, .../** @type {Any} */ (more) }
      const layer = randomized(new training.GraphAttention({ inFeatures: 5, edgeFeatures: 3, ...config }), 10)
      check(t, layer.train(), one, { ...nodes(5), edgeAttr }, { seed: 3 })
      const between = randomized(new training.GraphAttention({ inFeatures: [5, 4], residual: true, ...config }), 20)
      check(t, between.train(), two, pair)
    }
    for (const [graph, inFeatures, given] of /** @type {Any[]} */ ([
      [one, 5, { ...nodes(5), edgeAttr }],
      [two, [5, 4], { ...pair, edgeAttr }]
    ])) {
      const config = { ...heads, inFeatures, edgeFeatures: 3, beta: true, concat: false }
      const layer = randomized(new training.GraphTransformer(config), 30)
      check(t, layer.train(), graph, given)
      check(t, layer.train(), graph, given, { seed: 8 })
    }
  })

  test(`${kind}: edge weights of one value per edge and per head have gradients`, (t) => {
    const graph = randomGraph(training, [9, 7], 24)
    const x = normal([9, 2, 3], 1)
    for (const reduce of /** @type {const} */ (['sum', 'mean', 'max', 'min'])) {
      check(t, propagate, graph, { x, edgeWeight: normal([24, 2], 2) }, { reduce })
      check(t, propagate, graph, { x, edgeWeight: normal([24, 1], 3) }, { reduce })
    }
    const data = normal([24], 4).data
    const pass = vjp(propagate, graph, x, { edgeWeight: data })
    t.deepEqual(pass.backward(normal([7, 2, 3], 5)).inputs.edgeWeight?.shape, [24])
    check(t, edgeSoftmax, graph, { scores: normal([24, 2], 6) })
    const layer = randomized(new training.GraphConvolution({ inFeatures: 5, outFeatures: 3, improved: true }), 7)
    const weights = normal([24, 1], 8)
    const edgeWeight = { ...weights, data: weights.data.map((value) => Math.abs(value) + 0.1) }
    check(t, layer, randomGraph(training, [9, 9], 24), { ...nodes(5), edgeWeight })
  })

  test(`${kind}: graphs without edges have gradients`, (t) => {
    const graph = Graph.fromEdges({ numNodes: 9, source: [], target: [] })
    const sizes = { inFeatures: 5, outFeatures: 3 }
    const without = { x: nodes(5).x, edgeAttr: { data: new Float32Array(), shape: [0, 3] } }
    for (const layer of [new training.GraphConvolution(sizes), new training.GraphSage({ ...sizes, reduce: 'max' })]) {
      check(t, randomized(layer, 1), graph, nodes(5))
    }
    for (const addSelfLoops of [true, false]) {
      for (const version of /** @type {const} */ ([1, 2])) {
        const layer = new training.GraphAttention({ ...sizes, version, addSelfLoops, edgeFeatures: 3 })
        check(t, randomized(layer, 2), graph, without)
      }
    }
    check(t, randomized(new training.GraphTransformer({ ...sizes, edgeFeatures: 3 }), 3), graph, without)
    check(t, propagate, graph, nodes(5))
  })

  test(`${kind}: gradients over graphs do not depend on the number of threads or on the calling thread`, async (t) => {
    const x = normal([600, 16], 1)
    const found = await Promise.all(
      [1, 2, 3].map(async (threads) => {
        const api = await loadBackend(kind, { threads })
        const graph = randomGraph(api, [600, 600], 4000)
        const layer = randomized(new api.GraphAttention({ inFeatures: 16, outFeatures: 8, numHeads: 4 }), 3)
        const gradient = normal([600, 32], 4)
        const { inputs, parameters } =
          threads === 3
            ? await api.vjp(layer, graph, x).backwardAsync(gradient)
            : api.vjp(layer, graph, x).backward(gradient)
        return [/** @type {Any} */ (inputs).x, ...Object.values(parameters)].map(bits)
      })
    )
    t.deepEqual(found[1], found[0])
    t.deepEqual(found[2], found[0])
  })

  test(`${kind}: misuse of graphs in vjp has the errors of the call`, async (t) => {
    const graph = randomGraph(training, [9, 9], 24)
    const sizes = { inFeatures: 5, outFeatures: 3 }
    const [layer, convolution] = [new training.GraphAttention(sizes), new training.GraphConvolution(sizes)]
    const { x } = nodes(5)
    const refused = (/** @type {Any[]} */ ...args) => faultOf(t, () => /** @type {Any} */ (vjp)(...args))
    t.like(refused(layer, graph, x, { weights: true }), { code: 'OPTION', argument: 'weights' })
    t.like(refused(layer, graph, x, { edgeAttr }), { code: 'OPTION', argument: 'edgeAttr' })
    t.like(refused(layer, graph, x, { edgeWeight: edgeAttr.data }), { code: 'OPTION', argument: 'edgeWeight' })
    t.like(refused(layer, graph, x, { sed: 1 }), { code: 'OPTION', argument: 'sed' })
    t.like(refused(layer, graph, normal([8, 5], 1)), { code: 'SHAPE', argument: 'x' })
    t.like(refused(convolution, graph, [x, x]), { code: 'OPTION', argument: 'x' })
    t.like(refused(convolution, graph, x, { edgeWeight: new Float32Array(3) }), { code: 'SHAPE' })
    t.like(refused(layer, {}, x), { code: 'DTYPE', argument: 'graph' })
    t.like(refused(propagate, graph, x, { reduce: 'median' }), { code: 'OPTION', argument: 'reduce' })
    t.like(refused(propagate, graph, x, { edgeWeight: normal([24, 3], 1) }), { code: 'SHAPE', argument: 'edgeWeight' })
    t.like(refused(edgeSoftmax, graph, normal([23], 1)), { code: 'SHAPE', argument: 'scores' })
    const other = await loadBackend(kind, { threads: 2 })
    t.like(refused(layer, randomGraph(other, [9, 9], 24), x), { code: 'DTYPE', argument: 'graph' })
    graph.dispose()
    t.is(refused(layer, graph, x).code, 'DISPOSED')
  })
})
