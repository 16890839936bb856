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
  const features = data.length / degrees.length
  return { data: data.map((value, at) => value / Math.max(1, degrees[Math.floor(at / features)])), shape }
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
    for (let head = 0; head < heads; head++, at++) {
      let sum = 0
      for (const end = first + width; first < end; first++, second++) sum += a[first] * b[second]
      results[at] = sum
    }
  }
  return output
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
  return recorder.record([scores], output, ({ data: gradient }) => {
    const { data } = output
    const heads = scores.shape[1] ?? 1
    const sums = new Float64Array(edges.numTargets * heads)
    const place = (/** @type {number} */ at) => edges.target[Math.floor(at / heads)] * heads + (at % heads)
    for (let at = 0; at < data.length; at++) sums[place(at)] += data[at] * gradient[at]
    const own = allocateTensor('gradient', scores.shape)
    for (let at = 0; at < data.length; at++) own.data[at] = data[at] * (gradient[at] - sums[place(at)])
    return [own]
  })
}

/**
 * The leaky rectifier.
 *
 * @param {Recorder} recorder
 * @param {Value} x
 * @param {number} slope
 */
export function leaky(recorder, x, slope) {
  const { data, shape } = x
  const bent = (/** @type {number} */ value, /** @type {number} */ at) => (data[at] > 0 ? value : slope * value)
  return recorder.record([x], { data: data.map(bent), shape }, (gradient) => [{ data: gradient.data.map(bent), shape }])
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
  const joint = (/** @type {number} */ edge, /** @type {number} */ column) =>
    x.data[edges.source[edge] * width + column] +
    y.data[edges.target[edge] * width + column] +
    (features ? features.data[edge * width + column] : 0)
  const output = allocateTensor('scores', [edges.count, heads])
  for (let edge = 0, at = 0; edge < edges.count; edge++) {
    for (let head = 0; head < heads; head++, at++) {
      let sum = 0
      for (let column = head * channels; column < (head + 1) * channels; column++) {
        const value = joint(edge, column)
        sum += attention.data[column] * (value > 0 ? value : slope * value)
      }
      output.data[at] = sum
    }
  }
  return recorder.record(inputs, output, ({ data: gradient }) => {
    const [ofX, ofY, ofAttention] = [x, y, attention].map(({ data }) => new Float64Array(data.length))
    const ofFeatures = features && allocateTensor('gradient', features.shape)
    for (let edge = 0; edge < edges.count; edge++) {
      const [source, target] = [edges.source[edge] * width, edges.target[edge] * width]
      for (let column = 0; column < width; column++) {
        const value = joint(edge, column)
        const factor = gradient[edge * heads + Math.floor(column / channels)] * (value > 0 ? 1 : slope)
        const own = factor * attention.data[column]
        ofX[source + column] += own
        ofY[target + column] += own
        ofAttention[column] += factor * value
        if (ofFeatures) ofFeatures.data[edge * width + column] = own
      }
    }
    return [rounded(ofX, x.shape), rounded(ofY, y.shape), rounded(ofAttention, attention.shape), ofFeatures]
  })
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
