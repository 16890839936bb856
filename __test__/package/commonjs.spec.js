// The CommonJS build, for `require` and for Node's `import` of the published package: the same API, shared with the ES
// modules of a process.
import { execFile } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import test from 'ava'
import { publishedExports } from '../../tools/release/manifest.mjs'

const root = fileURLToPath(new URL('../..', import.meta.url))

/** @param {string} program  CommonJS, which prints JSON @param {Record<string, string>} [env] */
async function run(program, env = {}) {
  const args = ['--input-type=commonjs', '-e', program]
  const { stdout } = await promisify(execFile)(process.execPath, args, { cwd: root, env: { ...process.env, ...env } })
  return JSON.parse(stdout)
}

/** Files of the build by the package's subpaths. */
const resolved = Object.fromEntries(
  ['', '/core', '/compat', '/plot', '/graphology'].map((path) => [path, `./lib/cjs/${path.slice(1) || 'index'}.cjs`])
)

for (const backend of ['native', 'wasm']) {
  test(`${backend}: the CommonJS build runs by itself`, async (t) => {
    const result = await run(
      `const { SelfAttention, backend, createTensor } = require('${resolved['']}')
       const { default: wrapper, ruVector } = require('${resolved['/compat']}')
       const { attentionHeatmap } = require('${resolved['/plot']}')
       const layer = new SelfAttention({ numHeads: 2, headDim: 4 })
       const x = createTensor(new Float32Array(24).fill(1), [1, 3, 8])
       layer.forwardAsync(x).then(({ output }) => console.log(JSON.stringify([
         backend().kind, output.shape, wrapper === ruVector, ruVector.createFlash(4).block_size,
         attentionHeatmap(createTensor([1], [1, 1])).slice(0, 4), typeof require('${resolved['/graphology']}').fromGraphology
       ])))`,
      { RUVECTOR_ATTENTION_BACKEND: backend }
    )
    t.deepEqual(result, [backend, [1, 3, 8], true, 64, '<svg', 'function'])
  })

  test(`${backend}: both builds are one package in one process, whichever loads first`, async (t) => {
    const compare = `
      const names = Object.keys(esm).filter((name) => name !== 'default')
      const layer = new cjs.SelfAttention({ numHeads: 2, headDim: 4 })
      let caught
      try { cjs.createTensor([1], [2]) } catch (error) { caught = error }
      console.log(JSON.stringify([
        names.filter((name) => esm[name] !== cjs[name]), layer instanceof esm.SelfAttention,
        caught instanceof esm.AttentionError, esmCompat.ruVector === cjsCompat.ruVector,
        esmCompat.WasmErrorInfo === cjsCompat.WasmErrorInfo
      ]))`
    const load = {
      cjs: `const cjs = require('${resolved['']}'); const cjsCompat = require('${resolved['/compat']}');`,
      esm: `const esm = await import('./index.js'); const esmCompat = await import('./lib/entries/compat.js');`
    }
    for (const order of [load.cjs + load.esm, load.esm + load.cjs]) {
      const result = await run(`(async () => { ${order} ${compare} })()`, { RUVECTOR_ATTENTION_BACKEND: backend })
      t.deepEqual(result, [[], true, true, true, true])
    }
  })
}

test("Node's require loads the CommonJS build, which has every export and is one package with the ES modules", async (t) => {
  const require = createRequire(import.meta.url)
  for (const [path, file] of Object.entries(resolved)) {
    const module = await import(`@ruvector/attention${path}`)
    const required = require(`@ruvector/attention${path}`)
    t.is(required, require(`../../${file}`))
    t.deepEqual(Object.keys(required).sort(), Object.keys(module).sort())
    t.true(required.__esModule)
  }
  const main = await import('@ruvector/attention')
  t.is(require('@ruvector/attention').scaledDotProductAttention, main.scaledDotProductAttention)
})

const { exports: manifest } = JSON.parse(readFileSync(`${root}package.json`, 'utf8'))

/** Subpaths that Node imports from the build, with their entries in a clone and in the published package. */
const imported = Object.entries(publishedExports(manifest))
  .filter(([, { node }]) => node?.module !== undefined)
  .map(([path, { node }]) => ({ path, source: node.module, built: node.default, required: node.require }))

test("every subpath that `require` loads has the same exports for Node's `import` of the published package", async (t) => {
  t.deepEqual(
    imported.map(({ path }) => path),
    Object.keys(manifest).filter((path) => manifest[path].require !== undefined)
  )
  for (const { path, source, built, required } of imported) {
    const [expected, found] = await Promise.all([source, built].map((file) => import(`../../${file}`)))
    t.deepEqual(Object.keys(found), Object.keys(expected), path)
    const common = createRequire(import.meta.url)(`../../${required}`)
    for (const [name, value] of Object.entries(found)) {
      t.is(value, common[name], `${path}: ${name}`)
      if (typeof value === 'function') t.is(value.name, expected[name].name, `${path}: ${name}`)
    }
  }
})

test('a subpath loads only the parts that it needs, which are few', async (t) => {
  const parts = readdirSync(`${root}lib/cjs`).filter((name) => name.startsWith('part-'))
  for (const { path, built } of imported) {
    const loaded = await run(
      `import('${built}').then(() => console.log(JSON.stringify(Object.keys(require('node:module')._cache))))`
    )
    const own = loaded.map((/** @type {string} */ file) => file.split(/[/\\]/).at(-1))
    t.true(own.includes('parts.cjs') && own.length <= 6, `${path}: ${own}`)
    const others = imported.map((other) => `part-${other.path.slice(2) || 'index'}.cjs`)
    t.deepEqual(
      own.filter((/** @type {string} */ name) => others.includes(name)),
      [`part-${path.slice(2) || 'index'}.cjs`]
    )
    t.true(own.every((/** @type {string} */ name) => name === 'parts.cjs' || parts.includes(name)))
  }
})

test('an uncaught error of the build shows a line of its source, and functions by their names', async (t) => {
  const program = `const { createTensor, softmax } = require('${resolved['']}'); softmax(createTensor([1], [1]), 0)`
  const { stderr } = /** @type {any} */ (await t.throwsAsync(run(program)))
  t.true(Math.max(...stderr.split('\n').map((/** @type {string} */ line) => line.length)) < 300)
  t.regex(stderr, /at softmax \(.*lib.cjs.part-\w+\.cjs:\d+/)
})

test('the CommonJS build runs if the global object is frozen', async (t) => {
  const result = await run(
    `Object.preventExtensions(globalThis)
     const { createTensor, softmax } = require('${resolved['']}')
     console.log(JSON.stringify(Array.from(softmax(createTensor([0, 0], [2])).data)))`
  )
  t.deepEqual(result, [0.5, 0.5])
})
