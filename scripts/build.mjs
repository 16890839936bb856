// The builds of both backends, for scripts/run.mjs and the release. Uses only Node's own modules until esbuild is
// installed.

import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  writeFileSync
} from 'node:fs'
import { basename, join } from 'node:path'
import { Failure, npmProgram, query, root, run } from '../tools/shell.mjs'
import { OLDEST_GLIBC } from '../tools/release/platforms.mjs'

const native = join('packages', 'native')

const CRATE = ['--package', 'ruvector-attention-node', '--manifest-path', 'crates/attention-node/Cargo.toml']
const CARGO = ['--', '--quiet', '--locked']

/** Looked up when it is used, as the set-up installs the program. */
const napiBuild = () => [npmProgram('@napi-rs/cli', 'napi'), 'build', '--platform']

/**
 * Builds the addon. With `target`, it is built for publication: without symbols, and on Linux for old C libraries.
 *
 * @param {string} [target]  a Rust target; by default that of this machine
 * @param {boolean} [isForDevelopment]  true to keep the symbols of the addon
 */
export async function buildNative(target, isForDevelopment = false) {
  const scratch = join('target', target ? `napi-${target}` : 'napi')
  const output = ['--output-dir', scratch, '--dts', 'binding.d.ts', '--no-js']
  const machine = target ? ['--target', target] : []
  await run(process.execPath, [...napiBuild(), '--release', ...machine, ...CRATE, ...output, ...CARGO], {
    env: target ? publishedEnvironment(target) : isForDevelopment ? { CARGO_PROFILE_RELEASE_STRIP: 'none' } : {}
  })
  for (const name of readdirSync(join(root, scratch))) {
    if (name.endsWith('.node')) replace(join(scratch, name), join(native, name))
  }
  if (!target) replace(join(scratch, 'binding.d.ts'), join('crates', 'attention-node', 'binding.d.ts'))
}

/**
 * Builds an addon and a module with an operation that panics, for the specs about panics. They are quick to build and
 * slow to run.
 */
export async function buildWithFaults() {
  const folder = join('target', 'faults')
  const output = ['--output-dir', folder, '--target-dir', join(folder, 'build'), '--no-js', '--features', 'faults']
  await run(process.execPath, [...napiBuild(), ...CRATE, ...output, ...CARGO], {
    env: { CARGO_PROFILE_DEV_OPT_LEVEL: '0' }
  })
  await run('cargo', ['xtask', 'wasm', '--faults'])
}

/**
 * @param {string} target
 * @returns {Record<string, string>}
 */
function publishedEnvironment(target) {
  const environment = { CARGO_PROFILE_RELEASE_STRIP: 'symbols' }
  const [, machine, library] = target.match(/^(\w+)-unknown-linux-(gnu|musl)$/) ?? []
  if (!library) return environment
  const linker = `CARGO_TARGET_${target.replaceAll('-', '_').toUpperCase()}_LINKER`
  return {
    ...environment,
    [linker]: zigLinker(`${machine}-linux-${library}${library === 'gnu' ? `.${OLDEST_GLIBC}` : ''}`)
  }
}

/**
 * Writes a linker that uses the C library of zig, which includes every version. `cargo-zigbuild`, from PyPI or
 * crates.io, translates the arguments.
 *
 * @param {string} target  in zig's notation
 * @returns {string} the path of the linker
 */
function zigLinker(target) {
  if (query('cargo-zigbuild', ['--version']) === undefined) {
    throw new Failure('to build for the C libraries of Linux, cargo-zigbuild is needed: pip install cargo-zigbuild')
  }
  const file = join(root, 'target', `zig-${target}.sh`)
  mkdirSync(join(file, '..'), { recursive: true })
  writeFileSync(file, `#!/bin/sh\nexec cargo-zigbuild zig cc -- -target ${target} "$@"\n`, { mode: 0o755 })
  return file
}

/**
 * Replaces a file with a copy of another if they differ. A process that has loaded the old one keeps it.
 *
 * @param {string} from
 * @param {string} to
 */
