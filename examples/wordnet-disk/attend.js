// Hyperbolic attention from the point of one concept to all others.

/** @typedef {import('@ruvector/attention').Attention} Attention */
/** @typedef {import('@ruvector/attention').Tensor} Tensor */

/**
 * The attention weights of one concept over all concepts, and the points moved so that this concept is at the center.
 *
 * @param {Attention} attention
 * @param {Tensor} points  `[N, 2]` in the ball of curvature −1
 * @param {number} concept
 */
export function lookFrom({ HyperbolicAttention }, points, concept) {
  const [count, size] = points.shape
  const layer = new HyperbolicAttention({ curvature: -1, temperature: 1 })
  try {
    const query = { data: points.data.slice(concept * size, (concept + 1) * size), shape: [1, 1, size] }
    const all = { data: points.data, shape: [1, count, size] }
    const { weights } = layer.forward(query, all, all, { weights: true })
    const back = { data: query.data.map((value) => -value), shape: [1, size] }
    return { weights: weights?.data ?? new Float32Array(), seen: layer.mobiusAdd(back, points).data }
  } finally {
    layer.dispose()
  }
}

/**
 * The concepts with the largest weights, excluding the concept itself.
 *
 * @param {Float32Array} weights
 * @param {number} concept
 * @param {number} count
 */
export const strongest = (weights, concept, count) =>
  [...weights.keys()]
    .filter((index) => index !== concept)
    .sort((a, b) => weights[b] - weights[a])
    .slice(0, count)
