// Shared by both sides of a worker: how objects are created and freed.

import { ELEMENTS } from '../operations.js'

/** @typedef {import('../call-memory.js').CallMemory} CallMemory */

const { Int32Array: INTEGERS } = ELEMENTS

/**
 * @param {import('../binding.d.ts').Binding} binding
 * @param {CallMemory} memory  of this binding
 * @param {import('../resident.js').Recipe} recipe
 * @returns {number} the id of the object
 */
export function makeObject(binding, memory, { operation, config, arrays, entries, data }) {
  memory.start(1, data.length > 0, [])
  for (const array of arrays) memory.add(INTEGERS, array, array.length, [array.length])
  const [id] = memory.run(operation, config)
  try {
    if (data.length > 0) binding.loadState(id, entries, data, '', true)
  } catch (error) {
    freeQuietly(binding, id)
    throw error
  }
  return id
}

/**
 * Frees an object; ignores errors from an instance that trapped.
 *
 * @param {Pick<import('../binding.d.ts').Binding, 'free'>} binding
 * @param {number} id
 */
export function freeQuietly(binding, id) {
  try {
    binding.free(id)
  } catch {
    // The whole instance is about to be discarded.
  }
}
