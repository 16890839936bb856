// Builds layers as ONNX graphs, nodes and constants, from state dicts with PyTorch's names.

import { transposed } from '../inputs.js'

/** @typedef {import('../../index.js').Tensor} Tensor */
/** @typedef {import('../../index.js').StateDict} StateDict */
/** @typedef {import('./onnx-model.js').Node} Node */
/** @typedef {{ nodes: Node[], constants: Record<string, Tensor> }} Graph */

const MICROSOFT = 'com.microsoft'

/**
 * `x Wᵀ + b`
 *
 * @param {string} name
 * @param {Tensor} weight
 * @param {Tensor} bias
 * @param {string} x
 * @param {string} y
 * @returns {Graph}
 */
const linear = (name, weight, bias, x, y) => ({
  nodes: [
    { op: 'MatMul', inputs: [x, `${name}.weight`], output: `${name}.product` },
    { op: 'Add', inputs: [`${name}.product`, `${name}.bias`], output: y }
  ],
  constants: { [`${name}.weight`]: transposed(weight), [`${name}.bias`]: bias }
})

/** @param {readonly Graph[]} parts @returns {Graph} */
const joined = (parts) => ({
  nodes: parts.flatMap(({ nodes }) => nodes),
  constants: Object.assign({}, ...parts.map(({ constants }) => constants))
})

/**
 * Self-attention: three projections and MultiHeadAttention, or ONNX Runtime's fused Attention, which includes
 * projections.
 *
 * @param {StateDict} state
 * @param {string} prefix  of the names in the state dict, and in the graph
 * @param {{ heads: number, isFused: boolean }} options
 * @param {string} x  the graph's name of the input
 * @param {string} y  the graph's name of the output
 * @returns {Graph}
 */
export function attentionGraph(state, prefix, { heads, isFused }, x, y) {
  const [weight, bias] = [state[`${prefix}in_proj_weight`], state[`${prefix}in_proj_bias`]]
  const attributes = { num_heads: heads }
  const between = `${prefix}heads`
  const out = linear(`${prefix}out`, state[`${prefix}out_proj.weight`], state[`${prefix}out_proj.bias`], between, y)
  if (isFused) {
    const [packed, offset] = [`${prefix}packed.weight`, `${prefix}packed.bias`]
    const node = { op: 'Attention', domain: MICROSOFT, inputs: [x, packed, offset], output: between, attributes }
    return joined([{ nodes: [node], constants: { [packed]: transposed(weight), [offset]: bias } }, out])
  }
  const size = weight.shape[1]
  const names = ['q', 'k', 'v'].map((name) => prefix + name)
  const projections = names.map((name, index) => {
    const rows = { data: weight.data.subarray(index * size * size, (index + 1) * size * size), shape: [size, size] }
    const offsets = { data: bias.data.slice(index * size, (index + 1) * size), shape: [size] }
    return linear(name, rows, offsets, x, name)
  })
  const node = { op: 'MultiHeadAttention', domain: MICROSOFT, inputs: names, output: between, attributes }
  return joined([...projections, { nodes: [node], constants: {} }, out])
}

/**
 * An encoder layer with GELU and with norms after the sums.
 *
 * @param {StateDict} state
 * @param {string} prefix
 * @param {{ heads: number, isFused: boolean, epsilon: number }} options
 * @param {string} x
 * @param {string} y
 * @returns {Graph}
 */
export function encoderLayerGraph(state, prefix, { epsilon, ...options }, x, y) {
  const own = (/** @type {string} */ name) => prefix + name
  /** @type {(name: string, a: string, b: string, output: string) => Graph} */
  const normOfSum = (name, a, b, output) => {
    const inputs = [own(`${name}.sum`), own(`${name}.weight`), own(`${name}.bias`)]
    return {
      nodes: [
        { op: 'Add', inputs: [a, b], output: inputs[0] },
        { op: 'LayerNormalization', inputs, output, attributes: { epsilon } }
      ],
      constants: { [inputs[1]]: state[inputs[1]], [inputs[2]]: state[inputs[2]] }
    }
  }
  /** @type {(name: string, from: string, to: string) => Graph} */
  const feed = (name, from, to) => linear(own(name), state[own(`${name}.weight`)], state[own(`${name}.bias`)], from, to)
  return joined([
    attentionGraph(state, own('self_attn.'), options, x, own('attended')),
    normOfSum('norm1', x, own('attended'), own('middle')),
    feed('linear1', own('middle'), own('wide')),
    { nodes: [{ op: 'Gelu', inputs: [own('wide')], output: own('active') }], constants: {} },
    feed('linear2', own('active'), own('narrow')),
    normOfSum('norm2', own('middle'), own('narrow'), y)
  ])
}
