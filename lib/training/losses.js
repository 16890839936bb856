// Losses: their value, and the gradients of their inputs. They compute in doubles, as `torch.nn.functional` defines
// them.

import { describe, fault } from '../checks/errors.js'
import { pickOptions, refuseMore } from '../checks/options.js'
import {
  allocateTensor,
  checkArray,
  checkAttached,
  checkIntegers,
  checkTensor,
  formatShape,
  lengthOf
} from '../checks/tensor.js'

/** @typedef {import('../checks/tensor.js').Checked} Checked */

/**
 * Replaces scores by the exponentials of their differences to the largest. Returns the logarithm of their sum.
 *
 * @param {Float64Array} scores
 */
function exponentials(scores) {
  const largest = scores.reduce((a, b) => Math.max(a, b), -Infinity)
  let sum = 0
  for (let index = 0; index < scores.length; index++) {
    scores[index] = Math.exp(scores[index] - largest)
    sum += scores[index]
  }
  return { sum, log: largest + Math.log(sum) }
}

/**
 * @param {string} name
 * @param {unknown} list
 * @param {number} rows
 */
function checkTargets(name, list, rows) {
  const { data } = checkIntegers(name, list)
  if (data.length !== rows) throw fault('SHAPE', name, `${rows} integers, one for each row`, `${data.length}`)
  return data
}

/**
 * @param {unknown} logits
 * @param {unknown} targets
 * @param {unknown} [options]
 */
export function crossEntropy(logits, targets, options) {
  const input = checkTensor('logits', logits)
  const { shape } = input
  if (shape.length !== 2) throw fault('SHAPE', 'logits', '2 dimensions [N, C]', formatShape(shape))
  const [rows, classes] = shape
  const given = pickOptions(options, ['ignoreIndex', 'labelSmoothing', 'weights'])
  const { ignoreIndex = -100, labelSmoothing: smoothing = 0 } = given
  if (!Number.isSafeInteger(ignoreIndex)) throw fault('OPTION', 'ignoreIndex', 'an integer', describe(ignoreIndex))
  if (typeof smoothing !== 'number' || !(smoothing >= 0 && smoothing <= 1)) {
    throw fault('OPTION', 'labelSmoothing', 'a number from 0 to 1', describe(smoothing))
  }
  /** @type {Float32Array | undefined} */
  const weights = given.weights === undefined ? undefined : checkArray('weights', given.weights, 'Float32Array')
  if (weights && lengthOf(weights) !== classes) {
    throw fault('SHAPE', 'weights', `${classes} weights, one for each class`, `${lengthOf(weights)}`)
  }
  const labels = checkTargets('targets', targets, rows)
  labels.forEach((label, row) => {
    if (label !== ignoreIndex && (label < 0 || label >= classes)) {
      throw fault('OPTION', `targets[${row}]`, `a class from 0 to ${classes - 1}, or ${ignoreIndex}`, `${label}`)
    }
  })
  checkAttached('logits', input)
  return crossEntropyOf(input, labels, { ignored: Number(ignoreIndex), smoothing, weights })
}

/**
 * The mean of the cross-entropies of rows, weighted by the classes of their targets.
 *
 * @param {Checked} logits
 * @param {Int32Array} labels
 * @param {{ ignored: number, smoothing: number, weights?: Float32Array }} options
 */
function crossEntropyOf({ data, shape }, labels, { ignored, smoothing, weights }) {
  const [, classes] = shape
  const weightOf = (/** @type {number} */ label) => weights?.[label] ?? 1
  let total = 0
  for (const label of labels) if (label !== ignored) total += weightOf(label)
  // Each class has its part of the smoothing.
  const part = smoothing / classes
  let allWeights = weights ? 0 : classes
  if (weights) for (let label = 0; label < classes; label++) allWeights += weights[label]
  const gradient = allocateTensor('gradient', shape)
  // Without rows there may be more classes than any memory holds.
  const row = new Float64Array(labels.length > 0 ? classes : 0)
  let sum = 0
  labels.forEach((label, at) => {
    if (label === ignored) return
    const start = at * classes
    for (let index = 0; index < classes; index++) row[index] = data[start + index]
    const { sum: powers, log } = exponentials(row)
    const own = (1 - smoothing) * weightOf(label)
    sum += own * (log - data[start + label])
    for (let index = 0; index < classes; index++) {
      const share = part * weightOf(index)
      // A class of probability 0 adds nothing if no smoothing asks for it.
      if (share > 0) sum += share * (log - data[start + index])
      const wanted = share + (index === label ? own : 0)
      gradient.data[start + index] = ((row[index] / powers) * (own + part * allWeights) - wanted) / total
    }
  })
  return { value: sum / total, gradient }
}

/**
 * @param {unknown} x
 * @param {unknown} target
 * @param {...unknown} more
 */
export function meanSquaredError(x, target, ...more) {
  refuseMore('meanSquaredError', more)
  const [input, wanted] = [checkTensor('x', x), checkTensor('target', target)]
  checkSame('target', input, wanted)
  const { data, shape } = input
  const gradient = allocateTensor('gradient', shape)
  let sum = 0
  for (let index = 0; index < data.length; index++) {
    const difference = data[index] - wanted.data[index]
    sum += difference * difference
    gradient.data[index] = (2 * difference) / data.length
  }
  return { value: sum / data.length, gradient }
}

