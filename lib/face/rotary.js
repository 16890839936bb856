// Rotary position embeddings for queries and keys.

import { splitOptions } from '../checks/options.js'
import { allocateTensor, checkArray, checkTensor } from '../checks/tensor.js'

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
    const output = allocateTensor('output', input.shape)
    backend
      .call('rotaryEmbedding')
      .input(input)
      .options(json)
      .integers(/** @type {Int32Array | undefined} */ (positions))
      .output(output.data)
      .run()
    return output
  }

  return { rotaryEmbedding }
}
