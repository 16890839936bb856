// The API of training on the backends that tests run on, and checks of gradients.
import { loadBackend } from '@ruvector/attention/training'
import { kinds } from './backends.js'
import { normal } from './tensors.js'

/** @typedef {import('@ruvector/attention/training').Attention} Training */
/** @typedef {import('@ruvector/attention/training').Tensor} Tensor */

const backends = await Promise.all(kinds.map(async (kind) => ({ kind, training: await loadBackend(kind) })))

/**
 * Calls `register` once per backend, to register its tests.
 *
 * @param {(kind: import('@ruvector/attention').BackendKind, training: Training) => void} register
 */
export function onBothTrainingBackends(register) {
  for (const { kind, training } of backends) register(kind, training)
}

/** The sum of products of two tensors, in doubles. @param {Tensor} a @param {Tensor} b */
export const inner = (a, b) => a.data.reduce((sum, value, index) => sum + value * b.data[index], 0)

/**
 * The largest difference of two tensors, as a part of the largest entry of the second one.
 *
 * @param {Tensor} actual
 * @param {Tensor} expected
 */
export function distance(actual, expected) {
  if (`${actual.shape}` !== `${expected.shape}`) return `shape [${actual.shape}] instead of [${expected.shape}]`
  const largest = expected.data.reduce((most, value) => Math.max(most, Math.abs(value)), 0)
  const difference = expected.data.reduce((most, value, at) => {
    const own = Math.abs(actual.data[at] - value)
    return own <= most ? most : own
  }, 0)
  return difference / Math.max(largest, 1e-3)
}

/**
 * Random parameters of a layer that keep the magnitude of values.
 *
 * @template {import('@ruvector/attention').Layer} L
 * @param {L} layer
 * @param {number} seed
 * @returns {L}
 */
export function randomized(layer, seed) {
  const entries = Object.entries(layer.stateDict()).map(([name, { shape }], index) => {
    const { data } = normal(shape, seed + index)
    return [name, { data: data.map((value) => value / Math.sqrt(shape[1] ?? 4)), shape }]
  })
  return layer.loadStateDict(Object.fromEntries(entries))
}

/**
 * Moves a tensor along a direction.
 *
 * @param {Tensor} x
 * @param {Tensor} direction
 * @param {number} step
 * @returns {Tensor}
 */
export const moved = ({ data, shape }, direction, step) => ({
  data: data.map((value, index) => value + step * direction.data[index]),
  shape
})
