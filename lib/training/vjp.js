// `vjp`: computes an output, and keeps what the gradients of the inputs and parameters are computed from.

import { AttentionError, describe, fault, isArray, isFunction, isInstance, isObject } from '../checks/errors.js'
import { checkAttached, checkTensor, copyOf, formatShape } from '../checks/tensor.js'
import { pickOptions } from '../checks/options.js'
import { Callable, residents } from '../face/callable.js'
import { settings } from '../face/heads.js'
import { disposeSymbol, isLayer, recorded, residentOf } from '../face/layers.js'
import { Watch, throwIfAborted, watchOf } from '../runtime/async/watch.js'
import { FUNCTIONS } from './functions.js'
import { LAYERS } from './layers.js'
import { adapted } from './lora.js'
import { SPACE_FUNCTIONS, attentionObject, hyperbolicAttention, linearAttention, spaceFunction } from './mechanisms.js'
import { Recorder } from './recorder.js'
import { Inputs, Parameters } from './scope.js'
import { Value } from './tape.js'

/** @typedef {import('../checks/tensor.js').Checked} Checked */
/** @typedef {import('../runtime/resident.js').Resident} Resident */
/** @typedef {import('./tape.js').Gradients} PulledGradients */
/**
 * How a target is recorded, and how it is called if that fails, for the error of the call itself.
 *
 * @typedef {object} Plan
 * @property {Resident} [resident]
 * @property {() => Parameters} [parameters]
 * @property {() => unknown} [state]  the adapters, which change apart from the resident part
 * @property {(recorder: Recorder, inputs: Inputs, parameters: Parameters) => Value} record
 * @property {() => unknown} call
 */

/**
 * The gradients of a call.
 *
 * @typedef {{ inputs: Record<string, Checked | Checked[]>, parameters: Record<string, Checked> }} AllGradients
 */

/**
 * Computes the output of a layer by its parts, without a backward pass. An asynchronous call has a `watch`.
 *
 * @typedef {(layer: object, watch: Watch | undefined, args: readonly unknown[]) => { output: Checked }} Evaluate
 */

const NO_PARAMETERS = new Parameters(new Map())

/** @param {string} actual */
const noGradient = (actual) =>
  fault('OPTION', 'target', 'a layer, a mechanism or a function that has gradients, of this API', actual)

/** @param {string} what */
const ofAnother = (what) =>
  fault('OPTION', 'target', `${what} of this API: one entry's loadBackend makes both`, `${what} of another API`)

/**
 * @param {import('../runtime/backend.js').Backend} backend
 * @param {Record<string, any>} api  of the same backend
 */
