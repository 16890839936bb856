// A Redis server of our own, which is started again if it ends. Every change is on disk before it is acknowledged.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'

/**
 * @param {{ port: number, folder: string }} where  the folder has the append-only file
 */
export function startRedis({ port, folder }) {
  mkdirSync(folder, { recursive: true })
  const settings = { port, dir: folder, bind: '127.0.0.1', save: '', appendonly: 'yes', appendfsync: 'always' }
  const args = Object.entries({ ...settings, 'maxmemory-policy': 'noeviction', loglevel: 'warning' })
  const over = new AbortController()
  /** @type {import('node:child_process').ChildProcess | undefined} */
  let server

  async function run() {
    while (!over.signal.aborted) {
      server = spawn(
        'redis-server',
        args.flatMap(([name, value]) => [`--${name}`, `${value}`]),
        { stdio: ['ignore', 'ignore', 'inherit'] }
      )
      // Rejects if the program is missing.
      await Promise.race([once(server, 'exit'), once(server, 'error').then(([error]) => Promise.reject(error))])
      if (!over.signal.aborted) await sleep(100)
    }
  }

  const ended = run()
  return {
    /** Rejects if the server cannot be started. */
    ended,
    async stop() {
      over.abort()
      server?.kill()
      await ended.catch(() => {})
    }
  }
}
