// Lines of lib/ that ran, from V8's counters in Node processes, workers and pages. Counters of the same script are
// merged, then mapped to the lines where statements start; for bundles, through their source map.

import { existsSync, readFileSync, readdirSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { root } from '../../tools/shell.mjs'

/**
 * @typedef {{ scriptId: string, url: string, functions: any[] }} Script  the counters of one script, as V8 writes them
 */
/** @typedef {Map<number, boolean>} Lines  whether each line that starts a statement ran */

/**
 * Imports a package of this folder, which the type checker does not know, because it may not be installed.
 *
 * @param {string} name
 * @returns {Promise<any>}
 */
const load = (name) => import(name)

/**
 * Returns the lines of each source file that ran, in any script built from it.
 *
 * @param {string} folder  with the counters, JSON files in the format of `NODE_V8_COVERAGE`; bundles and their source
 *   maps are next to it
 * @param {readonly string[]} sources  files to report, even if they did not run
 * @returns {Promise<Map<string, Lines>>}
 */
export async function linesThatRan(folder, sources) {
  const { mergeScriptCovs } = await load('@bcoe/v8-coverage')
  /** @type {Map<string, Lines>} */
  const lines = new Map()
  for (const file of sources) {
    const own = await statements({ scriptId: '', url: pathToFileURL(file).href, functions: [] })
    lines.set(file, new Map((own.get(file) ?? []).map(({ line }) => [line, false])))
  }
  for (const same of readScripts(folder, sources).values()) {
    for (const [file, found] of await statements(mergeScriptCovs(same))) {
      const known = lines.get(file)
      // Bundlers may split statements over additional lines; only lines of the source count.
      for (const { line, count } of found) if (count > 0 && known?.has(line)) known.set(line, true)
    }
  }
  return lines
}

/**
 * Counters of the sources and of their bundles, grouped by file.
 *
 * @param {string} folder
 * @param {readonly string[]} sources
 */
function readScripts(folder, sources) {
  /** @type {Map<string, Script[]>} */
  const scripts = new Map()
  const sizes = new Map(sources.map((file) => [file, readFileSync(file, 'utf8').length]))
  for (const name of readdirSync(folder)) {
    /** @type {{ result: Script[] }} */
    const { result } = JSON.parse(readFileSync(join(folder, name), 'utf8'))
    for (const script of result) {
      // A module that was imported twice has a query in its URL.
      const url = script.url.replace(/[?#].*$/, '')
      if (!url.startsWith('file:')) continue
      const path = fileURLToPath(url)
      const file = dirname(path) === dirname(folder) ? path : sourceOf(path, script, sizes)
      if (file === undefined) continue
      scripts.set(file, [...(scripts.get(file) ?? []), { ...script, url: pathToFileURL(file).href }])
    }
  }
  return scripts
}

/**
 * Finds the source of a script, which may be a copy: specs install the package in temporary folders.
 *
 * @param {string} path
 * @param {Script} script
 * @param {ReadonlyMap<string, number>} sizes  of the sources
 */
function sourceOf(path, { functions }, sizes) {
  if (sizes.has(path)) return path
  const [, name] = path.match(/[\\/](lib[\\/].*)$/) ?? []
  const file = name && join(root, name)
  const size = Math.max(...functions.flatMap(({ ranges }) => ranges.map((/** @type {any} */ range) => range.endOffset)))
  return file && sizes.get(file) === size ? file : undefined
}

/**
 * Returns the lines where the statements of a script's sources start, with their counts. A source map is in a file with
 * the same name and `.map`.
 *
 * @param {Script} coverage
 * @returns {Promise<Map<string, { line: number, count: number }[]>>}
 */
async function statements(coverage) {
  const [{ convert }, { parse }] = [await load('ast-v8-to-istanbul'), await load('acorn')]
  const file = fileURLToPath(coverage.url)
  const code = readFileSync(file, 'utf8')
  const map = `${file}.map`
  const files = await convert({
    ast: parse(code, { ecmaVersion: 'latest', sourceType: 'module', locations: true }),
    code,
    coverage,
    sourceMap: existsSync(map) ? JSON.parse(readFileSync(map, 'utf8')) : undefined
  })
  return new Map(
    Object.values(files).map(({ path, statementMap, s }) => [
      path,
      Object.entries(statementMap).map(([id, { start }]) => ({ line: start.line, count: s[id] }))
    ])
  )
}
