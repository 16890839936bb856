// Runs the check in a page and in a module worker of that page, and stores the outcome for the browser driver.
import * as attention from '@ruvector/attention'
import * as compat from '@ruvector/attention/compat'
import * as plot from '@ruvector/attention/plot'
import { check, checkSubpaths } from './check.js'

async function run() {
  const report = await check(attention)
  await checkSubpaths(compat, plot)
  const worker = new Worker(new URL('./worker.js', import.meta.url), { type: 'module' })
  const inWorker = await new Promise((resolve, reject) => {
    worker.addEventListener('message', ({ data }) => resolve(data))
    worker.addEventListener('error', ({ message }) => reject(new Error(message || 'the worker did not load')))
  })
  worker.terminate()
  if (inWorker.error) throw new Error(`in a worker: ${inWorker.error}`)
  return { ...report, inWorker }
}

;/** @type {any} */ (globalThis).outcome = run()
