// Optimizers: update the parameters of layers by the gradients that `vjp` gives, as `torch.optim` does.

import { describe, fault, isArray, isObject } from '../checks/errors.js'
import { pickOptions } from '../checks/options.js'
import { checkAttached, checkTensor, copyOf, formatShape } from '../checks/tensor.js'
import { disposeSymbol, isLayer, overlays, residentOf } from '../face/layers.js'
import { Resident, disposed } from '../runtime/resident.js'
import { membersOf } from './lists.js'

/** @typedef {import('../face/layers.js').Layer<any>} Layer */
/** @typedef {import('../checks/tensor.js').Checked} Checked */
/** @typedef {import('../runtime/backend.js').Backend} Backend */
/** @typedef {import('../runtime/resident.js').Trainable} Trainable */
/** A tensor with its name. @typedef {{ name: string, data: Float32Array, shape: number[] }} Named */
/**
 * The rule of an optimizer: its name in the backend, its own options, and the parts of its states.
 *
 * @typedef {{ name: 'adamw' | 'sgd', options: object, parts: readonly string[] }} Rule
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

/**
 * @param {string} name
 * @param {Checked} tensor
 * @param {readonly number[]} shape
 */
function checkShapeOf(name, tensor, shape) {
  if (`${tensor.shape}` !== `${shape}`) throw fault('SHAPE', name, formatShape(shape), formatShape(tensor.shape))
}

/**
 * The parameters of a layer, or its adapters.
 *
 * @param {Layer} layer
 * @returns {Trainable}
 */
const trainableOf = (layer) => overlays.get(layer)?.trainable() ?? residentOf(layer).trainable()

/** The part that all optimizers share. */
class Optimizer {
  #backend
  #rule
  #layers
  #learningRate
  #clipNorm
  /**
   * The states of each layer's parameters, as `'weight.exp_avg'`; undefined once disposed.
   *
   * @type {Resident[] | undefined}
   */
  #states

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
    this.#states = this.#layers.map(() => new Resident(backend, 'createTensors', '{}'))
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
    this.#open()
    const given = this.#read(gradients)
    const owned = this.#open()
    // No code of the caller runs from here on. Objects that were lost with their instance are recreated first.
    const targets = this.#layers.map(trainableOf)
    const updates = given.flatMap((tensors, at) => {
      const { id, entries } = targets[at]
      const states = owned[at].use()
      return tensors.map(({ name, ...gradient }) => {
        const entry = indexOf(entries, name)
        const { shape } = entries[entry]
        checkShapeOf(name, gradient, shape)
        checkAttached(name, gradient)
        return {
          at,
          data: gradient.data,
          update: { name, shape, states, ...(id !== undefined && { object: id, entry }) }
        }
      })
    })
    if (updates.length === 0) return
    const outside = updates.flatMap(({ at, update }) => targets[at].array?.(update.name) ?? [])
    this.#run(updates, outside)
    // Adapters come last: they load sums into their layer, for which memory may be missing.
    const isAdapted = (/** @type {number} */ at) => overlays.has(this.#layers[at])
    const changed = [...new Set(updates.map(({ at }) => at))].sort(
      (a, b) => Number(isAdapted(a)) - Number(isAdapted(b))
    )
    for (const at of changed) owned[at].changed()
    for (const at of changed) targets[at].changed()
  }

