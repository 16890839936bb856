// From hidden states to one vector per text: the modules of sentence-transformers.

import { describe, fault, isArray } from '../checks/errors.js'
import { eachRow } from './head.js'

/** @typedef {import('../../index.d.ts').Attention} Attention */
/** @typedef {{ data: Float32Array, shape: number[] }} Matrix */
/** The rows of a text among the packed hidden states. @typedef {{ start: number, end: number }} Span */
/** A step from vectors to vectors. @typedef {(vectors: Matrix) => Matrix} Step */
/**
 * The pooling of a folder, and the steps after it.
 *
 * @typedef {object} Pooling
 * @property {(hidden: Matrix, spans: readonly Span[]) => Matrix} pool
 * @property {readonly Step[]} steps
 * @property {boolean} includesPrompt  false to leave the tokens of the prompt out
 * @property {number} [maxLength]  in tokens
 * @property {boolean} lowercase
 * @property {Readonly<Record<string, string>>} prompts
 * @property {string} [defaultPrompt]
 */

/** The entries of older pooling configurations, by today's names. @type {Record<string, string>} */
const MODES = {
  pooling_mode_cls_token: 'cls',
  pooling_mode_max_tokens: 'max',
  pooling_mode_mean_tokens: 'mean',
  pooling_mode_mean_sqrt_len_tokens: 'mean_sqrt_len_tokens',
  pooling_mode_weightedmean_tokens: 'weightedmean',
  pooling_mode_lasttoken: 'lasttoken'
}

/** @type {Record<string, (rows: readonly Float32Array[], output: Float32Array) => void>} */
const POOLS = {
  cls: (rows, output) => output.set(rows[0]),
  lasttoken: (rows, output) => output.set(rows[rows.length - 1]),
  max: (rows, output) => {
    output.set(rows[0])
    for (const row of rows) for (let i = 0; i < row.length; i++) output[i] = Math.max(output[i], row[i])
  },
  mean: (rows, output) => weighted(rows, output, () => 1 / rows.length),
  mean_sqrt_len_tokens: (rows, output) => weighted(rows, output, () => 1 / Math.sqrt(rows.length)),
  weightedmean: (rows, output) => {
    const whole = (rows.length * (rows.length + 1)) / 2
    weighted(rows, output, (index) => (index + 1) / whole)
  }
}

/**
 * @param {readonly Float32Array[]} rows
 * @param {Float32Array} output
 * @param {(index: number) => number} share
 */
function weighted(rows, output, share) {
  const sums = new Float64Array(output.length)
  rows.forEach((row, index) => {
    const factor = share(index)
    for (let i = 0; i < sums.length; i++) sums[i] += factor * row[i]
  })
  output.set(sums)
}

/**
 * Pools each text by one or several modes, whose vectors are concatenated.
 *
 * @param {readonly string[]} modes
 */
function poolBy(modes) {
  return (/** @type {Matrix} */ { data, shape }, /** @type {readonly Span[]} */ spans) => {
    const size = shape[shape.length - 1]
    const width = modes.length * size
    const pooled = new Float32Array(spans.length * width)
    spans.forEach(({ start, end }, text) => {
      const rows = Array.from({ length: end - start }, (_, row) =>
        data.subarray((start + row) * size, (start + row + 1) * size)
      )
      if (rows.length === 0) return
      modes.forEach((mode, index) => {
        const from = text * width + index * size
        POOLS[mode](rows, pooled.subarray(from, from + size))
      })
    })
    return { data: pooled, shape: [spans.length, width] }
  }
}

/**
 * Scales each row to length 1; a row of zeros stays.
 *
 * @type {Step}
 */
export function normalizeRows({ data, shape }) {
  const size = shape[1]
  const output = new Float32Array(data.length)
  for (let start = 0; start < data.length; start += size) {
    let sum = 0
    for (let i = start; i < start + size; i++) sum += data[i] * data[i]
    const factor = 1 / Math.max(Math.sqrt(sum), 1e-12)
    for (let i = start; i < start + size; i++) output[i] = data[i] * factor
  }
  return { data: output, shape }
}

