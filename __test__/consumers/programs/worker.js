// Runs the check in a module worker of a page.
import * as attention from '@ruvector/attention'
import { check } from './check.js'

check(attention).then(
  (report) => postMessage(report),
  (error) => postMessage({ error: String(error) })
)
