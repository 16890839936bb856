// The page's worker: loads the backend and the model, runs one request at a time, and draws.

import * as attention from '@ruvector/attention/external'
import { compute } from './compute.ts'
import type { Computed, Task } from './compute.ts'
import { measure } from './measure.ts'
import { loadModel } from './model.ts'
import { draw } from './pictures.ts'
import type { FromWorker, Result, ToWorker, View } from './protocol.ts'
import { HEADS } from './settings.ts'

const say = (message: FromWorker, transfer: Transferable[] = []) => self.postMessage(message, { transfer })

const loading = load()
let last: { id: number; computed: Computed } | undefined
let running: { id: number; controller: AbortController; ended: Promise<void> } | undefined

async function load() {
  await attention.init()
  const model = await loadModel((fraction) => say({ type: 'progress', id: 0, fraction, doing: '' }))
  say({ type: 'ready', backend: attention.backend().simd })
  return model
}

self.addEventListener('message', ({ data }: MessageEvent<ToWorker>) => {
  if (data.type === 'cancel') cancel(data.id)
  else if (data.type === 'draw') redraw(data.id, data.view)
  else begin(data)
})

function cancel(id: number) {
  if (running?.id === id) running.controller.abort()
}

function redraw(id: number, view: View) {
  if (last?.id === id) say({ type: 'pictures', id, pictures: draw(last.computed, fitting(last.computed, view)) })
}

/** A new run replaces the current one. */
function begin(message: Extract<ToWorker, { type: 'run' | 'measure' }>) {
  const earlier = running
  const controller = new AbortController()
  earlier?.controller.abort()
  const ended = Promise.resolve(earlier?.ended).then(() => settle(message, controller))
  running = { id: message.id, controller, ended }
}

async function settle(message: Extract<ToWorker, { type: 'run' | 'measure' }>, { signal }: AbortController) {
  const { id, settings } = message
  const task: Task = { signal, report: (fraction, doing) => say({ type: 'progress', id, fraction, doing }) }
  try {
    const model = await loading
    signal.throwIfAborted()
    if (message.type === 'measure') {
      say({ type: 'timings', id, timings: await measure(model, settings, task) })
      return
    }
    const computed = await compute(attention, model, settings, task)
    last = { id, computed }
    const result = resultOf(computed, message.view, model.positions)
    say({ type: 'result', id, result })
  } catch (error) {
    if (signal.aborted) say({ type: 'cancelled', id })
    else say({ type: 'failed', id, message: error instanceof Error ? error.message : String(error) })
  }
}

/**
 * The view with an existing token: initially a pronoun, whose attention is the most interesting, else the first word.
 */
function fitting({ input: { names }, rowCount }: Computed, view: View) {
  const { token = Math.max(names.indexOf('it'), 1) } = view
  return { ...view, token: Math.min(token, rowCount - 1) }
}

function resultOf(computed: Computed, view: View, positions: number): Result {
  const { input, rows, rowCount, facts, panels, settings } = computed
  const isMean = panels.length === 0
  const seen = fitting(computed, view)
  return {
    tokens: [...input.names],
    token: seen.token,
    rowCount,
    rows,
    rowsAre: settings.mechanism === 'hyperbolic' ? '' : isMean ? `mean of ${HEADS} heads` : nameHeads(panels),
    facts,
    notes: notesOf(computed, positions),
    pictures: draw(computed, seen)
  }
}

const nameHeads = (panels: readonly number[]) =>
  panels.length === 1 ? `head ${panels[0]}` : `mean of ${panels.length} heads`

function notesOf({ input, left, settings }: Computed, positions: number) {
  const { names } = input
  const pieces = names.some((name) => name.startsWith('##'))
  return [
    pieces && 'Words without an embedding in this page are split into pieces; ## marks the continuation of a word.',
    names.includes('[UNK]') && '[UNK] replaces unknown characters.',
    left > 0 && `The text was cut off after the maximum length; ${left} tokens are omitted.`,
    settings.length > positions && `The model has ${positions} positions; longer texts start again at the first.`
  ].filter((note): note is string => note !== false)
}
