// Measures one mechanism on one backend: its result, parameters, memory and time.

import { random } from '../decode/model.js'

/** @typedef {import('@ruvector/attention').Attention} Attention */
/** @typedef {import('@ruvector/attention').Tensor} Tensor */
/** @typedef {import('./mechanisms.js').Mechanism} Mechanism */

/** Milliseconds of calls while the engine may still compile, and of the calls whose median is reported. */
const [WARM_UP, SPAN] = [60, 40]
const FEWEST_CALLS = 5

/**
 * Draws numbers between −1 and 1, the same on every backend.
 *
 * @param {Mechanism['inputs']} shapes
 * @returns {Record<string, Tensor>}
 */
function draw(shapes) {
  const next = random(7)
  const tensor = (/** @type {number[]} */ shape) => ({
    data: Float32Array.from({ length: shape.reduce((product, size) => product * size) }, () => 2 * next() - 1),
    shape
  })
  return Object.fromEntries(Object.entries(shapes).map(([name, shape]) => [name, tensor(shape)]))
}

/** @param {readonly number[]} numbers */
const median = (numbers) => numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)]

/** @param {() => unknown} call @param {number} span @returns {number[]} milliseconds of each call */
function times(call, span) {
  const found = []
  const start = performance.now()
  for (let last = start; last - start < span || found.length < FEWEST_CALLS;) {
    call()
    const now = performance.now()
    found.push(now - last)
    last = now
  }
  return found
}

/**
 * `memory` counts the bytes allocated by the backend: `before` the mechanism is created, `held` after its first call,
 * the `peak` until then, and `after` its objects are disposed. A backend never resets its peak, so only a fresh process
 * gives the peak of one mechanism.
 *
 * @param {Attention} attention  the API of a backend
 * @param {Mechanism} mechanism
 */
export function measure(attention, { inputs, prepare }) {
  const tensors = draw(inputs)
  const before = attention.memoryUsage().allocated
  const { call, owned = [] } = prepare(attention, tensors)
  try {
    const output = call()
    const { allocated: held, peak } = attention.memoryUsage()
    const parameters = owned.reduce((sum, { numParameters = 0 }) => sum + numParameters, 0)
    times(call, WARM_UP)
    const milliseconds = median(times(call, SPAN))
    for (const object of owned) object.dispose()
    const after = attention.memoryUsage().allocated
    return { output, parameters, milliseconds, memory: { before, held, peak, after } }
  } finally {
    // For calls that failed: disposing twice does nothing.
    for (const object of owned) object.dispose()
  }
}
