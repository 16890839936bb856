// Runs the check on the entry that fetches its files, and leaves the outcome where the driver of a browser looks.
import * as attention from '@ruvector/attention/external'
import { check } from './check.js'

;/** @type {any} */ (globalThis).outcome = check(attention)
