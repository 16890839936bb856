// The built-in model: its tokens with embeddings, and the attention of the first layer of all-MiniLM-L6-v2.

import { SelfAttention, layerNorm, linear, loadSafetensors } from '@ruvector/attention/external'
import type { StateDict, Tensor } from '@ruvector/attention'
import embeddingsAddress from '../data/embeddings.safetensors?url'
import tokenizerAddress from '../data/tokenizer.json?url'
import layerAddress from '../../minilm-heads/layer0.safetensors?url'
import { fetchBytes } from './fetch.ts'
import { Words } from './model.ts'
import type { AttentionLayer, Model } from './model.ts'
import { HEADS, HEAD_SIZE, MODEL_SIZE } from './settings.ts'
import { bytes } from './words.ts'

/** Prefix of the layer's tensors in the file. */
const PREFIX = 'encoder.layer.0.attention'

/** Requires a ready backend. */
export async function loadBuiltIn(report: (fraction: number) => void): Promise<Model> {
  const shares = [0, 0]
  const part = (index: number) => (fraction: number) => {
    shares[index] = fraction
    report((shares[0] + shares[1]) / 2)
  }
  const [embeddingBytes, layerBytes, json] = await Promise.all([
    fetchBytes(embeddingsAddress, part(0)),
    fetchBytes(layerAddress, part(1)),
    fetch(tokenizerAddress).then((response) => response.json())
  ])
  const words = new Words(json)
  const embeddings = loadSafetensors(embeddingBytes)
  const file = loadSafetensors(layerBytes)
  const state = loadSafetensors(layerBytes, { prefix: PREFIX })
  const embedded = (ids: readonly number[]) => embed(embeddings, ids)
  const difference = differenceFrom(file, state)
  return {
    isWhole: false,
    layers: 1,
    tokenize: (text) => words.tokenize(text),
    padding: (count) => words.padding(count),
    layer: () => layerOf(state),
    input: async (ids) => embedded(ids),
    maps: async (ids) => [weightsOf(embedded(ids), state)],
    positions: embeddings.positions.shape[0],
    facts: [
      { name: 'Downloaded: layer', value: bytes(layerBytes.length) },
      { name: 'Downloaded: embeddings', value: bytes(embeddingBytes.length) },
      { name: 'Largest difference from PyTorch', value: `${difference.toExponential(0)}, on the example’s weights` }
    ]
  }
}

function layerOf(state: StateDict): AttentionLayer {
  const part = (name: string) => ({ weight: state[`self.${name}.weight`], bias: state[`self.${name}.bias`] })
  const projections = { query: part('query'), key: part('key'), value: part('value') }
  return {
    state,
    type: 'f32',
    projections,
    project(x) {
      const through = ({ weight, bias }: { weight: Tensor; bias: Tensor }) => linear(x, weight, bias)
      const { query, key, value } = projections
      return { query: through(query), key: through(key), value: through(value) }
    }
  }
}

/** The weights of the twelve heads, `[12, L, L]`. */
function weightsOf(x: Tensor, state: StateDict): Tensor {
  const layer = new SelfAttention({ numHeads: HEADS, headDim: HEAD_SIZE }).loadStateDict(state)
  try {
    const { weights } = layer.forward(x, { weights: true })
    if (weights === undefined) throw new Error('the backend returned no weights')
    return { data: weights.data, shape: weights.shape.slice(1) }
  } finally {
    layer.dispose()
  }
}

/** Compares the backend's weights once with those from PyTorch in the layer's file. */
function differenceFrom(file: StateDict, state: StateDict) {
  const { data } = weightsOf(file['hidden_states'], state)
  const expected = file['reference.weights'].data
  if (data.length !== expected.length) return NaN
  return data.reduce((worst, value, index) => Math.max(worst, Math.abs(value - expected[index])), 0)
}

function embed(embeddings: StateDict, ids: readonly number[]): Tensor {
  const { words, positions } = embeddings
  const data = new Float32Array(ids.length * MODEL_SIZE)
  ids.forEach((id, index) => {
    const [word, place] = [id * MODEL_SIZE, (index % positions.shape[0]) * MODEL_SIZE]
    for (let i = 0; i < MODEL_SIZE; i++) data[index * MODEL_SIZE + i] = words.data[word + i] + positions.data[place + i]
  })
  const [weight, bias] = [embeddings['norm.weight'], embeddings['norm.bias']]
  return layerNorm({ data, shape: [1, ids.length, MODEL_SIZE] }, { weight, bias, epsilon: 1e-12 })
}
