// Lines of lib/ that ran, from the counters of V8 in Node processes, workers and pages: counters of one script are merged, then mapped
// to the lines where statements start, through a source map where the script is a bundle.

import { existsSync, readFileSync, readdirSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'

/** @typedef {{ scriptId: string, url: string, functions: any[] }} Script  the counters of one script, as V8 writes them */
/** @typedef {Map<number, boolean>} Lines  whether each line that starts a statement ran */

/**
 * Imports a package of this folder, which is unknown to the type checker: it runs where they are not installed.
 *
 * @param {string} name
 * @returns {Promise<any>}
 */
const load = (name) => import(name)

/**
 * Lines of each source file that ran, by any script made of it.
 *
 * @param {string} folder  of the counters: JSON files as `NODE_V8_COVERAGE` has them; bundles and their source maps are beside it
 * @param {readonly string[]} sources  files to report, whether they ran or not
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
  const isWanted = (/** @type {string} */ file) => lines.has(file) || dirname(file) === dirname(folder)
  for (const same of readScripts(folder, isWanted).values()) {
    for (const [file, found] of await statements(mergeScriptCovs(same))) {
      const known = lines.get(file)
      // Bundlers may place statements on lines of their own; only lines of the source count.
      for (const { line, count } of found) if (count > 0 && known?.has(line)) known.set(line, true)
    }
  }
  return lines
}

/**
 * Counters of the wanted files, grouped by file.
 *
 * @param {string} folder
 * @param {(file: string) => boolean} isWanted
 */
function readScripts(folder, isWanted) {
  /** @type {Map<string, Script[]>} */
  const scripts = new Map()
  for (const name of readdirSync(folder)) {
    /** @type {{ result: Script[] }} */
    const { result } = JSON.parse(readFileSync(join(folder, name), 'utf8'))
    for (const script of result) {
      // A module that was imported twice has a query.
      const url = script.url.replace(/[?#].*$/, '')
      if (!url.startsWith('file:') || !isWanted(fileURLToPath(url))) continue
      scripts.set(url, [...(scripts.get(url) ?? []), { ...script, url }])
    }
  }
  return scripts
}

/**
 * Where the statements of a script's sources start, and how often they ran. A script with a source map has it in a file beside it.
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
