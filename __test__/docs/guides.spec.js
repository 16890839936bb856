// Runs the programs of the README and of every guide on both backends, and compares their output. Programs for pages
// are bundled.
import { mkdtempSync, existsSync, readFileSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import test from 'ava'
import { build, transform } from 'esbuild'
import { onnxModel } from '../../benchmark/peers/onnx-model.js'
import { linesOf, linesOfEach, programsOf } from '../support/programs.js'

const root = fileURLToPath(new URL('../../', import.meta.url))
const guides = readdirSync(join(root, 'docs')).filter((name) => name.endsWith('.md'))
const documents = ['README.md', ...guides.map((name) => `docs/${name}`)]

/** Bundles code for a page, with the module that the exports map names for it. @param {string} code */
const bundle = (code) =>
  build({
    stdin: { contents: code, resolveDir: root },
    bundle: true,
    write: false,
    format: 'esm',
    target: 'es2022',
    conditions: ['browser'],
    logLevel: 'silent'
  })

/** The installed packages that the benchmark compares with, if any. */
const peers = join(root, 'benchmark', 'node_modules')

/**
 * Runs a program that needs another package, in a folder with that package and the model that the guide makes in
 * Python.
 *
 * @param {string} code
 */
async function besidePeers(code) {
  const folder = mkdtempSync(join(tmpdir(), 'guide-'))
  try {
    symlinkSync(peers, join(folder, 'node_modules'))
    writeFileSync(join(folder, 'attention.onnx'), attentionModel())
    return await linesOf(code, 'native', folder)
  } finally {
    rmSync(folder, { recursive: true })
  }
}

/** A model with a single attention node. */
function attentionModel() {
  const tensor = { data: new Float32Array(8), shape: [1, 1, 2, 4] }
  return onnxModel({
    nodes: [{ op: 'Attention', inputs: ['Q', 'K', 'V'], output: 'Y', attributes: { is_causal: 1 } }],
    inputs: { Q: tensor, K: tensor, V: tensor },
    output: { name: 'Y', shape: tensor.shape }
  })
}

for (const name of documents) {
  // Programs of one document share a process, as a start takes longer than most of them.
  const plain = programsOf(name).filter(({ mark }) => mark === undefined)
  for (const kind of plain.length > 0 ? ['native', 'wasm'] : []) {
    test(`${kind}: the programs of ${name} print the documented output`, async (t) => {
      const printed = await linesOfEach(plain, kind)
      plain.forEach(({ lines, line }, index) =>
        t.deepEqual(printed[index], lines.length > 0 ? lines : [''], `line ${line}`)
      )
    })
  }
  for (const { code, mark, lines, line } of programsOf(name)) {
    const place = `${name}, line ${line}`
    if (mark === undefined) continue
    if (mark === 'browser') {
      test(`the program of ${place} can be bundled for a page`, async (t) => {
        const { warnings, outputFiles } = await bundle(code)
        t.deepEqual(warnings, [])
        t.true(outputFiles[0].text.length > 0)
      })
    } else if (mark === 'excerpt' || !existsSync(join(peers, mark))) {
      test(`the program of ${place} can be parsed`, async (t) => {
        const { warnings } = await transform(code, { format: 'esm' })
        t.deepEqual(warnings, [])
      })
    } else {
      test(`the program of ${place} prints the documented output, with ${mark}`, async (t) => {
        t.deepEqual(await besidePeers(code), lines)
      })
    }
  }
}

test('the programs of the README and of each guide run', (t) => {
  t.true(programsOf('README.md').length >= 2)
  const fences = (/** @type {string} */ name) => readFileSync(join(root, name), 'utf8').match(/^ *```js/gm)?.length ?? 0
  for (const name of documents) {
    t.is(programsOf(name).length, fences(name), name)
    t.false(
      programsOf(name).some(({ lines }) => lines.includes('?')),
      `${name}: what a program prints is still to be written down`
    )
  }
})

test('Rust programs also appear in the README of the crate, where they are doctests', (t) => {
  const crate = readFileSync(join(root, 'crates', 'attention', 'README.md'), 'utf8')
  for (const name of documents) {
    for (const [, code] of readFileSync(join(root, name), 'utf8').matchAll(/^```rust\n([^]*?)^```/gm)) {
      t.true(crate.includes(code), `${name}:\n${code}`)
    }
  }
})

test('the npm scripts and commands that documents name exist', (t) => {
  const { scripts } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
  const commands = readFileSync(join(root, 'lib/cli/index.js'), 'utf8')
  for (const name of [...documents, 'CONTRIBUTING.md']) {
    const text = readFileSync(join(root, name), 'utf8')
    for (const [, script] of text.matchAll(/npm run ([\w:]+)/g))
      t.is(typeof scripts[script], 'string', `${name}: ${script}`)
    for (const [, command] of text.matchAll(/npx @ruvector\/attention (\w+)/g)) {
      t.true(commands.includes(`  ${command}: { file:`), `${name}: ${command}`)
    }
  }
})
