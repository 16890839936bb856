// How a runtime starts a worker: from the text of its program, so that no bundler and no server has to find a file.

/**
 * - `message`: what the worker says.
 * - `lost`: it has ended, or never began.
 *
 * @typedef {{ message: (data: any) => void, lost: (error: Error) => void }} Events
 */
/**
 * A worker. One that is not held does not keep the process alive.
 *
 * @typedef {{ post: (message: any, transfer?: ArrayBufferLike[]) => void, hold: (held: boolean) => void, end: () => void }} Spawned
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
    // Bun knows these, browsers have no process to keep alive.
    hold: (held) => (held ? worker.ref?.() : worker.unref?.()),
    end: () => worker.terminate()
  }
}

/**
 * A module worker of a file.
 *
 * @param {() => Worker} open
 * @returns {Spawn}
 */
export const fromFile = (open) => ({
  candidate: 'workers from a file',
  open: (events) => overEvents(open(), events)
})

/**
 * WebKit refuses at once, and says only that it is insecure; others report it later, as an event.
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
    // Flags of the process, such as one that makes texts modules, are not for this program.
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
 * The ways to start a worker that this runtime has.
 *
 * @param {string} program
 * @returns {Spawn[]}
 */
export function spawns(program) {
  const { process, Worker, Bun } = /** @type {any} */ (globalThis)
  // In Deno as well, where only these workers let the process end while they are idle.
  const hasThreads = process?.versions?.node !== undefined && !Bun
  if (hasThreads) return [fromText(program)]
  return typeof Worker === 'function' && typeof URL.createObjectURL === 'function' ? [fromBlob(program)] : []
}

/** How many workers the machine has processors for. */
export function processors() {
  const { process, navigator } = /** @type {any} */ (globalThis)
  return process?.getBuiltinModule?.('node:os').availableParallelism() ?? navigator?.hardwareConcurrency ?? 1
}
