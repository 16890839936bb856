// A stochastic block model (Holland et al. 1983): nodes of the same block are joined more often than others. A node's
// features say little about its block; its neighbors' features together say much.

/** @typedef {import('./network.js').Data} Data */

const BLOCKS = 5
const FEATURES = 16
/** The probability of an edge within a block, and of one between blocks. */
const [WITHIN, BETWEEN] = [0.01, 0.0005]
/** The number of nodes of each block whose label is given. */
const GIVEN = 100

/** Returns a generator of numbers from 0 to 1 (Marsaglia's xorshift). @param {number} state  not 0 */
function randomNumbers(state) {
  return () => {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    return (state >>> 0) / 2 ** 32
  }
}

/**
 * @param {number} [numNodes]
 * @returns {Data}
 */
export function blockModel(numNodes = 5000) {
  const random = randomNumbers(2026)
  const labels = Array.from({ length: numNodes }, (_, node) => Math.floor((node * BLOCKS) / numNodes))
  /** @type {number[]} */
  const source = []
  /** @type {number[]} */
  const target = []
  for (let a = 0; a < numNodes; a++) {
    for (let b = a + 1; b < numNodes; b++) {
      if (random() >= (labels[a] === labels[b] ? WITHIN : BETWEEN)) continue
      source.push(a, b)
      target.push(b, a)
    }
  }
  // Each block has a direction of its own, in noise.
  const data = Float32Array.from({ length: numNodes * FEATURES }, (_, at) => {
    const noise = random() + random() + random() + random() - 2
    return noise + (at % FEATURES === labels[Math.floor(at / FEATURES)] ? 1 : 0)
  })
  const given = labels.map((_, node) => node % (numNodes / BLOCKS) < GIVEN)
  return { numNodes, source, target, labels, given, x: { data, shape: [numNodes, FEATURES] } }
}
