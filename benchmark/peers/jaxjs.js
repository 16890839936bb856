// jax-js on its WebAssembly backend, which Node runs on one thread: two matrix products and a softmax, compiled, and
// their gradients.

import { readFileSync } from 'node:fs'
import { additiveMask } from '../inputs.js'

/** @typedef {import('../types.d.ts').Found} Found */

const FAR_BELOW = -1e9

/** @returns {Promise<Found>} */
export async function jaxjs() {
  const name = '@jax-js/jax'
  const { numpy: np, nn, ...jax } = await import(name)
  // Its package.json is not among its exports; the main file is in dist.
  const manifest = new URL('../package.json', import.meta.resolve(name))
  const { version } = JSON.parse(readFileSync(manifest, 'utf8'))
  await jax.init('wasm')
  jax.defaultDevice('wasm')

  /** @param {import('../../index.js').Tensor} tensor */
  const array = ({ data, shape }) => np.array(data).reshape([...shape])

  return {
    contenders: [
      {
        name: 'jax-js wasm',
        family: 'jax-js wasm',
        side: 'peer',
        kinds: ['attention', 'attention-gradients'],
        version,
        warmsUp: true,
        threaded: false,
        mostFlops: 1.2e9,
        prepare(problem, inputs) {
          const { heads, kvHeads, dim } = problem
          if (heads !== kvHeads) return 'no grouped heads'
          const { q, k, v, gradient } = inputs
          const mask = additiveMask(problem, inputs, true, FAR_BELOW)
          const arrays = [q, k, v, ...(mask ? [mask] : []), ...(gradient ? [gradient] : [])].map(array)

          // Its `dotProductAttention` is no faster, and needs Node 22. Each call takes over its arguments.
          const attention = (
            /** @type {any} */ q,
            /** @type {any} */ k,
            /** @type {any} */ v,
            /** @type {any} */ bias
          ) => {
            const scores = np.matmul(q, np.matrixTranspose(k)).mul(1 / Math.sqrt(dim))
            return np.matmul(nn.softmax(bias ? scores.add(bias) : scores), v)
          }
          const gradients = (/** @type {any[]} */ ...given) => {
            const [output, backward] = jax.vjp(attention, given.slice(0, 3))
            output.dispose()
            return backward(given[3])
          }
          const compiled = jax.jit(gradient ? gradients : attention)
          return {
            run: () => {
              const results = [compiled(...arrays.map((each) => each.ref))].flat()
              return results.map((each) => each.dataSync())
            },
            read: ([first]) => first,
            dispose: () => {
              compiled.dispose()
              for (const each of arrays) each.dispose()
            }
          }
        }
      }
    ]
  }
}
