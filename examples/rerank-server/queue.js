// A bounded queue: a few tasks run at a time, some wait in order, and the rest are turned away.

/** The server has no time for a request. */
export class BusyError extends Error {
  statusCode = 503
}

export class Queue {
  #limits
  #running = 0
  /** Functions that start a waiting task. @type {Set<() => void>} */
  #waiting = new Set()

  /** @param {{ running: number, waiting: number }} limits  the most tasks that run, and that wait */
  constructor(limits) {
    this.#limits = limits
  }

  get running() {
    return this.#running
  }

  get waiting() {
    return this.#waiting.size
  }

  /**
   * Runs a task when its turn comes. A task whose signal aborts while it waits leaves the queue.
   *
   * @template T
   * @param {() => Promise<T>} task
   * @param {AbortSignal} signal
   * @returns {Promise<T>} rejects with BusyError if the queue is full, or with the signal's reason
   */
  async run(task, signal) {
    signal.throwIfAborted()
    await this.#turn(signal)
    try {
      return await task()
    } finally {
      this.#next()
    }
  }

  /** @param {AbortSignal} signal @returns {Promise<void>} */
  async #turn(signal) {
    if (this.#running < this.#limits.running) {
      this.#running++
      return
    }
    if (this.#waiting.size >= this.#limits.waiting) throw new BusyError(`${this.#waiting.size} requests are waiting`)
    await new Promise((/** @type {(value?: undefined) => void} */ resolve, reject) => {
      const start = () => {
        signal.removeEventListener('abort', leave)
        resolve()
      }
      const leave = () => {
        this.#waiting.delete(start)
        reject(signal.reason)
      }
      this.#waiting.add(start)
      signal.addEventListener('abort', leave, { once: true })
    })
  }

  /** Passes a finished task's place on to the next one. */
  #next() {
    const [start] = this.#waiting
    if (start === undefined) {
      this.#running--
      return
    }
    this.#waiting.delete(start)
    start()
  }
}
