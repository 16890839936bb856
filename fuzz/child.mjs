// The process in which cases run: writes the number of the case it is at to a file, so that whoever watches it knows which
// one ended it, and what it finds to standard output, a line of JSON each.

import { openSync, writeSync } from 'node:fs'
import { loadBackend } from '../index.js'
import { runCase, subjects } from './cases.mjs'

/** @type {{ seed: number, from: number, calls: number, until: number, kinds: import('../index.d.ts').BackendKind[], progress: string }} */
const { seed, from, calls, until, kinds, progress } = JSON.parse(process.argv[2])
const file = openSync(progress, 'w')
const place = new Float64Array(1)
const say = (/** @type {unknown} */ line) => writeSync(1, `${JSON.stringify(line)}\n`)

/** What nobody waited for and still failed: in a program of a user's it would end the process. */
const stray = (/** @type {any} */ error) =>
  say({
    name: 'nobody waited',
    number: place[0],
    kind: 'both',
    problem: String(error?.stack ?? error).slice(0, 500),
    changes: ''
  })
process.on('unhandledRejection', (reason) => {
  // What the fuzzer's own iterators and jobs threw is its own affair.
  if (/** @type {any} */ (reason)?.constructor?.name !== 'OwnError') stray(reason)
})
process.on('uncaughtException', stray)

const all = subjects(
  await Promise.all(kinds.map(async (kind) => ({ kind, api: await loadBackend(kind, { threads: 2 }) })))
)
const end = from + calls
for (let number = from; number < end && Date.now() < until; number++) {
  place[0] = number
  writeSync(file, place, 0, 8, 0)
  for (const finding of await runCase(all, seed, number)) say(finding)
  // Timers and finalizers have their turn.
  if (number % 64 === 0) await new Promise((resolve) => setImmediate(resolve))
}
place[0] = -1 - Math.max(0, place[0] - from + 1)
writeSync(file, place, 0, 8, 0)
