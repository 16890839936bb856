// The plan's interface over the backend that a test runs on.
import { createCompat } from '../../lib/compat/index.js'

/** @typedef {typeof import('@ruvector/attention/compat')} Compat */

/**
 * @param {import('@ruvector/attention').Attention} attention
 * @returns {Compat}
 */
export const compatOf = (attention) =>
  /** @type {any} */ (createCompat(/** @type {any} */ ({ ...attention, init: async () => {} })))
