// Multi-head attention on the page, and a batch of calls in a worker that keeps the page free.
import { AttentionConfig, createTensor, ruVector } from '../../lib/entries/compat-browser.js'
import { attentionHeatmap } from '../../lib/plot/index.js'

const [batch, length, modelDim] = [2, 10, 512]

/** @param {string} id */
const place = (id) => /** @type {HTMLElement} */ (document.getElementById(id))

async function onThePage() {
  await ruVector.init()
  const config = new AttentionConfig(8, 64)
  config.set_dropout(0.1) // applies while the layer trains
  const attention = ruVector.createMultiHead(config)
  place('parameters').textContent = attention.num_parameters().toLocaleString('en')

  const random = () =>
    createTensor(
      Array.from({ length: batch * length * modelDim }, () => Math.random()),
      [batch, length, modelDim]
    ).data
  const { output, weights, metadata } = attention.forward(
    random(),
    random(),
    random(),
    [batch, length, length, modelDim],
    'causal'
  )
  const sample = Array.from(output.slice(0, 4), (value) => value.toFixed(3)).join(', ')
  place('output').textContent = `${batch} × ${length} × ${modelDim}: ${sample}, …`
  place('time').textContent = `${metadata?.computeTime.toFixed(1)} ms`
  const { total } = ruVector.getMemoryUsage()
  place('memory').textContent =
    `${metadata?.memoryUsed.toLocaleString('en')} bytes for the call, ${(total / 2 ** 20).toFixed(1)} MB in all`
  place('weights').innerHTML = attentionHeatmap({ data: weights.slice(0, length * length), shape: [length, length] })
}

function inAWorker() {
  const worker = new Worker(new URL('worker.js', import.meta.url), { type: 'module' })
  worker.addEventListener('message', ({ data: { progress, calls, milliseconds, error } }) => {
    if (progress !== undefined) /** @type {HTMLProgressElement} */ (place('progress')).value = progress
    if (calls !== undefined) place('worker').textContent = `${calls} calls in ${milliseconds.toFixed(0)} ms`
    if (error !== undefined) place('worker').textContent = error
  })
  worker.addEventListener('error', ({ message }) => {
    place('worker').textContent = message || 'the worker did not load'
  })
  worker.postMessage({ calls: 16 }, [])
}

onThePage().catch((error) => {
  place('output').textContent = error.message
})
inAWorker()
