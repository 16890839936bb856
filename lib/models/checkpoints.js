// The parts around the layers of each family, as data: embeddings, the last norm and heads, by names of checkpoints.

/** @typedef {Record<string, any>} Config */
/**
 * The row of a text or an image: the first, the last, the mean, the mean of the patches after the class token, both of
 * these, or that of the token which ends a text.
 *
 * @typedef {'first' | 'last' | 'mean' | 'patches' | 'both' | 'end'} Pool
 */
/**
 * A step of a head: a product with a weight of the checkpoint, an activation, a norm, a factor, a soft cap, the choice
 * of one row per text, or SigLIP's attention of one learned query. Names with `^` at the front are below the root of
 * the base model. A tied weight is that of the words if the checkpoint has none.
 *
 * @typedef {{ pool: Pool } | { probe: string } | { linear: string, isTied?: boolean } | { activate: string } |
 *   { norm: string } | { scale: number } | { softcap: number }} HeadStep
 */
/**
 * `roots` are the prefixes of the base model in checkpoints with and without a head; other names are below the root.
 *
 * @typedef {object} Row
 * @property {string} stack
 * @property {readonly string[]} roots
 * @property {string} [words]
 * @property {{ weight: string, positions: string, classToken?: string, isResized?: boolean }} [patches]  instead of
 *   words: a convolution, positions, the row before the patches, and true if positions fit images of any size
 * @property {string} [positions]
 * @property {(config: Config) => number} [firstPosition]  the row of a text's first token
 * @property {string} [types]
 * @property {string} [norm]  of the embeddings
 * @property {string} [projection]  of the embeddings to the model's size
 * @property {(config: Config) => number} [scale]  of the embeddings
 * @property {(index: number) => string} layer  the prefix of a layer
 * @property {string} [relativeBias]  MPNet's table of biases, for all layers
 * @property {readonly [entry: string, name: string]} [layerBias]  T5's table in the first layer, and its name in each
 * @property {'texts' | 'images' | 'answers'} [role]  answers are generated from the hidden states of texts
 * @property {string} [mark]  the entry that files with this network have, if it is not the words
 * @property {string} [finalNorm]
 * @property {'rms' | 'layer'} [normKind]
 * @property {number} [normOffset]  added to the weights of the last norm
 * @property {(config: Config) => Readonly<Record<string, readonly HeadStep[]>>} heads  by the end of the architecture's
 *   name
 * @property {(config: Config) => number | undefined} [endToken]  the token whose row stands for a text
 * @property {(config: Config) => number} [fill]  the token that fills texts up to the last position, as in training
 * @property {boolean} [embedsByHead]  true if the head gives vectors of texts, not logits
 */

const afterPadding = (/** @type {Config} */ { pad_token_id: padding }) => (padding ?? 1) + 1

/** @type {readonly HeadStep[]} */
const DENSE_HEAD = [
  { pool: 'first' },
  { linear: 'classifier.dense' },
  { activate: 'tanh' },
  { linear: 'classifier.out_proj' }
]

/**
 * The head that predicts masked words: a product, an activation, a norm, and the words.
 *
 * @param {string} dense
 * @param {string} activation
 * @param {string} norm
 * @param {string} words
 * @returns {readonly HeadStep[]}
 */
const wordsHead = (dense, activation, norm, words) => [
  { linear: dense },
  { activate: activation },
  { norm },
  { linear: words, isTied: true }
]

/** @type {Row} */
const BERT = {
  stack: 'encoder',
  roots: ['bert.', ''],
  words: 'embeddings.word_embeddings.weight',
  positions: 'embeddings.position_embeddings.weight',
  types: 'embeddings.token_type_embeddings.weight',
  norm: 'embeddings.LayerNorm',
  layer: (index) => `encoder.layer.${index}.`,
  heads: () => ({
    ForSequenceClassification: [
      { pool: 'first' },
      { linear: '^pooler.dense' },
      { activate: 'tanh' },
      { linear: 'classifier' }
    ],
    ForTokenClassification: [{ linear: 'classifier' }],
    ForMaskedLM: wordsHead(
      'cls.predictions.transform.dense',
      'hidden',
      'cls.predictions.transform.LayerNorm',
      'cls.predictions.decoder'
    )
  })
}

/** @type {Row} */
const ROBERTA = {
  ...BERT,
  roots: ['roberta.', ''],
  firstPosition: afterPadding,
  heads: () => ({
    ForSequenceClassification: DENSE_HEAD,
    ForTokenClassification: [{ linear: 'classifier' }],
    ForMaskedLM: wordsHead('lm_head.dense', 'gelu', 'lm_head.layer_norm', 'lm_head.decoder')
  })
}

/** @type {Row} */
const LLAMA = {
  stack: 'decoder',
  roots: ['model.', ''],
  words: 'embed_tokens.weight',
  layer: (index) => `layers.${index}.`,
  finalNorm: 'norm',
  normKind: 'rms',
  heads: ({ final_logit_softcapping: cap }) => ({
    ForCausalLM: [{ linear: 'lm_head', isTied: true }, ...(cap ? [{ softcap: cap }] : [])]
  })
}

