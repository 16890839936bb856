// The page of a run: one file that contains the data, the code of the charts, and Observable Plot.

import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { installCommand } from '../building.js'
import { LETTERS, limit, quantity, significant } from './format.js'

/** @typedef {import('../types.d.ts').Report} Report */

const require = createRequire(import.meta.url)

/** @param {string} path  inside this folder */
const own = (path) => readFileSync(new URL(path, import.meta.url), 'utf8')

/** @param {string} name @param {string} file  in the package's folder */
function library(name, file) {
  // Neither package exports its browser file, so it is read from the folders that `require` searches.
  const paths = require.resolve.paths(name) ?? []
  for (const path of paths) {
    try {
      return readFileSync(join(path, name, file), 'utf8')
    } catch {
      // Continue with the next folder up.
    }
  }
  throw new Error(`${name} is not installed: ${installCommand}`)
}

/** The code of the plotting libraries; throws if they are not installed. */
export function plottingCode() {
  return [library('d3', 'dist/d3.min.js'), library('@observablehq/plot', 'dist/plot.umd.min.js')]
}

/** @param {string} text */
const escape = (text) => text.replace(/[&<>"]/g, (character) => `&#${character.charCodeAt(0)};`)

/** @param {string[][]} lines @param {string[]} head @param {(line: string[]) => string} [rowClass] */
function table(head, lines, rowClass = () => '') {
  /** @param {'td' | 'th'} tag @param {string[]} line */
  const row = (tag, line) => line.map((cell) => `<${tag}>${escape(cell)}</${tag}>`).join('')
  const body = lines.map((line) => `<tr class="${rowClass(line)}">${row('td', line)}</tr>`).join('\n')
  return `<div class="wide"><table><thead><tr>${row('th', head)}</tr></thead><tbody>\n${body}\n</tbody></table></div>`
}

/** @param {readonly import('../types.d.ts').Goal[]} goals */
function goalSection(goals) {
  const counts = ['holds', 'misses', 'not measured'].map(
    (status) => goals.filter((goal) => goal.status === status).length
  )
  const lines = goals.map((goal) => [
    goal.name,
    limit(goal),
    goal.measured === undefined ? '' : quantity(goal.measured, goal.unit),
    goal.status,
    goal.detail
  ])
  return `<h2>Goals</h2>
<p><b class="holds">${counts[0]} hold</b>, <b class="misses">${counts[1]} miss</b>, ${counts[2]} not measured.
Right of the line is better than the goal.</p>
<figure id="goals"></figure>
<details><summary>Goals in figures</summary>
${table(['goal', 'limit', 'measured', 'status', 'where'], lines, (line) => line[3].replace(' ', '-'))}
</details>`
}

/** @param {Report} report @param {string[]} libraries */
export function htmlReport(report, libraries) {
  // Escaped, so that no text in the data can end the script.
  const data = JSON.stringify(report).replaceAll('<', '\\u003c')
  const scripts = [...libraries, `window.report = ${data}`, own('page/charts.js')]
  const { goals, rows, figures } = report
  const rowLines = rows.map((row) => [
    row.case.name,
    row.contender,
    significant(row.milliseconds.median, 4),
    significant(row.gflops),
    significant(row.gbps),
    String(row.rounds),
    row.difference === undefined ? '' : row.difference.toExponential(1)
  ])
  const figureLines = figures.map(({ name, value, unit, detail }) => [name, quantity(value, unit), detail])
  const notes = [
    ...Object.values(report.machine),
    ...report.peers.map(({ name, version }) => `${name} ${version}`),
    ...report.absent.map(({ name }) => `${name}: absent`)
  ]
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>@ruvector/attention ${escape(report.version)}: benchmark</title>
<style>
${own('page/style.css')}</style>
<h1>@ruvector/attention ${escape(report.version)}: benchmark</h1>
<p>${escape(report.date)}${report.quick ? ' · quick run' : ''} · ${notes.map(escape).join(' · ')}</p>
${goals.length ? goalSection(goals) : ''}
<h2>Speed by length</h2>
<p>D = 64, 8 heads, one thread; higher is better. Hover over a dot for its figures.</p>
<figure id="native"></figure>
<figure id="wasm"></figure>
<h2>Time of peers as a multiple of ours</h2>
<p>Right of the line, ours is faster. Peers in native code are compared with the native backend, all others with WebAssembly.</p>
<figure id="ratios"></figure>
<h2>Start, memory, size</h2>
${table(['', 'value', ''], figureLines)}
<details><summary>All measurements</summary>
<p>${LETTERS}</p>
${table(['case', 'contender', 'ms', 'GF/s', 'GB/s', 'samples', 'difference from ours'], rowLines)}
</details>
${scripts.map((script) => `<script>${script}</script>`).join('\n')}
</html>
`
}
