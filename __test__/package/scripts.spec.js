// The scripts behind the npm commands.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import test from 'ava'

const shell = new URL('../../tools/shell.mjs', import.meta.url).href

test('a program on the terminal ends with the script that runs it, and passes on its exit code', async (t) => {
  const child = `console.log(process.pid); setInterval(() => {}, 1000)`
  const program = `import { runOnTerminal } from '${shell}'
    process.exitCode = await runOnTerminal(['-e', ${JSON.stringify(child)}], '.')`
  for (const signal of /** @type {const} */ (['SIGTERM', 'SIGHUP', 'SIGINT'])) {
    const script = spawn(process.execPath, ['--input-type=module', '-e', program], {
      cwd: fileURLToPath(new URL('../..', import.meta.url)),
      stdio: ['ignore', 'pipe', 'inherit']
    })
    const [pid] = await once(createInterface({ input: script.stdout }), 'line')
    const ended = once(script, 'exit')
    script.kill(signal)
    t.deepEqual(await ended, [1, null])
    t.throws(() => process.kill(Number(pid), 0), { code: 'ESRCH' })
  }
  const code = `import { runOnTerminal } from '${shell}'
    process.exitCode = await runOnTerminal(['-e', 'process.exitCode = 3'], '.')`
  const [exitCode] = await once(spawn(process.execPath, ['--input-type=module', '-e', code]), 'exit')
  t.is(exitCode, 3)
})
