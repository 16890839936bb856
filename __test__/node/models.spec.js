// Models from folders, against transformers and sentence-transformers: scripts/golden/models.py.
import { cpSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import test from 'ava'
import fc from 'fast-check'
import { loadModel, Model } from '@ruvector/attention/models'
import { onBothBackends } from '../support/backends.js'
import { readTensors } from '../support/golden.js'

const root = fileURLToPath(new URL('../golden/models/', import.meta.url))
const folders = readdirSync(root, { withFileTypes: true })
  .filter((entry) => entry.isDirectory())
  .map(({ name }) => name)
const { ids, texts } = JSON.parse(readFileSync(join(root, 'texts.json'), 'utf8'))
const expectedOf = (/** @type {string} */ name) =>
  readTensors(pathToFileURL(join(root, name, 'expected.safetensors'))).tensors
const json = (/** @type {string} */ path) => JSON.parse(readFileSync(join(root, path), 'utf8'))

/** The files of a folder by name, without those in subfolders. @param {string} name @returns {Record<string, any>} */
const filesOf = (name) =>
  Object.fromEntries(
    readdirSync(join(root, name), { withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => [entry.name, new Uint8Array(readFileSync(join(root, name, entry.name)))])
  )

/**
 * @param {import('ava').ExecutionContext} t
 * @param {{ data: Float32Array, shape: readonly number[] }} actual
 * @param {{ data: Float32Array, shape: readonly number[] }} expected
 */
function near(t, actual, expected, tolerance = 1e-4) {
  t.deepEqual([...actual.shape], [...expected.shape])
  const largest = expected.data.reduce((most, x) => Math.max(most, Math.abs(x)), 0)
  const error = expected.data.reduce((most, x, index) => Math.max(most, Math.abs(x - actual.data[index])), 0)
  t.true(error <= tolerance * largest, `${error} of ${largest}`)
}

/**
 * Loads a model that is disposed of at the end of the test.
 *
 * @param {import('ava').ExecutionContext} t
 * @param {Parameters<typeof loadModel>} given
 */
async function loaded(t, ...given) {
  const model = await loadModel(...given)
  t.teardown(() => model.dispose())
  return model
}

/** Bytes of disposed layers until they are collected: a small part of a model's. */
const HANDLES = 1000

/** A tokenizer whose tokens are letters. */
const letters = {
  encode: (/** @type {string} */ text) => ({ ids: Array.from(text, (letter) => letter.charCodeAt(0) - 0x4e00) }),
  decode: (/** @type {readonly number[]} */ tokens) => textOf(tokens)
}
const textOf = (/** @type {readonly number[]} */ tokens) =>
  tokens.map((id) => String.fromCharCode(0x4e00 + id)).join('')

/** @param {import('ava').ExecutionContext} t @param {() => Promise<unknown>} run */
const rejection = async (t, run) => /** @type {any} */ (await t.throwsAsync(run, { name: 'AttentionError' }))

onBothBackends((kind, attention) => {
  for (const name of folders.filter((folder) => !/^(sentences|cross|vit|dino|clip|siglip)/.test(folder))) {
    test(`${kind}: ${name} gives the hidden states and logits of transformers, from either config.json`, async (t) => {
      const expected = expectedOf(name)
      for (const config of ['config.json', 'config.v4.json']) {
        const model = await loaded(t, { ...filesOf(name), 'config.json': json(`${name}/${config}`) }, { attention })
        const { hidden, logits, cuSeqlens } = await model.encode(ids, { logits: 'logits' in expected })
        near(t, hidden, expected.hidden)
        if (expected.logits) near(t, /** @type {any} */ (logits), expected.logits)
        t.deepEqual([...cuSeqlens], [0, 7, 10, 22])
      }
    })
  }

  for (const name of folders.filter((folder) => /^(vit|dino|clip|siglip)/.test(folder))) {
    test(`${kind}: ${name} gives the hidden states and heads of transformers for images and texts`, async (t) => {
      const expected = expectedOf(name)
      const model = await loaded(t, join(root, name), { attention })
      if (expected.hidden) {
        const logits = 'logits' in expected
        const output = await model.encode(
          ids.map((/** @type {number[]} */ list) => [...list, 39]),
          { logits }
        )
        near(t, output.hidden, expected.hidden)
        if (logits) near(t, /** @type {any} */ (output.logits), expected.logits)
      }
      for (const suffix of ['', '.resized'].filter((end) => `pixels${end}` in expected)) {
        const pixels = expected[`pixels${suffix}`]
        const wanted = expected[`image_logits${suffix}`]
        const output = await model.encode({ pixels }, { logits: wanted !== undefined, attentions: suffix !== '' })
        near(t, output.hidden, expected[`images${suffix}`])
        if (wanted) near(t, /** @type {any} */ (output.logits), wanted)
        const rows = output.hidden.shape[0] / 3
        t.deepEqual([...output.cuSeqlens], [0, rows, 2 * rows, 3 * rows])
        const second = {
          data: pixels.data.slice(pixels.data.length / 3, (2 * pixels.data.length) / 3),
          shape: [1, ...pixels.shape.slice(1)]
        }
        const alone = await model.encode({ pixels: second }, { attentions: suffix !== '' })
        const size = output.hidden.shape[1]
        t.deepEqual(alone.hidden.data, output.hidden.data.slice(rows * size, 2 * rows * size))
      }
    })
  }

  for (const name of folders.filter((folder) => 'tokens' in expectedOf(folder))) {
    test(`${kind}: ${name} generates the tokens of transformers, whatever the cache holds`, async (t) => {
      const { tokens } = expectedOf(name)
      const model = await loaded(t, join(root, name), { attention, tokenizer: letters })
      t.deepEqual(model.tasks, ['embed', 'generate'])
      for (const [index, list] of [...ids, ids[0]].entries()) {
        const expected = [...tokens.data.subarray(12 * (index % 3), 12 * (index % 3) + 12)]
        const made = []
        for await (const { token } of model.generate(textOf(list), { maxTokens: 12 })) made.push(token)
        t.deepEqual(made, expected)
      }
    })
  }

  test(`${kind}: generation streams whole characters, and ends at stop texts, at the limit and with its caller`, async (t) => {
    const model = await loaded(t, join(root, 'llama'), { attention, tokenizer: letters })
    const collect = async (/** @type {object} */ options) => {
      const parts = []
      for await (const { text } of model.generate(textOf(ids[1]), options)) parts.push(text)
      return parts
    }
    const whole = await collect({ maxTokens: 12 })
    t.is(whole.length, 12)
    const text = whole.join('')
    t.deepEqual(await collect({ maxTokens: 5 }), whole.slice(0, 5))
    const stop = text.slice(4, 6)
    t.is((await collect({ maxTokens: 12, stop: [stop] })).join(''), text.slice(0, text.indexOf(stop)))
    for await (const _ of model.generate(textOf(ids[1]))) break
    t.deepEqual(await collect({ maxTokens: 12 }), whole)
    const controller = new AbortController()
    await t.throwsAsync(
      async () => {
        for await (const _ of model.generate(textOf(ids[1]), { signal: controller.signal })) {
          controller.abort(new Error('enough'))
        }
      },
      { message: 'enough' }
    )
    t.deepEqual(await collect({ maxTokens: 12 }), whole)
    // The positions end before the default limit.
    t.is((await collect({})).length, 64 - ids[1].length)
  })

  test(`${kind}: sampling depends on its seed alone, and on likely tokens only`, async (t) => {
    const model = await loaded(t, join(root, 'llama'), { attention, tokenizer: letters })
    const collect = async (/** @type {object} */ options) => {
      const made = []
      for await (const { token } of model.generate(textOf(ids[0]), { maxTokens: 12, ...options })) made.push(token)
      return made
    }
    const greedy = await collect({})
    const hot = await collect({ temperature: 5, seed: 1 })
    t.notDeepEqual(hot, greedy)
    t.deepEqual(await collect({ temperature: 5, seed: 1 }), hot)
    t.notDeepEqual(await collect({ temperature: 5, seed: 2 }), hot)
    t.deepEqual(await collect({ temperature: 5, seed: 1, topK: 1 }), greedy)
    t.deepEqual(await collect({ temperature: 5, seed: 1, topP: 1e-9 }), greedy)
    const varied = await collect({ repetitionPenalty: 1e6 })
    t.is(new Set(varied).size, varied.length)
    for (const options of [
      { temperature: -1 },
      { topK: 0 },
      { topP: 2 },
      { seed: -1 },
      { stop: 'x' },
      { maxTokens: 0 }
    ]) {
      t.is((await rejection(t, () => collect(options))).code, 'OPTION')
    }
  })

  for (const name of folders.filter((folder) => folder.startsWith('sentences'))) {
    test(`${kind}: ${name} gives the embeddings of sentence-transformers`, async (t) => {
      const { plain, prompted, short } = expectedOf(name)
      const model = await loaded(t, join(root, name), { attention })
      near(t, await model.embed(texts), plain)
      near(t, await model.embed(texts, { prompt: 'query' }), prompted)
      near(t, await model.embed(texts, { prompt: 'query : ' }), prompted)
      near(t, await model.embed(texts, { dimensions: 5, normalize: true }), short)
    })
  }

  test(`${kind}: a cross-encoder ranks documents by the scores of sentence-transformers`, async (t) => {
    const { scores } = expectedOf('cross-encoder')
    const model = await loaded(t, join(root, 'cross-encoder'), { attention })
    t.deepEqual(model.tasks, ['embed', 'rerank'])
    const ranked = await model.rerank(texts[0], texts)
    const order = [...scores.data.keys()].sort((a, b) => scores.data[b] - scores.data[a])
    t.deepEqual(
      ranked.map(({ index }) => index),
      order
    )
    for (const { index, score } of ranked) t.true(Math.abs(score - scores.data[index]) <= 1e-5)
    t.deepEqual(await model.rerank(texts[0], texts, { topK: 2 }), ranked.slice(0, 2))
    t.deepEqual(await model.rerank(texts[0], []), [])
  })

  test(`${kind}: a classifier gives the shares of all labels, the largest first`, async (t) => {
    const { logits } = expectedOf('bert-classes')
    const tokenizer = { encode: (/** @type {string} */ text) => ({ ids: JSON.parse(text) }), decode: String }
    const model = await loaded(t, join(root, 'bert-classes'), { attention, tokenizer })
    const results = await model.classify(ids.map((/** @type {number[]} */ list) => JSON.stringify(list)))
    results.forEach((labels, text) => {
      const row = [...logits.data.subarray(3 * text, 3 * text + 3)]
      const sum = row.reduce((total, x) => total + Math.exp(x), 0)
      for (const { label, score } of labels) {
        t.true(Math.abs(score - Math.exp(row[Number(label.slice('LABEL_'.length))]) / sum) < 1e-5)
      }
      t.true(labels.every(({ score }, index) => index === 0 || score <= labels[index - 1].score))
    })
  })

  test(`${kind}: a text's vector depends neither on its neighbors nor on the size of batches, to the bit`, async (t) => {
    const model = await loaded(t, join(root, 'sentences-dense'), { attention })
    const all = await model.embed(texts)
    const size = all.shape[1]
    for (const [index, text] of texts.entries()) {
      t.deepEqual((await model.embed(text)).data, all.data.slice(index * size, (index + 1) * size))
    }
    t.deepEqual(await model.embed(texts, { batchTokens: 1 }), all)
    t.deepEqual((await model.embed([])).shape, [0, size])
  })

  test(`${kind}: a text has the same bits in a decoder whatever it is packed with`, async (t) => {
    const scaled = (/** @type {object} */ scaling) => ({
      ...filesOf('llama'),
      'config.json': { ...json('llama/config.v4.json'), max_position_embeddings: 8, rope_scaling: scaling }
    })
    const sources = [
      ...['llama', 'mistral', 'gemma3', 'gpt2', 'gpt_neox'].map((name) => join(root, name)),
      scaled({ type: 'dynamic', factor: 4 })
    ]
    for (const source of sources) {
      for (const type of /** @type {const} */ (['f32', 'q8_0'])) {
        const model = await loaded(t, source, { attention, type })
        const list = fc.array(fc.integer({ min: 0, max: 39 }), { minLength: 1, maxLength: 20 })
        await fc.assert(
          fc.asyncProperty(fc.array(list, { minLength: 1, maxLength: 6 }), async (lists) => {
            const { hidden, cuSeqlens } = await model.encode(lists)
            const size = hidden.shape[1]
            for (const [text, one] of lists.entries()) {
              const alone = await model.encode([one])
              t.deepEqual(alone.hidden.data, hidden.data.slice(cuSeqlens[text] * size, cuSeqlens[text + 1] * size))
            }
          }),
          { numRuns: 5 }
        )
      }
    }
  })

  test(`${kind}: attentions and hidden states of each text are those of the text alone`, async (t) => {
    const model = await loaded(t, join(root, 'bert'), { attention })
    const { hidden, attentions, hiddenStates } = await model.encode({ ids }, { attentions: true, hiddenStates: true })
    t.deepEqual(hiddenStates?.length, 3)
    t.deepEqual(hiddenStates?.[2], hidden)
    near(t, (await model.encode(ids)).hidden, hidden, 2e-6)
    for (const [text, list] of ids.entries()) {
      const alone = await model.encode([list], { attentions: true })
      t.deepEqual(attentions?.[text], alone.attentions?.[0])
      t.deepEqual(
        alone.attentions?.[0].map(({ shape }) => [...shape]),
        [
          [2, list.length, list.length],
          [2, list.length, list.length]
        ]
      )
      const sums = attentions?.[text][1].data.slice(0, list.length).reduce((a, b) => a + b, 0)
      t.true(Math.abs(Number(sums) - 1) < 1e-5)
    }
  })
})

test('a folder loads from a path, a file URL, a server, and as files by name', async (t) => {
  const server = createServer((request, response) => {
    const path = join(root, decodeURIComponent(new URL(String(request.url), 'http://x').pathname))
    let bytes
    try {
      bytes = readFileSync(path)
    } catch {
      return response.writeHead(404).end()
    }
    const [, start, end] = /bytes=(\d+)-(\d+)/.exec(request.headers.range ?? '') ?? []
    const last = Math.min(Number(end), bytes.length - 1)
    if (start === undefined) return response.end(bytes)
    response.writeHead(206, { 'content-range': `bytes ${start}-${last}/${bytes.length}` })
    response.end(bytes.subarray(Number(start), last + 1))
  })
  await new Promise((resolve) => server.listen(0, () => resolve(undefined)))
  t.teardown(() => server.close())
  const { port } = /** @type {import('node:net').AddressInfo} */ (server.address())
  const folder = join(root, 'sentences-max')
  const sources = [
    folder,
    `${folder}/`,
    pathToFileURL(folder),
    `http://localhost:${port}/sentences-max`,
    {
      ...filesOf('sentences-max'),
      'modules.json': json('sentences-max/modules.json'),
      '1_Pooling/config.json': new Blob([readFileSync(join(folder, '1_Pooling', 'config.json'))])
    }
  ]
  const results = []
  for (const source of sources) {
    const model = await loaded(t, source)
    t.is(model.family, 'bert')
    t.is(model.numParameters, 4944)
    t.is(model.bytes, 4 * 4944)
    results.push(await model.embed(texts))
  }
  for (const result of results) t.deepEqual(result, results[0])
})

onBothBackends((kind, attention) => {
  test(`${kind}: a model in 16 or 8 bits is near the model in 32, in as much less memory`, async (t) => {
    const exact = await loaded(t, join(root, 'sentences-dense'), { attention })
    t.is(exact.bytes, 4 * exact.numParameters)
    const wanted = await exact.embed(texts, { normalize: true })
    for (const [type, similarity, share] of /** @type {const} */ ([
      ['f32', 1 - 1e-6, 1],
      ['f16', 0.9999, 0.6],
      ['bf16', 0.999, 0.6],
      ['q8_0', 0.995, 0.4]
    ])) {
      const model = await loaded(t, join(root, 'sentences-dense'), { attention, type })
      t.is(model.numParameters, exact.numParameters)
      t.true(model.bytes <= share * exact.bytes, `${type}: ${model.bytes} of ${exact.bytes}`)
      const { data, shape } = await model.embed(texts, { normalize: true })
      for (let row = 0; row < shape[0]; row++) {
        let cosine = 0
        for (let i = row * shape[1]; i < (row + 1) * shape[1]; i++) cosine += data[i] * wanted.data[i]
        t.true(cosine >= similarity, `${type}, row ${row}: ${cosine}`)
      }
      const alone = await model.embed(texts[2], { normalize: true })
      t.deepEqual(alone.data, data.slice(2 * shape[1], 3 * shape[1]))
    }
    const error = await rejection(t, () => loadModel(join(root, 'bert'), /** @type {any} */ ({ type: 'q4_0' })))
    t.deepEqual([error.code, error.argument], ['OPTION', 'type'])
  })

  test(`${kind}: a decoder in 16 or 8 bits generates text`, async (t) => {
    for (const type of /** @type {const} */ (['f16', 'q8_0'])) {
      const model = await loaded(t, join(root, 'llama'), { attention, tokenizer: letters, type })
      const { logits } = await model.encode([ids[0]], { logits: true })
      const { data, shape } = /** @type {import('@ruvector/attention').Tensor} */ (logits)
      const last = data.slice(-shape[1])
      for await (const { token } of model.generate(textOf(ids[0]), { maxTokens: 1 })) {
        t.true(last[token] >= Math.max(...last) - 1e-3)
      }
    }
  })
})

test('a sharded model loads, also from files by name', async (t) => {
  const { loadSafetensors, saveSafetensors } = await import('@ruvector/attention')
  const files = filesOf('bert')
  const entries = Object.entries(loadSafetensors(files['model.safetensors']))
  const halves = [entries.slice(0, 20), entries.slice(20)].map((part) => Object.fromEntries(part))
  const names = halves.map((_, index) => `model-0000${index + 1}-of-00002.safetensors`)
  const weightMap = Object.fromEntries(
    halves.flatMap((part, index) => Object.keys(part).map((name) => [name, names[index]]))
  )
  delete files['model.safetensors']
  names.forEach((name, index) => (files[name] = saveSafetensors(halves[index])))
  files['model.safetensors.index.json'] = { metadata: {}, weight_map: weightMap }
  const model = await loaded(t, files)
  near(t, (await model.encode(ids)).hidden, expectedOf('bert').hidden)
  const scratch = mkdtempSync(join(tmpdir(), 'attention-model-'))
  t.teardown(() => rmSync(scratch, { recursive: true }))
  cpSync(join(root, 'bert', 'config.json'), join(scratch, 'config.json'))
  for (const name of names) writeFileSync(join(scratch, name), files[name])
  writeFileSync(join(scratch, 'model.safetensors.index.json'), JSON.stringify(files['model.safetensors.index.json']))
  const again = await loaded(t, scratch)
  t.deepEqual(await again.encode(ids), await model.encode(ids))
})

test('progress grows to 1, and a signal ends loading and embedding', async (t) => {
  /** @type {number[]} */
  const fractions = []
  const model = await loaded(t, join(root, 'sentences-max'), { onProgress: (fraction) => fractions.push(fraction) })
  t.true(fractions.every((fraction, index) => index === 0 || fraction >= fractions[index - 1]))
  t.is(fractions.at(-1), 1)
  const controller = new AbortController()
  const signal = controller.signal
  const onProgress = () => controller.abort(new Error('enough'))
  await t.throwsAsync(loadModel(join(root, 'bert'), { signal, onProgress }), { message: 'enough' })
  await t.throwsAsync(model.embed(texts, { signal }), { message: 'enough' })
  t.deepEqual((await model.embed(texts)).shape, [4, 16])
})

test('a folder that lacks something, or asks for what is not done, is an error that names it', async (t) => {
  const bert = filesOf('bert')
  const config = json('bert/config.json')
  const cases = /** @type {const} */ ([
    [{}, 'FORMAT', 'source'],
    [{ ...bert, 'config.json': { ...config, model_type: 'mamba' } }, 'FORMAT', 'config.json: model_type'],
    [{ ...bert, 'config.json': { ...config, hidden_act: 'mish' } }, 'FORMAT', 'hidden_act'],
    [
      { ...bert, 'config.json': { ...config, position_embedding_type: 'relative_key' } },
      'FORMAT',
      'position_embedding_type'
    ],
    [{ ...bert, 'config.json': { ...config, hidden_size: undefined } }, 'FORMAT', 'hidden_size'],
    [{ ...bert, 'config.json': new TextEncoder().encode('<!doctype html>') }, 'FORMAT', 'config.json'],
    [{ 'config.json': config }, 'FORMAT', 'source'],
    [{ ...bert, 'config.json': { ...config, hidden_size: 32 } }, 'SHAPE', undefined],
    [{ ...bert, 'config.json': { ...config, num_hidden_layers: 3 } }, 'FORMAT', undefined],
    [
      { ...bert, 'modules.json': [{ type: 'sentence_transformers.models.WordWeights', path: '' }] },
      'FORMAT',
      'modules.json'
    ],
    [{ ...bert, 'tokenizer.json': { model: {} } }, 'FORMAT', 'tokenizer.json'],
    [new Uint8Array(4), 'DTYPE', 'source'],
    [5, 'DTYPE', 'source'],
    [join(root, 'nowhere'), 'FORMAT', 'source']
  ])
  for (const [source, code, argument] of cases) {
    const error = await rejection(t, () => loadModel(/** @type {any} */ (source)))
    t.is(error.code, code, error.message)
    if (argument !== undefined) t.is(error.argument, argument, error.message)
  }
})

test('texts of a million characters and lone surrogates are texts, and the memory of all is bounded', async (t) => {
  const model = await loaded(t, join(root, 'sentences-dense'))
  const word = 'the sky is blue '
  const long = word.repeat(1e6 / word.length)
  const [cut, whole] = [await model.embed(word.repeat(10)), await model.embed(long)]
  t.deepEqual(whole, cut)
  const odd = ['\ud800', 'a \udc00 man', '\0', '', '\ufeff', '🙂'.slice(0, 1)]
  const vectors = await model.embed(odd)
  t.deepEqual(vectors.shape, [odd.length, 8])
  t.true(vectors.data.every(Number.isFinite))
  t.deepEqual(await model.embed(odd, { batchTokens: 1 }), vectors)
})

test('a tokenizer of another model is an error at the first token beyond the words', async (t) => {
  const other = { encode: () => ({ ids: [5, 40, 6] }), decode: String }
  const model = await loaded(t, join(root, 'bert'), { tokenizer: other })
  const error = await rejection(t, () => model.embed('x'))
  t.deepEqual([error.code, error.argument], ['DOMAIN', 'ids'])
  const types = await loaded(t, join(root, 'bert'), {
    tokenizer: { encode: () => ({ ids: [1], types: [2] }), decode: String }
  })
  t.deepEqual([(await rejection(t, () => types.embed('x'))).argument], ['types'])
})

// First and alone, since the memory is that of all tests.
test.serial('a server that breaks off, or gives a page for every file, is an error, and nothing is kept', async (t) => {
  const { init, memoryUsage } = await import('@ruvector/attention')
  await init()
  let cut = Infinity
  let isPage = false
  const server = createServer((request, response) => {
    const path = join(root, decodeURIComponent(new URL(String(request.url), 'http://x').pathname))
    if (isPage)
      return response.writeHead(200, { 'content-type': 'text/html' }).end('<!doctype html><title>Hello</title>')
    let bytes
    try {
      bytes = readFileSync(path)
    } catch {
      return response.writeHead(404).end()
    }
    const [, start, end] = /bytes=(\d+)-(\d+)/.exec(request.headers.range ?? '') ?? []
    const last = Math.min(Number(end ?? Infinity), bytes.length - 1)
    const part = bytes.subarray(Number(start ?? 0), last + 1)
    response.writeHead(start === undefined ? 200 : 206, {
      'content-length': part.length,
      ...(start !== undefined && { 'content-range': `bytes ${start}-${last}/${bytes.length}` })
    })
    if (path.endsWith('.safetensors') && last > cut) {
      response.write(part.subarray(0, Math.max(0, cut - Number(start ?? 0))), () => response.destroy())
    } else response.end(part)
  })
  await new Promise((resolve) => server.listen(0, () => resolve(undefined)))
  t.teardown(() => server.close())
  const { port } = /** @type {import('node:net').AddressInfo} */ (server.address())
  const address = `http://localhost:${port}/bert`
  const before = memoryUsage().allocated
  for (const place of [0, 100, 9000]) {
    cut = place
    t.is((await rejection(t, () => loadModel(address))).code, 'FORMAT')
  }
  cut = Infinity
  isPage = true
  const error = await rejection(t, () => loadModel(address))
  t.deepEqual([error.code, error.argument], ['FORMAT', 'config.json'])
  t.regex(error.message, /HTML/)
  isPage = false
  t.true(memoryUsage().allocated - before < HANDLES)
  const model = await loadModel(address)
  t.true(memoryUsage().allocated - before > 10 * HANDLES)
  model.dispose()
  t.true(memoryUsage().allocated - before < HANDLES)
})

// First and alone, since the memory is that of all tests.
test.serial('a signal ends loading at any entry, and nothing is kept', async (t) => {
  const { init, memoryUsage } = await import('@ruvector/attention')
  await init()
  const before = memoryUsage().allocated
  for (let entry = 1; entry < 40; entry += 6) {
    const controller = new AbortController()
    let seen = 0
    const onProgress = () => ++seen === entry && controller.abort(new Error('enough'))
    await t.throwsAsync(loadModel(join(root, 'bert'), { signal: controller.signal, onProgress }), { message: 'enough' })
    t.true(memoryUsage().allocated - before < HANDLES)
  }
  await t.throwsAsync(loadModel(join(root, 'bert'), { signal: AbortSignal.abort(new Error('early')) }), {
    message: 'early'
  })
})

test('calls that a model cannot answer are errors that say so', async (t) => {
  const model = await loadModel(join(root, 'bert'))
  for (const run of [
    () => model.embed('x'),
    () => model.rerank('x', ['y']),
    () => model.classify('x'),
    () => model.encode(ids, { logits: true }),
    () => model.encode(ids, /** @type {any} */ ({ logit: true })),
    () => loadModel(join(root, 'bert'), /** @type {any} */ ({ tokenizer: 5 }))
  ]) {
    t.is((await rejection(t, run)).code, 'OPTION')
  }
  const pixels = { data: new Float32Array(192), shape: [1, 3, 8, 8] }
  t.is((await rejection(t, () => model.encode({ pixels }))).code, 'OPTION')
  const images = await loaded(t, join(root, 'clip-images'))
  t.deepEqual(images.tasks, [])
  t.is((await rejection(t, () => images.encode(ids))).code, 'OPTION')
  t.is((await rejection(t, () => images.embed('x'))).code, 'OPTION')
  for (const shape of [
    [3, 8, 8],
    [1, 1, 8, 24],
    [3, 3, 8, 8],
    [1, 3, 8]
  ]) {
    t.is((await rejection(t, () => images.encode({ pixels: { ...pixels, shape } }))).code, 'SHAPE', `${shape}`)
  }
  t.is((await rejection(t, () => images.encode(/** @type {any} */ ({ pixels: [1] })))).code, 'DTYPE')
  const none = await images.encode({ pixels: { data: new Float32Array(0), shape: [0, 3, 8, 8] } }, { logits: true })
  t.deepEqual([none.hidden.shape, none.logits?.shape, [...none.cuSeqlens]], [[0, 16], [0, 12], [0]])
  t.is((await rejection(t, () => model.encode([[40]]))).code, 'DOMAIN')
  t.is((await rejection(t, () => model.encode([Array.from({ length: 21 }, () => 1)]))).code, 'DOMAIN')
  t.is((await rejection(t, () => model.encode(/** @type {any} */ ([1])))).code, 'DTYPE')
  model.dispose()
  t.is((await rejection(t, () => model.encode(ids))).code, 'DISPOSED')
  t.throws(() => new /** @type {any} */ (Model)(), { instanceOf: TypeError })
})

test('CLIP embeds texts by its projection, and SigLIP by its head after filling them up, as in training', async (t) => {
  for (const name of ['clip', 'siglip']) {
    const model = await loaded(t, join(root, name), { tokenizer: letters })
    t.deepEqual(model.tasks, ['embed'])
    t.is(model.layers.length, 4)
    const lists = ids.map((/** @type {number[]} */ list) => [...list, 39])
    const given = lists.map((/** @type {number[]} */ list) =>
      name === 'clip' ? list : [...list, ...Array(20 - list.length).fill(1)]
    )
    const { logits } = await model.encode(given, { logits: true })
    t.deepEqual(await model.embed(lists.map(textOf)), logits)
    t.deepEqual((await model.embed([])).shape, [0, expectedOf(name).logits.shape[1]])
  }
})

test('truncated pairs keep their special tokens, and the longer text loses tokens first', async (t) => {
  const model = await loaded(t, join(root, 'cross-encoder'))
  const [short, long] = ['the sky', 'a man is eating food a man is eating food']
  for (const [pair, kept] of /** @type {const} */ ([
    [
      [short, long],
      [2, 7]
    ],
    [
      [long, short],
      [7, 2]
    ],
    [
      [long, long],
      [4, 5]
    ]
  ])) {
    const { ids: tokens, types } = model.tokenize(pair)
    const end = tokens.indexOf(3)
    t.deepEqual([end - 1, tokens.length - end - 2], kept)
    t.deepEqual(
      [...(types ?? [])],
      [...tokens].map((_, index) => Number(index > end))
    )
  }
  t.is(model.tokenize(long).ids.at(-1), 3)
})
