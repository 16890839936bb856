// The package never evaluates text as code: it runs under a content security policy without 'unsafe-eval'.
import { readFileSync, readdirSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import test from 'ava'

const root = fileURLToPath(new URL('../..', import.meta.url))

/** @param {string} folder @returns {string[]} */
const scriptsIn = (folder) =>
  readdirSync(`${root}${folder}`, { recursive: true, encoding: 'utf8' })
    .filter((name) => /\.[cm]?js$/.test(name))
    .map((name) => `${folder}/${name}`)

const shipped = ['index.js', ...scriptsIn('lib'), ...scriptsIn('packages/wasm')]

/** The ways to evaluate text as code. */
const MAKES_CODE =
  /\beval\s*\(|\bnew\s+Function\b|[^.\w]Function\s*\(|\bsetTimeout\s*\(\s*['"`]|\bimportScripts\s*\(|\(0,\s*eval\)|\.constructor\s*\(\s*['"`]/

test('no shipped script calls eval or creates a function from text', (t) => {
  t.true(shipped.length > 60)
  for (const name of shipped) t.notRegex(readFileSync(`${root}${name}`, 'utf8'), MAKES_CODE, name)
})

test('the pattern matches these ways', (t) => {
  for (const code of ['eval("1")', 'new Function("a")', 'x = Function("a")', 'setTimeout("a", 1)', '(0, eval)("1")']) {
    t.regex(code, MAKES_CODE)
  }
  for (const code of ['retrieval(x)', 'isFunction(x)', '{ eval: true }', '[Function: x]']) t.notRegex(code, MAKES_CODE)
})

test('the only `eval` option starts a Node worker from the text that the build generated', (t) => {
  const found = shipped.filter((name) => /(?<!unsafe-)\beval\b/.test(readFileSync(`${root}${name}`, 'utf8')))
  t.is(found.length, 2)
  t.regex(found.sort()[0], /^lib\/cjs\/part-\w+\.cjs$/)
  t.is(found[1], 'lib/runtime/async/spawn.js')
})
