// Layers on the tape, by the operations that create them: how each reads the arguments of its `forward`.

import { arraysOf, copied, scalarsOf } from './attention.js'
import { GRAPH_LAYERS } from './graphs.js'
import { crossBlock, decoderBlock, encoderBlock, latentAttention, multiHead } from './blocks.js'
import { describe, fault } from '../checks/errors.js'
import { readOptions, refuseMore } from '../checks/options.js'
import { checkIntegers, copyOf } from '../checks/tensor.js'
import { throwIfAborted } from '../runtime/async/watch.js'
import { lengthOf, rotaries } from '../face/layers.js'

/** @typedef {import('./recorder.js').Recorder} Recorder */
/** @typedef {import('./scope.js').Inputs} Inputs */
/** @typedef {import('./scope.js').Parameters} Parameters */
/** @typedef {import('./tape.js').Value} Value */
/**
 * A layer at one call.
 *
 * @typedef {object} Target
 * @property {object} layer
 * @property {import('../runtime/resident.js').Resident} resident
 * @property {Record<string, any>} config
 * @property {Parameters} parameters
 * @property {import('../runtime/async/watch.js').Watch} [watch]  of an asynchronous forward pass
 */
/**
 * Records a call of a layer. May be more lenient than the layer itself, which is called if this throws.
 *
 * @typedef {(recorder: Recorder, inputs: Inputs, target: Target, args: readonly any[]) => Value} TraceLayer
 */

/** The scalar options of a call of layers. */
const SCALARS = ['causal', 'queryOffset', 'window', 'scale', 'softcap', 'seed']

/**
 * Reads a call of a layer with attention, whose tensors are followed by options.
 *
 * @param {Inputs} inputs
 * @param {Target} target
 * @param {readonly (Value | undefined)[]} tensors
 * @param {unknown} options
 * @param {readonly string[]} without  array options that the layer does not have
 */
function readCall(inputs, { layer, resident, watch }, tensors, options, without = []) {
  const given = readOptions(options, watch, ['positions', 'cache', 'contextLengths', 'contextCache'])
  throwIfAborted(watch?.signal)
  for (const name of /** @type {const} */ (['cache', 'contextCache'])) {
    if (given[name] !== undefined) throw fault('OPTION', name, 'none: a cache has no gradient', describe(given[name]))
  }
  const scalars = scalarsOf(given)
  const arrays = arraysOf(inputs, given)
  const refused = ['sinks', ...without].filter((name) => given[/** @type {'sinks'} */ (name)] !== undefined)
  const unknown = [...Object.keys(scalars).filter((name) => !SCALARS.includes(name)), ...refused]
  if (unknown.length > 0) throw fault('OPTION', unknown[0], 'no such option', 'one')
  const rotary = rotaries.get(layer)
  const frequencies = rotary?.frequencies(() => lengthOf(/** @type {any} */ (tensors), given))
  const positions = given.positions && copied(given.positions)
  const contextLengths = copyOf(given.contextLengths)
  return { scalars, arrays, positions, frequencies, contextLengths, isTraining: resident.training }
}

/**
 * An attention layer with inputs of these names, of which the first is required.
 *
 * @param {readonly string[]} names
 * @returns {TraceLayer}
 */
const attentionOver = (names) => (recorder, inputs, target, args) => {
  const [query, key, value] = names.map((name, at) =>
    at === 0 ? inputs.tensor(name, args[at]) : inputs.optional(name, args[at])
  )
  const call = readCall(inputs, target, [query, key], args[names.length], ['contextLengths'])
  if (names.length === 2 && key === undefined) throw fault('DTYPE', names[1], 'a tensor', 'none')
  return multiHead(
    recorder,
    target.parameters,
    target.config,
    { query: /** @type {Value} */ (query), key, value },
    call
  )
}

/**
 * A block over a single input.
 *
 * @param {typeof encoderBlock} block
 * @returns {TraceLayer}
 */
const blockOver =
  (block) =>
  (recorder, inputs, target, [x, options]) => {
    const input = inputs.tensor('x', x)
    const call = readCall(inputs, target, [input], options, ['contextLengths'])
    return block(recorder, target.parameters, target.config, input, call)
  }

/** @type {TraceLayer} */
function transformerDecoder(recorder, inputs, target, [x, context, options]) {
  const pair = /** @type {[Value, Value]} */ ([inputs.tensor('x', x), inputs.tensor('context', context)])
  const call = readCall(inputs, target, [pair[0]], options)
  return crossBlock(recorder, target.parameters, target.config, pair, call)
}

/** @type {TraceLayer} */
function linear(recorder, inputs, { parameters }, [x, ...more]) {
  refuseMore('forward', more)
  const weight = /** @type {import('./recorder.js').Matrix} */ (parameters.matrix('weight'))
  return recorder.linear(inputs.tensor('x', x), weight, parameters.value('bias'))
}

/** @type {TraceLayer} */
function embedding(recorder, _inputs, { parameters }, [ids, ...more]) {
  refuseMore('forward', more)
  const weight = /** @type {import('./recorder.js').Matrix} */ (parameters.matrix('weight'))
  return recorder.embedding(weight, copied(checkIntegers('ids', ids)))
}

/** The layers that have gradients, by the operations that create them. @type {ReadonlyMap<string, TraceLayer>} */
export const LAYERS = new Map([
  ['createMultiHeadAttention', attentionOver(['q', 'k', 'v'])],
  ['createSelfAttention', attentionOver(['x'])],
  ['createCrossAttention', attentionOver(['query', 'context'])],
  ['createTransformerEncoderLayer', blockOver(encoderBlock)],
  ['createDecoderLayer', blockOver(decoderBlock)],
  ['createLatentAttention', blockOver(latentAttention)],
  ['createTransformerDecoderLayer', transformerDecoder],
  ['createLinear', linear],
  ['createEmbedding', embedding],
  ...GRAPH_LAYERS
])
