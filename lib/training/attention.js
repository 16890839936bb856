// Scaled dot-product attention on the tape, and the options of attention that have no gradient.

import { fault } from '../checks/errors.js'
import { arrayType, copyOf } from '../checks/tensor.js'

/** @typedef {import('./recorder.js').Recorder} Recorder */
/** @typedef {import('./scope.js').Inputs} Inputs */
/** @typedef {import('../checks/options.js').CallOptions} CallOptions */

/** Options that ask for other results than the output, or write it elsewhere. */
const RESULTS = ['weights', 'averageWeights', 'topWeights', 'logSumExp', 'returnState']

/**
 * The scalar options of a call. Those that ask for further results are refused: `vjp` has the output alone.
 *
 * @param {Readonly<CallOptions>} given
 * @returns {Record<string, any>}
 */
export function scalarsOf({ json, out }) {
  if (out !== undefined) throw fault('OPTION', 'out', 'none: vjp allocates its output', 'a Float32Array')
  const scalars = JSON.parse(json ?? '{}')
  for (const name of RESULTS) {
    const value = scalars[name]
    if (value) throw fault('OPTION', name, 'none: vjp has the output alone', `${value}`)
    delete scalars[name]
  }
  return scalars
}

/**
 * The arrays of a call, of which float masks, relative biases and sinks become inputs.
 *
 * @param {Inputs} inputs
 * @param {Readonly<CallOptions>} given
 */
export function arraysOf(inputs, { mask, relativeBias, sinks, queryOffset, kvLengths, cuSeqlens, cuSeqlensKeys }) {
  const isFloat = mask !== undefined && arrayType(mask.data) === 'Float32Array'
  return {
    mask: isFloat ? inputs.tensor('mask', mask) : mask && copied(mask),
    relativeBias: inputs.optional('relativeBias', relativeBias),
    sinks: inputs.optional('sinks', sinks),
    queryOffset: copyOf(queryOffset),
    kvLengths: copyOf(kvLengths),
    cuSeqlens: copyOf(cuSeqlens),
    cuSeqlensKeys: copyOf(cuSeqlensKeys)
  }
}

/**
 * @template {{ data: any, shape: number[] }} T
 * @param {T} tensor
 * @returns {T}
 */
export const copied = ({ data, shape, ...rest }) => /** @type {any} */ ({ ...rest, data: copyOf(data), shape })