/** @type {Row} */
const GEMMA = { ...LLAMA, scale: ({ hidden_size: size }) => Math.fround(size ** 0.5), normOffset: 1 }

/** @type {Row} */
const MODERNBERT = {
  stack: 'encoder',
  roots: ['model.', ''],
  words: 'embeddings.tok_embeddings.weight',
  norm: 'embeddings.norm',
  layer: (index) => `layers.${index}.`,
  finalNorm: 'final_norm',
  heads: ({ classifier_pooling: pool, classifier_activation: activation = 'gelu' }) => {
    /** @type {readonly HeadStep[]} */
    const steps = [{ linear: 'head.dense' }, { activate: activation }, { norm: 'head.norm' }]
    return {
      ForSequenceClassification: [{ pool: pool === 'mean' ? 'mean' : 'first' }, ...steps, { linear: 'classifier' }],
      ForTokenClassification: [...steps, { linear: 'classifier' }],
      ForMaskedLM: [...steps, { linear: 'decoder', isTied: true }]
    }
  }
}

/** @type {Row} */
const NOMIC = {
  ...BERT,
  roots: ['nomic_bert.', 'bert.', ''],
  positions: undefined,
  norm: 'emb_ln',
  layer: (index) => `encoder.layers.${index}.`,
  heads: (config) => ({
    ...BERT.heads(config),
    ForMaskedLM: wordsHead(
      'cls.predictions.transform.dense',
      'hidden',
      'cls.predictions.transform.layer_norm',
      'cls.predictions.decoder'
    )
  })
}

/** @type {Row} */
const VIT = {
  stack: 'vision',
  roots: ['vit.', ''],
  patches: {
    weight: 'embeddings.patch_embeddings.projection',
    positions: 'embeddings.position_embeddings',
    classToken: 'embeddings.cls_token'
  },
  layer: (index) => `encoder.layer.${index}.`,
  finalNorm: 'layernorm',
  heads: () => ({ ForImageClassification: [{ pool: 'first' }, { linear: 'classifier' }] })
}

/** @type {Row} */
const T5_ENCODER = {
  stack: 'encoder',
  roots: [''],
  words: 'shared.weight',
  layer: (index) => `encoder.block.${index}.`,
  layerBias: [
    'encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight',
    'layer.0.SelfAttention.relative_attention_bias.weight'
  ],
  finalNorm: 'encoder.final_layer_norm',
  normKind: 'rms',
  // The head is that of the decoder.
  heads: () => ({ ForConditionalGeneration: [] })
}

/** @type {Row} */
const T5_DECODER = {
  ...T5_ENCODER,
  stack: 'decoder',
  role: 'answers',
  mark: 'decoder.final_layer_norm.weight',
  layer: (index) => `decoder.block.${index}.`,
  layerBias: [
    'decoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight',
    'layer.0.SelfAttention.relative_attention_bias.weight'
  ],
  finalNorm: 'decoder.final_layer_norm',
  heads: ({ scale_decoder_outputs: isScaled, tie_word_embeddings: isTied, d_model: size }) => ({
    ForConditionalGeneration: [
      ...((isScaled ?? isTied !== false) ? [{ scale: size ** -0.5 }] : []),
      { linear: 'lm_head', isTied: true }
    ]
  })
}

const TOWER = {
  layer: (/** @type {number} */ index) => `encoder.layers.${index}.`,
  positions: 'embeddings.position_embedding.weight'
}

/** The model of texts within CLIP. @type {Row} */
const CLIP_TEXT = {
  ...TOWER,
  stack: 'text',
  roots: ['text_model.', ''],
  words: 'embeddings.token_embedding.weight',
  finalNorm: 'final_layer_norm',
  endToken: ({ text_config: config = {}, eos_token_id: end }) => config.eos_token_id ?? end,
  embedsByHead: true,
  heads: () => {
    /** @type {readonly HeadStep[]} */
    const steps = [{ pool: 'end' }, { linear: 'text_projection' }]
    return { CLIPModel: steps, WithProjection: steps }
  }
}

/** The model of images within CLIP. @type {Row} */
const CLIP_VISION = {
  ...TOWER,
  stack: 'vision',
  roots: ['vision_model.', ''],
  patches: {
    weight: 'embeddings.patch_embedding',
    positions: TOWER.positions,
    classToken: 'embeddings.class_embedding'
  },
  norm: 'pre_layrnorm',
  heads: () => {
    /** @type {readonly HeadStep[]} */
    const steps = [{ pool: 'first' }, { norm: '^post_layernorm' }, { linear: 'visual_projection' }]
    return {
      CLIPModel: steps,
      WithProjection: steps,
      ForImageClassification: [{ pool: 'patches' }, { linear: 'classifier' }]
    }
  }
}

