// Formats the grid as text: calls per second by batch and length, one block per contender.

import { columns, significant } from './format.js'

/** @typedef {import('../types.d.ts').Row} Row */

/**
 * @param {readonly Row[]} rows  of the grid
 * @returns {{ title: string, lines: string[] }[]} one table per kind of case
 */
export function gridTables(rows) {
  const groups = [...new Set(rows.map((row) => row.case.group))]
  return groups.map((group) => {
    const members = rows.filter((row) => row.case.group === group)
    const lengths = [...new Set(members.map((row) => row.case.queries))]
    const batches = [...new Set(members.map((row) => row.case.batch))]
    const contenders = [...new Set(members.map(({ contender }) => contender))]
    const head = ['', '', ...lengths.map((length) => `L=${length}`)]
    const body = contenders.flatMap((contender) =>
      batches.map((batch, index) => {
        const cells = lengths.map((length) => {
          const row = members.find(
            (member) => member.contender === contender && member.case.batch === batch && member.case.queries === length
          )
          return row ? significant(row.rate) : ''
        })
        return [index === 0 ? `  ${contender}` : '', `B=${batch}`, ...cells]
      })
    )
    return { title: `${group}: operations per second`, lines: columns([head, ...body], [0, 1]) }
  })
}