function replace(from, to) {
  const [source, target] = [join(root, from), join(root, to)]
  if (existsSync(target) && readFileSync(source).equals(readFileSync(target))) return
  mkdirSync(join(target, '..'), { recursive: true })
  copyFileSync(source, `${target}.new`)
  renameSync(`${target}.new`, target)
}

/** Builds the variants of WebAssembly, their glue, and the program of the workers. */
export async function buildWasm(isForDevelopment = false) {
  await run('cargo', ['xtask', 'wasm', ...(isForDevelopment ? ['--dev'] : [])])
  await buildWorker()
  await buildCommonJs()
}

/**
 * Bundles the program of the workers.
 *
 * @param {import('esbuild').BuildOptions} options  the form of the output
 */
export async function bundleWorker(options) {
  const { build } = await import('esbuild')
  return build({
    entryPoints: [join(root, 'lib', 'runtime', 'async', 'worker.js')],
    bundle: true,
    format: 'iife',
    platform: 'neutral',
    target: 'es2022',
    ...options
  })
}

/** Bundles the program of the workers as one text, so that workers start from any location of the package. */
async function buildWorker() {
  const { outputFiles = [] } = await bundleWorker({ minify: true, write: false })
  const program = outputFiles[0].text.trim()
  const start = '// Generated by `npm run build:wasm` from lib/runtime/async/worker.js.\n'
  writeFileSync(
    join(root, 'packages', 'wasm', 'attention.worker.js'),
    `${start}export const program = ${JSON.stringify(program)}\n`
  )
  const types = '// Generated with attention.worker.js.\nexport const program: string\n'
  writeFileSync(join(root, 'packages', 'wasm', 'attention.worker.d.ts'), types)
}

/** Subpaths of the package for Node, with their modules. */
const subpaths = {
  index: 'index.js',
  core: 'lib/entries/core.js',
  compat: 'lib/entries/compat.js',
  models: 'lib/entries/models.js',
  training: 'lib/entries/training.js',
  plot: 'lib/plot/index.js',
  graphology: 'lib/graphology/index.js'
}

/** The loaders' last resort: the bytes of the modules. */
const lastResorts = ['attention', 'attention.training'].map((name) =>
  join(root, 'packages', 'wasm', `${name}.inline.js`)
)

/**
 * Builds the package for Node, and for test runners whose `require` does not support ES modules, such as Jest: the same
 * sources in a few CommonJS files, which start in a third of the time of a hundred ES modules. Each subpath has a file
 * for `require`, an ES module for `import`, and declarations. All of them lead to the same parts, so classes are the
 * same for every importer.
 */
export async function buildCommonJs() {
  const { build, transform } = await import('esbuild')
  const folder = join(root, 'lib', 'cjs')
  const names = Object.keys(subpaths)
  const { outputFiles, metafile } = await build({
    absWorkingDir: root,
    entryPoints: Object.entries(subpaths).map(([name, file]) => ({ in: file, out: `part-${name}` })),
    chunkNames: 'part-[hash]',
    bundle: true,
    splitting: true,
    format: 'esm',
    platform: 'node',
    target: 'node20',
    external: [...lastResorts, 'graphology', '@huggingface/tokenizers'],
    alias: { '@ruvector/attention': './index.js' },
    define: { 'import.meta.url': 'moduleUrl' },
    outdir: folder,
    outExtension: { '.js': '.cjs' },
    metafile: true,
    write: false
  })
  rmSync(folder, { recursive: true, force: true })
  mkdirSync(folder)
  const numbered = numberParts(metafile)
  for (const { path, text } of outputFiles) {
    // Line breaks keep stack traces readable, and the source line that Node prints for an uncaught error short.
    const { code } = await transform(toCommonJs(numbered(text)), { minifyWhitespace: true, lineLimit: 120 })
    writeFileSync(numbered(path), `${generated}${code}`)
  }
  writeFileSync(join(folder, 'parts.cjs'), partsFile(names))
  for (const name of names) {
    const { exports } = metafile.outputs[`lib/cjs/part-${name}.cjs`]
    writeFileSync(join(folder, `${name}.cjs`), requiredFile(name, exports))
    writeFileSync(join(folder, `${name}.mjs`), importedFile(name, exports))
    const declarations = name === 'graphology' ? 'lib/graphology/index.d.ts' : `${name}.d.ts`
    const types = readFileSync(join(root, declarations), 'utf8').replaceAll(
      /'(?:\.\.?\/)+(index|core|training)\.js'/g,
      "'./$1.cjs'"
    )
    writeFileSync(join(folder, `${name}.d.cts`), types)
  }
}

