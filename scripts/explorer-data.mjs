// Generates the data of examples/explorer from all-MiniLM-L6-v2: 16-bit embeddings of its most common tokens, and a
// tokenizer limited to those tokens. Other words are split into known pieces, in the worst case into letters.

import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { fetchModel, modelFolder } from '../tools/model.mjs'
import { root } from '../tools/shell.mjs'

/** The folder of the page's data. */
export const dataFolder = join(root, 'examples', 'explorer', 'data')
const SIZE = 384
/** Number of tokens for the page, of the model's 30,522. */
const COUNT = 2900
/** From this index on, BERT's vocabulary lists words and pieces, the most common first; characters come before. */
const FIRST_WORD = 1996
const ALWAYS = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]']

/** @typedef {{ dtype: 'F16' | 'F32', shape: number[], data: Float32Array }} Entry */

/**
 * The values of a 32-bit tensor in a safetensors file.
 *
 * @param {Buffer} file
 * @param {string} name
 */
function readTensor(file, name) {
  const length = Number(file.readBigUInt64LE(0))
  const [start, end] = JSON.parse(file.subarray(8, 8 + length).toString())[name].data_offsets
  return new Float32Array(Uint8Array.from(file.subarray(8 + length + start, 8 + length + end)).buffer)
}

/**
 * The bits of the nearest 16-bit float, ties to even.
 *
 * @param {number} value
 */
function toHalf(value) {
  const sign = value < 0 || Object.is(value, -0) ? 0x8000 : 0
  const size = Math.abs(value)
  if (size >= 65520) return sign | 0x7c00
  const exponent = Math.max(Math.floor(Math.log2(size || 1e-30)), -14)
  const scaled = size * 2 ** (10 - exponent)
  const floor = Math.floor(scaled)
  const rest = scaled - floor
  const steps = floor + (rest > 0.5 || (rest === 0.5 && floor % 2 === 1) ? 1 : 0)
  // A fraction that rounds up to 1 carries into the exponent.
  return sign | (((exponent + 14) << 10) + steps)
}

/** @param {Entry} entry */
function bytesOf({ dtype, data }) {
  if (dtype === 'F32') return Buffer.from(data.buffer, data.byteOffset, data.byteLength)
  return Buffer.from(Uint16Array.from(data, toHalf).buffer)
}

/**
 * @param {Record<string, Entry>} entries
 * @param {Record<string, string>} metadata
 */
function safetensors(entries, metadata) {
  const bodies = Object.values(entries).map(bytesOf)
  let end = 0
  const tensors = Object.entries(entries).map(([name, { dtype, shape }], index) => {
    const start = end
    end += bodies[index].length
    return [name, { dtype, shape, data_offsets: [start, end] }]
  })
  const json = JSON.stringify({ __metadata__: metadata, ...Object.fromEntries(tensors) })
  const header = Buffer.from(json.padEnd(Math.ceil(json.length / 8) * 8))
  const length = Buffer.alloc(8)
  length.writeBigUInt64LE(BigInt(header.length))
  return Buffer.concat([length, header, ...bodies])
}

/**
 * Selects the tokens of the page: markers, single characters, everyday words, the words of the page's sentences, then
 * the most common tokens. Numbers, mostly years, are excluded.
 *
 * @param {readonly string[]} vocabulary  all tokens, by id
 */
