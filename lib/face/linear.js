// Linear attention: the layer and its streams.

import { Callable, residents } from './callable.js'
import { showInConsole } from './inspect.js'
import { disposeSymbol } from './layers.js'
import { encodeConfig, refuseMore, splitOptions } from '../checks/options.js'
import { Resident } from '../runtime/resident.js'
import { checkArray, checkTensor } from '../checks/tensor.js'

/** @typedef {import('../runtime/backend.js').Backend} Backend */
/** @typedef {Required<import('../../index.d.ts').LinearOutput>} LinearOutput */

/** Options that are tensors, in the order of the operations' inputs. */
const GATES = ['decay', 'beta', 'state']

/**
 * Names the results; the state is absent unless it was requested.
 *
 * @param {import('../runtime/call-memory.js').Result[]} results
 * @returns {LinearOutput}
 */
function linearOutput([output, state]) {
  /** @type {any} */
  const result = { output }
  if (state) result.state = state
  return result
}

/**
 * Prepares one call over queries, keys and values.
 *
 * @param {Backend} backend
 * @param {'linearAttention' | 'linearStreamStep'} operation
 * @param {readonly Resident[]} objects
 * @param {readonly unknown[]} inputs  q, k and v
 * @param {unknown} [options]
 * @param {import('../runtime/async/watch.js').Watch} [watch]
 * @returns {import('../runtime/call.js').PreparedCall<LinearOutput>}
 */
function attend(backend, operation, objects, inputs, options, watch) {
  const [query, key, value] = ['q', 'k', 'v'].map((name, index) => checkTensor(name, inputs[index]))
  const isStep = operation === 'linearStreamStep'
  const names = isStep ? GATES : ['kvLengths', 'out', ...GATES]
  const { values, json } = splitOptions('options', options, names, watch)
  const { kvLengths, out } = values
  const lengths = kvLengths === undefined ? undefined : checkArray('kvLengths', kvLengths, 'Int32Array')
  /** @type {Float32Array | undefined} */
  const target = out === undefined ? undefined : checkArray('out', out, 'Float32Array')
  if (watch) watch.out = target
  const gates = GATES.map((name) => (values[name] === undefined ? undefined : checkTensor(name, values[name])))

  const call = backend
    .call(operation, ...objects)
    .input(query)
    .input(key)
    .input(value)
  if (!isStep) call.integers(/** @type {any} */ (lengths))
  for (const gate of gates) call.input(gate)
  return call.options(json).into(target).returning(linearOutput)
}

/** @param {Backend} backend */
export function createLinear(backend) {
  class LinearStream {
    #attention
    #sums

    /**
     * @param {Resident} attention
     * @param {Resident} sums
     */
    constructor(attention, sums) {
      this.#attention = attention
      this.#sums = sums
    }

    /**
     * @param {unknown} q
     * @param {unknown} k
     * @param {unknown} v
     * @param {unknown} [options]
     */
    step(q, k, v, options) {
      const output = attend(backend, 'linearStreamStep', [this.#attention, this.#sums], [q, k, v], options).run()
      this.#sums.weigh()
      return output
    }

    reset() {
      backend.call('linearStreamReset', this.#sums).run()
    }

    dispose() {
      this.#sums.dispose()
    }

    [disposeSymbol]() {
      this.dispose()
    }
  }

  /** @extends {Callable<LinearOutput>} */
  class LinearAttention extends Callable {
    #resident
    #config

    /** @param {unknown} config */
    constructor(config) {
      super(LinearAttention.#prepare)
      this.#resident = new Resident(backend, 'createLinearAttention', encodeConfig(config))
      residents.set(this, this.#resident)
      this.#config = Object.freeze(this.#resident.describe())
    }

    static {
      showInConsole(LinearAttention, (attention) => ({
        ...attention.#config,
        backend: attention.#resident.backendKind
      }))
    }

    get config() {
      return this.#config
    }

    /** @returns {number} */
    get featureDim() {
      return this.#config.featureDim ?? this.#config.modelDim / this.#config.numHeads
    }

    /**
     * @param {LinearAttention} attention
     * @param {import('../runtime/async/watch.js').Watch | undefined} watch
     * @param {unknown} q
     * @param {unknown} k
     * @param {unknown} v
     * @param {unknown} [options]
     */
    static #prepare(attention, watch, q, k, v, options) {
      return attend(backend, 'linearAttention', [attention.#resident], [q, k, v], options, watch)
    }

    /** @param {unknown} x @param {...unknown} more */
    featureMap(x, ...more) {
      refuseMore('featureMap', more)
      const input = checkTensor('x', x)
      return backend.call('linearFeatureMap', this.#resident).input(input).run()
    }

    /** @param {unknown} [options] */
    stream(options) {
      this.#resident.use()
      const { json } = splitOptions('options', options, [])
      return new LinearStream(this.#resident, new Resident(backend, 'createLinearStream', json))
    }

    dispose() {
      this.#resident.dispose()
    }

    [disposeSymbol]() {
      this.dispose()
    }
  }

  return { LinearAttention }
}
