// Embeds texts with all-MiniLM-L6-v2 by ONNX Runtime, in any engine: tokens in batches, and the means of their rows.

/** A batch of texts, and their places in the caller's list. @typedef {{ texts: string[], places: number[] }} Batch */
/** Returns the vectors of a batch. @typedef {(texts: string[]) => Promise<Float32Array>} Embed */

const BATCH = 32
const SIZE = 384
const MAX_TOKENS = 256

/** @param {readonly string[]} texts @returns {Batch[]}  sorted by length, which is best for a program that pads them */
function batchesOf(texts) {
  const places = texts.map((_, place) => place).toSorted((a, b) => texts[a].length - texts[b].length)
  return Array.from({ length: Math.ceil(texts.length / BATCH) }, (_, batch) => {
    const own = places.slice(batch * BATCH, (batch + 1) * BATCH)
    return { places: own, texts: own.map((place) => texts[place]) }
  })
}

/**
 * Returns the vectors of texts in the caller's order.
 *
 * @param {readonly string[]} texts
 * @param {Embed} embed
 */
export async function vectorsOf(texts, embed) {
  const vectors = new Float32Array(texts.length * SIZE)
  for (const batch of batchesOf(texts)) {
    const rows = await embed(batch.texts)
    batch.places.forEach((place, row) => vectors.set(rows.subarray(row * SIZE, (row + 1) * SIZE), place * SIZE))
  }
  return vectors
}

/**
 * @param {any} ort  the module
 * @param {any} session
 * @param {{ encode: (text: string) => { ids: number[] } }} tokenizer
 * @returns {Embed}
 */
export const onnxEmbedder = (ort, session, tokenizer) => async (texts) => {
  const ids = texts.map((text) => truncated(tokenizer.encode(text).ids))
  const [feeds, length] = padded(ort, ids)
  const { last_hidden_state: hidden } = await session.run(feeds)
  return meanVectors(hidden.data, ids, length)
}

/** Keeps the token that ends a text. @param {number[]} ids */
const truncated = (ids) => (ids.length > MAX_TOKENS ? [...ids.slice(0, MAX_TOKENS - 1), ids[ids.length - 1]] : ids)

/**
 * The inputs of BERT for texts of different lengths, and the length of the longest.
 *
 * @param {any} ort
 * @param {readonly number[][]} ids
 * @returns {[Record<string, any>, number]}
 */
function padded(ort, ids) {
  const length = Math.max(...ids.map((own) => own.length))
  const [tokens, mask, types] = Array.from({ length: 3 }, () => new BigInt64Array(ids.length * length))
  ids.forEach((own, text) => {
    own.forEach((id, token) => (tokens[text * length + token] = BigInt(id)))
    mask.fill(1n, text * length, text * length + own.length)
  })
  const tensor = (/** @type {BigInt64Array} */ data) => new ort.Tensor('int64', data, [ids.length, length])
  return [{ input_ids: tensor(tokens), attention_mask: tensor(mask), token_type_ids: tensor(types) }, length]
}

/**
 * The mean of each text's rows, scaled to length 1.
 *
 * @param {Float32Array} hidden
 * @param {readonly number[][]} ids
 * @param {number} length  in rows of each text
 */
function meanVectors(hidden, ids, length) {
  const vectors = new Float32Array(ids.length * SIZE)
  ids.forEach((own, text) => {
    const vector = vectors.subarray(text * SIZE, (text + 1) * SIZE)
    for (let row = text * length; row < text * length + own.length; row++) {
      for (let at = 0; at < SIZE; at++) vector[at] += hidden[row * SIZE + at]
    }
    const norm = Math.sqrt(vector.reduce((sum, x) => sum + x * x, 0))
    for (let at = 0; at < SIZE; at++) vector[at] /= norm
  })
  return vectors
}
