// Corpora: shards of a file's texts, embedded in any order, interrupted at any moment, and never mixed.
import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import test from 'ava'
import fc from 'fast-check'
import { createCorpus, loadModel, openCorpus, readTexts } from '@ruvector/attention/models'
import { onBothBackends } from '../support/backends.js'

const models = fileURLToPath(new URL('../golden/models/', import.meta.url))
const model = join(models, 'sentences-dense')
const lines = ['a man is eating food', 'someone eats a meal', 'the sky is blue', 'who ate what', 'the man', 'a meal']

/** @param {import('ava').ExecutionContext} t */
function scratch(t) {
  const folder = mkdtempSync(join(tmpdir(), 'attention-corpus-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

/** All files of a folder by name. @param {string} folder */
const filesOf = (folder) =>
  Object.fromEntries(readdirSync(folder).map((name) => [name, readFileSync(join(folder, name))]))

/** @template T @param {AsyncIterable<T>} items */
async function listOf(items) {
  const list = []
  for await (const item of items) list.push(item)
  return list
}

onBothBackends((kind, attention) => {
  test(`${kind}: shards in any order and from several corpora are those of one run, byte for byte`, async (t) => {
    const folder = scratch(t)
    const input = join(folder, 'texts.txt')
    writeFileSync(input, lines.join('\n'))
    const options = { input, model, shardTexts: 2, normalize: true, attention }
    const single = await createCorpus(join(folder, 'single'), options)
    for (let shard = 0; shard < 3; shard++) t.true(await single.embed(shard))
    t.deepEqual(await single.verify(), [])

    const output = join(folder, 'several')
    const first = await createCorpus(output, options)
    t.true(await first.embed(2))
    t.deepEqual(await first.verify(), [0, 1])
    const second = await openCorpus(output, { model, attention })
    t.deepEqual(await Promise.all([first.embed(0), second.embed(1), second.embed(2)]), [true, true, false])
    t.deepEqual(filesOf(output), filesOf(join(folder, 'single')))

    const { ids, vectors } = await second.read(1)
    t.deepEqual(ids, [3, 4])
    const whole = await loadModel(model, { attention })
    t.deepEqual(vectors.data, (await whole.embed(lines, { normalize: true })).data.slice(16, 32))
    for (const one of [single, first, second, whole]) one.dispose()
  })
})

onBothBackends((kind, attention) => {
  test(`${kind}: a corpus keeps the type of its model, in every process`, async (t) => {
    const folder = scratch(t)
    const input = join(folder, 'texts.txt')
    writeFileSync(input, lines.join('\n'))
    const output = join(folder, 'vectors')
    const first = await createCorpus(output, { input, model, type: 'q8_0', shardTexts: 3, attention })
    t.is(first.manifest.model.type, 'q8_0')
    await first.embed(0)
    const second = await openCorpus(output, { model, attention })
    t.is(second.model?.type, 'q8_0')
    await second.embed(1)
    const whole = await loadModel(model, { type: 'q8_0', attention })
    const { data } = await whole.embed(lines)
    const shards = await Promise.all([0, 1].map((shard) => second.read(shard)))
    t.deepEqual(Float32Array.from(shards.flatMap(({ vectors }) => [...vectors.data])), data)
    for (const one of [first, second, whole]) one.dispose()
  })
})

test('a shard that is damaged, cut short or of another corpus is written again', async (t) => {
  const folder = scratch(t)
  const input = join(folder, 'texts.txt')
  writeFileSync(input, lines.join('\n'))
  const corpus = await createCorpus(join(folder, 'a'), { input, model, shardTexts: 4 })
  t.teardown(() => corpus.dispose())
  for (const shard of [0, 1]) await corpus.embed(shard)
  const [path, whole] = [join(folder, 'a/shard-000001.safetensors'), filesOf(join(folder, 'a'))]
  const bytes = whole['shard-000001.safetensors']
  const others = await createCorpus(join(folder, 'b'), { input, model, shardTexts: 4, normalize: true })
  await others.embed(1)
  others.dispose()
  const damaged = Buffer.from(bytes)
  damaged[damaged.length - 1] ^= 1
  const foreign = readFileSync(join(folder, 'b/shard-000001.safetensors'))
  for (const contents of [damaged, bytes.subarray(0, -4), foreign, '', Buffer.alloc(50, 1)]) {
    writeFileSync(path, contents)
    writeFileSync(`${path}.1.part`, 'left by a process that was killed')
    t.deepEqual(await corpus.verify(), [1])
    await t.throwsAsync(corpus.read(1), { code: 'FORMAT', message: /^shard 1: expected a whole file of this corpus/ })
    t.true(await corpus.embed(1))
    t.deepEqual(filesOf(join(folder, 'a')), whole)
  }
})

test('vectors of another input, model, type or option are refused, and so are texts that have changed', async (t) => {
  const folder = scratch(t)
  const [input, output] = [join(folder, 'texts.txt'), join(folder, 'vectors')]
  writeFileSync(input, lines.join('\n'))
  const options = { input, model, shardTexts: 4, resume: true }
  const corpus = await createCorpus(output, options)
  t.teardown(() => corpus.dispose())
  const { sha256, ...known } = corpus.manifest.model
  t.deepEqual(known, { name: 'sentences-dense', family: 'bert', type: 'f32' })
  t.regex(sha256, /^[0-9a-f]{64}$/)
  const refused = { code: 'OPTION', message: /the same input, model and options, got vectors of others/ }
  /** @type {Partial<Parameters<typeof createCorpus>[1]>[]} */
  const changes = [{ normalize: true }, { dimensions: 4 }, { type: 'q8_0' }, { shardTexts: 3 }, { prompt: 'a ' }]
  for (const change of changes) {
    await t.throwsAsync(createCorpus(output, { ...options, ...change }), refused)
  }
  await t.throwsAsync(createCorpus(output, { ...options, model: join(models, 'sentences-max') }), refused)
  await t.throwsAsync(createCorpus(output, { ...options, resume: false }), { code: 'OPTION', message: /^folder:/ })
  await t.throwsAsync(openCorpus(output, { model: join(models, 'bert') }), { code: 'OPTION', message: /^model:/ })
  const path = join(output, 'manifest.json')
  const manifest = readFileSync(path, 'utf8')
  writeFileSync(path, manifest.replace('"type": "f32"', '"type": "q8_0"'))
  await t.throwsAsync(createCorpus(output, options), refused)
  writeFileSync(path, manifest)

  await t.throwsAsync(openCorpus(output, { type: 'q8_0' }), { code: 'OPTION', message: /^type: expected 'f32'/ })
  const reading = await openCorpus(output, { type: 'f32' })
  await t.throwsAsync(reading.embed(0), { code: 'OPTION', message: /^model:/ })
  await t.throwsAsync(reading.texts(2), { code: 'OPTION', message: /^shard:/ })
  t.is((await reading.texts(1)).length, 2)
  writeFileSync(input, lines.join('\n').replace('sky', 'sea'))
  await t.throwsAsync(reading.texts(0), { code: 'FORMAT', message: /^input:/ })
  t.is((await reading.texts(1)).length, 2)
  await t.throwsAsync(createCorpus(output, options), refused)
})

test('wrong arguments write nothing', async (t) => {
  const folder = scratch(t)
  const [input, output] = [join(folder, 'texts.txt'), join(folder, 'vectors')]
  writeFileSync(input, lines.join('\n'))
  for (const [change, code] of /** @type {const} */ ([
    [{ shardTexts: 0 }, 'OPTION'],
    [{ dimensions: 9 }, 'OPTION'],
    [{ input: join(folder, 'none') }, 'FORMAT'],
    [{ model: join(folder, 'none') }, 'FORMAT'],
    [{ model: 3 }, 'DTYPE'],
    [{ fields: 'x' }, 'OPTION']
  ])) {
    await t.throwsAsync(createCorpus(output, /** @type {any} */ ({ input, model, ...change })), { code })
  }
  const signal = AbortSignal.abort(new Error('no longer wanted'))
  await t.throwsAsync(createCorpus(output, { input, model, signal }), { message: 'no longer wanted' })
  t.deepEqual(readdirSync(folder), ['texts.txt'])
  await t.throwsAsync(openCorpus(output), { code: 'FORMAT', message: /^folder:/ })
})

/** Texts of awkward characters, lengths and line ends. */
const text = fc
  .string({ unit: fc.constantFrom('a', 'é', '"', ',', '\u2028', '🐢', ' ', '\ufeff'), maxLength: 6 })
  .map((rest) => `x${rest}`)

/** @type {Record<string, (texts: readonly string[], end: string) => string>} */
const FORMATS = {
  txt: (texts, end) => texts.join(end),
  jsonl: (texts, end) => texts.map((one, id) => JSON.stringify({ text: one, id })).join(end + end),
  csv: (texts, end) =>
    ['id,text', ...texts.map((one, id) => `${id},"${one.replaceAll('"', '""')}\n"`)].join(end).concat(end)
}

for (const [extension, write] of Object.entries(FORMATS)) {
  test(`${extension}: the texts of the shards are those of the file`, async (t) => {
    const folder = scratch(t)
    const input = join(folder, `texts.${extension}`)
    const ends = fc.constantFrom('\n', '\r\n')
    await fc.assert(
      fc.asyncProperty(
        fc.array(text, { maxLength: 9 }),
        ends,
        fc.integer({ min: 1, max: 4 }),
        async (texts, end, n) => {
          writeFileSync(input, `\ufeff${write(texts, end)}`)
          const all = await listOf(readTexts(input))
          const isCsv = extension === 'csv'
          t.deepEqual(
            all.map((one) => one.text),
            isCsv ? texts.map((one) => `${one}\n`) : texts
          )
          const output = join(folder, 'vectors')
          rmSync(output, { recursive: true, force: true })
          const corpus = await createCorpus(output, { input, model, shardTexts: n })
          const shards = await Promise.all(Array.from({ length: corpus.numShards }, (_, shard) => corpus.texts(shard)))
          corpus.dispose()
          t.true(shards.every((shard, index) => shard.length === n || index === shards.length - 1))
          t.deepEqual(shards.flat(), all)
        }
      ),
      { numRuns: 6 }
    )
  })
}

test('lines longer than a piece of the file, and characters across pieces, are read whole', async (t) => {
  const input = join(scratch(t), 'texts.txt')
  const texts = ['a', 'é'.repeat(1_300_000), '', 'b']
  writeFileSync(input, texts.join('\n'))
  const read = await listOf(readTexts(input))
  t.deepEqual(
    read.map(({ id }) => id),
    [1, 2, 4]
  )
  t.true(read[1].text === texts[1])
})
