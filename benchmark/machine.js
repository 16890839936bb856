// The limit of the machine, as a contender: the time of a case at the peak of multiply-adds or, if memory limits it, at
// the read bandwidth. Needs the repository and cargo.

import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { reported } from './building.js'
import { Conversation } from './process.js'

/** @typedef {import('./types.d.ts').Found} Found */

const root = fileURLToPath(new URL('..', import.meta.url))

/** @returns {string | Error} the program, or the reason that it cannot be built */
function build() {
  const args = ['build', '--release', '--locked', '--package', 'ruvector-attention', '--example', 'machine']
  const { status, error, stdout, stderr } = spawnSync('cargo', [...args, '--message-format=json-render-diagnostics'], {
    cwd: root,
    encoding: 'utf8'
  })
  if (error) return new Error('building it needs cargo, which was not found')
  const program = stdout.match(/"executable":"((?:[^"\\]|\\.)*machine(?:\.exe)?)"/)?.[1]
  if (status !== 0 || !program) return new Error(stderr.trim().split('\n')[0])
  return JSON.parse(`"${program}"`)
}

/**
 * Returns true if arithmetic or memory limits a speed in this unit.
 *
 * @param {import('./types.d.ts').Case['unit']} unit
 */
export const isLimited = (unit) => unit === 'GF/s' || unit === 'GB/s'

/** @returns {Promise<Found>} */
export async function machine() {
  const absent = 'the machine itself'
  if (!existsSync(`${root}crates/attention/examples/machine.rs`)) {
    return { absent, reason: 'building it needs the repository' }
  }
  const program = await reported('building the program that measures this machine, with cargo', build)
  if (program instanceof Error) return { absent, reason: program.message }
  const conversation = new Conversation(program, [])
  const level = await conversation.line()
  return {
    contenders: [
      {
        name: 'this machine at best',
        family: 'machine',
        side: 'machine',
        version: level,
        warmsUp: false,
        threaded: true,
        prepare({ unit, threads, flops, bytes }) {
          if (!isLimited(unit)) return 'calls have no such limit'
          const isRead = unit === 'GB/s'
          return {
            async time(count) {
              conversation.send(isRead ? `read ${threads} ${bytes}\n` : `peak ${threads}\n`)
              const rate = Number(await conversation.line()) * 1e9
              return (count * (isRead ? bytes : flops)) / rate
            }
          }
        },
        close: () => conversation.close()
      }
    ]
  }
}