export function createVjp(backend, api) {
  /** The members of the API with their names, since bundlers rename functions. */
  const names = new Map(Object.entries(api).map(([name, member]) => [member, name]))

  /**
   * @param {object} layer
   * @param {readonly unknown[]} args
   * @param {Watch} [watch]
   * @returns {Plan}
   */
  function planLayer(layer, args, watch) {
    const resident = residentOf(/** @type {any} */ (layer))
    if (!resident.isOf(backend)) throw ofAnother('a layer')
    const { operation, config } = resident.layout()
    const trace = /** @type {any} */ (layer)[recorded]?.bind(layer) ?? LAYERS.get(operation)
    if (trace === undefined) throw noGradient(layer.constructor.name)
    return {
      resident,
      parameters: () => Parameters.of(layer, resident),
      state: () => adapted.get(layer),
      record: (recorder, inputs, parameters) =>
        trace(recorder, inputs, { layer, resident, config, parameters, ...(watch && { watch }) }, args),
      // With adapters, the layer's own method may be another. That of an asynchronous call words its errors itself.
      call: () => watch ?? Callable.prototype.forward.apply(layer, /** @type {any} */ (args))
    }
  }

  /**
   * @param {any} space
   * @param {unknown} name
   * @param {readonly unknown[]} args
   * @returns {Plan}
   */
  function planSpace(space, name, args) {
    const resident = isInstance(space, api.HyperbolicAttention) ? residents.get(space) : undefined
    if (resident === undefined) {
      throw fault('OPTION', 'target[0]', 'a HyperbolicAttention of this API', describe(space))
    }
    if (typeof name !== 'string' || !SPACE_FUNCTIONS.includes(name)) {
      const expected = SPACE_FUNCTIONS.map((known) => `'${known}'`).join(', ')
      throw fault('OPTION', 'target[1]', `a function of the space that has gradients: ${expected}`, describe(name))
    }
    return {
      resident,
      record: (recorder, inputs) => spaceFunction(recorder, inputs, resident, name, args),
      call: () => /** @type {any} */ (space)[name](...args)
    }
  }

  /** How the mechanisms with a resident part are recorded. */
  const traces = /** @type {const} */ ([
    [api.LinearAttention, linearAttention],
    [api.HyperbolicAttention, hyperbolicAttention]
  ])

  /**
   * @param {any} target
   * @param {readonly unknown[]} args
   * @returns {Plan}
   */
  function planObject(target, args) {
    const call = () => target.forward(...args)
    const isOf = (/** @type {Function} */ Class) => isInstance(target, Class)
    if (settings.has(target) && (isOf(api.ScaledDotProductAttention) || isOf(api.FlashAttention))) {
      const record = (/** @type {Recorder} */ recorder, /** @type {Inputs} */ inputs) =>
        /** @type {Value} */ (attentionObject(recorder, inputs, target, args))
      return { record, call }
    }
    const resident = residents.get(target)
    if (resident === undefined) throw noGradient(describe(target))
    const [, trace] = traces.find(([Class]) => isOf(Class)) ?? []
    if (trace === undefined) throw ofAnother('a mechanism')
    return { resident, record: (recorder, inputs) => trace(recorder, inputs, resident, args), call }
  }

  /**
   * @param {unknown} target
   * @param {readonly unknown[]} args
   * @returns {Plan}
   */
  function plan(target, args) {
    if (isFunction(target)) {
      const name = names.get(target)
      const trace = FUNCTIONS.get(name ?? '')
      if (trace === undefined) {
        const isOther = name === undefined && FUNCTIONS.has(target.name)
        throw isOther ? ofAnother('a function') : noGradient(name ?? target.name)
      }
      return { record: (recorder, inputs) => trace(recorder, inputs, args), call: () => target(...args) }
    }
    if (isArray(target)) return planSpace(target[0], target[1], args)
    if (!isObject(target)) throw noGradient(describe(target))
    return isLayer(target) ? planLayer(target, args) : planObject(target, args)
  }

  /**
   * @param {Plan} plan
   * @param {Recorder} recorder
   * @param {Inputs} inputs
   * @param {Parameters} parameters
   * @returns {Value}
   */
  function recordPlan({ record, call }, recorder, inputs, parameters) {
    try {
      const output = record(recorder, inputs, parameters)
      const { unused } = parameters
      if (unused !== undefined) throw fault('OPTION', unused, 'none: this parameter has no gradient yet', 'a parameter')
      return output
    } catch (error) {
      // The call itself words its errors for its caller; only options without gradient are refused here.
      if (error instanceof AttentionError && !isRefusal(error)) call()
      throw error
    }
  }

  /** @type {Evaluate} */
  function evaluate(layer, watch, args) {
    const planned = planLayer(layer, args, watch)
    const parameters = planned.parameters?.() ?? NO_PARAMETERS
    try {
      const { data, shape } = recordPlan(planned, new Recorder(backend, false), new Inputs(), parameters)
      return { output: { data, shape: [...shape] } }
    } catch (error) {
      if (!(error instanceof AttentionError && isRefusal(error))) throw error
      const expected = 'none: with adapters over weights of 16 or 8 bits, a layer computes its output alone'
      throw fault('OPTION', String(error.argument), expected, String(error.actual))
    }
  }

  /**
   * @param {unknown} target
   * @param {...unknown} args
   */
  function vjp(target, ...args) {
    const planned = plan(target, args)
    const { resident, state } = planned
    const recorder = new Recorder(backend)
    const inputs = new Inputs()
    const [version, adapters] = [resident?.version, state?.()]
    const parameters = planned.parameters?.() ?? NO_PARAMETERS
    const output = recordPlan(planned, recorder, inputs, parameters)
    const check = () => {
      if (resident !== undefined && (resident.version !== version || state?.() !== adapters)) {
        throw spent('this', 'a layer with the parameters of the call', 'a layer whose parameters were changed since')
      }
    }
    return new Vjp(recorder, output, { inputs, parameters, check })
  }

  return { vjp, evaluate }
}

