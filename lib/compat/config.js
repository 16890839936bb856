// Configurations and mask types of the plan's interface.

import { describe, fault, isArray, isObject } from '../checks/errors.js'
import { disposeSymbol } from '../face/layers.js'

/** The strings that a mask argument accepts. */
export const MaskType = Object.freeze({
  Causal: /** @type {const} */ ('causal'),
  Padding: /** @type {const} */ ('padding'),
  None: /** @type {const} */ ('none')
})

/**
 * Configuration of an attention layer. Its own members have the main entry's names, so the main entry accepts it too;
 * the plan's names are accessors on the prototype.
 */
export class AttentionConfig {
  dropout = 0
  useBias = true

  /**
   * @param {number} numHeads
   * @param {number} headDim
   */
  constructor(numHeads, headDim) {
    this.numHeads = numHeads
    this.headDim = headDim
  }

  /** @param {number} dropout */
  set_dropout(dropout) {
    this.dropout = dropout
  }

  /** @param {boolean} useBias */
  set_use_bias(useBias) {
    this.useBias = useBias
  }

  free() {}

  [disposeSymbol]() {}
}

/** Configuration of hyperbolic attention, with the same split of names. */
export class HyperbolicConfig {
  /** @type {string} */
  manifold = 'poincare'
  temperature = 1

  /**
   * @param {number} curvature  negative
   * @param {number} [numHeads]
   */
  constructor(curvature, numHeads = 1) {
    this.curvature = curvature
    this.numHeads = numHeads
  }

  /** @param {string} type */
  set_manifold_type(type) {
    this.manifold = type
  }

  free() {}

  [disposeSymbol]() {}
}

/**
 * Adds accessors for members under further names. They are not enumerable, so the main entry does not see them.
 *
 * @param {new (...args: any[]) => unknown} target
 * @param {Record<string, string>} names  members by their further names
 */
function addNames(target, names) {
  for (const [name, member] of Object.entries(names)) {
    Object.defineProperty(target.prototype, name, {
      configurable: true,
      get() {
        return this[member]
      },
      set(value) {
        this[member] = value
      }
    })
  }
}
addNames(AttentionConfig, { num_heads: 'numHeads', head_dim: 'headDim', use_bias: 'useBias' })
addNames(HyperbolicConfig, { num_heads: 'numHeads', manifoldType: 'manifold', manifold_type: 'manifold' })

/**
 * Returns a configuration in the form of the main entry; a plain object may contain `manifoldType`.
 *
 * @param {unknown} config
 * @returns {any}
 */
export function ownMembers(config) {
  // The main entry rejects anything else.
  if (!isObject(config) || isArray(config) || ArrayBuffer.isView(config)) return config
  const { manifoldType, ...members } = /** @type {Record<string, unknown>} */ ({ ...config })
  if (manifoldType === undefined || manifoldType === null) return members
  if (members.manifold !== undefined && members.manifold !== manifoldType) {
    throw fault('OPTION', 'manifoldType', `the same as manifold, ${describe(members.manifold)}`, describe(manifoldType))
  }
  return { ...members, manifold: manifoldType }
}
