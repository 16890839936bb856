// The workers that hold the layers of a model in WebAssembly: a limited number, each with a copy.

/** @typedef {import('../runtime/async/workers.js').Group} WorkerGroup */
/** @typedef {import('../runtime/async/workers.js').Handle} Handle */

/** @implements {WorkerGroup} */
export class Group {
  /** @type {Set<Handle>} */
  handles = new Set()
  /** The number of workers that are being started for the group. */
  starting = 0
  /** @type {import('../runtime/async/workers.js').Pool | undefined} */
  pool

  /** @param {number} limit */
  constructor(limit) {
    this.limit = limit
  }

  get isFull() {
    return this.handles.size + this.starting >= this.limit
  }

  /** True if a worker holds copies, or may make them. @param {Handle} handle */
  accepts(handle) {
    return this.handles.has(handle) || !this.isFull
  }

  /** One of some idle workers, rather one that holds copies. @param {readonly Handle[]} idle */
  choose(idle) {
    return idle.find((handle) => this.handles.has(handle)) ?? (this.isFull ? undefined : idle[idle.length - 1])
  }

  /** @param {Handle} handle */
  add(handle) {
    this.handles.add(handle)
    handle.groups.add(this)
  }

  /** Ends idle workers: after the objects are freed, their memory would stay as large as it was. */
  end() {
    this.pool?.endIdle(this)
  }
}
