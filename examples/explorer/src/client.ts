// The page's side of the worker: numbers requests, dispatches answers, and terminates a worker that does not stop.

import type { FromWorker, ToWorker, View } from './protocol.ts'
import type { Settings } from './settings.ts'
import type { Files } from './whole.ts'

/** Maximum time for a worker to confirm that it has stopped, in milliseconds. */
const PATIENCE = 1500

export class Client {
  #worker: Worker
  #id = 0
  /** The current run or measurement. */
  #busy: number | undefined
  /** The run whose result is shown. */
  #shown = 0
  #hear
  #timer: ReturnType<typeof setTimeout> | undefined
  /** The files of the whole model, for a new worker. */
  #files: Files | string | undefined

  constructor(hear: (message: FromWorker) => void) {
    this.#hear = hear
    this.#worker = this.#open()
  }

  get isBusy() {
    return this.#busy !== undefined
  }

  #open() {
    const worker = new Worker(new URL('./worker.ts', import.meta.url), { type: 'module', name: 'explorer' })
    worker.addEventListener('message', ({ data }: MessageEvent<FromWorker>) => this.#receive(data))
    worker.addEventListener('error', (event) => {
      const message = event.message || 'the worker could not be started'
      this.#receive({ type: 'failed', id: this.#busy ?? 0, message })
    })
    return worker
  }

  run(settings: Settings, view: View) {
    this.#ask({ type: 'run', id: ++this.#id, settings, view })
  }

  measure(settings: Settings) {
    this.#ask({ type: 'measure', id: ++this.#id, settings })
  }

  /** Loads the whole model, which answers all later requests. */
  load(files: Files | string) {
    this.#files = files
    this.#post({ type: 'load', files })
  }

  /** Redraws the current result. */
  draw(view: View) {
    this.#post({ type: 'draw', id: this.#shown, view })
  }

  #post(message: ToWorker) {
    this.#worker.postMessage(message, [])
  }

  #ask(message: Extract<ToWorker, { type: 'run' | 'measure' }>) {
    clearTimeout(this.#timer)
    this.#busy = message.id
    this.#post(message)
  }

  cancel() {
    const id = this.#busy
    if (id === undefined) return
    this.#post({ type: 'cancel', id })
    this.#timer = setTimeout(() => this.#restart(id), PATIENCE)
  }

  /** If the backend has no workers, a call can only be stopped together with the page's worker. */
  #restart(id: number) {
    if (this.#busy !== id) return
    this.#worker.terminate()
    this.#worker = this.#open()
    if (this.#files !== undefined) this.load(this.#files)
    this.#receive({ type: 'cancelled', id })
  }

  #receive(message: FromWorker) {
    if (!('id' in message)) return this.#hear(message)
    // Ignore messages about requests that were replaced; 0 is the loading.
    const expected = message.type === 'pictures' ? this.#shown : this.#busy
    if (message.id !== expected && !(message.id === 0 && message.type !== 'cancelled')) return
    if (message.type === 'result') this.#shown = message.id
    if (message.type !== 'progress' && message.type !== 'pictures') {
      clearTimeout(this.#timer)
      this.#busy = undefined
    }
    this.#hear(message)
  }
}
