// Loads the example's data: a trained self-attention layer, one sentence's hidden states, and PyTorch's output for
// them.
import { readFileSync } from 'node:fs'

const read = (/** @type {string} */ name) => readFileSync(new URL(name, import.meta.url))

/** The sentence, its tokens, and the origin of the weights. */
export const input = JSON.parse(read('sentence.json').toString())

/**
 * @param {import('@ruvector/attention').Attention} attention the API of one backend
 */
export function loadLayer(attention) {
  const tensors = attention.loadSafetensors(read('layer0.safetensors'))
  const layer = new attention.SelfAttention({ numHeads: 12, headDim: 32 })
  layer.loadStateDict(tensors, { prefix: 'encoder.layer.0.attention' })
  return {
    layer,
    hidden: tensors['hidden_states'],
    reference: { output: tensors['reference.output'], weights: tensors['reference.weights'] }
  }
}

/**
 * @param {{ data: ArrayLike<number> }} a
 * @param {{ data: ArrayLike<number> }} b
 */
export function largestDifference(a, b) {
  if (a.data.length !== b.data.length) return Infinity
  let largest = 0
  for (let i = 0; i < a.data.length; i++) {
    const difference = Math.abs(a.data[i] - b.data[i])
    // Also true for NaN.
    if (!(difference <= largest)) largest = Number.isNaN(difference) ? Infinity : difference
  }
  return largest
}
