// Times several contenders against each other: checked, warmed up, then sampled in turns, so that other load on the
// machine affects all of them alike.

import { setTimeout as sleep } from 'node:timers/promises'

/** @typedef {import('./types.d.ts').Prepared} Prepared */
/** @typedef {import('./types.d.ts').Contender} Contender */
/**
 * - `seconds`: the time of one call, by round.
 *
 * @typedef {{ contender: Contender, prepared: Prepared, seconds: number[] }} Entry
 */

/**
 * - `span`: total seconds of the samples of one contender.
 * - `warmUp`: seconds of calls before the first sample for engines that optimize at run time; others need a tenth.
 * - `rounds`: the minimum number of samples, however long they take.
 *
 * @typedef {{ span: number, warmUp: number, rounds: number }} Effort
 */

/** Seconds of a sample: long enough for the clock, short enough for frequent turns. */
const SAMPLE_SECONDS = 0.005
/** Samples on several threads, which first wake and move to separate processors. */
const PARALLEL = { seconds: 0.1, rounds: 7, pause: 50 }
const MOST_ROUNDS = 200
/** The maximum number of calls in a sample. */
const MOST_CALLS = 1e5

/** @param {Prepared} prepared @param {number} count @returns {Promise<number>} seconds for all calls */
export async function time(prepared, count) {
  if ('time' in prepared) return prepared.time(count)
  const { run } = prepared
  const start = performance.now()
  const first = run()
  if (first instanceof Promise) {
    await first
    for (let i = 1; i < count; i++) await run()
  } else {
    for (let i = 1; i < count; i++) run()
  }
  return (performance.now() - start) / 1000
}

/** @param {Prepared} prepared  the result as a copy, since the next call may write to the same memory */
export async function outputOf(prepared) {
  if ('time' in prepared) return prepared.output?.()
  return prepared.read(await prepared.run()).slice()
}

/**
 * Fills each entry's `seconds`.
 *
 * @param {Entry[]} entries
 * @param {Effort} effort
 * @param {boolean} isParallel  whether contenders run on several threads, which spin briefly before they sleep
 */
export async function sample(entries, effort, isParallel) {
  const { seconds: length, rounds, pause } = isParallel ? PARALLEL : { seconds: SAMPLE_SECONDS, ...effort, pause: 0 }
  const turns = []
  for (const entry of entries) {
    if (pause) await sleep(pause)
    turns.push({ entry, ...(await warmUp(entry, effort, length)), spent: 0 })
  }
  for (let round = 0; round < MOST_ROUNDS; round++) {
    const due = turns.filter(({ spent }) => round < rounds || spent < effort.span)
    if (due.length === 0) return
    // The order varies, so that no contender always follows the same one.
    for (let i = 0; i < due.length; i++) {
      const turn = due[(i + round) % due.length]
      if (pause) {
        await sleep(pause)
        await time(turn.entry.prepared, 1)
      }
      const seconds = await time(turn.entry.prepared, turn.count)
      turn.spent += seconds
      turn.entry.seconds[round] = seconds / turn.count
    }
  }
}

/**
 * Calls until the code is compiled and the caches are warm; determines the number of calls per sample.
 *
 * @param {Entry} entry
 * @param {Effort} effort
 * @param {number} length  seconds of a sample
 */
async function warmUp({ contender, prepared }, effort, length) {
  const target = contender.warmsUp ? effort.warmUp : effort.warmUp / 10
  let count = 1
  let call = Infinity
  for (let spent = 0; spent < target;) {
    const seconds = await time(prepared, count)
    spent += seconds
    call = Math.min(call, seconds / count)
    if (seconds < length / 2 && count < MOST_CALLS) count *= 2
  }
  return { count: Math.min(MOST_CALLS, Math.max(1, Math.round(length / call))) }
}

/** @param {readonly number[]} values @param {number} [quantile] */
export function median(values, quantile = 0.5) {
  const sorted = values.toSorted((a, b) => a - b)
  const place = (sorted.length - 1) * quantile
  const below = sorted[Math.floor(place)]
  return below + (sorted[Math.ceil(place)] - below) * (place % 1)
}

/**
 * Returns the time of one contender divided by the other's: the median over the rounds in which both ran.
 *
 * @param {Entry} one
 * @param {Entry} other
 */
export function ratio(one, other) {
  const rounds = Math.min(one.seconds.length, other.seconds.length)
  return median(Array.from({ length: rounds }, (_, round) => one.seconds[round] / other.seconds[round]))
}
