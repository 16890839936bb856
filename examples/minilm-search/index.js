// Searches sentences by meaning: embeds 316 facts with all-MiniLM-L6-v2 on each backend, compares the vectors with
// those of transformers, and answers questions from the command line or its own. Exits with an error if a backend is
// missing or wrong.
import { readFileSync } from 'node:fs'
import { loadBackend } from '@ruvector/attention'
import { fetchModel, modelFolder } from '../../tools/model.mjs'
import { loadModel, search } from './model.js'
import { layersInOnnxRuntime } from './onnxruntime.js'

const tolerance = 1e-4
const read = (/** @type {string} */ name) => readFileSync(new URL(name, import.meta.url), 'utf8')
const sentences = read('sentences.txt').trim().split('\n')
/** @type {{ sentences: string[], embeddings: number[][] }} */
const golden = JSON.parse(read('golden.json'))
const questions =
  process.argv.length > 2
    ? [process.argv.slice(2).join(' ')]
    : [
        'What do plants do with sunlight?',
        'Why do ships not sink?',
        'Who made music without hearing it?',
        'rising cost of living'
      ]

/** @param {number[]} values */
const median = (values) => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]

/** The median time of some calls in seconds, after a warm-up. @param {() => unknown} task @param {number} runs */
async function seconds(task, runs) {
  await task()
  const times = []
  for (let run = 0; run < runs; run++) {
    const start = performance.now()
    await task()
    times.push((performance.now() - start) / 1000)
  }
  return median(times)
}

/** The largest difference of the vectors from those of transformers. @param {Float32Array} vectors */
const largestDifference = (vectors) =>
  golden.embeddings.flat().reduce((largest, value, index) => {
    const difference = Math.abs(value - vectors[index])
    return difference <= largest ? largest : difference
  }, 0)

await fetchModel()
console.log(
  `all-MiniLM-L6-v2: ${sentences.length} sentences embedded, and 16 sentences of 32 tokens through the six layers\n`
)
console.log('                                  sentences/s  tokens/s of the layers  difference from transformers')

/** @type {string[]} */
const problems = []
/** @param {string[]} cells */
const row = ([name, ...cells]) =>
  console.log(name.padEnd(34) + cells.map((cell, at) => cell.padEnd([13, 24, 0][at])).join(''))
/** @type {{ question: string, hits: { index: number, score: number }[] }[]} */
let answers = []

for (const kind of /** @type {const} */ (['native', 'wasm'])) {
  try {
    const attention = await loadBackend(kind)
    const model = loadModel(attention, modelFolder)
    const difference = largestDifference(model.embed(golden.sentences).data)
    if (!(difference <= tolerance)) problems.push(`${kind} differs from transformers by more than ${tolerance}`)
    const vectors = model.embed(sentences)
    const found = search(attention, model.embed(questions), vectors, 3)
    answers = questions.map((question, index) => ({ question, hits: found[index] }))

    const whole = await seconds(() => model.embed(sentences), 3)
    const ids = sentences.flatMap((sentence) => model.tokenize(sentence)).slice(0, 16 * 32)
    const x = model.embedTokens(Array.from({ length: 16 }, (_, index) => ids.slice(index * 32, (index + 1) * 32)))
    const layers = await seconds(() => model.encode(x), 9)
    const { simd, threads } = attention.backend()
    const speeds = [(sentences.length / whole).toFixed(0), ((16 * 32) / layers).toFixed(0)]
    row([`${kind} ${simd}, ${threads} ${threads === 1 ? 'thread' : 'threads'}`, ...speeds, difference.toExponential(1)])
    if (kind === 'native') {
      const peer = await layersInOnnxRuntime(x, threads)
      if (typeof peer === 'string') row(['onnxruntime-node', '', peer])
      else {
        row([`onnxruntime-node, ${threads} threads`, '', ((16 * 32) / (await seconds(peer.run, 9))).toFixed(0)])
        await peer.dispose()
      }
    }
    model.dispose()
  } catch (error) {
    problems.push(`${kind}: ${error instanceof Error ? error.message : error}`)
  }
}

for (const { question, hits } of answers) {
  console.log(`\n${question}`)
  for (const { index, score } of hits) console.log(`  ${score.toFixed(2)}  ${sentences[index]}`)
}

for (const problem of problems) console.error(problem)
if (problems.length > 0) process.exitCode = 1
