// `npm run coverage`: which lines the tests run, of lib/ by c8 over ava and of the kernels by the compiler's own counters, each held
// against its goal. `npm run coverage -- lib` or `-- kernels` for one of them.

import { mkdirSync, readFileSync, readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { installReleaseTools, toolProgram } from './release/tools.mjs'
import { Failure, attempt, npmProgram, query, root, run } from './shell.mjs'

/** Percent of the lines. */
const GOAL = 95
const WORST = 12

const output = join(root, 'output', 'coverage')

/** @typedef {{ file: string, lines: number, covered: number }} Row */

/** The specs that measure others' time, which the counters would change. */
const TIMED = /^(benchmark)\./

/** @returns {Promise<Row[]>} */
async function ofLib() {
  await installReleaseTools()
  const folder = join(output, 'lib')
  const reports = ['--reporter', 'json-summary', '--reporter', 'html', '--reports-dir', folder]
  const specs = readdirSync(join(root, '__test__'))
    .filter((name) => name.endsWith('.spec.js') && !TIMED.test(name))
    .map((name) => `__test__/${name}`)
  // A test that fails does not change what ran.
  await attempt(process.execPath, [
    toolProgram('c8'),
    '--all',
    '--clean',
    '--include',
    'lib/**/*.js',
    ...reports,
    process.execPath,
    npmProgram('ava'),
    ...specs
  ])
  const { total: _, ...files } = JSON.parse(readFileSync(join(folder, 'coverage-summary.json'), 'utf8'))
  return Object.entries(files).map(([file, { lines }]) => ({
    file: file.slice(root.length + 1),
    lines: lines.total,
    covered: lines.covered
  }))
}

/**
 * The programs of LLVM that read the counters of this compiler: rustup's component llvm-tools, or those of the system of the same version.
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
  const folder = join(output, 'kernels')
  rmSync(folder, { recursive: true, force: true })
  mkdirSync(folder, { recursive: true })
  const cargo = [
    'test',
    '--locked',
    '--package',
    'ruvector-attention',
    '--lib',
    '--tests',
    '--target-dir',
    'target/coverage'
  ]
  const env = { RUSTFLAGS: '-Cinstrument-coverage', LLVM_PROFILE_FILE: join(folder, '%p-%m.profraw') }
  const build = await attempt('cargo', [...cargo, '--no-run'], { env })
  if (build.failure) throw build.failure
  const objects = [...build.output.matchAll(/Executable .*\((.*)\)$/gm)].map(([, file]) => file)
  await attempt('cargo', [...cargo, '--no-fail-fast'], { env })
  const data = join(folder, 'all.profdata')
  const raw = readdirSync(folder).filter((name) => name.endsWith('.profraw'))
  await run(profdata, ['merge', '--sparse', '--output', data, ...raw.map((name) => join(folder, name))])
  const arguments_ = [`--instr-profile=${data}`, objects[0], ...objects.slice(1).flatMap((file) => ['--object', file])]
  const report = query(cov, ['export', '--summary-only', ...arguments_])
  if (!report) throw new Failure(`${cov} could not read what ran`)
  /** @type {{ filename: string, summary: { lines: { count: number, covered: number } } }[]} */
  const files = JSON.parse(report).data[0].files
  const source = join(root, 'crates', 'attention', 'src')
  return files
    .filter(({ filename }) => filename.startsWith(source))
    .map(({ filename, summary: { lines } }) => ({
      file: filename.slice(root.length + 1),
      lines: lines.count,
      covered: lines.covered
    }))
}

/** @param {readonly Row[]} rows */
const sumOf = (rows) =>
  rows.reduce(({ lines, covered }, row) => ({ lines: lines + row.lines, covered: covered + row.covered }), {
    lines: 0,
    covered: 0
  })

const percent = (/** @type {{ lines: number, covered: number }} */ { lines, covered }) =>
  lines === 0 ? 100 : (100 * covered) / lines

/**
 * @param {string} name
 * @param {readonly Row[]} rows
 */
function show(name, rows) {
  const sum = sumOf(rows)
  const worst = rows
    .filter(({ lines, covered }) => covered < lines)
    .sort((a, b) => b.lines - b.covered - (a.lines - a.covered))
  console.log(`\n${name}: ${percent(sum).toFixed(1)} % of ${sum.lines} lines; the goal is ${GOAL} %`)
  for (const row of worst.slice(0, WORST)) {
    const missed = `${row.lines - row.covered} of ${row.lines} lines did not run`
    console.log(`  ${percent(row).toFixed(1).padStart(5)} %  ${row.file.padEnd(44)} ${missed}`)
  }
  return percent(sum) >= GOAL
}

const PARTS = /** @type {Record<string, () => Promise<Row[]>>} */ ({ lib: ofLib, kernels: ofKernels })

try {
  const [asked] = process.argv.slice(2)
  const names = asked ? [asked] : Object.keys(PARTS)
  if (asked && !PARTS[asked]) throw new Failure(`usage: npm run coverage [-- ${Object.keys(PARTS).join(' | ')}]`)
  /** @type {[string, Row[]][]} */
  const measured = []
  for (const name of names) measured.push([name, await PARTS[name]()])
  const reached = measured.map(([name, rows]) => show(name, rows))
  if (reached.includes(false)) process.exitCode = 1
} catch (error) {
  if (!(error instanceof Failure)) throw error
  console.error(`\n${error.message}`)
  process.exitCode = 1
}
