// A batch of calls in a worker that the page starts. The package starts further workers from it, if the browser allows
// that.
import { BatchProcessor, ruVector } from '../../lib/entries/compat-browser.js'

const [length, modelDim] = [64, 128]

/** @param {number} calls */
async function run(calls) {
  await ruVector.init({ threads: 2 })
  const attention = ruVector.createMultiHead({ numHeads: 8, headDim: 16 })
  const inputs = Array.from({ length: calls }, (_, call) => {
    const query = Float32Array.from({ length: length * modelDim }, (_, index) => Math.sin(call + index))
    return { attention, query, key: query, value: query, shape: [1, length, length, modelDim] }
  })
  const start = performance.now()
  const results = await new BatchProcessor().process_batch(inputs, {
    batchSize: 4,
    progressCallback: (/** @type {number} */ progress) => postMessage({ progress })
  })
  postMessage({ calls: results.length, milliseconds: performance.now() - start })
}

addEventListener('message', ({ data: { calls } }) => {
  run(calls).catch((error) => postMessage({ error: error.message }))
})
