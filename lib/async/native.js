// Calls on the threads of Node's pool, through the native binding.

import { fromBinding } from '../errors.js'

/** @typedef {import('./queue.js').Executor} Executor */

/** Node has four threads for files, names and everything else; one of them stays free. */
const MOST_PLACES = 3
/** What a whole is in the control's second number. */
const WHOLE = 1e6
const POLL_MILLISECONDS = 10

/** Controls of calls under way: a process that ends does not wait for results that nobody gets. @type {Set<Int32Array>} */
const underWay = new Set()
let watchesExit = false

/**
 * @param {import('../backend.js').Backend} backend
 * @returns {Executor}
 */
export function nativeExecutor(backend) {
  return {
    get places() {
      return Math.min(MOST_PLACES, backend.threads)
    },
    taken: () => 1,
    fault: fromBinding,
    run(request, free, report) {
      const binding = /** @type {Required<import('../binding.d.ts').Binding>} */ (backend.binding)
      // Results do not depend on the number of threads: a call that is alone gets all, others share them.
      request.header[0] = free === 1 ? Math.max(1, Math.floor(backend.threads / this.places)) : backend.threads
      const control = new Int32Array(2)
      if (!watchesExit) globalThis.process.once('exit', () => underWay.forEach((running) => (running[0] = 1)))
      watchesExit = true
      const { operation, header, options, inputs, bytes, integers, outputs, indices } = request
      const result = binding.callLater(operation, header, options, inputs, bytes, integers, outputs, indices, control)
      underWay.add(control)
      const timer = report && setInterval(() => report(control[1] / WHOLE), POLL_MILLISECONDS)
      const done = result.finally(() => {
        underWay.delete(control)
        clearInterval(timer)
      })
      return { done, cancel: () => void (control[0] = 1) }
    }
  }
}
