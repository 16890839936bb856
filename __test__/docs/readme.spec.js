// The README's claims apart from its programs, which guides.spec.js runs.
import { readFileSync } from 'node:fs'
import test from 'ava'

const root = new URL('../../', import.meta.url)
const readme = readFileSync(new URL('README.md', root), 'utf8')

test('the README sets up with two commands, and each is a script of the package', (t) => {
  const commands = [...readme.matchAll(/^ {4}npm (start|test|run \w+)/gm)].map(([, command]) => command)
  t.deepEqual(commands, ['start', 'test'])
  const { scripts } = JSON.parse(readFileSync(new URL('package.json', root), 'utf8'))
  for (const command of commands) t.is(typeof scripts[command], 'string', command)
})
