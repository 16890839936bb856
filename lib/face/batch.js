// Runs many calls, a few at a time. Results are in the order of the inputs, and only running jobs take memory.

import { Watch, throwIfAborted } from '../runtime/async/watch.js'
import { describe, fault, isFunction, isObject } from '../checks/errors.js'
import { pickOptions } from '../checks/options.js'

/**
 * @template I, O
 * @typedef {(input: I, options: import('../../index.d.ts').JobOptions) => Promise<O>} Job
 */

/** Thrown at the end of a batch if jobs failed: their errors, and the outcome of every input. */
export class BatchError extends AggregateError {
  /** @param {PromiseSettledResult<any>[]} results  in the order of the inputs */
  constructor(results) {
    const errors = results.flatMap((result) => (result.status === 'rejected' ? [result.reason] : []))
    super(errors, `${errors.length} of ${results.length} jobs failed; \`results\` has the outcome of each input`)
    this.results = results
  }
}
Object.defineProperty(BatchError.prototype, 'name', { value: 'BatchError', configurable: true, writable: true })

/** @param {unknown} options */
function readWatch(options) {
  const watch = new Watch()
  const { signal, onProgress } = pickOptions(options, ['signal', 'onProgress'])
  if (signal !== undefined) watch.take('signal', signal)
  if (onProgress !== undefined) watch.take('onProgress', onProgress)
  return watch
}

/** Progress of a batch: the mean over its jobs if the number of inputs is known, otherwise only the end. */
class Progress {
  /** Progress of the running jobs, by the index of their inputs. @type {Map<number, number>} */
  #fractions = new Map()
  #finished = 0
  #reported = 0
  #total
  #listener

  /**
   * @param {any} inputs
   * @param {((fraction: number) => void) | undefined} listener
   */
  constructor(inputs, listener) {
    this.#total = [inputs?.length, inputs?.size].find((count) => Number.isSafeInteger(count))
    this.#listener = listener
  }

  /** @param {number} index @param {number} fraction */
  advance(index, fraction) {
    this.#fractions.set(index, fraction)
    this.#report()
  }

  /** @param {number} index */
  finish(index) {
    this.#fractions.delete(index)
    this.#finished++
    this.#report()
  }

  end() {
    this.#notify(1)
  }

