// Attention in a page without a bundler: short calls run on the page itself, long ones in a module worker. On your own
// site, use paths of the installed package, such as /node_modules/@ruvector/attention/lib/entries/browser.js.
import { backend, createTensor, init, scaledDotProductAttention } from '../../lib/entries/browser.js'
import { attentionHeatmap } from '../../lib/plot/index.js'

const tokens = ['a', 'wolf', 'met', 'a', 'fox']

/** @param {string} id @param {string} text */
function show(id, text) {
  const place = document.getElementById(id)
  if (place) place.textContent = text
}

/** @param {unknown} error */
const reason = (error) => (error instanceof Error ? error.message : String(error))

async function onThePage() {
  await init()
  const x = createTensor(
    Array.from({ length: tokens.length * 8 }, (_, index) => 2 * Math.sin(index * index)),
    [1, tokens.length, 8]
  )
  const { output, weights } = scaledDotProductAttention(x, x, x, { causal: true, weights: true })
  const picture = document.getElementById('picture')
  if (weights && picture) {
    const { data } = weights
    const drawn = { data, shape: [tokens.length, tokens.length] }
    picture.innerHTML = attentionHeatmap(drawn, { queryLabels: tokens, keyLabels: tokens })
  }
  return `${output.shape.join(' × ')} on ${backend().simd}`
}

function inAWorker() {
  const worker = new Worker(new URL('worker.js', import.meta.url), { type: 'module' })
  return new Promise((resolve, reject) => {
    worker.addEventListener('message', ({ data: { shape, milliseconds } }) =>
      resolve(`${shape.join(' × ')} in ${milliseconds.toFixed(0)} ms`)
    )
    worker.addEventListener('error', ({ message }) => reject(new Error(message || 'it did not load')))
    worker.postMessage({ length: 512 }, [])
  })
}

onThePage()
  .catch(reason)
  .then((text) => show('page', text))
inAWorker()
  .catch(reason)
  .then((text) => show('worker', text))
