// Adapters over weights of 16 and 8 bits: the weights stay as they are, outputs and gradients are those of the same
// weights in 32 bits.
import test from 'ava'
import { faultOf, normal } from '../support/tensors.js'
import { distance, onBothTrainingBackends, randomized } from '../support/training.js'

/** Type of deliberately wrong arguments. @typedef {any} Any */

// A product with 8 bits rounds its input to 8 bits, too; the gradients are of the values before that.
const TOLERANCES = /** @type {const} */ ({ f16: 2e-6, bf16: 2e-6, q8_0: 0.04 })
/** Half of a step of each type: what merging may change. */
const ROUNDING = /** @type {const} */ ({ f16: 2e-3, bf16: 2e-2, q8_0: 0.05 })

onBothTrainingBackends((kind, training) => {
  const { AdamW, DecoderLayer, SelfAttention, TransformerEncoderLayer, addLora, mergeLora, vjp } = training
  const sizes = { modelDim: 32, numHeads: 4 }
  const layers = /** @type {const} */ ([
    [
      'SelfAttention',
      (/** @type {Any} */ type) => new SelfAttention({ ...sizes, kvHeads: 2, ...type }),
      ['query', 'output']
    ],
    [
      'TransformerEncoderLayer',
      (/** @type {Any} */ type) => new TransformerEncoderLayer({ ...sizes, feedForwardDim: 40, dropout: 0, ...type }),
      ['query', 'value', 'up', 'down']
    ],
    [
      'DecoderLayer',
      (/** @type {Any} */ type) => new DecoderLayer({ ...sizes, feedForwardDim: 40, ...type }),
      ['key', 'gate']
    ]
  ])
  const x = normal([2, 6, 32], 1)

  for (const type of /** @type {const} */ (['f16', 'bf16', 'q8_0'])) {
    test(`${kind}: the gradient through one projection of ${type} is that of its widened weights`, (t) => {
      const layer = new training.Linear({ inFeatures: 40, outFeatures: 7, weightType: type, seed: 4 })
      const twin = new training.Linear({ inFeatures: 40, outFeatures: 7 }).loadStateDict(layer.stateDict())
      const [input, gradient] = [normal([5, 40], 1), normal([5, 7], 2)]
      const [found, expected] = [layer, twin].map((each) => vjp(each, input).backward(gradient).inputs.x)
      t.true(Number(distance(found, expected)) < 2e-6)
    })

    for (const [name, make, targets] of layers) {
      const options = { rank: 3, alpha: 6, targets, seed: 2 }

      test(`${kind}: adapters of ${name} train over ${type} as over the same weights in 32 bits`, (t) => {
        const layer = make({ weightType: type, seed: 4 })
        const twin = make({}).loadStateDict(layer.stateDict())
        const [own, before] = [layer.stateDict({ type: 'own' }), layer.forward(x).output]
        for (const each of [layer, twin]) addLora(each, options)
        t.true(Number(distance(layer.forward(x).output, before)) < 1e-6)
        for (const each of [layer, twin]) randomized(each, 31)
        const { output } = layer.forward(x)
        t.true(Number(distance(output, before)) > 0.1)
        t.true(Number(distance(output, twin.forward(x).output)) < TOLERANCES[type])

        const gradient = normal(output.shape, 5)
        const [found, expected] = [layer, twin].map((each) => vjp(each, x).backward(gradient))
        t.deepEqual(Object.keys(found.parameters), Object.keys(layer.stateDict()))
        const all = { ...expected.inputs, ...expected.parameters }
        for (const [key, tensor] of Object.entries(all)) {
          const off = distance(/** @type {Any} */ ({ ...found.inputs, ...found.parameters })[key], tensor)
          t.true(Number(off) < TOLERANCES[type], `${key}: ${off}`)
        }

        const stale = vjp(layer, x)
        new AdamW(layer, { learningRate: 0.01 }).step(found.parameters)
        t.is(faultOf(t, () => stale.backward(gradient)).code, 'DISPOSED')
        const trained = layer.forward(x).output
        t.true(Number(distance(trained, output)) > 1e-3)

        // The weights were never written; merging changes the adapted ones alone, within their type.
        mergeLora(layer)
        const merged = layer.stateDict({ type: 'own' })
        t.deepEqual(Object.keys(merged), Object.keys(own))
        const changed = Object.keys(own).filter((key) => `${merged[key].data}` !== `${own[key].data}`)
        t.true(changed.length > 0 && changed.length <= targets.length)
        for (const key of Object.keys(own))
          t.is(/** @type {Any} */ (merged)[key].type, /** @type {Any} */ (own)[key].type)
        t.true(Number(distance(layer.forward(x).output, trained)) < ROUNDING[type])
        t.false(Object.hasOwn(layer, 'forward'))
      })
    }
  }

  test(`${kind}: a layer with adapters over 8 bits has the calls and errors of any other`, async (t) => {
    const layer = new TransformerEncoderLayer({ ...sizes, feedForwardDim: 40, weightType: 'q8_0' }).train()
    addLora(layer, { rank: 2 })
    randomized(layer, 7)
    const cuSeqlens = Int32Array.of(0, 2, 6)
    const packed = normal([1, 6, 32], 3)
    const options = { cuSeqlens, seed: 3 }
    const { output } = layer.forward(packed, options)
    t.deepEqual(vjp(layer, packed, options).output, output)
    /** @type {number[]} */
    const progress = []
    const { signal } = new AbortController()
    const later = layer.forwardAsync(packed, { ...options, signal, onProgress: (done) => progress.push(done) })
    t.deepEqual((await later).output, output)
    t.is(progress.at(-1), 1)

    const reason = new Error('not now')
    await t.throwsAsync(layer.forwardAsync(packed, { signal: AbortSignal.abort(reason) }), { message: 'not now' })
    const wrong = /** @type {Any[]} */ ([
      { weights: true },
      { out: new Float32Array(192) },
      { casual: true },
      { window: -1 }
    ])
    for (const each of wrong) {
      const { code, argument } = faultOf(t, () => layer.forward(packed, each))
      t.deepEqual([code, argument], ['OPTION', Object.keys(each)[0]])
      const error = /** @type {Any} */ (await t.throwsAsync(layer.forwardAsync(packed, each)))
      t.deepEqual([error.code, error.argument], [code, argument])
    }
    t.is(faultOf(t, () => layer.forward(normal([6, 31], 1))).code, 'SHAPE')
    layer.dispose()
    for (const call of [() => layer.forward(packed), () => layer.stateDict(), () => mergeLora(layer)]) {
      t.is(faultOf(t, call).code, 'DISPOSED')
    }
  })
})
