// The builds of both backends, for scripts/run.mjs and the release. Uses only Node's own modules until esbuild is
// installed.

import { copyFileSync, existsSync, mkdirSync, readFileSync, readdirSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
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

/** Subpaths of the package that CommonJS can require, with their modules. */
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
 * Builds the package for runtimes and test runners whose `require` does not support ES modules, such as Jest: one
 * bundle of the same sources, with a file and declarations for each subpath.
 */
export async function buildCommonJs() {
  const { build } = await import('esbuild')
  const names = Object.keys(subpaths)
  await build({
    stdin: {
      contents: Object.entries(subpaths)
        .map(([name, file]) => `export * as ${name} from './${file}'`)
        .join('\n'),
      resolveDir: root
    },
    bundle: true,
    minifyWhitespace: true,
    format: 'cjs',
    platform: 'node',
    target: 'node20',
    external: [...lastResorts, 'graphology', '@huggingface/tokenizers'],
    define: { 'import.meta.url': 'moduleUrl' },
    banner: {
      js: [
        '// Generated by `npm run build:wasm` from the ES modules of the package.',
        "const moduleUrl = require('node:url').pathToFileURL(__filename).href;"
      ].join('\n')
    },
    outfile: join(root, 'lib', 'cjs', 'bundle.cjs')
  })
  for (const name of names) {
    const text = `// Generated with bundle.cjs.
module.exports = Object.defineProperty(require('./bundle.cjs').${name}, '__esModule', { value: true })
`
    writeFileSync(join(root, 'lib', 'cjs', `${name}.cjs`), text)
    const declarations = name === 'graphology' ? 'lib/graphology/index.d.ts' : `${name}.d.ts`
    const types = readFileSync(join(root, declarations), 'utf8').replaceAll(
      /'(?:\.\.?\/)+(index|core|training)\.js'/g,
      "'./$1.cjs'"
    )
    writeFileSync(join(root, 'lib', 'cjs', `${name}.d.cts`), types)
  }
}
