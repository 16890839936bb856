// One run: prepares the contenders, checks their results against each other, times them, and collects the report.

import { arch, availableParallelism, cpus, loadavg, platform } from 'node:os'
import { version } from '../index.js'
import { engines } from './engines.js'
import { EQUAL_WIDTH, equalWidth } from './equal-width.js'
import { judge } from './goals.js'
import { makeInputs } from './inputs.js'
import { isLimited, machine } from './machine.js'
import { ours } from './ours.js'
import { findPeers } from './peers/index.js'
import { Progress } from './report/progress.js'
import { median, outputOf, ratio, sample } from './timing.js'

/** @typedef {import('./types.d.ts').Case} Case */
/** @typedef {import('./types.d.ts').Contender} Contender */
/** @typedef {import('./types.d.ts').Figure} Figure */
/** @typedef {import('./types.d.ts').Inputs} Inputs */
/** @typedef {import('./types.d.ts').Remark} Remark */
/** @typedef {import('./types.d.ts').Report} Report */
/** @typedef {import('./types.d.ts').Row} Row */
/** @typedef {import('./timing.js').Entry} Entry */
/** @typedef {import('./figures.js').Task} Task */
/** @typedef {import('./goals.js').Aim} Aim */
/**
 * Contenders beside this package's backends.
 *
 * @typedef {{ withPeers: boolean, withEngines: boolean, withEqualWidth: boolean }} Extras
 */

/** The largest difference between two correct results. */
const TOLERANCE = 1e-3

const EFFORT = {
  full: { span: 0.2, warmUp: 0.5, rounds: 3 },
  quick: { span: 0.12, warmUp: 0.5, rounds: 1 }
}

/**
 * - `aims`: the goals to judge the results by; may be empty.
 * - `withEngines`: adds whole models in other engines.
 * - `withEqualWidth`: adds the native backend with vectors of 128 bits.
 *
 * @param {Extras & { cases: Case[], tasks: Task[], aims: readonly Aim[], isQuick: boolean }} plan
 * @returns {Promise<Report>}
 */
export async function runBenchmark({ cases, tasks, aims, isQuick, ...extras }) {
  const [load] = loadavg()
  const progress = new Progress(0, process.stderr)
  progress.show('preparing')
  const { contenders, absent } = await gather(cases, extras)
  progress.total = cases.length + tasks.length

  /** @type {Row[]} */
  const rows = []
  /** @type {Figure[]} */
  const figures = []
  /** @type {Remark[]} */
  const remarks = []
  try {
    for (const problem of cases) {
      rows.push(...(await runCase(problem, contenders, EFFORT[isQuick ? 'quick' : 'full'], progress, remarks)))
      progress.advance()
    }
    for (const { name, group, measure } of tasks) {
      progress.show(name)
      try {
        figures.push({ name, group, ...(await measure()) })
      } catch (error) {
        remarks.push({ case: name, contender: group, kind: 'failed', text: messageOf(error) })
      }
      progress.advance()
    }
  } finally {
    progress.clear()
    for (const { close } of contenders) await close?.()
  }

  return {
    date: new Date().toISOString(),
    version,
    machine: describeMachine(contenders, load),
    quick: isQuick,
    peers: describePeers(contenders),
    absent,
    rows,
    figures,
    remarks,
    goals: judge(aims, { rows, figures })
  }
}

/** @param {readonly Case[]} cases @param {Extras} extras */
async function gather(cases, { withPeers, withEngines, withEqualWidth }) {
  const own = await ours()
  const found = [{ contenders: own.contenders }, ...own.absent]
  const isNarrow = own.contenders.some(({ name }) => EQUAL_WIDTH.includes(name))
  if (withEqualWidth && !isNarrow && cases.length > 0) found.push(await equalWidth())
  // It must be built, so it is omitted if no case has a limited speed.
  if (cases.some(({ unit }) => isLimited(unit))) found.push(await machine())
  if (withPeers && cases.length > 0) found.push(...(await findPeers()))
  if (withEngines && cases.some(({ kind }) => kind === 'model')) found.push(...(await engines(withPeers)))
  return {
    contenders: found.flatMap((item) => ('contenders' in item ? item.contenders : [])),
    absent: found.flatMap((item) => ('absent' in item ? [{ name: item.absent, reason: item.reason }] : []))
  }
}

/**
 * @param {readonly Contender[]} contenders
 * @param {number} load  the average before the run; 0 if the system does not report one
 */
