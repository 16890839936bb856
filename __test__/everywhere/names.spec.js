// Names of checkpoints: every family's names can be written and read, and entries that do not fit are reported by their
// own names.
import test from 'ava'
import { onBothBackends } from '../support/backends.js'
import { faultOf, normal } from '../support/tensors.js'

/** @typedef {import('@ruvector/attention').Tensor} Tensor */
/** @typedef {import('@ruvector/attention').StateNames} StateNames */
/** @typedef {Record<string, Tensor>} State */

const config = { modelDim: 8, numHeads: 4 }
const grouped = { ...config, headDim: 3, kvHeads: 2 }

/** @type {readonly StateNames[]} */
const ATTENTION = [
  'torch',
  'bert',
  'llama',
  'whisper',
  'vit',
  'distilbert',
  'albert',
  't5',
  'mpnet',
  'gpt2',
  'gpt_neox',
  'phi3',
  'modernbert',
  'nomic',
  'timm',
  'diffusers'
]
/** @type {readonly StateNames[]} */
const ENCODER = [
  'torch',
  'bert',
  'distilbert',
  'mpnet',
  'albert',
  'vit',
  'dinov2',
  'timm',
  'clip',
  'whisper',
  'wav2vec2',
  't5',
  'modernbert',
  'nomic'
]

/** The state with each entry moved under a prefix. @param {State} state @param {string} prefix @returns {State} */
const under = (state, prefix) =>
  Object.fromEntries(Object.entries(state).map(([name, tensor]) => [`${prefix}.${name}`, tensor]))

/** @param {Tensor} tensor */
const rowsOf = ({ data, shape: [rows, columns = 1] }) =>
  Array.from({ length: rows }, (_, row) => [...data.subarray(row * columns, (row + 1) * columns)])

/**
 * A layer with no parameter at its initial value.
 *
 * @template {import('@ruvector/attention').Layer} T
 * @param {T} layer
 */
function randomized(layer) {
  const state = Object.entries(layer.stateDict()).map(([name, { shape }], seed) => [name, normal(shape, seed + 1)])
  return layer.loadStateDict(Object.fromEntries(state))
}

