// Starts asynchronous calls in order, as many at a time as the executor has slots.

import { renameArgument } from '../../checks/errors.js'

/** @typedef {import('./request.js').Request} Request */
/** @typedef {import('./watch.js').Watch} Watch */
/** @typedef {(fraction: number) => void} Report */
/**
 * A running call. `done` resolves to its results, and settles when its slots are free again, also after `cancel`.
 *
 * @typedef {{ done: Promise<import('../call-memory.js').Result[] | undefined>, cancel: () => void }} Run
 */
/**
 * Runs calls in a number of slots. A call may use up to `free` slots, and passes its progress to `report` if given.
 *
 * @typedef {object} Executor
 * @property {number} slots
 * @property {(request: Request, free: number, report: Report | undefined) => Run} run
 * @property {(request: Request, free: number) => number} slotsFor  number of slots that the call will use
 * @property {(error: unknown) => import('../../checks/errors.js').AttentionError} fault
 */

export class Queue {
  #executor
  /** @type {Job[]} */
  #waiting = []
  #usedSlots = 0

  /** @param {Executor} executor */
  constructor(executor) {
    this.#executor = executor
  }

  /**
   * @param {Request} request
   * @param {Watch} watch
   * @returns {Promise<any>}
   */
  submit(request, watch) {
    return new Promise((resolve, reject) => {
      const job = new Job(request, watch, resolve, reject)
      this.#waiting.push(job)
      // A call that is cancelled while queued leaves no trace.
      job.cancel = () => this.#withdraw(job)
      job.listen()
      this.#advance()
    })
  }

  /** @param {Job} job */
  #withdraw(job) {
    const index = this.#waiting.indexOf(job)
    if (index >= 0) this.#waiting.splice(index, 1)
    job.request.release()
  }

  #advance() {
    while (this.#usedSlots < this.#executor.slots) {
      const job = this.#waiting.shift()
      if (job === undefined) return
      job.cancel = () => {}
      void this.#run(job)
    }
  }

  /** @param {Job} job */
  async #run(job) {
    const executor = this.#executor
    // A queued call makes better use of a slot than splitting this one.
    const free = this.#waiting.length > 0 ? 1 : executor.slots - this.#usedSlots
    const slots = executor.slotsFor(job.request, free)
    this.#usedSlots += slots
    try {
      const run = executor.run(job.request, free, job.hasListener ? (fraction) => job.report(fraction) : undefined)
      job.cancel = run.cancel
      job.succeed(await run.done)
    } catch (error) {
      job.fail(renameArgument(job.request.names, executor.fault(error)))
    } finally {
      job.request.release()
      this.#usedSlots -= slots
      this.#advance()
    }
  }
}

/** A call from its submission until its promise settles. */
class Job {
  isSettled = false
  /** Removes the job from the queue, or stops its work. @type {() => void} */
  cancel = () => {}
  #watch
  #resolve
  #reject
  #reported = 0

  /**
   * @param {Request} request
   * @param {Watch} watch
   * @param {(result: any) => void} resolve
   * @param {(error: unknown) => void} reject
   */
  constructor(request, watch, resolve, reject) {
    this.request = request
    this.#watch = watch
    this.#resolve = resolve
    this.#reject = reject
  }

  /** Subscribes to the signal, and handles one that is already aborted. */
  listen() {
    const { signal } = this.#watch
    try {
      signal?.addEventListener('abort', this.#abort)
      if (signal?.aborted) this.#abort()
    } catch (error) {
      this.#end(() => this.#reject(error))
    }
  }

  get hasListener() {
    return this.#watch.onProgress !== undefined
  }

  #abort = () => this.#end(() => this.#reject(this.#reasonOf()))

  #reasonOf() {
    try {
      return this.#watch.signal?.reason
    } catch (error) {
      return error
    }
  }

  /**
   * Reports progress, which never decreases.
   *
   * @param {number} fraction
   */
  report(fraction) {
    if (this.isSettled || !(fraction > this.#reported)) return
    this.#reported = fraction
    try {
      this.#watch.onProgress?.(Math.min(fraction, 1))
    } catch (error) {
      this.#end(() => this.#reject(error))
    }
  }

  /** @param {import('../call-memory.js').Result[] | undefined} results  undefined if the call was cancelled */
  succeed(results) {
    if (results === undefined) return
    this.report(1)
    if (this.isSettled) return
    let result
    try {
      result = this.request.finish(results)
    } catch (error) {
      return this.fail(error)
    }
    this.#settle()
    this.#resolve(result)
  }

  /** @param {unknown} error */
  fail(error) {
    if (this.isSettled) return
    this.#settle()
    this.#reject(error)
  }

  /**
   * Settles the promise early and cancels the work.
   *
   * @param {() => void} reject
   */
  #end(reject) {
    if (this.isSettled) return
    this.#settle()
    reject()
    this.cancel()
  }

  #settle() {
    this.isSettled = true
    try {
      this.#watch.signal?.removeEventListener('abort', this.#abort)
    } catch {
      // A caller-defined signal may throw; the call must settle regardless.
    }
  }
}
