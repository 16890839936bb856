// A running backend: its binding, its thread limit, and how it comes back after a WebAssembly trap.

import { nativeExecutor } from './async/native.js'
import { Queue } from './async/queue.js'
import { processors } from './async/spawn.js'
import { workerExecutor } from './async/workers.js'
import { Call } from './call.js'
import { describe, fault, fromBinding } from './errors.js'
import { Log } from './log.js'

/** @typedef {import('./binding.d.ts').Binding} Binding */
/** @typedef {import('../index.d.ts').BackendKind} BackendKind */
/** @typedef {{ candidate: string, error: Error }} Rejection */
/**
 * What a loader found.
 *
 * - `restart`: makes a new binding where a fault can spoil the old one.
 * - `module`, `spawns`: for workers, what runs on them and how they start.
 *
 * @typedef {{ kind: BackendKind, binding: Binding, restart?: () => Binding, module?: WebAssembly.Module, spawns?: import('./async/spawn.js').Spawn[], rejected: Rejection[] }} Loaded
 */

/** The one call that is put together, in every backend without a log. */
const call = new Call()

export class Backend {
  /** Undefined until the first call. @type {Binding | undefined} */
  binding = undefined
  /** The thread limit that goes into each call's header. */
  threads = 1
  /** The most workers there may be. */
  workers = 1

  /** The call that is put together. */
  #call = call
  /** @type {() => Loaded} */
  #load
  /** @type {() => import('./log.js').Write | undefined} */
  #defaultLog
  /** @type {Log | undefined} */
  #log
  /** @type {Loaded | undefined} */
  #loaded
  /** @type {number | undefined} */
  #threadLimit
  /** The numbers of the operations. @type {Record<string, number>} */
  #operations = {}
  /** @type {ReturnType<typeof workerExecutor> | undefined} */
  #workers
  /** @type {Queue | undefined} */
  #queue
  /** The most bytes that a call on workers needed since {@link measurePeak}. */
  #neededOnWorkers = 0

  /**
   * @param {() => Loaded} load  finds a backend when the first call needs one
   * @param {() => import('./log.js').Write | undefined} [defaultLog]  where lines go unless `logTo` names another place
   */
  constructor(load, defaultLog = () => undefined) {
    this.#load = load
    this.#defaultLog = defaultLog
  }

  /** Finds a backend and hands out its binding. */
  start() {
    this.#openLog()
    let loaded
    try {
      loaded = this.#load()
    } catch (error) {
      throw this.#notFound(error)
    }
    return this.#take(loaded)
  }

  /**
   * Starts with what is found where there is time to wait, unless a call came first.
   *
   * @param {() => Promise<Loaded>} load
   */
  async startWith(load) {
    this.#openLog()
    const loaded = await load().catch((error) => {
      throw this.#notFound(error)
    })
    if (this.binding === undefined) this.#take(loaded)
  }

  /** @param {Loaded} loaded */
  #take(loaded) {
    this.#loaded = loaded
    this.binding = loaded.binding
    this.#operations = Object.fromEntries(
      Object.entries(loaded.binding.operations().split(',')).map(([number, name]) => [name, Number(number)])
    )
    if (loaded.module) this.#workers = workerExecutor(this, loaded.module, loaded.spawns ?? [])
    this.limitThreads(this.#threadLimit)
    this.#log?.started()
    return loaded.binding
  }

  #openLog() {
    if (this.#log === undefined) this.logTo(this.#defaultLog())
  }

  /** @param {unknown} error */
  #notFound(error) {
    this.#log?.failed(error)
    return error
  }

  /** @param {import('./log.js').Write | undefined} write  takes each line from now on; absent, all stays as it is */
  logTo(write) {
    if (write === undefined || write === this.#log?.write) return
    this.#log = new Log(this, write)
    this.#call = this.#log.call
    if (this.binding) this.#log.started()
  }

  /** @param {number} operation */
  nameOf(operation) {
    return Object.keys(this.#operations)[operation]
  }

  /** Whether there is another thread than the caller's. */
  get hasElsewhere() {
    return this.#workers?.canWork ?? true
  }

  /** The calls that run elsewhere. */
  get queue() {
    return (this.#queue ??= new Queue(this.#workers ?? nativeExecutor(this)))
  }

  /** @param {string} key  of an object that workers need no more */
  forget(key) {
    this.#workers?.forget(key)
  }

  /**
   * Begins a call of an operation, to be put together and run before anything else happens.
   *
   * @param {string} operation
   * @param {...import('./resident.js').Resident} objects  what the call works on
   */
  call(operation, ...objects) {
    if (this.binding === undefined) this.start()
    return this.#call.start(this, this.#operations[operation], objects)
  }

  /** @param {number | undefined} threads */
  limitThreads(threads) {
    this.#threadLimit = threads
    if (this.#loaded?.kind === 'native') this.threads = threads ?? this.#loaded.binding.defaultThreads()
    // WebAssembly runs on one thread, the calling one or a worker's.
    else this.workers = threads ?? processors()
  }

  /**
   * The error for what a call threw. An instance that trapped may hold anything, so a new one takes its place.
   *
   * @param {unknown} thrown
   */
  fault(thrown) {
    const error = fromBinding(thrown)
    if (error.code === 'INTERNAL' && this.#loaded?.restart) {
      try {
        this.binding = this.#loaded.restart()
      } catch {
        // There may be no memory for another one now; the next fault of the old one tries again.
      }
    }
    return error
  }

  memoryUsage() {
    const [allocated, total, peak] = (this.binding ?? this.start()).memoryUsage()
    return { allocated, total, peak }
  }

  /**
   * Starts to measure how much of the backend's memory calls need; calls that run at the same time share the measurement.
   *
   * @returns {() => number} the most bytes needed since
   */
  measurePeak() {
    ;(this.binding ?? this.start()).resetPeak()
    this.#neededOnWorkers = 0
    return () => {
      const [, , , needed] = (this.binding ?? this.start()).memoryUsage()
      return Math.max(needed, this.#neededOnWorkers)
    }
  }

  /** @param {number} bytes  that a call needed in the memories of workers */
  countOnWorkers(bytes) {
    this.#neededOnWorkers = Math.max(this.#neededOnWorkers, bytes)
  }

  /** Every candidate that failed until now. @returns {Rejection[]} */
  get rejected() {
    return [...(this.#loaded?.rejected ?? []), ...(this.#workers?.failures ?? [])]
  }

  get kind() {
    return this.#loaded?.kind
  }

  describe() {
    const binding = this.binding ?? this.start()
    const { kind } = /** @type {Loaded} */ (this.#loaded)
    try {
      return {
        kind,
        simd: binding.simdLevel(),
        threads: kind === 'native' ? this.threads : this.hasElsewhere ? this.workers : 1,
        version: binding.version(),
        rejected: this.rejected.map((rejection) => ({ ...rejection }))
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
