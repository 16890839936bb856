// Layers that keep their projections in 16 or 8 bits: parameters, results against compositions of `linear`, names of
// other families, and every invalid input.
import test from 'ava'
import { onBothBackends } from '../support/backends.js'
import { difference } from '../support/golden.js'
import { bits, faultOf, normal } from '../support/tensors.js'

/** @typedef {import('@ruvector/attention').Tensor} Tensor */
/** @typedef {import('@ruvector/attention').Weight} Weight */
/** @typedef {import('@ruvector/attention').WeightType} WeightType */
/** @typedef {import('@ruvector/attention').QuantizedTensor} QuantizedTensor */

const TYPES = /** @type {const} */ (['f16', 'bf16', 'q8_0'])
const BLOCK = { modelDim: 36, numHeads: 2, feedForwardDim: 70 }

/**
 * The largest difference, relative to the largest expected magnitude.
 *
 * @param {Tensor} found
 * @param {Tensor} expected
 */
function relativeError({ data: found }, { data: expected }) {
  const largest = expected.reduce((most, value) => Math.max(most, Math.abs(value)), 0)
  return found.reduce((most, value, at) => Math.max(most, Math.abs(value - expected[at])), 0) / largest
}

/** Columns `start .. end` of rows. @param {Tensor} rows @param {number} start @param {number} end @returns {Tensor} */
function columns({ data, shape }, start, end) {
  const width = shape[shape.length - 1]
  const kept = data.filter((_, at) => at % width >= start && at % width < end)
  return { data: kept, shape: [...shape.slice(0, -1), end - start] }
}

