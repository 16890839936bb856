// Runs the check on `/external` in a page and in a module worker of that page, which share one download of the module.
import * as attention from '@ruvector/attention/external'
import { check } from './check.js'

async function run() {
  const report = await check(attention)
  const worker = new Worker(new URL('./shared-worker.js', import.meta.url), { type: 'module' })
  const inWorker = await new Promise((resolve, reject) => {
    worker.addEventListener('message', ({ data }) => resolve(data))
    worker.addEventListener('error', ({ message }) => reject(new Error(message || 'the worker did not load')))
  })
  worker.terminate()
  if (inWorker.error) throw new Error(`in a worker: ${inWorker.error}`)
  return { ...report, inWorker }
}

;/** @type {any} */ (globalThis).outcome = run()
