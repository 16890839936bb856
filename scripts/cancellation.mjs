// Measures how long a cancelled call takes to reject, and how long a call queued behind it takes to finish: two hundred
// times on each backend, on one thread. `node scripts/cancellation.mjs`

import { loadBackend } from '../index.js'

const TIMES = 200

/** @param {number[]} shape */
const tensor = (shape) => ({ data: new Float32Array(shape.reduce((a, b) => a * b, 1)).fill(0.1), shape })

/** @param {number[]} times */
function describe(times) {
  const sorted = times.toSorted((a, b) => a - b)
  const at = (/** @type {number} */ share) => sorted[Math.floor(share * (sorted.length - 1))].toFixed(2)
  return `median ${at(0.5)} ms, p99 ${at(0.99)} ms`
}

for (const kind of /** @type {const} */ (['native', 'wasm'])) {
  const { scaledDotProductAttentionAsync } = await loadBackend(kind, { threads: 1 })
  const [long, short] = [tensor([1, 8, 2048, 64]), tensor([1, 1, 4, 8])]
  await scaledDotProductAttentionAsync(short, short, short)
  /** @type {number[]} */
  const rejected = []
  /** @type {number[]} */
  const freed = []
  for (let time = 0; time < TIMES; time++) {
    const controller = new AbortController()
    const { signal } = controller
    let start = 0
    const call = scaledDotProductAttentionAsync(long, long, long, { signal }).then(
      () => {
        throw new Error('the call ended before it was cancelled')
      },
      () => rejected.push(performance.now() - start)
    )
    const next = scaledDotProductAttentionAsync(short, short, short).then(() => freed.push(performance.now() - start))
    await new Promise((resolve) => setTimeout(resolve, 15))
    start = performance.now()
    controller.abort()
    await Promise.all([call, next])
  }
  console.log(
    `${kind}: ${TIMES} cancellations reject after ${describe(rejected)}; the next call has run after ${describe(freed)}`
  )
}
