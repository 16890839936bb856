// Runs the check on a thread of Node's worker_threads, which starts its own workers for asynchronous calls.
import { Worker, isMainThread, parentPort } from 'node:worker_threads'
import * as attention from '@ruvector/attention'
import { check } from './check.js'

if (isMainThread) {
  const worker = new Worker(new URL(import.meta.url))
  worker.on('message', (report) => console.log(JSON.stringify(report)))
} else {
  parentPort?.postMessage(await check(attention), [])
}