/** Returns true for an option that has no gradient. @param {AttentionError} error */
const isRefusal = ({ expected = '' }) => expected.startsWith('none: ')

/**
 * @param {string} argument
 * @param {string} expected
 * @param {string} actual
 */
function spent(argument, expected, actual) {
  const message = `${argument}: expected ${expected}, got ${actual}; call vjp again`
  return new AttentionError('DISPOSED', { argument, expected, actual, message })
}

class Vjp {
  /** @type {Recorder | undefined} */
  #recorder
  #value
  #scope
  /** @type {Checked | undefined} */
  #output

  /**
   * @param {Recorder} recorder
   * @param {Value} value  the output
   * @param {{ inputs: Inputs, parameters: Parameters, check: () => void }} scope
   */
  constructor(recorder, value, scope) {
    this.#recorder = recorder
    this.#value = value
    this.#scope = scope
  }

  /** The output: a copy, made when it is first asked for, since the tape needs its own unchanged. */
  get output() {
    this.#output ??= { data: copyOf(this.#value.data), shape: [...this.#value.shape] }
    return this.#output
  }

  /** The recorder of a pass that can still be used. */
  #open() {
    if (this.#recorder === undefined) throw spent('this', 'a vjp that was not used', 'one that was used or disposed')
    this.#scope.check()
    return this.#recorder
  }

  /**
   * Checks the arguments of a backward pass, and takes the tape, which serves once.
   *
   * @param {unknown} gradient
   * @param {boolean} isLater  true if the caller can change the gradient before the pass is over
   */
  #start(gradient, isLater) {
    this.#open()
    const { data, shape } = checkTensor('gradient', gradient)
    if (`${shape}` !== `${this.#value.shape}`) {
      throw fault('SHAPE', 'gradient', `the output's ${formatShape(this.#value.shape)}`, formatShape(shape))
    }
    // A getter of the gradient may have used this pass.
    const { tape } = this.#open()
    checkAttached('gradient', { data, shape })
    this.#recorder = undefined
    const steps = tape.length
    const own = isLater ? copyOf(data) : data
    return { steps, pass: tape.backward(this.#value, { data: own, shape }) }
  }

  /**
   * @param {ReturnType<import('./tape.js').Tape['backward']> extends Generator<any, infer Sums, any> ? Sums : never}
   *   sums
   * @returns {AllGradients}
   */
  #finish(sums) {
    const { inputs, parameters } = this.#scope
    /** @param {Value | Value[]} value */
    const finish = (value) => (value instanceof Value ? sums.finish(value) : value.map((part) => sums.finish(part)))
    return {
      inputs: Object.fromEntries([...inputs.values].map(([name, value]) => [name, finish(value)])),
      parameters: Object.fromEntries(parameters.trained.map(([name, value]) => [name, sums.finish(value)]))
    }
  }

  /** @param {unknown} gradient */
  backward(gradient) {
    const { pass } = this.#start(gradient, false)
    let step = pass.next()
    while (!step.done) step = pass.next(step.value.run())
    return this.#finish(step.value)
  }

  /**
   * @param {unknown} gradient
   * @param {unknown} [options]
   */
  async backwardAsync(gradient, options) {
    const { signal, onProgress } = watchOf(pickOptions(options, ['signal', 'onProgress']))
    const { steps, pass } = this.#start(gradient, true)
    let done = 0
    let step = pass.next()
    while (!step.done) {
      const watch = new Watch()
      watch.signal = signal
      const results = await step.value.later(watch)
      throwIfAborted(signal)
      onProgress?.(++done / Math.max(steps, done))
      step = pass.next(results)
    }
    onProgress?.(1)
    return this.#finish(step.value)
  }

  dispose() {
    this.#recorder?.tape.clear()
    this.#recorder = undefined
  }

  [disposeSymbol]() {
    this.dispose()
  }
}
