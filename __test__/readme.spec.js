// Runs the programs of the README and of the guide to pictures on both backends: they print what is written there.
import { readFileSync } from 'node:fs'
import test from 'ava'
import { linesOf, programsOf } from './support/programs.js'

const root = new URL('../', import.meta.url)
const readme = readFileSync(new URL('README.md', root), 'utf8')

for (const kind of ['native', 'wasm']) {
  test(`${kind}: the usage example of the README prints what its comments say`, async (t) => {
    const [{ code, lines }] = programsOf('README.md')
    t.true(lines.length >= 2)
    t.deepEqual(await linesOf(code, kind), lines)
  })

  test(`${kind}: the programs of docs/plot.md print what stands there`, async (t) => {
    const programs = programsOf('docs/plot.md')
    t.is(programs.length, 4)
    for (const { code, lines } of programs) {
      t.true(lines.length > 0)
      t.deepEqual(await linesOf(code, kind), lines)
    }
  })
}

test('the set-up of the README is two commands, and each is a script of the package', (t) => {
  const [, setUp] = /^## Set up\n([^]*?)^## /m.exec(readme) ?? []
  const commands = [...setUp.matchAll(/^ {4}npm (\w+)/gm)].map(([, command]) => command)
  t.deepEqual(commands, ['start', 'test'])
  const { scripts } = JSON.parse(readFileSync(new URL('package.json', root), 'utf8'))
  for (const command of commands) t.is(typeof scripts[command], 'string', command)
})
