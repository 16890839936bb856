// The page: sends settings to the worker when they change, and shows its answers.

import { Address } from './address.ts'
import { Client } from './client.ts'
import { followCode } from './code-view.ts'
import { byId } from './dom.ts'
import { Form } from './form.ts'
import { HeadMap } from './head-map.ts'
import { Looks } from './looks.ts'
import { ModelPicker } from './model-picker.ts'
import type { FromWorker, Result, Shown, View } from './protocol.ts'
import { Results } from './results.ts'
import { Selection } from './selection.ts'
import { StepView } from './step-view.ts'
import { followTheme, paper } from './theme.ts'
import { Writer } from './writer.ts'

/** Delay in milliseconds before the worker is asked, so that typing sends one request. */
const PAUSE = 180
/** Work shorter than this many milliseconds shows no progress bar. */
const UNNOTICED = 250
/** The head of the whole model that is shown first: “it” looks at the noun that it stands for. */
const PRONOUN = { layer: 3, head: 1 }

const status = byId('status')
const progress = byId<HTMLProgressElement>('progress')
const cancel = byId<HTMLButtonElement>('cancel')

const form = new Form(byId<HTMLFormElement>('settings'))
const address = new Address(form.element)
const selection = new Selection(() => {
  address.write(selection)
  looks.update()
  steps.update()
  client.draw(view())
})
const looks = new Looks(selection)
const steps = new StepView(selection, () => address.write(selection))
const map = new HeadMap({ choose: chooseHead, preview: (preview) => looks.preview(preview) })
const results = new Results(({ panel, query, key }) => {
  selection.pin(query, key)
  // One of several heads becomes the only one.
  if (shown && shown.panels.length > 1) chooseHead(shown.layer, shown.panels[panel])
})
const showCode = followCode()
const picker = new ModelPicker((files) => {
  client.load(files)
  begin('Loading the whole model')
})
const client = new Client(hear)
new Writer()

let waiting: ReturnType<typeof setTimeout> | undefined
let slow: ReturnType<typeof setTimeout> | undefined
/** Description of the current work. */
let doing = ''
let isLoaded = false
let shown: Result | undefined

const view = (): View => ({ theme: paper(), width: results.width, token: selection.token, key: selection.key })

function ask() {
  clearTimeout(waiting)
  waiting = undefined
  address.write(selection)
  client.run(form.read(), view())
  begin(isLoaded ? 'Computing' : 'Loading the layer and the embeddings')
}

function askSoon() {
  clearTimeout(waiting)
  document.body.toggleAttribute('data-busy', true)
  waiting = setTimeout(ask, PAUSE)
}

function chooseHead(layer: number, head: number) {
  form.chooseHead(layer, head)
  ask()
}

function begin(what: string) {
  doing = what
  document.body.toggleAttribute('data-busy', true)
  clearTimeout(slow)
  slow = setTimeout(() => {
    document.body.toggleAttribute('data-slow', true)
    status.textContent = `${what}…`
  }, UNNOTICED)
  progress.value = 0
}

function end(said: string) {
  clearTimeout(slow)
  // Another run may be about to start.
  document.body.toggleAttribute('data-busy', waiting !== undefined)
  document.body.removeAttribute('data-slow')
  // The button disappears, so the focus moves elsewhere.
  if (document.activeElement === cancel) byId('results').focus({ preventScroll: true })
  status.textContent = said
}

function show(result: Result) {
  shown = result
  results.show(result)
  looks.show(result)
  map.show(result)
  steps.show(result, form.read())
  showCode(result.code)
}

function redraw({ pictures, code }: Shown) {
  results.showPictures(pictures)
  showCode(code)
}

function hear(message: FromWorker) {
  switch (message.type) {
    case 'ready':
      isLoaded = true
      progress.value = 0
      return
    case 'progress':
      progress.value = message.fraction
      progress.setAttribute('aria-label', message.doing === '' ? doing : `${doing}: ${message.doing}`)
      return
    case 'model':
      picker.hear(message)
      form.setLayers(message.layers)
      if (form.isAtFirstLayer) form.chooseHead(PRONOUN.layer, PRONOUN.head)
      return ask()
    case 'unloaded':
      picker.hear(message)
      return ask()
    case 'result': {
      show(message.result)
      const [time] = message.result.facts
      const notice = form.takeNotice()
      return end(
        `${notice ? `${notice} ` : ''}${message.result.tokens.length.toLocaleString('en')} tokens in ${time.value}.`
      )
    }
    case 'pictures':
      return redraw(message.shown)
    case 'timings':
      results.showTimings(message.timings)
      return end('All backends have been timed.')
    case 'cancelled':
      return end(results.hasResult ? 'Cancelled. The previous results are shown.' : 'Cancelled.')
    case 'failed':
      return end(`Failed: ${message.message}`)
  }
}

const isTyped = (target: EventTarget | null) =>
  target instanceof HTMLTextAreaElement || (target instanceof HTMLInputElement && target.type === 'number')
for (const area of [form.element, byId('sentence-card')]) {
  area.addEventListener('input', ({ target }) => isTyped(target) && askSoon())
  // A choice is complete at once; a typed value, when its field is left.
  area.addEventListener('change', ({ target }) => (!isTyped(target) || waiting !== undefined) && ask())
}
cancel.addEventListener('click', () => {
  clearTimeout(waiting)
  waiting = undefined
  client.cancel()
})
byId('measure').addEventListener('click', () => {
  client.measure(form.read())
  begin('Timing')
})
followTheme(byId('theme'), () => {
  map.paint()
  client.draw(view())
})

let drawnWidth = results.width
new ResizeObserver(() => {
  if (Math.abs(results.width - drawnWidth) < 40) return
  drawnWidth = results.width
  client.draw(view())
}).observe(byId('pictures'))

/** Applies an address that somebody shared or edited. */
function readAddress() {
  const { token, key } = address.read()
  Object.assign(selection, { token, key })
  form.update()
}
window.addEventListener('hashchange', () => {
  readAddress()
  ask()
})
readAddress()
ask()
// A shared address may name a layer that only the whole model has.
if (!form.isAtFirstLayer) picker.loadServed()

if (import.meta.env.PROD && 'serviceWorker' in navigator) {
  // Without it, the page still works, but needs a network when it is opened again.
  navigator.serviceWorker.register('./offline.js').catch(() => {})
}
