// Texts as token ids: the folder's tokenizer.json, or the caller's own tokenizer, with truncation.

import { describe, fault, isArray, isFunction, isObject } from '../checks/errors.js'

/** @typedef {{ ids: number[], types: number[], skip?: number }} Tokens */
/**
 * A tokenizer as models use it: it gives ids and token types of a text or a pair, with or without special tokens.
 *
 * @typedef {object} Tokenizer
 * @property {(text: string, pair?: string, isBare?: boolean) => Tokens} encode
 * @property {(ids: readonly number[]) => string} decode
 */

/** Lengths above this one stand for "no limit" in tokenizer_config.json. */
const NO_LIMIT = 1e6

/**
 * Reads the tokenizer of a folder; undefined if it has none.
 *
 * @param {import('./folder.js').Folder | import('./gguf.js').GgufFolder} folder
 * @param {Record<string, any>} config  tokenizer_config.json
 */
export async function readTokenizer(folder, config) {
  const model = await folder.object('tokenizer.json')
  if (model === undefined) return undefined
  const { Tokenizer } = await import('@huggingface/tokenizers')
  let tokenizer
  try {
    tokenizer = new Tokenizer(model, config)
  } catch (error) {
    throw fault(
      'FORMAT',
      'tokenizer.json',
      'a tokenizer',
      `one that fails to load: ${/** @type {Error} */ (error).message}`
    )
  }
  return {
    maxLength: limitOf(config.model_max_length),
    side: config.truncation_side === 'left' ? /** @type {const} */ ('left') : /** @type {const} */ ('right'),
    tokenizer: {
      encode(/** @type {string} */ text, /** @type {string | undefined} */ pair, isBare = false) {
        const options = {
          text_pair: pair ?? null,
          add_special_tokens: !isBare,
          return_token_type_ids: /** @type {const} */ (true)
        }
        const { ids, token_type_ids: types } = tokenizer.encode(text, options)
        // A tokenizer without a post-processor gives no types.
        return { ids, types: types ?? ids.map(() => 0) }
      },
      decode: (/** @type {readonly number[]} */ ids) => tokenizer.decode([...ids], { skip_special_tokens: true })
    }
  }
}

/** @param {unknown} length */
const limitOf = (length) => (typeof length === 'number' && length < NO_LIMIT ? length : undefined)

/**
 * Checks the caller's tokenizer: `encode(text, pair?) → { ids, types? }` and `decode(ids)`.
 *
 * @param {any} given
 * @returns {Tokenizer}
 */
export function checkTokenizer(given) {
  const expected = 'an object with encode(text, pair?) and decode(ids)'
  if (!isObject(given) || !isFunction(/** @type {any} */ (given).encode)) {
    throw fault('OPTION', 'tokenizer', expected, describe(given))
  }
  return {
    encode(text, pair) {
      const encoded = /** @type {any} */ (given).encode(text, pair)
      const ids = isObject(encoded) ? Array.from(/** @type {any} */ (encoded).ids ?? [], Number) : undefined
      if (ids === undefined || !ids.every(Number.isInteger)) {
        throw fault('OPTION', 'tokenizer.encode', '{ ids, types? } of integers', describe(encoded))
      }
      const types = Array.from(/** @type {any} */ (encoded).types ?? ids.map(() => 0), Number)
      return { ids, types }
    },
    decode: (ids) => /** @type {any} */ (given).decode(ids)
  }
}

/**
 * Encodes texts to at most `maxLength` tokens. Special tokens are kept: text is removed at `side`, and of a pair from
 * the longer text, as `transformers` does by default.
 */
export class Encoder {
  #tokenizer
  #maxLength
  #side

  /**
   * @param {Tokenizer} tokenizer
   * @param {number} maxLength
   * @param {'left' | 'right'} side  of truncation
   */
  constructor(tokenizer, maxLength, side) {
    this.#tokenizer = tokenizer
    this.#maxLength = maxLength
    this.#side = side
  }

