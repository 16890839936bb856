// The complete API, bound to one backend: the exports of the entries, and the result of loadBackend.

import { createCore } from './core.js'
import { createGraphs } from './graph.js'
import { createHyperbolic } from './hyperbolic.js'
import { createLinear } from './linear.js'

export { backendOf } from './core.js'

/** @param {import('../runtime/backend.js').Backend} backend */
export function createApi(backend) {
  return {
    ...createCore(backend),
    ...createGraphs(backend),
    ...createLinear(backend),
    ...createHyperbolic(backend)
  }
}
