// Checks that every entry of training matches training.d.ts, and the types of gradients.
import * as contract from '../../training.js'
import * as node from '../../lib/entries/training.js'
import * as browser from '../../lib/entries/training-browser.js'
import * as external from '../../lib/entries/training-external.js'
import * as workerd from '../../lib/entries/training-workerd.js'
import type { Tensor } from '../../training.js'

export const names: Record<keyof typeof contract, unknown>[] = [node, browser, external, workerd]
type Extra = Exclude<keyof typeof node, keyof typeof contract>
export const nothingMore: [Extra] extends [never] ? true : false = true

const { AdamW, Linear, MultiHeadAttention, SelfAttention, add, concat, createTensor, crossEntropy, relu, vjp } =
  contract
const x = createTensor([1, 2], [1, 2])
const layer = new Linear({ inFeatures: 2, outFeatures: 2 })
const ofLayer = vjp(layer, x).backward(x)
export const gradient: Tensor = ofLayer.inputs.x
new AdamW([layer], { clipNorm: 1, betas: [0.9, 0.99] }).step([ofLayer.parameters])
export const sum: [Tensor, Tensor] = [vjp(add, x, x).backward(x).inputs.a, vjp(add, x, x).backward(x).inputs.b]
export const parts: Tensor[] = vjp(concat, [x, x], 0).backward(x).inputs.parts
export const single: Tensor = vjp(relu, x).backward(x).inputs.x
const heads = vjp(new MultiHeadAttention({ modelDim: 4, numHeads: 2 }), x, x)
export const key: Tensor | undefined = heads.backward(x).inputs.k
const masked = vjp(new SelfAttention({ modelDim: 4, numHeads: 2 }), x, { causal: true, mask: x })
export const mask: Tensor | undefined = masked.backward(x).inputs.mask
const graph = contract.Graph.fromEdges({ numNodes: 1, source: [0], target: [0] })
const attention = new contract.GraphAttention({ inFeatures: 2, outFeatures: 2 })
export const nodes: Tensor = vjp(attention, graph, x, { seed: 1 }).backward(x).inputs.x
export const [ofSources, ofTargets]: [Tensor, Tensor] = vjp(attention, graph, [x, x]).backward(x).inputs.x
export const edgeWeight: Tensor | undefined = vjp(contract.propagate, graph, x).backward(x).inputs.edgeWeight
export const scores: Tensor = vjp(contract.edgeSoftmax, graph, x).backward(x).inputs.scores
export const loss: number = crossEntropy(x, [1], { labelSmoothing: null }).value
// @ts-expect-error: no such input
vjp(layer, x).backward(x).inputs.y
