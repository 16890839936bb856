// Smoke test of the entries without a bundler: they must load, start and compute, in a page and in a worker.

/**
 * @param {typeof import('@ruvector/attention')} entry
 * @returns {Promise<string>} the instruction set in use
 */
export async function smoke(entry) {
  const error = caught(() => entry.softmax(entry.createTensor([1], [1])))
  if (error?.code !== 'NOT_INITIALIZED') throw new Error(`a call before init threw ${error}`)
  await Promise.all([entry.init(), entry.init()])
  const q = entry.createTensor([1, 2, 3, 4], [1, 2, 2])
  const v = entry.createTensor([5, 6, 7, 8], [1, 2, 2])
  const { output } = entry.scaledDotProductAttention(q, q, v, { causal: true })
  if (output.data[0] !== 5 || output.data[1] !== 6) throw new Error(`the first row is ${output.data.slice(0, 2)}`)
  return entry.backend().simd
}

/**
 * @param {() => unknown} body
 * @returns {any}
 */
function caught(body) {
  try {
    body()
  } catch (error) {
    return error
  }
}
