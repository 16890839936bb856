// Functions of each value: sums and products of tensors that broadcast, and activations without options.

import { refuseMore } from '../checks/options.js'
import { checkTensor } from '../checks/tensor.js'

/** @typedef {import('../checks/tensor.js').Checked} Checked */

/** @param {import('../runtime/backend.js').Backend} backend */
export function createElementwise(backend) {
  /**
   * @param {'add' | 'multiply'} operation
   * @param {unknown} a
   * @param {unknown} b
   * @param {readonly unknown[]} more
   * @returns {Checked}
   */
  function combine(operation, a, b, more) {
    refuseMore(operation, more)
    const [left, right] = [checkTensor('a', a), checkTensor('b', b)]
    return backend.call(operation).input(left).input(right).run()
  }

  /**
   * @param {'relu' | 'tanh' | 'sigmoid' | 'elu'} operation
   * @param {unknown} x
   * @param {readonly unknown[]} more
   * @returns {Checked}
   */
  function activate(operation, x, more) {
    refuseMore(operation, more)
    const input = checkTensor('x', x)
    return backend.call(operation).input(input).run()
  }

  /** @param {unknown} a @param {unknown} b @param {...unknown} more */
  function add(a, b, ...more) {
    return combine('add', a, b, more)
  }

  /** @param {unknown} a @param {unknown} b @param {...unknown} more */
  function multiply(a, b, ...more) {
    return combine('multiply', a, b, more)
  }

  /** @param {unknown} x @param {...unknown} more */
  function relu(x, ...more) {
    return activate('relu', x, more)
  }

  /** @param {unknown} x @param {...unknown} more */
  function tanh(x, ...more) {
    return activate('tanh', x, more)
  }

  /** @param {unknown} x @param {...unknown} more */
  function sigmoid(x, ...more) {
    return activate('sigmoid', x, more)
  }

  /** @param {unknown} x @param {...unknown} more */
  function elu(x, ...more) {
    return activate('elu', x, more)
  }

  return { add, multiply, relu, tanh, sigmoid, elu }
}
