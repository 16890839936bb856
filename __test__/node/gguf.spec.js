// GGUF files, against the packages gguf, transformers and tokenizers: scripts/golden/ggufs.py.
import { readFileSync } from 'node:fs'
import { fileURLToPath, pathToFileURL } from 'node:url'
import test from 'ava'
import fc from 'fast-check'
import { loadModel, openGguf } from '@ruvector/attention/models'
import { readTokenizer } from '../../lib/models/tokens.js'
import { tokenizerOf } from '../../lib/models/gguf-tokens.js'
import { onBothBackends } from '../support/backends.js'
import { readTensors } from '../support/golden.js'

const root = new URL('../golden/gguf/', import.meta.url)
const pathOf = (/** @type {string} */ name) => fileURLToPath(new URL(name, root))
const bytesOf = (/** @type {string} */ name) => new Uint8Array(readFileSync(pathOf(name)))
const expectedOf = (/** @type {string} */ name) => readTensors(new URL(`${name}.safetensors`, root)).tensors
const { ids } = JSON.parse(readFileSync(new URL('../models/texts.json', root), 'utf8'))
const { texts, ids: tokens } = JSON.parse(readFileSync(pathOf('tokens.json'), 'utf8'))

/** @param {import('ava').ExecutionContext} t @param {() => Promise<unknown>} run */
const rejection = async (t, run) => /** @type {any} */ (await t.throwsAsync(run, { name: 'AttentionError' }))

/**
 * @param {import('ava').ExecutionContext} t
 * @param {{ data: Float32Array }} actual
 * @param {{ data: Float32Array }} expected
 */
function near(t, actual, expected) {
  const largest = expected.data.reduce((most, x) => Math.max(most, Math.abs(x)), 0)
  const error = expected.data.reduce((most, x, index) => Math.max(most, Math.abs(x - actual.data[index])), 0)
  t.true(error <= 1e-4 * largest, `${error} of ${largest}`)
}

/** @param {string} name */
async function opened(name) {
  const file = await openGguf(pathOf(name))
  await file.close()
  return file
}

test('tensors of each type are those of the package gguf, to the bit, from any source', async (t) => {
  const expected = expectedOf('types')
  const bytes = bytesOf('types.gguf')
  const reader = {
    size: bytes.length,
    read: async (/** @type {number} */ at, /** @type {number} */ length) => bytes.slice(at, at + length)
  }
  for (const source of [pathOf('types.gguf'), pathToFileURL(pathOf('types.gguf')), new Blob([bytes]), bytes, reader]) {
    const file = await openGguf(source)
    for (const [name, { data, shape }] of Object.entries(expected)) {
      const tensor = await file.tensor(name)
      t.deepEqual([tensor.shape, file.describe(name).shape, file.describe(name).type], [[...shape], [...shape], name])
      t.deepEqual(new Uint32Array(tensor.data.buffer), new Uint32Array(data.slice().buffer), name)
    }
    await file.close()
    await file.close()
  }
})

test('metadata has its values as numbers, texts, booleans and lists', async (t) => {
  const { metadata, names } = await opened('types.gguf')
  const kinds = Object.entries(metadata).filter(([name]) => name.startsWith('kinds.'))
  t.deepEqual(Object.fromEntries(kinds.map(([name, value]) => [name.slice(6), value])), {
    uint8: 200,
    int8: -100,
    uint16: 60000,
    int16: -30000,
    large: 2n ** 63n + 1n,
    uint64: 2 ** 40,
    int64: -(2 ** 40),
    float64: 0.1,
    bool: true,
    strings: ['a', 'ü', ''],
    integers: [1, -2, 3]
  })
  t.deepEqual(names, ['F32', 'F16', 'BF16', 'Q4_0', 'Q4_1', 'Q8_0', 'Q5_0'])
})

test('what is not a GGUF file, or not readable in it, is an error that says so', async (t) => {
  const bytes = bytesOf('types.gguf')
  const changed = (/** @type {number} */ at, /** @type {number} */ value) => {
    const copy = bytes.slice()
    copy[at] = value
    return copy
  }
  for (const wrong of [
    new Uint8Array(0),
    bytes.slice(0, 3),
    bytes.slice(0, 900),
    bytes.slice(0, -300),
    changed(0, 1),
    changed(4, 9)
  ]) {
    t.is((await rejection(t, () => openGguf(wrong))).code, 'FORMAT')
  }
  t.is((await rejection(t, () => openGguf(/** @type {any} */ (5)))).code, 'DTYPE')
  t.is((await rejection(t, () => openGguf(pathOf('nothing.gguf')))).code, 'FORMAT')
  const file = await openGguf(bytes)
  t.regex((await rejection(t, () => file.tensor('Q5_0'))).message, /Q5_0/)
  t.is(file.describe('Q5_0').bytes, undefined)
  t.regex((await rejection(t, () => file.tensor('Q4_2'))).message, /did you mean/)
  await file.close()
  t.is((await rejection(t, () => file.tensor('F32'))).code, 'DISPOSED')
})