onBothBackends((kind, attention) => {
  const { CrossAttention, SelfAttention, TransformerEncoderLayer, createTensor } = attention

  test(`${kind}: a state dict under the names of any family loads again`, (t) => {
    for (const useBias of [true, false]) {
      for (const shape of [config, grouped]) {
        const layer = randomized(new SelfAttention({ ...shape, useBias }))
        const expected = layer.stateDict()
        for (const names of ATTENTION) {
          const state = under(layer.stateDict({ names }), 'h.1')
          const other = new SelfAttention({ ...shape, useBias, seed: 1 }).loadStateDict(state, { prefix: 'h.1' })
          t.deepEqual(other.stateDict(), expected, `${names} ${useBias}`)
          other.dispose()
        }
        layer.dispose()
      }
    }
    const layer = randomized(new TransformerEncoderLayer({ ...config, feedForwardDim: 12 }))
    const expected = layer.stateDict()
    for (const names of ENCODER) {
      const other = new TransformerEncoderLayer({ ...config, feedForwardDim: 12 })
      other.loadStateDict(under(layer.stateDict({ names }), 'x'), { prefix: 'x' })
      t.deepEqual(other.stateDict(), expected, names)
      other.dispose()
    }
    layer.dispose()
  })

  test(`${kind}: state dicts of decoder layers load under the names of any family`, (t) => {
    const sizes = { ...config, feedForwardDim: 12, attention: { kvHeads: 2 } }
    const layers = /** @type {const} */ ([
      [attention.DecoderLayer, {}, ['llama', 'phi3']],
      [attention.DecoderLayer, { normPlacement: 'sandwich' }, ['llama', 'phi3']],
      [attention.DecoderLayer, { norm: 'layer' }, ['llama', 'gpt2', 'gpt_neox', 'bloom', 'starcoder2']],
      [attention.TransformerDecoderLayer, {}, ['torch', 'whisper', 't5', 'diffusers']],
      [attention.TransformerDecoderLayer, { gated: true, norm: 'rms' }, ['torch', 't5', 'diffusers']]
    ])
    for (const [Layer, settings, families] of layers) {
      const layer = randomized(new Layer(/** @type {any} */ ({ ...sizes, ...settings })))
      for (const names of families) {
        const other = new Layer(/** @type {any} */ ({ ...sizes, ...settings, seed: 1 }))
        other.loadStateDict(under(layer.stateDict({ names }), 'h.2'), { prefix: 'h.2' })
        t.deepEqual(other.stateDict(), layer.stateDict(), names)
        other.dispose()
      }
      layer.dispose()
    }
  })

  test(`${kind}: fused rows are in the order of each family`, (t) => {
    const layer = randomized(new SelfAttention(grouped))
    const { in_proj_weight: weight, in_proj_bias: bias, 'out_proj.weight': output } = layer.stateDict()
    const rows = rowsOf(weight)
    t.deepEqual(layer.stateDict({ names: 'phi3' })['qkv_proj.weight'], weight)
    const byHead = [0, 1].flatMap((group) => [
      ...rows.slice(group * 6, group * 6 + 6),
      ...rows.slice(12 + group * 3, 15 + group * 3),
      ...rows.slice(18 + group * 3, 21 + group * 3)
    ])
    t.deepEqual(rowsOf(layer.stateDict({ names: 'gpt_neox' })['query_key_value.weight']), byHead)
    const gpt2 = layer.stateDict({ names: 'gpt2' })
    t.deepEqual(gpt2['c_attn.weight'].shape, [8, 24])
    t.deepEqual(
      rowsOf(gpt2['c_attn.weight'])[1],
      rows.map((row) => row[1])
    )
    t.deepEqual(gpt2['c_attn.bias'], bias)
    t.deepEqual(
      rowsOf(gpt2['c_proj.weight'])[1],
      rowsOf(output).map((row) => row[1])
    )
    layer.dispose()
  })

  test(`${kind}: a layer scale is folded into the projection before it`, (t) => {
    const layer = randomized(new TransformerEncoderLayer({ ...config, feedForwardDim: 12 }))
    const state = layer.stateDict({ names: 'dinov2' })
    t.deepEqual([...state['layer_scale1.lambda1'].data], Array(8).fill(1))
    const scale = normal([8], 100)
    const loaded = layer.loadStateDict({ ...state, 'layer_scale2.lambda1': scale }).stateDict()
    const expected = rowsOf(state['mlp.fc2.weight']).flatMap((row, index) => row.map((x) => x * scale.data[index]))
    t.deepEqual([...loaded['linear2.weight'].data], [...Float32Array.from(expected)])
    t.is(loaded['linear2.bias'].data[3], Math.fround(state['mlp.fc2.bias'].data[3] * scale.data[3]))
    t.deepEqual(loaded['linear1.weight'], state['mlp.fc1.weight'])
    layer.dispose()
  })

  test(`${kind}: biases that a family lacks are zeros; every other missing bias is an error`, (t) => {
    const layer = randomized(new SelfAttention(config))
    for (const [names, lacking] of /** @type {[StateNames, string[]][]} */ ([
      ['whisper', ['k_proj.bias']],
      ['llama', ['o_proj.bias']],
      ['nomic', ['Wqkv.bias', 'out_proj.bias']],
      ['diffusers', ['to_q.bias', 'to_k.bias', 'to_v.bias']]
    ])) {
      const state = layer.stateDict({ names })
      const missing = Object.fromEntries(Object.entries(state).filter(([name]) => !lacking.includes(name)))
      const other = new SelfAttention(config).loadStateDict(missing)
      const zeroed = Object.fromEntries(
        Object.entries(state).map(([name, { data, shape }]) => [
          name,
          createTensor(lacking.includes(name) ? data.map(() => 0) : data, shape)
        ])
      )
      t.deepEqual(other.stateDict(), layer.loadStateDict(zeroed).stateDict(), names)
      other.dispose()
    }
    const { 'q_lin.bias': _, ...rest } = layer.stateDict({ names: 'distilbert' })
    t.like(
      faultOf(t, () => layer.loadStateDict(under(rest, 'a'), { prefix: 'a' })),
      { code: 'FORMAT', argument: 'a.q_lin.bias', expected: 'an entry of shape [8], as useBias is true' }
    )
    layer.dispose()
  })

  test(`${kind}: entries that do not fit are reported by the names of their family, and nothing changes`, (t) => {
    const layer = randomized(new SelfAttention({ ...grouped, useBias: false }))
    const before = layer.stateDict()
    const state = layer.stateDict({ names: 'gpt2' })
    for (const [wrong, code, argument, expected] of /** @type {[State, string, string, string][]} */ ([
      [{ ...state, 'c_attn.weight': normal([24, 8], 1) }, 'SHAPE', 'c_attn.weight', '[8, 24]'],
      [{ ...state, 'c_attn.bias': normal([24], 1) }, 'FORMAT', 'c_attn.bias', 'no biases, as useBias is false'],
      [{ ...state, extra: normal([24], 1) }, 'FORMAT', 'extra', "one of 'c_attn.weight', 'c_proj.weight'"],
      [{ 'c_attn.weight': state['c_attn.weight'] }, 'FORMAT', 'c_proj.weight', 'an entry of shape [12, 8]']
    ])) {
      t.like(
        faultOf(t, () => layer.loadStateDict(wrong)),
        { code, argument, expected }
      )
    }
    layer.loadStateDict({ ...state, extra: normal([24], 1) }, { strict: false })
    t.deepEqual(layer.stateDict(), before)
    const cross = new CrossAttention({ ...config, kDim: 6, useBias: false })
    t.like(
      faultOf(t, () => cross.loadStateDict(state)),
      { code: 'SHAPE', argument: 'c_attn.weight' }
    )
    t.like(
      faultOf(t, () => cross.stateDict({ names: 'gpt2' })),
      { code: 'OPTION', argument: 'names' }
    )
    const normed = new SelfAttention({ ...config, qkNorm: 'head' })
    t.like(
      faultOf(t, () => normed.stateDict({ names: 'bert' })),
      { code: 'OPTION', argument: 'names' }
    )
    const unknown = faultOf(t, () => layer.stateDict({ names: /** @type {any} */ ('gpt') }))
    t.is(unknown.code, 'OPTION')
    t.true(unknown.message.includes("'gpt2'"), unknown.message)
    t.is(faultOf(t, () => layer.stateDict({ names: /** @type {any} */ (3) })).argument, 'names')
    for (const each of [layer, cross, normed]) each.dispose()
  })
})
