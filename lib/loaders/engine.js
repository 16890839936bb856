// Engine features that the modules require, with the first versions that support them (MDN's tables and
// webassembly.org/features).

/**
 * - `least`: the first versions with the feature.
 * - `remedy`: the advice without it.
 *
 * @typedef {{ name: string, least: string, remedy?: string, isPresent: () => boolean }} Feature
 */

// Probe modules: a function with i8x16.popcnt, and a table of references.
const SIMD_PROBE = [0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 10, 1, 8, 0, 65, 0, 253, 15, 253, 98, 11] // prettier-ignore
const REFERENCES_PROBE = [0, 97, 115, 109, 1, 0, 0, 0, 4, 4, 1, 111, 0, 0]

/** @param {readonly number[]} probe  a module that is only valid in engines with a feature */
export const validates = (probe) => WebAssembly.validate(new Uint8Array(probe))

export const hasWebAssembly = () => typeof WebAssembly === 'object'

/** Required by every module. @type {readonly Feature[]} */
const MODULE = [
  {
    name: 'WebAssembly',
    least: 'Chrome 57, Edge 16, Firefox 52, Safari 11, Node 8 or Deno 1.0',
    isPresent: hasWebAssembly
  },
  {
    name: 'WebAssembly SIMD',
    least: 'Chrome or Edge 91, Firefox 89, Safari 16.4, Node 16.4 or Deno 1.9',
    isPresent: () => validates(SIMD_PROBE)
  },
  {
    name: 'WebAssembly reference types',
    least: 'Chrome or Edge 96, Firefox 79, Safari 15, Node 17.2 or Deno 1.16',
    isPresent: () => validates(REFERENCES_PROBE)
  }
]

const WITHOUT_INFLATE = 'Update it, or import @ruvector/attention/external, which does not need it.'

/** Additionally required by the module inside the JavaScript. @type {readonly Feature[]} */
const INFLATE = [
  {
    name: 'Blob.stream',
    least: 'Chrome 76, Edge 79, Firefox 69, Safari 14.1, Node 16.7, Deno 1.0 or Bun 1.0',
    remedy: WITHOUT_INFLATE,
    isPresent: () => typeof Blob === 'function' && typeof Blob.prototype.stream === 'function'
  },
  {
    name: "DecompressionStream('deflate-raw')",
    least: 'Chrome or Edge 103, Firefox 113, Safari 16.4, Node 20.12, Deno 1.23 or Bun 1.3.3',
    remedy: WITHOUT_INFLATE,
    isPresent() {
      try {
        return new DecompressionStream('deflate-raw') instanceof DecompressionStream
      } catch {
        return false
      }
    }
  }
]

/** A feature that this engine lacks. */
export class MissingFeature extends Error {
  /**
   * @param {Feature} feature
   * @param {unknown} cause
   */
  constructor({ name, least, remedy = 'Update it.' }, cause) {
    super(`this engine lacks ${name}, which requires at least ${least}`, { cause })
    this.remedy = remedy
  }
}

/**
 * Runs an attempt that requires features. If it fails and one of them is missing, the error names the feature.
 *
 * @template T
 * @param {readonly Feature[]} features
 * @param {() => T} attempt
 * @returns {T}
 */
function needing(features, attempt) {
  const explain = (/** @type {unknown} */ error) => {
    const missing = features.find(({ isPresent }) => !isPresent())
    throw missing ? new MissingFeature(missing, error) : error
  }
  try {
    const result = attempt()
    return result instanceof Promise ? /** @type {any} */ (result.catch(explain)) : result
  } catch (error) {
    return explain(error)
  }
}

/**
 * Compiles a module.
 *
 * @template T
 * @param {() => T} compile
 */
export const compiling = (compile) => needing(MODULE, compile)

/**
 * Decompresses a module.
 *
 * @template T
 * @param {() => T} inflate
 */
export const inflating = (inflate) => needing(INFLATE, inflate)
