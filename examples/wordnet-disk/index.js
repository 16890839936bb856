// WordNet's animals in the hyperbolic plane: computes what a concept attends to, on both backends. The concept is the
// argument, or a wolf. Draws output/wordnet-disk.svg. Exits with an error if a backend is missing or the two differ.
import { mkdirSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { loadBackend } from '@ruvector/attention'
import { lookFrom, strongest } from './attend.js'
import { drawDisk } from './picture.js'
import { isForEveryone, layOut, readTaxonomy } from './taxonomy.js'

/** WordNet 3.1's synset {animal, animate being, beast, …}. */
const ANIMAL = 15568
const tolerance = 1e-5

const concepts = readTaxonomy(ANIMAL)
const wanted = process.argv[2] ?? 'wolf'
const concept = concepts.findIndex(({ name }) => name.toLowerCase() === wanted.toLowerCase())
if (concept < 0) {
  console.error(`WordNet has no animal called ${wanted}`)
  process.exit(2)
}
const points = layOut(concepts, concept)

const depth = Math.max(...concepts.map((found) => found.depth))
console.log(`${concepts.length} kinds of ${concepts[0].name} from WordNet, up to ${depth} steps below it\n`)
console.log('backend  SIMD          largest difference from the first')

/** @type {{ weights: Float32Array, seen: Float32Array } | undefined} */
let first
const problems = []
for (const kind of /** @type {const} */ (['native', 'wasm'])) {
  try {
    const attention = await loadBackend(kind)
    const look = lookFrom(attention, points, concept)
    first ??= look
    const { weights } = first
    const difference = look.weights.reduce(
      (worst, weight, index) => Math.max(worst, Math.abs(weight - weights[index])),
      0
    )
    console.log([kind.padEnd(8), attention.backend().simd.padEnd(13), difference.toExponential(1)].join(' '))
    if (!(difference <= tolerance)) problems.push(`${kind} differs by more than ${tolerance}`)
  } catch (error) {
    problems.push(`${kind}: ${error instanceof Error ? error.message : error}`)
  }
}

if (first) {
  const { weights, seen } = first
  const named = strongest(weights, concept, 120).filter((index) => isForEveryone(concepts[index].name))
  console.log(
    `\n“${concepts[concept].name}” attends to itself with ${(100 * weights[concept]).toFixed(1)} % of its attention, and to`
  )
  for (const index of named.slice(0, 12)) {
    const { name, parent } = concepts[index]
    const kind = parent >= 0 ? `, a kind of ${concepts[parent].name}` : ''
    console.log(`  ${(100 * weights[index]).toFixed(1).padStart(5)} %  ${name}${kind}`)
  }
  const folder = new URL('../../output/', import.meta.url)
  const file = new URL('wordnet-disk.svg', folder)
  mkdirSync(folder, { recursive: true })
  writeFileSync(file, drawDisk(concepts, seen, weights, concept, named.slice(0, 80)))
  console.log(`\nThe disk centered on it: ${fileURLToPath(file)}`)
}

for (const problem of problems) console.error(problem)
if (problems.length > 0) process.exitCode = 1
