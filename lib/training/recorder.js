// The primitives: each computes its result with an operation of the backend, and records the operation that gives the
// gradients of its inputs.

import { concat, transpose } from '../face/arrange.js'
import { embedding } from '../face/dense.js'
import { encodeConfig } from '../checks/options.js'
import { GROUP, allocateTensor, elements } from '../checks/tensor.js'
import { Tape, Value } from './tape.js'

/**
 * @template {import('../../index.d.ts').TensorData} [T=Float32Array]
 * @typedef {import('../checks/tensor.js').Checked<T>} Checked
 */
/** @typedef {import('../checks/tensor.js').CheckedWeight} CheckedWeight */
/** @typedef {import('../runtime/backend.js').Backend} Backend */
/** @typedef {import('../runtime/operations.js').Operation} Operation */
/** @typedef {import('../runtime/resident.js').Resident} Resident */
/** @typedef {'relu' | 'gelu' | 'gelu-tanh' | 'quick-gelu' | 'silu' | 'tanh' | 'sigmoid' | 'elu'} Activation */
/**
 * The matrix of a projection: a value, or frozen weights of another type.
 *
 * @typedef {Value | Frozen} Matrix
 */

/** Weights of another type than 32-bit floats, which have no gradient. */
export class Frozen {
  isNeeded = false

  /** @param {CheckedWeight} weight */
  constructor(weight) {
    this.weight = weight
    this.shape = weight.shape
  }

  /**
   * Divides the rows.
   *
   * @param {readonly number[]} sizes
   */
  rows(sizes) {
    const { type, data, scales, shape } = this.weight
    const [, width] = shape
    const groups = Math.ceil(width / GROUP)
    let start = 0
    return sizes.map((size) => {
      const end = start + size
      const rows = { type, data: data.subarray(start * width, end * width), shape: [size, width] }
      const part = scales ? { ...rows, scales: scales.subarray(start * groups, end * groups) } : rows
      start = end
      return new Frozen(part)
    })
  }
}

/**
 * Positions of rows, and frequencies in place of those of the options.
 *
 * @typedef {{ positions?: Checked<Int32Array>, frequencies?: Float64Array }} RotaryArrays
 */

/** Integers that say which rows there are. @typedef {{ lengths?: Int32Array, cuSeqlens?: Int32Array }} Rows */

export class Recorder {
  #tape
  #backend

  /**
   * @param {Backend} backend
   * @param {boolean} [keeps]  false for a forward pass alone
   */
  constructor(backend, keeps = true) {
    this.#backend = backend
    this.#tape = new Tape(keeps)
  }

  get tape() {
    return this.#tape
  }

  get backend() {
    return this.#backend
  }

  /** A value without gradient. @param {Checked} tensor */
  constant(tensor) {
    return Value.constant(tensor)
  }

  /**
   * Records a step with one output.
   *
   * @param {readonly (Value | undefined)[]} inputs
   * @param {Checked} output
   * @param {(gradient: Checked) => import('./tape.js').Pulled} pull
   */
  record(inputs, output, pull) {
    const [value] = this.#tape.record(inputs, [output], (gradient) => pull(/** @type {Checked} */ (gradient)))
    return value
  }

  /**
   * Starts a call of an operation.
   *
   * @param {string} operation
   * @param {...Resident} objects
   */
  call(operation, ...objects) {
    return this.#backend.call(/** @type {Operation} */ (operation), ...objects)
  }

  /**
   * `x · weightᵀ + bias`.
   *
   * @param {Value} x
   * @param {Matrix} weight
   * @param {Value} [bias]
   */
  linear(x, weight, bias) {
    const given = weight instanceof Frozen ? weight.weight : { type: /** @type {const} */ ('f32'), ...weight }
    const weightType = given.type === 'bf16' ? 'bf16' : undefined
    const output = this.call('linear')
      .input(x)
      .weight(given)
      .input(bias)
      .options(weightType && encodeConfig({ weightType }))
      .run()
    const matrix = weight instanceof Frozen ? undefined : weight
    return this.record([x, matrix, bias], output, (gradient) => {
      const call = this.call('linearBackward').input(gradient)
      call.input(weight.isNeeded ? x : undefined)
      if (x.isNeeded) call.weight(given)
      else call.input(undefined).input(undefined)
      const isBiasNeeded = bias?.isNeeded ?? false
      return call.options(encodeConfig({ bias: isBiasNeeded, weightType })).returning((results) => results)
    })
  }

  /**
   * A norm over the last dimension.
   *
   * @param {'layer' | 'rms'} kind
   * @param {Value} x
   * @param {{ weight?: Value, bias?: Value }} parameters
   * @param {number} [epsilon]
   */
  norm(kind, x, { weight, bias }, epsilon) {
    const forward = this.call(kind === 'layer' ? 'layerNorm' : 'rmsNorm').input(x)
    forward.options(encodeConfig({ epsilon })).input(weight)
    if (kind === 'layer') forward.input(bias)
    return this.record([x, weight, bias], forward.run(), (gradient) => {
      const options = encodeConfig({ kind, epsilon, bias: bias?.isNeeded ?? false })
      return this.call('normBackward')
        .input(gradient)
        .input(x)
        .input(weight)
        .options(options)
        .returning((results) => results)
    })
  }