test('a header with any byte changed is read or refused, never more', async (t) => {
  const bytes = bytesOf('types.gguf')
  await fc.assert(
    fc.asyncProperty(fc.nat(1500), fc.nat(255), async (at, value) => {
      const copy = bytes.slice()
      copy[at] = value
      try {
        const file = await openGguf(copy)
        for (const name of file.names) await file.tensor(name)
      } catch (error) {
        if (/** @type {Error} */ (error).name !== 'AttentionError') throw error
      }
    }),
    { numRuns: 300 }
  )
  t.pass()
})

test('the vocabulary gives the tokens of the package tokenizers, for each way to split words', async (t) => {
  const { metadata } = await opened('llama.gguf')
  for (const [split, expected] of Object.entries(tokens)) {
    const own = tokenizerOf({ ...metadata, 'tokenizer.ggml.pre': split })
    const folder = /** @type {any} */ ({ object: async () => own })
    const { tokenizer } = /** @type {NonNullable<Awaited<ReturnType<typeof readTokenizer>>>} */ (
      await readTokenizer(folder, {})
    )
    for (const [index, text] of texts.entries()) {
      t.deepEqual(tokenizer.encode(`${text}<|end|>`, undefined).ids, expected[index], `${split}: ${text}`)
      // Qwen normalizes texts.
      t.is(tokenizer.decode(expected[index]), split === 'qwen2' ? text.normalize('NFC') : text)
    }
  }
  const begun = tokenizerOf({ ...metadata, 'tokenizer.ggml.add_bos_token': true })
  const { tokenizer } = /** @type {any} */ (await readTokenizer(/** @type {any} */ ({ object: async () => begun }), {}))
  t.is(tokenizer.encode('a', undefined).ids[0], 1)
  for (const wrong of [
    { 'tokenizer.ggml.model': 'llama' },
    { 'tokenizer.ggml.pre': 'odd' },
    { 'tokenizer.ggml.merges': 5 }
  ]) {
    t.throws(() => tokenizerOf(/** @type {any} */ ({ ...metadata, ...wrong })), { name: 'AttentionError' })
  }
})

onBothBackends((kind, attention) => {
  for (const name of ['llama', 'qwen3']) {
    test(`${kind}: ${name}.gguf is the model of its dequantized weights in transformers`, async (t) => {
      const expected = expectedOf(name)
      const model = await loadModel({ [`${name}.gguf`]: bytesOf(`${name}.gguf`) }, { attention })
      t.teardown(() => model.dispose())
      t.deepEqual([model.family, model.tasks], [name, ['embed', 'generate']])
      const { hidden, logits } = await model.encode(ids, { logits: true })
      near(t, hidden, expected.hidden)
      near(t, /** @type {any} */ (logits), expected.logits)
    })

    test(`${kind}: ${name}.gguf generates the tokens of transformers`, async (t) => {
      const wanted = expectedOf(name).tokens.data
      const tokenizer = { encode: (/** @type {string} */ text) => ({ ids: JSON.parse(text) }), decode: String }
      const model = await loadModel(pathOf(`${name}.gguf`), { attention, tokenizer })
      t.teardown(() => model.dispose())
      for (const [index, list] of ids.entries()) {
        const made = []
        for await (const { token } of model.generate(JSON.stringify(list), { maxTokens: 12 })) made.push(token)
        const expected = [...wanted.subarray(12 * index, 12 * index + 12)]
        // Generation ends before the token that ends texts.
        const end = expected.indexOf(0)
        t.deepEqual(made, end < 0 ? expected : expected.slice(0, end))
      }
    })
  }
})

test('a file takes part in a chat with its own vocabulary and template', async (t) => {
  const model = await loadModel(pathOf('llama.gguf'))
  t.teardown(() => model.dispose())
  t.deepEqual(model.tokenize('Gravity'), model.tokenize(['Gravity', '']))
  const parts = []
  for await (const { text } of model.generate('Gravity is', { maxTokens: 8 })) parts.push(text)
  t.true(parts.length > 0)
})
