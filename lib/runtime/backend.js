// A running backend: its binding, its thread limit, and its recovery from a WebAssembly trap.

import { nativeExecutor } from './async/native.js'
import { Queue } from './async/queue.js'
import { processors } from './async/spawn.js'
import { workerExecutor } from './async/workers.js'
import { Call } from './call.js'
import { describe, fault, fromBinding } from '../checks/errors.js'
import { Log } from './log.js'
import { CallMemory } from './call-memory.js'

/** @typedef {import('./binding.d.ts').Binding} Binding */
/** @typedef {import('../../index.d.ts').BackendKind} BackendKind */
/** @typedef {{ candidate: string, error: Error }} Rejection */
/**
 * The result of a loader.
 *
 * - `restart`: creates a new binding, if a fault can corrupt the old one.
 * - `module`, `spawns`: the module that workers run, and the ways to start them.
 *
 * @typedef {{ kind: BackendKind, binding: Binding, restart?: () => Binding, module?: WebAssembly.Module, spawns?:
 *   import('./async/spawn.js').Spawn[], rejected: Rejection[] }} Loaded
 */

/** The builder of calls, shared by all backends without a log. */
const call = new Call()

export class Backend {
  /** Undefined until the first call. @type {Binding | undefined} */
  binding = undefined
  /** The memory of the binding's calls. @type {CallMemory | undefined} */
  memory = undefined
  /** The thread limit, written into the header of each call. */
  threads = 1
  /** The maximum number of workers. */
  workers = 1

  /** The builder of this backend's calls. */
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
  #wantsAmx = false
  /** The reason for which AMX is not in use, if it was requested. @type {Rejection | undefined} */
  #amx
  /** @type {ReturnType<typeof workerExecutor> | undefined} */
  #workers
  /** @type {Queue | undefined} */
  #queue
  /** The maximum number of bytes that a call on workers needed since {@link measurePeak}. */
  #neededOnWorkers = 0

  /**
   * @param {() => Loaded} load  finds a backend when the first call needs one
   * @param {() => import('./log.js').Write | undefined} [defaultLog]  receives the lines until `logTo` sets another
   *   receiver
   */
  constructor(load, defaultLog = () => undefined) {
    this.#load = load
    this.#defaultLog = defaultLog
  }

  /** Finds a backend and returns its binding. */
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
   * Starts with an asynchronous loader, unless a call started the backend first.
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
    this.use(loaded.binding)
    if (loaded.module) this.#workers = workerExecutor(this, loaded.module, loaded.spawns ?? [])
    this.limitThreads(this.#threadLimit)
    if (this.#wantsAmx) this.requestAmx()
    this.#log?.started()
    return loaded.binding
  }

  /** @param {Binding} binding  on which calls run from now on */
  use(binding) {
    this.memory = new CallMemory(binding)
    this.binding = binding
  }

  #openLog() {
    if (this.#log === undefined) this.logTo(this.#defaultLog())
  }

  /** @param {unknown} error */
  #notFound(error) {
    this.#log?.failed(error)
    return error
  }

  /**
   * @param {import('./log.js').Write | undefined} write  receives each line from now on; if undefined, nothing changes
   */
  logTo(write) {
    if (write === undefined || write === this.#log?.write) return
    this.#log = new Log(this, write)
    this.#call = this.#log.call
    if (this.binding) this.#log.started()
  }

  /** True if calls can run on a thread other than the caller's. */
  get hasElsewhere() {
    return this.#workers?.canWork ?? true
  }

  /** The queue of asynchronous calls. */
  get queue() {
    return (this.#queue ??= new Queue(this.#workers ?? nativeExecutor(this)))
  }

  /** @param {string} key  of an object that workers no longer need */
  forget(key) {
    this.#workers?.forget(key)
  }

  /**
   * Begins a call of an operation. The caller must complete and run it before any other call begins.
   *
   * @param {import('./operations.js').Operation} operation
   * @param {...import('./resident.js').Resident} objects  the objects that the call uses
   */
  call(operation, ...objects) {
    if (this.binding === undefined) this.start()
    return this.#call.start(this, operation, objects)
  }

  /** @param {number | undefined} threads */
  limitThreads(threads) {
    this.#threadLimit = threads
    if (this.#loaded?.kind === 'native') this.threads = threads ?? this.#loaded.binding.defaultThreads()
    // WebAssembly runs on a single thread: the calling thread or a worker.
    else this.workers = threads ?? processors()
  }

  /** Uses AMX as soon as a backend runs, if it is native and the machine has AMX. The whole process shares it. */
  requestAmx() {
    this.#wantsAmx = true
    if (this.binding === undefined) return
    const refusal = this.binding.requestAmx ? this.binding.requestAmx() : 'only native code has it'
    this.#amx = refusal ? { candidate: 'amx', error: new Error(`AMX is not in use: ${refusal}`) } : undefined
  }

  /**
   * Converts what a call threw into an error. An instance that trapped may be corrupt, so a new one replaces it.
   *
   * @param {unknown} thrown
   */
  fault(thrown) {
    const error = fromBinding(thrown)
    if (error.code === 'INTERNAL' && this.#loaded?.restart) {
      try {
        this.use(this.#loaded.restart())
      } catch {
        // Memory may be too short for another instance now; the next fault of the old one tries again.
      }
    }
    return error
  }

  memoryUsage() {
    const [allocated, total, peak] = (this.binding ?? this.start()).memoryUsage()
    return { allocated, total, peak }
  }

  /**
   * Starts to measure how much of the backend's memory calls need. Concurrent calls share the measurement.
   *
   * @returns {() => number} the maximum number of bytes needed since the start
   */
  measurePeak() {
    ;(this.binding ?? this.start()).resetPeak()
    this.#neededOnWorkers = 0
    return () => {
      const [, , , needed] = (this.binding ?? this.start()).memoryUsage()
      return Math.max(needed, this.#neededOnWorkers)
    }
  }

  /** @param {number} bytes  needed by a call in the memory of workers */
  countOnWorkers(bytes) {
    this.#neededOnWorkers = Math.max(this.#neededOnWorkers, bytes)
  }

  /** All candidates that have failed so far. @returns {Rejection[]} */
  get rejected() {
    return [...(this.#loaded?.rejected ?? []), ...(this.#workers?.failures ?? []), ...(this.#amx ? [this.#amx] : [])]
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
