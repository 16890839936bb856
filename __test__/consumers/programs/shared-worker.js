// Runs the check on `/external` in a module worker of a page.
import * as attention from '@ruvector/attention/external'
import { check } from './check.js'

check(attention).then(
  (report) => postMessage(report),
  (error) => postMessage({ error: String(error) })
)
