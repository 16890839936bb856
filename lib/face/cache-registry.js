// The resident parts of caches, for the layers that caches are passed to.

import { describe, fault } from '../checks/errors.js'

/** @typedef {import('../runtime/backend.js').Backend} Backend */
/** @typedef {import('../runtime/resident.js').Resident} Resident */

/** @type {WeakMap<object, { resident: Resident, backend: Backend }>} */
const caches = new WeakMap()

/**
 * @param {object} cache
 * @param {Resident} resident
 * @param {Backend} backend
 */
export const registerCache = (cache, resident, backend) => caches.set(cache, { resident, backend })

/**
 * The resident part of a cache that is passed to a layer.
 *
 * @param {unknown} cache
 * @param {Backend} backend  of the layer
 * @param {string} [name]  of the option
 */
export function cacheResident(cache, backend, name = 'cache') {
  const found = caches.get(/** @type {object} */ (cache))
  if (found === undefined) throw fault('DTYPE', name, 'a KVCache', describe(cache))
  if (found.backend !== backend) throw fault('OPTION', name, "a KVCache of the layer's backend", 'one of another')
  return found.resident
}
