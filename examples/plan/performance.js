// Time and throughput of multi-head attention over batch sizes and lengths, at model size 512.
//   npm run example -- plan performance
import { AttentionConfig, PerfTimer, ruVector } from '@ruvector/attention/compat'

await ruVector.init()

const attention = ruVector.createMultiHead(new AttentionConfig(8, 64))
const modelDim = 512
const iterations = Number(process.env.ITERATIONS ?? 10)

console.log('Batch | Length | Time (ms) | Throughput (calls/s) | Memory (MB)')
console.log('------|--------|-----------|----------------------|------------')
for (const batch of [1, 2, 4, 8]) {
  for (const length of [16, 32, 64, 128, 256]) {
    const array = () => Float32Array.from({ length: batch * length * modelDim }, Math.random)
    const call = /** @type {const} */ ([array(), array(), array(), [batch, length, length, modelDim]])
    const { metadata } = attention.forward(...call) // the first call warms up
    const timer = new PerfTimer('forward')
    for (let iteration = 0; iteration < iterations; iteration++) attention.forward(...call)
    const milliseconds = timer.elapsed() / iterations
    const cells = [
      `${batch}`.padStart(5),
      `${length}`.padStart(6),
      milliseconds.toFixed(2).padStart(9),
      (1000 / milliseconds).toFixed(1).padStart(20),
      ((metadata?.memoryUsed ?? NaN) / 2 ** 20).toFixed(2).padStart(11)
    ]
    console.log(cells.join(' | '))
  }
}
