// A running backend: its binding, its thread limit, and how it comes back after a WebAssembly trap.

import { Call } from './call.js'
import { describe, fault, fromBinding } from './errors.js'

/** @typedef {import('./binding.d.ts').Binding} Binding */
/** @typedef {import('../index.d.ts').BackendKind} BackendKind */
/** @typedef {{ candidate: string, error: Error }} Rejection */
/**
 * What a loader found: `restart` makes a new binding where a fault can spoil the old one.
 *
 * @typedef {{ kind: BackendKind, binding: Binding, restart?: () => Binding, rejected: Rejection[] }} Loaded
 */

const call = new Call()

export class Backend {
  /** Undefined until the first call. @type {Binding | undefined} */
  binding = undefined
  /** The thread limit that goes into each call's header. */
  threads = 1

  /** @type {() => Loaded} */
  #load
  /** @type {Loaded | undefined} */
  #loaded
  /** @type {number | undefined} */
  #threadLimit
  /** The numbers of the operations. @type {Record<string, number>} */
  #operations = {}

  /** @param {() => Loaded} load  finds a backend when the first call needs one */
  constructor(load) {
    this.#load = load
  }

  /** Takes what a loader found, and hands out its binding. */
  start(loaded = this.#load()) {
    this.#loaded = loaded
    this.binding = loaded.binding
    this.#operations = Object.fromEntries(
      Object.entries(loaded.binding.operations().split(',')).map(([number, name]) => [name, Number(number)])
    )
    this.limitThreads(this.#threadLimit)
    return loaded.binding
  }

  /**
   * Begins a call of an operation, to be put together and run before anything else happens.
   *
   * @param {string} operation
   * @param {...import('./resident.js').Resident} objects  what the call works on
   */
  call(operation, ...objects) {
    if (this.binding === undefined) this.start()
    return call.start(this, this.#operations[operation], objects)
  }

  /** @param {number | undefined} threads */
  limitThreads(threads) {
    this.#threadLimit = threads
    // WebAssembly runs on the calling thread.
    if (this.#loaded?.kind === 'native') this.threads = threads ?? this.#loaded.binding.defaultThreads()
  }

  /**
   * The error for what a call threw. An instance that trapped may hold anything, so a new one takes its place.
   *
   * @param {unknown} thrown
   */
  fault(thrown) {
    const error = fromBinding(thrown)
    if (error.code === 'INTERNAL' && this.#loaded?.restart) {
      this.binding = this.#loaded.restart()
    }
    return error
  }

  memoryUsage() {
    const [allocated, total, peak] = (this.binding ?? this.start()).memoryUsage()
    return { allocated, total, peak }
  }

  describe() {
    const binding = this.binding ?? this.start()
    const { kind, rejected } = /** @type {Loaded} */ (this.#loaded)
    try {
      return {
        kind,
        simd: binding.simdLevel(),
        threads: this.threads,
        version: binding.version(),
        rejected: rejected.map((rejection) => ({ ...rejection }))
      }
    } catch (error) {
      throw this.fault(error)
    }
  }
}

/** @param {unknown} threads */
export function checkThreads(threads) {
  if (threads === undefined) return undefined
  if (!Number.isInteger(threads) || Number(threads) < 1 || Number(threads) > 1024) {
    throw fault('OPTION', 'threads', 'an integer from 1 to 1024', describe(threads))
  }
  return Number(threads)
}
