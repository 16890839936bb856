// The example that tours all mechanisms: it is complete, both backends agree on each mechanism, and its tables are
// complete.
import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import test from 'ava'
import { loadBackend } from '@ruvector/attention'
import { measure } from '../../examples/mechanisms/measure.js'
import { mechanisms } from '../../examples/mechanisms/mechanisms.js'
import { close } from '../support/tensors.js'

const execute = promisify(execFile)
const program = fileURLToPath(new URL('../../examples/mechanisms/index.js', import.meta.url))

/** @param {string[]} args */
async function tour(...args) {
  try {
    return { code: 0, ...(await execute(process.execPath, [program, ...args])) }
  } catch (error) {
    return /** @type {{ code: number, stdout: string, stderr: string }} */ (error)
  }
}

test('the tour includes every mechanism of the guide', (t) => {
  const guide = readFileSync(new URL('../../docs/mechanisms.md', import.meta.url), 'utf8')
  const rows = guide.split('\n').filter((line) => line.startsWith('| ') && line.includes('`'))
  const named = rows.flatMap((row) => [...row.split('|')[2].matchAll(/`([\w.]+)`/g)].map(([, name]) => name))
  t.true(named.length > 15)
  // A variant follows the name after a comma: the guide lists `window` as well as `KVCache`.
  const toured = new Set(mechanisms.flatMap(({ name }) => [name, ...name.split(', ')]))
  t.deepEqual(
    named.filter((name) => !toured.has(name)),
    []
  )
})

/** The results of each backend, by mechanism. @type {Map<string, import('@ruvector/attention').Tensor>[]} */
const results = []

/** Parameters of the layers, counted by hand: weights and biases. */
const parameters = {
  MultiHeadAttention: 4 * (512 * 512 + 512),
  // Two of eight key/value heads.
  SelfAttention: 2 * (512 * 512 + 512) + 2 * (128 * 512 + 128),
  CrossAttention: 2 * (512 * 512 + 512) + 2 * (512 * 256 + 512),
  TransformerEncoderLayer: 4 * (512 * 512 + 512) + (2048 * 512 + 2048) + (512 * 2048 + 512) + 4 * 512,
  DecoderLayer: 4 * 512 * 512 + 3 * 512 * 1024 + 2 * 512,
  TransformerDecoderLayer: 8 * (512 * 512 + 512) + (1024 * 512 + 1024) + (512 * 1024 + 512) + 6 * 512,
  // Queries, the latent with its norm, keys and values of each head, and the output.
  LatentAttention: 8 * 48 * 512 + 80 * 512 + 64 + 8 * 96 * 64 + 512 * 512,
  GraphConvolution: 64 * 64 + 64,
  GraphSage: 2 * 64 * 64 + 64,
  // Two projections with biases, the scoring vector, and the bias of the output.
  GraphAttention: 2 * (64 * 64 + 64) + 64 + 64,
  GraphTransformer: 4 * (64 * 64 + 64)
}

for (const kind of /** @type {const} */ (['native', 'wasm'])) {
  const attention = await loadBackend(kind)
  /** @type {Map<string, import('@ruvector/attention').Tensor>} */
  const outputs = new Map()
  results.push(outputs)

  test.serial(`${kind}: each mechanism has its parameters, its memory and its time`, (t) => {
    for (const mechanism of mechanisms) {
      const { output, milliseconds, memory, ...found } = measure(attention, mechanism)
      const { name } = mechanism
      outputs.set(name, output)
      t.is(found.parameters, parameters[/** @type {keyof typeof parameters} */ (name)] ?? 0, name)
      t.true(output.data.every(Number.isFinite), name)
      t.true(milliseconds > 0 && memory.peak >= memory.held, name)
      t.true(memory.held >= 4 * found.parameters, name)
      if (found.parameters > 0) t.true(memory.after < memory.held, name)
    }
  })
}

test.serial('the backends agree on each mechanism', (t) => {
  const [native, wasm] = results
  t.is(native.size, mechanisms.length)
  for (const [name, output] of native) {
    t.deepEqual(output.shape, wasm.get(name)?.shape)
    close(t, output, wasm.get(name), 1e-4, name)
  }
})

test('the tables have one line per selected mechanism and backend', async (t) => {
  const { code, stdout, stderr } = await tour('linear')
  t.is(code, 0, stderr)
  for (const name of [
    'LinearAttention, elu',
    'LinearAttention, relu',
    'LinearAttention, favor+',
    'LinearAttention, rule'
  ]) {
    t.is(stdout.split('\n').filter((line) => line.startsWith(name)).length, 2, name)
  }
  t.regex(stdout, /^LinearAttention, elu .*q k v \[1,8,128,64\] +\[1,8,128,64\]$/m)
  const needs = (/** @type {string} */ backend) => `${backend} \\w+ +[\\d.]+ [mµ]s${' +[\\d,]+ KB'.repeat(4)}`
  t.is(stdout.match(new RegExp(needs('native'), 'g'))?.length, 5)
  t.is(stdout.match(new RegExp(`${needs('wasm')}.*\\de[-+]\\d+`, 'g'))?.length, 5)
  t.regex(stdout, /^5 mechanisms; native and wasm differ by \d\.\de[-+]\d at most$/m)
})

test('a text that matches no name exits with 2, and lists the names', async (t) => {
  const { code, stdout, stderr } = await tour('no such mechanism')
  t.is(code, 2)
  t.is(stdout, '')
  t.regex(stderr, /usage: npm run example -- mechanisms[^]*EdgeSoftmax/i)
})
