// The memory that a backend reports is the memory that layers allocate and free.
import test from 'ava'
import { onBothBackends } from '../support/backends.js'
import { normal } from '../support/tensors.js'

onBothBackends((kind, { SelfAttention, memoryUsage, scaledDotProductAttention }) => {
  test.serial(`${kind}: a layer is counted until it is disposed, and the memory of a call is freed`, (t) => {
    const before = memoryUsage()
    const layer = new SelfAttention({ numHeads: 8, headDim: 32 })
    const parameters = 4 * layer.numParameters
    const held = memoryUsage().allocated - before.allocated
    t.true(held >= parameters && held < parameters + 10_000, `${held} bytes for ${parameters}`)

    const x = normal([1, 700, 256], 1)
    layer.forward(x)
    scaledDotProductAttention(x, x, x)
    const after = memoryUsage()
    // Working memory is kept for the next call.
    t.true(after.allocated < before.allocated + parameters + 2_000_000)
    t.true(after.peak >= before.allocated + parameters + 4 * 3 * x.data.length)
    t.true(after.total >= after.allocated)
    layer.dispose()
    t.true(memoryUsage().allocated <= after.allocated - parameters)
  })
})
