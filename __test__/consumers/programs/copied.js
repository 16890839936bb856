// Runs the check on the entry that fetches its files, where the bundler carries none along and the .wasm was copied beside the script.
import * as attention from '@ruvector/attention/external'
import { check } from './check.js'

;/** @type {any} */ (globalThis).outcome = check(attention, { wasm: new URL('attention.simd.wasm', import.meta.url) })
