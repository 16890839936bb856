// Draws the attention between words as you type. Vite needs no configuration: the WebAssembly is in the package's
// JavaScript.
import { MultiHeadAttention, backend, createTensor, init } from '@ruvector/attention'
import { attentionHeatmap } from '@ruvector/attention/plot'

const size = 16
await init()
// The layer is not trained, so its weights carry no meaning.
const layer = new MultiHeadAttention({ numHeads: 1, headDim: size, seed: 7 })

/** Deterministic features of a word. @param {string} word */
const embed = (word) =>
  Array.from(
    { length: size },
    (_, at) => 2 * Math.sin([...word].reduce((sum, c) => sum * 31 + c.charCodeAt(0), at) % 1e6)
  )

const input = /** @type {HTMLInputElement} */ (document.querySelector('#words'))
const place = /** @type {Element} */ (document.querySelector('#picture'))
const result = /** @type {Element} */ (document.querySelector('#result'))

async function draw() {
  const words = input.value.trim().split(/\s+/)
  const x = createTensor(words.flatMap(embed), [1, words.length, size])
  // Runs on a worker that the package starts, so the page stays responsive.
  const { weights } = await layer.forwardAsync(x, x, x, { weights: true })
  if (weights) {
    const drawn = { data: weights.data, shape: [words.length, words.length] }
    place.innerHTML = attentionHeatmap(drawn, { queryLabels: words, keyLabels: words })
  }
  const { kind, simd, threads } = backend()
  result.textContent = `${words.length} words on ${kind} (${simd}, ${threads > 1 ? 'workers' : 'no workers'})`
}

input.addEventListener('input', draw)
await draw()
