// The example on the first layer of all-MiniLM-L6-v2: PyTorch's numbers on both backends, and a well-formed picture.
import test from 'ava'
import { describeHeads, headInWords } from '../../examples/minilm-heads/describe-heads.js'
import { input, loadLayer } from '../../examples/minilm-heads/layer0.js'
import { drawHeads } from '../../examples/minilm-heads/picture.js'
import { onBothBackends } from '../support/backends.js'
import { difference, readTensors } from '../support/golden.js'
import { readXml } from '../support/xml.js'

const { sentence, tokens } = input
const file = new URL('../../examples/minilm-heads/layer0.safetensors', import.meta.url)
const weights = readTensors(file).tensors['reference.weights']

onBothBackends((kind, attention) => {
  test(`${kind}: the layer gives PyTorch's output and weights to 2e-5`, (t) => {
    const { layer, hidden, reference } = loadLayer(attention)
    const result = layer.forward(hidden, { weights: true })
    t.is(difference(result.output, reference.output, { absolute: 2e-5 }), undefined)
    t.is(difference(result.weights, reference.weights, { absolute: 2e-5 }), undefined)
    t.is(layer.numParameters, 4 * (384 * 384 + 384))
    layer.dispose()
  })

  test(`${kind}: tokens beyond kvLengths do not affect those before them`, (t) => {
    const { layer, hidden, reference } = loadLayer(attention)
    const padded = { data: new Float32Array(20 * 384).fill(7), shape: [1, 20, 384] }
    padded.data.set(hidden.data)
    const { output } = layer.forward(padded, { kvLengths: Int32Array.of(16) })
    const kept = { data: output.data.subarray(0, 16 * 384), shape: [1, 16, 384] }
    t.is(difference(kept, reference.output, { absolute: 2e-5 }), undefined)
    layer.dispose()
  })
})

test('the description of each head agrees with its weights', (t) => {
  const heads = describeHeads(weights, tokens)
  t.is(heads.length, 12)
  t.is(
    headInWords(heads[2], tokens),
    'head  2: almost only at the previous word (93 %); did → trophy 100 %, not → did 100 %, in → fit 100 %'
  )
  t.true(headInWords(heads[6], tokens).includes('it → suitcase 43 %'))
  t.regex(heads[8].habit, /another copy of the same word/)
  for (const { head, pairs } of heads) {
    for (const { query, key, weight } of pairs) {
      t.is(weight, weights.data[(head * 16 + query) * 16 + key])
      t.false(['[CLS]', '[SEP]', '.'].some((mark) => tokens[query] === mark || tokens[key] === mark))
    }
  }
})

test('a head that attends to a single token is distinguished from one that attends evenly', (t) => {
  const words = ['[CLS]', 'a', 'b', 'c', '[SEP]']
  const data = new Float32Array(2 * 25).fill(0.2)
  for (let i = 0; i < 5; i++) for (let j = 0; j < 5; j++) data[i * 5 + j] = j === 4 ? 1 : 0
  const [one, all] = describeHeads({ data, shape: [1, 2, 5, 5] }, words)
  t.is(one.habit, 'almost only at [SEP] (100 %)')
  t.regex(all.habit, /^over ~5 of 5 tokens/)
})

test('the picture is well-formed and contains every label', (t) => {
  const { elements, texts } = readXml(drawHeads(weights, describeHeads(weights, tokens), input))
  t.is(elements.get('svg'), 1)
  t.true(texts.some((text) => text.includes(sentence)))
  for (let head = 0; head < 12; head++) t.true(texts.includes(`Head ${head}`))
  const times = (/** @type {string} */ label) => texts.filter((text) => text === label).length
  // One row and one column label in each of twelve panels; "the" occurs twice in the sentence.
  for (const token of new Set(tokens)) t.is(times(token), 12 * 2 * (token === 'the' ? 2 : 1), token)
})