  /**
   * An activation, multiplied by a factor if there is one.
   *
   * @param {Activation} activation
   * @param {Value} x
   * @param {Value} [factor]
   */
  activate(activation, x, factor) {
    const options = encodeConfig({ activation })
    let output = this.call('activation').input(x).options(options).run()
    if (factor) output = this.call('multiply').input(output).input(factor).run()
    return this.record([x, factor], output, (gradient) =>
      this.call('activationBackward')
        .input(gradient)
        .input(x)
        .input(factor)
        .options(options)
        .returning((results) => results)
    )
  }

  /** @param {Value} x */
  softmax(x) {
    const output = this.call('softmax').input(x).run()
    return this.record([x], output, (gradient) =>
      this.call('softmaxBackward')
        .input(gradient)
        .input(output)
        .returning((results) => results)
    )
  }

  /** @param {Value} a @param {Value} b */
  add(a, b) {
    const output = this.call('add').input(a).input(b).run()
    return this.record([a, b], output, (gradient) => [a, b].map((input) => this.#sumTo(gradient, input)))
  }

  /** @param {Value} a @param {Value} b */
  multiply(a, b) {
    const output = this.call('multiply').input(a).input(b).run()
    return this.record([a, b], output, (gradient) =>
      [a, b].map((input, at) => {
        if (!input.isNeeded) return undefined
        const product = this.call('multiply').input(gradient).input([b, a][at]).run()
        return this.#sumTo(product, input)
      })
    )
  }

  /**
   * The sum of a gradient over the dimensions along which a value was broadcast.
   *
   * @param {Checked} gradient
   * @param {Value} value
   * @returns {Checked | undefined}
   */
  #sumTo(gradient, { shape, isNeeded }) {
    if (!isNeeded || `${gradient.shape}` === `${shape}`) return gradient
    return this.call('sumTo').input(gradient).integers(Int32Array.from(shape)).run()
  }

  /**
   * The sum over the dimensions that are 1 in `shape`.
   *
   * @param {Value} x
   * @param {readonly number[]} shape
   */
  sum(x, shape) {
    const output = this.call('sumTo').input(x).integers(Int32Array.from(shape)).run()
    return this.record([x], output, (gradient) =>
      this.call('add')
        .input(gradient)
        .input(allocateTensor('gradient', x.shape))
        .returning((results) => results)
    )
  }

  /**
   * A value repeated along dimensions of 1.
   *
   * @param {Value} x
   * @param {number[]} shape
   */
  expand(x, shape) {
    return this.add(x, Value.constant(allocateTensor('output', shape)))
  }

  /**
   * @param {Value} x
   * @param {number[]} shape
   */
  reshape(x, shape) {
    return this.record([x], { data: x.data, shape }, ({ data }) => [{ data, shape: x.shape }])
  }

  /** @param {Value} x @param {readonly number[]} order */
  transpose(x, order) {
    const output = transpose(x, order)
    const axes = order.map((axis) => (axis < 0 ? axis + order.length : axis))
    const inverse = axes.map((_, axis) => axes.indexOf(axis))
    return this.record([x], output, (gradient) => [transpose(gradient, inverse)])
  }

  /** @param {readonly Value[]} parts @param {number} axis */
  concat(parts, axis) {
    // Checks the axis, which may be the caller's.
    const output = concat(parts, axis)
    const along = axis < 0 ? axis + output.shape.length : axis
    const sizes = parts.map(({ shape }) => shape[along])
    return this.record(parts, output, (gradient) => split(gradient, along, sizes))
  }

  /**
   * Divides a value along an axis.
   *
   * @param {Value} x
   * @param {number} axis
   * @param {readonly number[]} sizes
   */
  split(x, axis, sizes) {
    const along = axis < 0 ? axis + x.shape.length : axis
    const parts = split(x, along, sizes)
    return this.#tape.record([x], parts, (...gradients) => [
      concat(
        parts.map(({ shape }, at) => gradients[at] ?? allocateTensor('gradient', shape)),
        along
      )
    ])
  }

  /**
   * Rows of a table.
   *
   * @param {Matrix} table
   * @param {Checked<Int32Array>} ids
   */
  embedding(table, ids) {
    if (table instanceof Frozen) return Value.constant(embedding(table.weight, ids))
    const output = embedding(table, ids)
    return this.record([table], output, (gradient) =>
      this.call('embeddingBackward')
        .input(gradient)
        .integers(ids.data, ids.shape)
        .options(encodeConfig({ count: table.shape[0] }))
        .returning((results) => results)
    )
  }

  /**
   * @param {Value} x
   * @param {Rows} rows
   * @param {string} json
   */
  meanPool(x, { lengths, cuSeqlens }, json) {
    const output = this.call('meanPool').input(x).integers(lengths).integers(cuSeqlens).options(json).run()
    return this.record([x], output, (gradient) =>
      this.call('meanPoolBackward')
        .input(gradient)
        .input(x)
        .integers(lengths)
        .integers(cuSeqlens)
        .options(json)
        .returning((results) => results)
    )
  }

  /**
   * @param {Value} x
   * @param {RotaryArrays} arrays
   * @param {string} json
   */
  rotary(x, { positions, frequencies }, json) {
    /** @param {string} operation @param {Checked} input */
    const call = (operation, input) =>
      this.call(operation).input(input).integers(positions?.data, positions?.shape).doubles(frequencies).options(json)
    return this.record([x], call('rotaryEmbedding', x).run(), (gradient) =>
      call('rotaryEmbeddingBackward', gradient).returning((results) => results)
    )
  }

  /**
   * Drops values of rows.
   *
   * @param {Value} x
   * @param {{ probability: number, seed: number, stream: number, length: number }} options
   * @param {Int32Array} [cuSeqlens]
   */
  dropout(x, options, cuSeqlens) {
    const json = encodeConfig(options)
    const call = (/** @type {Checked} */ input) => this.call('dropout').input(input).integers(cuSeqlens).options(json)
    return this.record([x], call(x).run(), (gradient) => call(gradient).returning((results) => results))
  }

  /**
   * Scaled dot-product attention. A float mask, a relative bias and sinks may be values.
   *
   * @param {readonly [Value, Value, Value]} inputs
   * @param {AttentionArrays} arrays
   * @param {Record<string, unknown>} options  of the operation
   * @param {'scaledDotProductAttention' | 'flashAttention'} [operation]
   */
  attention(inputs, arrays, options, operation = 'scaledDotProductAttention') {
    const { mask, relativeBias, sinks, ...others } = arrays
    const given = { mask, relativeBias, sinks, ...others }
    const forward = this.call(operation)
    for (const input of inputs) forward.input(input)
    const json = encodeConfig({ ...options, logSumExp: true })
    const [output, , logSumExp] = forward
      .given(/** @type {any} */ ({ ...given, json }))
      .returning((results) => results)
      .run()
    const values = [mask, relativeBias, sinks].map((array) => (array instanceof Value ? array : undefined))
    const isMaskNeeded = values[0]?.isNeeded ?? false
    /** @param {string} name @param {Checked} gradient @returns {import('./tape.js').PullCall} */
    const back = (name, gradient) => {
      const call = this.call(name).input(gradient)
      for (const input of [...inputs, output, logSumExp]) call.input(input)
      return call.given(/** @type {any} */ ({ ...given, json: encodeConfig(options) })).returning((results) => results)
    }
    return this.record([...inputs, ...values], output, function* (gradient) {
      const [q, k, v, bias, shares] = yield back('attentionBackward', gradient)
      const [ofMask] = isMaskNeeded ? yield back('attentionMaskBackward', gradient) : []
      return [q, k, v, ofMask, bias, shares]
    })
  }

  /**
   * A call whose backward operation has the same inputs, after the gradient.
   *
   * @param {readonly [forward: string, backward: string]} operations
   * @param {readonly Resident[]} objects
   * @param {readonly (Value | undefined)[]} inputs
   * @param {string} [json]
   */
  apply([forward, backward], objects, inputs, json) {
    const start = this.call(forward, ...objects)
    for (const input of inputs) start.input(input)
    return this.record(inputs, start.options(json).run(), (gradient) => {
      const call = this.call(backward, ...objects).input(gradient)
      for (const input of inputs) call.input(input)
      return call.options(json).returning((results) => results)
    })
  }
}

