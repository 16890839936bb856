// Checks that hold for every call: allowed failures, equal results on both backends, and untouched inputs.

import { AttentionError } from '../lib/checks/errors.js'
import { arrayType, lengthOf } from '../lib/checks/tensor.js'

/** Maximum difference of a number between backends, relative to those above 1 in magnitude. */
const TOLERANCE = 1e-5

/**
 * @typedef {{ value?: unknown, error?: any, isRefused?: boolean }} Outcome
 */

/**
 * Messages of the engine about objects of the caller that it rejects: a job or an iterator, something in the prototype
 * chain, or a proxy that violates the rules for its target.
 */
const OF_THE_ENGINE = [
  /^TypeError: Class constructor/,
  /^TypeError: .*requires 'new'/,
  /^TypeError: .*not a typed array/,
  /^TypeError: .*values on a detached/,
  /^TypeError: .*'ownKeys' on a proxy that/,
  /^TypeError: '\w+' on proxy: /,
  /^TypeError: .*\n    at Array Iterator\.next .*\n.*#nextInput/
]

/**
 * The reason why an outcome is not allowed, or undefined.
 *
 * @param {Outcome} outcome
 * @param {Set<unknown>} own  errors thrown by the caller's code
 * @param {any} BatchError
 */
export function problemOf({ error, isRefused }, own, BatchError) {
  if (!isRefused || own.has(error)) return undefined
  if (error instanceof AttentionError) {
    if (error.code === 'INTERNAL') return `INTERNAL: ${error.message.slice(0, 300)}`
    return typeof error.message === 'string' && error.message ? undefined : 'an error without a message'
  }
  if (error instanceof BatchError)
    return error.errors
      .map((/** @type {unknown} */ one) => problemOf({ error: one, isRefused: true }, own, BatchError))
      .find(Boolean)
  if (error?.name === 'AbortError') return undefined
  // Another realm has its own TypeError.
  if (error?.name === 'TypeError' && OF_THE_ENGINE.some((pattern) => pattern.test(`${error.stack}`))) return undefined
  return `${error?.name ?? typeof error}: ${error?.message ?? String(error)}`.slice(0, 300)
}

/** @param {Outcome} outcome @param {Set<unknown>} own @param {any} BatchError */
function refusalOf({ error }, own, BatchError) {
  if (error instanceof AttentionError) return `${error.code} ${error.argument}`
  if (own.has(error)) return `own ${error?.message}`
  return error instanceof BatchError ? `batch of ${error.errors.length}` : `${error?.name}`
}

/**
 * The difference between the outcomes of two backends, or undefined.
 *
 * @param {{ outcome: Outcome, world: import('./world.mjs').World, api: any }[]} runs
 */
export function differenceOf([one, other]) {
  if (other === undefined || one.world.isRacy) return undefined
  const [a, b] = [one, other].map(({ outcome, world, api }) =>
    outcome.isRefused ? refusalOf(outcome, world.own, api.BatchError) : 'a result'
  )
  if (a !== b) {
    // Only native code supports sizes beyond 32 bits.
    return one.world.isHuge ? undefined : `${a} instead of ${b}`
  }
  if (one.outcome.isRefused) return undefined
  return compare(one.outcome.value, other.outcome.value, one.world.isExtreme, '')
}

/** @param {any} a @param {any} b @param {boolean} isExtreme @param {string} path @returns {string | undefined} */
function compare(a, b, isExtreme, path) {
  if (typeof a === 'number' && typeof b === 'number') {
    if (isExtreme || Object.is(a, b) || a === b || Math.abs(a - b) <= TOLERANCE * Math.max(1, Math.abs(b)))
      return undefined
    return `${path}: ${a} and ${b}`
  }
  if (ArrayBuffer.isView(a) || Array.isArray(a)) {
    // The caller's own arrays may misreport their lengths.
    const [x, y] = [a, b].map((list) =>
      arrayType(list) ? Array.from({ length: lengthOf(list) }, (_, at) => list[at]) : list
    )
    if (x.length !== y?.length) return `${path}: lengths ${x.length} and ${y?.length}`
    for (let at = 0; at < x.length; at++) {
      const difference = compare(x[at], y[at], isExtreme || path.endsWith('indices.data'), `${path}[${at}]`)
      if (difference) return difference
    }
    return undefined
  }
  if (typeof a === 'object' && a !== null && typeof b === 'object' && b !== null) {
    if (Object.getPrototypeOf(a) !== Object.prototype) return undefined
    const names = Object.keys(a)
    if (names.join() !== Object.keys(b).join()) return `${path}: ${names} and ${Object.keys(b)}`
    // Time and memory of a call are those of its backend.
    for (const name of names.filter((name) => name !== 'metadata')) {
      const difference = compare(a[name], b[name], isExtreme, `${path}.${name}`)
      if (difference) return difference
    }
    return undefined
  }
  return typeof a === typeof b && (typeof a !== 'string' || a === b || isExtreme)
    ? undefined
    : `${path}: ${String(a)} and ${String(b)}`
}

/**
 * A set of small calls whose bits must never change.
 *
 * @param {any} api
 */
export function createReference(api) {
  const numbers = (/** @type {number} */ length, /** @type {number} */ step) =>
    Float32Array.from({ length }, (_, at) => Math.sin(at * step))
  const q = { data: numbers(24, 0.7), shape: [1, 2, 3, 4] }
  const k = { data: numbers(40, 0.3), shape: [1, 2, 5, 4] }
  const x = { data: numbers(24, 0.9), shape: [1, 3, 8] }
  const layer = new api.SelfAttention({ numHeads: 2, headDim: 4, seed: 5 })
  const run = () => [
    api.scaledDotProductAttention(q, k, k, { causal: true }).output.data,
    layer.forward(x).output.data,
    api.softmax(q).data
  ]
  const expected = run().map((data) => new Uint32Array(data.buffer))
  return () => {
    const found = run()
    for (const [index, words] of expected.entries()) {
      const bits = new Uint32Array(found[index].buffer)
      for (let at = 0; at < words.length; at++)
        if (bits[at] !== words[at]) return `reference call ${index} differs at ${at}`
    }
    return undefined
  }
}
