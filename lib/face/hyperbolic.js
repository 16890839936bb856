// Hyperbolic attention and the geometry of its space.

import { attend } from './attention.js'
import { Callable, residents } from './callable.js'
import { describe, fault } from '../checks/errors.js'
import { showInConsole } from './inspect.js'
import { disposeSymbol } from './layers.js'
import { encodeConfig, readOptions, splitOptions } from '../checks/options.js'
import { Resident } from '../runtime/resident.js'
import { checkTensor } from '../checks/tensor.js'

/** @typedef {import('../checks/tensor.js').Checked} Checked */
/** @typedef {import('../runtime/backend.js').Backend} Backend */
/**
 * Results of a call; index.d.ts derives their types from the requested options.
 *
 * @typedef {Required<import('../../index.d.ts').AttentionOutput>} AttentionOutput
 */
/** @typedef {import('../../index.d.ts').HyperbolicAttention['config']} Config */

/** Array options of attention that do not apply to distances. */
const WITHOUT = ['relativeBias', 'cuSeqlens', 'cuSeqlensKeys', 'sinks', 'contextLengths']

const DEFAULTS = { numHeads: 1, manifold: 'poincare', temperature: 1, inputs: 'manifold' }

/** @param {Backend} backend */
export function createHyperbolic(backend) {
  /** @extends {Callable<AttentionOutput>} */
  class HyperbolicAttention extends Callable {
    #resident
    /** @type {Config} */
    #config

    /** @param {unknown} config */
    constructor(config) {
      super(HyperbolicAttention.#prepare)
      this.#resident = new Resident(backend, 'createHyperbolicAttention', encodeConfig(config))
      residents.set(this, this.#resident)
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

    /**
     * @param {HyperbolicAttention} attention
     * @param {import('../runtime/async/watch.js').Watch | undefined} watch
     * @param {unknown} q
     * @param {unknown} k
     * @param {unknown} v
     * @param {unknown} [options]
     */
    static #prepare(attention, watch, q, k, v, options) {
      const inputs = [checkTensor('q', q), checkTensor('k', k), checkTensor('v', v)]
      return attend(
        backend,
        'hyperbolicAttention',
        inputs,
        readOptions(options, watch, [], WITHOUT),
        attention.#resident
      )
    }

    /**
     * Calls a row-wise function, whose result has one row or one number per row of the arguments.
     *
     * @param {string} name
     * @param {readonly Checked[]} inputs
     * @param {number} [factor]
     */
    #apply(name, inputs, factor) {
      const { json } = splitOptions('options', { function: name, factor }, [])
      const call = backend.call('hyperbolicFunction', this.#resident)
      for (const input of inputs) call.input(input)
      return call.options(json).run()
    }

    /**
     * @param {unknown} a
     * @param {unknown} b
     */
    distance(a, b) {
      return this.#apply('distance', [checkTensor('a', a), checkTensor('b', b)])
    }

    /**
     * @param {unknown} a
     * @param {unknown} b
     */
    distanceMatrix(a, b) {
      const [first, second] = [checkTensor('a', a), checkTensor('b', b)]
      return backend.call('hyperbolicDistances', this.#resident).input(first).input(second).run()
    }

    /** @param {unknown} x */
    projectToBall(x) {
      return this.#apply('projectToBall', [checkTensor('x', x)])
    }

    /**
     * @param {unknown} base
     * @param {unknown} tangent
     */
    expMap(base, tangent) {
      return this.#apply('expMap', [checkTensor('base', base), checkTensor('tangent', tangent)])
    }

    /**
     * @param {unknown} base
     * @param {unknown} point
     */
    logMap(base, point) {
      return this.#apply('logMap', [checkTensor('base', base), checkTensor('point', point)])
    }

    /** @param {unknown} tangent */
    expMap0(tangent) {
      return this.#apply('expMap0', [checkTensor('tangent', tangent)])
    }

    /** @param {unknown} point */
    logMap0(point) {
      return this.#apply('logMap0', [checkTensor('point', point)])
    }

    /**
     * @param {unknown} a
     * @param {unknown} b
     */
    mobiusAdd(a, b) {
      return this.#apply('mobiusAdd', [checkTensor('a', a), checkTensor('b', b)])
    }

    /**
     * @param {unknown} factor
     * @param {unknown} x
     */
    mobiusScale(factor, x) {
      if (typeof factor !== 'number') throw fault('OPTION', 'factor', 'a finite number', describe(factor))
      return this.#apply('mobiusScale', [checkTensor('x', x)], factor)
    }

    /**
     * @param {unknown} from
     * @param {unknown} to
     * @param {unknown} tangent
     */
    parallelTransport(from, to, tangent) {
      const points = [checkTensor('from', from), checkTensor('to', to)]
      return this.#apply('parallelTransport', [...points, checkTensor('tangent', tangent)])
    }

    /**
     * @param {unknown} points
     * @param {unknown} [weights]
     */
    midpoint(points, weights) {
      const rows = checkTensor('points', points)
      const shares = weights === undefined || weights === null ? undefined : checkTensor('weights', weights)
      return backend.call('hyperbolicMidpoint', this.#resident).input(rows).input(shares).run()
    }

    /** @param {unknown} x */
    toLorentz(x) {
      return this.#apply('toLorentz', [checkTensor('x', x)])
    }

    /** @param {unknown} x */
    toPoincare(x) {
      return this.#apply('toPoincare', [checkTensor('x', x)])
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
