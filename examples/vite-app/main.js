// Draws what words look at as they are typed. No configuration of Vite is needed: the WebAssembly is in the package's JavaScript.
import { MultiHeadAttention, backend, createTensor, init } from '@ruvector/attention'
import { attentionHeatmap } from '@ruvector/attention/plot'

const size = 16
await init()
// Not trained: what it looks at has no meaning.
const layer = new MultiHeadAttention({ numHeads: 1, headDim: size, seed: 7 })

/** Numbers that a word alone decides. @param {string} word */
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
  // On a worker that the package starts: the page stays free.
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
