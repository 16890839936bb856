// @ruvector/attention 2.2, an earlier package of the same name: one query per call.

/** @typedef {import('../types.d.ts').Found} Found */

/** @returns {Promise<Found>} */
export async function ruvector2() {
  const name = 'ruvector-attention-2'
  const { default: old } = await import(name)
  return {
    contenders: [
      {
        name: '@ruvector/attention 2.2',
        family: '@ruvector/attention 2.2',
        side: 'peer',
        kinds: ['attention'],
        version: old.version(),
        warmsUp: false,
        threaded: false,
        mostFlops: 6e8,
        prepare({ kind, heads, kvHeads, queries, keys, dim, causal, mask }, { q, k, v }) {
          if (kind !== 'attention' || mask) return 'attention without masks only'
          const attention = new old.DotProductAttention(dim)
          const rows = (/** @type {Float32Array} */ data) =>
            Array.from({ length: data.length / dim }, (_, row) => data.subarray(row * dim, (row + 1) * dim))
          const [queryRows, keyRows, valueRows] = [q, k, v].map(({ data }) => rows(data))
          const run = () => {
            const output = new Float32Array(q.data.length)
            queryRows.forEach((query, row) => {
              const start = Math.floor(Math.floor(row / queries) / (heads / kvHeads)) * keys
              const end = start + (causal ? (row % queries) + 1 : keys)
              output.set(attention.compute(query, keyRows.slice(start, end), valueRows.slice(start, end)), row * dim)
            })
            return output
          }
          return { run, read: (output) => output }
        }
      }
    ]
  }
}
