// TensorFlow.js on its WebAssembly backend: two batched matrix products and a softmax.

import { createRequire } from 'node:module'
import { dirname, sep } from 'node:path'
import { reported } from '../building.js'
import { additiveMask, transposed } from '../inputs.js'

/** @typedef {import('../types.d.ts').Found} Found */

const FAR_BELOW = -1e9

/** @returns {Promise<Found>} */
export async function tfjs() {
  const [core, backend] = ['@tensorflow/tfjs-core', '@tensorflow/tfjs-backend-wasm']
  const { default: tf } = await import(core)
  const { default: wasm } = await import(backend)
  const folder = dirname(createRequire(import.meta.url).resolve(backend))
  wasm.setWasmPaths(folder + sep)
  await reported("compiling TensorFlow.js's WebAssembly module", async () => {
    await tf.setBackend('wasm')
    await tf.ready()
  })

  /** @param {any} q @param {any} k @param {any} v @param {number} dim @param {any} [bias] */
  const attention = (q, k, v, dim, bias) => {
    const scores = tf.mul(tf.matMul(q, k, false, true), 1 / Math.sqrt(dim))
    return tf.matMul(tf.softmax(bias ? tf.add(scores, bias) : scores), v)
  }

  return {
    contenders: [
      {
        name: 'tfjs-backend-wasm',
        family: 'tfjs-backend-wasm',
        side: 'peer',
        kinds: ['attention', 'layer'],
        version: tf.version_core,
        warmsUp: true,
        threaded: false,
        mostFlops: 1.2e9,
        prepare(problem, inputs) {
          const { kind, batch, heads, kvHeads, queries, dim } = problem
          if (heads !== kvHeads) return 'no grouped heads'
          if (kind === 'encoder') return 'attention layers only'
          /** @param {import('../../index.js').Tensor} tensor */
          const tensor = ({ data, shape }) => tf.tensor(data, [...shape])
          const mask = additiveMask(problem, inputs, true, FAR_BELOW)
          const bias = mask && tensor(mask)
          if (kind === 'attention') {
            const tensors = [inputs.q, inputs.k, inputs.v].map(tensor)
            const [q, k, v] = tensors
            return {
              run: () => tf.tidy(() => attention(q, k, v, dim, bias).dataSync()),
              read: (data) => data,
              dispose: () => tf.dispose([tensors, bias ?? []])
            }
          }
          const model = heads * dim
          const { in_proj_weight, in_proj_bias, 'out_proj.weight': outWeight, 'out_proj.bias': outBias } = inputs.state
          const x = tensor({ data: inputs.x.data, shape: [batch * queries, model] })
          const [inW, inB, outW, outB] = [transposed(in_proj_weight), in_proj_bias, transposed(outWeight), outBias].map(
            tensor
          )
          const run = () =>
            tf.tidy(() => {
              const parts = tf.split(tf.add(tf.matMul(x, inW), inB), 3, 1)
              const [q, k, v] = parts.map((/** @type {any} */ part) =>
                tf.transpose(tf.reshape(part, [batch, queries, heads, dim]), [0, 2, 1, 3])
              )
              const merged = tf.reshape(tf.transpose(attention(q, k, v, dim), [0, 2, 1, 3]), [batch * queries, model])
              return tf.add(tf.matMul(merged, outW), outB).dataSync()
            })
          return { run, read: (data) => data, dispose: () => tf.dispose([x, inW, inB, outW, outB]) }
        }
      }
    ]
  }
}
