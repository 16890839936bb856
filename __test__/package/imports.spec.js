// Imports within lib/ lead from a folder to a lower one, and files do not form a cycle. Imports of types do not count.
// Scripts and tests do not import each other.
import { readFileSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import test from 'ava'
import { build } from 'esbuild'

const root = fileURLToPath(new URL('../..', import.meta.url))

/** The other folders that each folder may import from; every folder may import `lib/version.js`. */
const BELOW = /** @type {Record<string, string[]>} */ ({
  checks: [],
  numbers: ['checks'],
  names: ['numbers', 'checks'],
  weights: ['names', 'numbers', 'checks'],
  runtime: ['weights', 'checks'],
  loaders: ['runtime', 'checks'],
  face: ['runtime', 'weights', 'names', 'numbers', 'checks'],
  models: ['face', 'runtime', 'weights', 'names', 'numbers', 'checks'],
  training: ['face', 'runtime', 'weights', 'names', 'numbers', 'checks'],
  graphology: ['checks'],
  plot: ['checks'],
  compat: ['face', 'checks'],
  entries: ['compat', 'models', 'training', 'face', 'loaders', 'runtime', 'checks'],
  cli: ['entries', 'models', 'plot', 'face', 'names', 'loaders', 'runtime', 'weights', 'numbers', 'checks']
})

/** The room of a file; `index.js` is an entry. @param {string} path */
const roomOf = (path) => (path === 'index.js' ? 'entries' : path.match(/^lib\/([^/]+)\//)?.[1])

/** The files that each file imports, with `import()`, by paths from the root. */
async function readArrows() {
  const { metafile } = await build({
    absWorkingDir: root,
    entryPoints: readdirSync(join(root, 'lib'), { recursive: true, encoding: 'utf8' })
      .filter((name) => name.endsWith('.js'))
      .map((name) => join('lib', name)),
    bundle: true,
    metafile: true,
    write: false,
    outdir: 'output',
    format: 'esm',
    platform: 'node',
    packages: 'external',
    external: ['*.wasm'],
    logLevel: 'error'
  })
  return Object.entries(metafile.inputs).map(([path, { imports }]) => ({
    path,
    targets: imports.filter(({ external }) => !external).map((found) => found.path)
  }))
}

const arrows = await readArrows()

test('every folder of lib/ imports only from the folders below it', (t) => {
  const upward = arrows.flatMap(({ path, targets }) => {
    const room = roomOf(path)
    if (room === undefined) return targets.map((target) => `${path} → ${target}`)
    const allowed = [room, ...(BELOW[room] ?? []), undefined]
    return targets.filter((target) => !allowed.includes(roomOf(target))).map((target) => `${path} → ${target}`)
  })
  t.deepEqual(upward, [])
  t.deepEqual(
    [...new Set(arrows.map(({ path }) => roomOf(path)))].filter((room) => room !== undefined).sort(),
    Object.keys(BELOW).sort()
  )
})

test('imports of files do not form a cycle', (t) => {
  const remaining = new Map(arrows.map(({ path, targets }) => [path, new Set(targets)]))
  // Removes files without imports until only cycles, and files that import from them, are left.
  let leaves
  do {
    leaves = [...remaining].filter(([, targets]) => targets.size === 0).map(([path]) => path)
    for (const path of leaves) remaining.delete(path)
    for (const targets of remaining.values()) for (const path of leaves) targets.delete(path)
  } while (leaves.length > 0)
  t.deepEqual(Object.fromEntries([...remaining].map(([path, targets]) => [path, [...targets]])), {})
})

test('scripts/ and __test__/ do not import each other; tools/ has the modules that they share', (t) => {
  const imported = /(?:\bfrom|\bimport\(?)\s*['"]([^'"]+)['"]/g
  for (const [folder, other] of [
    ['scripts', '__test__'],
    ['__test__', 'scripts'],
    ['tools', '(?:scripts|__test__)']
  ]) {
    const files = readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
    const arrows = files
      .filter((name) => /\.m?js$/.test(name))
      .flatMap((name) => {
        const text = readFileSync(join(root, folder, name), 'utf8')
        return [...text.matchAll(imported)].map(([, target]) => `${folder}/${name} → ${target}`)
      })
    t.true(arrows.length > 0)
    t.deepEqual(
      arrows.filter((arrow) => new RegExp(`→ (?:\\.\\./)+${other}/`).test(arrow)),
      []
    )
  }
})
