// Chooses the next token from logits: greedily, or at random among the likely ones.

import { describe, fault } from '../checks/errors.js'

/** @typedef {{ temperature: number, topK: number, topP: number, repetitionPenalty: number, seed: number }} Sampling */

/**
 * Reads the options of sampling.
 *
 * @param {Record<string, unknown>} given
 * @returns {Sampling}
 */
export function readSampling({ temperature, topK, topP, repetitionPenalty, seed }) {
  const isCount = (/** @type {number} */ x) => Number.isSafeInteger(x) && x > 0
  return {
    temperature: number('temperature', temperature, 0, 'a number of at least 0', (x) => x >= 0 && x < Infinity),
    topK: number('topK', topK, Infinity, 'a positive integer', isCount),
    topP: number('topP', topP, 1, 'a number above 0, at most 1', (x) => x > 0 && x <= 1),
    repetitionPenalty: number(
      'repetitionPenalty',
      repetitionPenalty,
      1,
      'a positive number',
      (x) => x > 0 && x < Infinity
    ),
    seed: number('seed', seed, 0, 'an integer from 0 to 2^53 − 1', (x) => Number.isSafeInteger(x) && x >= 0)
  }
}

/**
 * @param {string} name
 * @param {unknown} value
 * @param {number} fallback
 * @param {string} expected
 * @param {(value: number) => boolean} isFit
 */
function number(name, value, fallback, expected, isFit) {
  if (value === undefined) return fallback
  if (typeof value === 'number' && isFit(value)) return value
  throw fault('OPTION', name, expected, describe(value))
}

/**
 * Random numbers in [0, 1) from a seed: Mulberry32.
 *
 * @param {number} seed
 */
function randomFrom(seed) {
  let state = (seed ^ Math.floor(seed / 2 ** 32)) >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let x = Math.imul(state ^ (state >>> 15), state | 1)
    x ^= x + Math.imul(x ^ (x >>> 7), x | 61)
    return ((x ^ (x >>> 14)) >>> 0) / 2 ** 32
  }
}

/**
 * A function that chooses a token. As in transformers, the penalty comes first, then the temperature, `topK`, `topP`.
 *
 * @param {Sampling} sampling
 */
export function createSampler({ temperature, topK, topP, repetitionPenalty, seed }) {
  const random = randomFrom(seed)
  return (/** @type {Float32Array} */ logits, /** @type {ReadonlySet<number>} */ seen) => {
    if (repetitionPenalty !== 1) {
      for (const id of seen)
        logits[id] = logits[id] > 0 ? logits[id] / repetitionPenalty : logits[id] * repetitionPenalty
    }
    if (temperature === 0) return largest(logits)
    const order = Array.from(logits.keys()).sort((a, b) => logits[b] - logits[a] || a - b)
    const likely = order.slice(0, Math.min(topK, order.length))
    const shares = likely.map((id) => Math.exp((logits[id] - logits[likely[0]]) / temperature))
    const whole = shares.reduce((sum, share) => sum + share, 0)
    let kept = 0
    for (let sum = 0; kept < shares.length && sum < topP * whole; kept++) sum += shares[kept]
    let rest = random() * shares.slice(0, kept).reduce((sum, share) => sum + share, 0)
    for (let at = 0; at < kept; at++) {
      rest -= shares[at]
      if (rest < 0) return likely[at]
    }
    return likely[kept - 1]
  }
}

/** @param {Float32Array} logits */
function largest(logits) {
  let best = 0
  for (let id = 1; id < logits.length; id++) if (logits[id] > logits[best]) best = id
  return best
}
