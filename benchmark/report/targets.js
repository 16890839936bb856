// Formats the plan's targets as a Markdown table for docs/performance.md.

import { columns, quantity } from './format.js'

/** @typedef {import('../types.d.ts').Report} Report */

const HEAD = ['target', 'limit', 'measured', 'verdict', 'details']

/** @param {Report} report */
export function targetsReport({ machine, date, goals, absent, remarks }) {
  const rows = goals
    .filter(({ status }) => status !== 'not measured')
    .map(({ name, limit, atLeast, unit, measured = NaN, status, detail }) => [
      name,
      // A count may reach its limit.
      `${unit.startsWith('of ') ? '≥' : atLeast ? '>' : '<'} ${quantity(limit, unit)}`,
      quantity(measured, unit),
      status,
      detail
    ])
  const left = HEAD.map((_, column) => column)
  const [head, ...body] = columns([HEAD, ...rows], left, ' | ')
  const ruled = (/** @type {string} */ line) => line.replace(/[^|]/g, '-').replaceAll('-|-', ' | ')
  const width = Math.max(...[head, ...body].map(({ length }) => length))
  const [title, ...content] = [head, ...body].map((line) => line.padEnd(width))
  const table = [title, ruled(title), ...content].map((line) => `| ${line} |`)
  const missing = [
    ...absent.map(({ name, reason }) => `- ${name}: ${reason}`),
    ...remarks.map(({ case: name, contender, kind, text }) => `- ${name}, ${contender}, ${kind}: ${text}`)
  ]
  const lines = [`On ${Object.values(machine).join(', ')}; ${date.slice(0, 10)}.`, '', ...table]
  if (missing.length) lines.push('', 'Skipped, failed or different:', '', ...missing)
  return `${lines.join('\n')}\n`
}