/**
 * The arrays of attention.
 *
 * @typedef {object} AttentionArrays
 * @property {Value | Checked<Uint8Array | Float32Array>} [mask]
 * @property {Int32Array} [queryOffset]
 * @property {Int32Array} [kvLengths]
 * @property {Value} [relativeBias]
 * @property {Int32Array} [cuSeqlens]
 * @property {Int32Array} [cuSeqlensKeys]
 * @property {Value} [sinks]
 */

/**
 * Parts of a tensor along an axis: views along the first one, else copies.
 *
 * @param {Checked} tensor
 * @param {number} axis
 * @param {readonly number[]} sizes
 * @returns {Checked[]}
 */
function split({ data, shape }, axis, sizes) {
  const runs = elements(shape.slice(0, axis))
  const inner = elements(shape.slice(axis + 1))
  const step = shape[axis] * inner
  let start = 0
  return sizes.map((size) => {
    const own = shape.map((dim, at) => (at === axis ? size : dim))
    const width = size * inner
    const from = start
    start += width
    if (runs === 1) return { data: data.subarray(from, from + width), shape: own }
    const part = allocateTensor('output', own)
    for (let run = 0; run < runs; run++) {
      part.data.set(data.subarray(run * step + from, run * step + from + width), run * width)
    }
    return part
  })
}
