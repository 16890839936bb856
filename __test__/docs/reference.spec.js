// The examples of the reference: each function and class has one, and prints the documented line on both backends.
import { readFileSync } from 'node:fs'
import test from 'ava'
import * as attention from '@ruvector/attention'
import * as training from '@ruvector/attention/training'
import { linesOf } from '../support/programs.js'

/** The examples of a file, by the name of the documented function or class. @param {string} file */
function readExamples(file) {
  const types = readFileSync(new URL(`../../${file}`, import.meta.url), 'utf8')
  const found = types.matchAll(
    /^ \* @example\n \* ```js\n([^]*?)^ \* ```\n \*\/\nexport (?:declare )?(?:class|function) (\w+)/gm
  )
  return new Map([...found].map(([, lines, name]) => [name, lines.replaceAll(/^ \* ?/gm, '')]))
}

/** The entries with a reference, the names that each adds, and their examples. */
const entries = [
  { path: '@ruvector/attention', names: Object.entries(attention), examples: readExamples('index.d.ts') },
  {
    path: '@ruvector/attention/training',
    names: Object.entries(training).filter(([name]) => !(name in attention)),
    examples: readExamples('training.d.ts')
  }
]

/** Base classes, which callers cannot construct. */
const ABSTRACT = ['Layer', 'GraphLayer']

for (const { path, names, examples } of entries) {
  test(`each function and class of ${path} has an example that imports what it uses`, (t) => {
    const documented = names.filter(([name, value]) => typeof value === 'function' && !ABSTRACT.includes(name))
    t.deepEqual(documented.map(([name]) => name).sort(), [...examples.keys()].sort())
  })

  for (const kind of ['native', 'wasm']) {
    test(`${kind}: the examples of ${path} print what they state`, async (t) => {
      // One process for all: each example is a block of one program.
      const imported = new Set()
      const blocks = [...examples].map(([name, code]) => {
        const body = code.replace(/^import \{ (.*) \} from '(.*)'\n/, (line, list, from) => {
          if (from !== path) return line
          for (const one of list.split(', ')) imported.add(one)
          return ''
        })
        return `{\nconsole.log('${name}')\n${body}}\n`
      })
      const program = `import { ${[...imported].join(', ')} } from '${path}'\n${blocks.join('')}`
      const expected = [...examples].flatMap(([name, code]) => [
        name,
        /console\.log\(.*\) \/\/ (.*)$/m.exec(code)?.[1] ?? ''
      ])
      t.deepEqual(await linesOf(program, kind), expected)
    })
  }
}
