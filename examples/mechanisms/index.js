// Tours all mechanisms on both backends: the formula, shapes and parameters of each, its memory and time, and how far
// the backends differ. Fails if a backend is missing or the two do not agree.
//   npm run example -- mechanisms [TEXT]    only mechanisms whose name contains TEXT

import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { mechanisms } from './mechanisms.js'

/** @typedef {import('./mechanisms.js').Mechanism} Mechanism */
/** @typedef {import('./child.js').Visit} Visit */

const execute = promisify(execFile)
const child = fileURLToPath(new URL('child.js', import.meta.url))

/** @param {readonly number[]} shape */
const bracketed = (shape) => `[${shape.join(',')}]`

/** Lists inputs with their shapes; inputs of the same shape share an entry. @param {Mechanism} mechanism */
function shapesOf({ inputs, edges, name }) {
  /** @type {Map<string, string[]>} */
  const names = new Map()
  for (const [input, shape] of Object.entries(inputs)) {
    names.set(bracketed(shape), [...(names.get(bracketed(shape)) ?? []), input])
  }
  const tensors = [...names].map(([shape, sharing]) => `${sharing.join(' ')} ${shape}`)
  if (edges) tensors.push(name === 'edgeSoftmax' ? 'a graph' : `${inputs.x[0] * edges} edges`)
  return tensors.join(', ')
}

const count = (/** @type {number} */ number) => number.toLocaleString('en')
const kilobytes = (/** @type {number} */ bytes) => `${count(Math.ceil(bytes / 1000))} KB`
const duration = (/** @type {number} */ milliseconds) =>
  milliseconds < 1 ? `${(milliseconds * 1000).toFixed(1)} µs` : `${milliseconds.toFixed(2)} ms`

/**
 * Joins columns; the ones listed in `left` are aligned to the left, all others to the right.
 *
 * @param {readonly string[][]} lines
 * @param {readonly number[]} left
 */
function table(lines, left) {
  const widths = lines[0].map((_, column) => Math.max(...lines.map((line) => line[column].length)))
  const pad = (/** @type {string} */ cell, /** @type {number} */ column) =>
    left.includes(column) ? cell.padEnd(widths[column]) : cell.padStart(widths[column])
  return lines.map((line) => line.map(pad).join('  ').trimEnd()).join('\n')
}

const wanted = process.argv.slice(2).join(' ').toLowerCase()
const chosen = mechanisms.filter(({ name }) => name.toLowerCase().includes(wanted))
if (chosen.length === 0) {
  const names = mechanisms.map(({ name }) => `  ${name}`).join('\n')
  console.error(
    `usage: npm run example -- mechanisms [TEXT]\nno mechanism has '${wanted}' in its name; the mechanisms are\n${names}`
  )
  process.exit(2)
}

/** @type {string[]} */
const problems = []
const computed = [['mechanism', 'computes', 'of', 'gives']]
const needed = [['mechanism', 'parameters', 'backend', 'time', 'before', 'held', 'peak', 'after', 'difference']]
let largest = 0
for (const mechanism of chosen) {
  const { stdout } = await execute(process.execPath, [child, mechanism.name])
  const visit = /** @type {Visit} */ (JSON.parse(stdout))
  const { name, computes } = mechanism
  problems.push(...visit.problems)
  for (const [index, { kind, simd, shape, parameters, milliseconds, memory }] of visit.results.entries()) {
    const isFirst = index === 0
    if (isFirst) computed.push([name, computes, shapesOf(mechanism), bracketed(shape)])
    const difference = isFirst ? '' : (visit.difference?.toExponential(1) ?? '')
    const bytes = [memory.before, memory.held, memory.peak, memory.after].map(kilobytes)
    needed.push([
      ...(isFirst ? [name, count(parameters)] : ['', '']),
      `${kind} ${simd}`,
      duration(milliseconds),
      ...bytes,
      difference
    ])
  }
  if (visit.difference !== undefined) largest = Math.max(largest, visit.difference)
}

console.log('What each mechanism computes\n')
console.log(table(computed, [0, 1, 2, 3]))
console.log(
  '\nWhat each needs: the median time of a call, and the memory that the backend has allocated before the mechanism'
)
console.log('is made, held after its first call, at the peak, and after its disposal\n')
console.log(table(needed, [0, 2]))
console.log(`\n${chosen.length} mechanisms; native and wasm differ by ${largest.toExponential(1)} at most`)
for (const problem of problems) console.error(problem)
if (problems.length > 0) process.exitCode = 1
