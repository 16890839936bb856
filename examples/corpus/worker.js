// A worker: takes shards from the queue until it is told to stop. Start as many as you like, on any machine that sees
// the input, the model and the output:
//   node worker.js --output DIR --model DIR --port 6390 [--host NAME] [--heartbeat 30]

import { parseArgs } from 'node:util'
import { openCorpus } from '@ruvector/attention/models'
import { Worker } from 'bullmq'
import { QUEUE, connect } from './queue.js'

const { values } = parseArgs({
  options: {
    output: { type: 'string', default: '' },
    model: { type: 'string', default: '' },
    host: { type: 'string' },
    port: { type: 'string', default: '6390' },
    heartbeat: { type: 'string', default: '30' }
  }
})

const corpus = await openCorpus(values.output, { model: values.model })
const heartbeat = Number(values.heartbeat) * 1000
const connection = connect({ host: values.host, port: Number(values.port) })

const worker = new Worker(QUEUE, async ({ data }) => ({ wrote: await corpus.embed(data.shard) }), {
  connection,
  // A shard whose worker misses this heartbeat goes to another worker. Both may finish it: they write the same bytes.
  lockDuration: heartbeat,
  stalledInterval: heartbeat,
  // A worker that is killed is not an attempt that failed.
  maxStalledCount: Number.MAX_SAFE_INTEGER,
  runRetryDelay: 200
})
worker.on('error', () => {})

async function stop() {
  await worker.close()
  connection.disconnect()
  corpus.dispose()
  process.exit()
}
for (const signal of /** @type {const} */ (['SIGINT', 'SIGTERM'])) process.once(signal, () => void stop())
// The coordinator is the other end of this channel, if there is one.
process.once('disconnect', () => void stop())
