// A two-layer graph attention network, trained one step at a time on the nodes whose labels are given.

/** @typedef {import('@ruvector/attention').Tensor} Tensor */
/**
 * A graph to train on, with the features of its nodes.
 *
 * @typedef {object} Data
 * @property {number} numNodes
 * @property {number[]} source
 * @property {number[]} target
 * @property {number[]} labels
 * @property {boolean[]} given  true for nodes whose label is used in training
 * @property {Tensor} x
 */
/** @typedef {{ learningRate: number, weightDecay: number, dropout: number }} Settings */

/** The settings for each graph. @type {{ karate: Settings, blocks: Settings }} */
export const SETTINGS = {
  karate: { learningRate: 0.01, weightDecay: 0.5, dropout: 0.5 },
  blocks: { learningRate: 0.01, weightDecay: 0.01, dropout: 0 }
}

const [HIDDEN, HEADS] = [8, 4]

/**
 * @param {import('@ruvector/attention/training').Attention} attention
 * @param {Data} data
 * @param {Settings} settings
 */
export function createNetwork(attention, data, { learningRate, weightDecay, dropout }) {
  const { AdamW, Graph, GraphAttention, crossEntropy, elu, vjp } = attention
  const { numNodes, source, target, labels, given, x } = data
  const graph = Graph.fromEdges({ source, target, numNodes })
  const classes = labels.map((label, node) => (given[node] ? label : -100))
  const first = new GraphAttention({ inFeatures: x.shape[1], outFeatures: HIDDEN, numHeads: HEADS, dropout, seed: 1 })
  const outFeatures = Math.max(...labels) + 1
  const second = new GraphAttention({ inFeatures: HIDDEN * HEADS, outFeatures, dropout, seed: 2 })
  const optimizer = new AdamW([first, second], { learningRate, weightDecay })

  /** Takes a step, and returns the loss before it. @param {number} seed  of the dropout */
  function step(seed) {
    const hidden = vjp(first.train(), graph, x, { seed })
    const active = vjp(elu, hidden.output)
    const output = vjp(second.train(), graph, active.output, { seed })
    const { value, gradient } = crossEntropy(output.output, classes)
    const ofSecond = output.backward(gradient)
    const ofFirst = hidden.backward(active.backward(ofSecond.inputs.x).inputs.x)
    optimizer.step([ofFirst.parameters, ofSecond.parameters])
    return value
  }

  /** The class with the largest score of each node. */
  function predict() {
    const hidden = first.train(false).forward(graph, x).output
    const { data: scores, shape } = second.train(false).forward(graph, elu(hidden)).output
    return Uint8Array.from({ length: numNodes }, (_, node) => {
      const own = scores.subarray(node * shape[1], (node + 1) * shape[1])
      return own.indexOf(Math.max(...own))
    })
  }

  /** The number of nodes whose class is found, of those whose label was not given. @param {Uint8Array} predicted */
  const right = (predicted) => labels.filter((label, node) => !given[node] && predicted[node] === label).length

  return {
    step,
    predict,
    right,
    total: given.filter((isGiven) => !isGiven).length,
    layers: [first, second],
    dispose: () => [graph, first, second].forEach((resource) => resource.dispose())
  }
}
