// A generous bound on time: only a large fault exceeds it, such as code that has lost its vector instructions.
import test from 'ava'
import { onBothBackends } from './support/backends.js'
import { normal } from './support/tensors.js'

const [BATCH, LENGTH, HEADS, HEAD_DIM] = [4, 128, 8, 64]

/** Milliseconds that a call may take. */
const LIMIT = 1000
/** Calls before it counts as too slow: other programs may have the processor meanwhile. */
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
