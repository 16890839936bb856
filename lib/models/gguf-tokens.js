// The tokenizer.json of a GGUF file's own vocabulary.

import { describe, fault, isArray } from '../checks/errors.js'

/** @typedef {import('../weights/gguf-header.js').Value} Value */

/** Kinds of tokens in `tokenizer.ggml.token_type`. */
const [CONTROL, USER_DEFINED] = [3, 4]

const BYTES = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true }
const DIGITS = { type: 'Digits', individual_digits: true }

/** @param {string} pattern */
const split = (pattern) => [
  { type: 'Split', pattern: { Regex: pattern }, behavior: 'Isolated', invert: false },
  { ...BYTES, use_regex: false }
]

/** Splits of Llama 3 and of Qwen, which differ in the number of digits that stay together. @param {string} digits */
const wordsWith = (digits) =>
  split(
    `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|${digits}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+`
  )

/** How texts are split into words, by `tokenizer.ggml.pre`. @type {Readonly<Record<string, readonly object[]>>} */
const SPLITS = {
  default: [BYTES],
  'gpt-2': [BYTES],
  smollm: [DIGITS, BYTES],
  'llama-bpe': wordsWith('\\p{N}{1,3}'),
  qwen2: wordsWith('\\p{N}')
}

/**
 * The tokenizer.json; undefined if the file has no vocabulary.
 *
 * @param {Readonly<Record<string, Value>>} metadata
 */
export function tokenizerOf(metadata) {
  const own = (/** @type {string} */ key) => metadata[`tokenizer.ggml.${key}`]
  const [model, tokens, merges] = [own('model'), own('tokens'), own('merges')]
  if (model === undefined || tokens === undefined) return undefined
  if (model !== 'gpt2')
    throw fault(
      'FORMAT',
      'tokenizer.ggml.model',
      "'gpt2', byte-pair encoding, or the option `tokenizer` of loadModel",
      describe(model)
    )
  if (!isArray(tokens) || !isArray(merges)) {
    throw fault('FORMAT', 'tokenizer.ggml', 'lists of tokens and merges', `${describe(tokens)} and ${describe(merges)}`)
  }
  const pre = own('pre') ?? 'default'
  if (typeof pre !== 'string' || !Object.hasOwn(SPLITS, pre)) {
    const known = Object.keys(SPLITS).map((name) => `'${name}'`)
    throw fault('FORMAT', 'tokenizer.ggml.pre', `one of ${known.join(', ')}`, describe(pre))
  }
  const types = /** @type {number[]} */ (own('token_type') ?? [])
  const added = tokens.flatMap((content, id) =>
    types[id] === CONTROL || types[id] === USER_DEFINED
      ? [
          {
            id,
            content,
            single_word: false,
            lstrip: false,
            rstrip: false,
            normalized: false,
            special: types[id] === CONTROL
          }
        ]
      : []
  )
  const begin = own('add_bos_token') === true ? tokens[Number(own('bos_token_id'))] : undefined
  return {
    added_tokens: added,
    normalizer: pre === 'qwen2' ? { type: 'NFC' } : null,
    pre_tokenizer: { type: 'Sequence', pretokenizers: SPLITS[pre] },
    post_processor: begin === undefined ? null : beginningWith(String(begin), Number(own('bos_token_id'))),
    decoder: BYTES,
    model: {
      type: 'BPE',
      vocab: Object.fromEntries(tokens.map((token, id) => [token, id])),
      merges,
      ignore_merges: pre === 'llama-bpe',
      byte_fallback: false,
      fuse_unk: false
    }
  }
}

/** @param {string} token @param {number} id */
function beginningWith(token, id) {
  const special = { SpecialToken: { id: token, type_id: 0 } }
  const [first, second] = ['A', 'B'].map((part) => ({ Sequence: { id: part, type_id: 0 } }))
  return {
    type: 'TemplateProcessing',
    single: [special, first],
    pair: [special, first, special, second],
    special_tokens: { [token]: { id: token, ids: [id], tokens: [token] } }
  }
}
