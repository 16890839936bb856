// `npm run coverage`: measures the lines that tests run. For lib/, it combines the specs in Node on both backends,
// their child processes, the package's workers, and headless Chromium; for the kernels, it reads the compiler's
// counters, in the tests of the crates and in the specs of numbers. Both must reach the goal. `npm run coverage -- lib`
// or `-- kernels` measures one of them. Tests of `lib/` run on existing builds.

import { copyFileSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { join, relative, sep } from 'node:path'
import { bundleWorker } from './build.mjs'
import { linesThatRan } from './coverage/lines.mjs'
import { installLocked } from './setup.mjs'
import { Failure, attempt, npmProgram, query, root, run } from '../tools/shell.mjs'

/** The goal, in percent of the lines. */
const GOAL = 95

const output = join(root, 'output', 'coverage')

/**
 * @typedef {{ file: string, lines: number, covered: number, uncovered: number[] }} Row  `uncovered`: the lines that did
 *   not run
 */

/** The specs that verify numbers, and the file of the addon on this platform. */
const SPECS = ['__test__/everywhere/**', '__test__/node/**']
const ADDON =
  { darwin: 'libruvector_attention_node.dylib', win32: 'ruvector_attention_node.dll' }[
    /** @type {string} */ (process.platform)
  ] ?? 'libruvector_attention_node.so'

/** Crates without kernels: bindings, which only run in a host; the oracle of the tests; tools. */
const OTHER_CRATES = ['attention-node', 'attention-wasm', 'attention-oracle', 'xtask']

/** The oracle, if it is a module of the kernel crate. */
const ORACLE = /\/src\/reference(\/|\.rs$)/

/**
 * @param {string} folder
 * @returns {string} the folder, empty
 */
function emptied(folder) {
  rmSync(folder, { recursive: true, force: true })
  mkdirSync(folder, { recursive: true })
  return folder
}

/**
 * @param {string} file
 * @param {ReadonlyMap<number, boolean>} lines  true for lines that ran
 * @returns {Row}
 */
function rowOf(file, lines) {
  const uncovered = [...lines].flatMap(([line, ran]) => (ran ? [] : [line])).sort((a, b) => a - b)
  return {
    file: relative(root, file).split(sep).join('/'),
    lines: lines.size,
    covered: lines.size - uncovered.length,
    uncovered
  }
}

// ── lib/ ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

/** @returns {Promise<Row[]>} */
async function ofLib() {
  await installLocked(join(root, 'scripts', 'coverage'), 'the tools of coverage')
  const folder = emptied(join(output, 'lib'))
  const counters = emptied(join(folder, 'counters'))
  // Workers run this text instead of the shipped one, which cannot be mapped to lines.
  await bundleWorker({ outfile: join(folder, 'worker.js'), sourcemap: 'external' })
  const preload = `--require ${JSON.stringify(join(root, 'scripts', 'coverage', 'workers.cjs'))}`
  const env = { NODE_V8_COVERAGE: counters, NODE_OPTIONS: [process.env.NODE_OPTIONS, preload].join(' ') }
  // A test that fails does not change what ran.
  await attempt(process.execPath, [npmProgram('ava'), '--timeout=20m'], { env })
  await attempt(process.execPath, ['__test__/browser/run.mjs', '--coverage', counters])
  const sources = readdirSync(join(root, 'lib'), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.js'))
    .map((name) => join(root, 'lib', name))
  return [...(await linesThatRan(counters, sources))].map(([file, lines]) => rowOf(file, lines))
}

// ── Kernels ──────────────────────────────────────────────────────────────────────────────────────────────────────────

/**
 * Finds the LLVM programs that read this compiler's counters: rustup's component llvm-tools, or the system's programs
 * of the same version.
 *
 * @param {string} name
 */
function llvmTool(name) {
  const [, host] = query('rustc', ['-vV'])?.match(/^host: (.*)$/m) ?? []
  const [, major] = query('rustc', ['-vV'])?.match(/^LLVM version: (\d+)/m) ?? []
  const candidates = [
    join(query('rustc', ['--print', 'sysroot']) ?? '', 'lib', 'rustlib', host ?? '', 'bin', name),
    `${name}-${major}`
  ]
  const found = candidates.find((candidate) => query(candidate, ['--version']) !== undefined)
  if (found) return found
  throw new Failure(
    `${name} of LLVM ${major} is missing: rustup component add llvm-tools, or Debian's package llvm-${major}`
  )
}

/** @returns {Promise<Row[]>} */
async function ofKernels() {
  const [profdata, cov] = [llvmTool('llvm-profdata'), llvmTool('llvm-cov')]
  const folder = emptied(join(output, 'kernels'))
  const kernels = readdirSync(join(root, 'crates')).filter((name) => !OTHER_CRATES.includes(name))
  const packages = kernels.flatMap((name) => ['--package', `ruvector-${name}`])
  const target = join('target', 'coverage')
  const env = { RUSTFLAGS: '-Cinstrument-coverage', LLVM_PROFILE_FILE: join(folder, '%p-%m.profraw') }
  // The specs call what bindings reach, such as whole layers, through an addon with counters.
  await run('cargo', ['build', '--locked', '--package', 'ruvector-attention-node', '--target-dir', target], { env })
  const addon = join(root, target, 'attention.node')
  copyFileSync(join(root, target, 'debug', ADDON), addon)
  // A test that fails does not change what ran.
  await attempt(process.execPath, [npmProgram('ava'), '--timeout=20m', ...SPECS], {
    env: { ...env, RUVECTOR_ATTENTION_BACKEND: 'native', RUVECTOR_ATTENTION_NATIVE_PATH: addon }
  })
  const cargo = ['test', '--locked', ...packages, '--lib', '--tests', '--target-dir', target]
  const tests = await attempt('cargo', [...cargo, '--no-fail-fast'], { env })
  const programs = [...tests.output.matchAll(/Running .*\((.*)\)$/gm)].map(([, file]) => file)
  if (programs.length === 0) throw tests.failure ?? new Failure('cargo named no test that it ran')
  const objects = [...programs, addon]
  const data = join(folder, 'all.profdata')
  const raw = readdirSync(folder).filter((name) => name.endsWith('.profraw'))
  await run(profdata, ['merge', '--sparse', '--output', data, ...raw.map((name) => join(folder, name))])
  const arguments_ = [`--instr-profile=${data}`, objects[0], ...objects.slice(1).flatMap((file) => ['--object', file])]
  const report = query(cov, ['export', '--format=lcov', ...arguments_])
  if (!report) throw new Failure(`${cov} could not read the counters`)
  const sources = kernels.map((name) => join(root, 'crates', name, 'src') + sep)
  return report
    .split('end_of_record')
    .map((record) => ({ record, file: record.match(/^SF:(.*)$/m)?.[1] ?? '' }))
    .filter(({ file }) => sources.some((source) => file.startsWith(source)) && !ORACLE.test(file))
    .map(({ record, file }) => rowOf(file, linesOf(record, file)))
}

/**
 * Reads the lines that ran from a file's lcov record. Tests at the end of the file do not count.
 *
 * @param {string} record
 * @param {string} file
 */
function linesOf(record, file) {
  const tests = readFileSync(file, 'utf8').split('\n').indexOf('#[cfg(test)]') + 1 || Infinity
  const counts = [...record.matchAll(/^DA:(\d+),(\d+)/gm)].map(([, ...numbers]) => numbers.map(Number))
  return new Map(counts.filter(([line]) => line < tests).map(([line, count]) => [line, count > 0]))
}

// ── Results ──────────────────────────────────────────────────────────────────────────────────────────────────────────

/**
 * @param {string} name
 * @param {readonly Row[]} rows
 */
function sumOf(name, rows) {
  const lines = rows.reduce((sum, row) => sum + row.lines, 0)
  const covered = rows.reduce((sum, row) => sum + row.covered, 0)
  return { name, lines, covered, percent: (100 * covered) / lines }
}

/**
 * Formats line numbers as ranges: `3, 7-9`.
 *
 * @param {readonly number[]} lines
 */
function rangesOf(lines) {
  /** @type {[number, number][]} */
  const ranges = []
  for (const line of lines) {
    const last = ranges.at(-1)
    if (last?.[1] === line - 1) last[1] = line
    else ranges.push([line, line])
  }
  return ranges.map(([first, last]) => (first === last ? first : `${first}-${last}`)).join(', ')
}

/** @param {readonly Row[]} rows */
function showUncovered(rows) {
  const wanting = rows.filter(({ uncovered }) => uncovered.length > 0)
  const width = Math.max(0, ...wanting.map(({ file }) => file.length))
  for (const { file, lines, covered, uncovered } of wanting.sort((a, b) => b.uncovered.length - a.uncovered.length)) {
    console.log(`  ${file.padEnd(width)}  ${`${covered}/${lines}`.padStart(9)}  not run: ${rangesOf(uncovered)}`)
  }
}

/** The kernels first, since they need tools that a machine may lack. */
const PARTS = /** @type {Record<string, () => Promise<Row[]>>} */ ({ kernels: ofKernels, lib: ofLib })

try {
  const [asked] = process.argv.slice(2)
  if (asked && !Object.hasOwn(PARTS, asked)) {
    throw new Failure(`usage: npm run coverage [-- ${Object.keys(PARTS).join(' | ')}]`)
  }
  const names = asked ? [asked] : Object.keys(PARTS)
  /** @type {Record<string, Row[]>} */
  const files = {}
  for (const name of names) files[name] = await PARTS[name]()
  const rows = Object.values(files).flat()
  const sums = Object.entries(files).map(([name, part]) => sumOf(name, part))
  if (!asked) sums.push(sumOf('whole', rows))

  console.log('\nLines that did not run:')
  showUncovered(rows)
  console.log(`\n${''.padEnd(8)} ${'covered'.padStart(8)} ${'lines'.padStart(8)} ${'percent'.padStart(8)}`)
  for (const { name, lines, covered, percent } of sums) {
    const cells = [covered, lines, percent.toFixed(2)].map((value) => String(value).padStart(8))
    console.log(`${name.padEnd(8)} ${cells.join(' ')}${percent < GOAL ? `  below the goal of ${GOAL}` : ''}`)
  }
  writeFileSync(join(output, 'summary.json'), `${JSON.stringify({ goal: GOAL, sums, files }, null, 2)}\n`)
  if (sums.some(({ percent }) => percent < GOAL)) process.exitCode = 1
} catch (error) {
  if (!(error instanceof Failure)) throw error
  console.error(`\n${error.message}`)
  process.exitCode = 1
}
