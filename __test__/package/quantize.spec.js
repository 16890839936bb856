// The command `quantize`, run as a process: what it converts, what it copies, and what it refuses.
import { execFile } from 'node:child_process'
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  symlinkSync,
  writeFileSync
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import test from 'ava'
import { convert, loadSafetensors, openSafetensors, saveSafetensors } from '@ruvector/attention'
import { quantizeFile } from '../../lib/cli/quantize-file.js'
import { quantizeFolder } from '../../lib/cli/quantize-folder.js'
import { loadModel } from '@ruvector/attention/models'
import { onBothBackends } from '../support/backends.js'
import { normal } from '../support/tensors.js'

const program = fileURLToPath(new URL('../../lib/cli/index.js', import.meta.url))

/**
 * @param {readonly string[]} args
 * @returns {Promise<{ code: number, stdout: string, stderr: string }>}
 */
function run(...args) {
  return new Promise((resolve) => {
    execFile(process.execPath, [program, ...args], (error, stdout, stderr) => {
      resolve({ code: Number(error?.code ?? 0), stdout, stderr })
    })
  })
}

/** @param {import('ava').ExecutionContext} t */
function scratch(t) {
  const folder = mkdtempSync(join(tmpdir(), 'attention-quantize-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  return (/** @type {string} */ name) => join(folder, name)
}

const STATE = {
  'a.weight': normal([5, 70], 1),
  'a.bias': normal([5], 2),
  'b.weight': convert(normal([3, 32], 3), 'bf16'),
  'c.weight': convert(normal([4, 40], 4), 'q8_0'),
  kernel: normal([2, 3, 4], 5),
  ids: { data: Int32Array.of(1, 2, 3, 4), shape: [2, 2] },
  empty: { data: new Float32Array(0), shape: [0, 8] }
}

for (const type of /** @type {const} */ (['q8_0', 'f16', 'bf16', 'f32'])) {
  test(`matrices are converted to ${type}, and all else is copied`, async (t) => {
    const path = scratch(t)
    writeFileSync(path('in.safetensors'), saveSafetensors(STATE, { format: 'pt', note: 'ü' }))
    /** @type {[number, number][]} */
    const progress = []
    const onProgress = (/** @type {number} */ done, /** @type {number} */ total) => progress.push([done, total])
    await quantizeFile(path('in.safetensors'), path('out.safetensors'), { type, onProgress })
    const found = loadSafetensors(readFileSync(path('out.safetensors')), { halves: 'keep' })
    const isMatrix = (/** @type {string} */ name) => /weight|empty/.test(name)
    const expected = Object.entries(STATE).map(([name, tensor]) => [
      name,
      isMatrix(name) ? convert(/** @type {any} */ (tensor), type) : tensor
    ])
    t.deepEqual(found, Object.fromEntries(expected))
    const file = await openSafetensors(path('out.safetensors'))
    t.deepEqual({ ...file.metadata }, { format: 'pt', note: 'ü' })
    await file.close()
    const last = progress[progress.length - 1]
    t.is(last[0], last[1])
    t.true(progress.every(([done], at) => at === 0 || done >= progress[at - 1][0]))
    t.false(existsSync(path('out.safetensors.partial')))
  })
}

test('the command reports sizes, and the inspection shows types and bytes', async (t) => {
  const path = scratch(t)
  const [input, output] = [path('in.safetensors'), path('out.safetensors')]
  writeFileSync(input, saveSafetensors(STATE))
  const { code, stdout, stderr } = await run('quantize', input, '--type', 'q8_0', '--output', output, '--json')
  t.deepEqual([code, stderr], [0, ''])
  const bytes = readFileSync(output).length
  t.deepEqual(JSON.parse(stdout), { input, output, type: 'q8_0', converted: 3, tensors: 7, bytes })
  const text = await run('quantize', input, '--type', 'f16', '--output', output)
  t.regex(text.stdout, /out\.safetensors: 4 of 7 tensors converted to f16, \d+\.\d MB to \d+\.\d MB\n$/)
  await run('quantize', input, '--type', 'q8_0', '--output', output)
  const { tensors } = JSON.parse((await run('inspect', output, '--json')).stdout)
  const a = tensors.find((/** @type {{ name: string }} */ { name }) => name === 'a.weight')
  t.deepEqual(a, { name: 'a.weight', shape: [5, 70], dtype: 'Q8_0', parameters: 350, bytes: 350 + 2 * 15 })
  t.is(tensors.length, 7)
})

const models = fileURLToPath(new URL('../golden/models/', import.meta.url))
const ids = [
  [5, 9, 1, 30],
  [7, 7, 2]
]

onBothBackends((kind, attention) => {
  test(`${kind}: a folder that is converted is the model that loading converts, to the bit`, async (t) => {
    const path = scratch(t)
    for (const [name, type] of /** @type {const} */ ([
      ['sentences-dense', 'q8_0'],
      ['albert-words', 'q8_0'],
      ['mpnet-words', 'q8_0'],
      ['llama', 'q8_0'],
      ['t5', 'q8_0'],
      ['bert', 'bf16']
    ])) {
      await quantizeFolder(join(models, name), path(name), { type })
      // The file tells 8 bits; 16 bits are read as 32 unless the caller asks for them.
      const own = type === 'q8_0' ? {} : { type }
      const [found, expected] = await Promise.all([
        loadModel(path(name), { attention, ...own }),
        loadModel(join(models, name), { attention, type })
      ])
      t.is(found.type, type)
      t.deepEqual([found.bytes, found.numParameters], [expected.bytes, expected.numParameters], name)
      t.deepEqual(await found.encode(ids), await expected.encode(ids), name)
      const exact = await loadModel(path(name), { attention, type: 'f32' })
      const whole = await loadModel(join(models, name), { attention })
      t.is(exact.bytes, whole.bytes)
      for (const model of [found, expected, exact, whole]) model.dispose()
    }
  })
})

test('a folder is copied whole, also from shards, and nothing is overwritten', async (t) => {
  const path = scratch(t)
  const source = path('sharded')
  cpSync(join(models, 'sentences-dense'), source, { recursive: true })
  const entries = Object.entries(loadSafetensors(readFileSync(join(source, 'model.safetensors'))))
  rmSync(join(source, 'model.safetensors'))
  const parts = { 'model-1.safetensors': entries.slice(0, 9), 'model-2.safetensors': entries.slice(9) }
  for (const [file, own] of Object.entries(parts)) {
    writeFileSync(join(source, file), saveSafetensors(Object.fromEntries(own)))
  }
  const map = Object.entries(parts).flatMap(([file, own]) => own.map(([name]) => [name, file]))
  writeFileSync(join(source, 'model.safetensors.index.json'), JSON.stringify({ weight_map: Object.fromEntries(map) }))
  mkdirSync(join(source, '.git'))
  const output = path('new/small')
  const args = ['quantize', source, '--type', 'q8_0', '--output', output]
  const { code, stdout, stderr } = await run(...args)
  t.deepEqual([code, stderr], [0, ''])
  t.regex(stdout, /small: \d+ of \d+ tensors converted to q8_0, \d+\.\d MB to \d+\.\d MB\n$/)
  t.deepEqual(
    readdirSync(output, { recursive: true }).sort(),
    readdirSync(join(models, 'sentences-dense'), { recursive: true }).sort()
  )
  t.deepEqual(
    readFileSync(join(output, 'tokenizer.json')),
    readFileSync(join(models, 'sentences-dense/tokenizer.json'))
  )
  const again = await run(...args)
  t.deepEqual([again.code, again.stdout], [1, ''])
  t.regex(again.stderr, /small: expected the path of a new folder, got an existing one\n$/)
  const inside = await run('quantize', source, '--type', 'q8_0', '--output', join(source, 'small'))
  t.regex(inside.stderr, /expected a folder outside the input/)

  writeFileSync(join(source, 'config.json'), '{"model_type": "mamba"}')
  const unknown = quantizeFolder(source, path('none'), { type: 'q8_0' })
  t.like(await t.throwsAsync(unknown), { code: 'FORMAT', argument: 'config.json: model_type' })
  t.deepEqual(readdirSync(path('.')).sort(), ['new', 'sharded'])
})

test('a folder of links to files elsewhere, as the cache of the hub has it, becomes one of files', async (t) => {
  const path = scratch(t)
  cpSync(join(models, 'sentences-dense'), path('blobs'), { recursive: true })
  mkdirSync(path('snapshot'))
  for (const name of readdirSync(path('blobs'))) symlinkSync(join('..', 'blobs', name), path(join('snapshot', name)))
  symlinkSync('snapshot', path('link'))
  await quantizeFolder(path('link'), path('small'), { type: 'q8_0' })
  rmSync(path('blobs'), { recursive: true })
  const model = await loadModel(path('small'))
  t.deepEqual([model.type, (await model.embed('a man is eating food')).shape], ['q8_0', [1, 8]])
  model.dispose()
})

test('a wrong command line or file is reported in one line, and leaves no file', async (t) => {
  const path = scratch(t)
  const [input, output] = [path('in.safetensors'), path('out.safetensors')]
  writeFileSync(input, saveSafetensors({ 'a.weight': { data: Float32Array.of(1, NaN), shape: [1, 2] } }))
  writeFileSync(path('text'), 'no weights')
  const taken = path('taken.safetensors')
  writeFileSync(taken, saveSafetensors({ x: normal([1, 2], 1), 'x.scales': normal([2], 1) }))
  /** @type {[string[], number, RegExp][]} */
  const cases = [
    [[input, '--type', 'q8_0'], 2, /--output is missing/],
    [[input, '--type', 'q4_0', '--output', output], 2, /--type: expected q8_0, f16, bf16, f32, got 'q4_0'/],
    [[input, '--type', 'f16', '--output', input], 2, /--output: expected another file/],
    [[input, '--type', 'q8_0', '--output', output], 1, /^[^\n]*a\.weight[^\n]*\n$/]
  ]
  for (const [args, code, message] of cases) {
    const found = await run('quantize', ...args)
    t.deepEqual([found.code, found.stdout], [code, ''], args.join(' '))
    t.regex(found.stderr, message)
  }
  const convertFile = (/** @type {string} */ file) => quantizeFile(file, output, { type: 'q8_0' })
  await t.throwsAsync(convertFile(path('none')), { code: 'FORMAT' })
  await t.throwsAsync(convertFile(path('text')), { code: 'FORMAT' })
  t.like(await t.throwsAsync(convertFile(taken)), { code: 'FORMAT', argument: 'x.scales' })
  t.like(await t.throwsAsync(convertFile(input)), { code: 'DOMAIN', argument: 'a.weight' })
  t.false(existsSync(output) || existsSync(`${output}.partial`))
})
