// Queries as people type them: some words of a sentence, with a typing error in each longer one. Each query belongs to
// the sentence that it was made from.
import { readFileSync } from 'node:fs'

export const sentences = readFileSync(new URL('../minilm-search/sentences.txt', import.meta.url), 'utf8')
  .trim()
  .split('\n')

const WORDS = 5

/** Returns a generator of integers below a limit (Marsaglia's xorshift). @param {number} state  not 0 */
function randomIntegers(state) {
  return (/** @type {number} */ limit) => {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    return (state >>> 0) % limit
  }
}

/**
 * Leaves out, doubles or exchanges letters of a word, except for the first.
 *
 * @param {string} word
 * @param {(limit: number) => number} random
 */
function mistype(word, random) {
  if (word.length < 4) return word
  const at = 1 + random(word.length - 2)
  const [before, letter, next, after] = [word.slice(0, at), word[at], word[at + 1], word.slice(at + 2)]
  return before + [next, letter + letter + next, next + letter][random(3)] + after
}

/**
 * A query for each sentence. Another seed gives other words and errors.
 *
 * @param {number} seed
 */
export function queriesOf(seed) {
  const random = randomIntegers(seed + 1)
  return sentences.map((sentence) => {
    const words = sentence.toLowerCase().match(/[\p{L}\p{N}]+/gu) ?? []
    const start = random(Math.max(words.length - WORDS, 0) + 1)
    const chosen = words.slice(start, start + WORDS)
    return chosen.map((word) => mistype(word, random)).join(' ')
  })
}
