// Fuzzes all exports of the package on both backends, with valid and mutated arguments from a seed, and reports
// violations: `npm run fuzz -- --seconds 600 --seed 1 --backend wasm`. It also finds cases that end the process or take
// too long.

import { spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'

const child = fileURLToPath(new URL('../fuzz/child.mjs', import.meta.url))
/** Maximum duration of one case in seconds. */
const PATIENCE = 30

const { values } = parseArgs({
  options: {
    seed: { type: 'string' },
    seconds: { type: 'string', default: '60' },
    calls: { type: 'string', default: '1e15' },
    from: { type: 'string', default: '0' },
    backend: { type: 'string' },
    all: { type: 'boolean', default: false }
  }
})
const seed = values.seed === undefined ? Math.floor(Math.random() * 2 ** 32) : Number(values.seed)
const kinds = values.backend === undefined ? ['native', 'wasm'] : [values.backend]
const folder = mkdtempSync(join(tmpdir(), 'attention-fuzz-'))
const progress = join(folder, 'progress')

/** Similar findings count as one. @type {Map<string, { finding: any, count: number }>} */
const found = new Map()

/** @param {any} finding */
function note(finding) {
  const key = `${finding.name} ${finding.kind} ${finding.problem.replace(/[\d.e+-]+/g, '#')}`
  const known = found.get(key)
  if (known) known.count++
  else found.set(key, { finding, count: 1 })
  if (!known || values.all) console.log(describe(finding))
}

/** @param {any} finding */
const describe = ({ name, number, kind, problem, changes }) =>
  `FOUND ${name} (${kind}; --seed ${seed} --from ${number} --calls 1): ${problem}${changes ? ` [${changes}]` : ''}`

/** The number of the current case; if negative, −1 minus the total number of cases run. */
function readPosition() {
  try {
    const bytes = readFileSync(progress)
    return bytes.length === 8 ? bytes.readDoubleLE() : undefined
  } catch {
    return undefined
  }
}

/**
 * Runs cases until the time is over, or a case ends the process.
 *
 * @param {number} from
 * @param {number} calls
 * @param {number} until
 * @returns {Promise<{ at: number, ended: string | undefined }>}
 */
function run(from, calls, until) {
  const given = JSON.stringify({ seed, from, calls, until, kinds, progress })
  const running = spawn(process.execPath, ['--max-old-space-size=1500', child, given], {
    stdio: ['ignore', 'pipe', 'pipe']
  })
  createInterface({ input: running.stdout }).on('line', (line) => note(JSON.parse(line)))
  let errors = ''
  running.stderr.on('data', (text) => (errors = `${errors}${text}`.slice(-2000)))
  let [last, since, late] = [from, Date.now(), false]
  const watch = setInterval(() => {
    const now = readPosition()
    // A busy machine takes long to load the package, which is not part of a case.
    if (now === undefined || now !== last) [last, since] = [now ?? last, Date.now()]
    else if (Date.now() - since > PATIENCE * 1000) late = running.kill('SIGKILL')
  }, 250)
  return new Promise((resolve) => {
    running.on('close', (code, signal) => {
      clearInterval(watch)
      const at = readPosition() ?? from
      const ended = late ? `no end within ${PATIENCE} s` : `the process ended with ${signal ?? code} ${errors}`
      resolve({ at, ended: at < 0 && code === 0 ? undefined : ended })
    })
  })
}

const until = Date.now() + Number(values.seconds) * 1000
let from = Number(values.from)
let calls = Number(values.calls)
let done = 0
console.log(`fuzzing ${kinds.join(' and ')} with --seed ${seed}`)
while (calls > 0 && Date.now() < until) {
  const { at, ended } = await run(from, calls, until)
  const count = at < 0 ? -1 - at : at - from + 1
  done += count
  calls -= count
  from += count
  if (ended) note({ name: 'process', number: at, kind: kinds.join(), problem: ended, changes: '' })
  else break
}
rmSync(folder, { recursive: true, force: true })
for (const { finding, count } of found.values()) if (count > 1) console.log(`${count} times: ${describe(finding)}`)
console.log(`${done} calls on ${kinds.join(' and on ')}, ${found.size} faults, --seed ${seed}`)
if (found.size > 0) process.exitCode = 1
