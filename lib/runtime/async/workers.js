// Runs calls on workers, each with its own instance of the WebAssembly module; without workers, on the calling thread.

import { fromBinding } from '../../checks/errors.js'
import { freeQuietly, makeObject } from './worker-calls.js'

/** @typedef {import('./queue.js').Executor} Executor */
/** @typedef {import('./queue.js').Report} Report */
/** @typedef {import('./request.js').Request} Request */
/** @typedef {import('../call-memory.js').Result} Result */
/** @typedef {import('../call-memory.js').CallMemory} CallMemory */
/** @typedef {import('./spawn.js').Spawned} Spawned */
/** @typedef {import('./spawn.js').Spawn} Spawn */
/**
 * The workers that hold copies of the same objects, a limited number of a pool's.
 *
 * @typedef {object} Group
 * @property {number} limit
 * @property {Set<Handle>} handles
 * @property {number} starting  the number of workers that are being started for the group
 * @property {Pool | undefined} pool
 * @property {boolean} isFull
 * @property {(handle: Handle) => boolean} accepts  true if a worker holds copies, or may make them
 * @property {(idle: readonly Handle[]) => Handle | undefined} choose  one of some idle workers
 * @property {(handle: Handle) => void} add
 */

/** Minimum number of operations for splitting a call: below, copying to several workers costs too much. */
const SPLIT_OPERATIONS = 2e8

/** Ends the workers of backends that were garbage-collected. */
const registry = new FinalizationRegistry((/** @type {Pool} */ pool) => pool.end())

/** A worker and its state. */
export class Handle {
  /** Keys of the objects that the worker holds. @type {Set<string>} */
  known = new Set()
  /** @type {{ resolve: (answer: any) => void, reject: (error: unknown) => void, report?: Report } | undefined} */
  call
  isReady = false
  /** The groups whose objects the worker holds. @type {Set<Group>} */
  groups = new Set()

  /** @param {Spawned} worker */
  constructor(worker) {
    this.worker = worker
  }
}

/** The workers of one backend. Holds no reference to the backend, so that both can be garbage-collected. */
export class Pool {
  /** Reasons why workers could not start. @type {{ candidate: string, error: Error }[]} */
  failures = []
  /** @type {Handle[]} */
  #idle = []
  /** @type {Set<Handle>} */
  #all = new Set()
  /**
   * Callbacks waiting for an idle worker when no more can start; undefined means that no worker is left, or none of the
   * group's.
   *
   * @type {{ group: Group | undefined, resolve: (handle: Handle | undefined) => void }[]}
   */
  #waiting = []
  #starting = 0
  /** True once the current way of starting workers has succeeded. */
  #hasStarted = false
  #module
  #spawns

  /**
   * @param {WebAssembly.Module} module
   * @param {readonly Spawn[]} spawns  ways to start a worker, the best first
   */
  constructor(module, spawns) {
    this.#module = module
    this.#spawns = [...spawns]
    if (spawns.length === 0) this.#failed('workers', new Error('this runtime cannot start workers'))
  }

  get canWork() {
    return this.#spawns.length > 0
  }

  /**
   * Returns an idle worker or starts one; undefined if none can be started.
   *
   * @param {Group} [group]  of the objects that the worker will use
   * @returns {Promise<Handle | undefined>}
   */
  async take(group) {
    if (group) group.pool = this
    for (;;) {
      const idle = this.#takeIdle(group)
      if (idle) return idle
      const spawn = this.#spawns[0]
      if (spawn === undefined) return undefined
      if (group?.isFull) {
        const handle = await this.#nextIdle(group)
        if (handle) return handle
        continue
      }
      try {
        return await this.#startFor(group, spawn)
      } catch (error) {
        // A concurrent attempt may have discarded this way already.
        if (this.#spawns[0] !== spawn) continue
        // If other workers did start, the machine only has no room for more.
        const handle = this.#all.size + this.#starting > 0 ? await this.#nextIdle(group) : undefined
        if (handle || this.#hasStarted) return handle
        if (this.#spawns[0] === spawn) this.#failed(spawn.candidate, /** @type {Error} */ (error))
      }
    }
  }

  /** @param {Group | undefined} group @param {Spawn} spawn */
  async #startFor(group, spawn) {
    if (group === undefined) return this.#start(spawn)
    group.starting++
    try {
      const handle = await this.#start(spawn)
      group.add(handle)
      return handle
    } finally {
      group.starting--
      // After a failure, those who waited for this worker start their own.
      if (!group.isFull) this.#notify((entry) => entry.group === group)
    }
  }

  /** @param {Group} [group] */
  #takeIdle(group) {
    const idle = group ? group.choose(this.#idle) : this.#idle[this.#idle.length - 1]
    if (idle === undefined) return undefined
    this.#idle = this.#idle.filter((other) => other !== idle)
    group?.add(idle)
    idle.worker.hold(true)
    return idle
  }

  /**
   * Waits for an idle worker; undefined if no worker is left.
   *
   * @param {Group} [group]
   * @returns {Promise<Handle | undefined>}
   */
  #nextIdle(group) {
    return new Promise((resolve) => {
      const idle = this.#takeIdle(group)
      if (idle) resolve(idle)
      else this.#waiting.push({ group, resolve })
    })
  }

  /** @param {string} candidate @param {Error} error */
  #failed(candidate, error) {
    this.failures.push({ candidate, error })
    this.#spawns.shift()
    this.#hasStarted = false
  }

