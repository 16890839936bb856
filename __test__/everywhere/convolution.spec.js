// Causal convolution: ONNX's numbers, sequences in parts, asynchronous calls, and every invalid input.
import test from 'ava'
import fc from 'fast-check'
import { onBothBackends } from '../support/backends.js'
import { difference, readGolden } from '../support/golden.js'
import { bits, faultOf, normal } from '../support/tensors.js'

/** @typedef {import('@ruvector/attention').Tensor} Tensor */

const golden = readGolden('onnx-convolution')

/**
 * The positions from `start` to `end`.
 *
 * @param {Tensor} x
 * @param {number} start
 * @param {number} end
 */
function part({ data, shape: [batch, channels, length] }, start, end) {
  const rows = Array.from({ length: batch * channels }, (_, row) => [
    ...data.subarray(row * length + start, row * length + end)
  ])
  return { data: Float32Array.from(rows.flat()), shape: [batch, channels, end - start] }
}

onBothBackends((kind, { causalConvolution, causalConvolutionAsync, silu }) => {
  for (const { name, activation, tensors } of golden.cases) {
    const { x, weight, bias, state } = tensors
    test(`${kind} gives the results of ONNX's CausalConvWithState: ${name}`, (t) => {
      const found = causalConvolution(x, weight, { bias, state, activation })
      t.is(difference(found.output, tensors.output, { absolute: 1e-6, relative: 1e-6 }), undefined)
      t.is(bits(found.state), bits(tensors.newState))
      t.deepEqual(found.state.shape, tensors.newState.shape)
    })
  }

  test(`${kind}: a sequence in parts has the bits of the whole`, (t) => {
    const one = (/** @type {number} */ min, /** @type {number} */ max) => fc.integer({ min, max })
    fc.assert(
      fc.property(one(1, 3), one(1, 5), one(1, 60), one(1, 6), fc.nat(), (batch, channels, length, size, seed) => {
        const x = normal([batch, channels, length], seed)
        const weight = normal([channels, 1, size], seed + 1)
        const bias = normal([channels], seed + 2)
        const middle = seed % (length + 1)
        const whole = causalConvolution(x, weight, { bias, activation: 'silu' })
        const first = causalConvolution(part(x, 0, middle), weight, { bias, activation: 'silu' })
        const { state } = first
        const second = causalConvolution(part(x, middle, length), weight, { bias, state, activation: 'silu' })
        t.is(bits(first.output), bits(part(whole.output, 0, middle)))
        t.is(bits(second.output), bits(part(whole.output, middle, length)))
        t.is(bits(second.state), bits(whole.state))
      }),
      { numRuns: 60 }
    )
  })

  test(`${kind}: the activation is that of silu, and an asynchronous call gives the same bits`, async (t) => {
    const [x, weight] = [normal([2, 16, 300], 1), normal([16, 1, 4], 2)]
    const plain = causalConvolution(x, weight)
    const active = await causalConvolutionAsync(x, weight, { activation: 'silu' })
    t.is(bits(active.output), bits(silu(plain.output)))
    t.is(bits(active.state), bits(plain.state))
    const signal = AbortSignal.abort()
    t.is(await causalConvolutionAsync(x, weight, { signal }).catch((error) => error), signal.reason)
  })

  test(`${kind}: sizes of 0 give empty results, and keep the state`, (t) => {
    const state = normal([2, 3, 3], 5)
    const empty = causalConvolution(normal([2, 3, 0], 1), normal([3, 1, 4], 2), { state })
    t.deepEqual(empty.output.shape, [2, 3, 0])
    t.is(bits(empty.state), bits(state))
    t.deepEqual(causalConvolution(normal([0, 3, 5], 1), normal([3, 1, 4], 2)).state.shape, [0, 3, 3])
    t.deepEqual(causalConvolution(normal([1, 0, 5], 1), normal([0, 1, 4], 2)).output.shape, [1, 0, 5])
  })

  test(`${kind}: invalid input of causalConvolution is an error that names it`, (t) => {
    const [x, weight] = [normal([2, 3, 5], 1), normal([3, 1, 4], 2)]
    /** @type {[unknown, unknown, unknown, string, string][]} */
    const cases = [
      [normal([3, 5], 1), weight, {}, 'SHAPE', 'x'],
      [x, normal([3, 4], 2), {}, 'SHAPE', 'weight'],
      [x, normal([3, 1, 0], 2), {}, 'SHAPE', 'weight'],
      [x, normal([2, 1, 4], 2), {}, 'SHAPE', 'weight'],
      [x, undefined, {}, 'DTYPE', 'weight'],
      [x, weight, { bias: normal([4], 1) }, 'SHAPE', 'bias'],
      [x, weight, { bias: [1, 2, 3] }, 'DTYPE', 'bias'],
      [x, weight, { state: normal([2, 3, 4], 1) }, 'SHAPE', 'state'],
      [x, weight, { activation: 'swish' }, 'OPTION', 'activation'],
      [x, weight, { activations: 'silu' }, 'OPTION', 'activations'],
      [x, weight, 3, 'OPTION', 'options']
    ]
    for (const [input, kernels, options, code, argument] of cases) {
      const error = faultOf(t, () =>
        causalConvolution(/** @type {any} */ (input), /** @type {any} */ (kernels), /** @type {any} */ (options))
      )
      t.like(error, { code, argument })
    }
  })
})
