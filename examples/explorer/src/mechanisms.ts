// The five mechanisms over a text, on a given backend: the timed call, and the weights of each head.

import type { AsyncOptions, Attention, MaskOptions, Tensor } from '@ruvector/attention'
import type { Edges } from '@ruvector/attention/plot'
import { linksOf } from './links.ts'
import type { AttentionLayer } from './model.ts'
import { principalPlane } from './plane.ts'
import { HEADS, HEAD_SIZE, MODEL_SIZE } from './settings.ts'
import type { Settings, Stage } from './settings.ts'

/** The input of every mechanism. */
export interface Input {
  names: readonly string[]
  /** The input of the layer, `[1, L, 384]`. */
  x: Tensor
  /** Number of tokens that are not padding. */
  valid: number
}

export interface Running {
  heads: number
  /** Runs the complete mechanism without weights, for timing. */
  forward(): unknown
  forwardAsync(options: AsyncOptions): Promise<unknown>
  /** The weights of a head, `[L, L]`; valid until the next call. */
  weights(head: number, options: AsyncOptions): Promise<Tensor>
  /** The weights of a head at an earlier stage, if the mechanism has stages. */
  stage?(head: number, stage: Stage): Tensor
  /** Points in the ball, `[L, 2]`. */
  points?: Tensor
  graph?: { edges: Edges; weights: Tensor }
  dispose(): void
}

type Start = (api: Attention, layer: AttentionLayer, input: Input, settings: Settings) => Running

const START: Record<Settings['mechanism'], Start> = {
  'dot-product': startDotProduct,
  'multi-head': startMultiHead,
  linear: startLinear,
  hyperbolic: startHyperbolic,
  graph: startGraph
}

export const start: Start = (api, layer, input, settings) => START[settings.mechanism](api, layer, input, settings)

/** The mask as options of the package. */
function maskOf({ mask, reach }: Settings, valid: number): MaskOptions {
  if (mask === 'causal') return { causal: true }
  if (mask === 'window') return { window: [reach, reach] }
  return mask === 'padding' ? { kvLengths: Int32Array.of(valid) } : {}
}

/** The columns of a head in `[1, L, 384]`, as `[1, L, 32]`. */
function columnsOf({ data, shape: [, length] }: Tensor, head: number): Tensor {
  const columns = new Float32Array(length * HEAD_SIZE)
  for (let row = 0; row < length; row++) {
    const from = row * MODEL_SIZE + head * HEAD_SIZE
    columns.set(data.subarray(from, from + HEAD_SIZE), row * HEAD_SIZE)
  }
  return { data: columns, shape: [1, length, HEAD_SIZE] }
}

/** A view with the heads as a separate dimension. */
const inHeads = ({ data, shape: [, length] }: Tensor): Tensor => ({ data, shape: [1, length, HEADS, HEAD_SIZE] })

/** The last two dimensions of a tensor whose other dimensions are 1. */
function asMatrix(tensor: Tensor | undefined): Tensor {
  if (tensor === undefined) throw new Error('the backend returned no weights')
  return { data: tensor.data, shape: tensor.shape.slice(-2) }
}

function startDotProduct(api: Attention, layer: AttentionLayer, { x, valid }: Input, settings: Settings): Running {
  const { query, key, value } = layer.project(x)
  const mask = maskOf(settings, valid)
  const [q, k, v] = [query, key, value].map(inHeads)
  const options = { layout: 'blhd', ...mask } as const
  return {
    heads: HEADS,
    forward: () => api.scaledDotProductAttention(q, k, v, options),
    forwardAsync: (own) => api.scaledDotProductAttentionAsync(q, k, v, { ...options, ...own }),
    async weights(head, own) {
      const [q, k, v] = [query, key, value].map((tensor) => columnsOf(tensor, head))
      const { weights } = await api.scaledDotProductAttentionAsync(q, k, v, { ...mask, ...own, weights: true })
      return asMatrix(weights)
    },
    stage: (head, stage) =>
      asMatrix(api.attentionWeights(columnsOf(query, head), columnsOf(key, head), { ...mask, stage })),
    dispose: () => {}
  }
}

