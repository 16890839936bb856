// The whole model, all six layers, from the files of its folder. The package reads them; nothing is uploaded.

import * as attention from '@ruvector/attention/external'
import type { Tensor } from '@ruvector/attention'
import type { Model as Loaded } from '@ruvector/attention/models'
import { fetchBytes, sourceOf } from './fetch.ts'
import { Words } from './model.ts'
import type { AttentionLayer, Model } from './model.ts'
import { HEADS, LAYERS, MODEL_SIZE } from './settings.ts'
import { bytes } from './words.ts'

/** Files of a model by their names. */
export type Files = Readonly<Record<string, Blob>>
type Report = (fraction: number) => void

/** The files that the page fetches if it is served with the model. */
const NAMES = ['config.json', 'tokenizer.json', 'tokenizer_config.json', 'model.safetensors']

/** Fetches the files of a folder on the page's server. The weights are nearly all of it. */
export async function fetchFiles(folder: string, report: Report): Promise<Files> {
  const entries = NAMES.map(async (name) => {
    const isLarge = name === 'model.safetensors'
    return [name, new Blob([await fetchBytes(`${folder}/${name}`, isLarge ? report : () => {})])]
  })
  return Object.fromEntries(await Promise.all(entries))
}

/** Requires a ready backend. */
export async function loadWhole(files: Files, report: Report): Promise<Model> {
  const { loadModel } = await import('@ruvector/attention/models')
  const sources = Object.fromEntries(Object.entries(files).map(([name, file]) => [name, sourceOf(file)]))
  const model = await loadModel(sources, { attention, onProgress: report })
  const { hidden_size: size, num_attention_heads: heads, num_hidden_layers: layers } = model.config
  if (model.family !== 'bert' || size !== MODEL_SIZE || heads !== HEADS || layers !== LAYERS) {
    model.dispose()
    const found = `${model.family} with ${layers} layers, ${heads} heads and ${size} features`
    throw new Error(`expected all-MiniLM-L6-v2, or a BERT of its size: 6 layers, 12 heads, 384 features; got ${found}`)
  }
  return new WholeModel(model, new Words(JSON.parse(await files['tokenizer.json'].text())))
}

class WholeModel implements Model {
  readonly isWhole = true
  readonly layers = LAYERS
  readonly #model
  readonly #words
  /** The attention of the layers that were asked for. */
  readonly #made = new Map<number, AttentionLayer>()
  /** The inputs of all layers for the last text. */
  #inputs: { key: string; states: Promise<Tensor[]> } | undefined
  #maps: { key: string; weights: Promise<Tensor[]> } | undefined

  constructor(model: Loaded, words: Words) {
    this.#model = model
    this.#words = words
  }

  get positions() {
    return Number(this.#model.config.max_position_embeddings)
  }

  get facts() {
    const { numParameters, type, bytes: size } = this.#model
    return [{ name: 'Model', value: `${(numParameters / 1e6).toFixed(1)} million parameters, ${type}, ${bytes(size)}` }]
  }

  tokenize(text: string) {
    return this.#words.tokenize(text)
  }

  padding(count: number) {
    return this.#words.padding(count)
  }

  layer(index: number) {
    const made = this.#made.get(index) ?? layerOf(this.#model, index)
    this.#made.set(index, made)
    return made
  }

  /** Texts longer than the positions are divided into parts, which see themselves only. */
  async input(ids: readonly number[], valid: number, layer: number) {
    const key = `${valid}:${ids}`
    if (this.#inputs?.key !== key) {
      const parts = [...partsOf(ids.slice(0, valid), this.positions), ...partsOf(ids.slice(valid), this.positions)]
      const states = this.#model.encode(parts, { hiddenStates: true }).then(({ hiddenStates = [] }) => hiddenStates)
      this.#inputs = { key, states }
    }
    const { data, shape } = (await this.#inputs.states)[layer]
    return { data, shape: [1, ...shape] }
  }

  async maps(ids: readonly number[]) {
    const key = String(ids)
    if (this.#maps?.key !== key) {
      const weights = this.#model.encode([ids], { attentions: true }).then(({ attentions = [[]] }) => attentions[0])
      this.#maps = { key, weights }
    }
    return this.#maps.weights
  }
}

const partsOf = (ids: readonly number[], length: number) =>
  Array.from({ length: Math.ceil(ids.length / length) }, (_, part) => ids.slice(part * length, (part + 1) * length))

function layerOf(model: Loaded, index: number): AttentionLayer {
  const own = model.layers[index].stateDict({ type: 'own' })
  const wide = model.layers[index].stateDict()
  const [weight, bias] = ['self_attn.in_proj_weight', 'self_attn.in_proj_bias']
  const part = (at: number) => ({
    weight: rows(wide[weight], at),
    bias: rows(wide[bias], at)
  })
  const names = Object.keys(own).filter((name) => name.startsWith('self_attn.'))
  return {
    state: Object.fromEntries(names.map((name) => [name.slice('self_attn.'.length), own[name]])),
    type: model.type,
    projections: { query: part(0), key: part(1), value: part(2) },
    project(x) {
      const all = attention.linear(x, own[weight], wide[bias])
      return { query: columns(all, 0), key: columns(all, 1), value: columns(all, 2) }
    }
  }
}

/** A third of the rows of a tensor. */
function rows({ data, shape: [count, ...rest] }: Tensor, part: number): Tensor {
  const size = data.length / 3
  return { data: data.subarray(part * size, (part + 1) * size), shape: [count / 3, ...rest] }
}

/** A third of the columns of `[1, L, 3 · 384]`. */
function columns({ data, shape: [, length] }: Tensor, part: number): Tensor {
  const third = new Float32Array(length * MODEL_SIZE)
  for (let row = 0; row < length; row++) {
    const from = (3 * row + part) * MODEL_SIZE
    third.set(data.subarray(from, from + MODEL_SIZE), row * MODEL_SIZE)
  }
  return { data: third, shape: [1, length, MODEL_SIZE] }
}
