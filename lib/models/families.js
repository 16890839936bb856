// Families of models by `model_type`: the layers of each, as functions of its config.json.

/** @typedef {Record<string, any>} Settings  unified, without nulls */
/**
 * One stack of layers of a family.
 *
 * @typedef {object} Row
 * @property {string} layer  the class
 * @property {string} [activation]  if the config does not tell
 * @property {number} [epsilon]  likewise
 * @property {(settings: Settings) => number} [feedForward]  the hidden size, likewise
 * @property {(config: Settings) => Settings} [settings]  the part of config.json that describes the stack
 * @property {Settings} [defaults]  of settings that files leave out
 * @property {Settings} [only]  values that settings may have
 * @property {(settings: Settings, index: number) => Settings} [config]  of the layer
 * @property {(settings: Settings, index: number) => Settings} [attention]  of its attention
 * @property {(settings: Settings, numLayers: number) => readonly string[] | undefined} [layerTypes]
 * @property {(settings: Settings) => [number, number] | undefined} [window]  of sliding attention
 * @property {object} [rotary]
 * @property {number} [rotary.theta]  the default base
 * @property {number} [rotary.localTheta]  that of sliding attention
 * @property {(settings: Settings, index: number) => boolean} [rotary.without]  layers without positions
 */
/** @typedef {{ stacks: Readonly<Record<string, Row>>, only?: Settings }} Family */

/** Settings that BERT's relatives may not have. */
const PLAIN_BERT = { position_embedding_type: 'absolute', is_decoder: false, add_cross_attention: false }

/** @param {Partial<Row>} row @returns {Family} */
const encoder = (row) => ({
  stacks: {
    encoder: { layer: 'TransformerEncoderLayer', activation: 'gelu', epsilon: 1e-12, ...row }
  },
  only: PLAIN_BERT
})

const BERT = encoder({})
const ROBERTA = encoder({ epsilon: 1e-5 })

/**
 * Every `period`-th layer is full, the others have a window.
 *
 * @param {number} count
 * @param {number} period
 * @param {number} [first]  the first full layer
 */
const periodic = (count, period, first = period - 1) =>
  Array.from({ length: count }, (_, index) => (index % period === first ? 'full_attention' : 'sliding_attention'))

/** @param {Settings} settings @returns {[number, number] | undefined} */
const causalWindow = ({ sliding_window: size }) => (size === undefined ? undefined : [size - 1, 0])

/** Layers of Mistral and its relatives all have a window, if any. @param {Settings} settings @param {number} count */
const slidingEverywhere = ({ sliding_window: size }, count) =>
  size === undefined ? undefined : Array(count).fill('sliding_attention')

/** Qwen's upper layers have a window, if that is enabled. @param {Settings} settings @param {number} count */
const slidingAbove = ({ use_sliding_window: isUsed, max_window_layers: below = 28 }, count) =>
  isUsed
    ? Array.from({ length: count }, (_, index) => (index >= below ? 'sliding_attention' : 'full_attention'))
    : undefined

/** @param {Settings} settings */
const heads = ({ num_key_value_heads: kvHeads, head_dim: headDim }) => ({
  ...(kvHeads !== undefined && { kvHeads }),
  ...(headDim !== undefined && { headDim })
})

/** @param {Partial<Row>} row @param {Settings} [only] @returns {Family} */
const decoder = (row, only) => ({
  stacks: {
    decoder: {
      layer: 'DecoderLayer',
      activation: 'silu',
      epsilon: 1e-6,
      attention: heads,
      rotary: { theta: 10000 },
      window: causalWindow,
      ...row
    }
  },
  ...(only && { only })
})

const RMS = { norm: 'rms', gated: true }
const LAYER = { norm: 'layer', gated: false, useBias: true }
const SANDWICH = { ...RMS, weightOffset: 1, normPlacement: 'sandwich' }

/** Gemma's scale of the scores. @param {Settings} settings */
const gemmaScale = ({ query_pre_attn_scalar: size = 256 }) => ({ scale: size ** -0.5 })

/** @param {Settings} settings @param {Settings} attention */
const withBias = ({ attention_bias: isBiased }, attention) => (isBiased ? { ...attention, useBias: true } : attention)

/** @param {Partial<Row>} row @returns {Row} */
const vision = (row) => ({
  layer: 'TransformerEncoderLayer',
  activation: 'gelu',
  config: () => ({ normFirst: true }),
  only: { qkv_bias: true },
  ...row
})

