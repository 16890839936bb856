// all-MiniLM-L6-v2 from its files: tokens, embeddings, six encoder layers, mean pooling. Embeds sentences as unit
// vectors; the dot product of two vectors measures how close their meanings are.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Tokenizer } from '@huggingface/tokenizers'

/** @typedef {import('@ruvector/attention').Attention} Attention */
/** @typedef {import('@ruvector/attention').Tensor} Tensor */

const EPSILON = 1e-12
const SIZE = 384
/** Length at which sentence-transformers truncates sentences, in tokens. */
const MAX_TOKENS = 256
/** Number of sentences per pass through the layers. */
const BATCH = 32

/**
 * @param {Attention} attention  the API of one backend
 * @param {string} folder  with model.safetensors, tokenizer.json and tokenizer_config.json
 */
export function loadModel(attention, folder) {
  const { layerNorm, loadSafetensors, meanPool, TransformerEncoderLayer } = attention
  const json = (/** @type {string} */ name) => JSON.parse(readFileSync(join(folder, name), 'utf8'))
  const tokenizer = new Tokenizer(json('tokenizer.json'), json('tokenizer_config.json'))

  const file = readFileSync(join(folder, 'model.safetensors'))
  const part = (/** @type {string} */ name) => loadSafetensors(file, { prefix: `embeddings.${name}` })
  const words = part('word_embeddings').weight.data
  const positions = part('position_embeddings').weight.data
  const types = part('token_type_embeddings').weight.data
  const norm = part('LayerNorm')
  const state = loadSafetensors(file, { prefix: 'encoder' })
  const layers = Array.from({ length: 6 }, (_, index) =>
    new TransformerEncoderLayer({
      modelDim: SIZE,
      numHeads: 12,
      feedForwardDim: 4 * SIZE,
      activation: 'gelu',
      epsilon: EPSILON
    }).loadStateDict(state, { prefix: `layer.${index}` })
  )

  /** The token ids of a sentence, including start and end markers. @param {string} sentence */
  function tokenize(sentence) {
    const { ids } = tokenizer.encode(sentence)
    return ids.length <= MAX_TOKENS ? ids : [...ids.slice(0, MAX_TOKENS - 1), ids[ids.length - 1]]
  }

  /**
   * The input of the first layer, padded to the longest sentence.
   *
   * @param {readonly number[][]} batch  the token ids of some sentences
   * @returns {Tensor}
   */
  function embedTokens(batch) {
    const length = Math.max(...batch.map((ids) => ids.length))
    const data = new Float32Array(batch.length * length * SIZE)
    batch.forEach((ids, row) => {
      ids.forEach((id, position) => {
        const start = (row * length + position) * SIZE
        for (let i = 0; i < SIZE; i++) {
          data[start + i] = words[id * SIZE + i] + positions[position * SIZE + i] + types[i]
        }
      })
    })
    return layerNorm({ data, shape: [batch.length, length, SIZE] }, { ...norm, epsilon: EPSILON })
  }

  /**
   * Runs the layers over embedded tokens, `[B, L, 384]`.
   *
   * @param {Tensor} x
   * @param {Int32Array} [kvLengths]
   */
  const encode = (x, kvLengths) => layers.reduce((hidden, layer) => layer.forward(hidden, { kvLengths }).output, x)

  /**
   * The same, asynchronously.
   *
   * @param {Tensor} x
   * @param {Int32Array} kvLengths
   * @param {AbortSignal} [signal]
   */
  async function encodeAsync(x, kvLengths, signal) {
    let hidden = x
    for (const layer of layers) hidden = (await layer.forwardAsync(hidden, { kvLengths, signal })).output
    return hidden
  }

  /**
   * Groups sentences of similar length, so that little padding is needed.
   *
   * @param {readonly string[]} sentences
   */
  function batchesOf(sentences) {
    const rows = sentences.map((sentence, index) => ({ index, ids: tokenize(sentence) }))
    rows.sort((a, b) => a.ids.length - b.ids.length)
    return Array.from({ length: Math.ceil(rows.length / BATCH) }, (_, batch) => {
      const some = rows.slice(batch * BATCH, (batch + 1) * BATCH)
      return { some, lengths: Int32Array.from(some, ({ ids }) => ids.length), tokens: some.map(({ ids }) => ids) }
    })
  }

  /**
   * @param {Float32Array} output  vectors of all sentences
   * @param {ReturnType<typeof batchesOf>[number]} batch
   * @param {Tensor} hidden
   */
  function pool(output, { some, lengths }, hidden) {
    const { data } = meanPool(hidden, { lengths, normalize: true })
    some.forEach(({ index }, row) => output.set(data.subarray(row * SIZE, (row + 1) * SIZE), index * SIZE))
  }

  /**
   * Embeds sentences as unit vectors, `[sentences, 384]`.
   *
   * @param {readonly string[]} sentences
   * @returns {Tensor}
   */
  function embed(sentences) {
    const output = new Float32Array(sentences.length * SIZE)
    for (const batch of batchesOf(sentences)) pool(output, batch, encode(embedTokens(batch.tokens), batch.lengths))
    return { data: output, shape: [sentences.length, SIZE] }
  }

  /**
   * The same, asynchronously.
   *
   * @param {readonly string[]} sentences
   * @param {AbortSignal} [signal]
   * @returns {Promise<Tensor>}
   */
  async function embedAsync(sentences, signal) {
    const output = new Float32Array(sentences.length * SIZE)
    for (const batch of batchesOf(sentences)) {
      pool(output, batch, await encodeAsync(embedTokens(batch.tokens), batch.lengths, signal))
    }
    return { data: output, shape: [sentences.length, SIZE] }
  }

  const dispose = () => layers.forEach((layer) => layer.dispose())
  return { tokenize, embedTokens, encode, embed, embedAsync, dispose }
}

/**
 * The sentences closest in meaning to each query, best first.
 *
 * @param {Attention} attention
 * @param {Tensor} queries  `[Q, 384]`
 * @param {Tensor} vectors  `[N, 384]`
 * @param {number} count
 * @returns {{ index: number, score: number }[][]}
 */
export function search(attention, queries, vectors, count) {
  // The dot product of unit vectors is the cosine of their angle.
  const { data } = attention.linear(queries, vectors)
  const size = vectors.shape[0]
  return Array.from({ length: queries.shape[0] }, (_, query) => {
    const scores = [...data.subarray(query * size, (query + 1) * size)].map((score, index) => ({ index, score }))
    return scores.sort((a, b) => b.score - a.score).slice(0, count)
  })
}
