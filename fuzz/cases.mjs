// Cases of the fuzzer. Each depends only on a seed and a number, runs on every backend, and returns the problems found.

import { entries } from './calls.mjs'
import { createReference, differenceOf, problemOf } from './check.mjs'
import { mutateArguments } from './mutate.mjs'
import { trainingEntries } from './training.mjs'
import { World } from './world.mjs'
import { mix } from './random.mjs'

/** The API of an entry of the package. @typedef {{ api: any, isRight: () => string | undefined }} Own */
/** @typedef {{ kind: string, main: Own, training: Own }} Subject */
/** @typedef {{ name: string, number: number, kind: string, problem: string, changes: string }} Finding */

/** Asynchronous calls take as long as hundreds of synchronous ones, so fewer of them run. */
const SYNCHRONOUS_SHARE = 12

const known = { ...entries, ...trainingEntries }
const names = Object.keys(known).flatMap((name) =>
  Array.from({ length: /Async$|^BatchProcessor\.(process|stream)$/.test(name) ? 1 : SYNCHRONOUS_SHARE }, () => name)
)
/** Maximum time for a promise to settle, in milliseconds. */
const PATIENCE = 20_000

/** @param {any} api @returns {Own} */
const withReference = (api) => ({ api, isRight: createReference(api) })

/**
 * @param {{ kind: string, api: any, training: any }[]} backends  the APIs of the main entry and of training
 * @returns {Subject[]}
 */
export const subjects = (backends) =>
  backends.map(({ kind, api, training }) => ({ kind, main: withReference(api), training: withReference(training) }))

/** The results of a call, without members that cannot be compared. @param {any} value @param {World} world */
function settle(value, world) {
  if (typeof value?.dispose === 'function') world.keep(value)
  return value
}

/** @param {any} list */
function isLong(list) {
  try {
    return list.length > 1e6
  } catch {
    return false
  }
}

/** @param {Promise<any>} promise */
async function patiently(promise) {
  /** @type {any} */
  let timer
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`the promise did not settle in ${PATIENCE} ms`)), PATIENCE)
  })
  try {
    return await Promise.race([promise, late])
  } finally {
    clearTimeout(timer)
  }
}

/**
 * Performs one call of an entry.
 *
 * @param {World} world
 * @param {import('./calls.mjs').Entry} entry
 * @returns {{ outcome: import('./check.mjs').Outcome } | { later: Promise<any> }}
 */
function perform(world, entry) {
  try {
    const target = entry.of(world)
    const right = entry.args(world, target)
    const args = entry.isPlain ? right : mutateArguments(world, right)
    // A batch runs one job per input, here billions.
    if (/^process(_batch)?$/.test(String(entry.name)) && isLong(args[0])) args[0] = []
    if (entry.isNew) return { outcome: { value: settle(new target(...args), world) } }
    const member = target[/** @type {string} */ (entry.name)]
    const value = typeof member === 'function' ? member.apply(target, args) : member
    if (value instanceof Promise) return { later: value }
    return { outcome: { value: settle(value, world) } }
  } catch (error) {
    return { outcome: { error, isRefused: true } }
  }
}

/** @param {Promise<any>} promise @param {World} world */
async function outcomeOf(promise, world) {
  try {
    return { value: settle(await patiently(promise), world) }
  } catch (error) {
    return { error, isRefused: true }
  }
}

/** Entries whose values depend on the backend or the time. */
const PRIVATE =
  /^(backend|memoryUsage|compat getMemoryUsage|BatchProcessor\.concurrency|new |LinearAttention\.stream|compat create)/

/**
 * Runs one case on every subject.
 *
 * @param {readonly Subject[]} all
 * @param {number} seed
 * @param {number} number
 * @returns {Promise<Finding[]>}
 */
export async function runCase(all, seed, number) {
  const choice = mix(seed, number)
  const name = names[choice % names.length]
  /** @type {Finding[]} */
  const findings = []
  const runs = []
  for (const { kind, ...apis } of all) {
    const { api, isRight } = name in trainingEntries ? apis.training : apis.main
    let isInside = false
    const world = new World(api, mix(choice, 1), () => {
      // Deeper nesting of calls adds nothing.
      if (isInside) return
      isInside = true
      const wrong = isRight()
      if (wrong) find(`called back: ${wrong}`)
      isInside = false
    })
    const find = (/** @type {string} */ problem) =>
      findings.push({ name, number, kind, problem, changes: world.changes.join(', ') })
    const performed = perform(world, known[name])
    const outcome = 'later' in performed ? await outcomeOf(performed.later, world) : performed.outcome
    const isAbstract = known[name].isAbstract && outcome.error instanceof TypeError
    const problem = isAbstract ? undefined : problemOf(outcome, world.own, api.BatchError)
    if (problem) find(problem)
    if (!world.isUntouched()) find('an input was written to')
    const wrong = isRight()
    if (wrong) find(wrong)
    world.dispose()
    runs.push({ outcome, world, api })
  }
  if (!PRIVATE.test(name) || runs.some(({ outcome }) => outcome.isRefused)) {
    const difference = differenceOf(runs)
    if (difference)
      findings.push({
        name,
        number,
        kind: 'both',
        problem: `native and wasm differ: ${difference}`,
        changes: runs[0].world.changes.join(', ')
      })
  }
  return findings
}