function chooseTokens(vocabulary) {
  const read = (/** @type {string} */ name) => JSON.parse(readFileSync(join(dataFolder, name), 'utf8'))
  /** @type {string[]} */
  const words =
    [...read('sentences.json'), ...read('everyday.json')]
      .join(' ')
      .toLowerCase()
      .match(/\p{L}+/gu) ?? []
  const isCharacter = (/** @type {string} */ token) => /^(##)?[!-~]$/.test(token)
  const known = new Set(vocabulary)
  const chosen = new Set([...ALWAYS, ...vocabulary.filter(isCharacter), ...words.filter((word) => known.has(word))])
  for (const token of vocabulary.slice(FIRST_WORD)) {
    if (chosen.size >= COUNT) break
    if (/^(##)?[!-/:-~]+$/.test(token)) chosen.add(token)
  }
  return vocabulary.filter((token) => chosen.has(token))
}

/**
 * The embeddings of the tokens and of the positions, as a safetensors file.
 *
 * @param {Record<string, number>} ids  ids of all tokens
 * @param {readonly string[]} tokens  tokens to keep
 */
function embeddingsOf(ids, tokens) {
  const file = readFileSync(join(modelFolder, 'model.safetensors'))
  const part = (/** @type {string} */ name) => readTensor(file, `embeddings.${name}`)
  const all = part('word_embeddings.weight')
  const words = new Float32Array(tokens.length * SIZE)
  tokens.forEach((token, row) => words.set(all.subarray(ids[token] * SIZE, (ids[token] + 1) * SIZE), row * SIZE))
  // Single sentences only use the first token type, so its embedding is added to the positions.
  const type = part('token_type_embeddings.weight').subarray(0, SIZE)
  const positions = part('position_embeddings.weight').map((value, index) => value + type[index % SIZE])
  return safetensors(
    {
      words: { dtype: 'F16', shape: [tokens.length, SIZE], data: words },
      positions: { dtype: 'F16', shape: [positions.length / SIZE, SIZE], data: positions },
      'norm.weight': { dtype: 'F32', shape: [SIZE], data: part('LayerNorm.weight') },
      'norm.bias': { dtype: 'F32', shape: [SIZE], data: part('LayerNorm.bias') }
    },
    {
      model: 'sentence-transformers/all-MiniLM-L6-v2',
      licence: 'Apache-2.0',
      part: `embeddings of ${tokens.length} of ${Object.keys(ids).length} tokens, rounded to 16 bits; positions with the first token type added`
    }
  )
}

/**
 * A tokenizer limited to the kept tokens, with their row numbers as ids; without padding and truncation.
 *
 * @param {any} tokenizer  the model's tokenizer
 * @param {readonly string[]} tokens
 */
function tokenizerOf({ added_tokens, normalizer, pre_tokenizer, decoder, model }, tokens) {
  const rows = Object.fromEntries(tokens.map((token, row) => [token, row]))
  const mark = (/** @type {string} */ id) => ({ SpecialToken: { id, type_id: 0 } })
  return {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: added_tokens.map((/** @type {{ content: string }} */ token) => ({
      ...token,
      id: rows[token.content]
    })),
    normalizer,
    pre_tokenizer,
    post_processor: {
      type: 'TemplateProcessing',
      single: [mark('[CLS]'), { Sequence: { id: 'A', type_id: 0 } }, mark('[SEP]')],
      pair: [],
      special_tokens: Object.fromEntries(['[CLS]', '[SEP]'].map((id) => [id, { id, ids: [rows[id]], tokens: [id] }]))
    },
    decoder,
    model: { ...model, vocab: rows }
  }
}

/** Generates the files that the page fetches, by name; requires the model. */
export function makeData() {
  const tokenizer = JSON.parse(readFileSync(join(modelFolder, 'tokenizer.json'), 'utf8'))
  /** @type {Record<string, number>} */
  const ids = tokenizer.model.vocab
  const tokens = chooseTokens(Object.keys(ids).sort((a, b) => ids[a] - ids[b]))
  return {
    'embeddings.safetensors': embeddingsOf(ids, tokens),
    'tokenizer.json': Buffer.from(`${JSON.stringify(tokenizerOf(tokenizer, tokens))}\n`)
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  await fetchModel()
  for (const [name, bytes] of Object.entries(makeData())) {
    writeFileSync(join(dataFolder, name), bytes)
    console.log(`${name}: ${bytes.length} bytes`)
  }
}
