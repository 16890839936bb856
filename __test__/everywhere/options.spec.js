// Unknown options, omitted options, and surplus arguments.
import test from 'ava'
import { onBothBackends } from '../support/backends.js'
import { bits, faultOf, normal } from '../support/tensors.js'

onBothBackends((kind, attention) => {
  const x = normal([1, 2, 3, 4], 1)
  const attend = (/** @type {any} */ options) => () => attention.scaledDotProductAttention(x, x, x, options)

  test(`${kind}: the error about an unknown option suggests the intended name`, (t) => {
    /** @type {[any, RegExp][]} */
    const cases = [
      [{ casual: true }, /^unknown option 'casual'; did you mean 'causal'\?$/],
      [{ is_causal: true }, /^unknown option 'is_causal'; did you mean 'causal'\?$/],
      [{ attn_mask: 1 }, /did you mean 'mask'\?$/],
      [{ key_padding_mask: 1 }, /did you mean 'kvLengths' or 'mask'\?$/],
      [{ need_weights: true }, /did you mean 'weights'\?$/],
      [{ dropout_p: 0.1 }, /did you mean 'dropout'\?$/],
      [{ temperature: 2 }, /^unknown option 'temperature'; the options are '.*'causal'.*'out'$/]
    ]
    for (const [options, message] of cases) {
      const fault = faultOf(t, attend(options))
      t.is(fault.code, 'OPTION')
      t.is(fault.argument, Object.keys(options)[0])
      t.regex(fault.message, message)
    }
    const layer = (/** @type {any} */ config) => () => new attention.SelfAttention(config)
    t.regex(faultOf(t, layer({ embed_dim: 8, num_heads: 2 })).message, /did you mean 'modelDim'\?$/)
    t.regex(
      faultOf(t, layer({ numHeads: 2, headDim: 4, rotary: { bas: 1 } })).message,
      /^unknown option 'rotary.bas'; did you mean 'rotary.base'\?$/
    )
  })

  test(`${kind}: the head size defaults to the model size divided by the heads`, (t) => {
    const derived = new attention.SelfAttention({ modelDim: 12, numHeads: 3, seed: 4 })
    const given = new attention.SelfAttention({ modelDim: 12, numHeads: 3, headDim: 4, seed: 4 })
    t.deepEqual(derived.config, given.config)
    const input = normal([1, 5, 12], 2)
    t.is(bits(derived.forward(input).output), bits(given.forward(input).output))
    const make = (/** @type {any} */ config) => () => new attention.CrossAttention(config)
    t.is(faultOf(t, make({ modelDim: 10, numHeads: 3 })).argument, 'headDim')
    t.is(faultOf(t, make({ modelDim: 12, numHeads: 3, headDim: 0 })).argument, 'headDim')
  })

  test(`${kind}: a cache takes blocks in either layout`, (t) => {
    const [batch, heads, length, size] = [2, 3, 4, 5]
    const config = { batch, kvHeads: heads, headDim: size, capacity: 9 }
    const [k, v] = [normal([batch, heads, length, size], 3), normal([batch, heads, length, size], 4)]
    const swapped = (/** @type {import('@ruvector/attention').Tensor} */ { data }) => {
      const result = new Float32Array(data.length)
      for (let b = 0; b < batch; b++) {
        for (let h = 0; h < heads; h++) {
          for (let i = 0; i < length; i++) {
            const from = ((b * heads + h) * length + i) * size
            result.set(data.subarray(from, from + size), ((b * length + i) * heads + h) * size)
          }
        }
      }
      return { data: result, shape: [batch, length, heads, size] }
    }
    const q = normal([batch, heads, 2, size], 5)
    const plain = new attention.KVCache(config).append(k, v)
    const other = new attention.KVCache(config).append(swapped(k), swapped(v), { layout: 'blhd' })
    t.is(other.length, length)
    t.is(bits(other.attend(q).output), bits(plain.attend(q).output))
    const append = (/** @type {any} */ options) => () => plain.append(k, v, options)
    t.is(faultOf(t, append({ layout: 'lbhd' })).argument, 'layout')
    t.is(faultOf(t, append({ layuot: 'blhd' })).argument, 'layuot')
    t.is(plain.length, length)
  })

  test(`${kind}: surplus arguments are rejected`, (t) => {
    const { softmax, silu, linear } = /** @type {any} */ (attention)
    const weight = normal([3, 4], 6)
    for (const call of [
      () => softmax(x, { axis: 0 }),
      () => silu(x, { beta: 2 }),
      () => linear(x, weight, undefined, { transpose: true })
    ]) {
      t.is(faultOf(t, call).code, 'OPTION')
    }
    t.notThrows(() => softmax(x, undefined))
  })
})