/** The model of texts within SigLIP. @type {Row} */
const SIGLIP_TEXT = {
  ...CLIP_TEXT,
  endToken: undefined,
  fill: ({ text_config: text, ...config }) => (text ?? config).pad_token_id ?? 1,
  heads: () => ({ Model: [{ pool: 'last' }, { linear: '^head' }] })
}

/** The model of images within SigLIP. @type {Row} */
const SIGLIP_VISION = {
  ...CLIP_VISION,
  patches: { weight: 'embeddings.patch_embedding', positions: TOWER.positions },
  norm: undefined,
  finalNorm: 'post_layernorm',
  heads: ({ vision_config: vision, ...config }) => ({
    ...((vision ?? config).vision_use_head !== false && { Model: [{ probe: '^head' }] }),
    ForImageClassification: [{ pool: 'mean' }, { linear: 'classifier' }]
  })
}

/** Rows by `model_type`; models of texts and images have two. @type {Readonly<Record<string, Row | readonly Row[]>>} */
export const CHECKPOINTS = {
  bert: BERT,
  roberta: ROBERTA,
  'xlm-roberta': ROBERTA,
  camembert: ROBERTA,
  electra: {
    ...BERT,
    roots: ['electra.', ''],
    projection: 'embeddings_project',
    heads: () => ({
      ForSequenceClassification: [
        { pool: 'first' },
        { linear: 'classifier.dense' },
        { activate: 'gelu' },
        { linear: 'classifier.out_proj' }
      ],
      ForTokenClassification: [{ linear: 'classifier' }],
      ForMaskedLM: wordsHead(
        'generator_predictions.dense',
        'gelu',
        'generator_predictions.LayerNorm',
        'generator_lm_head'
      )
    })
  },
  distilbert: {
    ...BERT,
    roots: ['distilbert.', ''],
    types: undefined,
    layer: (index) => `transformer.layer.${index}.`,
    heads: () => ({
      ForSequenceClassification: [
        { pool: 'first' },
        { linear: 'pre_classifier' },
        { activate: 'relu' },
        { linear: 'classifier' }
      ],
      ForTokenClassification: [{ linear: 'classifier' }],
      ForMaskedLM: wordsHead('vocab_transform', 'hidden', 'vocab_layer_norm', 'vocab_projector')
    })
  },
  mpnet: {
    ...ROBERTA,
    roots: ['mpnet.', ''],
    types: undefined,
    // MPNet counts from its own padding token, 1, whatever the configuration states.
    firstPosition: () => 2,
    relativeBias: 'encoder.relative_attention_bias.weight'
  },
  albert: {
    ...BERT,
    roots: ['albert.', ''],
    projection: 'encoder.embedding_hidden_mapping_in',
    layer: () => 'encoder.albert_layer_groups.0.albert_layers.0.',
    heads: () => ({
      ForSequenceClassification: [
        { pool: 'first' },
        { linear: '^pooler' },
        { activate: 'tanh' },
        { linear: 'classifier' }
      ],
      ForTokenClassification: [{ linear: 'classifier' }],
      ForMaskedLM: wordsHead('predictions.dense', 'hidden', 'predictions.LayerNorm', 'predictions.decoder')
    })
  },
  modernbert: MODERNBERT,
  nomic_bert: NOMIC,
  vit: VIT,
  dinov2: {
    ...VIT,
    roots: ['dinov2.', ''],
    patches: { .../** @type {NonNullable<Row['patches']>} */ (VIT.patches), isResized: true },
    heads: () => ({ ForImageClassification: [{ pool: 'both' }, { linear: 'classifier' }] })
  },
  clip: [CLIP_TEXT, CLIP_VISION],
  clip_text_model: CLIP_TEXT,
  clip_vision_model: CLIP_VISION,
  siglip: [SIGLIP_TEXT, SIGLIP_VISION],
  siglip_text_model: SIGLIP_TEXT,
  siglip_vision_model: SIGLIP_VISION,
  t5: [T5_ENCODER, T5_DECODER],
  llama: LLAMA,
  mistral: LLAMA,
  qwen2: LLAMA,
  qwen3: LLAMA,
  phi3: LLAMA,
  olmo2: LLAMA,
  smollm3: LLAMA,
  gemma2: GEMMA,
  gemma3_text: GEMMA,
  starcoder2: { ...LLAMA, normKind: 'layer' },
  gpt2: {
    ...LLAMA,
    roots: ['transformer.', ''],
    words: 'wte.weight',
    positions: 'wpe.weight',
    layer: (index) => `h.${index}.`,
    finalNorm: 'ln_f',
    normKind: 'layer',
    heads: () => ({ LMHeadModel: [{ linear: 'lm_head', isTied: true }] })
  },
  gpt_neox: {
    ...LLAMA,
    roots: ['gpt_neox.', ''],
    words: 'embed_in.weight',
    finalNorm: 'final_layer_norm',
    normKind: 'layer',
    heads: () => ({ ForCausalLM: [{ linear: 'embed_out', isTied: true }] })
  }
}
