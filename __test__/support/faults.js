// The builds with an operation that panics; nothing that ships has it.
import { readFileSync, readdirSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { loader } from '../../lib/loaders/loader.js'
import { openSource } from '../../lib/loaders/wasm.js'
import { OPERATIONS } from '../../lib/runtime/operations.js'

const addons = fileURLToPath(new URL('../../target/faults/', import.meta.url))
const module = new URL('../../target/wasm/faults/bound/attention_bg.wasm', import.meta.url)

/** The operation that panics with its options as the message. */
export const provokePanic = /** @type {import('../../lib/runtime/operations.js').Operation} */ ('provokePanic')

// The last one in these builds.
OPERATIONS[provokePanic] = { number: Object.keys(OPERATIONS).length, inputs: 0 }

/**
 * Loads a backend with {@link provokePanic}.
 *
 * @param {'native' | 'wasm'} kind
 */
export async function loadWithFaults(kind) {
  if (kind === 'wasm') return openSource({ wasm: readFileSync(module) })
  process.env.RUVECTOR_ATTENTION_NATIVE_PATH = addons + readdirSync(addons).find((name) => name.endsWith('.node'))
  return loader.load(kind)
}
