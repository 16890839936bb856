// Schedules: the factor of the learning rate at each step.

import { describe, fault } from '../checks/errors.js'
import { pickOptions } from '../checks/options.js'

/**
 * @param {string} name
 * @param {unknown} count
 * @param {number} least
 */
function checkCount(name, count, least) {
  if (Number.isSafeInteger(count) && Number(count) >= least) return Number(count)
  throw fault('OPTION', name, `an integer of at least ${least}`, describe(count))
}

/**
 * Returns a schedule that rises from 0 to 1 within `warmup` steps, and then follows `rest` of the fraction that is
 * done.
 *
 * @param {number} warmup
 * @param {(step: number) => number} rest
 */
const afterWarmup = (warmup, rest) => (/** @type {unknown} */ step) => {
  const at = checkCount('step', step, 0)
  return at < warmup ? at / warmup : rest(at)
}

/**
 * Reads the options of a schedule that ends.
 *
 * @param {unknown} options
 */
function readEnding(options) {
  const { steps, warmup = 0 } = pickOptions(options, ['steps', 'warmup'])
  const last = checkCount('steps', steps, 1)
  const first = checkCount('warmup', warmup, 0)
  if (first > last) throw fault('OPTION', 'warmup', `at most steps ${last}`, `${first}`)
  /** @param {number} step */
  const progress = (step) => Math.min(1, (step - first) / Math.max(1, last - first))
  return { first, progress }
}

/** @param {unknown} [options] */
export function constantSchedule(options) {
  const { warmup = 0 } = pickOptions(options, ['warmup'])
  return afterWarmup(checkCount('warmup', warmup, 0), () => 1)
}

/** @param {unknown} options */
export function linearSchedule(options) {
  const { first, progress } = readEnding(options)
  return afterWarmup(first, (step) => 1 - progress(step))
}

/** @param {unknown} options */
export function cosineSchedule(options) {
  const { first, progress } = readEnding(options)
  return afterWarmup(first, (step) => (1 + Math.cos(Math.PI * progress(step))) / 2)
}
