// Streams tokens from a small decoder through key/value caches, on both backends. Prints the speed, and compares each
// row with one pass over the whole text. Exits with an error if a backend is missing or its rows differ.
//   npm run example -- decode [TOKENS] [SEED]
import { loadBackend } from '@ruvector/attention'
import { Decoder, random, sample, shape } from './model.js'

const tolerance = 1e-4
const [count, seed] = [Number(process.argv[2] ?? 256), Number(process.argv[3] ?? 7)]
if (!Number.isInteger(count) || count < 1 || !Number.isInteger(seed)) {
  console.error('usage: npm run example -- decode [TOKENS] [SEED]')
  process.exit(2)
}

const vowels = ['a', 'e', 'i', 'o']
const syllables = ['b', 'd', 'k', 'l', 'm', 'n', 'r', 's', 't', 'v', 'sh', 'th'].flatMap((consonant) =>
  vowels.map((vowel) => consonant + vowel)
)
/** The text of each token: a syllable, or a space that ends a word. */
const pieces = Array.from({ length: shape.vocabulary }, (_, token) => syllables[token] ?? ' ')

/** @param {'native' | 'wasm'} kind */
async function stream(kind) {
  const attention = await loadBackend(kind)
  const model = new Decoder(attention, seed)
  const next = random(seed + 1)
  const caches = model.createCaches(count)
  try {
    const tokens = [0]
    const rows = []
    process.stdout.write(`\n${kind} ${attention.backend().simd}: `)
    const start = performance.now()
    while (rows.length < count) {
      const logits = model.forward(tokens.slice(-1), caches)
      rows.push(logits.data)
      const token = sample(logits, 0.7, next)
      tokens.push(token)
      process.stdout.write(pieces[token])
    }
    const seconds = (performance.now() - start) / 1000
    const whole = model.forward(tokens.slice(0, count)).data
    const difference = rows
      .flatMap((row, at) => Array.from(row, (logit, column) => Math.abs(logit - whole[at * row.length + column])))
      .reduce((a, b) => Math.max(a, b), 0)
    return { kind, tokens, difference, rate: count / seconds }
  } finally {
    for (const cache of caches) cache.dispose()
  }
}

console.log(
  `A decoder of ${shape.layers} layers with ${shape.heads} heads on ${shape.kvHeads} key/value heads, untrained: ${count} tokens`
)
const problems = []
const results = []
for (const kind of /** @type {const} */ (['native', 'wasm'])) {
  try {
    results.push(await stream(kind))
  } catch (error) {
    problems.push(`${kind}: ${error instanceof Error ? error.message : error}`)
  }
}
console.log('\n')
for (const { kind, difference, rate } of results) {
  console.log(
    `${kind.padEnd(7)} ${rate.toFixed(0).padStart(6)} tokens per second; largest difference from one pass over the whole text: ${difference.toExponential(1)}`
  )
  if (!(difference <= tolerance)) problems.push(`${kind}: the streamed rows differ from one pass over the whole text`)
}
if (results.length === 2) {
  const [native, wasm] = results.map(({ tokens }) => tokens.join())
  console.log(
    native === wasm
      ? 'Both backends produced the same text.'
      : 'The backends diverged at a token with nearly equal odds.'
  )
}
for (const problem of problems) console.error(problem)
if (problems.length > 0) process.exitCode = 1