/**
 * @param {string} name
 * @param {Checked} expected
 * @param {Checked} actual
 */
function checkSame(name, expected, actual) {
  if (`${expected.shape}` !== `${actual.shape}`) {
    throw fault('SHAPE', name, formatShape(expected.shape), formatShape(actual.shape))
  }
  checkAttached(name, actual)
}

/**
 * Checks two matrices of vectors.
 *
 * @param {unknown} a
 * @param {unknown} b
 */
function checkPairs(a, b) {
  const [first, second] = [checkTensor('a', a), checkTensor('b', b)]
  if (first.shape.length !== 2) throw fault('SHAPE', 'a', '2 dimensions [N, D]', formatShape(first.shape))
  checkSame('b', first, second)
  checkAttached('a', first)
  return [first, second]
}

/**
 * The product of two rows.
 *
 * @param {Float32Array} a
 * @param {number} i
 * @param {Float32Array} b
 * @param {number} j
 * @param {number} size
 */
function dot(a, i, b, j, size) {
  let sum = 0
  for (let index = 0; index < size; index++) sum += a[i * size + index] * b[j * size + index]
  return sum
}

/**
 * @param {unknown} a
 * @param {unknown} b
 * @param {unknown} target
 * @param {...unknown} more
 */
export function cosineLoss(a, b, target, ...more) {
  refuseMore('cosineLoss', more)
  const [{ data: first, shape }, { data: second }] = checkPairs(a, b)
  const [rows, size] = shape
  const signs = checkTargets('target', target, rows)
  signs.forEach((sign, row) => {
    if (sign !== 1 && sign !== -1) throw fault('OPTION', `target[${row}]`, '1 for a pair, or -1', `${sign}`)
  })
  const gradients = [allocateTensor('gradient', shape), allocateTensor('gradient', shape)]
  let sum = 0
  signs.forEach((sign, row) => {
    const product = dot(first, row, second, row, size)
    // The same term keeps PyTorch's lengths above 0.
    const [left, right] = [first, second].map((rows) => dot(rows, row, rows, row, size) + 1e-12)
    const length = Math.sqrt(left * right)
    const cosine = product / length
    sum += sign === 1 ? 1 - cosine : Math.max(0, cosine)
    const slope = (sign === 1 ? -1 : Number(cosine >= 0)) / rows
    for (let index = row * size; index < (row + 1) * size; index++) {
      const [x, y] = [first[index], second[index]]
      gradients[0].data[index] = slope * (y / length - (cosine * x) / left)
      gradients[1].data[index] = slope * (x / length - (cosine * y) / right)
    }
  })
  return { value: sum / rows, gradients }
}

/**
 * Rows divided by their lengths, in doubles, and the lengths.
 *
 * @param {Checked} tensor
 */
function unitRows({ data, shape: [rows, size] }) {
  const units = Float64Array.from(data)
  const lengths = Array.from({ length: rows }, (_, row) => Math.max(1e-12, Math.sqrt(dot(data, row, data, row, size))))
  for (let index = 0; index < units.length; index++) units[index] /= lengths[Math.floor(index / size)]
  return { units, lengths }
}

/**
 * The gradient of rows from that of the rows divided by their lengths.
 *
 * @param {Float64Array} gradient
 * @param {{ units: Float64Array, lengths: number[] }} rows
 * @param {number[]} shape
 */
function throughUnits(gradient, { units, lengths }, shape) {
  const size = shape[1]
  const result = allocateTensor('gradient', shape)
  lengths.forEach((length, row) => {
    let along = 0
    for (let index = row * size; index < (row + 1) * size; index++) along += gradient[index] * units[index]
    for (let index = row * size; index < (row + 1) * size; index++) {
      result.data[index] = (gradient[index] - along * units[index]) / length
    }
  })
  return result
}

/**
 * @param {unknown} a
 * @param {unknown} b
 * @param {unknown} [options]
 */
export function infoNce(a, b, options) {
  const [first, second] = checkPairs(a, b)
  const { temperature = 0.05 } = pickOptions(options, ['temperature'])
  if (typeof temperature !== 'number' || !(temperature > 0 && temperature < Infinity)) {
    throw fault('OPTION', 'temperature', 'a positive number', describe(temperature))
  }
  const { shape } = first
  const [rows, size] = shape
  const sides = [unitRows(first), unitRows(second)]
  const [left, right] = sides.map(({ units }) => units)
  const gradients = [new Float64Array(left.length), new Float64Array(right.length)]
  const scores = new Float64Array(rows)
  let sum = 0
  for (let i = 0; i < rows; i++) {
    for (let j = 0; j < rows; j++) {
      let product = 0
      for (let index = 0; index < size; index++) product += left[i * size + index] * right[j * size + index]
      scores[j] = product / temperature
    }
    const own = scores[i]
    const { sum: powers, log } = exponentials(scores)
    sum += log - own
    for (let j = 0; j < rows; j++) {
      const slope = (scores[j] / powers - Number(i === j)) / (temperature * rows)
      for (let index = 0; index < size; index++) {
        gradients[0][i * size + index] += slope * right[j * size + index]
        gradients[1][j * size + index] += slope * left[i * size + index]
      }
    }
  }
  return { value: sum / rows, gradients: gradients.map((gradient, at) => throughUnits(gradient, sides[at], shape)) }
}
