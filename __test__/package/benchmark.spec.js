// The benchmark's command line: checks its output and files, but not the times.

import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import test from 'ava'
import { judge } from '../../benchmark/goals.js'
import { TARGETS } from '../../benchmark/targets.js'

const execute = promisify(execFile)
const program = fileURLToPath(new URL('../../lib/cli/index.js', import.meta.url))

/** @param {string[]} args */
async function bench(...args) {
  try {
    return { code: 0, ...(await execute(process.execPath, [program, 'bench', ...args], { maxBuffer: 1e8 })) }
  } catch (error) {
    return /** @type {{ code: number, stdout: string, stderr: string }} */ (error)
  }
}

test('a run gives a row for each backend, with consistent times, speeds and ratios', async (t) => {
  const { code, stdout, stderr } = await bench('--quick', '--filter', 'call', '--json', '-')
  t.is(code, 0, stderr)
  /** @type {import('../../benchmark/types.d.ts').Report} */
  const report = JSON.parse(stdout)
  t.deepEqual(report.remarks, [])
  t.true(report.rows.length >= 2)
  const ours = report.rows.filter(({ side }) => side === 'ours').map(({ contender }) => contender)
  t.deepEqual(
    ours.map((name) => name.split(' ')[0]).filter((kind, i, all) => all.indexOf(kind) === i),
    ['native', 'wasm']
  )
  for (const row of report.rows) {
    const { median, best, low, high } = row.milliseconds
    t.is(row.case.name, 'call B=1 H=1 S=1 D=8')
    t.is(row.case.flops, 4 * 8)
    t.true(best > 0 && best <= low && low <= median && median <= high && high < Infinity)
    t.true(Math.abs(row.gflops * median * 1e6 - row.case.flops) < 1)
    t.deepEqual(
      Object.keys(row.ratios),
      ours.filter((name) => name !== row.contender)
    )
    t.true(Object.values(row.ratios).every((ratio) => ratio > 0 && ratio < Infinity))
    if (row.side === 'ours') t.true(Number(row.difference) < 1e-4)
  }
})

test('a goal is judged only by what this run measured', async (t) => {
  const { stdout } = await bench('--quick', '--goals', '--filter', 'attention.simd.wasm', '--json', '-')
  const { figures, goals } = /** @type {import('../../benchmark/types.d.ts').Report} */ (JSON.parse(stdout))
  t.deepEqual(
    figures.map(({ name, unit }) => [name, unit]),
    [
      ['attention.simd.wasm', 'KB'],
      ['attention.simd.wasm, gzipped', 'KB']
    ]
  )
  t.deepEqual(
    goals.filter(({ status }) => status !== 'not measured').map(({ name, measured }) => [name, measured]),
    [
      ['.wasm', figures[0].value],
      ['.wasm, gzipped', figures[1].value]
    ]
  )
  for (const { status, measured, limit } of goals) {
    if (measured !== undefined) t.is(status, measured <= limit ? 'holds' : 'misses')
  }
})

test('the table lists the measurements, and with --goals the verdict on each goal', async (t) => {
  const { code, stdout } = await bench('--quick', '--goals', '--filter', 'attention.simd.wasm')
  t.is(code, 0)
  t.regex(stdout, /attention\.simd\.wasm, gzipped +\d+(\.\d+)? KB/)
  t.regex(stdout, /\.wasm, gzipped +≤ 70\.0 KB +\d+(\.\d+)? KB +(holds|misses)/)
})

test('without --goals no result is judged', async (t) => {
  const { code, stdout } = await bench('--quick', '--filter', 'attention.simd.wasm')
  t.is(code, 0)
  t.regex(stdout, /attention\.simd\.wasm, gzipped +\d+(\.\d+)? KB/)
  t.notRegex(stdout, /goal|holds|misses/i)
  const json = await bench('--quick', '--filter', 'attention.simd.wasm', '--json', '-')
  t.deepEqual(JSON.parse(json.stdout).goals, [])
})

