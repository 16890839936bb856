// The command `quantize`, run as a process: what it converts, what it copies, and what it refuses.
import { execFile } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import test from 'ava'
import { convert, loadSafetensors, openSafetensors, saveSafetensors } from '@ruvector/attention'
import { quantizeFile } from '../../lib/cli/quantize-file.js'
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