/**
 * Names of shared parts that do not follow their contents, by which esbuild names them: numbers, the lowest for the
 * part that imports no other. Deno may run the compiled form of an earlier file of the same length, and would look for
 * a part's former name.
 *
 * @param {import('esbuild').Metafile} metafile
 * @returns {(text: string) => string} replaces the names in a path or program
 */
function numberParts({ outputs }) {
  const shared = Object.entries(outputs).filter(([, { entryPoint }]) => entryPoint === undefined)
  const names = shared.sort(([, a], [, b]) => a.imports.length - b.imports.length).map(([path]) => basename(path))
  return (text) => names.reduce((result, name, index) => result.replaceAll(name, `part-${index + 1}.cjs`), text)
}

const generated = '// Generated by `npm run build:wasm` from the ES modules of the package.\n'

/**
 * The parts by subpath, loaded when they are called. Of two equal names in one part, esbuild numbers one, which may be
 * that of an exported function or class: it gets its name back. (esbuild's option `keepNames` names every function when
 * it is made, which takes longer.)
 *
 * @param {readonly string[]} names  of subpaths
 */
const partsFile = (names) => `${generated}const named = (part) => {
  for (const [name, value] of Object.entries(part)) {
    const isNumbered = typeof value === 'function' && value.name !== name && value.name.replace(/\\d+$/, '') === name
    if (isNumbered) Object.defineProperty(value, 'name', { value: name })
  }
  return part
}
module.exports = {
${names.map((name) => `  ${name}: () => named(require('./part-${name}.cjs'))`).join(',\n')}
}
`

/**
 * Tools that read types look for an assignment of the default export, and do not see the one in the part.
 *
 * @param {string} name
 * @param {readonly string[]} exports
 */
const requiredFile = (name, exports) => `${generated}module.exports = require('./parts.cjs').${name}()
Object.defineProperty(module.exports, '__esModule', { value: true })
${exports.includes('default') ? 'module.exports.default = module.exports.default\n' : ''}`

/**
 * Node searches every CommonJS file that an ES module imports for names of exports, which takes as long as running it.
 * The ES modules therefore import the short `parts.cjs`.
 *
 * @param {string} name
 * @param {readonly string[]} exports
 */
function importedFile(name, exports) {
  const named = exports.filter((one) => one !== 'default').join(', ')
  const standard = exports.includes('default') ? 'export default part.default\n' : ''
  return `${generated}import parts from './parts.cjs'
const part = parts.${name}()
export const { ${named} } = part
${standard}`
}

/**
 * Converts the imports and exports of an ES module as esbuild prints them. Each name is read once, because no module of
 * the package changes an export after its evaluation. esbuild's own conversion reads names through getters, which makes
 * a small call a tenth slower.
 *
 * @param {string} text
 */
function toCommonJs(text) {
  const code = text
    .replace(
      /^import \{([^}]*)\} from ("[^"]+");$/gm,
      (_, list, from) => `const {${list.replaceAll(' as ', ': ')}} = require(${from});`
    )
    .replace(/^import ("[^"]+");$/gm, 'require($1);')
    .replace(/^export \{([^}]*)\};$/m, (_, list) => `module.exports = {${list.replace(/(\S+) as (\w+)/g, '$2: $1')}};`)
  const [left] = code.match(/^(?:import|export) .*/m) ?? []
  if (left !== undefined) throw new Failure(`the build for Node cannot convert this line to CommonJS: ${left}`)
  if (!code.includes('moduleUrl')) return `'use strict';\n${code}`
  // Tracers of dependencies, such as Next's for standalone output, find files that are joined to `__dirname`.
  const file = 'require("node:url").pathToFileURL(require("node:path").join(__dirname, $1))'
  const traced = code.replace(/new URL\(("[^"]+"), moduleUrl\)/g, file)
  return `'use strict';
const moduleUrl = require('node:url').pathToFileURL(__filename).href;
${traced}`
}
