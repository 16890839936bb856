// One mechanism on one backend: its result, and the parameters, memory and time that it needs.

import { random } from '../decode/model.js'

/** @typedef {import('@ruvector/attention').Attention} Attention */
/** @typedef {import('@ruvector/attention').Tensor} Tensor */
/** @typedef {import('./mechanisms.js').Mechanism} Mechanism */

/** Milliseconds of calls before a median is taken, while an engine may still compile, and of the calls that it is taken of. */
const [WARM_UP, SPAN] = [60, 40]
const FEWEST_CALLS = 5

/**
 * The same numbers between −1 and 1 on every backend.
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
 * `memory` is what the backend has allocated, in bytes: before the mechanism is made, after its first call, at most until then,
 * and after its end. A backend never forgets its peak, so that `peak` is the mechanism's own in a fresh process only.
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
    // Again where a call failed; a second time does nothing.
    for (const object of owned) object.dispose()
  }
}
