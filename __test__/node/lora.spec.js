// Adapters of a model against PEFT's over 50 steps of AdamW: scripts/golden/lora.py.
import { fileURLToPath } from 'node:url'
import test from 'ava'
import { loadModel } from '@ruvector/attention/models'
import { readGolden } from '../support/golden.js'
import { distance, onBothTrainingBackends } from '../support/training.js'

/** @typedef {import('@ruvector/attention').Tensor} Tensor */
/** Type of the options of a case. @typedef {any} Any */

const folder = fileURLToPath(new URL('../golden/models/bert', import.meta.url))
const ROLES = /** @type {const} */ (['query', 'key', 'value', 'output', 'up', 'down'])
const TARGETS = { 'query and value': /** @type {const} */ (['query', 'value']), 'all projections': ROLES }
/** The largest relative differences of each loss, and of the adapters after 50 steps, which add up their rounding. */
const [LOSS, ADAPTERS] = [1e-4, 5e-4]

/** The tensors of a case below a prefix. @param {Record<string, Any>} tensors @param {string} prefix */
const below = (tensors, prefix) =>
  Object.fromEntries(
    Object.entries(tensors).flatMap(([name, tensor]) =>
      name.startsWith(prefix) ? [[name.slice(prefix.length), tensor]] : []
    )
  )

onBothTrainingBackends((kind, training) => {
  const { AdamW, addLora, infoNce, linearSchedule, meanPool, mergeLora, vjp } = training

  for (const { name, tensors, curve, queries, ...given } of readGolden('lora').cases) {
    test(`${kind}: adapters of ${name} follow PEFT's over 50 steps, by losses and by values`, async (t) => {
      const model = await loadModel(folder, { attention: training })
      t.teardown(() => model.dispose())
      const prefix = (/** @type {number} */ index) => `base_model.model.encoder.layer.${index}`
      for (const [index, layer] of model.layers.entries()) {
        const targets = TARGETS[/** @type {keyof typeof TARGETS} */ (name)]
        addLora(layer, { rank: given.rank, alpha: given.alpha, targets })
        layer.loadStateDict(below(tensors, 'before.'), { prefix: prefix(index) })
      }

      /** Runs a batch through all layers. @param {number[][]} texts */
      function encode(texts) {
        const cuSeqlens = new Int32Array(texts.length + 1)
        texts.forEach((text, at) => (cuSeqlens[at + 1] = cuSeqlens[at] + text.length))
        let x = /** @type {Tensor} */ (model.embeddings.forward(texts.flat(), { cuSeqlens }))
        const { shape } = x
        const passes = model.layers.map((layer) => {
          const pass = vjp(layer, x, { cuSeqlens })
          x = pass.output
          return pass
        })
        const pooled = vjp(meanPool, { data: x.data, shape: shape.slice(1) }, { cuSeqlens })
        /** @param {Tensor} gradient */
        function backward(gradient) {
          let upper = { ...pooled.backward(gradient).inputs.x, shape }
          return passes.reduceRight((/** @type {Record<string, Tensor>[]} */ all, pass) => {
            const { inputs, parameters } = pass.backward(upper)
            upper = /** @type {Any} */ (inputs.x)
            return [parameters, ...all]
          }, [])
        }
        return { vectors: pooled.output, backward }
      }

      const optimizer = new AdamW(model.layers)
      const factor = linearSchedule({ steps: curve.length, warmup: given.warmup })
      curve.forEach((/** @type {number} */ expected, /** @type {number} */ step) => {
        const batch = step % queries.length
        const { vectors, backward } = encode(queries[batch])
        const { value, gradients } = infoNce(vectors, tensors[`wanted.${batch}`], { temperature: given.temperature })
        t.true(Math.abs(value - expected) < LOSS * expected, `step ${step}: ${value} instead of ${expected}`)
        optimizer.learningRate = given.rate * factor(step)
        optimizer.step(backward(gradients[0]))
      })
      t.true(curve.at(-1) < 0.9 * curve[0])

      for (const [index, layer] of model.layers.entries()) {
        const expected = below(tensors, `after.${prefix(index)}.`)
        const found = layer.stateDict({ names: /** @type {Any} */ ('bert') })
        t.deepEqual(Object.keys(found).sort(), Object.keys(expected).sort())
        for (const [key, tensor] of Object.entries(expected)) {
          const off = distance(found[key], tensor)
          t.true(Number(off) < ADAPTERS, `layer ${index}, ${key}: ${off}`)
        }
        mergeLora(layer)
      }
      t.true(Number(distance(encode(queries[0]).vectors, tensors.merged)) < LOSS)
    })
  }
})
