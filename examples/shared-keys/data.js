// Queries, keys and values that every process computes for itself, in place of those of a model.

export const [HEADS, QUERIES, KEYS] = [4, 16, 5000]
const SIZE = 32
const PHASES = { query: 0, key: 1, value: 2 }

/**
 * Rows of all heads, `[1, HEADS, to - from, SIZE]`.
 *
 * @param {keyof PHASES} name
 * @param {number} from
 * @param {number} to
 */
export function rowsOf(name, from, to) {
  const rows = to - from
  const at = (/** @type {number} */ i) => {
    const [head, row] = [Math.floor(i / (rows * SIZE)), from + (Math.floor(i / SIZE) % rows)]
    return 2 * Math.sin((head * KEYS + row) * SIZE + (i % SIZE) * 1.7 + PHASES[name])
  }
  return { data: Float32Array.from({ length: HEADS * rows * SIZE }, (_, i) => at(i)), shape: [1, HEADS, rows, SIZE] }
}
