// Holds the keys and values from one row to another, and attends to them for every query that it receives.

import { scaledDotProductAttention } from '@ruvector/attention'
import { rowsOf } from './data.js'

const [from, to] = process.argv.slice(2).map(Number)
const [keys, values] = [rowsOf('key', from, to), rowsOf('value', from, to)]

process.on('message', (query) => {
  process.send?.(scaledDotProductAttention(/** @type {any} */ (query), keys, values, { logSumExp: true }))
})