/** DINOv2's hidden size; with a gate, two thirds of it, as a multiple of 8. @param {Settings} settings */
const dinoFeed = ({ hidden_size: size, mlp_ratio: ratio = 4, use_swiglu_ffn: isGated }) =>
  isGated ? Math.ceil(Math.floor((Math.floor(size * ratio) * 2) / 3) / 8) * 8 : Math.floor(size * ratio)

/** T5 names its activation within another setting. @param {Settings} config */
function t5Settings({ feed_forward_proj: kind = 'relu', ...config }) {
  const isGated = kind.startsWith('gated-')
  const activation = isGated ? kind.slice('gated-'.length) : kind
  // T5 1.1 computes its gelu by tanh.
  return { ...config, isGated, dense_act_fn: isGated && activation === 'gelu' ? 'gelu_new' : activation }
}

/** @param {Partial<Row>} row @param {boolean} bidirectional @returns {Row} */
const t5Stack = (row, bidirectional) => ({
  layer: 'TransformerEncoderLayer',
  epsilon: 1e-6,
  settings: t5Settings,
  defaults: { head_dim: 64 },
  config: ({ isGated, head_dim: headDim }) => ({
    norm: 'rms',
    normFirst: true,
    useBias: false,
    ...(isGated && { gated: true }),
    ...(!bidirectional && { crossAttention: { headDim, scale: 1 } })
  }),
  attention: ({ head_dim: headDim, ...settings }) => ({
    headDim,
    scale: 1,
    relativeBias: {
      buckets: settings.relative_attention_num_buckets ?? 32,
      maxDistance: settings.relative_attention_max_distance ?? 128,
      bidirectional
    }
  }),
  ...row
})

/** @param {number} size @param {number} heads */
const sizes = (size, heads) => ({
  hidden_size: size,
  intermediate_size: 4 * size,
  num_attention_heads: heads,
  num_hidden_layers: 12
})

/** The stacks of a model of texts and images. @param {Partial<Row>} shared @param {Partial<Row>} ofText */
const towers = (shared, ofText) => ({
  text: vision({ ...shared, settings: (config) => config.text_config ?? config, ...ofText }),
  vision: vision({ defaults: sizes(768, 12), ...shared, settings: (config) => config.vision_config ?? config })
})

const CLIP = towers(
  { epsilon: 1e-5, activation: 'quick_gelu' },
  { defaults: { ...sizes(512, 8), max_position_embeddings: 77 }, attention: () => ({ causal: true }) }
)
const SIGLIP = towers(
  { epsilon: 1e-6, activation: 'gelu_pytorch_tanh' },
  { defaults: { ...sizes(768, 12), max_position_embeddings: 64 } }
)

