// Exact search among vectors.

import { describe, fault, unknownOption } from '../checks/errors.js'
import { splitOptions } from '../checks/options.js'
import { checkTensor, checkWeight } from '../checks/tensor.js'
import { later } from '../runtime/async/watch.js'

/** @param {import('../runtime/backend.js').Backend} backend */
export function createSearch(backend) {
  /**
   * @param {unknown} queries
   * @param {unknown} vectors
   * @param {unknown} k
   * @param {unknown} options
   * @param {import('../runtime/async/watch.js').Watch} [watch]
   */
  function prepare(queries, vectors, k, options, watch) {
    const [rows, table] = [checkTensor('queries', queries), checkWeight('vectors', vectors)]
    if (!Number.isSafeInteger(k) || Number(k) < 1) {
      throw fault('OPTION', 'k', 'an integer from 1 to the number of vectors', describe(k))
    }
    const { values, json } = splitOptions('options', options, [], watch)
    for (const name of ['k', 'weightType']) if (name in values) throw unknownOption(name, ['metric'])
    const own = table.type === 'bf16' ? `"k":${k},"weightType":"bf16"` : `"k":${k}`
    return backend
      .call('topK')
      .input(rows)
      .weight(table)
      .options(json === '{}' ? `{${own}}` : `{${own},${json.slice(1)}`)
      .returning(([values, indices]) => ({ values, indices }))
  }

  /**
   * @param {unknown} queries
   * @param {unknown} vectors
   * @param {unknown} k
   * @param {unknown} [options]
   */
  function topK(queries, vectors, k, options) {
    return prepare(queries, vectors, k, options).run()
  }

  /**
   * @param {unknown} queries
   * @param {unknown} vectors
   * @param {unknown} k
   * @param {unknown} [options]
   */
  function topKAsync(queries, vectors, k, options) {
    return later((watch) => prepare(queries, vectors, k, options, watch))
  }

  return { topK, topKAsync }
}
