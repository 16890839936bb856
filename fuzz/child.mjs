// The process in which cases run. It writes the number of the current case to a file, so that the parent process knows
// which case ended it, and its findings to standard output, one line of JSON each.

import { openSync, writeSync } from 'node:fs'
import { loadBackend } from '../index.js'
import { loadBackend as loadTraining } from '../lib/entries/training.js'
import { runCase, subjects } from './cases.mjs'

/**
 * @type {{ seed: number, from: number, calls: number, until: number, kinds: import('../index.d.ts').BackendKind[],
 *   progress: string }}
 */
const { seed, from, calls, until, kinds, progress } = JSON.parse(process.argv[2])
const file = openSync(progress, 'w')
const place = new Float64Array(1)
const say = (/** @type {unknown} */ line) => writeSync(1, `${JSON.stringify(line)}\n`)

/** A rejection that nobody awaited; in a user's program, it would end the process. */
const stray = (/** @type {any} */ error) =>
  say({
    name: 'unhandled rejection',
    number: place[0],
    kind: 'both',
    problem: String(error?.stack ?? error).slice(0, 500),
    changes: ''
  })
process.on('unhandledRejection', (reason) => {
  // Errors from the fuzzer's own iterators and jobs are expected.
  if (/** @type {any} */ (reason)?.constructor?.name !== 'OwnError') stray(reason)
})
process.on('uncaughtException', stray)

const all = subjects(
  await Promise.all(
    kinds.map(async (kind) => ({
      kind,
      api: await loadBackend(kind, { threads: 2 }),
      training: await loadTraining(kind, { threads: 2 })
    }))
  )
)
const end = from + calls
for (let number = from; number < end && Date.now() < until; number++) {
  place[0] = number
  writeSync(file, place, 0, 8, 0)
  for (const finding of await runCase(all, seed, number)) say(finding)
  // Lets timers and finalizers run.
  if (number % 64 === 0) await new Promise((resolve) => setImmediate(resolve))
}
place[0] = -1 - Math.max(0, place[0] - from + 1)
writeSync(file, place, 0, 8, 0)
