// A worker of the page with its own instance of the package, so that long calls do not block the page.
import { createTensor, init, scaledDotProductAttention } from '../../lib/entries/browser.js'

addEventListener('message', async ({ data: { length } }) => {
  await init()
  const x = createTensor(new Float32Array(8 * length * 64).fill(0.1), [1, 8, length, 64])
  const start = performance.now()
  const { output } = scaledDotProductAttention(x, x, x)
  postMessage({ shape: output.shape, milliseconds: performance.now() - start })
})