  /**
   * @param {unknown} text  a text or a pair of texts
   * @returns {Tokens}
   */
  encode(text) {
    const [first, second] = readText(text)
    const whole = this.#tokenizer.encode(first, second)
    const excess = whole.ids.length - this.#maxLength
    if (!(excess > 0)) return whole
    const bodies = [first, second].filter((part) => part !== undefined).map((part) => this.#bare(part))
    const places = placesOf(whole.ids, bodies)
    // A tokenizer that encodes a text in another way on its own is cut at the end.
    if (places === undefined) return slices(whole, [[0, this.#maxLength]])
    const kept = keptLengths(
      bodies.map((body) => body.length),
      excess
    )
    /** @type {[number, number][]} */
    const ranges = []
    let at = 0
    places.forEach((place, index) => {
      ranges.push([at, place])
      const end = place + bodies[index].length
      ranges.push(this.#side === 'left' ? [end - kept[index], end] : [place, place + kept[index]])
      at = end
    })
    return slices(whole, [...ranges, [at, whole.ids.length]])
  }

  /** @param {string} text */
  #bare(text) {
    return this.#tokenizer.encode(text, undefined, true).ids
  }

  /**
   * Encodes a text of any length.
   *
   * @param {string} text
   * @param {boolean} isBare  true if the text has its special tokens
   */
  encodeWhole(text, isBare) {
    return this.#tokenizer.encode(text, undefined, isBare).ids
  }

  /**
   * The number of tokens of a prompt at the beginning of a text: those of the prompt, without special tokens at its
   * end.
   *
   * @param {string} prompt
   */
  promptLength(prompt) {
    const { ids } = this.#tokenizer.encode(prompt)
    const bare = this.#bare(prompt)
    const [place] = placesOf(ids, [bare]) ?? [0]
    return place + bare.length
  }

  /** @param {readonly number[]} ids */
  decode(ids) {
    return this.#tokenizer.decode(ids)
  }
}

/**
 * @param {unknown} text
 * @returns {[string, string | undefined]}
 */
function readText(text) {
  if (typeof text === 'string') return [text, undefined]
  if (isArray(text) && text.length === 2 && text.every((part) => typeof part === 'string')) return [text[0], text[1]]
  throw fault('DTYPE', 'text', 'a string or a pair of strings', describe(text))
}

/**
 * The places of bodies in a sequence with special tokens, in order; undefined if they are not found.
 *
 * @param {readonly number[]} ids
 * @param {readonly number[][]} bodies
 */
function placesOf(ids, bodies) {
  const specials = ids.length - bodies.reduce((sum, body) => sum + body.length, 0)
  /** @type {number[]} */
  const places = []
  let at = 0
  for (const body of bodies) {
    const matches = (/** @type {number} */ start) => body.every((id, index) => ids[start + index] === id)
    let skipped = 0
    while (skipped <= specials && !matches(at + skipped)) skipped++
    if (skipped > specials) return undefined
    places.push(at + skipped)
    at += skipped + body.length
  }
  return places
}

/**
 * The lengths of texts after `excess` tokens are removed, one at a time from the longest.
 *
 * @param {readonly number[]} lengths
 * @param {number} excess
 */
function keptLengths(lengths, excess) {
  if (lengths.length === 1) return [Math.max(lengths[0] - excess, 0)]
  const [first, second] = lengths
  const room = Math.max(first + second - excess, 0)
  const shorter = Math.min(first, second, Math.floor(room / 2))
  return first > second ? [room - shorter, shorter] : [shorter, room - shorter]
}

/**
 * @param {Tokens} tokens
 * @param {readonly (readonly [number, number])[]} ranges
 * @returns {Tokens}
 */
function slices({ ids, types }, ranges) {
  const cut = (/** @type {number[]} */ list) => ranges.flatMap(([start, end]) => list.slice(start, end))
  return { ids: cut(ids), types: cut(types) }
}
