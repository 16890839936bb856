// Zachary's karate club, a two-layer graph attention network trained on it, and its prediction for each member.
import { readFileSync } from 'node:fs'

/** @typedef {import('@ruvector/attention').Tensor} Tensor */

const file = new URL('karate.safetensors', import.meta.url)

/**
 * Runs the network on one backend.
 *
 * @param {import('@ruvector/attention').Attention} attention the API of one backend
 */
export function runNetwork(attention) {
  const tensors = attention.loadSafetensors(readFileSync(file))
  const labels = [...tensors.labels.data]
  const numNodes = labels.length
  const source = [...tensors.source.data]
  const target = [...tensors.target.data]
  const graph = attention.Graph.fromEdges({ numNodes, source, target })
  const first = new attention.GraphAttention({ inFeatures: numNodes, outFeatures: 8, numHeads: 4 })
  const second = new attention.GraphAttention({ inFeatures: 32, outFeatures: 4 })
  first.loadStateDict(tensors, { prefix: 'conv1' })
  second.loadStateDict(tensors, { prefix: 'conv2' })

  const hidden = first.forward(graph, identity(numNodes), { weights: true })
  const result = second.forward(graph, elu(hidden.output), { weights: true })
  for (const resource of [graph, first, second]) resource.dispose()
  return {
    source,
    target,
    labels,
    /** True for members whose label was given in training. */
    trained: [...tensors.trained.data].map(Boolean),
    predicted: largestColumns(result.output),
    output: result.output,
    /** Weights of each layer, `[K′, heads]`: the edges in order, then one self-loop per member. */
    weights: [hidden.weights, result.weights],
    expected: {
      output: tensors['expected.output'],
      weights: [tensors['expected.first'], tensors['expected.second']]
    }
  }
}

/**
 * Counts the correct predictions among members whose label was not given in training.
 *
 * @param {Pick<ReturnType<typeof runNetwork>, 'labels' | 'trained' | 'predicted'>} result
 */
export function score({ labels, trained, predicted }) {
  const unseen = labels.map((_, node) => node).filter((node) => !trained[node])
  return { correct: unseen.filter((node) => predicted[node] === labels[node]).length, total: unseen.length }
}

/**
 * One-hot features: a member's number is its only feature.
 *
 * @param {number} size
 * @returns {Tensor}
 */
function identity(size) {
  const data = new Float32Array(size * size)
  for (let node = 0; node < size; node++) data[node * (size + 1)] = 1
  return { data, shape: [size, size] }
}

/**
 * @param {Tensor} x
 * @returns {Tensor}
 */
function elu({ data, shape }) {
  return { data: data.map((value) => (value > 0 ? value : Math.expm1(value))), shape }
}

/** @param {Tensor} scores `[rows, columns]` */
function largestColumns({ data, shape: [rows, columns] }) {
  return Array.from({ length: rows }, (_, row) => {
    const own = data.subarray(row * columns, (row + 1) * columns)
    return own.indexOf(Math.max(...own))
  })
}
