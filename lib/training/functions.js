// Functions of the API on the tape: each reads its arguments, and records the primitives that it consists of.

import { edgeSoftmaxOf, propagateOf } from './graphs.js'
import { arraysOf, copied, scalarsOf } from './attention.js'
import { pickOptions, readOptions, refuseMore, splitOptions } from '../checks/options.js'
import { checkArray, checkIntegers, checkTensor, copyOf } from '../checks/tensor.js'
import { readRotaryCall } from '../face/rotary.js'
import { fault, isArray } from '../checks/errors.js'
import { membersOf } from './lists.js'

/** @typedef {import('./recorder.js').Recorder} Recorder */
/** @typedef {import('./recorder.js').Activation} Activation */
/** @typedef {import('./scope.js').Inputs} Inputs */
/** @typedef {import('./tape.js').Value} Value */
/**
 * Records a call of a function. May be more lenient than the function itself, which is called if this throws.
 *
 * @typedef {(recorder: Recorder, inputs: Inputs, args: readonly any[]) => Value} Trace
 */

/**
 * @param {string} name
 * @param {number} count  of arguments
 * @param {Trace} trace
 * @returns {[string, Trace]}
 */
const withoutOptions = (name, count, trace) => [
  name,
  (recorder, inputs, args) => {
    refuseMore(name, args.slice(count))
    return trace(recorder, inputs, args)
  }
]

/** @param {'relu' | 'tanh' | 'sigmoid' | 'elu' | 'silu'} name */
const activation = (name) =>
  withoutOptions(name, 1, (recorder, inputs, [x]) => recorder.activate(name, inputs.tensor('x', x)))

/** @param {'add' | 'multiply'} name */
const combination = (name) =>
  withoutOptions(name, 2, (recorder, inputs, [a, b]) => recorder[name](inputs.tensor('a', a), inputs.tensor('b', b)))

/**
 * @param {'layer' | 'rms'} kind
 * @param {readonly string[]} vectors
 * @returns {Trace}
 */
const norm =
  (kind, vectors) =>
  (recorder, inputs, [x, options]) => {
    const { epsilon, ...parameters } = pickOptions(options, [...vectors, 'epsilon'])
    const input = inputs.tensor('x', x)
    const [weight, bias] = vectors.map((name) => inputs.optional(name, parameters[name]))
    return recorder.norm(kind, input, { weight, bias }, /** @type {any} */ (epsilon))
  }

/** @type {Trace} */
function gelu(recorder, inputs, [x, options]) {
  const { approximate = 'none' } = pickOptions(options, ['approximate'])
  if (approximate !== 'none' && approximate !== 'tanh') throw fault('OPTION', 'approximate', '', '')
  return recorder.activate(approximate === 'tanh' ? 'gelu-tanh' : 'gelu', inputs.tensor('x', x))
}

/** @type {Trace} */
function attention(recorder, inputs, [q, k, v, options]) {
  const [query, key, value] = [inputs.tensor('q', q), inputs.tensor('k', k), inputs.tensor('v', v)]
  const given = readOptions(options)
  return recorder.attention([query, key, value], arraysOf(inputs, given), scalarsOf(given))
}

/** @type {Trace} */
function meanPool(recorder, inputs, [x, options]) {
  const input = inputs.tensor('x', x)
  const { values, json } = splitOptions('options', options, ['lengths', 'cuSeqlens'])
  const [lengths, cuSeqlens] = ['lengths', 'cuSeqlens'].map((name) =>
    values[name] === undefined ? undefined : /** @type {Int32Array} */ (checkArray(name, values[name], 'Int32Array'))
  )
  return recorder.meanPool(input, { lengths: copyOf(lengths), cuSeqlens: copyOf(cuSeqlens) }, json)
}

/** @type {Trace} */
function rotaryEmbedding(recorder, inputs, [x, options]) {
  const input = inputs.tensor('x', x)
  const { positions, frequencies, json } = readRotaryCall(input.shape, options)
  return recorder.rotary(input, { positions: positions && copied(positions), frequencies }, json)
}

/** @type {Trace} */
function concat(recorder, inputs, [parts, axis]) {
  if (!isArray(parts)) throw fault('OPTION', 'parts', '', '')
  const values = membersOf('parts', parts).map((part, at) => inputs.tensor(`parts[${at}]`, part))
  values.forEach((_, at) => inputs.values.delete(`parts[${at}]`))
  inputs.values.set('parts', values)
  return recorder.concat(values, axis ?? 0)
}

/** @type {Trace} */
function transpose(recorder, inputs, [x, order]) {
  const { length } = checkTensor('x', x).shape
  const lastTwo = Array.from({ length }, (_, axis) => (axis < length - 2 ? axis : 2 * length - 3 - axis))
  const axes = isArray(order) ? membersOf('order', order) : (order ?? lastTwo)
  return recorder.transpose(inputs.tensor('x', x), axes)
}

/** The functions that have gradients, by their names in the API. @type {ReadonlyMap<string, Trace>} */
export const FUNCTIONS = new Map([
  withoutOptions('linear', 3, (recorder, inputs, [x, weight, bias]) =>
    recorder.linear(inputs.tensor('x', x), inputs.weight('weight', weight), inputs.optional('bias', bias))
  ),
  withoutOptions('softmax', 1, (recorder, inputs, [x]) => recorder.softmax(inputs.tensor('x', x))),
  ['layerNorm', norm('layer', ['weight', 'bias'])],
  ['rmsNorm', norm('rms', ['weight'])],
  ['gelu', gelu],
  activation('silu'),
  activation('relu'),
  activation('elu'),
  activation('tanh'),
  activation('sigmoid'),
  combination('add'),
  combination('multiply'),
  withoutOptions('concat', 2, concat),
  withoutOptions('transpose', 2, transpose),
  ['meanPool', meanPool],
  withoutOptions('embedding', 2, (recorder, inputs, [table, ids]) =>
    recorder.embedding(inputs.weight('table', table), copied(checkIntegers('ids', ids)))
  ),
  ['rotaryEmbedding', rotaryEmbedding],
  ['scaledDotProductAttention', attention],
  ['propagate', propagateOf],
  withoutOptions('edgeSoftmax', 2, edgeSoftmaxOf)
])
