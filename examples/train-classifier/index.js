// Trains a classifier of topics on the vectors of all-MiniLM-L6-v2: a linear layer on 48 sentences, tested on 16
// others. Exits with an error if a backend is missing, or if it finds fewer than 15 of the 16 topics.
import { readFileSync } from 'node:fs'
import { loadModel } from '@ruvector/attention/models'
import { loadBackend } from '@ruvector/attention/training'
import { fetchModel, modelFolder } from '../../tools/model.mjs'

const STEPS = 60
const lines = readFileSync(new URL('sentences.txt', import.meta.url), 'utf8')
  .trim()
  .split('\n')
const examples = lines.map((line) => line.split('\t'))
const topics = [...new Set(examples.map(([topic]) => topic))]
/** Every fourth sentence is held back. */
const isHeldBack = (/** @type {unknown} */ _, /** @type {number} */ at) => at % 4 === 3
const test = examples.filter(isHeldBack)
const training = examples.filter((example) => !test.includes(example))
/** @param {string[][]} set */
const classesOf = (set) => set.map(([topic]) => topics.indexOf(topic))
/** @param {string[][]} set */
const textsOf = (set) => set.map(([, text]) => text)

/**
 * The class with the largest logit in each row.
 *
 * @param {import('@ruvector/attention').Tensor} logits
 */
function predictions({ data, shape: [rows, classes] }) {
  return Array.from({ length: rows }, (_, row) => {
    const scores = data.subarray(row * classes, (row + 1) * classes)
    return scores.indexOf(Math.max(...scores))
  })
}

/**
 * Trains a head, and returns the losses of all steps and the predictions for the test sentences.
 *
 * @param {import('@ruvector/attention/training').Attention} attention
 */
async function train(attention) {
  const { AdamW, Linear, crossEntropy, linearSchedule, vjp } = attention
  const model = await loadModel(modelFolder, { attention })
  const [x, held] = [await model.embed(textsOf(training)), await model.embed(textsOf(test))]
  model.dispose()
  const head = new Linear({ inFeatures: x.shape[1], outFeatures: topics.length })
  const optimizer = new AdamW(head)
  const factor = linearSchedule({ steps: STEPS, warmup: 5 })
  const losses = []
  for (let step = 0; step < STEPS; step++) {
    optimizer.learningRate = 0.05 * factor(step)
    const pass = vjp(head, x)
    const { value, gradient } = crossEntropy(pass.output, classesOf(training))
    losses.push(value)
    optimizer.step(pass.backward(gradient).parameters)
  }
  const found = predictions(head.forward(held))
  head.dispose()
  return { losses, found }
}

/** Draws losses, the largest one as a full block. @param {number[]} losses */
const curve = (losses) => losses.map((loss) => ' ▁▂▃▄▅▆▇█'[Math.round((8 * loss) / Math.max(...losses))]).join('')

await fetchModel()
console.log(`${training.length} sentences about ${topics.join(', ')}; ${test.length} others to test\n`)
const wanted = classesOf(test)
for (const kind of /** @type {const} */ (['native', 'wasm'])) {
  try {
    const { losses, found } = await train(await loadBackend(kind))
    const right = found.filter((topic, at) => topic === wanted[at]).length
    console.log(`${kind}: loss ${curve(losses)} ${losses.at(-1)?.toFixed(3)}, ${right} of ${test.length} right`)
    found.forEach((topic, at) => {
      if (topic !== wanted[at]) console.log(`  taken for ${topics[topic]}: ${test[at][1]}`)
    })
    if (right < test.length - 1) process.exitCode = 1
  } catch (error) {
    console.error(`${kind}: ${error instanceof Error ? error.message : error}`)
    process.exitCode = 1
  }
}
