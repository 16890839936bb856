// Calls that run elsewhere, in the order in which they came, as many at once as there is room for.

import { inWordsOf } from '../errors.js'

/** @typedef {import('./request.js').Request} Request */
/** @typedef {import('./watch.js').Watch} Watch */
/** @typedef {(fraction: number) => void} Report */
/**
 * One call under way: `done` settles when its place is free again, also after `cancel`.
 *
 * @typedef {{ done: Promise<unknown>, cancel: () => void }} Run
 */
/**
 * Where calls run: `places` at once. A call may take as many places as are `free`; `report`, where somebody listens, hears
 * how far it is.
 *
 * @typedef {object} Executor
 * @property {number} places
 * @property {(request: Request, free: number, report: Report | undefined) => Run} run
 * @property {(request: Request, free: number) => number} taken  how many places the call will take
 * @property {(error: unknown) => import('../errors.js').AttentionError} fault
 */

export class Queue {
  #executor
  /** @type {Job[]} */
  #waiting = []
  #taken = 0

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
      // One that is cancelled while it waits leaves nothing behind.
      job.cancel = () => this.#leave(job)
      job.listen()
      this.#advance()
    })
  }

  /** @param {Job} job */
  #leave(job) {
    const place = this.#waiting.indexOf(job)
    if (place >= 0) this.#waiting.splice(place, 1)
    job.request.release()
  }

  #advance() {
    while (this.#taken < this.#executor.places) {
      const job = this.#waiting.shift()
      if (job === undefined) return
      job.cancel = () => {}
      void this.#run(job)
    }
  }

  /** @param {Job} job */
  async #run(job) {
    const executor = this.#executor
    // What waits behind it is worth more than a call that spreads.
    const free = this.#waiting.length > 0 ? 1 : executor.places - this.#taken
    const places = executor.taken(job.request, free)
    this.#taken += places
    try {
      const run = executor.run(job.request, free, job.listens ? (fraction) => job.report(fraction) : undefined)
      job.cancel = run.cancel
      await run.done
      job.succeed()
    } catch (error) {
      job.fail(inWordsOf(job.request.names, executor.fault(error)))
    } finally {
      job.request.release()
      this.#taken -= places
      this.#advance()
    }
  }
}

/** One call, from its beginning to the settling of its promise. */
class Job {
  isSettled = false
  /** Takes it from those that wait, or ends its work. @type {() => void} */
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

  /** Hears of its signal from now on, and whether it came before. */
  listen() {
    const { signal } = this.#watch
    try {
      signal?.addEventListener('abort', this.#abort)
      if (signal?.aborted) this.#abort()
    } catch (error) {
      this.#end(() => this.#reject(error))
    }
  }

  get listens() {
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
   * What is heard never goes back.
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

  succeed() {
    this.report(1)
    if (this.isSettled) return
    let result
    try {
      result = this.request.finish()
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
   * Ends a call whose result nobody wants any more.
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
      // A signal of the caller's own making; the call has to end all the same.
    }
  }
}
