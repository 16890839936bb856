// The settings, and which of them apply to which mechanism.

export type Mechanism = 'dot-product' | 'multi-head' | 'linear' | 'hyperbolic' | 'graph'

export type MaskKind = 'none' | 'causal' | 'window' | 'padding'
export type Stage = 'scores' | 'biased' | 'weights'
export type FeatureMap = 'elu' | 'relu' | 'favor+'
export type Links = 'neighbors' | 'everyone'

/** Layers of MiniLM, the heads of each, and their size. */
export const LAYERS = 6
export const HEADS = 12
export const HEAD_SIZE = 32
export const MODEL_SIZE = HEADS * HEAD_SIZE

/** Maximum number of tokens in a sentence. */
export const MAX_TOKENS = 96
/** Up to this many tokens, all weights are kept in memory; beyond, one head at a time. */
export const LONG = 256

export interface Settings {
  text: string
  /** Repeat the text to this many tokens; 0 for the sentence itself. */
  length: number
  mechanism: Mechanism
  /** The layer whose attention is shown, from 0. */
  layer: number
  mask: MaskKind
  /** Number of visible words to either side in a window. */
  reach: number
  /** Number of [PAD] tokens after the sentence, which the mask hides. */
  padding: number
  /** The heads to draw, or their mean. */
  heads: 'mean' | readonly number[]
  stage: Stage
  featureMap: FeatureMap
  /** The absolute value of the curvature, which is negative. */
  curvature: number
  temperature: number
  links: Links
}

/** The reason why a setting does not apply, or undefined if it does. */
export function whyNot(choice: string, { mechanism, length }: Pick<Settings, 'mechanism' | 'length'>) {
  const isLong = length > LONG
  const reasons: Record<string, string | false> = {
    'mask:window': mechanism === 'linear' && 'Linear attention sums over all earlier keys: it has no windows.',
    heads: mechanism === 'hyperbolic' && 'A token has one position in the disk, so there is one head.',
    stage: mechanism !== 'dot-product' && 'Only scaled dot-product attention has stages.',
    steps:
      (mechanism !== 'multi-head' && mechanism !== 'dot-product' && 'Other mechanisms have other steps.') ||
      (isLong && 'The steps are shown for sentences.'),
    'links:everyone': isLong && `There would be millions of links between ${length.toLocaleString('en')} tokens.`
  }
  return reasons[choice] || undefined
}

/** Replaces every setting that does not apply, to the mechanism or to a model of `layers` layers, with a default. */
export function effective(settings: Settings, layers: number): Settings {
  const allows = (choice: string) => whyNot(choice, settings) === undefined
  return {
    ...settings,
    layer: settings.layer < layers ? settings.layer : 0,
    mask: allows(`mask:${settings.mask}`) ? settings.mask : 'none',
    links: allows(`links:${settings.links}`) ? settings.links : 'neighbors',
    heads: allows('heads') ? settings.heads : 'mean',
    stage: allows('stage') ? settings.stage : 'weights'
  }
}
