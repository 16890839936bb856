// Runs the check on the entry that fetches its files, and stores the outcome for the browser driver.
import * as attention from '@ruvector/attention/external'
import { check } from './check.js'

;/** @type {any} */ (globalThis).outcome = check(attention)
