// What a concept looks at: hyperbolic attention from its point to all others.

/** @typedef {import('@ruvector/attention').Attention} Attention */
/** @typedef {import('@ruvector/attention').Tensor} Tensor */

/**
 * The weights of every concept for one, and the plane as it looks from there: every point moved so that the one is in the centre.
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
 * The concepts with the largest weights, the one that looks left out.
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
