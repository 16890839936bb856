// Programs in the plan's style, run like a user runs them: the examples, and CommonJS, on both backends.
import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import test from 'ava'

const root = fileURLToPath(new URL('../..', import.meta.url))

/**
 * Runs a program, and returns its output.
 *
 * @param {string} backend
 * @param {readonly string[]} args
 * @param {Record<string, string>} [env]
 */
async function run(backend, args, env = {}) {
  const { stdout } = await promisify(execFile)(process.execPath, args, {
    cwd: root,
    env: { ...process.env, RUVECTOR_ATTENTION_BACKEND: backend, ...env }
  })
  return stdout
}

for (const backend of ['native', 'wasm']) {
  test(`${backend}: the basic example shows every mechanism`, async (t) => {
    const output = await run(backend, ['examples/plan/index.js'])
    t.regex(output, /output: 320 numbers, scale: 0\.125/)
    t.regex(output, /output: 2560 numbers, weights: 200\n {3}parameters: 1050624, memory: [1-9]\d* bytes/)
    // artanh(0.5) twice.
    t.regex(output, /output: 320 numbers, curvature: -1\n {3}distance from the origin: 1\.0986/)
    t.regex(output, /output: 2560 numbers, features: 256/)
    t.regex(output, /outputs: 2560, 2560 and 320 numbers, block size: 64/)
    t.regex(output, /memory: \d+ bytes in use, \d+\.\d\d MB taken/)
  })

  test(`${backend}: the performance example prints a table of times and throughputs`, async (t) => {
    const output = await run(backend, ['examples/plan/index.js', 'performance'], { ITERATIONS: '1' })
    const rows = output.trim().split('\n').slice(2)
    t.is(rows.length, 4 * 5)
    for (const row of rows) {
      const [batch, length, time, throughput, memory] = row.split('|').map(Number)
      t.true([1, 2, 4, 8].includes(batch) && [16, 32, 64, 128, 256].includes(length), row)
      t.true(time > 0 && memory > 0, row)
      t.true(Math.abs(throughput - 1000 / time) <= 0.06 + throughput * (0.01 / time), row)
    }
  })

  test(`${backend}: CommonJS can require the interface, including its default export`, async (t) => {
    const program = `
      const { ruVector, AttentionConfig, default: wrapper, createTensor } = require('@ruvector/attention/compat')
      const layer = wrapper.createMultiHead(new AttentionConfig(2, 4))
      const { data } = createTensor(new Array(24).fill(1), [1, 3, 8])
      const { output, weights } = layer.forward(data, data, data, [1, 3, 3, 8])
      console.log(wrapper === ruVector, output.length, weights.length, require('@ruvector/attention').backend().kind)`
    t.is(await run(backend, ['--input-type=commonjs', '-e', program]), `true 24 18 ${backend}\n`)
  })
}

test('the example rejects unknown programs', async (t) => {
  const error = await t.throwsAsync(run('native', ['examples/plan/index.js', 'advanced']))
  t.regex(/** @type {any} */ (error).stderr, /usage: npm run example -- plan/)
})
