// docs/conformance.md lists every family of models with its modules and errors. `UPDATE_CONFORMANCE=1` writes its
// table.
import { readFileSync, writeFileSync } from 'node:fs'
import test from 'ava'
import { format } from 'prettier'
import { backends } from '../support/backends.js'
import { cases, reference, relativeError, runModule, toleranceOf } from '../support/families.js'

/** @typedef {import('../support/golden.js').Case} Case */

const page = new URL('../../docs/conformance.md', import.meta.url)

/** Rounds up to one digit. @param {number} error */
function roundedUp(error) {
  if (error === 0) return '0'
  const power = Math.floor(Math.log10(error))
  const digit = Math.ceil(error / 10 ** power)
  return digit === 10 ? `1e${power + 1}` : `${digit}e${power}`
}

/** The largest error on any backend, or a dash without modules. @param {readonly Case[]} modules */
function worst(modules) {
  const errors = backends.flatMap(({ attention }) =>
    modules.map((module) => relativeError(runModule(attention, module), module.tensors.output))
  )
  return errors.length > 0 ? roundedUp(Math.max(...errors)) : '–'
}

/** @param {string} family */
function rowOf(family) {
  const modules = cases.filter((module) => module.family === family)
  const layers = [...new Set(modules.map(({ layer }) => `\`${layer}\``))]
  const isAttention = (/** @type {Case} */ { layer }) => layer.endsWith('Attention')
  const errors = [isAttention, (/** @type {Case} */ module) => !isAttention(module)].map((filter) =>
    worst(modules.filter(filter))
  )
  return `| ${[family, layers.join(', '), modules.length, ...errors].join(' | ')} |`
}

test('the page of conformance lists every module, with errors below the tolerances', async (t) => {
  const families = [...new Set(cases.map(({ family }) => family))]
  const table = [
    '| family | layers here | modules | error of attention | error of blocks |',
    '| --- | --- | --- | --- | --- |',
    ...families.map(rowOf)
  ]
  const old = readFileSync(page, 'utf8')
  const [before] = old.split('| family')
  if (process.env.UPDATE_CONFORMANCE) {
    const kinds = backends.map(({ kind }) => kind).join(' and ')
    const [start] = before.split('Reference: ')
    const text = `${start}Reference: ${reference}. Backends: ${kinds}.\n\n${table.join('\n')}\n`
    writeFileSync(page, await format(text, { parser: 'markdown', printWidth: 120, proseWrap: 'always' }))
  }
  const written = readFileSync(page, 'utf8')
  t.true(written.replaceAll('\n', ' ').includes(reference))
  /** @param {string} line */
  const cells = (line) => line.split('|').map((cell) => cell.trim())
  const rows = written
    .split('\n')
    .filter((line) => line.startsWith('|'))
    .map(cells)
  t.deepEqual(
    rows.slice(2).map((row) => row.slice(1, 4)),
    table.slice(2).map((line) => cells(line).slice(1, 4)),
    'write the table again with UPDATE_CONFORMANCE=1'
  )
  for (const [, , , , ...errors] of rows.slice(2)) {
    for (const [index, error] of errors.slice(0, 2).entries()) {
      t.true(error === '–' || Number(error) <= [2e-5, 1e-4][index], error)
    }
  }
  t.true(cases.every((module) => toleranceOf(module) <= 1e-4))
})
