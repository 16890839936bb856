// The commands that run models, as separate processes.
import { execFile } from 'node:child_process'
import { cpSync, mkdtempSync, readFileSync, readdirSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import test from 'ava'
import { loadSafetensors } from '@ruvector/attention'
import { loadModel } from '@ruvector/attention/models'

const root = fileURLToPath(new URL('../../', import.meta.url))
const model = join(root, '__test__/golden/models/sentences-dense')
const crossEncoder = join(root, '__test__/golden/models/cross-encoder')
const texts = ['a man is eating food', 'someone eats a meal', 'the sky is blue', 'who ate what', 'the man', 'a meal']

/** @param {readonly string[]} args @returns {Promise<{ code: number, stdout: string, stderr: string }>} */
const run = (...args) =>
  new Promise((resolve) => {
    execFile(process.execPath, [join(root, 'lib/cli/index.js'), ...args], (error, stdout, stderr) =>
      resolve({ code: Number(error?.code ?? 0), stdout, stderr })
    )
  })

/** @param {import('ava').ExecutionContext} t */
function scratch(t) {
  const folder = mkdtempSync(join(tmpdir(), 'attention-models-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

/** The vectors in a folder, by shards. @param {string} folder */
const vectorsIn = (folder) =>
  readdirSync(folder)
    .filter((name) => name.endsWith('.safetensors'))
    .sort()
    .map((name) => loadSafetensors(readFileSync(join(folder, name))).vectors)

test('embed writes the vectors of every text, resumes after an interruption, and mixes nothing', async (t) => {
  const folder = scratch(t)
  const [input, output] = [join(folder, 'texts.txt'), join(folder, 'vectors')]
  writeFileSync(input, `${texts.slice(0, 3).join('\n')}\n\n${texts.slice(3).join('\r\n')}\n`)
  const args = ['embed', input, '--model', model, '--output', output, '--shard', '4']
  const first = await run(...args)
  t.is(first.stderr, '')
  t.regex(first.stdout, /^6 texts in 2 files/)
  const expected = await (await loadModel(model)).embed(texts)
  const shards = vectorsIn(output)
  t.deepEqual(
    shards.map(({ shape }) => [...shape]),
    [
      [4, 8],
      [2, 8]
    ]
  )
  const all = shards.flatMap(({ data }) => [...data])
  t.true(all.every((x, index) => Math.abs(x - expected.data[index]) < 1e-6))

  // A shard that is cut short is written again, to the same bytes; a whole one stays.
  const file = join(output, 'shard-000001.safetensors')
  const before = readFileSync(file)
  truncateSync(file, before.length - 4)
  const again = JSON.parse((await run(...args, '--resume', '--json')).stdout)
  t.is(again.skipped, 4)
  t.deepEqual(readFileSync(file), before)

  t.regex((await run(...args)).stderr, /a folder without vectors, or the option `resume`/)
  t.regex(
    (await run(...args, '--resume', '--normalize')).stderr,
    /the same input, model and options, got vectors of others/
  )
  writeFileSync(input, texts.slice(1).join('\n'))
  t.regex((await run(...args, '--resume')).stderr, /the same input, model and options, got vectors of others/)
})

test('embed reads JSON lines and CSV, with their ids', async (t) => {
  const folder = scratch(t)
  const lines = [{ id: 'a', text: texts[0] }, { id: 7, text: texts[1] }, { text: texts[2] }]
  const inputs = {
    'texts.jsonl': lines.map((line) => JSON.stringify(line)).join('\n'),
    'texts.csv': `id,text\na,"${texts[0]}"\n7,${texts[1]}\n"q""q","the sky, ""blue""\nand more"\n`
  }
  for (const [name, contents] of Object.entries(inputs)) {
    const [input, output] = [join(folder, name), join(folder, `${name}.vectors`)]
    writeFileSync(input, contents)
    const { code, stderr } = await run('embed', input, '--model', model, '--output', output)
    t.is(code, 0, stderr)
    const bytes = readFileSync(join(output, 'shard-000000.safetensors'))
    const header = JSON.parse(bytes.subarray(8, 8 + Number(bytes.readBigUInt64LE())).toString())
    t.deepEqual(JSON.parse(header.__metadata__.ids), name.endsWith('csv') ? ['a', '7', 'q"q'] : ['a', 7, 3])
    const { data } = loadSafetensors(bytes).vectors
    const own = await (await loadModel(model)).embed(name.endsWith('csv') ? [texts[0]] : texts.slice(0, 3))
    t.true(own.data.every((x, index) => Math.abs(x - data[index]) < 1e-6))
  }
})

test('search finds the texts closest to a query, and rerank sorts texts by a cross-encoder', async (t) => {
  const folder = scratch(t)
  const [input, output] = [join(folder, 'texts.txt'), join(folder, 'vectors')]
  writeFileSync(input, texts.join('\n'))
  await run('embed', input, '--model', model, '--output', output, '--shard', '4')
  const hits = JSON.parse(
    (await run('search', texts[4], '--model', model, '--vectors', output, '--top', '3', '--json')).stdout
  )
  t.is(hits.length, 3)
  t.is(hits[0].text, texts[4])
  t.is(hits[0].id, 5)
  t.true(Math.abs(hits[0].score - 1) < 1e-5)
  t.regex(
    (await run('search', 'x', '--model', crossEncoder, '--vectors', output)).stderr,
    /expected the model of the corpus, sentences-dense, got another model/
  )
  rmSync(join(output, 'shard-000001.safetensors'))
  t.regex(
    (await run('search', 'x', '--model', model, '--vectors', output)).stderr,
    /shard 1: expected a whole file of this corpus, got none/
  )

  const small = join(folder, 'small')
  await run('embed', input, '--model', model, '--output', small, '--type', 'q8_0')
  const own = JSON.parse((await run('search', texts[4], '--model', model, '--vectors', small, '--json')).stdout)
  t.is(own[0].text, texts[4])
  t.true(Math.abs(own[0].score - 1) < 1e-5)

  const ranked = JSON.parse((await run('rerank', texts[0], input, '--model', crossEncoder, '--json')).stdout)
  const expected = await (await loadModel(crossEncoder)).rerank(texts[0], texts)
  t.deepEqual(
    ranked.map((/** @type {{ text: string }} */ { text }) => text),
    expected.map(({ index }) => texts[index])
  )
})

test('generate continues a text, and prints it as it comes', async (t) => {
  const folder = scratch(t)
  for (const [from, names] of /** @type {const} */ ([
    ['llama', ['config.json', 'model.safetensors']],
    ['cross-encoder', ['tokenizer.json', 'tokenizer_config.json']]
  ])) {
    for (const name of names) cpSync(join(root, '__test__/golden/models', from, name), join(folder, name))
  }
  const args = ['generate', 'the sky', '--model', folder, '--max-tokens', '5']
  const { text, tokens } = JSON.parse((await run(...args, '--json')).stdout)
  t.is(tokens.length, 5)
  t.is((await run(...args)).stdout, `${text}\n`)
  t.is(JSON.parse((await run(...args, '--type', 'q8_0', '--json')).stdout).tokens.length, 5)
  const warm = [...args, '--json', '--temperature', '5', '--seed', '3']
  t.is((await run(...warm)).stdout, (await run(...warm)).stdout)
  t.regex((await run(...args, '--top-p', 'x')).stderr, /--top-p: expected a number/)
  t.regex((await run(...args, '--top-p', '2')).stderr, /topP: expected a number above 0, at most 1/)
})

test('wrong command lines and files end with a message in one line', async (t) => {
  const folder = scratch(t)
  writeFileSync(join(folder, 'broken.jsonl'), '{"text": "a"}\n{"text": 1}\n')
  const cases = /** @type {const} */ ([
    [['embed'], 2, /expected exactly one input file/],
    [['embed', 'x', '--output', folder], 2, /--model is missing/],
    [['embed', 'x', '--model', model, '--output', folder, '--shard', '0'], 2, /--shard: expected a positive integer/],
    [['generate', 'x', '--model', model, '--type', 'q4_0'], 2, /--type: expected q8_0, f16, bf16, f32, got 'q4_0'/],
    [['embed', 'x', '--model', model, '--output', folder, '--sharp', '1'], 2, /Unknown option '--sharp'/],
    [['embed', join(folder, 'none'), '--model', model, '--output', join(folder, 'o')], 1, /no such file/],
    [
      ['embed', join(folder, 'broken.jsonl'), '--model', model, '--output', join(folder, 'o')],
      1,
      /line 2: expected a string in the field 'text'/
    ],
    [['embed', join(folder, 'broken.jsonl'), '--model', folder, '--output', join(folder, 'o'), '--field', 'x'], 1, /./],
    [['search', 'x', '--model', model, '--vectors', folder], 1, /a folder with a manifest\.json, got none/],
    [['rerank', 'x', join(folder, 'none'), '--model', crossEncoder], 1, /no such file/]
  ])
  for (const [args, code, message] of cases) {
    const result = await run(...args)
    t.is(result.code, code, result.stderr)
    t.regex(result.stderr, message)
    t.is(result.stdout, '')
    t.true(result.stderr.trim().split('\n').length <= 2)
  }
})
