// Attention over parts of the keys, joined into attention over all of them.

import { describe, fault } from './errors.js'
import { encodeConfig } from './options.js'
import { allocateTensor, checkTensor, formatShape } from './tensor.js'

/** @typedef {import('./tensor.js').Checked} Checked */

/**
 * The tensors of one kind, one after the other, all of which have to be of the first one's shape.
 *
 * @param {string} kind
 * @param {readonly Checked[]} tensors
 * @returns {Checked}
 */
function stack(kind, tensors) {
  const [{ data, shape }] = tensors
  const stacked = allocateTensor('parts', [tensors.length, ...shape])
  for (const [index, tensor] of tensors.entries()) {
    if (tensor.shape.length !== shape.length || tensor.shape.some((dim, axis) => dim !== shape[axis])) {
      const expected = `${formatShape(shape)} as in parts[0]`
      throw fault('SHAPE', `parts[${index}].${kind}`, expected, formatShape(tensor.shape))
    }
    stacked.data.set(tensor.data, index * data.length)
  }
  return stacked
}

/**
 * @param {any} part
 * @param {number} index
 */
function readPart(part, index) {
  const name = `parts[${index}]`
  if (typeof part !== 'object' || part === null) throw fault('DTYPE', name, 'a result of attention', describe(part))
  const { output, logSumExp } = part
  if (logSumExp === undefined || logSumExp === null) {
    const expected = 'the logSumExp of the part: call with the option logSumExp: true'
    throw fault('DTYPE', `${name}.logSumExp`, expected, String(logSumExp))
  }
  return { output: checkTensor(`${name}.output`, output), logSumExp: checkTensor(`${name}.logSumExp`, logSumExp) }
}

/** @param {import('./backend.js').Backend} backend */
export function createMerge(backend) {
  /**
   * @param {unknown} parts
   * @param {unknown} [options]
   * @returns {import('../index.d.ts').AttentionOutput}
   */
  function mergeAttention(parts, options) {
    if (!Array.isArray(parts)) throw fault('DTYPE', 'parts', 'an array of results of attention', describe(parts))
    if (parts.length === 0) throw fault('SHAPE', 'parts', 'at least one part', 'none')
    const read = Array.from(parts, readPart)
    const json = options === undefined || options === null ? undefined : encodeConfig(options, 'options')
    const outputs = stack(
      'output',
      read.map(({ output }) => output)
    )
    const sums = stack(
      'logSumExp',
      read.map(({ logSumExp }) => logSumExp)
    )
    const output = allocateTensor('output', outputs.shape.slice(1))
    const logSumExp = allocateTensor('logSumExp', sums.shape.slice(1))
    backend
      .call('mergeAttention')
      .input(outputs)
      .input(sums)
      .options(json)
      .output(output.data)
      .output(logSumExp.data)
      .run()
    return { output, logSumExp }
  }

  return { mergeAttention }
}
