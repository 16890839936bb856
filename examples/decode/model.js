// A small decoder with random weights, built from this package's public functions: grouped heads, rotary positions,
// pre-norm, and a feed-forward network with SiLU. Its text is meaningless, but it is the same with and without a cache.

/** @typedef {import('@ruvector/attention').Attention} Attention */
/** @typedef {import('@ruvector/attention').KVCache} KVCache */
/** @typedef {import('@ruvector/attention').Tensor} Tensor */
/** @typedef {{ query: Tensor, keyValue: Tensor, output: Tensor, up: Tensor, down: Tensor }} Layer */

export const shape = { vocabulary: 64, layers: 4, modelDim: 256, heads: 8, kvHeads: 2, headDim: 32, innerDim: 512 }

/**
 * Deterministic numbers in [0, 1) from a seed (mulberry32).
 *
 * @param {number} seed
 */
export function random(seed) {
  let state = seed | 0
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

export class Decoder {
  #attention
  /** @type {Tensor} */
  #embedding
  /** @type {Layer[]} */
  #layers

  /**
   * @param {Attention} attention  the API of a backend
   * @param {number} seed
   */
  constructor(attention, seed) {
    const next = random(seed)
    /**
     * @type {(rows: number, columns: number) => Tensor} A random matrix whose products keep the magnitude of their
     * input.
     */
    const matrix = (rows, columns) => {
      const width = Math.sqrt(3 / columns)
      return {
        data: Float32Array.from({ length: rows * columns }, () => (2 * next() - 1) * width),
        shape: [rows, columns]
      }
    }
    const { vocabulary, layers, modelDim, heads, kvHeads, headDim, innerDim } = shape
    this.#attention = attention
    this.#embedding = matrix(vocabulary, modelDim)
    this.#layers = Array.from({ length: layers }, () => ({
      query: matrix(heads * headDim, modelDim),
      keyValue: matrix(2 * kvHeads * headDim, modelDim),
      output: matrix(modelDim, heads * headDim),
      up: matrix(innerDim, modelDim),
      down: matrix(modelDim, innerDim)
    }))
  }

  /**
   * Creates empty caches, one per layer, for a text of `capacity` tokens. The caller must dispose of them.
   *
   * @param {number} capacity
   */
  createCaches(capacity) {
    const { kvHeads, headDim } = shape
    return this.#layers.map(() => new this.#attention.KVCache({ kvHeads, headDim, capacity }))
  }

  /**
   * Logits after each token, [1, tokens, vocabulary]. With caches, the tokens continue those in the caches; without,
   * they are the whole text.
   *
   * @param {readonly number[]} tokens
   * @param {readonly KVCache[]} [caches]
   * @returns {Tensor}
   */
  forward(tokens, caches) {
    const { linear } = this.#attention
    const first = caches?.[0].length ?? 0
    const { data } = this.#embedding
    const { modelDim } = shape
    let x = new Float32Array(tokens.length * modelDim)
    tokens.forEach((token, at) => x.set(data.subarray(token * modelDim, (token + 1) * modelDim), at * modelDim))
    for (const [index, layer] of this.#layers.entries()) {
      x = sum(x, this.#attend(layer, normalized(x), first, caches?.[index]).data)
      const inner = linear(normalized(x), layer.up)
      x = sum(x, linear({ ...inner, data: inner.data.map(silu) }, layer.down).data)
    }
    return linear(normalized(x), this.#embedding)
  }

  /**
   * @param {Layer} layer
   * @param {Tensor} x  [1, tokens, modelDim]
   * @param {number} first  position of the first token
   * @param {KVCache} [cache]
   */
  #attend(layer, x, first, cache) {
    const { linear, rotaryEmbedding, scaledDotProductAttention } = this.#attention
    const { heads, kvHeads, headDim } = shape
    const length = x.shape[1]
    const positions = Int32Array.from({ length }, (_, at) => first + at)
    const [q, k, v] = [
      headsFirst(linear(x, layer.query), heads, 0, headDim),
      headsFirst(linear(x, layer.keyValue), kvHeads, 0, headDim),
      headsFirst(linear(x, layer.keyValue), kvHeads, kvHeads * headDim, headDim)
    ]
    const [query, key] = [rotaryEmbedding(q, { positions }), rotaryEmbedding(k, { positions })]
    const { output } = cache
      ? cache.append(key, v).attend(query)
      : scaledDotProductAttention(query, key, v, { causal: true })
    return linear(headsLast(output), layer.output)
  }
}

/**
 * Samples a token from the last row of logits at a temperature.
 *
 * @param {Tensor} logits
 * @param {number} temperature
 * @param {() => number} next
 */
export function sample({ data, shape: [, , size] }, temperature, next) {
  const row = data.subarray(data.length - size)
  const maximum = row.reduce((a, b) => Math.max(a, b))
  const powers = Array.from(row, (logit) => Math.exp((logit - maximum) / temperature))
  let rest = next() * powers.reduce((a, b) => a + b)
  const token = powers.findIndex((power) => (rest -= power) < 0)
  return token < 0 ? size - 1 : token
}

/**
 * Scales rows to a root mean square of 1, [1, tokens, modelDim].
 *
 * @param {Float32Array} x
 * @returns {Tensor}
 */
function normalized(x) {
  const { modelDim } = shape
  const data = new Float32Array(x.length)
  for (let start = 0; start < x.length; start += modelDim) {
    const row = x.subarray(start, start + modelDim)
    const scale = 1 / Math.sqrt(row.reduce((total, value) => total + value * value, 0) / modelDim + 1e-6)
    for (let at = 0; at < modelDim; at++) data[start + at] = row[at] * scale
  }
  return { data, shape: [1, x.length / modelDim, modelDim] }
}

/** @param {number} x */
const silu = (x) => x / (1 + Math.exp(-x))

/**
 * @param {Float32Array} x
 * @param {Float32Array} y
 */
const sum = (x, y) => x.map((value, at) => value + y[at])

/**
 * Converts columns of [1, tokens, width], beginning at `start`, to [1, heads, tokens, size].
 *
 * @param {Tensor} x
 * @param {number} heads
 * @param {number} start
 * @param {number} size
 * @returns {Tensor}
 */
function headsFirst({ data, shape: [, length, width] }, heads, start, size) {
  const result = new Float32Array(heads * length * size)
  for (let h = 0; h < heads; h++) {
    for (let l = 0; l < length; l++) {
      const from = l * width + start + h * size
      result.set(data.subarray(from, from + size), (h * length + l) * size)
    }
  }
  return { data: result, shape: [1, heads, length, size] }
}

/**
 * Converts [1, heads, tokens, size] to [1, tokens, heads · size].
 *
 * @param {Tensor} x
 * @returns {Tensor}
 */
function headsLast({ data, shape: [, heads, length, size] }) {
  const result = new Float32Array(data.length)
  for (let h = 0; h < heads; h++) {
    for (let l = 0; l < length; l++) {
      const from = (h * length + l) * size
      result.set(data.subarray(from, from + size), (l * heads + h) * size)
    }
  }
  return { data: result, shape: [1, length, heads * size] }
}
