// Runs a graph attention network, trained in PyTorch Geometric, on Zachary's karate club on both backends. Prints the
// difference from PyTorch Geometric and the number of members classified correctly. Draws output/karate.svg, which
// shows whom each member attends to. Exits with an error if a backend is missing or wrong.
import { mkdirSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { loadBackend } from '@ruvector/attention'
import { runNetwork, score } from './karate.js'
import { drawClub } from './picture.js'

const tolerance = 2e-5

/** @param {ReturnType<typeof runNetwork>} result */
function largestDifference({ output, weights, expected }) {
  const pairs = [[output, expected.output], ...weights.map((found, layer) => [found, expected.weights[layer]])]
  const differences = pairs.map(([found, wanted]) =>
    found?.data.reduce((worst, value, index) => Math.max(worst, Math.abs(value - (wanted?.data[index] ?? NaN))), 0)
  )
  return Math.max(...differences.map((difference) => difference ?? NaN))
}

console.log('Zachary’s karate club: 34 members, 78 friendships, 4 communities')
console.log('Two-layer GATv2, trained in PyTorch Geometric on one label per community\n')
console.log('backend  SIMD          correct         largest difference from PyTorch Geometric')

const problems = []
let picture = ''
for (const kind of /** @type {const} */ (['native', 'wasm'])) {
  try {
    const attention = await loadBackend(kind)
    const result = runNetwork(attention)
    const { correct, total } = score(result)
    const difference = largestDifference(result)
    picture ||= drawClub(result, { correct, total })
    const columns = [kind.padEnd(8), attention.backend().simd.padEnd(13), `${correct} of ${total}`.padEnd(15)]
    console.log([...columns, difference.toExponential(1)].join(' '))
    if (!(difference <= tolerance)) problems.push(`${kind} differs from PyTorch Geometric by more than ${tolerance}`)
  } catch (error) {
    problems.push(`${kind}: ${error instanceof Error ? error.message : error}`)
  }
}

if (picture) {
  const folder = new URL('../../output/', import.meta.url)
  const file = new URL('karate.svg', folder)
  mkdirSync(folder, { recursive: true })
  writeFileSync(file, picture)
  console.log(`\nPicture of the attention: ${fileURLToPath(file)}`)
}

for (const problem of problems) console.error(problem)
if (problems.length > 0) process.exitCode = 1
