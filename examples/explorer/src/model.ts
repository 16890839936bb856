// The model that the page shows: the built-in first layer, or the whole model from its files.

import { Tokenizer } from '@huggingface/tokenizers'
import type { StateDict, Tensor, Weight, WeightType } from '@ruvector/attention'
import { MAX_TOKENS } from './settings.ts'

export interface Tokens {
  ids: number[]
  names: string[]
  /** Number of tokens that did not fit. */
  left: number
}

/** Queries, keys and values of all tokens, with all heads: `[1, L, 384]` each. */
export type Projections = Record<'query' | 'key' | 'value', Tensor>

/** The attention of one layer. */
export interface AttentionLayer {
  /** Its parameters, as SelfAttention loads them, and the type of its matrices. */
  state: StateDict<Weight>
  type: WeightType
  /** The weight and the bias of each projection, as 32-bit floats. */
  projections: Record<keyof Projections, { weight: Tensor; bias: Tensor }>
  project(x: Tensor): Projections
}

export interface Model {
  isWhole: boolean
  /** Number of layers. */
  layers: number
  tokenize(text: string): Tokens
  /** Padding tokens to append to a sentence. */
  padding(count: number): Tokens
  layer(index: number): AttentionLayer
  /** The input of a layer, `[1, L, 384]`. Tokens from `valid` on are padding, which no layer sees. */
  input(ids: readonly number[], valid: number, layer: number): Promise<Tensor>
  /** The weights of every layer over a sentence, `[12, L, L]` each. */
  maps(ids: readonly number[]): Promise<Tensor[]>
  /** Number of trained positions. */
  positions: number
  /** The model's own facts, such as downloaded bytes. */
  facts: { name: string; value: string }[]
}

/** Tokenizes sentences, and gives the names of tokens. */
export class Words {
  readonly #tokenizer

  /** @param json  the content of a tokenizer.json */
  constructor(json: object) {
    this.#tokenizer = new Tokenizer(json, {})
  }

  tokenize(text: string): Tokens {
    const { ids, tokens } = this.#tokenizer.encode(text)
    if (ids.length <= MAX_TOKENS) return { ids, names: tokens, left: 0 }
    // Keep the end marker.
    const cut = <T>(list: T[]) => [...list.slice(0, MAX_TOKENS - 1), list[list.length - 1]]
    return { ids: cut(ids), names: cut(tokens), left: ids.length - MAX_TOKENS }
  }

  padding(count: number): Tokens {
    const id = this.#tokenizer.token_to_id('[PAD]') ?? 0
    return { ids: Array<number>(count).fill(id), names: Array<string>(count).fill('[PAD]'), left: 0 }
  }
}

/** Repeats a text until it has `length` tokens. */
export function repeat({ ids, names }: Tokens, length: number): Tokens {
  const inner = Math.max(ids.length - 2, 1)
  const at = (index: number) => {
    if (index === 0) return 0
    return index === length - 1 ? ids.length - 1 : 1 + ((index - 1) % inner)
  }
  const order = Array.from({ length }, (_, index) => at(index))
  return { ids: order.map((index) => ids[index]), names: order.map((index) => names[index]), left: 0 }
}
