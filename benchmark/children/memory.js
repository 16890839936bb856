// In a process of its own: how far the resident set grows over one call on long sequences, beyond the inputs. The argument is a
// backend.

import { loadBackend } from '../../index.js'
import { randomTensor } from '../inputs.js'

const HEADS = 8
const LENGTH = 16384
const DIM = 64

const api = await loadBackend(/** @type {import('../../index.js').BackendKind} */ (process.argv[2]))
const small = randomTensor([1, 1, 16, DIM], 1)
api.scaledDotProductAttention(small, small, small)

const [q, k, v] = [1, 2, 3].map((seed) => randomTensor([1, HEADS, LENGTH, DIM], seed))
const before = process.memoryUsage.rss()
const { output } = api.scaledDotProductAttention(q, k, v)
// In KiB, and the largest there has been.
const peak = process.resourceUsage().maxRSS * 1024
const inputs = q.data.byteLength + k.data.byteLength + v.data.byteLength
console.log(JSON.stringify({ growth: peak - before, inputs, outputs: output.data.byteLength }))
