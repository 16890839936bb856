// Runs the first attention layer of a real language model on a real sentence, on both backends. Prints times,
// differences from PyTorch, and the target of each head's attention. Draws output/minilm-heads.svg. Exits with an error
// if a backend is missing or wrong.
import { mkdirSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { loadBackend } from '@ruvector/attention'
import { attentionHeatmapText } from '@ruvector/attention/plot'
import { describeHeads, headInWords } from './describe-heads.js'
import { input, largestDifference, loadLayer } from './layer0.js'
import { drawHeads } from './picture.js'

const tolerance = 2e-5
const runs = 200

/** @param {() => unknown} task */
function medianMilliseconds(task) {
  for (let i = 0; i < 50; i++) task()
  const times = Array.from({ length: runs }, () => {
    const start = performance.now()
    task()
    return performance.now() - start
  })
  return times.sort((a, b) => a - b)[runs / 2]
}

/** @param {'native' | 'wasm'} kind */
async function measure(kind) {
  const attention = await loadBackend(kind)
  const { layer, hidden, reference } = loadLayer(attention)
  try {
    const { output, weights } = layer.forward(hidden, { weights: true })
    if (weights === undefined) throw new Error('the layer returned no weights')
    const difference = Math.max(
      largestDifference(output, reference.output),
      largestDifference(weights, reference.weights)
    )
    return { ...attention.backend(), difference, time: medianMilliseconds(() => layer.forward(hidden)), weights }
  } finally {
    layer.dispose()
  }
}

/** @param {number} milliseconds */
const duration = (milliseconds) =>
  milliseconds < 1 ? `${(milliseconds * 1000).toFixed(0)} µs` : `${milliseconds.toFixed(2)} ms`

const { sentence, tokens } = input
console.log(`all-MiniLM-L6-v2, layer 0: self-attention with 12 heads of size 32 over ${tokens.length} tokens`)
console.log(`“${sentence}”\n`)
console.log(`backend  SIMD          threads  median of ${runs} runs  largest difference from PyTorch`)

/** @type {Awaited<ReturnType<typeof measure>>[]} */
const results = []
const problems = []
for (const kind of /** @type {const} */ (['native', 'wasm'])) {
  try {
    const result = await measure(kind)
    results.push(result)
    const columns = [
      result.kind.padEnd(8),
      result.simd.padEnd(13),
      String(result.threads).padEnd(8),
      duration(result.time).padEnd(18)
    ]
    console.log([...columns, result.difference.toExponential(1)].join(' '))
    if (!(result.difference <= tolerance)) problems.push(`${kind} differs from PyTorch by more than ${tolerance}`)
  } catch (error) {
    problems.push(`${kind}: ${error instanceof Error ? error.message : error}`)
  }
}

if (results.length > 0) {
  const { weights } = results[0]
  const descriptions = describeHeads(weights, tokens)
  // The strongest pair of words in a head without a clear habit.
  const free = descriptions.filter(({ share }) => share < 0.25)
  const sharpest = free.reduce((best, other) => (other.pairs[0].weight > best.pairs[0].weight ? other : best))
  console.log('\nWhat each head attends to:')
  for (const description of descriptions) console.log(`  ${headInWords(description, tokens)}`)
  console.log(`\nHead ${sharpest.head}, one row per query token:`)
  const { head } = sharpest
  console.log(attentionHeatmapText(weights, { head, queryLabels: tokens, keyLabels: tokens }))

  const folder = new URL('../../output/', import.meta.url)
  const file = new URL('minilm-heads.svg', folder)
  mkdirSync(folder, { recursive: true })
  writeFileSync(file, drawHeads(weights, descriptions, input))
  console.log(`\nAll heads: ${fileURLToPath(file)}`)
}

for (const problem of problems) console.error(problem)
if (problems.length > 0) process.exitCode = 1