test('the grid counts calls of multi-head attention and of attention alone, by batch and length', async (t) => {
  const { code, stdout, stderr } = await bench('--grid', '--quick', '--filter', 'B=2 L=16', '--json', '-')
  t.is(code, 0, stderr)
  /** @type {import('../../benchmark/types.d.ts').Report} */
  const { rows, figures, remarks } = JSON.parse(stdout)
  t.deepEqual([figures, remarks], [[], []])
  const cases = rows.filter(({ family }) => family === 'native').map((row) => row.case)
  t.deepEqual(
    cases.map(({ name, kind, batch, queries, heads, dim }) => ({ name, kind, shape: [batch, queries, heads, dim] })),
    [
      { name: 'multi-head M=512, 8 heads, B=2 L=16', kind: 'layer', shape: [2, 16, 8, 64] },
      { name: 'attention D=64, 8 heads, B=2 L=16', kind: 'attention', shape: [2, 16, 8, 64] }
    ]
  )
  // Four projections of 32 rows, and attention.
  t.deepEqual(
    cases.map(({ flops }) => flops),
    [4 * 2 * 32 * 512 * 512 + 4 * 2 * 16 * 16 * 512, 4 * 2 * 16 * 16 * 512]
  )
  for (const { rate, milliseconds } of rows) t.true(Math.abs(rate * milliseconds.median - 1000) < 1e-6)
})

test('the grid is a table of operations per second for each backend', async (t) => {
  const { code, stdout } = await bench('--grid', '--quick', '--filter', 'attention D=64, 8 heads, B=1 L=')
  t.is(code, 0)
  t.regex(stdout, /^attention D=64, 8 heads: operations per second\n +L=16 +L=64 +L=128 +L=256\n {2}native/m)
  t.is(stdout.match(/^ {2}(native|wasm) \S+ +B=1( +\d[\d.]*){4}$/gm)?.length, stdout.match(/B=1/g)?.length)
})

test("the plan's targets: every entry's bundle is measured, and judged by its size", async (t) => {
  const { code, stdout, stderr } = await bench('--targets', '--quick', '--filter', 'bundle', '--json', '-')
  t.is(code, 0, stderr)
  /** @type {import('../../benchmark/types.d.ts').Report} */
  const { figures, goals, remarks } = JSON.parse(stdout)
  t.deepEqual(remarks, [])
  const names = figures.map(({ name }) => name)
  for (const subpath of ['', '/external', '/compat', '/plot', '/graphology']) {
    t.true(names.includes(`bundle, @ruvector/attention${subpath}`), subpath)
  }
  const judged = goals.filter(({ status }) => status !== 'not measured')
  t.deepEqual(
    judged.map(({ name, measured, detail }) => ({ name, value: measured, detail })),
    figures.map(({ name, value, detail }) => ({ name, value, detail }))
  )
  for (const { limit, measured, status } of judged) {
    t.is(limit, 500)
    t.is(status, Number(measured) <= limit ? 'holds' : 'misses')
  }
  t.regex(stderr, /^bench: bundling @ruvector\/attention\/external: /m)
})

test("the plan's targets: WebAssembly compared with native code of equal width and at its best", async (t) => {
  const { code, stdout, stderr } = await bench('--targets', '--quick', '--filter', 'S=64 D=64', '--json', '-')
  t.is(code, 0, stderr)
  /** @type {import('../../benchmark/types.d.ts').Report} */
  const { rows, goals, remarks } = JSON.parse(stdout)
  t.deepEqual(remarks, [])
  for (const { difference } of rows) t.true(Number(difference) < 1e-4)
  const native = rows.map(({ contender }) => contender).filter((name) => name.startsWith('native'))
  t.true(['native sse2', 'native neon'].includes(native[native.length - 1]), native.join())
  const shares = goals.filter(({ name, status }) => name.includes('wasm simd128 / native') && status !== 'not measured')
  t.is(shares.length, 2)
  const wasm = rows.find(({ contender }) => contender === 'wasm simd128')
  t.deepEqual(
    shares.map(({ measured }) => measured),
    [native[native.length - 1], native[0]].map(
      (name) => rows.find(({ contender }) => contender === name)?.ratios[String(wasm?.contender)]
    )
  )
})

