// The worker of the writing model: loads a GGUF file, generates a text, and reads where each of its tokens looks.

import * as attention from '@ruvector/attention/external'
import type { KVCache, DecoderLayer } from '@ruvector/attention'
import { loadModel, openGguf } from '@ruvector/attention/models'
import type { Model } from '@ruvector/attention/models'
import { fetchBytes, sourceOf } from './fetch.ts'
import { nameOf } from './vocabulary.ts'
import type { FromWriter, ToWriter, Written } from './writer-protocol.ts'
import { bytes, count, duration } from './words.ts'

/** The most tokens of the beginning, and after it. */
const MOST_GIVEN = 48
const MOST_WRITTEN = 32
/** Keeps a small model from repeating itself. */
const repetitionPenalty = 1.2

interface Loaded {
  model: Model
  vocabulary: readonly string[]
}

const say = (message: FromWriter, transfer: Transferable[] = []) => self.postMessage(message, { transfer })

let loaded: Loaded | undefined
let controller = new AbortController()

self.addEventListener('message', ({ data }: MessageEvent<ToWriter>) => {
  controller.abort()
  if (data.type === 'stop') return
  controller = new AbortController()
  const done = data.type === 'load' ? load(data.file) : write(data.prompt, controller.signal)
  done.catch((error) => say({ type: 'failed', message: error instanceof Error ? error.message : String(error) }))
})

const progress = (doing: string) => (fraction: number) => say({ type: 'progress', fraction, doing })

async function load(given: Blob | string) {
  await attention.init()
  const file = typeof given === 'string' ? new Blob([await fetchBytes(given, progress('Fetching'))]) : given
  const source = sourceOf(file)
  const { metadata } = await openGguf(source)
  const vocabulary = metadata['tokenizer.ggml.tokens'] as string[]
  const model = await loadModel({ 'model.gguf': source }, { attention, type: 'q8_0', onProgress: progress('Reading') })
  loaded?.model.dispose()
  loaded = { model, vocabulary }
  const [layers, heads] = [model.layers.length, Number(model.config.num_attention_heads)]
  const size = `${(model.numParameters / 1e6).toFixed(0)} million parameters, ${bytes(model.bytes)} in memory`
  say({ type: 'loaded', title: `${layers} layers of ${heads} heads, ${size}`, layers, heads })
}

async function write(prompt: string, signal: AbortSignal) {
  if (loaded === undefined) throw new Error('no model is loaded')
  const { model, vocabulary } = loaded
  const ids = Array.from(model.tokenize(prompt).ids)
  if (ids.length === 0 || ids.length > MOST_GIVEN) {
    throw new Error(`the beginning has ${count(ids.length, 'token')}; expected 1 to ${MOST_GIVEN}`)
  }
  const start = performance.now()
  const reader = new Reader(model, ids.length + MOST_WRITTEN)
  let written = 0
  const show = (tokens: readonly number[]) => {
    const weights = reader.read(tokens)
    const named = tokens.map((token, index): Written => ({ name: nameOf(vocabulary[token]), weights: weights[index] }))
    say(
      { type: 'tokens', tokens: named },
      named.map(({ weights }) => weights.buffer)
    )
  }
  try {
    show(ids)
    for await (const { token } of model.generate(prompt, { maxTokens: MOST_WRITTEN, repetitionPenalty, signal })) {
      show([token])
      written++
    }
  } catch (error) {
    if (!signal.aborted) throw error
  } finally {
    reader.dispose()
  }
  const time = duration(performance.now() - start)
  say({ type: 'ended', said: `${signal.aborted ? 'Stopped after' : 'Wrote'} ${count(written, 'token')} in ${time}.` })
}

/** Passes tokens through the layers beside the generation, which keeps no weights. */
class Reader {
  readonly #model
  readonly #caches: KVCache[]
  #length = 0

  constructor(model: Model, capacity: number) {
    this.#model = model
    this.#caches = (model.layers as readonly DecoderLayer[]).map((layer) => layer.createCache({ capacity }))
  }

  /** The weights of the next tokens, `[layers, heads, n]` for each token with the `n` tokens up to itself. */
  read(tokens: readonly number[]): Float32Array<ArrayBuffer>[] {
    const positions = tokens.map((_, index) => this.#length + index)
    this.#length += tokens.length
    let x = this.#model.embeddings.forward(tokens, { positions })
    const layers = (this.#model.layers as readonly DecoderLayer[]).map((layer, index) => {
      const { output, weights } = layer.forward(x, { cache: this.#caches[index], weights: true })
      x = output
      return weights
    })
    return positions.map((position, row) => {
      const [, heads, rows, columns] = layers[0].shape
      const seen = position + 1
      const own = new Float32Array(layers.length * heads * seen)
      layers.forEach(({ data }, layer) => {
        for (let head = 0; head < heads; head++) {
          const from = (head * rows + row) * columns
          own.set(data.subarray(from, from + seen), (layer * heads + head) * seen)
        }
      })
      return own
    })
  }

  dispose() {
    for (const cache of this.#caches) cache.dispose()
  }
}
