// Runs the check in a page, for bundlers that leave additional workers to their users.
import * as attention from '@ruvector/attention'
import * as compat from '@ruvector/attention/compat'
import * as plot from '@ruvector/attention/plot'
import { check, checkSubpaths } from './check.js'

;/** @type {any} */ (globalThis).outcome = check(attention).then(async (report) => {
  await checkSubpaths(compat, plot)
  return report
})