  /** @param {Spawn} spawn */
  async #start(spawn) {
    this.#starting++
    try {
      return await this.#open(spawn)
    } finally {
      this.#starting--
      this.#notifyIfNone()
    }
  }

  /** @param {Spawn} spawn @returns {Promise<Handle>} */
  #open(spawn) {
    return new Promise((resolve, reject) => {
      const handle = new Handle(
        spawn.open({
          message: (answer) => {
            if (answer.progress !== undefined) return handle.call?.report?.(answer.progress)
            if (!answer.ready) return handle.call?.resolve(answer)
            handle.isReady = true
            this.#hasStarted = true
            this.#all.add(handle)
            resolve(handle)
          },
          lost: (error) => {
            this.kill(handle)
            if (!handle.isReady) return reject(error)
            handle.call?.reject(error)
          }
        })
      )
      try {
        handle.worker.post({ module: this.#module })
      } catch (error) {
        this.kill(handle)
        reject(error)
      }
    })
  }

  /**
   * Ends a worker that is busy, lost, or in an unknown state after a fault.
   *
   * @param {Handle} handle
   */
  kill(handle) {
    this.#all.delete(handle)
    this.#idle = this.#idle.filter((other) => other !== handle)
    handle.worker.end()
    // Another worker may take its place in a group.
    for (const group of handle.groups) group.handles.delete(handle)
    this.#notify(({ group }) => group !== undefined && handle.groups.has(group))
    this.#notifyIfNone()
  }

  /** Notifies the waiting callbacks if no worker is left. */
  #notifyIfNone() {
    if (this.#all.size + this.#starting === 0) this.#notify(() => true)
  }

  /**
   * Tells some of the waiting callbacks that there is no worker for them.
   *
   * @param {(entry: { group: Group | undefined }) => boolean} concerns
   */
  #notify(concerns) {
    const [told, others] = [true, false].map((wanted) => this.#waiting.filter((entry) => concerns(entry) === wanted))
    this.#waiting = others
    for (const { resolve } of told) resolve(undefined)
  }

  /** @param {Group} group */
  endIdle({ handles }) {
    for (const handle of this.#idle.filter((other) => handles.has(other))) this.kill(handle)
  }

  /** @param {Handle} handle */
  release(handle) {
    if (!this.#all.has(handle)) return
    const next = this.#waiting.find(({ group }) => group?.accepts(handle) ?? true)
    if (next) {
      this.#waiting = this.#waiting.filter((other) => other !== next)
      next.group?.add(handle)
      return next.resolve(handle)
    }
    handle.worker.hold(false)
    this.#idle.push(handle)
  }

  /** @param {string} key  of an object that is no longer in use */
  forget(key) {
    for (const { known, worker } of this.#all) {
      if (known.delete(key)) worker.post({ forget: key })
    }
  }

  end() {
    for (const handle of this.#all) this.kill(handle)
  }
}

/**
 * @param {import('../backend.js').Backend} backend
 * @param {WebAssembly.Module} module
 * @param {readonly Spawn[]} spawns
 * @returns {Executor & Pick<Pool, 'failures' | 'canWork' | 'forget'>}
 */
export function workerExecutor(backend, module, spawns) {
  const pool = new Pool(module, spawns)
  registry.register(backend, pool)
  const slots = () => (pool.canWork ? backend.workers : 1)

  /** @param {Request} request @param {number} free */
  const parts = ({ operations, group }, free) => {
    if (!pool.canWork || operations < SPLIT_OPERATIONS) return 1
    return Math.max(1, Math.min(free, group?.limit ?? free))
  }

  return {
    get slots() {
      return slots()
    },
    get failures() {
      return pool.failures
    },
    get canWork() {
      return pool.canWork
    },
    forget: (key) => pool.forget(key),
    fault: fromBinding,
    slotsFor: parts,
    run(request, free, report) {
      const count = parts(request, free)
      const progress = new Float64Array(count)
      const stops = new AbortController()
      const runs = Array.from({ length: count }, (_, part) => {
        const listen =
          report &&
          ((/** @type {number} */ fraction) => {
            progress[part] = fraction
            report(progress.reduce((sum, fraction) => sum + fraction, 0) / count)
          })
        return runPart(pool, request, part, count, stops.signal, listen)
      })
      const done = Promise.allSettled(runs).then((outcomes) => {
        if (stops.signal.aborted) return
        const failed = outcomes.find(({ status }) => status === 'rejected')
        if (failed) throw /** @type {PromiseRejectedResult} */ (failed).reason
        const answers = outcomes.map((outcome) => /** @type {PromiseFulfilledResult<any>} */ (outcome).value)
        if (answers.includes(undefined)) return runHere(backend, request)
        // Parts run at the same time, each in its own memory.
        backend.countOnWorkers(answers.reduce((sum, { needed }) => sum + needed, 0))
        return join(answers.map(({ results }) => results))
      })
      return { done, cancel: () => stops.abort() }
    }
  }
}

/**
 * Runs one part of a call on a worker and returns its answer, or undefined without workers.
 *
 * @param {Pool} pool
 * @param {Request} request
 * @param {number} part
 * @param {number} count
 * @param {AbortSignal} stop
 * @param {Report | undefined} report
 */
async function runPart(pool, request, part, count, stop, report) {
  const handle = await pool.take(request.group)
  if (handle === undefined) return undefined
  /** @type {(() => void) | undefined} */
  let kill
  try {
    const answer = await new Promise((resolve, reject) => {
      kill = () => {
        pool.kill(handle)
        reject(stop.reason)
      }
      if (stop.aborted) return reject(stop.reason)
      stop.addEventListener('abort', kill)
      handle.call = { resolve, reject, ...(report && { report }) }
      send(handle, request, part, count, report !== undefined)
    })
    if (answer.error === undefined) return answer
    for (const key of answer.lacks) handle.known.delete(key)
    const error = fromBinding(answer.error)
    // After a trap the state of the instance is unknown.
    if (error.code === 'INTERNAL') pool.kill(handle)
    throw error
  } finally {
    if (kill) stop.removeEventListener('abort', kill)
    handle.call = undefined
    pool.release(handle)
  }
}

/**
 * @param {Handle} handle
 * @param {Request} request
 * @param {number} part
 * @param {number} count
 * @param {boolean} reports
 */
function send(handle, request, part, count, reports) {
  const { operation, bytes, options, arrays } = request
  const make = request.objects.filter(({ key }) => !handle.known.has(key)).map((object) => object.recipe())
  const objects = request.objects.map(({ key }) => key)
  // A call in one part can transfer its copies.
  const transfer = count > 1 || arrays === undefined ? [] : arrays.map(({ buffer }) => buffer)
  const call = { operation, bytes, options, arrays, objects, make, part, parts: count, reports }
  handle.worker.post({ call }, transfer)
  for (const { key } of make) handle.known.add(key)
}

/**
 * Combines the results of the parts of a call by bitwise OR: each part leaves zeros where another one computes.
 *
 * @param {Result[][]} parts
 */
function join([whole, ...others]) {
  for (const part of others) {
    whole.forEach((result, index) => result && mergeBits(result.data, part[index].data))
  }
  return whole
}

/** @param {Float32Array | Int32Array} to @param {Float32Array | Int32Array} from */
function mergeBits(to, from) {
  const [target, bits] = [to, from].map(({ buffer, byteOffset, length }) => new Int32Array(buffer, byteOffset, length))
  for (let index = 0; index < bits.length; index++) target[index] |= bits[index]
}

/**
 * Runs the call on the calling thread, because no worker could start.
 *
 * @param {import('../backend.js').Backend} backend
 * @param {Request} request
 */
function runHere(backend, request) {
  const { operation, bytes, options, arrays, objects } = request
  const binding = backend.binding ?? backend.start()
  const memory = /** @type {CallMemory} */ (backend.memory)
  /** @type {number[]} */
  const created = []
  try {
    const ids = objects.map((object) => {
      // After a fault, ids refer to an instance that no longer exists.
      if (object.isOf(binding)) return object.id
      const id = makeObject(binding, memory, object.recipe())
      created.push(id)
      return id
    })
    const setIds = (/** @type {import('../call-memory.js').CallViews} */ views) =>
      ids.forEach((id, index) => views.setObject(index, id))
    return memory.runCopy(bytes, setIds, operation, options, arrays)
  } catch (error) {
    throw backend.fault(error)
  } finally {
    memory.arrays = undefined
    for (const id of created) freeQuietly(binding, id)
  }
}