onBothBackends((kind, api) => {
  const { convert, linear, saveSafetensors, loadSafetensors } = api

  /**
   * A layer of every class whose projections have a type, with a function that calls it.
   *
   * @param {WeightType} [weightType]
   */
  function layersOf(weightType) {
    const typed = weightType && { weightType }
    const [x, context] = [normal([1, 9, 36], 1), normal([1, 7, 20], 2)]
    const latent = { latentRank: 20, nopeDim: 6, rotaryDim: 4, valueDim: 5 }
    const cross = { crossAttention: { kDim: 20 } }
    const all = {
      multiHead: new api.MultiHeadAttention({ numHeads: 4, headDim: 9, kvHeads: 2, seed: 1, ...typed }),
      self: new api.SelfAttention({ numHeads: 2, headDim: 18, useBias: false, outputGate: true, seed: 2, ...typed }),
      cross: new api.CrossAttention({ numHeads: 2, headDim: 18, kDim: 20, seed: 3, ...typed }),
      encoder: new api.TransformerEncoderLayer({ ...BLOCK, gated: true, seed: 4, ...typed }),
      decoder: new api.DecoderLayer({ ...BLOCK, attention: { qkNorm: 'head', rotary: {} }, seed: 5, ...typed }),
      crossDecoder: new api.TransformerDecoderLayer({ ...BLOCK, ...cross, seed: 6, ...typed }),
      latent: new api.LatentAttention({ modelDim: 36, numHeads: 3, ...latent, seed: 7, ...typed })
    }
    const hasContext = (/** @type {string} */ name) => name === 'cross' || name === 'crossDecoder'
    return Object.entries(all).map(([name, layer]) => {
      const inputs = hasContext(name) ? [x, context] : [x]
      const any = /** @type {any} */ (layer)
      return { name, layer: any, forward: () => /** @type {Tensor} */ (any.forward(...inputs).output), inputs }
    })
  }

  test(`${kind}: layers keep their projections in the type that they are given, and all else in 32 bits`, (t) => {
    const exact = layersOf()
    for (const weightType of TYPES) {
      for (const [index, { name, layer }] of layersOf(weightType).entries()) {
        const wide = exact[index].layer.stateDict()
        const own = /** @type {Record<string, Weight>} */ (layer.stateDict({ type: 'own' }))
        t.deepEqual(Object.keys(own), Object.keys(wide), name)
        for (const [entry, weight] of Object.entries(own)) {
          const isProjection = weight.shape.length === 2
          t.deepEqual(weight, isProjection ? convert(wide[entry], weightType) : wide[entry], `${name}.${entry}`)
          t.is(bits(layer.stateDict()[entry]), bits(convert(weight, 'f32')))
        }
        t.is(layer.config.weightType, weightType)
        t.is(layer.numParameters, exact[index].layer.numParameters)
      }
    }
    t.true(exact.every(({ layer }) => !('weightType' in layer.config)))
  })

  test(`${kind}: halves give the numbers of the same weights in 32 bits, and 8 bits come close`, async (t) => {
    const exact = layersOf()
    for (const weightType of TYPES) {
      for (const [index, { name, layer, forward, inputs }] of layersOf(weightType).entries()) {
        exact[index].layer.loadStateDict(layer.stateDict())
        const [found, expected] = [forward(), exact[index].forward()]
        const most = weightType === 'q8_0' ? 0.03 : 1e-6
        t.true(relativeError(found, expected) <= most, `${name}: ${relativeError(found, expected)}`)
        t.is(bits((await layer.forwardAsync(...inputs)).output), bits(found), name)
      }
    }
  })

  test(`${kind}: attention with 8 bits is a composition of linear with the same weights`, (t) => {
    for (const weightType of TYPES) {
      for (const length of [1, 5, 40]) {
        const layer = new api.SelfAttention({ numHeads: 2, headDim: 20, weightType, seed: length })
        const own = /** @type {Record<string, any>} */ (layer.stateDict({ type: 'own' }))
        const x = normal([1, length, 40], length)
        const joint = linear(x, own.in_proj_weight, own.in_proj_bias)
        const [q, k, v] = [0, 40, 80].map((start) => ({
          ...columns(joint, start, start + 40),
          shape: [1, length, 2, 20]
        }))
        const { output } = api.scaledDotProductAttention(q, k, v, { layout: 'blhd' })
        const joined = { data: output.data, shape: [1, length, 40] }
        const expected = linear(joined, own['out_proj.weight'], own['out_proj.bias'])
        t.is(difference(layer.forward(x).output, expected, { absolute: 2e-6 }), undefined, `${weightType} ${length}`)
      }
    }
  })

  test(`${kind}: a feed-forward network with 8 bits is a composition of linear with the same weights`, (t) => {
    const { add, layerNorm, relu } = api
    for (const weightType of TYPES) {
      const attention = { weightType: /** @type {const} */ ('f32') }
      const layer = new api.TransformerEncoderLayer({ ...BLOCK, weightType, attention, seed: 1 })
      const own = /** @type {Record<string, any>} */ (layer.stateDict({ type: 'own' }))
      const x = normal([1, 11, 36], 3)
      t.is(own['self_attn.in_proj_weight'].type, undefined)
      const own_attention = new api.SelfAttention({ numHeads: 2, headDim: 18 })
      const attended = own_attention.loadStateDict(layer.stateDict(), { prefix: 'self_attn', strict: false }).forward(x)
      const middle = layerNorm(add(x, attended.output), { weight: own['norm1.weight'], bias: own['norm1.bias'] })
      const hidden = relu(linear(middle, own['linear1.weight'], own['linear1.bias']))
      const sum = add(linear(hidden, own['linear2.weight'], own['linear2.bias']), middle)
      const expected = layerNorm(sum, { weight: own['norm2.weight'], bias: own['norm2.bias'] })
      t.true(relativeError(layer.forward(x).output, expected) < (weightType === 'q8_0' ? 5e-3 : 2e-6), weightType)
    }
  })

  test(`${kind}: a layer takes entries of every type, and keeps those of its own to the bit`, (t) => {
    const wide = new api.TransformerEncoderLayer({ ...BLOCK, seed: 9 }).stateDict()
    const targets = /** @type {const} */ (['f32', ...TYPES])
    for (const weightType of targets) {
      const layer = new api.TransformerEncoderLayer({ ...BLOCK, weightType })
      for (const type of targets) {
        const given = Object.fromEntries(Object.entries(wide).map(([name, entry]) => [name, convert(entry, type)]))
        const own = /** @type {Record<string, Weight>} */ (
          layer.loadStateDict(loadSafetensors(saveSafetensors(given), { halves: 'keep' })).stateDict({ type: 'own' })
        )
        for (const [name, weight] of Object.entries(own)) {
          const expected = convert(given[name], weight.shape.length === 2 ? weightType : 'f32')
          t.deepEqual(weight, expected, `${type} to ${weightType}: ${name}`)
        }
      }
    }
    // No group has an integer of 127, so quantizing again would change it.
    const odd = (/** @type {number} */ rows, /** @type {number} */ width) => {
      const data = Int8Array.from({ length: rows * width }, (_, at) => (at % 11) - 5)
      const scales = Uint16Array.from({ length: rows * Math.ceil(width / 32) }, (_, at) => 0x2000 + at)
      return { type: /** @type {const} */ ('q8_0'), data, scales, shape: [rows, width] }
    }
    const layer = new api.SelfAttention({ numHeads: 2, headDim: 18, useBias: false, weightType: 'q8_0' })
    const state = { in_proj_weight: odd(108, 36), 'out_proj.weight': odd(36, 36) }
    t.deepEqual(layer.loadStateDict(state).stateDict({ type: 'own' }), state)
  })

  test(`${kind}: entries are translated between families in their own type`, (t) => {
    for (const weightType of TYPES) {
      const config = { ...BLOCK, weightType, seed: 3 }
      const layer = new api.TransformerEncoderLayer(config)
      const own = layer.stateDict({ type: 'own' })
      const bert = /** @type {Record<string, any>} */ (layer.stateDict({ type: 'own', names: 'bert' }))
      t.is(bert['attention.self.key.weight'].type, weightType)
      t.deepEqual(bert['attention.self.key.weight'].shape, [36, 36])
      const other = new api.TransformerEncoderLayer({ ...config, seed: 4 }).loadStateDict(bert)
      t.deepEqual(other.stateDict({ type: 'own' }), own)
      // GPT-2's weights are transposed: groups of 8 bits run along the other dimension.
      const settings = /** @type {const} */ ({ norm: 'layer', weightType })
      const decoder = new api.DecoderLayer({ ...BLOCK, ...settings })
      const gpt2 = decoder.stateDict({ names: 'gpt2' })
      t.deepEqual(
        new api.DecoderLayer({ ...BLOCK, ...settings, seed: 8 }).loadStateDict(gpt2).stateDict(),
        decoder.stateDict()
      )
      const typed = /** @type {Record<string, any>} */ (decoder.stateDict({ names: 'gpt2', type: 'own' }))
      t.is(typed['attn.c_attn.weight'].type, weightType)
      t.deepEqual(typed['attn.c_attn.weight'], convert(gpt2['attn.c_attn.weight'], weightType))
    }
  })

  test(`${kind}: invalid types and values are errors that name them, and leave the layer as it was`, (t) => {
    const any = /** @type {any} */ (api)
    const attention = { weightType: 'q4_0' }
    /** @type {[() => unknown, string, string][]} */
    const cases = [
      [() => new any.SelfAttention({ numHeads: 2, headDim: 4, weightType: 'q4_0' }), 'OPTION', 'weightType'],
      [() => new any.SelfAttention({ numHeads: 2, headDim: 4, weightType: 8 }), 'OPTION', 'weightType'],
      [() => new any.TransformerEncoderLayer({ ...BLOCK, weightType: 'int8' }), 'OPTION', 'weightType'],
      [() => new any.TransformerEncoderLayer({ ...BLOCK, attention }), 'OPTION', 'attention.weightType'],
      [() => new any.DecoderLayer({ ...BLOCK, weightType: 'F16' }), 'OPTION', 'weightType']
    ]
    for (const [call, code, argument] of cases) t.like(faultOf(t, call), { code, argument }, call.toString())
    const layer = new api.SelfAttention({ numHeads: 2, headDim: 18, weightType: 'q8_0' })
    const before = layer.stateDict({ type: 'own' })
    const state = layer.stateDict()
    const wrong = { ...state, 'out_proj.weight': { data: new Float32Array(36 * 36).fill(NaN), shape: [36, 36] } }
    t.like(
      faultOf(t, () => layer.loadStateDict(wrong)),
      { code: 'DOMAIN', argument: 'out_proj.weight' }
    )
    const short = { ...state, 'out_proj.weight': convert(normal([36, 18], 1), 'q8_0') }
    t.like(
      faultOf(t, () => layer.loadStateDict(short)),
      { code: 'SHAPE', argument: 'out_proj.weight' }
    )
    t.deepEqual(layer.stateDict({ type: 'own' }), before)
    const spoiled = layer.forward({ data: new Float32Array(72).fill(NaN, 0, 36), shape: [2, 1, 36] }).output.data
    t.true(spoiled.subarray(0, 36).every(Number.isNaN) && spoiled.subarray(36).every(Number.isFinite))
  })
})
