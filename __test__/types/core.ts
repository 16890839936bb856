// Checks that `/core` is the whole API without graphs, linear and hyperbolic attention, with the same types.
import type * as complete from '@ruvector/attention'
import type * as core from '@ruvector/attention/core'

type Beyond =
  | 'Graph'
  | 'GraphAttention'
  | 'GraphConvolution'
  | 'GraphLayer'
  | 'GraphSage'
  | 'GraphTransformer'
  | 'HyperbolicAttention'
  | 'LinearAttention'
  | 'NeighborSampler'
  | 'edgeSoftmax'
  | 'propagate'

type Complete = typeof complete
type Core = typeof core

/** True if both types are identical; `any` is identical to itself alone. */
type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false

export const names: Same<Exclude<keyof Complete, Beyond>, keyof Core> = true

type Different = {
  [Name in Exclude<keyof Core, 'loadBackend'>]: Same<Core[Name], Complete[Name]> extends true ? never : Name
}[Exclude<keyof Core, 'loadBackend'>]
export const types: Same<Different, never> = true

export const bound: Same<keyof core.Attention, Exclude<keyof complete.Attention, Beyond>> = true
export const options: Same<Parameters<Core['loadBackend']>, Parameters<Complete['loadBackend']>> = true

// The types of arguments and results are those of the whole API, so values pass between both.
export const layer = (made: core.MultiHeadAttention): complete.MultiHeadAttention => made
export const result = (made: complete.AttentionOutput): core.AttentionOutput => made
