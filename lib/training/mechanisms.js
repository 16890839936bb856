// Mechanisms without parameters on the tape: attention objects, linear attention, and hyperbolic space.

import { arraysOf, copied, scalarsOf } from './attention.js'
import { fault } from '../checks/errors.js'
import { readOptions, refuseMore, splitOptions, withDefaults } from '../checks/options.js'
import { checkArray, copyOf, formatShape } from '../checks/tensor.js'
import { settings } from '../face/heads.js'

/** @typedef {import('./recorder.js').Recorder} Recorder */
/** @typedef {import('./scope.js').Inputs} Inputs */
/** @typedef {import('./tape.js').Value} Value */
/** @typedef {import('../runtime/resident.js').Resident} Resident */

/** Queries, keys and values. @param {Inputs} inputs @param {readonly any[]} args @returns {[Value, Value, Value]} */
const heads = (inputs, [q, k, v]) => [inputs.tensor('q', q), inputs.tensor('k', k), inputs.tensor('v', v)]

/**
 * ScaledDotProductAttention and FlashAttention.
 *
 * @param {Recorder} recorder
 * @param {Inputs} inputs
 * @param {object} target
 * @param {readonly any[]} args
 */
export function attentionObject(recorder, inputs, target, args) {
  const own = settings.get(target)
  if (own === undefined) return undefined
  const { operation, headDim, defaults } = own
  const tensors = heads(inputs, args)
  const { shape } = tensors[0]
  if (shape.at(-1) !== headDim) throw fault('SHAPE', 'q', `head size ${headDim}`, formatShape(shape))
  const given = readOptions(withDefaults(defaults, args[3]))
  return recorder.attention(tensors, arraysOf(inputs, given), scalarsOf(given), operation)
}

/**
 * @param {Recorder} recorder
 * @param {Inputs} inputs
 * @param {Resident} resident
 * @param {readonly any[]} args
 */
export function linearAttention(recorder, inputs, resident, args) {
  const tensors = heads(inputs, args)
  const gates = ['decay', 'beta', 'state']
  const { values, json } = splitOptions('options', args[3], ['kvLengths', 'out', ...gates])
  const options = JSON.stringify(scalarsOf(/** @type {any} */ ({ json, out: values.out })))
  const { kvLengths } = values
  const lengths = kvLengths === undefined ? undefined : checkArray('kvLengths', kvLengths, 'Int32Array')
  const copy = copyOf(/** @type {Int32Array | undefined} */ (lengths))
  const optional = gates.map((name) => inputs.optional(name, values[name]))
  /** @param {ReturnType<Recorder['call']>} call */
  const complete = (call) => {
    for (const tensor of tensors) call.input(tensor)
    call.integers(copy)
    for (const tensor of optional) call.input(tensor)
    return call.options(options)
  }
  const output = complete(recorder.call('linearAttention', resident)).run()
  return recorder.record([...tensors, ...optional], output, (gradient) =>
    complete(recorder.call('linearAttentionBackward', resident).input(gradient)).returning((results) => results)
  )
}

/**
 * @param {Recorder} recorder
 * @param {Inputs} inputs
 * @param {Resident} resident
 * @param {readonly any[]} args
 */
export function hyperbolicAttention(recorder, inputs, resident, args) {
  const tensors = heads(inputs, args)
  const given = readOptions(args[3], undefined, [], ['relativeBias', 'cuSeqlens', 'cuSeqlensKeys', 'sinks'])
  const json = JSON.stringify(scalarsOf(given))
  // A float mask is a constant here.
  const mask = given.mask && copied(given.mask)
  const [queryOffset, kvLengths] = [copyOf(given.queryOffset), copyOf(given.kvLengths)]
  /** @param {ReturnType<Recorder['call']>} call */
  const complete = (call) => {
    for (const tensor of tensors) call.input(tensor)
    return call.given(/** @type {any} */ ({ json, mask, queryOffset, kvLengths }))
  }
  const [output] = complete(recorder.call('hyperbolicAttention', resident))
    .returning((results) => results)
    .run()
  return recorder.record(tensors, output, (gradient) =>
    complete(recorder.call('hyperbolicAttentionBackward', resident).input(gradient)).returning((results) => results)
  )
}

/** The functions of a space that have gradients: their operations, and the names of their arguments. */
const SPACE = {
  distance: { operation: 'hyperbolicFunction', names: ['a', 'b'], required: 2 },
  distanceMatrix: { operation: 'hyperbolicDistances', names: ['a', 'b'], required: 2 },
  expMap0: { operation: 'hyperbolicFunction', names: ['tangent'], required: 1 },
  logMap0: { operation: 'hyperbolicFunction', names: ['point'], required: 1 },
  midpoint: { operation: 'hyperbolicMidpoint', names: ['points', 'weights'], required: 1 }
}

/** Names of the functions of a space that have gradients. */
export const SPACE_FUNCTIONS = Object.keys(SPACE)

/**
 * @param {Recorder} recorder
 * @param {Inputs} inputs
 * @param {Resident} resident
 * @param {string} name
 * @param {readonly any[]} args
 */
export function spaceFunction(recorder, inputs, resident, name, args) {
  const { operation, names, required } = SPACE[/** @type {keyof typeof SPACE} */ (name)]
  refuseMore(name, args.slice(names.length))
  const tensors = names.map((argument, at) =>
    at < required ? inputs.tensor(argument, args[at]) : inputs.optional(argument, args[at])
  )
  const json = operation === 'hyperbolicFunction' ? JSON.stringify({ function: name }) : undefined
  return recorder.apply([operation, `${operation}Backward`], [resident], tensors, json)
}
