// Runs the check on the entry that fetches its files, for bundlers that do not copy them: the module and its patch were
// copied next to the script.
import * as attention from '@ruvector/attention/external'
import { check } from './check.js'

const [wasm, patch] = ['attention.simd.wasm', 'attention.relaxed.patch'].map((name) => new URL(name, import.meta.url))
;/** @type {any} */ (globalThis).outcome = check(attention, { wasm, patch })
