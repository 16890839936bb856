// Formats the table at the end of a run as text that is also valid Markdown.

/**
 * @typedef {{ name: string, result: 'passed' | 'failed' | 'not here', seconds: number, report?:
 *   import('./project.mjs').Report, note?: string }} Row
 */

/** @param {Row} row @returns {string[]} */
function cells({ name, result, seconds, report, note }) {
  const workers = report && (report.threads > 1 ? (report.kind === 'native' ? 'threads' : 'workers') : 'calling thread')
  const [reason = ''] = (note ?? '').split('\n')
  const short = reason.length > 60 ? `${reason.slice(0, 59)}…` : reason
  const told = short ? `${result} (${short})` : result
  return [name, report?.kind ?? '', report?.simd ?? '', workers ?? '', told, seconds.toFixed(1)]
}

/** @param {readonly Row[]} rows */
export function table(rows) {
  const lines = [['consumer', 'backend', 'SIMD', 'asynchronous', 'result', 'seconds'], ...rows.map(cells)]
  const widths = lines[0].map((_, column) => Math.max(...lines.map((line) => line[column].length)))
  const show = (/** @type {string[]} */ line) => `| ${line.map((cell, at) => cell.padEnd(widths[at])).join(' | ')} |`
  const rule = `| ${widths.map((width) => '-'.repeat(width)).join(' | ')} |`
  return [show(lines[0]), rule, ...lines.slice(1).map(show)].join('\n')
}
