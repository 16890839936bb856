// Errors of the plan's interface: AttentionErrors with the plan's `error_type` and the beginnings of its messages.

import { AttentionError, renameArgument } from '../checks/errors.js'
import { disposeSymbol } from '../face/layers.js'
import { shared } from '../checks/shared.js'

/** @typedef {import('../../index.d.ts').AttentionErrorCode} Code */

/** The plan's error type and message prefix for each code. @type {Record<Code, [type: string, beginning: string]>} */
const TYPES = {
  SHAPE: ['InvalidDimensions', 'Invalid dimensions: '],
  DTYPE: ['InvalidDimensions', 'Invalid dimensions: '],
  OPTION: ['InvalidConfig', 'Invalid attention configuration: '],
  DOMAIN: ['ComputationError', 'Computation failed: '],
  INTERNAL: ['ComputationError', 'Computation failed: '],
  MEMORY: ['MemoryError', 'Memory error: '],
  FORMAT: ['SerializationError', 'Serialization error: '],
  // The plan has no error type for these three. Their messages stand alone.
  DISPOSED: ['MemoryError', ''],
  NOT_INITIALIZED: ['ComputationError', ''],
  BACKEND: ['ComputationError', '']
}

class OwnErrorInfo extends AttentionError {
  /**
   * @param {AttentionError} error
   * @param {string} [message]  the plan's own message, if it defines one
   */
  constructor(error, message) {
    const { code, argument, expected, actual, cause } = error
    const beginning = TYPES[code][1]
    super(code, { argument, expected, actual, cause, message: message ?? `${beginning}${error.message}` })
  }

  get error_type() {
    return TYPES[this.code][0]
  }

  free() {}

  [disposeSymbol]() {}
}

Object.defineProperty(OwnErrorInfo, 'name', { value: 'WasmErrorInfo' })

export const WasmErrorInfo = shared('WasmErrorInfo', () => OwnErrorInfo)

/**
 * Converts an AttentionError into an error of the plan; any other value is returned unchanged.
 *
 * @param {unknown} error
 */
function inPlanWords(error) {
  if (!(error instanceof AttentionError) || error instanceof WasmErrorInfo) return error
  if (error.code !== 'NOT_INITIALIZED') return new WasmErrorInfo(renameArgument(['query', 'key', 'value'], error))
  return new WasmErrorInfo(error, 'RuVector WASM not initialized. Call init() first.')
}

/**
 * Runs a call and converts its errors into errors of the plan.
 *
 * @template T
 * @param {() => T} call
 * @returns {T}
 */
export function guard(call) {
  try {
    return call()
  } catch (error) {
    throw inPlanWords(error)
  }
}

/**
 * Runs an asynchronous call and converts its errors into errors of the plan.
 *
 * @template T
 * @param {() => T | Promise<T>} call
 * @returns {Promise<T>}
 */
export async function guardAsync(call) {
  try {
    return await call()
  } catch (error) {
    throw inPlanWords(error)
  }
}
