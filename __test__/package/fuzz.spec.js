// Runs the fuzzer and the soak for a few seconds: fixed cases, and new ones whose seed a failure prints.
import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import test from 'ava'
import { loadBackend } from '@ruvector/attention/training'
import { entries, offered } from '../../fuzz/calls.mjs'
import { trainingEntries } from '../../fuzz/training.mjs'
import { backends } from '../support/backends.js'

const folder = fileURLToPath(new URL('../..', import.meta.url))

/** @param {string} script @param {string[]} args */
async function run(script, ...args) {
  const options = { cwd: folder, timeout: 240_000 }
  try {
    return (await promisify(execFile)(process.execPath, [`scripts/${script}.mjs`, ...args], options)).stdout
  } catch (error) {
    const { stdout, stderr, message } = /** @type {any} */ (error)
    throw new Error(`${message}\n${stdout}\n${stderr}`, { cause: error })
  }
}

test('the fuzzer covers every function, class, method and getter of the package', async (t) => {
  const known = new Set(Object.keys({ ...entries, ...trainingEntries }))
  const all = [...offered(backends[0].attention), ...offered(await loadBackend(backends[0].kind))]
  t.deepEqual(
    all.filter((name) => !known.has(name)),
    []
  )
})

test.serial('cases of a fixed seed find nothing', async (t) => {
  const found = await run('fuzz', '--seed', '1', '--calls', '4000')
  t.regex(found, /^4000 calls on native and on wasm, 0 faults/m)
})

test.serial('cases of a time-dependent seed find nothing', async (t) => {
  const found = await run('fuzz', '--seconds', '6')
  t.log(found.match(/--seed \d+/)?.[0])
  t.regex(found, /, 0 faults/)
})

for (const kind of ['native', 'wasm']) {
  test.serial(`${kind}: several seconds of mixed calls leave memory, threads and handles unchanged`, async (t) => {
    const grown = await run('soak', '--seconds', '10', '--backend', kind)
    t.regex(grown, new RegExp(`^${kind}: \\d{3,} calls`, 'm'))
    t.notRegex(grown, /GREW/)
  })
}
