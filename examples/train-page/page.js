// The page: asks the worker to train, and shows each step.
import { drawCurve, drawGraph } from './pictures.js'

/** @typedef {import('./worker.js').Report} Report */

/** @param {string} id @returns {any} */
const element = (id) => document.getElementById(id)
const [select, canvas, result] = ['graph', 'picture', 'result'].map(element)
const worker = new Worker(new URL('worker.js', import.meta.url), { type: 'module' })
const dark = matchMedia('(prefers-color-scheme: dark)')

const CAPTIONS = {
  karate: 'Rings mark the members whose community is given. Hollow members are taken for another community.',
  blocks:
    'Each disk is a block, whose labels are given in its middle. A dot of another color is a node taken for another block.'
}

/** The latest run; reports of runs before it are ignored. */
let run = 0
/** @type {Extract<Report, { kind: 'graph' }> | undefined} */
let graph
/** @type {Uint8Array | undefined} */
let predicted
/** @type {number[]} */
let losses = []
/** @type {number[]} */
let shares = []
let isPlanned = false

/** Draws at most once a frame. */
function plan() {
  if (isPlanned) return
  isPlanned = true
  requestAnimationFrame(() => {
    isPlanned = false
    draw()
  })
}

function draw() {
  if (graph === undefined) return
  drawGraph(canvas, graph, predicted)
  drawCurve(element('losses'), losses, { steps: graph.steps, most: Math.max(...losses, 0) })
  drawCurve(element('shares'), shares, { steps: graph.steps, most: 1 })
}

/** @param {Report} report */
function show(report) {
  if (report.run !== run) return
  if (report.kind === 'graph') {
    graph = report
    element('caption').textContent = CAPTIONS[report.name]
  } else if (report.kind === 'step') {
    const { loss, right, total } = report
    predicted = report.predicted
    losses.push(loss)
    shares.push(right / total)
    element('loss').textContent = loss.toFixed(3)
    element('right').textContent = `${right.toLocaleString('en')} of ${total.toLocaleString('en')}`
  } else if (report.kind === 'end') {
    const text = `${element('right').textContent} found after ${losses.length} steps`
    result.textContent = `${text}, ${report.seconds.toFixed(1)} s of training (${report.simd})`
    canvas.setAttribute('aria-label', `The graph: ${text}`)
  } else {
    result.textContent = report.message
  }
  plan()
}

function start() {
  run++
  graph = predicted = undefined
  losses = []
  shares = []
  for (const id of ['loss', 'right', 'result']) element(id).textContent = ''
  worker.postMessage({ name: select.value, run }, [])
}

worker.addEventListener('message', ({ data }) => show(data))
worker.addEventListener('error', ({ message }) => (result.textContent = message))
select.addEventListener('change', start)
document.querySelector('form')?.addEventListener('submit', (event) => {
  event.preventDefault()
  start()
})
for (const [target, type] of /** @type {[EventTarget, string][]} */ ([
  [globalThis, 'resize'],
  [dark, 'change']
])) {
  target.addEventListener(type, plan)
}
start()
