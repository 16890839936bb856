// The steps of one head for one query token, as numbers: q · k, scale, mask, softmax, times v.

import type { Projections } from './model.ts'
import { HEAD_SIZE, MODEL_SIZE } from './settings.ts'

/** The numbers that a query computes of one key. */
export interface KeyStep {
  /** The product of the query and the key. */
  product: number
  /** Divided by the root of the size. */
  scaled: number
  /** 0, or −∞ where the mask hides the key. */
  mask: number
  /** `e` to the power of the masked score less the largest, of which softmax takes shares. */
  power: number
  /** The share of the sum of all powers. */
  weight: number
}

export interface Steps {
  keys: KeyStep[]
  query: Float32Array
  keyOf(token: number): Float32Array
  valueOf(token: number): Float32Array
  /** The sum of all values, times their weights. */
  output: Float32Array
}

export const SCALE = Math.sqrt(HEAD_SIZE)

const dot = (a: Float32Array, b: Float32Array) => a.reduce((sum, value, index) => sum + value * b[index], 0)

/** @param sees  true if the mask lets the query see a key */
export function stepsOf(
  { query, key, value }: Projections,
  head: number,
  token: number,
  sees: (key: number) => boolean
): Steps {
  const row = ({ data }: Projections['query'], index: number) => {
    const from = index * MODEL_SIZE + head * HEAD_SIZE
    return data.subarray(from, from + HEAD_SIZE)
  }
  const [own, length] = [row(query, token), key.shape[1]]
  const products = Array.from({ length }, (_, index) => dot(own, row(key, index)))
  const masks = products.map((_, index) => (sees(index) ? 0 : -Infinity))
  const largest = Math.max(...products.map((product, index) => product / SCALE + masks[index]))
  // A query that sees nothing has no weights.
  const powers = products.map((product, index) => (masks[index] === 0 ? Math.exp(product / SCALE - largest) : 0))
  const sum = powers.reduce((sum, power) => sum + power, 0) || 1
  const output = new Float32Array(HEAD_SIZE)
  powers.forEach((power, index) => row(value, index).forEach((v, i) => (output[i] += (power / sum) * v)))
  return {
    keys: products.map((product, index) => ({
      product,
      scaled: product / SCALE,
      mask: masks[index],
      power: powers[index],
      weight: powers[index] / sum
    })),
    query: own,
    keyOf: (index) => row(key, index),
    valueOf: (index) => row(value, index),
    output
  }
}
