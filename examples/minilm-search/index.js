// Searches sentences by meaning: embeds 316 facts with all-MiniLM-L6-v2, and answers questions from the command line or
// its own. `npm run example -- minilm-search rising cost of living`
import { readFileSync } from 'node:fs'
import { backend, topK } from '@ruvector/attention'
import { loadModel } from '@ruvector/attention/models'
import { fetchModel, modelFolder } from '../../tools/model.mjs'

const sentences = readFileSync(new URL('sentences.txt', import.meta.url), 'utf8')
  .trim()
  .split('\n')
const given = process.argv.slice(2).join(' ')
const questions = given
  ? [given]
  : [
      'What do plants do with sunlight?',
      'Why do ships not sink?',
      'Who made music without hearing it?',
      'rising cost of living'
    ]

await fetchModel()
const model = await loadModel(modelFolder, { type: 'q8_0' })
const start = performance.now()
const vectors = await model.embed(sentences)
const seconds = (performance.now() - start) / 1000
const { kind, simd } = backend()
console.log(`${sentences.length} sentences embedded in ${seconds.toFixed(2)} s (${kind}, ${simd})`)

// The vectors have length 1, so their product is the cosine of the angle between them.
const count = 3
const { indices, values } = topK(await model.embed(questions), vectors, count)
questions.forEach((question, row) => {
  console.log(`\n${question}`)
  for (let at = row * count; at < (row + 1) * count; at++) {
    console.log(`  ${values.data[at].toFixed(2)}  ${sentences[indices.data[at]]}`)
  }
})
model.dispose()