/** Activations of Dense modules, by the API's names. @type {Record<string, 'tanh' | 'relu' | undefined>} */
const DENSE_ACTIVATIONS = { Identity: undefined, Tanh: 'tanh', ReLU: 'relu' }

/**
 * Reads the modules of a folder. Without modules.json, texts are the mean of their tokens, as in sentence-transformers.
 *
 * @param {import('./folder.js').Folder | import('./gguf.js').GgufFolder} folder
 * @param {Attention} attention
 * @returns {Promise<Pooling>}
 */
export async function readPooling(folder, attention) {
  const [modules, limits, texts] = [
    await folder.json('modules.json'),
    await folder.object('sentence_bert_config.json'),
    await folder.object('config_sentence_transformers.json')
  ]
  const pooling = {
    pool: poolBy(['mean']),
    steps: /** @type {Step[]} */ ([]),
    includesPrompt: true,
    maxLength: limits?.max_seq_length ?? undefined,
    lowercase: limits?.do_lower_case === true,
    prompts: texts?.prompts ?? {},
    defaultPrompt: texts?.default_prompt_name ?? undefined
  }
  if (modules === undefined) return pooling
  if (!isArray(modules)) throw fault('FORMAT', 'modules.json', 'a list of modules', describe(modules))
  for (const { type, path } of modules) {
    const kind = String(type).slice(String(type).lastIndexOf('.') + 1)
    const inside = path ? `${path}/` : ''
    if (kind === 'Transformer') {
      if (inside !== '') throw fault('FORMAT', 'modules.json', "the transformer at path ''", describe(path))
    } else if (kind === 'Pooling') {
      const config = (await folder.object(`${inside}config.json`)) ?? {}
      pooling.pool = poolBy(modesOf(config, inside))
      pooling.includesPrompt = config.include_prompt !== false
    } else if (kind === 'Dense') {
      pooling.steps.push(await readDense(folder, inside, attention))
    } else if (kind === 'Normalize') {
      pooling.steps.push(normalizeRows)
    } else {
      throw fault('FORMAT', 'modules.json', 'modules Transformer, Pooling, Dense and Normalize', describe(type))
    }
  }
  return pooling
}

/**
 * @param {Record<string, any>} config
 * @param {string} inside
 */
function modesOf(config, inside) {
  const { pooling_mode: given } = config
  const modes =
    given === undefined
      ? Object.keys(MODES)
          .filter((name) => config[name] === true)
          .map((name) => MODES[name])
      : (isArray(given) ? given : [given]).map(String)
  const unknown = modes.find((mode) => !Object.hasOwn(POOLS, mode))
  if (modes.length > 0 && unknown === undefined) return modes
  const expected = `modes of ${Object.keys(POOLS).join(', ')}`
  throw fault('FORMAT', `${inside}config.json`, expected, unknown === undefined ? 'none' : describe(unknown))
}

/**
 * @param {import('./folder.js').Folder | import('./gguf.js').GgufFolder} folder
 * @param {string} inside
 * @param {Attention} attention
 * @returns {Promise<Step>}
 */
async function readDense(folder, inside, attention) {
  const config = (await folder.object(`${inside}config.json`)) ?? {}
  const name =
    String(config.activation_function ?? 'torch.nn.modules.activation.Tanh')
      .split('.')
      .at(-1) ?? ''
  if (!Object.hasOwn(DENSE_ACTIVATIONS, name)) {
    const expected = `one of ${Object.keys(DENSE_ACTIVATIONS).join(', ')}`
    throw fault('FORMAT', `${inside}config.json: activation_function`, expected, describe(config.activation_function))
  }
  const file = await folder.weights(inside)
  try {
    const weight = await file.tensor('linear.weight')
    const bias = config.bias === false ? undefined : await file.tensor('linear.bias')
    const activation = DENSE_ACTIVATIONS[name]
    return (vectors) =>
      eachRow(vectors, (row) => {
        const product = attention.linear(row, /** @type {any} */ (weight), /** @type {any} */ (bias))
        return /** @type {Matrix} */ (activation ? attention[activation](product) : product)
      })
  } finally {
    await file.close()
  }
}
