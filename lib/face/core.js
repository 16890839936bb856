// The API of `@ruvector/attention/core`, bound to one backend: everything but graphs, linear and hyperbolic attention.

import { concat, transpose, unfold } from './arrange.js'
import { createFunctions } from './attention.js'
import { createBatches } from './batch.js'
import { alibiBias, relativePositionBias } from './bias.js'
import { createCache } from './cache.js'
import { AttentionError } from '../checks/errors.js'
import { createConvolution } from './convolution.js'
import { createDecoders } from './decoder.js'
import { createDense } from './dense.js'
import { createElementwise } from './elementwise.js'
import { createEncoder } from './encoder.js'
import { createHeads } from './heads.js'
import { createLayers, Layer } from './layers.js'
import { createMerge } from './merge.js'
import { createRotary } from './rotary.js'
import { createSearch } from './search.js'
import { createTensor, reshape } from '../checks/tensor.js'
import { createUtilities } from './utilities.js'
import { version } from '../version.js'
import { convert } from '../numbers/convert.js'
import { loadSafetensors } from '../weights/load.js'
import { openSafetensors } from '../weights/open.js'
import { saveSafetensors } from '../weights/save.js'

/** @typedef {import('../runtime/backend.js').Backend} Backend */

/** Backends, keyed by the function `memoryUsage` of their API. @type {WeakMap<() => unknown, Backend>} */
const backends = new WeakMap()

/**
 * The backend of an API, for adapters that receive only the API.
 *
 * @param {() => unknown} memoryUsage  of the API
 */
export const backendOf = (memoryUsage) => /** @type {Backend} */ (backends.get(memoryUsage))

/** @param {Backend} backend */
export function createCore(backend) {
  const memoryUsage = () => backend.memoryUsage()
  backends.set(memoryUsage, backend)
  const functions = createFunctions(backend)
  const { createCacheOf, ...caches } = createCache(backend)
  return {
    createTensor,
    reshape,
    backend: () => backend.describe(),
    memoryUsage,
    version,
    ...functions,
    ...createHeads(backend, functions),
    ...createRotary(backend),
    ...createMerge(backend),
    alibiBias,
    relativePositionBias,
    ...caches,
    Layer,
    ...createLayers(backend, createCacheOf),
    ...createEncoder(backend, createCacheOf),
    ...createDecoders(backend, createCacheOf),
    ...createElementwise(backend),
    transpose,
    concat,
    unfold,
    ...createDense(backend),
    ...createSearch(backend),
    ...createConvolution(backend),
    convert,
    loadSafetensors,
    openSafetensors,
    saveSafetensors,
    ...createUtilities(backend),
    ...createBatches(backend),
    AttentionError
  }
}
