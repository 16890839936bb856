// Runs the check where files cannot be read: init() comes first, as in browsers.
import * as attention from '@ruvector/attention'
import { check } from './check.js'

await attention.init({ threads: 2 })
console.log(JSON.stringify(await check(attention)))
