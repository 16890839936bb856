// Many calls, a few at a time: results in the order of the inputs, memory for no more than are under way.

import { Watch, throwIfAborted } from './async/watch.js'
import { describe, fault, isFunction, isObject } from './errors.js'
import { pickOptions } from './options.js'

/**
 * @template I, O
 * @typedef {(input: I, options: import('../index.d.ts').JobOptions) => Promise<O>} Job
 */

/** What a batch ends with when jobs failed: their errors, and what became of every input. */
export class BatchError extends AggregateError {
  /** @param {PromiseSettledResult<any>[]} results  in the order of the inputs */
  constructor(results) {
    const errors = results.flatMap((result) => (result.status === 'rejected' ? [result.reason] : []))
    super(errors, `${errors.length} of ${results.length} jobs failed; \`results\` has what became of each input`)
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

/** How far a batch is: by its jobs' own fractions where it is known how many inputs there are, and else only at its end. */
class Progress {
  /** Fractions of the jobs under way, by the place of their inputs. @type {Map<number, number>} */
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

  /** @param {number} place @param {number} fraction */
  advance(place, fraction) {
    this.#fractions.set(place, fraction)
    this.#report()
  }

  /** @param {number} place */
  finish(place) {
    this.#fractions.delete(place)
    this.#finished++
    this.#report()
  }

  end() {
    this.#tell(1)
  }

  #report() {
    if (!this.#total) return
    const partly = [...this.#fractions.values()].reduce((sum, fraction) => sum + fraction, 0)
    this.#tell(Math.min(1, (this.#finished + partly) / this.#total))
  }

  /** @param {number} fraction */
  #tell(fraction) {
    if (!(fraction > this.#reported)) return
    this.#reported = fraction
    this.#listener?.(fraction)
  }
}

/**
 * The results of jobs in the order of their inputs. At most `concurrency` inputs are taken ahead of whoever reads the results,
 * whose pace is that of the whole. A failed job rejects its own result; the ones after it go on.
 *
 * @template I, O
 * @implements {AsyncIterableIterator<O>}
 */
class Results {
  /** The results under way, the oldest first. @type {Promise<O>[]} */
  #ahead = []
  #taken = 0
  #running = 0
  #isExhausted = false
  /** What the inputs threw: it stands behind the results of those that were taken before. @type {{ error: unknown } | undefined} */
  #failure
  #hasEnded = false
  #isClosed = false
  /** One reader after the other. @type {Promise<unknown>} */
  #turn = Promise.resolve()
  /** Ends the jobs under way. */
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
    const isAsked = isObject(inputs) || isFunction(inputs) || typeof inputs === 'string'
    const open = isAsked ? (given[Symbol.asyncIterator] ?? given[Symbol.iterator]) : undefined
    if (!isFunction(open)) throw fault('OPTION', 'inputs', 'an iterable', describe(inputs))
    if (!isFunction(job)) throw fault('OPTION', 'job', 'a function', describe(job))
    /** @type {Iterator<I> | AsyncIterator<I>} */
    const iterator = Reflect.apply(open, given, [])
    if (!isObject(iterator)) throw fault('OPTION', 'inputs', 'an iterable that has an iterator', describe(iterator))
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

  /** Ends it early: jobs under way are cancelled, no further input is taken. @returns {Promise<IteratorResult<O, undefined>>} */
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
    const oldest = this.#ahead.shift()
    if (oldest) {
      try {
        return { done: false, value: await this.#unlessAborted(oldest) }
      } catch (error) {
        // What a stream that was closed still waited for is nothing.
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

  /** Starts jobs until as many are under way as may be, or no input is left. */
  async #fill() {
    while (!this.#isExhausted && this.#ahead.length < this.#concurrency) {
      throwIfAborted(this.#signal)
      try {
        const { done, value } = await this.#nextInput()
        if (this.#hasEnded) return
        if (done) this.#isExhausted = true
        else this.#ahead.push(this.#start(value))
      } catch (error) {
        this.#isExhausted = true
        if (!this.#hasEnded) this.#failure = { error }
      }
    }
  }

  /** @returns {Promise<IteratorResult<I, any>>} */
  async #nextInput() {
    const { next } = this.#inputs
    if (!isFunction(next)) throw fault('OPTION', 'inputs', 'an iterable whose iterator has next()', describe(next))
    const result = await Reflect.apply(next, this.#inputs, [])
    if (!isObject(result)) throw fault('OPTION', 'inputs', 'an iterable of results', describe(result))
    return /** @type {IteratorResult<I, any>} */ (result)
  }

  /** @param {I} input @returns {Promise<O>} */
  #start(input) {
    const place = this.#taken++
    const onProgress = (/** @type {number} */ fraction) => this.#progress.advance(place, fraction)
    const run = async () => this.#job(input, { signal: this.#stop.signal, onProgress })
    this.#running++
    const result = run().finally(() => {
      this.#running--
      this.#progress.finish(place)
    })
    // Whoever reads the results hears of it in its turn.
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
    this.#ahead = []
    if (!this.#isExhausted) await this.#inputs.return?.()
  }
}

/** @param {import('./backend.js').Backend} backend */
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

    /** By default one more than can run, so that no thread waits for its next call to be prepared. */
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
