// The downloads of a page from each entry, minified by a bundler and compressed as servers do, with their limits.
// `UPDATE_SIZES=1 npx ava __test__/package/size.spec.js` writes the table in docs/runtimes.md.
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import test from 'ava'
import { format } from 'prettier'
import { bundle, sizesOf } from '../../benchmark/bundles.js'

const root = fileURLToPath(new URL('../../', import.meta.url))

const script = (/** @type {string} */ subpath) => () => bundle(subpath)
const file = (/** @type {string} */ name) => async () => readFileSync(join(root, 'packages/wasm', name))

/**
 * Each download with its limit in KB after gzip, slightly above the current size.
 *
 * @type {{ name: string, read: () => Promise<Uint8Array>, limit: number }[]}
 */
const downloads = [
  { name: '`@ruvector/attention`', read: script('.'), limit: 240 },
  { name: '`/external`: the script', read: script('./external'), limit: 54 },
  { name: '`/external`: attention.simd.wasm', read: file('attention.simd.wasm'), limit: 236 },
  { name: '`/external`: attention.relaxed.patch', read: file('attention.relaxed.patch'), limit: 5 },
  { name: '`@ruvector/attention/core`', read: script('./core'), limit: 192 },
  { name: '`/core/external`: the script', read: script('./core/external'), limit: 51 },
  { name: '`/core/external`: attention.core.simd.wasm', read: file('attention.core.simd.wasm'), limit: 176 },
  { name: '`/core/external`: attention.core.relaxed.patch', read: file('attention.core.relaxed.patch'), limit: 4 },
  { name: '`@ruvector/attention/training`', read: script('./training'), limit: 307 },
  { name: '`/training/external`: the script', read: script('./training/external'), limit: 74 },
  {
    name: '`/training/external`: attention.training.simd.wasm',
    read: file('attention.training.simd.wasm'),
    limit: 306
  },
  {
    name: '`/training/external`: attention.training.relaxed.patch',
    read: file('attention.training.relaxed.patch'),
    limit: 7
  }
]

/** Tolerance of the documented sizes, relative or in KB, so that small changes need no update. */
const TOLERANCE = { relative: 0.02, absolute: 0.25 }

const measured = Promise.all(
  downloads.map(async (download) => ({ ...download, sizes: sizesOf(await download.read()) }))
)

test('each download of a page stays within its limit', async (t) => {
  for (const { name, sizes, limit } of await measured) {
    const [raw, gzip, brotli] = sizes
    t.log(`${name}: ${raw} KB, ${gzip} after gzip, ${brotli} after brotli`)
    t.true(gzip <= limit, `${name}: ${gzip} KB after gzip, more than ${limit}`)
  }
})

/**
 * True if a row of a table has these numbers, within the tolerance.
 *
 * @param {string} row
 * @param {readonly number[]} expected
 */
function hasNumbers(row, expected) {
  const [, , ...cells] = row.split('|')
  const numbers = [...cells.join(' ').matchAll(/[\d.]+/g)].map(([number]) => Number(number))
  const isNear = (/** @type {number} */ size, /** @type {number} */ index) =>
    Math.abs(numbers[index] - size) <= Math.max(TOLERANCE.relative * size, TOLERANCE.absolute)
  return numbers.length === expected.length && expected.every(isNear)
}

test('docs/runtimes.md has the table of these sizes', async (t) => {
  const path = join(root, 'docs/runtimes.md')
  const text = readFileSync(path, 'utf8')
  const rows = (await measured).map(({ name, sizes }) => `| ${[name, ...sizes].join(' | ')} |`)
  const table = await format(['| download | raw | gzip | brotli |', '| - | - | - | - |', ...rows].join('\n'), {
    parser: 'markdown'
  })
  const [stated] = text.match(/^\| download .*\n(\|.*\n)+/m) ?? ['']
  const lines = stated.split('\n').slice(2, -1)
  const isCurrent =
    lines.length === downloads.length &&
    (await measured).every(
      ({ name, sizes }, index) => lines[index].startsWith(`| ${name} `) && hasNumbers(lines[index], sizes)
    )
  if (!isCurrent && process.env.UPDATE_SIZES === '1') writeFileSync(path, text.replace(stated, table))
  else t.true(isCurrent, `it should be, with UPDATE_SIZES=1:\n${table}`)
  t.pass()
})

test('the README states these sizes', async (t) => {
  const readme = readFileSync(join(root, 'README.md'), 'utf8')
  const [shipped, external, module] = (await measured).map(({ sizes: [raw, gzip] }) => [raw, gzip])
  for (const [pattern, expected] of /** @type {const} */ ([
    [/^\| the WebAssembly module.*/m, module],
    [/^\| a page's bundle.*/m, shipped],
    [/^\| the same with.*/m, external]
  ])) {
    const [row] = readme.match(pattern) ?? ['']
    t.true(hasNumbers(row, expected), `${row}: ${expected.join(', ')} KB now`)
  }
})
