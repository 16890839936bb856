// Packs texts into batches of a limited number of tokens, so that nothing is padded.

/** @typedef {import('./tokens.js').Tokens} Tokens */
/** Some texts by their places in the caller's list. @typedef {{ texts: number[], tokens: Tokens[] }} Batch */

/**
 * Batches in order of length, the longest texts first: a batch that does not fit into memory fails early.
 *
 * @param {readonly Tokens[]} all
 * @param {number} batchTokens  a longer text is a batch of its own
 * @param {boolean} isPacked  true if texts may share a batch
 */
export function batchesOf(all, batchTokens, isPacked) {
  const order = all.map((_, text) => text).sort((a, b) => all[b].ids.length - all[a].ids.length || a - b)
  /** @type {Batch[]} */
  const batches = []
  let room = -1
  for (const text of order) {
    const tokens = all[text]
    if (!isPacked || tokens.ids.length > room) {
      batches.push({ texts: [], tokens: [] })
      room = batchTokens
    }
    const batch = batches[batches.length - 1]
    batch.texts.push(text)
    batch.tokens.push(tokens)
    room -= tokens.ids.length
  }
  return batches
}

/**
 * The tokens of some texts, one after the other.
 *
 * @param {readonly Tokens[]} tokens
 * @returns {import('./embeddings.js').Packed}
 */
export function pack(tokens) {
  const starts = new Int32Array(tokens.length + 1)
  tokens.forEach(({ ids }, text) => (starts[text + 1] = starts[text] + ids.length))
  const [ids, types] = [new Int32Array(starts[tokens.length]), new Int32Array(starts[tokens.length])]
  tokens.forEach((text, index) => {
    ids.set(text.ids, starts[index])
    types.set(text.types, starts[index])
  })
  return { ids, types, starts }
}
