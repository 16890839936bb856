// Describes attention heads in words: each head's habit (the previous word, a single word, …) and its strongest pairs.

/** @typedef {{ data: Float32Array, shape: readonly number[] }} Tensor */
/**
 * @typedef {object} HeadDescription
 * @property {number} head
 * @property {string} habit the head's main target with its share of attention: "almost only at the previous word (93
 * %)"
 * @property {number} share the share, 0 to 1
 * @property {{ query: number, key: number, weight: number }[]} pairs strongest word pairs, strongest first
 */

const percent = (/** @type {number} */ share) => `${Math.round(share * 100)} %`
const mean = (/** @type {number[]} */ values) =>
  values.length === 0 ? 0 : values.reduce((sum, value) => sum + value, 0) / values.length

/** `[CLS]`, `[SEP]` and similar tokens, which belong to the model and not to the sentence. */
const isSpecial = (/** @type {string} */ token) => /^\[.+\]$/.test(token)
const isWord = (/** @type {string} */ token) => !isSpecial(token) && /[\p{L}\p{N}]/u.test(token)

/** Wording for shares of attention; below a quarter, a head has no clear habit. */
const degrees = [
  { from: 0.8, word: 'almost only' },
  { from: 0.5, word: 'mostly' },
  { from: 0.25, word: 'often' }
]

/**
 * The number of tokens that a row of weights is spread over: the exponential of its entropy, 1 for a single token.
 * @param {Float32Array} row
 */
function spread(row) {
  let entropy = 0
  for (const weight of row) if (weight > 0) entropy -= weight * Math.log(weight)
  return Math.exp(entropy)
}

/**
 * The share of attention for each kind of target, averaged over the sentence's tokens.
 * @param {Float32Array[]} rows
 * @param {readonly string[]} tokens
 * @returns {{ target: string, share: number }[]}
 */
function shares(rows, tokens) {
  const queries = tokens.map((_, i) => i).filter((i) => !isSpecial(tokens[i]))
  const words = tokens.map((_, j) => j).filter((j) => isWord(tokens[j]))
  const share = (/** @type {number[]} */ from, /** @type {(i: number, j: number) => boolean} */ chosen) =>
    mean(from.map((i) => rows[i].reduce((sum, weight, j) => (chosen(i, j) ? sum + weight : sum), 0)))

  const targets = [
    { target: 'at the previous word', share: share(queries, (i, j) => j === i - 1 && !isSpecial(tokens[j])) },
    { target: 'at the next word', share: share(queries, (i, j) => j === i + 1 && !isSpecial(tokens[j])) },
    { target: 'at the word itself', share: share(queries, (i, j) => j === i) }
  ]
  for (const special of new Set(tokens.filter(isSpecial)))
    targets.push({ target: `at ${special}`, share: share(queries, (_, j) => tokens[j] === special) })
  for (const word of new Set(words.map((j) => tokens[j]))) {
    const others = queries.filter((i) => tokens[i] !== word)
    targets.push({ target: `at “${word}”`, share: share(others, (_, j) => tokens[j] === word) })
  }
  // Measured over repeated words only, as no other word can have a copy.
  const repeated = words.filter((i) => words.some((j) => j !== i && tokens[i] === tokens[j]))
  const copies = share(repeated, (i, j) => i !== j && tokens[i] === tokens[j])
  targets.push({ target: 'at another copy of the same word', share: copies })
  return targets
}

/**
 * The strongest pairs of different words; equal spellings count as one pair.
 * @param {Float32Array[]} rows
 * @param {readonly string[]} tokens
 * @param {number} count
 */
function strongestPairs(rows, tokens, count) {
  const pairs = rows
    .flatMap((row, query) => Array.from(row, (weight, key) => ({ query, key, weight })))
    .filter(({ query, key }) => query !== key && isWord(tokens[query]) && isWord(tokens[key]))
    // Weights that print alike keep the sentence's order, so that rounding differences between backends do not matter.
    .sort((a, b) => Math.round(b.weight * 1e4) - Math.round(a.weight * 1e4))
  const seen = new Set()
  return pairs
    .filter(({ query, key }) => {
      const spelling = `${tokens[query]} ${tokens[key]}`
      return seen.has(spelling) ? false : seen.add(spelling)
    })
    .slice(0, count)
}

/**
 * @param {Tensor} weights attention weights of one sentence, `[1, heads, tokens, tokens]`
 * @param {readonly string[]} tokens
 * @param {{ pairs?: number }} [options] number of pairs per head; default 3
 * @returns {HeadDescription[]}
 */
export function describeHeads(weights, tokens, { pairs = 3 } = {}) {
  const [, heads, length] = weights.shape
  return Array.from({ length: heads }, (_, head) => {
    const rows = tokens.map((_, i) =>
      weights.data.subarray((head * length + i) * length, (head * length + i + 1) * length)
    )
    const favorite = shares(rows, tokens).reduce((best, target) => (target.share > best.share ? target : best))
    const degree = degrees.find(({ from }) => favorite.share >= from)
    const where = `${favorite.target} (${percent(favorite.share)})`
    const habit =
      degree === undefined
        ? `over ~${Math.round(mean(rows.map(spread)))} of ${length} tokens, most ${where}`
        : `${degree.word} ${where}`
    return { head, habit, share: favorite.share, pairs: strongestPairs(rows, tokens, pairs) }
  })
}

/**
 * Formats a pair: "it → suitcase 43 %".
 * @param {HeadDescription['pairs'][number]} pair
 * @param {readonly string[]} tokens
 */
export const pairInWords = ({ query, key, weight }, tokens) => `${tokens[query]} → ${tokens[key]} ${percent(weight)}`

/**
 * Formats a head as one line: "head  2: almost only at the previous word (93 %); it → because 100 %, …".
 * @param {HeadDescription} description
 * @param {readonly string[]} tokens
 */
export const headInWords = ({ head, habit, pairs }, tokens) =>
  `head ${String(head).padStart(2)}: ${habit}; ${pairs.map((pair) => pairInWords(pair, tokens)).join(', ')}`