/** The complete layer; its heads' weights are scaled dot-product attention over their queries and keys. */
function startMultiHead(api: Attention, of: AttentionLayer, input: Input, settings: Settings): Running {
  const config = { numHeads: HEADS, headDim: HEAD_SIZE, weightType: of.type }
  const layer = new api.SelfAttention(config).loadStateDict(of.state)
  const mask = maskOf(settings, input.valid)
  const { weights } = startDotProduct(api, of, input, settings)
  return {
    heads: HEADS,
    forward: () => layer.forward(input.x, mask),
    forwardAsync: (own) => layer.forwardAsync(input.x, { ...mask, ...own }),
    weights,
    dispose: () => layer.dispose()
  }
}

/** Linear attention computes no weights. With unit vectors as values, its output equals the weights. */
function startLinear(api: Attention, of: AttentionLayer, { x, valid }: Input, settings: Settings): Running {
  const { query, key, value } = of.project(x)
  const [, length] = x.shape
  const { causal, kvLengths } = maskOf(settings, valid)
  const mask = { causal, kvLengths }
  const { featureMap } = settings
  const layer = new api.LinearAttention({ modelDim: MODEL_SIZE, numHeads: HEADS, featureMap })
  let unit: Tensor | undefined
  return {
    heads: HEADS,
    forward: () => layer.forward(query, key, value, mask),
    forwardAsync: (own) => layer.forwardAsync(query, key, value, { ...mask, ...own }),
    async weights(head, own) {
      unit ??= identity(length)
      const [q, k] = [query, key].map((tensor) => ({
        data: columnsOf(tensor, head).data,
        shape: [1, 1, length, HEAD_SIZE]
      }))
      const { output } = await layer.forwardAsync(q, k, unit, { ...mask, ...own })
      return asMatrix(output)
    },
    dispose: () => layer.dispose()
  }
}

function identity(size: number): Tensor {
  const data = new Float32Array(size * size)
  for (let index = 0; index < size; index++) data[index * (size + 1)] = 1
  return { data, shape: [1, 1, size, size] }
}

function startHyperbolic(api: Attention, _: AttentionLayer, { x, valid }: Input, settings: Settings): Running {
  const { curvature, temperature } = settings
  const layer = new api.HyperbolicAttention({ curvature: -curvature, temperature })
  const points = layer.expMap0(principalPlane(x))
  const batch = { data: points.data, shape: [1, ...points.shape] }
  const mask = maskOf(settings, valid)
  return {
    heads: 1,
    forward: () => layer.forward(batch, batch, batch, mask),
    forwardAsync: (own) => layer.forwardAsync(batch, batch, batch, { ...mask, ...own }),
    async weights(_, own) {
      const { weights } = await layer.forwardAsync(batch, batch, batch, { ...mask, ...own, weights: true })
      return asMatrix(weights)
    },
    points,
    dispose: () => layer.dispose()
  }
}

/** The trained queries, keys and values, only along the links of a graph. */
function startGraph(api: Attention, of: AttentionLayer, { names, x, valid }: Input, settings: Settings): Running {
  const edges = linksOf(names, valid, settings)
  const graph = api.Graph.fromEdges(edges)
  const layer = new api.GraphTransformer({ inFeatures: MODEL_SIZE, outFeatures: HEAD_SIZE, numHeads: HEADS })
  layer.loadStateDict(graphState(of))
  const nodes = { data: x.data, shape: [names.length, MODEL_SIZE] }
  const weights = layer.forward(graph, nodes, { weights: true }).weights as Tensor
  let matrix: Float32Array | undefined
  return {
    heads: HEADS,
    forward: () => layer.forward(graph, nodes),
    forwardAsync: (own) => layer.forwardAsync(graph, nodes, own),
    async weights(head) {
      matrix ??= new Float32Array(names.length ** 2)
      for (let edge = 0; edge < edges.source.length; edge++) {
        matrix[edges.target[edge] * names.length + edges.source[edge]] = weights.data[edge * HEADS + head]
      }
      return { data: matrix, shape: [names.length, names.length] }
    },
    graph: { edges, weights },
    dispose() {
      layer.dispose()
      graph.dispose()
    }
  }
}

/** The layer's projections under the names of a graph transformer, with a zero skip connection. */
function graphState({ projections }: AttentionLayer) {
  return {
    ...Object.fromEntries(
      Object.entries(projections).flatMap(([name, { weight, bias }]) => [
        [`lin_${name}.weight`, weight],
        [`lin_${name}.bias`, bias]
      ])
    ),
    'lin_skip.weight': { data: new Float32Array(MODEL_SIZE ** 2), shape: [MODEL_SIZE, MODEL_SIZE] },
    'lin_skip.bias': { data: new Float32Array(MODEL_SIZE), shape: [MODEL_SIZE] }
  }
}
