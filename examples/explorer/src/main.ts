// The page: sends settings to the worker when they change, and shows its answers.

import { Address } from './address.ts'
import { Client } from './client.ts'
import { Form } from './form.ts'
import type { FromWorker, View } from './protocol.ts'
import { Results } from './results.ts'
import { followTheme, paper } from './theme.ts'

/** Delay in milliseconds before the worker is asked, so that typing sends one request. */
const PAUSE = 180
/** Work shorter than this many milliseconds shows no progress bar. */
const UNNOTICED = 250

const status = document.getElementById('status') as HTMLElement
const progress = document.getElementById('progress') as HTMLProgressElement
const cancel = document.getElementById('cancel') as HTMLButtonElement
const measure = document.getElementById('measure') as HTMLButtonElement

const form = new Form(document.getElementById('settings') as HTMLFormElement)
const address = new Address(form.element)
const results = new Results(() => {
  address.write(results.picked)
  client.draw(view())
})
const client = new Client(hear)
let waiting: ReturnType<typeof setTimeout> | undefined
let slow: ReturnType<typeof setTimeout> | undefined
/** Description of the current work. */
let doing = ''
let isLoaded = false

const view = (): View => ({ theme: paper(), width: results.width, token: results.picked })

function ask() {
  clearTimeout(waiting)
  waiting = undefined
  address.write(results.picked)
  client.run(form.read(), view())
  begin(isLoaded ? 'Computing' : 'Loading the layer and the embeddings')
}

function askSoon() {
  clearTimeout(waiting)
  document.body.toggleAttribute('data-busy', true)
  waiting = setTimeout(ask, PAUSE)
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
  if (document.activeElement === cancel) document.getElementById('results')?.focus({ preventScroll: true })
  status.textContent = said
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
    case 'result': {
      results.show(message.result)
      const [time] = message.result.facts
      const notice = form.takeNotice()
      return end(
        `${notice ? `${notice} ` : ''}${message.result.tokens.length.toLocaleString('en')} tokens in ${time.value}.`
      )
    }
    case 'pictures':
      return results.showPictures(message.pictures)
    case 'timings':
      results.showTimings(message.timings)
      return end('All backends have been timed.')
    case 'cancelled':
      return end(results.hasResult ? 'Cancelled. The previous results are shown.' : 'Cancelled.')
    case 'failed':
      return end(`Failed: ${message.message}`)
  }
}

form.element.addEventListener('input', askSoon)
form.element.addEventListener('change', askSoon)
cancel.addEventListener('click', () => {
  clearTimeout(waiting)
  waiting = undefined
  client.cancel()
})
measure.addEventListener('click', () => {
  client.measure(form.read())
  begin('Timing')
})
followTheme(document.getElementById('theme') as HTMLElement, () => client.draw(view()))

let drawnWidth = results.width
new ResizeObserver(() => {
  if (Math.abs(results.width - drawnWidth) < 40) return
  drawnWidth = results.width
  client.draw(view())
}).observe(document.getElementById('pictures') as HTMLElement)

/** Applies an address that somebody shared or edited. */
function readAddress() {
  const { isEmpty, token } = address.read()
  results.picked = token
  form.update()
  return isEmpty
}
window.addEventListener('hashchange', () => {
  readAddress()
  ask()
})
// Twelve panels are too long for a phone.
if (readAddress() && innerWidth < 600) form.choose('heads', 'mean')
ask()

if (import.meta.env.PROD && 'serviceWorker' in navigator) {
  // Without it, the page still works, but needs a network when it is opened again.
  navigator.serviceWorker.register('./offline.js').catch(() => {})
}
