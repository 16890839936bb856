// Formats the tables at the end of a run as text.

import { LETTERS, columns, duration, limit, quantity, significant, speed } from './format.js'
import { gridTables } from './grid.js'

/** @typedef {import('../types.d.ts').Report} Report */
/** @typedef {import('../types.d.ts').Row} Row */
/** @typedef {(text: string) => string} Style */

/** @param {readonly Row[]} rows */
function casesOf(rows) {
  /** @type {Map<string, Row[]>} */
  const cases = new Map()
  for (const row of rows) cases.set(row.case.name, [...(cases.get(row.case.name) ?? []), row])
  return [...cases.values()]
}

/** @param {Row[]} rows  of one case @param {string[]} ours */
const caseLines = (rows, ours) =>
  rows.map((row) => [
    `  ${row.contender}`,
    duration(row.milliseconds.median),
    speed(row),
    ...ours.map((name) => (row.ratios[name] === undefined ? '' : significant(row.ratios[name])))
  ])

/**
 * @param {Report} report
 * @param {boolean} hasColors
 */
export function terminalReport(report, hasColors) {
  /** @param {number} open @param {number} close @returns {Style} */
  const style = (open, close) => (text) => (hasColors ? `\u001B[${open}m${text}\u001B[${close}m` : text)
  const [bold, dim, red, green] = [style(1, 22), style(2, 22), style(31, 39), style(32, 39)]
  const lines = []

  lines.push(Object.values(report.machine).join(' · '))
  for (const { name, version } of report.peers) lines.push(dim(`${name} ${version}`))
  for (const { name, reason } of report.absent) lines.push(`${name}: absent (${reason})`)

  const inGrid = (/** @type {Row} */ row) => row.case.unit === 'op/s'
  for (const { title, lines: table } of gridTables(report.rows.filter(inGrid))) {
    const [head, ...body] = table
    lines.push('', bold(title), dim(head), ...body)
  }

  const rows = report.rows.filter((row) => !inGrid(row))
  if (rows.length) {
    const cases = casesOf(rows)
    const ours = [...new Set(rows.filter(({ side }) => side === 'ours').map(({ contender }) => contender))]
    const head = ['', 'median', 'speed', ...ours.map((name) => `× ${name}`)]
    const [title, ...formatted] = columns([head, ...cases.flatMap((rows) => caseLines(rows, ours))])
    lines.push('', dim(title))
    for (const rows of cases) {
      lines.push(bold(rows[0].case.name))
      for (const row of rows) {
        const line = /** @type {string} */ (formatted.shift())
        lines.push(row.side === 'machine' ? dim(line) : line)
      }
    }
    lines.push(dim(LETTERS), dim('× is the time as a multiple of that backend.'))
  }

  if (report.figures.length) {
    lines.push('', bold('Start, memory, size'))
    lines.push(
      ...columns(
        report.figures.map(({ name, value, unit, detail }) => [`  ${name}`, quantity(value, unit), detail]),
        [0, 2]
      )
    )
  }

  if (report.remarks.length) {
    lines.push('', bold('Skipped, failed or different'))
    const unique = new Map(
      report.remarks.map((remark) => [`${remark.contender}: ${remark.text}`, /** @type {string[]} */ ([])])
    )
    for (const remark of report.remarks) unique.get(`${remark.contender}: ${remark.text}`)?.push(remark.case)
    for (const [text, names] of unique) {
      const where = names.length > 2 ? `${names[0]} and ${names.length - 1} more` : names.join('; ')
      lines.push(`  ${text} (${where})`)
    }
  }

  const judged = report.goals.filter(({ status }) => status !== 'not measured')
  if (judged.length === 0) return `${lines.join('\n')}\n`
  lines.push('', bold('Goals'))
  const formatted = columns(
    judged.map((goal) => [
      `  ${goal.name}`,
      limit(goal),
      goal.measured === undefined ? '' : quantity(goal.measured, goal.unit),
      goal.status,
      goal.detail
    ]),
    [0, 3, 4]
  )
  judged.forEach(({ status }, i) => lines.push((status === 'holds' ? green : red)(formatted[i])))
  const open = report.goals.length - judged.length
  if (open) lines.push(dim(`  not measured in this run: ${open} of ${report.goals.length} goals`))
  return `${lines.join('\n')}\n`
}
