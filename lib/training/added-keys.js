// The mask of attention with a learned key, which every row sees beside the keys that it sees anyway.

import { arrayType } from '../checks/tensor.js'
import { fault } from '../checks/errors.js'
import { Value } from './tape.js'

/** @typedef {import('./recorder.js').AttentionArrays} AttentionArrays */

/**
 * Returns the options and arrays of attention over one more key, as a mask `[B, 1, L, S + 1]` in place of all limits.
 *
 * @param {AttentionArrays} arrays
 * @param {Record<string, any>} options
 * @param {[batch: number, queries: number, keys: number]} shape
 * @returns {{ options: Record<string, unknown>, arrays: Partial<AttentionArrays> }}
 */
export function allKeysVisible(arrays, options, [batch, queries, keys]) {
  const { mask, relativeBias, cuSeqlens, cuSeqlensKeys } = arrays
  for (const [name, array] of Object.entries({ relativeBias, cuSeqlens, cuSeqlensKeys })) {
    if (array !== undefined) throw fault('OPTION', name, 'none: with addBiasKv, it has no gradient', 'an array')
  }
  if (mask instanceof Value || (mask && arrayType(mask.data) === 'Float32Array')) {
    throw fault('OPTION', 'mask', 'a boolean mask: with addBiasKv, others have no gradient', 'a float mask')
  }
  const { causal = false, window = [-1, -1], queryOffset: single = 0 } = options
  const heads = (mask?.shape.length ?? 0) >= 3 ? (mask?.shape.at(-3) ?? 1) : 1
  const data = new Uint8Array(batch * heads * queries * (keys + 1)).fill(1)
  const sees = readMask(mask, [batch, heads, queries, keys])
  let at = 0
  for (let b = 0; b < batch; b++) {
    const offset = arrays.queryOffset?.[b] ?? single
    const length = arrays.kvLengths?.[b] ?? keys
    for (let h = 0; h < heads; h++) {
      for (let i = 0; i < queries; i++, at++) {
        const position = i + offset
        const last = Math.min(causal ? position : Infinity, window[1] < 0 ? Infinity : position + window[1], length - 1)
        const first = window[0] < 0 ? 0 : position - window[0]
        for (let j = 0; j < keys; j++, at++) if (j < first || j > last || !sees(b, h, i, j)) data[at] = 0
      }
    }
  }
  return {
    options: { causal: false, window: undefined, queryOffset: undefined },
    arrays: {
      mask: { data, shape: [batch, heads, queries, keys + 1] },
      queryOffset: undefined,
      kvLengths: undefined
    }
  }
}

/**
 * Returns a function that reads a boolean mask, whose shape broadcasts from the right.
 *
 * @param {import('./recorder.js').AttentionArrays['mask']} mask
 * @param {number[]} shape
 * @returns {(...index: number[]) => boolean}
 */
function readMask(mask, shape) {
  if (mask === undefined) return () => true
  const { data, shape: own } = mask
  const dims = [...Array(shape.length - own.length).fill(1), ...own]
  const strides = dims.map((dim, axis) => (dim === 1 ? 0 : dims.slice(axis + 1).reduce((a, b) => a * b, 1)))
  return (...index) => data[index.reduce((sum, position, axis) => sum + position * strides[axis], 0)] !== 0
}