test("the plan's targets are a Markdown table, with the machine and the day above it", async (t) => {
  const { code, stdout } = await bench('--targets', '--quick', '--filter', 'bundle, @ruvector/attention/plot')
  t.is(code, 0)
  const [machine, , ...table] = stdout.trimEnd().split('\n')
  t.regex(machine, /^On .*, \d+ threads, .*Node [\d.]+.*; \d{4}-\d\d-\d\d\.$/)
  t.is(table.length, 3)
  t.is(new Set(table.map(({ length }) => length)).size, 1, 'columns are aligned')
  t.regex(table[2], /^\| bundle, @ruvector\/attention\/plot \| < 500 KB \| [\d.]+ KB +\| holds +\| [\d.]+ KB gzipped/)
})

test('a target is judged by its figure', (t) => {
  const figure = (/** @type {string} */ name, /** @type {number} */ value) => {
    const [group] = name.split(',')
    return { name, group: group.replace('memory ', ''), value, unit: '', detail: `${name}; here` }
  }
  const figures = [
    figure('init, Chromium', 12),
    figure('init, Firefox', 120),
    figure('memory overhead, native', 0.02),
    figure('memory overhead, wasm', 0.5)
  ]
  const judged = judge(TARGETS, { rows: [], figures }).filter(({ status }) => status !== 'not measured')
  t.deepEqual(
    judged.map(({ name, measured, status }) => [name, measured, status]),
    [
      ['init, Chromium', 12, 'holds'],
      ['init, Firefox', 120, 'misses'],
      ['memory overhead, native', 0.02, 'holds'],
      ['memory overhead, wasm', 0.5, 'misses'],
      ['browsers', 2, 'misses']
    ]
  )
})

test('whatever is compiled is reported with its time', async (t) => {
  const { stderr } = await bench('--quick', '--filter', 'call')
  t.regex(stderr, /^bench: compiling attention\.simd\.wasm: [\d.]+ (µs|ms|s)$/m)
})

test('--help shows the options and exits with 0', async (t) => {
  const { code, stdout } = await bench('--help')
  t.is(code, 0)
  for (const option of ['--grid', '--targets', '--goals', '--peers', '--filter', '--quick', '--json', '--html'])
    t.true(stdout.includes(option))
})

for (const [title, args, message] of /** @type {const} */ ([
  ['an unknown option', ['--fast'], /--fast/],
  ['an option without its value', ['--json'], /--json/],
  ['an argument that is not an option', ['fast'], /fast/],
  ['the grid and the targets at once', ['--grid', '--targets'], /--grid and --targets/],
  ['the targets and the goals at once', ['--targets', '--goals'], /--targets and --goals/],
  ['a filter that fits nothing', ['--filter', 'no such case'], /no such case[^]*S=512 D=64/]
])) {
  test(`${title} exits with 2 and an explanation`, async (t) => {
    const { code, stdout, stderr } = await bench(...args)
    t.is(code, 2)
    t.is(stdout, '')
    t.regex(stderr, message)
    t.regex(stderr, /--help/)
  })
}

test('the command line lists its commands, and rejects others', async (t) => {
  const run = (/** @type {string[]} */ ...args) =>
    execute(process.execPath, [program, ...args]).then(
      ({ stdout }) => ({ code: 0, stdout, stderr: '' }),
      (error) => /** @type {{ code: number, stdout: string, stderr: string }} */ (error)
    )
  const help = await run('--help')
  t.is(help.code, 0)
  t.regex(help.stdout, /^Usage: npx @ruvector\/attention <command>.*\n\n {2}bench /)
  const unknown = await run('banch')
  t.is(unknown.code, 2)
  t.regex(unknown.stderr, /^unknown command: banch/)
})
