// Runs the README's usage example on both backends: it prints what its comments say.
import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import test from 'ava'

const root = new URL('../', import.meta.url)
const readme = readFileSync(new URL('README.md', root), 'utf8')
const [, example] = /```js\n([^]*?)```/.exec(readme) ?? []

for (const kind of ['native', 'wasm']) {
  test(`${kind}: the usage example of the README prints what its comments say`, async (t) => {
    const claims = [...example.matchAll(/^console\.log\(.*\) \/\/ (.*)$/gm)].map(([, claim]) => claim)
    t.true(claims.length >= 2)
    const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '--eval', example], {
      cwd: fileURLToPath(root),
      env: { ...process.env, RUVECTOR_ATTENTION_BACKEND: kind, NO_COLOR: '1' }
    })
    t.deepEqual(stdout.trimEnd().split('\n'), claims)
  })
}

test('the set-up of the README is two commands, and each is a script of the package', (t) => {
  const [, setUp] = /^## Set up\n([^]*?)^## /m.exec(readme) ?? []
  const commands = [...setUp.matchAll(/^ {4}npm (\w+)/gm)].map(([, command]) => command)
  t.deepEqual(commands, ['start', 'test'])
  const { scripts } = JSON.parse(readFileSync(new URL('package.json', root), 'utf8'))
  for (const command of commands) t.is(typeof scripts[command], 'string', command)
})
