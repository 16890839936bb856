// The whole API, bound to one backend: what the entries export, and what loadBackend hands out.

import { createFunctions } from './attention.js'
import { AttentionError } from './errors.js'
import { createEncoder } from './encoder.js'
import { createGraphs } from './graph.js'
import { createLayers, Layer } from './layers.js'
import { createSafetensors } from './safetensors.js'
import { createTensor, reshape } from './tensor.js'
import { createUtilities } from './utilities.js'
import { version } from './version.js'

/** @param {import('./backend.js').Backend} backend */
export function createApi(backend) {
  return {
    createTensor,
    reshape,
    backend: () => backend.describe(),
    memoryUsage: () => backend.memoryUsage(),
    version,
    ...createFunctions(backend),
    Layer,
    ...createLayers(backend),
    ...createEncoder(backend),
    ...createGraphs(backend),
    ...createSafetensors(backend),
    ...createUtilities(backend),
    AttentionError
  }
}
