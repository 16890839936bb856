// Measures, in a separate process, the growth of the resident set over one call on long sequences, beyond the inputs.
// The argument is a backend.

import { loadBackend } from '../../index.js'
import { randomTensor } from '../inputs.js'
import { peakMemory } from '../peak.js'

const HEADS = 8
const LENGTH = 16384
const DIM = 64

const api = await loadBackend(/** @type {import('../../index.js').BackendKind} */ (process.argv[2]))
// The engine compiles the final code of the kernels after many calls; that memory does not count.
const small = randomTensor([1, 1, 256, DIM], 1)
for (let call = 0; call < 300; call++) api.scaledDotProductAttention(small, small, small)
await new Promise((resolve) => setTimeout(resolve, 500))

const [q, k, v] = [1, 2, 3].map((seed) => randomTensor([1, HEADS, LENGTH, DIM], seed))
const before = process.memoryUsage.rss()
const { output } = api.scaledDotProductAttention(q, k, v)
const peak = peakMemory()
const inputs = q.data.byteLength + k.data.byteLength + v.data.byteLength
console.log(JSON.stringify({ growth: peak - before, inputs, outputs: output.data.byteLength }))
