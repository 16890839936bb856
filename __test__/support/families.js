// Modules of models in Transformers, timm, diffusers and PyTorch, and how to run each here: weights under the names of
// their checkpoints, inputs, outputs, and the configuration that must give the same.
import { readGolden } from './golden.js'

/** @typedef {import('@ruvector/attention').Attention} Attention */
/** @typedef {import('./golden.js').Case} Case */
/** @typedef {import('./golden.js').Tensor} Tensor */

const golden = readGolden('families')

/** Parameters of each family, by their names in its checkpoints. @type {Record<string, Record<string, Tensor>>} */
const weights = {}
for (const [path, tensor] of Object.entries(golden.tensors)) {
  const [owner, name] = path.split('/weights/')
  if (name !== undefined) (weights[owner.slice(0, owner.indexOf('/'))] ??= {})[name] = tensor
}

export const reference = golden.reference
export const cases = golden.cases

/** The largest allowed error of a module, as a part of its largest output. @param {Case} module */
export const toleranceOf = ({ layer }) => (layer.endsWith('Attention') ? 2e-5 : 1e-4)

/**
 * Runs a module and returns its output.
 * @param {Attention} attention
 * @param {Case} module
 * @returns {Tensor}
 */
export function runModule(attention, { family, layer, config, prefix, options = {}, tensors }) {
  const { x, context } = tensors
  const module = new /** @type {any} */ (attention)[layer](config)
  try {
    module.loadStateDict(weights[family], { prefix })
    return module.forward(...(context ? [x, context] : [x]), options).output
  } finally {
    module.dispose()
  }
}

/**
 * The largest error, as a part of the largest value.
 * @param {Tensor} actual
 * @param {Tensor} expected
 */
export function relativeError(actual, expected) {
  let [error, largest] = [0, 0]
  for (let index = 0; index < expected.data.length; index++) {
    const difference = Math.abs(actual.data[index] - expected.data[index])
    // Keeps NaN, unlike Math.max.
    if (!(difference <= error)) error = difference
    largest = Math.max(largest, Math.abs(expected.data[index]))
  }
  return error / largest
}
