// The primitives of message passing on the tape. Their sums are added in the order of the edges, and none of them stores
// the messages: what a gradient needs of an edge is computed from the rows of its ends.

import { allocateTensor, elements } from '../checks/tensor.js'

/** @typedef {import('./recorder.js').Recorder} Recorder */
/** @typedef {import('./edges.js').Edges} Edges */
/** @typedef {import('./tape.js').Value} Value */
/** @typedef {import('../checks/tensor.js').Checked} Checked */
/** @typedef {'sum' | 'mean' | 'max' | 'min'} Reduce */

/**
 * @param {Recorder} recorder
 * @param {import('../runtime/resident.js').Resident} graph
 * @param {Checked} x
 * @param {Checked | undefined} weight
 * @param {Reduce} [reduce]
 */
const propagated = (recorder, graph, x, weight, reduce = 'sum') =>
  recorder
    .call('propagate', graph)
    .input(x)
    .input(weight)
    .options(JSON.stringify({ reduce }))
    .returning((results) => results)

/**
 * Reduces `weight · x[source]` over the edges that reach each target.
 *
 * @param {Recorder} recorder
 * @param {Edges} edges
 * @param {Value} x  `[sources, ...]`
 * @param {Value} [weight]  `[K]`, or `[K, H]` for x `[sources, H, ...]`
 * @param {Reduce} [reduce]
 */
export function propagate(recorder, edges, x, weight, reduce = 'sum') {
  const [output] = propagated(recorder, edges.resident, x, weight, reduce).run()
  if (reduce === 'max' || reduce === 'min') {
    return recorder.record([x, weight], output, (gradient) => ofExtremes(edges, [x, weight], output, gradient))
  }
  return recorder.record([x, weight], output, function* (gradient) {
    const share = reduce === 'mean' ? overDegrees(edges, gradient) : gradient
    const [ofX] = x.isNeeded ? yield propagated(recorder, edges.reversed, share, weight) : []
    return [ofX, weight?.isNeeded ? dots(edges, x, share, weight.shape) : undefined]
  })
}

/**
 * Divides the rows of targets by the number of their edges.
 *
 * @param {Edges} edges
 * @param {Checked} rows
 */
function overDegrees(edges, { data, shape }) {
  const degrees = edges.inDegrees()
  const output = allocateTensor('gradient', shape)
  const results = output.data
  const features = data.length / degrees.length
  // A row at a time: finding the row of each index took longer than the division.
  for (let target = 0, at = 0; target < degrees.length; target++) {
    const degree = Math.max(1, degrees[target])
    for (const end = at + features; at < end; at++) results[at] = data[at] / degree
  }
  return output
}

/**
 * The products of the rows at both ends of each edge, for each head.
 *
 * @param {Edges} edges
 * @param {Checked} x  of the sources
 * @param {Checked} y  of the targets, as wide
 * @param {number[]} shape  `[K]` or `[K, H]`
 */
function dots({ source, target }, x, y, shape) {
  const output = allocateTensor('gradient', shape)
  const features = elements(x.shape.slice(1))
  const heads = shape[1] ?? 1
  const width = features / heads
  const [a, b, results] = [x.data, y.data, output.data]
  for (let edge = 0, at = 0; edge < source.length; edge++) {
    let [first, second] = [source[edge] * features, target[edge] * features]
    for (let head = 0; head < heads; head++, at++, first += width, second += width) {
      results[at] = dot(a, first, b, second, width)
    }
  }
  return output
}

/**
 * The product of `width` values of `a` from `i` on with those of `b` from `j` on. Four sums do not wait for each other.
 *
 * @param {Float32Array} a
 * @param {number} i
 * @param {Float32Array} b
 * @param {number} j
 * @param {number} width
 */
function dot(a, i, b, j, width) {
  const end = i + width
  // Declared one by one: a list would be taken apart for every edge and head.
  let first = 0
  let second = 0
  let third = 0
  let fourth = 0
  for (; i + 4 <= end; i += 4, j += 4) {
    first += a[i] * b[j]
    second += a[i + 1] * b[j + 1]
    third += a[i + 2] * b[j + 2]
    fourth += a[i + 3] * b[j + 3]
  }
  for (; i < end; i++, j++) first += a[i] * b[j]
  return first + second + (third + fourth)
}

/**
 * The product of the rows at both ends of each edge: `[K, H]`.
 *
 * @param {Recorder} recorder
 * @param {Edges} edges
 * @param {Value} x  `[sources, H, C]`
 * @param {Value} y  `[targets, H, C]`
 */
export function edgeDots(recorder, edges, x, y) {
  const output = dots(edges, x, y, [edges.count, x.shape[1]])
  return recorder.record([x, y], output, function* (gradient) {
    const [ofX] = x.isNeeded ? yield propagated(recorder, edges.reversed, y, gradient) : []
    const [ofY] = y.isNeeded ? yield propagated(recorder, edges.resident, x, gradient) : []
    return [ofX, ofY]
  })
}

