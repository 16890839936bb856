// Measures, in a separate process, the growth of the resident set over one call of attention over a large graph. The
// argument is a backend.

import { loadBackend } from '../../index.js'
import { cases } from '../cases.js'
import { makeInputs } from '../inputs.js'
import { peakMemory } from '../peak.js'

const api = await loadBackend(/** @type {import('../../index.js').BackendKind} */ (process.argv[2]))
const problem = cases({ isQuick: false }).find(({ queries, version }) => queries === 100_000 && version === 2)
if (!problem) throw new Error('there is no such case')
const { x, edges } = makeInputs(problem)
const { queries, keys, heads, dim } = problem
const graph = api.Graph.fromEdges({ numNodes: queries, source: edges?.source ?? [], target: edges?.target ?? [] })
const layer = new api.GraphAttention({ inFeatures: heads * dim, outFeatures: dim, numHeads: heads })
const before = process.memoryUsage.rss()
layer.forward(graph, x)
const peak = peakMemory()
console.log(JSON.stringify({ growth: peak - before, messages: 4 * keys * heads * dim }))
