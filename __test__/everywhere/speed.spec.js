// A generous limit on time, which only a large fault exceeds, such as code without its vector instructions.
import test from 'ava'
import { onBothBackends } from '../support/backends.js'
import { normal } from '../support/tensors.js'

const [BATCH, LENGTH, HEADS, HEAD_DIM] = [4, 128, 8, 64]

/** Maximum milliseconds of a call. */
const LIMIT = 1000
/** Number of attempts, since other programs may use the processor in the meantime. */
const ATTEMPTS = 3

onBothBackends((kind, { MultiHeadAttention }) => {
  test.serial(`${kind}: multi-head attention over 4 × 128 × 512 takes less than a second`, (t) => {
    const layer = new MultiHeadAttention({ numHeads: HEADS, headDim: HEAD_DIM })
    t.teardown(() => layer.dispose())
    const x = normal([BATCH, LENGTH, HEADS * HEAD_DIM], 1)
    layer.forward(x)

    const times = []
    do {
      const start = performance.now()
      layer.forward(x)
      times.push(performance.now() - start)
    } while (times[times.length - 1] >= LIMIT && times.length < ATTEMPTS)
    t.log(`${times.map((time) => time.toFixed(0)).join(', ')} ms`)
    t.true(Math.min(...times) < LIMIT, `${times.join(', ')} ms`)
  })
})
