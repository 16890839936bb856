// Runs the check on the entry that fetches its files, for bundlers that do not copy them: the .wasm was copied next to
// the
// script.
import * as attention from '@ruvector/attention/external'
import { check } from './check.js'

;/** @type {any} */ (globalThis).outcome = check(attention, { wasm: new URL('attention.simd.wasm', import.meta.url) })
