// Hyperbolic attention and the geometry of its space.

import { later } from '../runtime/async/watch.js'
import { describe, fault } from '../checks/errors.js'
import { showInConsole } from './inspect.js'
import { disposeSymbol } from './layers.js'
import { encodeConfig, readOptions, splitOptions } from '../checks/options.js'
import { Resident } from '../runtime/resident.js'
import { allocateTensor, checkTensor, elements, outputFor, withLast } from '../checks/tensor.js'

/** @typedef {import('../checks/tensor.js').Checked} Checked */
/** @typedef {import('../runtime/backend.js').Backend} Backend */
/** Results of a call; index.d.ts types them by the options that ask for them. @typedef {Required<import('../../index.d.ts').AttentionOutput>} AttentionOutput */
/** @typedef {import('../../index.d.ts').HyperbolicAttention['config']} Config */

const DEFAULTS = { numHeads: 1, manifold: 'poincare', temperature: 1, inputs: 'manifold' }

/** @param {Checked} tensor */
const leading = ({ shape }) => shape.slice(0, -1)

/** @param {Checked} tensor */
const sizeOf = ({ shape }) => shape[shape.length - 1] ?? 0

/** @param {Backend} backend */
export function createHyperbolic(backend) {
  class HyperbolicAttention {
    #resident
    /** @type {Config} */
    #config

    /** @param {unknown} config */
    constructor(config) {
      this.#resident = new Resident(backend, 'hyperbolic', encodeConfig(config))
      this.#config = Object.freeze({ ...DEFAULTS, ...this.#resident.describe() })
    }

    static {
      showInConsole(HyperbolicAttention, (space) => ({ ...space.#config, backend: space.#resident.backendKind }))
    }

    get config() {
      return this.#config
    }

    get curvature() {
      return this.#config.curvature
    }

    /** The number of additional coordinates compared with a point in the ball. */
    get #extra() {
      return this.#config.manifold === 'poincare' ? 0 : 1
    }

    /**
     * @param {unknown} q
     * @param {unknown} k
     * @param {unknown} v
     * @param {unknown} [options]
     * @returns {AttentionOutput}
     */
    forward(q, k, v, options) {
      return this.#attend(q, k, v, options).run()
    }

    /**
     * @param {unknown} q
     * @param {unknown} k
     * @param {unknown} v
     * @param {unknown} [options]
     * @returns {Promise<AttentionOutput>}
     */
    forwardAsync(q, k, v, options) {
      return later((watch) => this.#attend(q, k, v, options, watch))
    }

    /**
     * @param {unknown} q
     * @param {unknown} k
     * @param {unknown} v
     * @param {unknown} options
     * @param {import('../runtime/async/watch.js').Watch} [watch]
     */
    #attend(q, k, v, options, watch) {
      const query = checkTensor('q', q)
      const key = checkTensor('k', k)
      const value = checkTensor('v', v)
      const given = readOptions(options, watch)
      const inputs = given.out && [query.data, key.data, value.data, given.floatMask, given.booleanMask]
      const output = outputFor(given.out, withLast(query.shape, sizeOf(value)), inputs ?? [])
      /** @type {AttentionOutput} */
      const result = /** @type {any} */ ({ output })
      if (given.weights === true) {
        const [batch, second, third] = query.shape
        const rows = query.shape.length === 4 ? [batch, second, third] : [batch, this.#config.numHeads, second]
        const keys = key.shape[key.shape.length - 2]
        // The kernel crate rejects other ranks.
        const fits = query.shape.length >= 3 && key.shape.length === query.shape.length
        result.weights = allocateTensor('weights', fits ? [...rows, keys] : [0])
      }
      return backend
        .call('hyperbolicAttention', this.#resident)
        .input(query)
        .input(key)
        .input(value)
        .given(given)
        .output(output.data)
        .output(result.weights?.data)
        .returning(result)
    }

    /**
     * Calls a row-wise function, whose result has one row or one number per row of the arguments.
     *
     * @param {string} name
     * @param {readonly Checked[]} inputs
     * @param {number | undefined} extra  additional coordinates of a result row compared with the first argument;
     * undefined for a result of numbers
     * @param {number} [factor]
     */
    #apply(name, inputs, extra, factor) {
      const rows = leading(inputs.find((input) => elements(leading(input)) !== 1) ?? inputs[0])
      const shape = extra === undefined ? rows : [...rows, Math.max(0, sizeOf(inputs[0]) + extra)]
      const output = allocateTensor('output', shape)
      const { json } = splitOptions('options', { function: name, factor }, [])
      const call = backend.call('hyperbolicFunction', this.#resident)
      for (const input of inputs) call.input(input)
      call.options(json).output(output.data).run()
      return output
    }

    /**
     * @param {unknown} a
     * @param {unknown} b
     */
    distance(a, b) {
      return this.#apply('distance', [checkTensor('a', a), checkTensor('b', b)], undefined)
    }

    /**
     * @param {unknown} a
     * @param {unknown} b
     */
    distanceMatrix(a, b) {
      const [first, second] = [checkTensor('a', a), checkTensor('b', b)]
      const output = allocateTensor('output', [...first.shape.slice(0, 1), ...second.shape.slice(0, 1)])
      backend.call('hyperbolicDistances', this.#resident).input(first).input(second).output(output.data).run()
      return output
    }

    /** @param {unknown} x */
    projectToBall(x) {
      return this.#apply('projectToBall', [checkTensor('x', x)], 0)
    }

    /**
     * @param {unknown} base
     * @param {unknown} tangent
     */
    expMap(base, tangent) {
      return this.#apply('expMap', [checkTensor('base', base), checkTensor('tangent', tangent)], 0)
    }

    /**
     * @param {unknown} base
     * @param {unknown} point
     */
    logMap(base, point) {
      return this.#apply('logMap', [checkTensor('base', base), checkTensor('point', point)], 0)
    }

    /** @param {unknown} tangent */
    expMap0(tangent) {
      return this.#apply('expMap0', [checkTensor('tangent', tangent)], this.#extra)
    }

    /** @param {unknown} point */
    logMap0(point) {
      return this.#apply('logMap0', [checkTensor('point', point)], -this.#extra)
    }

    /**
     * @param {unknown} a
     * @param {unknown} b
     */
    mobiusAdd(a, b) {
      return this.#apply('mobiusAdd', [checkTensor('a', a), checkTensor('b', b)], 0)
    }

    /**
     * @param {unknown} factor
     * @param {unknown} x
     */
    mobiusScale(factor, x) {
      if (typeof factor !== 'number') throw fault('OPTION', 'factor', 'a finite number', describe(factor))
      return this.#apply('mobiusScale', [checkTensor('x', x)], 0, factor)
    }

    /**
     * @param {unknown} from
     * @param {unknown} to
     * @param {unknown} tangent
     */
    parallelTransport(from, to, tangent) {
      const points = [checkTensor('from', from), checkTensor('to', to)]
      return this.#apply('parallelTransport', [...points, checkTensor('tangent', tangent)], 0)
    }

    /**
     * @param {unknown} points
     * @param {unknown} [weights]
     */
    midpoint(points, weights) {
      const rows = checkTensor('points', points)
      const shares = weights === undefined || weights === null ? undefined : checkTensor('weights', weights)
      const count = shares === undefined ? 1 : elements(leading(shares))
      const output = allocateTensor('output', [count, sizeOf(rows)])
      backend.call('hyperbolicMidpoint', this.#resident).input(rows).input(shares).output(output.data).run()
      return output
    }

    /** @param {unknown} x */
    toLorentz(x) {
      return this.#apply('toLorentz', [checkTensor('x', x)], 1)
    }

    /** @param {unknown} x */
    toPoincare(x) {
      return this.#apply('toPoincare', [checkTensor('x', x)], -1)
    }

    dispose() {
      this.#resident.dispose()
    }

    [disposeSymbol]() {
      this.dispose()
    }
  }

  return { HyperbolicAttention }
}
