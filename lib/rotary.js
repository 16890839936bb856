// Rotary position embeddings for queries and keys.

import { splitOptions } from './options.js'
import { allocateTensor, checkArray, checkTensor } from './tensor.js'

/** @param {import('./backend.js').Backend} backend */
export function createRotary(backend) {
  /**
   * @param {unknown} x
   * @param {unknown} [options]
   * @returns {import('./tensor.js').Checked}
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
