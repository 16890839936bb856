// Attention over keys that no process holds alone: each worker process keeps a part of the keys and values, attends to
// it, and returns its output with the log-sum-exp. `mergeAttention` joins the parts exactly.
//   node examples/shared-keys/index.js [WORKERS]

import { fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { mergeAttention, scaledDotProductAttention } from '@ruvector/attention'
import { HEADS, KEYS, QUERIES, rowsOf } from './data.js'

const count = Number(process.argv[2] ?? 2)
const worker = fileURLToPath(new URL('worker.js', import.meta.url))
const workers = Array.from({ length: count }, (_, index) => {
  const range = [index, index + 1].map((edge) => String(Math.round((KEYS * edge) / count)))
  // Advanced serialization sends typed arrays as they are.
  return fork(worker, range, { serialization: 'advanced' })
})

const query = rowsOf('query', 0, QUERIES)
const parts = await Promise.all(
  workers.map(async (child) => {
    child.send(query)
    const [part] = await once(child, 'message')
    return part
  })
)
for (const child of workers) child.disconnect()
const { output } = mergeAttention(parts)

// Only to compare: all keys in one process.
const whole = scaledDotProductAttention(query, rowsOf('key', 0, KEYS), rowsOf('value', 0, KEYS)).output
const difference = output.data.reduce((most, x, i) => Math.max(most, Math.abs(x - whole.data[i])), 0)
const bytes = parts.reduce((sum, part) => sum + part.output.data.byteLength + part.logSumExp.data.byteLength, 0)
console.log(`${HEADS} heads, ${QUERIES} queries, ${KEYS} keys in ${count} processes`)
console.log(`received ${bytes} bytes; the keys and values have ${2 * 4 * rowsOf('key', 0, KEYS).data.length}`)
console.log(`largest difference from attention over all keys: ${difference.toExponential(0)}`)
process.exitCode = difference < 1e-6 ? 0 : 1
