// The ways to start a worker from the source text of its program, so that no bundler or server has to locate a file.

/**
 * - `message`: receives the worker's messages.
 * - `lost`: called when the worker has ended or could not start.
 *
 * @typedef {{ message: (data: any) => void, lost: (error: Error) => void }} Events
 */
/**
 * A running worker. While it is not held, it does not keep the process alive.
 *
 * @typedef {{ post: (message: any, transfer?: ArrayBufferLike[]) => void, hold: (held: boolean) => void, end: () =>
 *   void }} Spawned
 */
/** @typedef {{ candidate: string, open: (events: Events) => Spawned }} Spawn */

const NAME = 'ruvector-attention'
const FORBIDDEN = 'a content security policy may forbid it'

/** @param {any} worker @param {Events} events @returns {Spawned} */
function overEvents(worker, { message, lost }) {
  worker.addEventListener('message', (/** @type {MessageEvent} */ { data }) => message(data))
  worker.addEventListener('messageerror', () => lost(new Error('a message could not be read')))
  worker.addEventListener('error', (/** @type {ErrorEvent} */ event) => {
    event.preventDefault?.()
    lost(new Error(event.message || `the worker could not be started: ${FORBIDDEN}`))
  })
  return {
    post: (data, transfer = []) => worker.postMessage(data, transfer),
    // Bun has these methods; browsers have no process to keep alive.
    hold: (held) => (held ? worker.ref?.() : worker.unref?.()),
    end: () => worker.terminate()
  }
}

/**
 * Starts a module worker from a file.
 *
 * @param {() => Worker} open
 * @returns {Spawn}
 */
export const fromFile = (open) => ({
  candidate: 'workers from a file',
  open: (events) => overEvents(open(), events)
})

/**
 * Opens a worker from a blob URL. WebKit throws at once with only a security error; other browsers fire an event later.
 *
 * @param {string} address
 * @param {() => void} free
 */
function openBlob(address, free) {
  try {
    return new Worker(address, { type: 'module', name: NAME })
  } catch (cause) {
    free()
    const reason = cause instanceof Error ? cause.message : String(cause)
    throw new Error(`${reason.replace(/\.$/, '')}: ${FORBIDDEN}`, { cause })
  }
}

/**
 * @param {string} program
 * @returns {Spawn}
 */
const fromBlob = (program) => ({
  candidate: 'workers from a blob',
  open(events) {
    const address = URL.createObjectURL(new Blob([program], { type: 'text/javascript' }))
    const free = () => URL.revokeObjectURL(address)
    return overEvents(openBlob(address, free), {
      message(data) {
        free()
        events.message(data)
      },
      lost(error) {
        free()
        events.lost(error)
      }
    })
  }
})

/**
 * @param {string} program
 * @returns {Spawn}
 */
const fromText = (program) => ({
  candidate: 'worker_threads',
  open({ message, lost }) {
    const { Worker } = globalThis.process.getBuiltinModule('node:worker_threads')
    // Flags of the process, such as those that change the module type of text, must not affect this program.
    const worker = new Worker(program, { eval: true, execArgv: [], env: {}, name: NAME })
    worker.on('message', message)
    worker.on('messageerror', lost)
    worker.on('error', lost)
    worker.on('exit', (code) => lost(new Error(`the worker ended with code ${code}`)))
    return {
      post: (data, transfer = []) => worker.postMessage(data, /** @type {ArrayBuffer[]} */ (transfer)),
      hold: (held) => (held ? worker.ref() : worker.unref()),
      end: () => void worker.terminate()
    }
  }
})

/**
 * The ways to start a worker in this runtime, the best first.
 *
 * @param {string} program
 * @returns {Spawn[]}
 */
export function spawns(program) {
  const { process, Worker, Bun } = /** @type {any} */ (globalThis)
  // Deno too: only these workers let its process end while they are idle.
  const hasThreads = process?.versions?.node !== undefined && !Bun
  if (hasThreads) return [fromText(program)]
  return typeof Worker === 'function' && typeof URL.createObjectURL === 'function' ? [fromBlob(program)] : []
}

/** The number of processors available for workers. */
export function processors() {
  const { process, navigator } = /** @type {any} */ (globalThis)
  return process?.getBuiltinModule?.('node:os').availableParallelism() ?? navigator?.hardwareConcurrency ?? 1
}
