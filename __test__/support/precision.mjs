// Measures how precise sums over many terms are on both backends, and prints the table of docs/reliability.md. Run
// after a build: node __test__/support/precision.mjs [COUNT]
import { cpus } from 'node:os'
import { backends } from './backends.js'
import { operations } from './long-sums.js'

const count = Number(process.argv[2] ?? 1_000_000)

/** The larger error of equal values and of drawn ones. */
const largest = (/** @type {(draw: any) => number} */ error) =>
  Math.max(...[true, false].map((isConstant) => error({ count, magnitude: 0.1, isConstant, seed: 1 })))

console.log(`${cpus()[0].model}, Node ${process.versions.node}\n`)
console.log(`| operation | count | ${backends.map(({ kind }) => kind).join(' | ')} |`)
console.log(`| --- | --- |${' --- |'.repeat(backends.length)}`)
for (const [name, error] of Object.entries(operations)) {
  const errors = backends.map(({ attention }) => largest((draw) => error(attention, draw)).toExponential(1))
  console.log(`| ${name} | ${count.toLocaleString('en')} | ${errors.join(' | ')} |`)
}
