// Causal depthwise convolution, with a state to continue from.

import { splitOptions } from '../checks/options.js'
import { checkTensor } from '../checks/tensor.js'
import { later } from '../runtime/async/watch.js'

/** @param {import('../runtime/backend.js').Backend} backend */
export function createConvolution(backend) {
  /**
   * @param {unknown} x
   * @param {unknown} weight
   * @param {unknown} options
   * @param {import('../runtime/async/watch.js').Watch} [watch]
   */
  function prepare(x, weight, options, watch) {
    const [input, kernels] = [checkTensor('x', x), checkTensor('weight', weight)]
    const { values, json } = splitOptions('options', options, ['bias', 'state'], watch)
    const [bias, state] = ['bias', 'state'].map((name) =>
      values[name] === undefined ? undefined : checkTensor(name, values[name])
    )
    return backend
      .call('causalConvolution')
      .input(input)
      .input(kernels)
      .input(bias)
      .input(state)
      .options(json)
      .returning(([output, newState]) => ({ output, state: newState }))
  }

  /**
   * @param {unknown} x
   * @param {unknown} weight
   * @param {unknown} [options]
   */
  function causalConvolution(x, weight, options) {
    return prepare(x, weight, options).run()
  }

  /**
   * @param {unknown} x
   * @param {unknown} weight
   * @param {unknown} [options]
   */
  function causalConvolutionAsync(x, weight, options) {
    return later((watch) => prepare(x, weight, options, watch))
  }

  return { causalConvolution, causalConvolutionAsync }
}