function describeMachine(contenders, load) {
  const simd = contenders.find(({ family }) => family === 'native')?.name.replace('native ', '')
  return {
    processor: cpus()[0]?.model.trim() ?? 'unknown processor',
    threads: `${availableParallelism()} threads`,
    ...(simd && { simd }),
    system: `${platform()} ${arch()}`,
    node: `Node ${process.version.slice(1)}`,
    ...(load > 0 && { load: `load ${load.toFixed(1)} before the run` })
  }
}

/** @param {readonly Contender[]} contenders */
function describePeers(contenders) {
  const versions = new Map(
    contenders.filter(({ side }) => side === 'peer').map(({ family, version }) => [family, version])
  )
  return [...versions].map(([name, version]) => ({ name, version }))
}

/** @param {unknown} error */
const messageOf = (error) => (error instanceof Error ? error.message : String(error)).split('\n')[0]

/**
 * @param {Case} problem
 * @param {readonly Contender[]} contenders
 * @param {import('./timing.js').Effort} effort
 * @param {Progress} progress
 * @param {Remark[]} remarks  receives contenders that could not run or gave different results
 * @returns {Promise<Row[]>}
 */
async function runCase(problem, contenders, effort, progress, remarks) {
  const inputs = makeInputs(problem)
  /** @type {Entry[]} */
  const entries = []
  /** @type {Map<Entry, number>} */
  const differences = new Map()
  /** @type {Float32Array | undefined} */
  let reference
  try {
    for (const contender of contenders) {
      progress.show(`${problem.name}: ${contender.name}`)
      /** @param {Remark['kind']} kind @param {string} text */
      const remark = (kind, text) => remarks.push({ case: problem.name, contender: contender.name, kind, text })
      if (problem.threads > 1 && !contender.threaded) continue
      if (problem.ownOnly && contender.side === 'peer') continue
      if (contender.kinds && !contender.kinds.includes(problem.kind)) continue
      if (contender.mostFlops !== undefined && problem.flops > contender.mostFlops) {
        remark('skipped', 'too slow for this size')
        continue
      }
      try {
        const prepared = await contender.prepare(problem, inputs)
        if (typeof prepared === 'string') {
          if (contender.side === 'peer' || problem.kind === 'model') remark('skipped', prepared)
          continue
        }
        const output = await outputOf(prepared)
        const entry = { contender, prepared, seconds: [] }
        entries.push(entry)
        if (!output) continue
        reference ??= output
        const difference = largestDifference(output, reference)
        differences.set(entry, difference)
        if (!(difference <= TOLERANCE))
          remark('differs', `its result differs from ours by ${difference.toPrecision(2)}`)
      } catch (error) {
        remark('failed', messageOf(error))
      }
    }
    progress.show(`${problem.name}: ${entries.length} in turns`)
    await sample(entries, effort, problem.threads > 1)
  } finally {
    for (const { prepared } of entries) await prepared.dispose?.()
  }
  return entries.map((entry) => toRow(problem, entry, entries, differences.get(entry)))
}

/** @param {Float32Array} one @param {Float32Array} other  @returns NaN if their lengths differ */
function largestDifference(one, other) {
  if (one.length !== other.length) return NaN
  return one.reduce((largest, value, i) => {
    const difference = Math.abs(value - other[i])
    return difference <= largest ? largest : difference
  }, 0)
}

/**
 * @param {Case} problem
 * @param {Entry} entry
 * @param {readonly Entry[]} entries
 * @param {number | undefined} difference
 * @returns {Row}
 */
function toRow(problem, entry, entries, difference) {
  const { contender, seconds } = entry
  const middle = median(seconds)
  const ratios = entries
    .filter((other) => other.contender.side === 'ours' && other !== entry)
    .map((other) => [other.contender.name, ratio(entry, other)])
  return {
    case: problem,
    contender: contender.name,
    family: contender.family,
    side: contender.side,
    milliseconds: {
      median: middle * 1000,
      best: median(seconds, 0) * 1000,
      low: median(seconds, 0.25) * 1000,
      high: median(seconds, 0.75) * 1000
    },
    rounds: seconds.length,
    gflops: problem.flops / middle / 1e9,
    gbps: problem.bytes / middle / 1e9,
    rate: 1 / middle,
    ...(difference !== undefined && { difference }),
    ratios: Object.fromEntries(ratios)
  }
}
