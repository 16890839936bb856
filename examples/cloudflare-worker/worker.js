// Attention as a service on Cloudflare: POST { queries, keys, values }, each an array of rows, and get the output rows
// back.
// No init() is needed: the module is compiled together with the Worker.
import { AttentionError, backend, createTensor, scaledDotProductAttention } from '@ruvector/attention'

/** @param {number[][]} rows */
const tensorOf = (rows) => createTensor(rows.flat(), [1, rows.length, rows[0]?.length ?? 0])

/** @param {{ queries: number[][], keys: number[][], values: number[][] }} body */
function attend({ queries, keys, values }) {
  const { output } = scaledDotProductAttention(tensorOf(queries), tensorOf(keys), tensorOf(values))
  const size = output.shape[2]
  return queries.map((_, row) => Array.from(output.data.subarray(row * size, (row + 1) * size)))
}

export default {
  /** @param {Request} request */
  async fetch(request) {
    if (request.method !== 'POST') return Response.json({ use: 'POST { queries, keys, values }', ...backend() })
    try {
      return Response.json({ output: attend(await request.json()) })
    } catch (error) {
      // The fault is in the request, not in this program.
      const isTheirs = error instanceof AttentionError || error instanceof SyntaxError || error instanceof TypeError
      if (!isTheirs) throw error
      return Response.json({ error: error.message }, { status: 400 })
    }
  }
}