/** @type {Readonly<Record<string, Family>>} */
export const FAMILIES = {
  bert: BERT,
  electra: BERT,
  roberta: ROBERTA,
  'xlm-roberta': ROBERTA,
  camembert: ROBERTA,
  mpnet: BERT,
  distilbert: BERT,
  albert: encoder({ activation: 'gelu_new' }),
  modernbert: encoder({
    epsilon: 1e-5,
    only: { attention_bias: false, mlp_bias: false, norm_bias: false },
    config: (_, index) => ({
      gated: true,
      normFirst: true,
      useBias: false,
      ...(index === 0 && { attentionNorm: false })
    }),
    layerTypes: ({ global_attn_every_n_layers: period = 3 }, count) => periodic(count, period, 0),
    window: ({ local_attention: size = 128 }) => [Math.floor(size / 2), Math.floor(size / 2)],
    rotary: { theta: 160000, localTheta: 10000 }
  }),
  nomic_bert: encoder({
    activation: 'silu',
    only: {
      prenorm: false,
      causal: false,
      parallel_block: false,
      qkv_proj_bias: false,
      mlp_fc1_bias: false,
      mlp_fc2_bias: false,
      use_rms_norm: false,
      rotary_emb_interleaved: false
    },
    config: () => ({ gated: true }),
    rotary: { theta: 1000 }
  }),
  vit: { stacks: { vision: vision({ epsilon: 1e-12 }) } },
  dinov2: {
    stacks: {
      vision: vision({
        epsilon: 1e-6,
        feedForward: dinoFeed,
        config: ({ use_swiglu_ffn: isGated }) => ({
          normFirst: true,
          ...(isGated && { gated: true, activation: 'silu' })
        })
      })
    }
  },
  clip: { stacks: CLIP },
  clip_text_model: { stacks: { text: CLIP.text } },
  clip_vision_model: { stacks: { vision: CLIP.vision } },
  siglip: { stacks: SIGLIP },
  siglip_text_model: { stacks: { text: SIGLIP.text } },
  siglip_vision_model: { stacks: { vision: SIGLIP.vision } },
  t5: {
    stacks: {
      encoder: t5Stack({}, true),
      decoder: t5Stack(
        {
          layer: 'TransformerDecoderLayer',
          settings: ({ num_decoder_layers: count, ...config }) =>
            t5Settings({ ...config, num_layers: count ?? config.num_layers })
        },
        false
      )
    }
  },
  gpt2: decoder(
    {
      activation: 'gelu_new',
      epsilon: 1e-5,
      feedForward: ({ hidden_size: size, intermediate_size: inner = 4 * size }) => inner,
      config: () => LAYER,
      attention: () => ({}),
      rotary: undefined
    },
    { scale_attn_by_inverse_layer_idx: false, scale_attn_weights: true, add_cross_attention: false }
  ),
  gpt_neox: decoder(
    {
      activation: 'gelu',
      epsilon: 1e-5,
      config: ({ use_parallel_residual: isParallel = true }) => ({ ...LAYER, ...(isParallel && { parallel: true }) }),
      attention: () => ({})
    },
    { attention_bias: true }
  ),
  llama: decoder(
    { config: () => RMS, attention: (settings) => withBias(settings, heads(settings)) },
    { mlp_bias: false }
  ),
  mistral: decoder({ config: () => RMS, layerTypes: slidingEverywhere }),
  qwen2: decoder({
    config: () => RMS,
    attention: (settings) => ({
      ...heads(settings),
      useBias: { query: true, key: true, value: true, output: false }
    }),
    layerTypes: slidingAbove
  }),
  qwen3: decoder({
    config: () => RMS,
    attention: (settings) => withBias(settings, { headDim: 128, ...heads(settings), qkNorm: 'head' }),
    layerTypes: slidingAbove
  }),
  gemma2: decoder(
    {
      activation: 'gelu_pytorch_tanh',
      config: () => SANDWICH,
      attention: (settings) => ({
        headDim: 256,
        ...heads(settings),
        ...gemmaScale(settings),
        ...(settings.attn_logit_softcapping !== undefined && { softcap: settings.attn_logit_softcapping })
      }),
      layerTypes: (_, count) => periodic(count, 2)
    },
    { attention_bias: false, use_bidirectional_attention: false }
  ),
  gemma3_text: decoder(
    {
      activation: 'gelu_pytorch_tanh',
      config: () => SANDWICH,
      attention: (settings) => ({
        headDim: 256,
        ...heads(settings),
        ...gemmaScale(settings),
        qkNorm: { over: 'head', epsilon: settings.norm_eps ?? 1e-6, weightOffset: 1 }
      }),
      layerTypes: ({ sliding_window_pattern: period = 6 }, count) => periodic(count, period),
      rotary: { theta: 1000000, localTheta: 10000 }
    },
    { attention_bias: false, use_bidirectional_attention: false }
  ),
  phi3: decoder({
    epsilon: 1e-5,
    config: () => RMS,
    layerTypes: slidingEverywhere,
    rotary: { theta: 10000 }
  }),
  olmo2: decoder(
    {
      epsilon: 1e-5,
      config: () => ({ ...RMS, normPlacement: 'post' }),
      attention: (settings) => ({
        ...heads(settings),
        qkNorm: { over: 'model', epsilon: settings.norm_eps ?? 1e-5 }
      })
    },
    { attention_bias: false }
  ),
  smollm3: decoder(
    {
      config: () => RMS,
      attention: (settings) => withBias(settings, heads(settings)),
      layerTypes: ({ use_sliding_window: isUsed, no_rope_layers: rotated }, count) =>
        isUsed
          ? Array.from({ length: count }, (_, i) => (rotated?.[i] ? 'sliding_attention' : 'full_attention'))
          : undefined,
      rotary: {
        theta: 2000000,
        without: ({ no_rope_layers: rotated, no_rope_layer_interval: period = 4 }, index) =>
          rotated ? !rotated[index] : (index + 1) % period === 0
      }
    },
    { mlp_bias: false }
  ),
  starcoder2: decoder(
    {
      activation: 'gelu_pytorch_tanh',
      epsilon: 1e-5,
      config: () => LAYER,
      layerTypes: slidingEverywhere
    },
    { use_bias: true }
  )
}
