// The examples of the reference: each function and class has one, and prints the documented line on both backends.
import { readFileSync } from 'node:fs'
import test from 'ava'
import * as attention from '@ruvector/attention'
import { linesOf } from '../support/programs.js'

const types = readFileSync(new URL('../../index.d.ts', import.meta.url), 'utf8')

/** The examples, by the name of the documented function or class. */
const examples = new Map(
  [
    ...types.matchAll(
      /^ \* @example\n \* ```js\n([^]*?)^ \* ```\n \*\/\nexport (?:declare )?(?:class|function) (\w+)/gm
    )
  ].map(([, lines, name]) => [name, lines.replaceAll(/^ \* ?/gm, '')])
)

/** Base classes, which callers cannot construct. */
const ABSTRACT = ['Layer', 'GraphLayer']

test('each function and class of the reference has an example that imports what it uses', (t) => {
  const names = Object.entries(attention).filter(
    ([name, value]) => typeof value === 'function' && !ABSTRACT.includes(name)
  )
  t.deepEqual(names.map(([name]) => name).sort(), [...examples.keys()].sort())
})

for (const kind of ['native', 'wasm']) {
  test(`${kind}: the examples of the reference print what they state`, async (t) => {
    // One process for all: each example is a block of one program.
    const imported = new Set()
    const blocks = [...examples].map(([name, code]) => {
      const body = code.replace(/^import \{ (.*) \} from '@ruvector\/attention'\n/, (_, list) => {
        for (const one of list.split(', ')) imported.add(one)
        return ''
      })
      return `{\nconsole.log('${name}')\n${body}}\n`
    })
    const program = `import { ${[...imported].join(', ')} } from '@ruvector/attention'\n${blocks.join('')}`
    const expected = [...examples].flatMap(([name, code]) => [
      name,
      /console\.log\(.*\) \/\/ (.*)$/m.exec(code)?.[1] ?? ''
    ])
    t.deepEqual(await linesOf(program, kind), expected)
  })
}
