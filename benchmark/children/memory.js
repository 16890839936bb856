// In a process of its own: how far the resident set grows over one call on long sequences, beyond the inputs. The argument is a
// backend.

import { loadBackend } from '../../index.js'
import { randomTensor } from '../inputs.js'

const HEADS = 8
const LENGTH = 16384
const DIM = 64

const api = await loadBackend(/** @type {import('../../index.js').BackendKind} */ (process.argv[2]))
// The engine compiles the kernels for good after many calls; memory for that is not the call's.
const small = randomTensor([1, 1, 256, DIM], 1)
for (let call = 0; call < 300; call++) api.scaledDotProductAttention(small, small, small)
await new Promise((resolve) => setTimeout(resolve, 500))

const [q, k, v] = [1, 2, 3].map((seed) => randomTensor([1, HEADS, LENGTH, DIM], seed))
const before = process.memoryUsage.rss()
const { output } = api.scaledDotProductAttention(q, k, v)
// In KiB, and the largest there has been.
const peak = process.resourceUsage().maxRSS * 1024
const inputs = q.data.byteLength + k.data.byteLength + v.data.byteLength
console.log(JSON.stringify({ growth: peak - before, inputs, outputs: output.data.byteLength }))
