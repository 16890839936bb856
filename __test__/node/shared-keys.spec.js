// The example of keys in several processes: the merged output is that of attention over all keys.
import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import test from 'ava'
import { onBothBackends } from '../support/backends.js'

const program = fileURLToPath(new URL('../../examples/shared-keys/index.js', import.meta.url))

onBothBackends((kind) => {
  for (const count of [2, 3]) {
    test(`${kind}: attention over keys in ${count} processes is that over all keys`, async (t) => {
      const env = { ...process.env, RUVECTOR_ATTENTION_BACKEND: kind }
      const { stdout } = await promisify(execFile)(process.execPath, [program, `${count}`], { env })
      const [, difference] = /difference from attention over all keys: (.+)/.exec(stdout) ?? []
      t.true(Number(difference) < 1e-6, stdout)
      t.regex(stdout, new RegExp(`5000 keys in ${count} processes\nreceived ${count * 4 * 16 * 33 * 4} bytes;`))
    })
  }
})
