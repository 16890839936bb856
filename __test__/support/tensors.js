// Test inputs from seeds, and comparison of results with expected values.

/** @typedef {import('@ruvector/attention').Tensor} Tensor */
/** @typedef {import('@ruvector/attention').TensorData} TensorData */

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

/**
 * @param {readonly number[]} shape
 * @param {() => number} draw
 * @returns {Tensor}
 */
function fill(shape, draw) {
  return { data: Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, draw), shape }
}

/**
 * A tensor with values from N(0, 1).
 *
 * @param {readonly number[]} shape
 * @param {number} seed
 */
export function normal(shape, seed) {
  const next = random(seed)
  return fill(shape, () => Math.sqrt(-2 * Math.log(1 - next())) * Math.cos(2 * Math.PI * next()))
}

/**
 * A tensor of eighths in [-2, 2]. Their products and sums are exact, so a failure is a bug and not rounding.
 *
 * @param {readonly number[]} shape
 * @param {number} seed
 */
export function eighths(shape, seed) {
  const next = random(seed)
  return fill(shape, () => (Math.floor(next() * 33) - 16) / 8)
}

/**
 * Queries, keys and values of grouped heads.
 *
 * @param {readonly number[]} sizes  batch, key/value heads, query heads of each, queries, keys, head size, value size
 * @param {boolean} isBlhd
 * @param {number} seed
 */
export function groupedInputs([batch, groups, group, length, keys, size, valueSize], isBlhd, seed) {
  /** @param {number} heads @param {number} rows @param {number} last @param {number} salt */
  const draw = (heads, rows, last, salt) =>
    eighths(isBlhd ? [batch, rows, heads, last] : [batch, heads, rows, last], seed + salt)
  return [draw(groups * group, length, size, 0), draw(groups, keys, size, 1), draw(groups, keys, valueSize, 2)]
}

/**
 * The first entry that differs from the expected one by more than `tolerance`, or undefined.
 *
 * @param {ArrayLike<number>} actual
 * @param {ArrayLike<number>} expected
 * @param {number} tolerance
 */
function firstDifference(actual, expected, tolerance) {
  if (actual.length !== expected.length) return `${actual.length} entries instead of ${expected.length}`
  for (let index = 0; index < actual.length; index++) {
    const [a, b] = [actual[index], expected[index]]
    if (Object.is(a, b) || Math.abs(a - b) <= tolerance * Math.max(1, Math.abs(b))) continue
    return `${a} instead of ${b} at ${index} of ${actual.length}`
  }
  return undefined
}

/**
 * Throws unless numbers are close, relative to those above 1 in magnitude; infinities and NaN must be equal.
 *
 * @param {Tensor | ArrayLike<number> | undefined} actual
 * @param {Tensor | ArrayLike<number> | undefined} expected
 * @param {number} [tolerance]
 * @param {string} [what]
 */
export function requireClose(actual, expected, tolerance = 1e-5, what = 'numbers') {
  const numbers = (/** @type {any} */ value) => value?.data ?? value ?? []
  const problem = firstDifference(numbers(actual), numbers(expected), tolerance)
  if (problem) throw new Error(`${what}: ${problem}`)
}

/**
 * The same as an assertion.
 *
 * @param {import('ava').ExecutionContext} t
 * @param {Tensor | ArrayLike<number> | undefined} actual
 * @param {Tensor | ArrayLike<number> | undefined} expected
 * @param {number} [tolerance]
 * @param {string} [what]
 */
export function close(t, actual, expected, tolerance, what) {
  t.notThrows(() => requireClose(actual, expected, tolerance, what))
}

/**
 * A fingerprint of the bits of floats, short enough to read in a report: shape and hash.
 *
 * @param {Tensor | undefined} tensor
 */
export function bits(tensor) {
  const { data, shape } = /** @type {Tensor} */ (tensor)
  let [a, b] = [0x811c9dc5, 0x1b873593]
  for (const word of new Uint32Array(data.slice().buffer)) {
    a = Math.imul(a ^ word, 0x01000193)
    b = Math.imul(b ^ (word >>> 7) ^ (word << 5), 0x85ebca6b) + a
  }
  return `[${shape}] ${(a >>> 0).toString(16)}${(b >>> 0).toString(16)}`
}

/**
 * The fields of the AttentionError that `call` throws.
 *
 * @param {import('ava').ExecutionContext} t
 * @param {() => unknown} call
 */
export function faultOf(t, call) {
  const error = /** @type {import('@ruvector/attention').AttentionError} */ (t.throws(call))
  t.is(error?.name, 'AttentionError', String(error))
  const { code, argument, expected, actual, message } = error
  return { code, argument, expected, actual, message }
}
