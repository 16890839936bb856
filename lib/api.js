// The whole API, bound to one backend: what the entries export, and what loadBackend hands out.

import { createFunctions } from './attention.js'
import { createBatches } from './batch.js'
import { createCache } from './cache.js'
import { AttentionError } from './errors.js'
import { createEncoder } from './encoder.js'
import { createGraphs } from './graph.js'
import { createHeads } from './heads.js'
import { createHyperbolic } from './hyperbolic.js'
import { createLayers, Layer } from './layers.js'
import { createMerge } from './merge.js'
import { createRotary } from './rotary.js'
import { createLinear } from './linear.js'
import { createSafetensors } from './safetensors.js'
import { createTensor, reshape } from './tensor.js'
import { createUtilities } from './utilities.js'
import { version } from './version.js'

/** @param {import('./backend.js').Backend} backend */
export function createApi(backend) {
  const functions = createFunctions(backend)
  return {
    createTensor,
    reshape,
    backend: () => backend.describe(),
    memoryUsage: () => backend.memoryUsage(),
    version,
    ...functions,
    ...createHeads(backend, functions),
    ...createRotary(backend),
    ...createMerge(backend),
    ...createCache(backend),
    Layer,
    ...createLayers(backend),
    ...createEncoder(backend),
    ...createGraphs(backend),
    ...createLinear(backend),
    ...createHyperbolic(backend),
    ...createSafetensors(backend),
    ...createUtilities(backend),
    ...createBatches(backend),
    AttentionError
  }
}
