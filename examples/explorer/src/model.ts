// The model of the page: its tokens with embeddings, and the first layer of all-MiniLM-L6-v2.

import { Tokenizer } from '@huggingface/tokenizers'
import { SelfAttention, layerNorm, linear, loadSafetensors } from '@ruvector/attention/external'
import type { StateDict, Tensor } from '@ruvector/attention'
import embeddingsAddress from '../data/embeddings.safetensors?url'
import tokenizerAddress from '../data/tokenizer.json?url'
import layerAddress from '../../minilm-heads/layer0.safetensors?url'
import { HEADS, HEAD_SIZE, MODEL_SIZE, MAX_TOKENS } from './settings.ts'

/** Prefix of the layer's tensors in the file. */
const PREFIX = 'encoder.layer.0.attention'

export interface Tokens {
  ids: number[]
  names: string[]
  /** Number of tokens that did not fit. */
  left: number
}

export interface Model {
  tokenize(text: string): Tokens
  /** Padding tokens to append to a sentence. */
  padding(count: number): Tokens
  /** Repeats the text until it has `length` tokens. */
  repeat(tokens: Tokens, length: number): Tokens
  embed(ids: readonly number[]): Tensor
  /** Queries, keys and values of all tokens, with all heads: `[1, L, 384]` each. */
  project(x: Tensor): Record<'query' | 'key' | 'value', Tensor>
  /** The parameters of the layer. */
  layer: StateDict
  /** Number of trained positions; longer texts start again at the first. */
  positions: number
  /** Largest difference of the weights from PyTorch's, for the sentence in the layer's file. */
  difference: number
  /** Downloaded bytes. */
  sizes: { embeddings: number; layer: number }
}

/** Fetches a file and reports the progress from 0 to 1. */
async function fetchBytes(address: string, report: (fraction: number) => void) {
  const response = await fetch(address)
  if (!response.ok || response.body === null) throw new Error(`${address} could not be fetched: ${response.status}`)
  const whole = Number(response.headers.get('content-length')) || Infinity
  const chunks: Uint8Array<ArrayBuffer>[] = []
  let length = 0
  const reader = response.body.getReader()
  for (;;) {
    const { done, value } = await reader.read()
    if (done) break
    chunks.push(value)
    length += value.length
    report(Math.min(length / whole, 1))
  }
  report(1)
  return new Uint8Array(await new Blob(chunks).arrayBuffer())
}

/** Requires a ready backend. */
export async function loadModel(report: (fraction: number) => void): Promise<Model> {
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
  const tokenizer = new Tokenizer(json, {})
  const embeddings = loadSafetensors(embeddingBytes)
  const file = loadSafetensors(layerBytes)
  const state = loadSafetensors(layerBytes, { prefix: PREFIX })
  return {
    tokenize: (text) => tokenize(tokenizer, text),
    padding: (count) => ({
      ids: Array<number>(count).fill(tokenizer.token_to_id('[PAD]') ?? 0),
      names: Array<string>(count).fill('[PAD]'),
      left: 0
    }),
    repeat,
    embed: (ids) => embed(embeddings, ids),
    project(x) {
      const through = (name: string) => linear(x, state[`self.${name}.weight`], state[`self.${name}.bias`])
      return { query: through('query'), key: through('key'), value: through('value') }
    },
    layer: state,
    positions: embeddings.positions.shape[0],
    difference: differenceFrom(file, state),
    sizes: { embeddings: embeddingBytes.length, layer: layerBytes.length }
  }
}

/** Compares the backend's weights once with those from PyTorch in the layer's file. */
function differenceFrom(file: StateDict, state: StateDict) {
  const layer = new SelfAttention({ numHeads: HEADS, headDim: HEAD_SIZE }).loadStateDict(state)
  try {
    const { weights } = layer.forward(file['hidden_states'], { weights: true })
    const expected = file['reference.weights'].data
    if (weights?.data.length !== expected.length) return NaN
    return weights.data.reduce((worst, value, index) => Math.max(worst, Math.abs(value - expected[index])), 0)
  } finally {
    layer.dispose()
  }
}

function tokenize(tokenizer: Tokenizer, text: string): Tokens {
  const { ids, tokens } = tokenizer.encode(text)
  if (ids.length <= MAX_TOKENS) return { ids, names: tokens, left: 0 }
  // Keep the end marker.
  const cut = <T>(list: T[]) => [...list.slice(0, MAX_TOKENS - 1), list[list.length - 1]]
  return { ids: cut(ids), names: cut(tokens), left: ids.length - MAX_TOKENS }
}

function repeat({ ids, names }: Tokens, length: number): Tokens {
  const inner = Math.max(ids.length - 2, 1)
  const at = (index: number) => {
    if (index === 0) return 0
    return index === length - 1 ? ids.length - 1 : 1 + ((index - 1) % inner)
  }
  const order = Array.from({ length }, (_, index) => at(index))
  return { ids: order.map((index) => ids[index]), names: order.map((index) => names[index]), left: 0 }
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
