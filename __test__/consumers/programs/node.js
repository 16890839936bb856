// Runs the check in Node, Deno or Bun, on the package as it is installed, and prints the report.
import * as attention from '@ruvector/attention'
import * as compat from '@ruvector/attention/compat'
import * as plot from '@ruvector/attention/plot'
import { check, checkSubpaths } from './check.js'

const report = await check(attention)
await checkSubpaths(compat, plot)
console.log(JSON.stringify(report))
