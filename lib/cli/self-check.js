// Computes a small attention with a backend and in plain JavaScript, and compares the two.

/** @typedef {import('../../index.d.ts').Tensor} Tensor */

const [HEADS, QUERIES, KEYS, SIZE] = [2, 5, 19, 12]
/** A few roundings of 32-bit floats. */
const TOLERANCE = 1e-5

/**
 * Deterministic numbers between −2 and 2.
 *
 * @param {number[]} shape
 * @param {number} salt
 * @returns {Tensor}
 */
function numbers(shape, salt) {
  const length = shape.reduce((product, dim) => product * dim, 1)
  return { data: Float32Array.from({ length }, (_, index) => 2 * Math.sin(index * 1.7 + salt)), shape }
}

/**
 * Causal `softmax(q kᵀ / √D) v` in doubles, with the last query aligned with the last key.
 *
 * @param {Tensor} q
 * @param {Tensor} k
 * @param {Tensor} v
 */
function plainAttention(q, k, v) {
  const output = []
  for (let row = 0; row < HEADS * QUERIES; row++) {
    const [head, query] = [Math.floor(row / QUERIES), row % QUERIES]
    const seen = query + KEYS - QUERIES + 1
    const scores = Array.from({ length: seen }, (_, key) => {
      let score = 0
      for (let at = 0; at < SIZE; at++) score += q.data[row * SIZE + at] * k.data[(head * KEYS + key) * SIZE + at]
      return Math.exp(score / Math.sqrt(SIZE))
    })
    const sum = scores.reduce((total, score) => total + score, 0)
    for (let at = 0; at < SIZE; at++) {
      output.push(
        scores.reduce((total, score, key) => total + (score / sum) * v.data[(head * KEYS + key) * SIZE + at], 0)
      )
    }
  }
  return output
}

/**
 * Compares a backend's causal attention with plain JavaScript: the largest difference, and whether it is within
 * tolerance.
 *
 * @param {Pick<import('../../index.d.ts').Attention, 'scaledDotProductAttention'>} attention
 */
export function selfCheck({ scaledDotProductAttention }) {
  const [q, k, v] = [numbers([1, HEADS, QUERIES, SIZE], 1), numbers([1, HEADS, KEYS, SIZE], 2), numbers([1, HEADS, KEYS, SIZE], 3)] // prettier-ignore
  const { output } = scaledDotProductAttention(q, k, v, { causal: true, queryOffset: KEYS - QUERIES })
  const expected = plainAttention(q, k, v)
  const differences = expected.map((value, index) => Math.abs(value - output.data[index]))
  const difference = differences.includes(NaN) ? NaN : Math.max(...differences)
  return { difference, passed: difference <= TOLERANCE }
}
