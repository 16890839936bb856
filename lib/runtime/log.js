// The log of a backend: rejected candidates, the chosen backend, then one line per operation with its shapes and time.

import { Call } from './call.js'
import { AttentionError, describe, fault, isFunction } from '../checks/errors.js'

/** @typedef {import('./backend.js').Backend} Backend */
/** @typedef {(line: string) => void} Write */

export class Log {
  /** The builder of calls, instead of the one without a log. */
  call = new LoggedCall(this)
  #backend
  /** Number of rejections already logged. */
  #reported = 0

  /**
   * @param {Backend} backend
   * @param {Write} write
   */
  constructor(backend, write) {
    this.#backend = backend
    this.write = write
  }

  /** @param {string} text */
  line(text) {
    const { write } = this
    write(`ruvector-attention: ${text.replaceAll(/\s*\n\s*/g, ' ')}`)
  }

  /** Logs the running backend, after its rejected candidates. */
  started() {
    this.rejections()
    const { kind, simd, threads, version } = this.#backend.describe()
    this.line(`${kind} (${simd}), ${threads} ${threads === 1 ? 'thread' : 'threads'}, version ${version}`)
  }

  /** Logs new rejections; the first asynchronous call determines how workers start. */
  rejections() {
    const { rejected } = this.#backend
    for (; this.#reported < rejected.length; this.#reported++) {
      const { candidate, error } = rejected[this.#reported]
      this.line(`rejected ${candidate}: ${error.message.split('\n')[0]}`)
    }
  }

  /**
   * Logs that no backend was found, with the reason of each candidate.
   *
   * @param {unknown} error
   */
  failed(error) {
    const reason = error instanceof AttentionError ? error.actual : undefined
    this.line(`no backend: ${reason ?? reasonOf(error)}`)
  }
}

/** A call that logs one line when it ends. */
class LoggedCall extends Call {
  #log
  /** @type {Backend | undefined} */
  #backend
  #operation = ''

  /** @param {Log} log */
  constructor(log) {
    super()
    this.#log = log
  }

  /**
   * @override
   * @param {Backend} backend
   * @param {import('./operations.js').Operation} operation
   * @param {readonly import('./resident.js').Resident[]} objects
   */
  start(backend, operation, objects) {
    this.#backend = backend
    this.#operation = operation
    return super.start(backend, operation, objects)
  }

  /** @override */
  run() {
    const end = this.#begin('')
    let result
    try {
      result = super.run()
    } catch (error) {
      end(error)
      throw error
    }
    end()
    return result
  }

  /**
   * @override
   * @param {import('./async/watch.js').Watch} watch
   * @returns {Promise<any>}
   */
  async later(watch) {
    // On the calling thread, `super.later` calls `run`, which logs.
    if (!this.#backend?.hasElsewhere) return super.later(watch)
    const end = this.#begin(' elsewhere')
    let result
    try {
      result = await super.later(watch)
    } catch (error) {
      end(error)
      throw error
    }
    end()
    return result
  }

  /**
   * Records the operation and its shapes before the call runs and clears them.
   *
   * @param {string} where
   * @returns {(error?: unknown) => void} writes the line; call it when the operation has ended
   */
  #begin(where) {
    const log = this.#log
    const title = [this.#operation, ...this.shapes.map((shape) => `[${shape}]`)].join(' ') + where
    const start = performance.now()
    return (error) => {
      const time = `${(performance.now() - start).toFixed(3)} ms`
      log.rejections()
      log.line(`${title}: ${error === undefined ? time : `${reasonOf(error)} after ${time}`}`)
    }
  }
}

/** @param {unknown} error */
function reasonOf(error) {
  if (error instanceof AttentionError) return error.code
  return error instanceof Error ? error.name : describe(error)
}

/**
 * @param {unknown} log
 * @returns {Write | undefined}
 */
export function checkLog(log) {
  if (log === undefined || isFunction(log)) return log
  throw fault('OPTION', 'log', 'a function', describe(log))
}
