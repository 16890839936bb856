// Embeds a file of texts with any number of worker processes: starts Redis and workers, hands out what is missing,
// shows how far it is, and verifies the result.
//   node embed.js INPUT --model DIR --output DIR [--workers 2] [--shard 10000] [--port 6390] [--heartbeat 30]

import { fork } from 'node:child_process'
import { resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { createCorpus } from '@ruvector/attention/models'
import { Queue } from 'bullmq'
import { QUEUE, connect } from './queue.js'
import { startRedis } from './redis.js'

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    model: { type: 'string', default: '' },
    output: { type: 'string', default: '' },
    workers: { type: 'string', default: '2' },
    shard: { type: 'string', default: '10000' },
    port: { type: 'string', default: '6390' },
    heartbeat: { type: 'string', default: '30' }
  }
})
const [input] = positionals
const [model, output] = [resolve(values.model), resolve(values.output)]

const corpus = await createCorpus(output, { input, model, shardTexts: Number(values.shard), resume: true })
// Workers load the model for themselves.
corpus.dispose()
const { input: file, shards } = corpus.manifest

const redis = startRedis({ port: Number(values.port), folder: `${output}.queue` })
redis.ended.catch((error) => {
  console.error(`redis-server: ${error.message}`)
  process.exit(1)
})
const connection = connect({ port: Number(values.port) })
const queue = new Queue(QUEUE, {
  connection,
  defaultJobOptions: { attempts: 5, backoff: { type: 'exponential', delay: 500 }, removeOnComplete: true }
})
queue.on('error', () => {})

const over = new AbortController()
/** Milliseconds that workers have to end by themselves. */
const PATIENCE = 10_000

/** Keeps one worker running. @returns {Promise<void>} */
async function keepWorker() {
  const program = fileURLToPath(new URL('worker.js', import.meta.url))
  const { port, heartbeat } = values
  const args = ['--output', output, '--model', model, '--port', port, '--heartbeat', heartbeat]
  while (!over.signal.aborted) {
    const child = fork(program, args)
    workers.add(child)
    await new Promise((done) => child.once('exit', done))
    workers.delete(child)
    if (!over.signal.aborted) await sleep(200)
  }
}
/** @type {Set<import('node:child_process').ChildProcess>} */
const workers = new Set()

/** @param {number} seconds */
const clock = (seconds) => (Number.isFinite(seconds) ? new Date(seconds * 1000).toISOString().slice(11, 19) : '?')

/**
 * Waits until the queue is empty, and shows how far it is.
 *
 * @param {number} whole  the number of shards that were there at the start
 * @returns {Promise<number>} the number of shards that failed
 */
async function drain(whole) {
  const start = performance.now()
  for (;;) {
    const { waiting, active, delayed, failed } = await queue.getJobCounts('waiting', 'active', 'delayed', 'failed')
    const open = waiting + active + delayed
    const texts = (/** @type {number} */ count) => Math.min(count * shards.texts, file.texts)
    const done = shards.count - open - failed
    const rate = texts(done - whole) / ((performance.now() - start) / 1000)
    const left = clock(texts(open) / rate)
    const line = `${texts(done)} of ${file.texts} texts, ${rate.toFixed(0)}/s, ${left} left, ${workers.size} workers, ${failed} failed`
    if (process.stdout.isTTY) process.stdout.write(`\r\x1b[K${line}`)
    if (open === 0) {
      console.log(process.stdout.isTTY ? '' : line)
      return failed
    }
    await sleep(500)
  }
}

async function stop() {
  over.abort()
  for (const worker of workers) worker.kill()
  // A worker finishes its shard first. One that takes too long loses nothing but that.
  const late = setTimeout(() => workers.forEach((worker) => worker.kill('SIGKILL')), PATIENCE)
  await Promise.all(kept)
  clearTimeout(late)
  await queue.close()
  connection.disconnect()
  await redis.stop()
}

// The folder knows what is missing. The queue only hands it out, so an old one is of no interest.
await queue.obliterate({ force: true })
const kept = Array.from({ length: Number(values.workers) }, keepWorker)
process.once('SIGINT', () => void stop().then(() => process.exit(130)))

let failed = 0
for (let missing = await corpus.verify(); missing.length > 0 && failed === 0; missing = await corpus.verify()) {
  await queue.addBulk(missing.map((shard) => ({ name: 'embed', data: { shard }, opts: { jobId: `shard-${shard}` } })))
  failed = await drain(shards.count - missing.length)
  for (const job of await queue.getFailed()) console.error(`shard ${job.data.shard}: ${job.failedReason}`)
}
await stop()
// Parts of files that killed workers left go once no worker runs.
const missing = await corpus.verify()
if (missing.length > 0) console.error(`${missing.length} of ${shards.count} shards are missing; run it again`)
else console.log(`${file.texts} texts in ${shards.count} shards of ${output}, all verified`)
process.exitCode = missing.length > 0 ? 1 : 0
