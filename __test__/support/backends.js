// The backends that tests run on: both if addons can be loaded; only WebAssembly in browsers, or if the environment
// forces it.
import { loadBackend } from '@ruvector/attention'

/** @typedef {import('@ruvector/attention').Attention} Attention */
/** @typedef {import('@ruvector/attention').BackendKind} BackendKind */

/** @type {readonly BackendKind[]} */
const kinds =
  'document' in globalThis || process.env.RUVECTOR_ATTENTION_BACKEND === 'wasm' ? ['wasm'] : ['native', 'wasm']
export const backends = await Promise.all(kinds.map(async (kind) => ({ kind, attention: await loadBackend(kind) })))

/**
 * Calls `register` once per backend, to register its tests.
 *
 * @param {(kind: BackendKind, attention: Attention) => void} register
 */
export function onBothBackends(register) {
  for (const { kind, attention } of backends) register(kind, attention)
}
