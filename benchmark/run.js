#!/usr/bin/env node
// The benchmark's command line: measures the backends of this package, with `--peers` also other libraries that compute
// attention.

import { writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { cases, grid, throughputCases } from './cases.js'
import { installCommand } from './building.js'
import { tasks } from './figures.js'
import { GOALS } from './goals.js'
import { jsonReport } from './report/json.js'
import { targetsReport } from './report/targets.js'
import { terminalReport } from './report/terminal.js'
import { runBenchmark } from './session.js'
import { TARGETS, targetTasks } from './targets.js'

const USAGE = `Usage: npx @ruvector/attention bench [options]
       npm run bench -- [options]                    in the repository

Times the native and the WebAssembly backend side by side.

  --grid          operations per second of multi-head attention (model size 512, 8 heads) and of attention alone,
                  for batches of 1 to 8 and lengths of 16 to 256, instead of the other measurements
  --targets       the five targets of the project's plan, as a Markdown table: size, start in each browser, memory,
                  and the speed of WebAssembly relative to native code; sizes and browsers need the repository
  --goals         also judge the results by the project's goals; neither with --grid nor with --targets
  --peers         also measure ONNX Runtime, TensorFlow.js, PyTorch and others; needs ${installCommand},
                  and for PyTorch a python3 that has it, or the one that the environment variable PYTHON names
  --engines       also measure whole models by WebAssembly in Node 22 and Chromium; needs the repository
  --filter TEXT   only measurements whose name contains TEXT; may be repeated. Names give the shape: batch B,
                  heads H, key/value heads G if fewer, length S (decoding has one query) and head size D
  --quick         fewer shapes and shorter samples: less than a minute without peers
  --json FILE     write all results as JSON; - means standard output, instead of the table
  --html FILE     write a page with charts; needs ${installCommand}
  --help          show this text

Everything built or compiled during the run is reported with its time on standard error.

Exit codes: 0, even if goals are missed; 1 if a backend failed or gave wrong results; 2 for a wrong command line.
`

class UsageError extends Error {}

/** @param {string[]} args */
function readArguments(args) {
  try {
    const { values } = parseArgs({
      args,
      options: {
        grid: { type: 'boolean', default: false },
        targets: { type: 'boolean', default: false },
        goals: { type: 'boolean', default: false },
        peers: { type: 'boolean', default: false },
        engines: { type: 'boolean', default: false },
        filter: { type: 'string', multiple: true, default: [] },
        quick: { type: 'boolean', default: false },
        json: { type: 'string' },
        html: { type: 'string' },
        help: { type: 'boolean', default: false }
      }
    })
    return values
  } catch (error) {
    throw new UsageError(/** @type {Error} */ (error).message.split('. ')[0])
  }
}

/**
 * @template {{ name: string }} T
 * @param {T[]} all
 * @param {readonly string[]} filters
 */
const chosen = (all, filters) =>
  all.filter(
    ({ name }) => filters.length === 0 || filters.some((text) => name.toLowerCase().includes(text.toLowerCase()))
  )

/**
 * @param {{ quick: boolean, grid: boolean, targets: boolean }} options
 * @returns {[import('./types.d.ts').Case[], import('./figures.js').Task[]]}
 */
function measurements({ quick: isQuick, grid: isGrid, targets: isOfTargets }) {
  if (isGrid) return [grid(), []]
  if (isOfTargets) return [throughputCases(), targetTasks({ isQuick })]
  return [cases({ isQuick }), tasks({ isQuick })]
}

/** @param {string[]} args */
async function main(args) {
  const options = readArguments(args)
  if (options.help) return void process.stdout.write(USAGE)

  const isQuick = options.quick
  const runs = ['grid', 'targets', 'goals'].filter((name) => options[/** @type {'grid'} */ (name)])
  if (runs.length > 1) throw new UsageError(`${runs.map((name) => `--${name}`).join(' and ')} need separate runs`)
  const [everyCase, everyTask] = measurements(options)
  const chosenCases = chosen(everyCase, options.filter)
  const chosenTasks = chosen(everyTask, options.filter)
  if (chosenCases.length + chosenTasks.length === 0) {
    const names = [...everyCase, ...everyTask].map(({ name }) => `  ${name}`)
    throw new UsageError(
      `no measurement has ${options.filter.join(' or ')} in its name; the measurements are\n${names.join('\n')}`
    )
  }
  // Loaded first, so that a missing package is reported before the long work.
  const page = options.html === undefined ? undefined : await loadPage()

  const report = await runBenchmark({
    cases: chosenCases,
    tasks: chosenTasks,
    aims: options.targets ? TARGETS : options.goals ? GOALS : [],
    isQuick,
    withPeers: options.peers,
    withEngines: options.engines,
    withEqualWidth: options.targets
  })
  if (options.json !== undefined) write(options.json, jsonReport(report))
  if (options.html !== undefined && page) write(options.html, page(report))
  const hasColors = Boolean(process.stdout.isTTY) && !process.env.NO_COLOR
  const text = options.targets ? targetsReport(report) : terminalReport(report, hasColors)
  if (options.json !== '-' && options.html !== '-') process.stdout.write(text)

  const isOurs = (/** @type {string} */ contender) => /^(native|wasm)\b/.test(contender)
  if (report.remarks.some(({ kind, contender }) => kind !== 'skipped' && isOurs(contender))) process.exitCode = 1
}

async function loadPage() {
  const { htmlReport, plottingCode } = await import('./report/html.js')
  try {
    const libraries = plottingCode()
    return (/** @type {import('./types.d.ts').Report} */ report) => htmlReport(report, libraries)
  } catch (error) {
    throw new UsageError(/** @type {Error} */ (error).message)
  }
}

/** @param {string} file @param {string} text */
function write(file, text) {
  if (file === '-') process.stdout.write(text)
  else writeFileSync(file, text)
}

try {
  await main(process.argv.slice(2))
} catch (error) {
  if (!(error instanceof UsageError)) throw error
  process.stderr.write(`${error.message}\nTry --help.\n`)
  process.exitCode = 2
}
