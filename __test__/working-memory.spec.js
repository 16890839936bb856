// The memory that calls need beside their inputs and results, as the backend counts it.
import test from 'ava'
import { createApi } from '../lib/api.js'
import { Backend } from '../lib/backend.js'
import { loader } from '../lib/loader.js'
import { normal } from './support/tensors.js'

for (const kind of /** @type {const} */ (['native', 'wasm'])) {
  /** A backend of its own, whose measurements nobody else resets. */
  const open = async () => {
    const loaded = await loader.load(kind)
    const backend = new Backend(() => loaded)
    return { ...createApi(backend), backend }
  }

  test.serial(
    `${kind}: equal calls need equal amounts of memory, although the first leaves some to the others`,
    async (t) => {
      const { backend, memoryUsage, scaledDotProductAttention, softmax } = await open()
      const x = normal([1, 2, 200, 64], 1)
      // Natively arrays are borrowed.
      const copies = kind === 'wasm' ? 4 * x.data.byteLength : 0
      // The first call of an instance makes tables that stay.
      softmax(normal([1], 1))
      const needs = Array.from({ length: 3 }, () => {
        const needed = backend.measurePeak()
        t.is(needed(), 0)
        scaledDotProductAttention(x, x, x)
        return needed()
      })
      t.true(needs[0] > copies && needs[0] < copies + 1_000_000, `${needs[0]} bytes`)
      t.deepEqual(needs, Array(3).fill(needs[0]))
      const { peak } = memoryUsage()
      backend.measurePeak()
      t.true(memoryUsage().peak >= peak)
    }
  )

  test.serial(`${kind}: calls on other threads are measured, too`, async (t) => {
    const { backend, scaledDotProductAttentionAsync } = await open()
    const x = normal([1, 2, 200, 64], 1)
    const needed = backend.measurePeak()
    await scaledDotProductAttentionAsync(x, x, x)
    t.true(needed() > (kind === 'wasm' ? 4 * x.data.byteLength : 0), `${needed()} bytes`)
  })
}
