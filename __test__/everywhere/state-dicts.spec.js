// Loading state dicts of real checkpoints, with buffers, integers, surplus entries, other names and wrong prefixes.
import test from 'ava'
import { onBothBackends } from '../support/backends.js'
import { faultOf, normal } from '../support/tensors.js'

/** @typedef {import('@ruvector/attention').StateEntry} StateEntry */

const config = { numHeads: 2, headDim: 4 }

/** Attention of Llama under a prefix. @param {string} [prefix] @returns {Record<string, StateEntry>} */
const llama = (prefix = '') =>
  Object.fromEntries(
    ['q', 'k', 'v', 'o'].map((name, seed) => [`${prefix}${name}_proj.weight`, normal([8, 8], seed + 1)])
  )

/** @type {(...shape: number[]) => StateEntry} */
const zeros = (...shape) => ({ data: new Float32Array(shape.reduce((a, b) => a * b, 1)), shape })
/** @type {(...shape: number[]) => StateEntry} */
const integers = (...shape) => ({ data: new Int32Array(shape.reduce((a, b) => a * b, 1)), shape })
/** @type {(...shape: number[]) => StateEntry} */
const booleans = (...shape) => ({ data: new Uint8Array(shape.reduce((a, b) => a * b, 1)), shape })

onBothBackends(
  (kind, { GraphConvolution, SelfAttention, TransformerEncoderLayer, loadSafetensors, saveSafetensors }) => {
    test(`${kind}: buffers that checkpoints hold in addition to parameters are skipped`, (t) => {
      const layer = new SelfAttention({ ...config, useBias: false })
      const expected = layer.loadStateDict(llama()).stateDict()
      for (const buffers of /** @type {Record<string, StateEntry>[]} */ ([
        // ESM, GPT-NeoX and early Llama; Nomic BERT; Meta's Llama; TrOCR, XGLM; Nezha
        { 'rotary_emb.inv_freq': zeros(2), 'rotary_emb.original_inv_freq': zeros(2), 'rope.freqs': zeros(2) },
        { 'embed_positions._float_tensor': zeros(1), 'embed_positions.weights': zeros(8, 8) },
        { 'relative_positions_encoding.positions_encoding': zeros(8, 8, 4) },
        // GPT and GPT-2; GPT-Neo; CodeGen, BLOOM; Trajectory Transformer; Swin; lectures on GPT
        { bias: booleans(1, 1, 8, 8), masked_bias: zeros() },
        { 'attention.bias': zeros(1, 1, 8, 8), 'attn.masked_bias': zeros(1) },
        {
          causal_mask: booleans(1, 1, 8, 8),
          'scale_mask_softmax.causal_mask': booleans(8, 8),
          mask: zeros(1, 1, 8, 8)
        },
        { attn_mask: zeros(4, 4, 4), tril: zeros(8, 8), slopes: zeros(2), alibi: zeros(2, 8, 8) },
        // BERT; CLAP; BEiT and Swin; LeViT
        { position_ids: integers(1, 8), 'embeddings.token_type_ids': integers(1, 8) },
        { relative_position_index: integers(4, 4), attention_bias_idxs: integers(4, 4) },
        // Batch norms of PyTorch; BART of fairseq; modules with a state
        { 'bn.num_batches_tracked': integers(), 'encoder.version': zeros(1), 'norm._extra_state': zeros(0) }
      ])) {
        for (const [name, tensor] of Object.entries(buffers)) {
          layer.loadStateDict({ ...llama(), [name]: tensor })
          layer.loadStateDict({ ...llama('h.0.attn.'), [`h.0.attn.${name}`]: tensor }, { prefix: 'h.0.attn' })
          t.deepEqual(layer.stateDict(), expected, name)
        }
      }
      layer.dispose()
    })

    test(`${kind}: a parameter that looks like a buffer is still required and loaded`, (t) => {
      const layer = new GraphConvolution({ inFeatures: 2, outFeatures: 3 })
      const state = { 'lin.weight': normal([3, 2], 1), bias: normal([3], 2) }
      t.deepEqual(layer.loadStateDict(state).stateDict(), { bias: state.bias, 'lin.weight': state['lin.weight'] })
      const mask = /** @type {any} */ ({ ...state, bias: zeros(1, 1, 3, 3) })
      t.like(
        faultOf(t, () => layer.loadStateDict(mask)),
        { code: 'FORMAT', argument: 'bias', actual: 'no such entry' }
      )
      layer.dispose()
    })

    test(`${kind}: integer entries are skipped unless they are parameters`, (t) => {
      const layer = new SelfAttention({ ...config, useBias: false })
      layer.loadStateDict({ ...llama(), edge_index: integers(2, 3), kept: booleans(4) })
      t.deepEqual(layer.stateDict()['out_proj.weight'], /** @type {any} */ (llama()['o_proj.weight']))
      for (const name of ['q_proj.weight', 'k_proj.weight']) {
        const { code, argument, message } = faultOf(t, () =>
          layer.loadStateDict({ ...llama(), [name]: integers(8, 8) })
        )
        t.deepEqual([code, argument], ['DTYPE', name], message)
        t.true(message.includes('an Int32Array'), message)
      }
      t.like(
        faultOf(t, () => layer.loadStateDict({ in_proj_weight: booleans(24, 8), 'out_proj.weight': zeros(8, 8) })),
        { code: 'DTYPE', argument: 'in_proj_weight' }
      )
      layer.dispose()
    })

    test(`${kind}: surplus entries are rejected by name, and skipped with strict: false`, (t) => {
      const layer = new SelfAttention({ ...config, useBias: false })
      /** @type {Record<string, StateEntry>} */
      const state = { ...llama('a.'), 'a.q_norm.weight': zeros(4), 'a.q_proj.bias': zeros(8) }
      t.like(
        faultOf(t, () => layer.loadStateDict(state, { prefix: 'a' })),
        { code: 'FORMAT', argument: 'a.q_norm.weight' }
      )
      layer.loadStateDict(state, { prefix: 'a', strict: false })
      t.deepEqual(layer.stateDict()['out_proj.weight'], /** @type {any} */ (state['a.o_proj.weight']))
      const { 'a.v_proj.weight': _, ...rest } = state
      t.like(
        faultOf(t, () => layer.loadStateDict(rest, { prefix: 'a', strict: false })),
        { code: 'FORMAT', argument: 'a.v_proj.weight', actual: 'no such entry' }
      )
      t.is(faultOf(t, () => layer.loadStateDict(state, { strict: /** @type {any} */ (1) })).argument, 'strict')

      const encoder = new TransformerEncoderLayer({ modelDim: 8, numHeads: 2, feedForwardDim: 4 })
      const more = { ...encoder.stateDict(), 'self_attn.extra': zeros(1), extra: zeros(1) }
      t.is(faultOf(t, () => encoder.loadStateDict(more)).code, 'FORMAT')
      encoder.loadStateDict(more, { strict: false })

      const graph = new GraphConvolution({ inFeatures: 2, outFeatures: 3 })
      const further = { ...graph.stateDict(), extra: zeros(1) }
      t.is(faultOf(t, () => graph.loadStateDict(further)).argument, 'extra')
      graph.loadStateDict(further, { strict: false })
      for (const each of [layer, encoder, graph]) each.dispose()
    })

    test(`${kind}: rename maps entries to the layer's names, with a record or a function; null leaves one out`, (t) => {
      const layer = new SelfAttention({ ...config, useBias: false })
      const expected = layer.loadStateDict(llama()).stateDict()
      const state = Object.fromEntries(
        Object.entries({ ...llama(), junk: zeros(1) }).map(([name, tensor]) => [
          `m.${name.replace('_proj', '')}`,
          tensor
        ])
      )
      layer.loadStateDict(state, {
        prefix: 'm',
        rename: {
          'q.weight': 'q_proj.weight',
          'k.weight': 'k_proj.weight',
          'v.weight': 'v_proj.weight',
          'o.weight': 'o_proj.weight',
          junk: null
        }
      })
      t.deepEqual(layer.stateDict(), expected)
      const rename = (/** @type {string} */ name) => (name === 'junk' ? null : name.replace('.', '_proj.'))
      t.deepEqual(layer.loadStateDict(state, { prefix: 'm.', rename }).stateDict(), expected)
      t.like(
        faultOf(t, () => layer.loadStateDict(llama(), { rename: () => 'q_proj.weight' })),
        { code: 'FORMAT', argument: 'q_proj.weight', actual: 'two' }
      )
      for (const wrong of [3, 'x', ['a'], () => 3, { 'q_proj.weight': 3 }]) {
        t.is(faultOf(t, () => layer.loadStateDict(llama(), { rename: /** @type {any} */ (wrong) })).argument, 'rename')
      }
      // Only a record's own names count.
      t.notThrows(() => layer.loadStateDict(llama(), { rename: Object.create({ 'q_proj.weight': 'x' }) }))
      layer.dispose()
    })

    test(`${kind}: the error about a prefix without entries lists similar prefixes`, (t) => {
      const layer = new SelfAttention({ ...config, useBias: false })
      const state = { ...llama('encoder.layers.0.'), ...llama('encoder.layers.1.') }
      const bytes = saveSafetensors(state)
      for (const load of [
        () => layer.loadStateDict(state, { prefix: 'encoder.layer.0' }),
        () => layer.loadStateDict(loadSafetensors(bytes, { prefix: 'encoder.layer.0' }))
      ]) {
        const { code, message } = faultOf(t, load)
        t.is(code, 'FORMAT')
        t.true(message.startsWith("no entry under 'encoder.layer.0'; similar prefixes: 'encoder.layers.0', "), message)
      }
      for (const [wrong, right] of [
        ['layers.1', 'encoder.layers.1'],
        ['model.encoder.layers.1', 'encoder.layers.1'],
        ['Encoder.layers.0', 'encoder.layers.0']
      ]) {
        const { message } = faultOf(t, () => layer.loadStateDict(state, { prefix: wrong }))
        t.true(message.startsWith(`no entry under '${wrong}'; similar prefixes: '${right}'`), message)
      }
      t.is(
        faultOf(t, () => layer.loadStateDict({ x: zeros(1) }, { prefix: 'a' })).message,
        "no entry under 'a'; no name has a prefix"
      )
      t.is(
        faultOf(t, () => layer.loadStateDict({}, { prefix: 'a' })).message,
        "no entry under 'a'; there are no entries"
      )
      layer.dispose()
    })
  }
)
