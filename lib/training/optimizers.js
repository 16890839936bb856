// Optimizers: update the parameters of layers by the gradients that `vjp` gives, as `torch.optim` does.

import { describe, fault, isArray, isObject } from '../checks/errors.js'
import { pickOptions } from '../checks/options.js'
import { allocateTensor, checkTensor, copyOf, formatShape } from '../checks/tensor.js'
import { isLayer, residentOf } from '../face/layers.js'
import { membersOf } from './lists.js'

/** @typedef {import('../face/layers.js').Layer<any>} Layer */
/** @typedef {import('../checks/tensor.js').Checked} Checked */
/** @typedef {import('../runtime/backend.js').Backend} Backend */
/** @typedef {import('../runtime/operations.js').Operation} Operation */
/** The state of one parameter. @typedef {Record<string, Checked>} State */
/** A parameter with its gradient and its state. @typedef {{ key: string, parameter: Checked, gradient: Checked, state?: State }} Entry */
/**
 * The rule of an optimizer: the parts of its states, and the new values of a parameter.
 *
 * @typedef {object} Rule
 * @property {readonly string[]} parts
 * @property {(entry: Entry, options: { learningRate: number, scale: number }) => { parameter: Checked, state: State }} update
 */

/** @param {string} name @param {unknown} value */
function checkPositive(name, value) {
  if (typeof value === 'number' && value >= 0 && value < Infinity) return value
  throw fault('OPTION', name, 'a finite number of at least 0', describe(value))
}

/** @param {unknown} betas */
function checkBetas(betas) {
  if (!isArray(betas) || betas.length !== 2) throw fault('OPTION', 'betas', 'a list of two numbers', describe(betas))
  return [0, 1].map((at) => {
    const beta = betas[at]
    if (typeof beta === 'number' && beta >= 0 && beta < 1) return beta
    throw fault('OPTION', `betas[${at}]`, 'a number of at least 0 and less than 1', describe(beta))
  })
}

/** @param {unknown} norm */
function checkClipNorm(norm) {
  if (norm === undefined || (typeof norm === 'number' && norm > 0 && norm < Infinity)) return norm
  throw fault('OPTION', 'clipNorm', 'a positive finite number', describe(norm))
}

/**
 * @param {Backend} backend
 * @param {unknown} layers
 * @returns {readonly Layer[]}
 */
function checkLayers(backend, layers) {
  const list = isArray(layers) ? membersOf('layers', layers) : [layers]
  list.forEach((layer, at) => {
    const name = isArray(layers) ? `layers[${at}]` : 'layers'
    if (!isLayer(layer)) throw fault('DTYPE', name, 'a Layer', describe(layer))
    if (!residentOf(layer).isOf(backend)) {
      throw fault('OPTION', name, "a layer of this API: one entry's loadBackend makes both", 'a layer of another API')
    }
    if (list.indexOf(layer) !== at) throw fault('OPTION', name, 'each layer once', 'a layer that is there already')
  })
  return list
}

/** The name of a parameter in its key. @param {string} key */
const nameIn = (key) => key.slice(key.indexOf('.') + 1)

/**
 * @param {string} name
 * @param {Checked} tensor
 * @param {readonly number[]} shape
 */
function checkShapeOf(name, tensor, shape) {
  if (`${tensor.shape}` !== `${shape}`) throw fault('SHAPE', name, formatShape(shape), formatShape(tensor.shape))
}

/** The part that all optimizers share. */
class Optimizer {
  #backend
  #rule
  #layers
  #learningRate
  #clipNorm
  /** The state of each parameter, by the index of its layer and its name. @type {Map<string, State>} */
  #states = new Map()

  /**
   * @param {Backend} backend
   * @param {Rule} rule
   * @param {unknown} layers
   * @param {{ learningRate?: unknown, clipNorm?: unknown }} options
   */
  constructor(backend, rule, layers, { learningRate = 1e-3, clipNorm }) {
    this.#backend = backend
    this.#rule = rule
    this.#layers = checkLayers(backend, layers)
    this.#learningRate = checkPositive('learningRate', learningRate)
    this.#clipNorm = checkClipNorm(clipNorm)
  }

