// Measures the time of init() in a page that has not cached the package, and the time of the first result.
import { createTensor, init, scaledDotProductAttention } from '@ruvector/attention'

async function measure() {
  const start = performance.now()
  await init()
  const ready = performance.now()
  const x = createTensor(new Float32Array(16 * 32).fill(0.5), [1, 16, 32])
  const { output } = scaledDotProductAttention(x, x, x)
  const first = performance.now()
  if (output.data[0] !== 0.5) throw new Error(`the first number is ${output.data[0]}`)
  // The clock of a page starts with the navigation.
  return { init: ready - start, firstCall: first - ready, sinceNavigation: first }
}

;/** @type {any} */ (globalThis).outcome = measure()
