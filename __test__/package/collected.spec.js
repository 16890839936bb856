// Objects that nobody disposes of: the engine knows their size, and collects them before memory runs out.
import test from 'ava'
import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

const entry = new URL('../../index.js', import.meta.url).href

/** Makes objects, one per turn of the event loop, and prints the most bytes that were allocated at a time. */
const program = (/** @type {string} */ kind, /** @type {string} */ make, /** @type {number} */ count) => `
  import { loadBackend } from '${entry}'
  const attention = await loadBackend('${kind}')
  let peak = 0
  for (let index = 0; index < ${count}; index++) {
    ${make}
    peak = Math.max(peak, attention.memoryUsage().allocated)
    await new Promise((resolve) => setImmediate(resolve))
  }
  console.log(peak)`

/** Objects that would occupy gigabytes together. @type {[string, string, number][]} */
const cases = [
  ['caches', 'new attention.KVCache({ kvHeads: 12, headDim: 64, capacity: 2048 })', 150],
  ['layers', 'new attention.SelfAttention({ modelDim: 1024, numHeads: 16 })', 40],
  [
    'graphs',
    `attention.Graph.fromEdges({ numNodes: 10, source: new Int32Array(1e6), target: new Int32Array(1e6) })`,
    60
  ]
]

for (const kind of ['native', 'wasm']) {
  for (const [name, make, count] of cases) {
    test(`${kind}: ${name} that were dropped without dispose() never occupy 512 MB`, async (t) => {
      const { stdout } = await promisify(execFile)(
        process.execPath,
        ['--input-type=module', '--eval', program(kind, make, count)],
        { cwd: fileURLToPath(new URL('../../', import.meta.url)) }
      )
      t.log(`${(Number(stdout) / 1e6).toFixed(0)} MB at most`)
      t.true(Number(stdout) < 512e6)
    })
  }
}