  /**
   * Takes a step in the backend, which changes all parameters or, if it fails, none.
   *
   * @param {readonly { data: Float32Array, update: object }[]} updates
   * @param {Float32Array[]} outside  the parameters that are not in the backend's memory, in the order of the updates
   */
  #run(updates, outside) {
    const { name, options } = this.#rule
    const { threads, binding } = this.#backend
    const plan = {
      rule: name,
      ...options,
      learningRate: this.#learningRate,
      threads,
      clipNorm: this.#clipNorm,
      updates: updates.map(({ update }) => update)
    }
    const gradients = updates.map(({ data }) => data)
    try {
      const { step } = /** @type {Required<import('../runtime/binding.d.ts').Binding>} */ (binding)
      step(JSON.stringify(plan), gradients, outside)
    } catch (error) {
      throw this.#backend.fault(error)
    }
  }

  /**
   * Reads gradients: a state dict for each layer.
   *
   * @param {unknown} gradients
   * @returns {Named[][]}
   */
  #read(gradients) {
    const list = isArray(gradients) ? membersOf('gradients', gradients) : [gradients]
    const count = this.#layers.length
    if (list.length !== count) {
      throw fault('SHAPE', 'gradients', `${count} state dicts, one for each layer`, `${list.length}`)
    }
    return list.map((dict, at) => {
      const owner = isArray(gradients) ? `gradients[${at}]` : 'gradients'
      if (!isObject(dict) || isArray(dict)) throw fault('DTYPE', owner, 'an object of tensors by name', describe(dict))
      return Object.entries(dict).map(([name, tensor]) => ({ name, ...checkTensor(name, tensor) }))
    })
  }

  #open() {
    if (this.#states === undefined) throw disposed()
    return this.#states
  }

  /** @returns {Record<string, Checked>} */
  stateDict() {
    const entries = this.#open().flatMap((states, at) =>
      Object.entries(states.state()).map(([name, tensor]) => [`${at}.${name}`, tensor])
    )
    return Object.fromEntries(entries)
  }

  /** @param {unknown} state */
  loadStateDict(state) {
    this.#open()
    const states = this.#readStates(state).map((tensors) => {
      const entries = JSON.stringify(tensors.map(({ name, shape }) => ({ name, shape })))
      return { entries, data: tensors.map(({ data }) => data), prefix: '', strict: true, integers: new Map() }
    })
    /** @type {Resident[]} */
    const loaded = []
    try {
      for (const each of states) {
        const resident = new Resident(this.#backend, 'createTensors', '{}')
        loaded.push(resident)
        resident.load(each)
      }
    } catch (error) {
      for (const resident of loaded) resident.dispose()
      throw error
    }
    this.dispose()
    this.#states = loaded
  }

  /**
   * Checks a state dict, and returns the states of each layer.
   *
   * @param {unknown} state
   * @returns {Named[][]}
   */
  #readStates(state) {
    if (!isObject(state) || isArray(state))
      throw fault('DTYPE', 'state', 'an object of tensors by name', describe(state))
    const { parts } = this.#rule
    const parameters = this.#layers.map((layer) => trainableOf(layer).entries)
    /** The tensors of each parameter by their parts. @type {Map<string, Map<string, Named>>[]} */
    const states = parameters.map(() => new Map())
    for (const [name, given] of Object.entries(state)) {
      const [, index, inner, part] = name.match(/^(\d+)\.(.+)\.([^.]+)$/s) ?? []
      const own = states[Number(index)]
      if (own === undefined || !parts.includes(part)) {
        throw fault('FORMAT', name, `an entry of this optimizer, such as '0.weight.${parts[0]}'`, 'another')
      }
      const entries = parameters[Number(index)]
      const { shape: expected } = entries[indexOf(entries, inner)]
      const { data, shape } = checkTensor(name, given)
      checkShapeOf(name, { data, shape }, part === 'step' ? [] : expected)
      const tensors = own.get(inner) ?? new Map()
      own.set(inner, tensors.set(part, { name: `${inner}.${part}`, data: copyOf(data), shape }))
    }
    return states.map((own, index) =>
      Array.from(own).flatMap(([inner, tensors]) => {
        const missing = parts.find((part) => !tensors.has(part))
        if (missing !== undefined)
          throw fault('FORMAT', `${index}.${inner}.${missing}`, 'an entry of this name', 'none')
        return Array.from(tensors.values())
      })
    )
  }

  dispose() {
    for (const states of this.#states ?? []) states.dispose()
    this.#states = undefined
  }

  [disposeSymbol]() {
    this.dispose()
  }
}

/**
 * The index of a parameter that can be trained.
 *
 * @param {Trainable['entries']} entries  of its layer
 * @param {string} name
 */
function indexOf(entries, name) {
  const index = entries.findIndex((entry) => entry.name === name)
  if (index < 0) throw fault('FORMAT', name, 'the name of a parameter', 'a name that no parameter has')
  const { type } = entries[index]
  if (type !== undefined) throw fault('DTYPE', name, 'a parameter of 32-bit floats', type)
  return index
}

/** @param {Backend} backend */
export function createOptimizers(backend) {
  class AdamW extends Optimizer {
    /** @param {unknown} layers @param {unknown} [options] */
    constructor(layers, options) {
      const names = /** @type {const} */ (['learningRate', 'betas', 'epsilon', 'weightDecay', 'clipNorm'])
      const { betas = [0.9, 0.999], epsilon = 1e-8, weightDecay = 0.01, ...shared } = pickOptions(options, names)
      const [beta1, beta2] = checkBetas(betas)
      checkPositive('epsilon', epsilon)
      checkPositive('weightDecay', weightDecay)
      const own = { beta1, beta2, epsilon, weightDecay }
      super(backend, { name: 'adamw', options: own, parts: ['exp_avg', 'exp_avg_sq', 'step'] }, layers, shared)
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
      super(backend, { name: 'sgd', options: own, parts: ['momentum_buffer'] }, layers, shared)
    }
  }

  return { AdamW, SGD }
}
