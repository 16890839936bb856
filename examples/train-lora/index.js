// Trains low-rank adapters of all-MiniLM-L6-v2 to find sentences by mistyped queries. The vectors of the sentences stay
// as they are: only queries go through the adapters. A quarter of the sentences is held back, and their queries are
// never trained on. Prints how many queries find their sentence first, before and after. Exits with an error if fewer
// than 1.3 times as many do.
//   npm run example -- train-lora [native | wasm]
import { loadModel } from '@ruvector/attention/models'
import { loadBackend } from '@ruvector/attention/training'
import { fetchModel, modelFolder } from '../../tools/model.mjs'
import { queriesOf, sentences } from './pairs.js'

/** @typedef {import('@ruvector/attention').Tensor} Tensor */

const [EPOCHS, BATCHES, RATE] = [6, 6, 1e-3]
const LORA = { rank: 8, alpha: 16, targets: /** @type {const} */ (['query', 'key', 'value', 'output', 'up', 'down']) }
/** The seed of the queries that measure; training has others. */
const UNSEEN = 0

const [kind = 'native'] = process.argv.slice(2)
await fetchModel()
const attention = await loadBackend(/** @type {import('@ruvector/attention').BackendKind} */ (kind))
const { AdamW, addLora, infoNce, linearSchedule, meanPool, topK, vjp } = attention
const model = await loadModel(modelFolder, { attention })
const vectors = await model.embed(sentences)

/**
 * Rows of a matrix.
 *
 * @param {Tensor} matrix
 * @param {readonly number[]} rows
 */
function rowsOf({ data, shape: [, size] }, rows) {
  const chosen = new Float32Array(rows.length * size)
  rows.forEach((row, at) => chosen.set(data.subarray(row * size, (row + 1) * size), at * size))
  return { data: chosen, shape: [rows.length, size] }
}

/**
 * The number of queries whose own sentence is the first of all.
 *
 * @param {readonly number[]} wanted  sentences
 */
async function countFound(wanted) {
  const queries = queriesOf(UNSEEN)
  const { indices } = topK(await model.embed(wanted.map((sentence) => queries[sentence])), vectors, 1)
  return wanted.filter((sentence, at) => indices.data[at] === sentence).length
}

/**
 * Runs queries through all layers. Returns their vectors, and the function that returns the gradients of the layers.
 *
 * @param {readonly string[]} queries
 */
async function encode(queries) {
  const tokens = queries.map((query) => model.tokenize(query).ids)
  const cuSeqlens = new Int32Array(tokens.length + 1)
  tokens.forEach((ids, at) => (cuSeqlens[at + 1] = cuSeqlens[at] + ids.length))
  const ids = tokens.flatMap((own) => [...own])
  // The embeddings are frozen, so they need no gradients.
  let hidden = model.embeddings.forward(ids, { cuSeqlens })
  const { shape } = hidden
  const passes = model.layers.map((layer) => {
    const pass = vjp(layer, hidden, { cuSeqlens })
    hidden = pass.output
    return pass
  })
  const pooled = vjp(meanPool, { data: hidden.data, shape: shape.slice(1) }, { cuSeqlens })

  /** @param {Tensor} gradient */
  function backward(gradient) {
    let upper = { ...pooled.backward(gradient).inputs.x, shape }
    return passes.reduceRight((/** @type {Record<string, Tensor>[]} */ all, pass) => {
      const { inputs, parameters } = pass.backward(upper)
      upper = /** @type {any} */ (inputs.x)
      return [parameters, ...all]
    }, [])
  }
  return { vectors: pooled.output, backward }
}

/** The sentences to train on, and those held back. */
const numbers = sentences.map((_, sentence) => sentence)
const training = numbers.filter((sentence) => sentence % 4 !== 3)
const held = numbers.filter((sentence) => sentence % 4 === 3)
const before = [await countFound(training), await countFound(held)]
console.log(`${sentences.length} sentences, ${held.length} of them held back; a query: “${queriesOf(UNSEEN)[0]}”\n`)

for (const [index, layer] of model.layers.entries()) addLora(layer, { ...LORA, seed: 100 * index })
const optimizer = new AdamW(model.layers)
const factor = linearSchedule({ steps: EPOCHS * BATCHES, warmup: 4 })
const start = performance.now()
let step = 0
for (let epoch = 1; epoch <= EPOCHS; epoch++) {
  const queries = queriesOf(epoch)
  let sum = 0
  for (let batch = 0; batch < BATCHES; batch++) {
    const chosen = training.filter((_, at) => at % BATCHES === batch)
    const { vectors: found, backward } = await encode(chosen.map((sentence) => queries[sentence]))
    const { value, gradients } = infoNce(found, rowsOf(vectors, chosen))
    sum += value
    optimizer.learningRate = RATE * factor(step++)
    optimizer.step(backward(gradients[0]))
  }
  console.log(`epoch ${epoch} of ${EPOCHS}: loss ${(sum / BATCHES).toFixed(3)}`)
}
const seconds = (performance.now() - start) / 1000
const after = [await countFound(training), await countFound(held)]
const adapters = model.layers.flatMap((layer) => Object.values(layer.stateDict()))
const count = adapters.reduce((all, { data }) => all + data.length, 0)
model.dispose()

console.log(`\n${step} steps of ${count.toLocaleString('en')} parameters in ${seconds.toFixed(0)} s on ${kind}`)
console.log('queries that find their sentence first:  before  after')
for (const [at, name] of [
  `${training.length} of the sentences trained on`,
  `${held.length} of those held back`
].entries()) {
  console.log(`  ${name.padEnd(37)}  ${String(before[at]).padStart(6)}  ${String(after[at]).padStart(5)}`)
}
if (!(after[1] >= 1.3 * before[1])) process.exitCode = 1
