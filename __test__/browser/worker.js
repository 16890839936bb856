// Runs the smoke test in a module worker.
import * as entry from '../../lib/entries/browser.js'
import { smoke } from './smoke.js'

smoke(/** @type {any} */ (entry)).then(
  (simd) => postMessage({ simd }),
  (error) => postMessage({ error: String(error) })
)
