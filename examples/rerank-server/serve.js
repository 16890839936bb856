// Loads a cross-encoder, and serves it until SIGTERM or SIGINT; accepted requests are then answered first.
//   node serve.js --model DIR [--port 8080] [--type q8_0] [--threads N] [--running 2] [--waiting 64] [--timeout 10000]

import { parseArgs } from 'node:util'
import { init } from '@ruvector/attention'
import { loadModel } from '@ruvector/attention/models'
import { createServer } from './server.js'

const { values } = parseArgs({
  options: {
    model: { type: 'string', default: '' },
    port: { type: 'string', default: '8080' },
    type: { type: 'string', default: 'q8_0' },
    threads: { type: 'string' },
    running: { type: 'string', default: '2' },
    waiting: { type: 'string', default: '64' },
    timeout: { type: 'string', default: '10000' }
  }
})

if (values.threads) await init({ threads: Number(values.threads) })
const type = /** @type {import('@ruvector/attention').WeightType} */ (values.type)
const model = await loadModel(values.model, { type })
if (!model.tasks.includes('rerank'))
  throw new Error(`${values.model} is not a cross-encoder: ${model.tasks.join(', ')}`)
const limits = {
  running: Number(values.running),
  waiting: Number(values.waiting),
  timeout: Number(values.timeout)
}
const app = createServer({ model, ...limits })
console.log(`listening on ${await app.listen({ port: Number(values.port), host: '127.0.0.1' })}`)

async function stop() {
  await app.close()
  model.dispose()
  console.log('stopped')
}
for (const signal of /** @type {const} */ (['SIGTERM', 'SIGINT'])) process.once(signal, () => void stop())