/**
 * The sum of the rows at both ends of each edge: `[K, H]`.
 *
 * @param {Recorder} recorder
 * @param {Edges} edges
 * @param {Value} x  `[sources, H]`
 * @param {Value} y  `[targets, H]`
 */
export function edgeSums(recorder, { source, target }, x, y) {
  const heads = x.shape[1]
  const output = allocateTensor('scores', [source.length, heads])
  const [a, b, results] = [x.data, y.data, output.data]
  for (let edge = 0, at = 0; edge < source.length; edge++) {
    const [from, to] = [source[edge] * heads, target[edge] * heads]
    for (let head = 0; head < heads; head++, at++) results[at] = a[from + head] + b[to + head]
  }
  return recorder.record([x, y], output, ({ data: gradient }) => {
    const [ofX, ofY] = [x, y].map(({ data }) => new Float64Array(data.length))
    for (let edge = 0, at = 0; edge < source.length; edge++) {
      const [from, to] = [source[edge] * heads, target[edge] * heads]
      for (let head = 0; head < heads; head++, at++) {
        ofX[from + head] += gradient[at]
        ofY[to + head] += gradient[at]
      }
    }
    return [rounded(ofX, x.shape), rounded(ofY, y.shape)]
  })
}

/**
 * The gradients of a maximum or minimum: equal messages share the gradient evenly, as those of PyTorch's `amax`.
 *
 * @param {Edges} edges
 * @param {readonly [Value, Value | undefined]} inputs
 * @param {Checked} output
 * @param {Checked} gradient
 */
function ofExtremes({ source, target }, [x, weight], output, gradient) {
  const features = elements(x.shape.slice(1))
  const heads = weight?.shape[1] ?? 1
  const width = features / heads
  /** Calls `visit` for each message that is its target's extreme. @param {(from: number, to: number, at: number) => void} visit */
  const forExtremes = (visit) => {
    for (let edge = 0; edge < source.length; edge++) {
      for (let feature = 0; feature < features; feature++) {
        const from = source[edge] * features + feature
        const to = target[edge] * features + feature
        const at = edge * heads + Math.floor(feature / width)
        if (Math.fround((weight?.data[at] ?? 1) * x.data[from]) === output.data[to]) visit(from, to, at)
      }
    }
  }
  const counts = new Uint32Array(output.data.length)
  forExtremes((_, to) => counts[to]++)
  const [ofX, ofWeight] = [new Float64Array(x.data.length), new Float64Array(weight?.data.length ?? 0)]
  forExtremes((from, to, at) => {
    const share = gradient.data[to] / counts[to]
    ofX[from] += share * (weight?.data[at] ?? 1)
    if (weight) ofWeight[at] += share * x.data[from]
  })
  return [rounded(ofX, x.shape), weight && rounded(ofWeight, weight.shape)]
}

/** @param {Float64Array} sums @param {number[]} shape @returns {Checked} */
function rounded(sums, shape) {
  const output = allocateTensor('gradient', shape)
  output.data.set(sums)
  return output
}

/**
 * Softmax over the edges that reach the same target.
 *
 * @param {Recorder} recorder
 * @param {Edges} edges
 * @param {Value} scores  `[K]` or `[K, H]`
 */
export function edgeSoftmax(recorder, edges, scores) {
  const output = recorder.call('edgeSoftmax', edges.resident).input(scores).run()
  return recorder.record([scores], output, (gradient) => [ofScores(edges, output, gradient)])
}

/**
 * The gradient of scores from their softmax: `p · (g − Σ p · g)`, summed over the edges that reach the same target.
 *
 * @param {Edges} edges
 * @param {Checked} output
 * @param {Checked} gradient
 */
function ofScores({ target, numTargets }, { data, shape }, { data: gradient }) {
  const heads = shape[1] ?? 1
  const sums = new Float64Array(numTargets * heads)
  const own = allocateTensor('gradient', shape)
  const results = own.data
  for (let edge = 0, at = 0; edge < target.length; edge++) {
    const row = target[edge] * heads
    for (let head = 0; head < heads; head++, at++) sums[row + head] += data[at] * gradient[at]
  }
  for (let edge = 0, at = 0; edge < target.length; edge++) {
    const row = target[edge] * heads
    for (let head = 0; head < heads; head++, at++) results[at] = data[at] * (gradient[at] - sums[row + head])
  }
  return own
}

/**
 * The leaky rectifier.
 *
 * @param {Recorder} recorder
 * @param {Value} x
 * @param {number} slope
 */
export function leaky(recorder, x, slope) {
  return recorder.record([x], bent(x, x, slope), (gradient) => [bent(gradient, x, slope)])
}

