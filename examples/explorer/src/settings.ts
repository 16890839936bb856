// What a person can choose, and which choices have a meaning for which mechanism.

export type Mechanism = 'dot-product' | 'multi-head' | 'linear' | 'hyperbolic' | 'graph'

export type MaskKind = 'none' | 'causal' | 'window' | 'padding'
export type Stage = 'scores' | 'biased' | 'weights'
export type FeatureMap = 'elu' | 'relu' | 'favor+'
export type Links = 'neighbours' | 'everyone'

/** Heads of MiniLM's layer, and the size of each. */
export const HEADS = 12
export const HEAD_SIZE = 32
export const MODEL_SIZE = HEADS * HEAD_SIZE

/** Tokens of a sentence beyond these are left out. */
export const MOST_TOKENS = 96
/** Up to so many tokens, all weights are held; beyond, a head at a time. */
export const LONG = 256

export interface Settings {
  text: string
  /** Repeat the text to so many tokens; 0 for the sentence as it is. */
  length: number
  mechanism: Mechanism
  mask: MaskKind
  /** Words to either side that a window leaves. */
  reach: number
  /** [PAD] tokens behind the sentence, which the mask hides. */
  padding: number
  /** The heads that are drawn, or their mean. */
  heads: 'mean' | readonly number[]
  stage: Stage
  featureMap: FeatureMap
  /** The size of the curvature, which is negative. */
  curvature: number
  temperature: number
  links: Links
}

/** Why a choice means nothing here, or undefined where it does. */
export function whyNot(choice: string, { mechanism, length }: Pick<Settings, 'mechanism' | 'length'>) {
  const isLong = length > LONG
  const reasons: Record<string, string | false> = {
    'mask:window': mechanism === 'linear' && 'Linear attention sums over all earlier keys: it has no windows.',
    heads: mechanism === 'hyperbolic' && 'A token has one place in the disk, so there is one head.',
    stage: mechanism !== 'dot-product' && 'The stages are those of the scaled dot-product.',
    'links:everyone': isLong && `Links between all of ${length.toLocaleString('en')} tokens would be millions.`
  }
  return reasons[choice] || undefined
}

/** The settings with every choice that means nothing here replaced by one that does. */
export function effective(settings: Settings): Settings {
  const allows = (choice: string) => whyNot(choice, settings) === undefined
  return {
    ...settings,
    mask: allows(`mask:${settings.mask}`) ? settings.mask : 'none',
    links: allows(`links:${settings.links}`) ? settings.links : 'neighbours',
    heads: allows('heads') ? settings.heads : 'mean',
    stage: allows('stage') ? settings.stage : 'weights'
  }
}
