// Runs the check and prints the report, without top-level await, which CommonJS bundles do not support.
import * as attention from '@ruvector/attention'
import * as compat from '@ruvector/attention/compat'
import * as plot from '@ruvector/attention/plot'
import { check, checkSubpaths } from './check.js'

check(attention)
  .then(async (report) => {
    await checkSubpaths(compat, plot)
    console.log(JSON.stringify(report))
  })
  .catch((error) => {
    console.error(error)
    process.exitCode = 1
  })