  #report() {
    if (!this.#total) return
    const partly = [...this.#fractions.values()].reduce((sum, fraction) => sum + fraction, 0)
    this.#notify(Math.min(1, (this.#finished + partly) / this.#total))
  }

  /** @param {number} fraction */
  #notify(fraction) {
    if (!(fraction > this.#reported)) return
    this.#reported = fraction
    this.#listener?.(fraction)
  }
}

/**
 * The results of jobs, in the order of their inputs. At most `concurrency` inputs are read ahead of the consumer, who
 * determines the pace. A failed job rejects only its own result; later jobs continue.
 *
 * @template I, O
 * @implements {AsyncIterableIterator<O>}
 */
class Results {
  /** Pending results, the oldest first. @type {Promise<O>[]} */
  #pending = []
  #started = 0
  #running = 0
  #isExhausted = false
  /**
   * An exception from the inputs, reported after the results of earlier inputs. @type {{ error: unknown } | undefined}
   */
  #failure
  #hasEnded = false
  #isClosed = false
  /** Serializes concurrent calls of next(). @type {Promise<unknown>} */
  #turn = Promise.resolve()
  /** Cancels the running jobs. */
  #stop = new AbortController()
  #inputs
  #job
  #concurrency
  #signal
  #progress

  /**
   * @param {Iterable<I> | AsyncIterable<I>} inputs
   * @param {Job<I, O>} job
   * @param {number} concurrency
   * @param {Watch} watch
   */
  constructor(inputs, job, concurrency, { signal, onProgress }) {
    const given = /** @type {any} */ (inputs)
    const canBeIterable = isObject(inputs) || isFunction(inputs) || typeof inputs === 'string'
    const open = canBeIterable ? (given[Symbol.asyncIterator] ?? given[Symbol.iterator]) : undefined
    if (!isFunction(open)) throw fault('OPTION', 'inputs', 'an iterable', describe(inputs))
    if (!isFunction(job)) throw fault('OPTION', 'job', 'a function', describe(job))
    /** @type {Iterator<I> | AsyncIterator<I>} */
    const iterator = Reflect.apply(open, given, [])
    if (!isObject(iterator)) throw fault('OPTION', 'inputs', 'an iterable that returns an iterator', describe(iterator))
    this.#inputs = iterator
    this.#job = job
    this.#concurrency = concurrency
    this.#signal = signal
    this.#progress = new Progress(inputs, onProgress)
    if (signal?.aborted) this.#abort()
    else signal?.addEventListener('abort', this.#abort)
  }

  [Symbol.asyncIterator]() {
    return this
  }

  /** @returns {Promise<IteratorResult<O, undefined>>} */
  next() {
    const result = this.#turn.then(() => this.#next())
    this.#turn = result.catch(() => {})
    return result
  }

  /**
   * Ends the stream early: cancels running jobs and reads no further input. @returns {Promise<IteratorResult<O,
   * undefined>>}
   */
  async return() {
    this.#isClosed = true
    await this.#end(new Error('the stream was closed'))
    return { done: true, value: undefined }
  }

  #abort = () => this.#stop.abort(this.#signal?.reason)

  /** @returns {Promise<IteratorResult<O, undefined>>} */
  async #next() {
    if (this.#hasEnded) return { done: true, value: undefined }
    try {
      await this.#fill()
      throwIfAborted(this.#signal)
    } catch (error) {
      await this.#end(error)
      throw error
    }
    const oldest = this.#pending.shift()
    if (oldest) {
      try {
        return { done: false, value: await this.#unlessAborted(oldest) }
      } catch (error) {
        // A closed stream has no more results.
        if (this.#isClosed) return { done: true, value: undefined }
        throw error
      }
    }
    if (!this.#hasEnded && !this.#failure) this.#progress.end()
    await this.#end(undefined)
    const failure = this.#failure
    this.#failure = undefined
    if (failure) throw failure.error
    return { done: true, value: undefined }
  }

  /** Starts jobs until `concurrency` of them are pending, or no input is left. */
  async #fill() {
    while (!this.#isExhausted && this.#pending.length < this.#concurrency) {
      throwIfAborted(this.#signal)
      try {
        const { done, value } = await this.#nextInput()
        if (this.#hasEnded) return
        if (done) this.#isExhausted = true
        else this.#pending.push(this.#start(value))
      } catch (error) {
        this.#isExhausted = true
        if (!this.#hasEnded) this.#failure = { error }
      }
    }
  }

  /** @returns {Promise<IteratorResult<I, any>>} */
  async #nextInput() {
    const { next } = this.#inputs
    if (!isFunction(next)) throw fault('OPTION', 'inputs', 'an iterator with a next() function', describe(next))
    const result = await Reflect.apply(next, this.#inputs, [])
    if (!isObject(result))
      throw fault('OPTION', 'inputs', 'an iterator whose next() returns an object', describe(result))
    return /** @type {IteratorResult<I, any>} */ (result)
  }

  /** @param {I} input @returns {Promise<O>} */
  #start(input) {
    const index = this.#started++
    const onProgress = (/** @type {number} */ fraction) => this.#progress.advance(index, fraction)
    const run = async () => this.#job(input, { signal: this.#stop.signal, onProgress })
    this.#running++
    const result = run().finally(() => {
      this.#running--
      this.#progress.finish(index)
    })
    // The consumer sees a failure when it reaches this result.
    result.catch(() => {})
    return result
  }

  /** @param {Promise<O>} result */
  async #unlessAborted(result) {
    const { signal } = this.#stop
    /** @type {() => void} */
    let stop = () => {}
    const aborted = new Promise((_, reject) => {
      stop = () => reject(signal.reason)
      if (signal.aborted) stop()
      else signal.addEventListener('abort', stop)
    })
    try {
      return /** @type {O} */ (await Promise.race([result, aborted]))
    } catch (error) {
      if (signal.aborted) await this.#end(signal.reason)
      throw error
    } finally {
      signal.removeEventListener('abort', stop)
    }
  }

  /** @param {unknown} reason */
  async #end(reason) {
    if (this.#hasEnded) return
    this.#hasEnded = true
    this.#signal?.removeEventListener('abort', this.#abort)
    if (this.#running > 0) this.#stop.abort(reason)
    this.#pending = []
    if (!this.#isExhausted) await this.#inputs.return?.()
  }
}

/** @param {import('../runtime/backend.js').Backend} backend */
export function createBatches(backend) {
  class BatchProcessor {
    #concurrency

    /** @param {unknown} [options] */
    constructor(options) {
      const { concurrency } = pickOptions(options, ['concurrency'])
      if (concurrency !== undefined && !(Number.isSafeInteger(concurrency) && Number(concurrency) >= 1)) {
        throw fault('OPTION', 'concurrency', 'an integer of at least 1', describe(concurrency))
      }
      this.#concurrency = /** @type {number | undefined} */ (concurrency)
    }

    /** By default, one job more than there are threads, so that the next call is ready when a thread becomes free. */
    get concurrency() {
      return this.#concurrency ?? backend.describe().threads + 1
    }

    /**
     * @template I, O
     * @param {Iterable<I> | AsyncIterable<I>} inputs
     * @param {Job<I, O>} job
     * @param {unknown} [options]
     */
    stream(inputs, job, options) {
      return new Results(inputs, job, this.concurrency, readWatch(options))
    }

    /**
     * @template I, O
     * @param {Iterable<I> | AsyncIterable<I>} inputs
     * @param {Job<I, O>} job
     * @param {unknown} [options]
     * @returns {Promise<O[]>}
     */
    async process(inputs, job, options) {
      const watch = readWatch(options)
      const results = new Results(inputs, job, this.concurrency, watch)
      /** @type {PromiseSettledResult<O>[]} */
      const settled = []
      for (;;) {
        try {
          const { done, value } = await results.next()
          if (done) break
          settled.push({ status: 'fulfilled', value })
        } catch (reason) {
          throwIfAborted(watch.signal)
          settled.push({ status: 'rejected', reason })
        }
      }
      if (settled.some(({ status }) => status === 'rejected')) throw new BatchError(settled)
      return settled.map((result) => /** @type {PromiseFulfilledResult<O>} */ (result).value)
    }
  }

  return { BatchProcessor, BatchError }
}