  /** @returns {number} */
  get learningRate() {
    return this.#learningRate
  }

  set learningRate(value) {
    this.#learningRate = checkPositive('learningRate', value)
  }

  /** @param {unknown} gradients */
  step(gradients) {
    const states = this.#layers.map((layer) => layer.stateDict({ type: 'own' }))
    const entries = this.#read(gradients, states)
    const options = { learningRate: this.#learningRate, scale: this.#scaleOf(entries.flat()) }
    // Everything is computed before anything is changed.
    const updates = entries.map((list) =>
      list.map((entry) => ({ key: entry.key, ...this.#rule.update(entry, options) }))
    )
    updates.forEach((list, at) => {
      const updated = list.map(({ key, parameter }) => /** @type {const} */ ([nameIn(key), parameter]))
      if (list.length > 0) this.#layers[at].loadStateDict({ ...states[at], ...Object.fromEntries(updated) })
      for (const { key, state } of list) this.#states.set(key, state)
    })
  }

  /**
   * Checks gradients: a state dict for each layer.
   *
   * @param {unknown} gradients
   * @param {readonly Record<string, any>[]} states
   * @returns {Entry[][]}
   */
  #read(gradients, states) {
    const list = isArray(gradients) ? membersOf('gradients', gradients) : [gradients]
    if (list.length !== states.length) {
      throw fault('SHAPE', 'gradients', `${states.length} state dicts, one for each layer`, `${list.length}`)
    }
    return list.map((dict, at) => {
      const owner = isArray(gradients) ? `gradients[${at}]` : 'gradients'
      if (!isObject(dict) || isArray(dict)) throw fault('DTYPE', owner, 'an object of tensors by name', describe(dict))
      return Object.entries(dict).map(([name, tensor]) => {
        const parameter = parameterOf(states[at], name)
        const gradient = checkTensor(name, tensor)
        checkShapeOf(name, gradient, parameter.shape)
        const key = `${at}.${name}`
        return { key, parameter, gradient, state: this.#states.get(key) }
      })
    })
  }

  /**
   * The factor that limits the norm of all gradients together, as `torch.nn.utils.clip_grad_norm_`.
   *
   * @param {readonly Entry[]} entries
   */
  #scaleOf(entries) {
    let sum = 0
    for (const { key, gradient } of entries) {
      const [square] = this.#backend
        .call(/** @type {Operation} */ ('squaredNorm'))
        .input(gradient)
        .run().data
      if (!Number.isFinite(square)) {
        throw fault('DOMAIN', nameIn(key), 'a gradient with a finite norm', `the norm ${Math.sqrt(square)}`)
      }
      sum += square
    }
    return this.#clipNorm === undefined ? 1 : Math.min(1, this.#clipNorm / (Math.sqrt(sum) + 1e-6))
  }

  /** @returns {Record<string, Checked>} */
  stateDict() {
    const entries = [...this.#states].flatMap(([key, state]) =>
      Object.entries(state).map(([part, { data, shape }]) => [`${key}.${part}`, { data: data.slice(), shape }])
    )
    return Object.fromEntries(entries)
  }

  /** @param {unknown} state */
  loadStateDict(state) {
    if (!isObject(state) || isArray(state))
      throw fault('DTYPE', 'state', 'an object of tensors by name', describe(state))
    const { parts } = this.#rule
    const parameters = this.#layers.map((layer) => layer.stateDict({ type: 'own' }))
    /** @type {Map<string, State>} */
    const states = new Map()
    for (const [name, given] of Object.entries(state)) {
      const [, index, inner, part] = name.match(/^(\d+)\.(.+)\.([^.]+)$/s) ?? []
      if (parameters[Number(index)] === undefined || !parts.includes(part)) {
        throw fault('FORMAT', name, `an entry of this optimizer, such as '0.weight.${parts[0]}'`, 'another')
      }
      const parameter = parameterOf(parameters[Number(index)], inner)
      const { data, shape } = checkTensor(name, given)
      checkShapeOf(name, { data, shape }, part === 'step' ? [] : parameter.shape)
      const key = `${index}.${inner}`
      states.set(key, { ...states.get(key), [part]: { data: copyOf(data), shape } })
    }
    for (const [key, own] of states) {
      const missing = parts.find((part) => !(part in own))
      if (missing !== undefined) throw fault('FORMAT', `${key}.${missing}`, 'an entry of this name', 'none')
    }
    this.#states = states
  }
}

/**
 * A parameter that can be trained.
 *
 * @param {Record<string, any>} state  of its layer
 * @param {string} name
 * @returns {Checked}
 */
function parameterOf(state, name) {
  const parameter = Object.hasOwn(state, name) ? state[name] : undefined
  if (parameter === undefined) throw fault('FORMAT', name, 'the name of a parameter', 'a name that no parameter has')
  if (parameter.type !== undefined) throw fault('DTYPE', name, 'a parameter of 32-bit floats', parameter.type)
  return parameter
}

/** @param {Backend} backend */
export function createOptimizers(backend) {
  /**
   * @param {string} operation
   * @param {readonly (Checked | undefined)[]} inputs
   * @param {object} options
   */
  function update(operation, inputs, options) {
    const call = backend.call(/** @type {Operation} */ (operation))
    for (const input of inputs) call.input(input)
    return call
      .options(JSON.stringify(options))
      .returning((results) => results)
      .run()
  }

  class AdamW extends Optimizer {
    /** @param {unknown} layers @param {unknown} [options] */
    constructor(layers, options) {
      const names = /** @type {const} */ (['learningRate', 'betas', 'epsilon', 'weightDecay', 'clipNorm'])
      const { betas = [0.9, 0.999], epsilon = 1e-8, weightDecay = 0.01, ...shared } = pickOptions(options, names)
      const [beta1, beta2] = checkBetas(betas)
      checkPositive('epsilon', epsilon)
      checkPositive('weightDecay', weightDecay)
      const own = { beta1, beta2, epsilon, weightDecay }
      /** @type {Rule['update']} */
      const rule = ({ parameter, gradient, state }, given) => {
        const zeros = () => allocateTensor('state', parameter.shape)
        const { exp_avg: mean = zeros(), exp_avg_sq: square = zeros(), step: done } = state ?? {}
        const step = { data: Float32Array.of((done?.data[0] ?? 0) + 1), shape: [] }
        const inputs = [parameter, gradient, mean, square]
        const all = { ...given, ...own, step: step.data[0] }
        const [updated, exp_avg, exp_avg_sq] = update('adamwStep', inputs, all)
        return { parameter: updated, state: { exp_avg, exp_avg_sq, step } }
      }
      super(backend, { parts: ['exp_avg', 'exp_avg_sq', 'step'], update: rule }, layers, shared)
    }
  }

  class SGD extends Optimizer {
    /** @param {unknown} layers @param {unknown} [options] */
    constructor(layers, options) {
      const names = /** @type {const} */ (['learningRate', 'momentum', 'weightDecay', 'nesterov', 'clipNorm'])
      const { momentum = 0, weightDecay = 0, nesterov = false, ...shared } = pickOptions(options, names)
      checkPositive('momentum', momentum)
      checkPositive('weightDecay', weightDecay)
      if (typeof nesterov !== 'boolean') throw fault('OPTION', 'nesterov', 'a boolean', describe(nesterov))
      if (nesterov && momentum === 0) throw fault('OPTION', 'nesterov', 'false without momentum', 'true')
      const own = { momentum, weightDecay, nesterov }
      /** @type {Rule['update']} */
      const rule = ({ parameter, gradient, state }, given) => {
        const [updated, buffer] = update('sgdStep', [parameter, gradient, state?.momentum_buffer], { ...given, ...own })
        return { parameter: updated, state: buffer ? { momentum_buffer: buffer } : {} }
      }
      super(backend, { parts: ['momentum_buffer'], update: rule }, layers, shared)
    }
  }

  return { AdamW, SGD }
}
