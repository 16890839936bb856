// The backends that tests run on: both if addons can be loaded; WebAssembly in browsers; or the one that the
// environment forces.
import { loadBackend } from '@ruvector/attention'

/** @typedef {import('@ruvector/attention').Attention} Attention */
/** @typedef {import('@ruvector/attention').BackendKind} BackendKind */

/** @type {readonly BackendKind[]} */
export const kinds = 'document' in globalThis ? ['wasm'] : (forced() ?? ['native', 'wasm'])
export const backends = await Promise.all(kinds.map(async (kind) => ({ kind, attention: await loadBackend(kind) })))

/** @returns {BackendKind[] | undefined} */
function forced() {
  const kind = process.env.RUVECTOR_ATTENTION_BACKEND
  return kind === 'native' || kind === 'wasm' ? [kind] : undefined
}

/**
 * Calls `register` once per backend, to register its tests.
 *
 * @param {(kind: BackendKind, attention: Attention) => void} register
 */
export function onBothBackends(register) {
  for (const { kind, attention } of backends) register(kind, attention)
}
