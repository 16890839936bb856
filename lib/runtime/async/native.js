// Runs calls on Node's thread pool, through the native binding.

import { fromBinding } from '../../checks/errors.js'
import { CallViews } from '../call-memory.js'

/** @typedef {import('./queue.js').Executor} Executor */

/** Node's pool has four threads, shared with file access and name resolution; one of them is kept free. */
const MAX_SLOTS = 3
/** Progress is stored in millionths. */
const PROGRESS_SCALE = 1e6
const POLL_MILLISECONDS = 10

/**
 * Controls of running calls, which are cancelled at process exit so that it does not wait for them. @type
 * {Set<Int32Array>}
 */
const runningControls = new Set()
let watchesExit = false

/**
 * @param {import('../backend.js').Backend} backend
 * @returns {Executor}
 */
export function nativeExecutor(backend) {
  return {
    get slots() {
      return Math.min(MAX_SLOTS, backend.threads)
    },
    slotsFor: () => 1,
    fault: fromBinding,
    run(request, free, report) {
      const binding = /** @type {Required<import('../binding.d.ts').Binding>} */ (backend.binding)
      // Results do not depend on the number of threads: a single call uses all of them, concurrent calls share them.
      const views = new CallViews(request.bytes)
      views.setThreads(free === 1 ? Math.max(1, Math.floor(backend.threads / this.slots)) : backend.threads)
      request.objects.forEach(({ id }, index) => views.setObject(index, id))
      const control = new Int32Array(2)
      if (!watchesExit) globalThis.process.once('exit', () => runningControls.forEach((running) => (running[0] = 1)))
      watchesExit = true
      const { operation, bytes, options, arrays } = request
      const result = binding.callLater(operation, bytes, options, arrays, control)
      runningControls.add(control)
      const timer = report && setInterval(() => report(control[1] / PROGRESS_SCALE), POLL_MILLISECONDS)
      const done = result
        .then((made) => views.results(made))
        .finally(() => {
          runningControls.delete(control)
          clearInterval(timer)
        })
      return { done, cancel: () => void (control[0] = 1) }
    }
  }
}
