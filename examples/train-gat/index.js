// Trains a two-layer graph attention network on Zachary's karate club from one label per community, and counts the other
// members whose community it finds. Exits with an error if a backend is missing, or if it finds fewer than 24 of 30.
import { readFileSync } from 'node:fs'
import { loadBackend } from '@ruvector/attention/training'

const STEPS = 200
const club = new URL('../karate/karate.safetensors', import.meta.url)

/**
 * Trains the network, and returns the losses of all steps and the output for each member.
 *
 * @param {import('@ruvector/attention/training').Attention} attention
 * @param {Record<string, import('@ruvector/attention').Tensor>} data
 */
function train({ AdamW, Graph, GraphAttention, crossEntropy, elu, vjp }, { source, target, labels, trained }) {
  const numNodes = labels.data.length
  const graph = Graph.fromEdges({ source: [...source.data], target: [...target.data], numNodes })
  // A member's number is its only feature.
  const x = { data: new Float32Array(numNodes * numNodes), shape: [numNodes, numNodes] }
  for (let node = 0; node < numNodes; node++) x.data[node * (numNodes + 1)] = 1
  const classes = Array.from(labels.data, (label, node) => (trained.data[node] ? label : -100))

  const first = new GraphAttention({ inFeatures: numNodes, outFeatures: 8, numHeads: 4, dropout: 0.5 })
  const second = new GraphAttention({ inFeatures: 32, outFeatures: 4, dropout: 0.5 })
  const optimizer = new AdamW([first.train(), second.train()], { learningRate: 0.01, weightDecay: 0.5 })
  const losses = []
  for (let seed = 0; seed < STEPS; seed++) {
    const hidden = vjp(first, graph, x, { seed })
    const active = vjp(elu, hidden.output)
    const output = vjp(second, graph, active.output, { seed })
    const { value, gradient } = crossEntropy(output.output, classes)
    losses.push(value)
    const ofSecond = output.backward(gradient)
    const ofFirst = hidden.backward(active.backward(ofSecond.inputs.x).inputs.x)
    optimizer.step([ofFirst.parameters, ofSecond.parameters])
  }
  const { output } = second.train(false).forward(graph, elu(first.train(false).forward(graph, x).output))
  for (const resource of [graph, first, second]) resource.dispose()
  return { losses, output }
}

console.log('Zachary’s karate club: 34 members, 4 communities, of which one label each is given\n')
for (const kind of /** @type {const} */ (['native', 'wasm'])) {
  try {
    const attention = await loadBackend(kind)
    const data = attention.loadSafetensors(readFileSync(club))
    const { losses, output } = train(attention, data)
    const [numNodes, communities] = output.shape
    const found = Array.from({ length: numNodes }, (_, node) => {
      const scores = output.data.subarray(node * communities, (node + 1) * communities)
      return scores.indexOf(Math.max(...scores))
    })
    const unseen = found.flatMap((community, node) => (data.trained.data[node] ? [] : [{ community, node }]))
    const right = unseen.filter(({ community, node }) => community === data.labels.data[node]).length
    const [before, after] = [losses[0], losses[STEPS - 1]].map((loss) => loss.toFixed(3))
    console.log(`${kind}: loss ${before} to ${after} in ${STEPS} steps, ${right} of ${unseen.length} members right`)
    if (right < 24) process.exitCode = 1
  } catch (error) {
    console.error(`${kind}: ${error instanceof Error ? error.message : error}`)
    process.exitCode = 1
  }
}
