// The page's worker: loads the backend and the model, runs one request at a time, and draws.

import * as attention from '@ruvector/attention/external'
import { loadBuiltIn } from './built-in.ts'
import { codeOf } from './code.ts'
import { compute } from './compute.ts'
import type { Computed, Task } from './compute.ts'
import { measure } from './measure.ts'
import type { Model } from './model.ts'
import { draw } from './pictures.ts'
import type { FromWorker, Result, ToWorker, View } from './protocol.ts'
import { HEADS } from './settings.ts'
import { fetchFiles, loadWhole } from './whole.ts'
import type { Files } from './whole.ts'
import { bytes } from './words.ts'

const say = (message: FromWorker, transfer: Transferable[] = []) => self.postMessage(message, { transfer })

let loading = loadFirst()
let last: { id: number; computed: Computed } | undefined
let running: { id: number; controller: AbortController; ended: Promise<void> } | undefined

const progress = (doing: string) => (fraction: number) => say({ type: 'progress', id: 0, fraction, doing })

async function loadFirst() {
  await attention.init()
  const model = await loadBuiltIn(progress(''))
  say({ type: 'ready', backend: attention.backend().simd })
  return model
}

/** Replaces the model, or keeps it if the files are not those of a model. */
async function replaceModel(given: Files | string) {
  const before = loading
  const after = (async () => {
    await attention.init()
    const files = typeof given === 'string' ? await fetchFiles(given, progress('Fetching')) : given
    return { model: await loadWhole(files, progress('Reading')), size: files['model.safetensors'].size }
  })()
  loading = after.then(
    ({ model }) => model,
    () => before
  )
  try {
    const { model, size } = await after
    say({ type: 'model', layers: model.layers, title: `all ${model.layers} layers, ${bytes(size)}` })
  } catch (error) {
    say({ type: 'unloaded', message: messageOf(error) })
  }
}

const messageOf = (error: unknown) => (error instanceof Error ? error.message : String(error))

self.addEventListener('message', ({ data }: MessageEvent<ToWorker>) => {
  if (data.type === 'cancel') cancel(data.id)
  else if (data.type === 'draw') redraw(data.id, data.view)
  else if (data.type === 'load') void replaceModel(data.files)
  else begin(data)
})

function cancel(id: number) {
  if (running?.id === id) running.controller.abort()
}

function redraw(id: number, view: View) {
  if (last?.id === id) say({ type: 'pictures', id, shown: show(last.computed, fitting(last.computed, view)) })
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
    const maps = await mapsOf(model, settings.text)
    last = { id, computed }
    say({ type: 'result', id, result: { ...resultOf(computed, message.view, model, settings.layer), ...maps } })
  } catch (error) {
    if (signal.aborted) say({ type: 'cancelled', id })
    else say({ type: 'failed', id, message: messageOf(error) })
  }
}

/** The weights of every layer over the sentence, and what they depend on. */
async function mapsOf(model: Model, text: string) {
  const maps = await model.maps(model.tokenize(text).ids)
  return { maps: maps.map(({ data }) => data), mapsOf: `${model.layers}:${text}` }
}

type Fitting = View & { token: number }

/**
 * The view with an existing token: initially a pronoun, whose attention is the most interesting, else the first word.
 */
function fitting({ input: { names }, rowCount }: Computed, view: View): Fitting {
  const { token = Math.max(names.indexOf('it'), 1), key } = view
  return {
    ...view,
    token: Math.min(token, rowCount - 1),
    key: key !== undefined && key < names.length ? key : undefined
  }
}

const show = (computed: Computed, view: Fitting) => ({
  pictures: draw(computed, view),
  code: codeOf(computed, view.token)
})

/** @param wanted  the layer that the reader chose */
function resultOf(computed: Computed, view: View, model: Model, wanted: number): Omit<Result, 'maps' | 'mapsOf'> {
  const { input, rows, rowCount, facts, panels, settings, projections } = computed
  const isMean = panels.length === 0
  const seen = fitting(computed, view)
  return {
    tokens: [...input.names],
    valid: input.valid,
    token: seen.token,
    layer: settings.layer,
    heads: isMean ? Array.from({ length: HEADS }, (_, head) => head) : panels,
    panels,
    rowCount,
    rows,
    rowsAre: settings.mechanism === 'hyperbolic' ? '' : isMean ? `mean of ${HEADS} heads` : nameHeads(panels),
    facts,
    notes: notesOf(computed, model, wanted),
    projections,
    ...show(computed, seen)
  }
}

const nameHeads = (panels: readonly number[]) =>
  panels.length === 1 ? `head ${panels[0]}` : `mean of ${panels.length} heads`

function notesOf({ input, left, settings }: Computed, { isWhole, positions }: Model, wanted: number) {
  const { names } = input
  const pieces = names.some((name) => name.startsWith('##'))
  const isBeyond = settings.length > positions
  return [
    wanted !== settings.layer && `Layer ${wanted} needs the whole model; layer ${settings.layer} is shown.`,
    pieces && !isWhole && 'Words without an embedding in this page are split into pieces; ## continues a word.',
    pieces && isWhole && 'Words that the vocabulary lacks are split into pieces; ## continues a word.',
    names.includes('[UNK]') &&
      (isWhole ? '[UNK] replaces unknown characters.' : '[UNK] replaces characters that only the whole model knows.'),
    left > 0 && `The text was cut off after the maximum length; ${left} tokens are omitted.`,
    isBeyond && !isWhole && `The model has ${positions} positions; longer texts start again at the first.`,
    isBeyond &&
      isWhole &&
      `The model has ${positions} positions; earlier layers process at most that many tokens at a time.`
  ].filter((note): note is string => note !== false)
}
