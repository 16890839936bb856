// Rotary position embeddings for queries and keys.

import { splitOptions } from '../checks/options.js'
import { checkArray, checkTensor } from '../checks/tensor.js'

/** @param {import('../runtime/backend.js').Backend} backend */
export function createRotary(backend) {
  /**
   * @param {unknown} x
   * @param {unknown} [options]
   * @returns {import('../checks/tensor.js').Checked}
   */
  function rotaryEmbedding(x, options) {
    const input = checkTensor('x', x)
    const { values, json } = splitOptions('options', options, ['positions'])
    const positions =
      values.positions === undefined ? undefined : checkArray('positions', values.positions, 'Int32Array')
    return backend
      .call('rotaryEmbedding')
      .input(input)
      .integers(/** @type {Int32Array | undefined} */ (positions))
      .options(json)
      .run()
  }

  return { rotaryEmbedding }
}
