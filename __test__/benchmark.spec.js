// The benchmark's command line: what it prints and writes is checked, never how long anything took.

import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import test from 'ava'

const execute = promisify(execFile)
const program = fileURLToPath(new URL('../lib/cli.js', import.meta.url))

/** @param {string[]} args */
async function bench(...args) {
  try {
    return { code: 0, ...(await execute(process.execPath, [program, 'bench', ...args], { maxBuffer: 1e8 })) }
  } catch (error) {
    return /** @type {{ code: number, stdout: string, stderr: string }} */ (error)
  }
}

test('a run gives a row for each backend, with times, speeds and ratios that belong together', async (t) => {
  const { code, stdout, stderr } = await bench('--quick', '--filter', 'call', '--json', '-')
  t.is(code, 0, stderr)
  /** @type {import('../benchmark/types.d.ts').Report} */
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
    t.is(row.case.name, 'call 1×1×1×8')
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

test('a goal is judged by what this run measured, and by nothing else', async (t) => {
  const { stdout } = await bench('--quick', '--filter', 'attention.simd.wasm', '--json', '-')
  const { figures, goals } = /** @type {import('../benchmark/types.d.ts').Report} */ (JSON.parse(stdout))
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

test('the table names what was measured and which goals hold', async (t) => {
  const { code, stdout } = await bench('--quick', '--filter', 'attention.simd.wasm')
  t.is(code, 0)
  t.regex(stdout, /attention\.simd\.wasm, gzipped +\d+(\.\d+)? KB/)
  t.regex(stdout, /\.wasm, gzipped +≤ 70\.0 KB +\d+(\.\d+)? KB +(holds|misses)/)
})

test('--help shows the options and ends well', async (t) => {
  const { code, stdout } = await bench('--help')
  t.is(code, 0)
  for (const option of ['--peers', '--filter', '--quick', '--json', '--html']) t.true(stdout.includes(option))
})

for (const [title, args, message] of /** @type {const} */ ([
  ['an unknown option', ['--fast'], /--fast/],
  ['an option without its value', ['--json'], /--json/],
  ['an argument that is no option', ['fast'], /fast/],
  ['a filter that fits nothing', ['--filter', 'no such case'], /no such case[^]*S=512 D=64/]
])) {
  test(`${title} ends with 2 and says so`, async (t) => {
    const { code, stdout, stderr } = await bench(...args)
    t.is(code, 2)
    t.is(stdout, '')
    t.regex(stderr, message)
    t.regex(stderr, /--help/)
  })
}

test('the command line names its commands, and refuses others', async (t) => {
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
  t.regex(unknown.stderr, /no command banch/)
})