/**
 * Values times `slope` where `x` is not positive.
 *
 * @param {Checked} values
 * @param {Checked} x
 * @param {number} slope
 */
function bent(values, x, slope) {
  const output = allocateTensor('output', x.shape)
  const [signs, given, results] = [x.data, values.data, output.data]
  for (let at = 0; at < results.length; at++) results[at] = signs[at] > 0 ? given[at] : slope * given[at]
  return output
}

/**
 * The scores of GATv2: `attention · leaky(x[source] + y[target] + features)` for each edge and head, `[K, H]`.
 *
 * @param {Recorder} recorder
 * @param {Edges} edges
 * @param {readonly [x: Value, y: Value, attention: Value, features?: Value]} inputs  attention `[1, H, C]`, others
 *   `[..., H·C]`
 * @param {number} slope
 */
export function jointScores(recorder, edges, inputs, slope) {
  const [x, y, attention, features] = inputs
  const [, heads, channels] = attention.shape
  const width = heads * channels
  // Without features, every edge has the same row of zeros.
  const [ofEdges, step] = features ? [features.data, width] : [new Float32Array(width), 0]
  const output = allocateTensor('scores', [edges.count, heads])
  const given = { source: edges.source, target: edges.target, ofEdges, step, heads, channels, slope }
  writeScores(given, [x.data, y.data, attention.data], output.data)
  return recorder.record(inputs, output, ({ data: gradient }) => {
    const sums = [x, y, attention].map(({ data }) => new Float64Array(data.length))
    const ofFeatures = features && allocateTensor('gradient', features.shape)
    addSlopes(given, [x.data, y.data, attention.data], gradient, [sums[0], sums[1], sums[2], ofFeatures?.data])
    return [rounded(sums[0], x.shape), rounded(sums[1], y.shape), rounded(sums[2], attention.shape), ofFeatures]
  })
}

/**
 * The edges of joint scores: row `edge · step` of `ofEdges` has the features of an edge.
 *
 * @typedef {{ source: Int32Array, target: Int32Array, ofEdges: Float32Array, step: number, heads: number,
 *   channels: number, slope: number }} JointEdges
 */

/**
 * Writes the joint score of each edge and head.
 *
 * @param {JointEdges} edges
 * @param {readonly [x: Float32Array, y: Float32Array, attention: Float32Array]} inputs
 * @param {Float32Array} scores
 */
function writeScores({ source, target, ofEdges, step, heads, channels, slope }, [x, y, attention], scores) {
  const width = heads * channels
  // A table, since half of the branches would be predicted wrong.
  const slopes = [slope, 1]
  for (let edge = 0, at = 0; edge < source.length; edge++) {
    const from = source[edge] * width
    const to = target[edge] * width
    const own = edge * step
    for (let column = 0; column < width; at++) {
      let sum = 0
      for (const end = column + channels; column < end; column++) {
        const value = x[from + column] + y[to + column] + ofEdges[own + column]
        sum += attention[column] * value * slopes[Number(value > 0)]
      }
      scores[at] = sum
    }
  }
}

/**
 * Adds the gradients of joint scores to those of their inputs.
 *
 * @param {JointEdges} edges
 * @param {readonly [x: Float32Array, y: Float32Array, attention: Float32Array]} inputs
 * @param {Float32Array} gradient
 * @param {readonly [x: Float64Array, y: Float64Array, attention: Float64Array, ofEdges?: Float32Array]} sums
 */
function addSlopes({ source, target, ofEdges, step, heads, channels, slope }, [x, y, attention], gradient, sums) {
  const [ofX, ofY, ofAttention, ofFeatures] = sums
  const width = heads * channels
  const slopes = [slope, 1]
  for (let edge = 0, at = 0; edge < source.length; edge++) {
    const from = source[edge] * width
    const to = target[edge] * width
    const own = edge * step
    for (let column = 0; column < width; at++) {
      for (const end = column + channels; column < end; column++) {
        const value = x[from + column] + y[to + column] + ofEdges[own + column]
        const factor = gradient[at] * slopes[Number(value > 0)]
        const added = factor * attention[column]
        ofX[from + column] += added
        ofY[to + column] += added
        ofAttention[column] += factor * value
        if (ofFeatures) ofFeatures[own + column] = added
      }
    }
  }
}

/**
 * `1/√x`, and 0 where x is 0.
 *
 * @param {Recorder} recorder
 * @param {Value} x
 */
export function inverseRoot(recorder, x) {
  const data = x.data.map((value) => (value === 0 ? 0 : 1 / Math.sqrt(value)))
  return recorder.record([x], { data, shape: x.shape }, (gradient) => [
    { data: gradient.data.map((value, at) => -0.5 * value * data[at] ** 3), shape: x.shape }
  ])
}
