// Configurations and mask types of the plan's interface.

import { describe, fault, isArray, isObject } from '../errors.js'
import { disposeSymbol } from '../layers.js'

/** The strings that a mask argument accepts. */
export const MaskType = Object.freeze({
  Causal: /** @type {const} */ ('causal'),
  Padding: /** @type {const} */ ('padding'),
  None: /** @type {const} */ ('none')
})

/**
 * Configuration of an attention layer. Its own members have the main entry's names, so the main entry accepts it too; the
 * plan's names are accessors on the prototype.
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

  get num_heads() {
    return this.numHeads
  }

  set num_heads(numHeads) {
    this.numHeads = numHeads
  }

  get head_dim() {
    return this.headDim
  }

  set head_dim(headDim) {
    this.headDim = headDim
  }

  get use_bias() {
    return this.useBias
  }

  set use_bias(useBias) {
    this.useBias = useBias
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
   * @param {number} curvature  below 0
   * @param {number} [numHeads]
   */
  constructor(curvature, numHeads = 1) {
    this.curvature = curvature
    this.numHeads = numHeads
  }

  get num_heads() {
    return this.numHeads
  }

  set num_heads(numHeads) {
    this.numHeads = numHeads
  }

  get manifoldType() {
    return this.manifold
  }

  set manifoldType(type) {
    this.manifold = type
  }

  get manifold_type() {
    return this.manifold
  }

  set manifold_type(type) {
    this.manifold = type
  }

  /** @param {string} type */
  set_manifold_type(type) {
    this.manifold = type
  }

  free() {}

  [disposeSymbol]() {}
}

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
