// The parts around the layers of each family, as data: embeddings, the last norm and heads, by names of checkpoints.

/** @typedef {Record<string, any>} Config */
/**
 * A step of a head: a product with a weight of the checkpoint, an activation, a norm, or a soft cap. Names with `^` at
 * the front are below the root of the base model. A tied weight is that of the words if the checkpoint has none.
 *
 * @typedef {{ linear: string, isTied?: boolean } | { activate: string } | { norm: string } | { softcap: number }} HeadStep
 */
/**
 * `roots` are the prefixes of the base model in checkpoints with and without a head; other names are below the root.
 *
 * @typedef {object} Row
 * @property {'encoder' | 'decoder'} stack
 * @property {readonly string[]} roots
 * @property {string} words
 * @property {string} [positions]
 * @property {(config: Config) => number} [firstPosition]  the row of a text's first token
 * @property {string} [types]
 * @property {string} [norm]  of the embeddings
 * @property {string} [projection]  of the embeddings to the model's size
 * @property {(config: Config) => number} [scale]  of the embeddings
 * @property {(index: number) => string} layer  the prefix of a layer
 * @property {string} [relativeBias]  T5's table of biases, which all layers share
 * @property {string} [finalNorm]
 * @property {'rms' | 'layer'} [normKind]
 * @property {number} [normOffset]  added to the weights of the last norm
 * @property {(config: Config) => Readonly<Record<string, readonly HeadStep[]>>} heads  by the end of the architecture's name
 */

const afterPadding = (/** @type {Config} */ { pad_token_id: padding }) => (padding ?? 1) + 1

/** @type {readonly HeadStep[]} */
const DENSE_HEAD = [{ linear: 'classifier.dense' }, { activate: 'tanh' }, { linear: 'classifier.out_proj' }]

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
    ForSequenceClassification: [{ linear: '^pooler.dense' }, { activate: 'tanh' }, { linear: 'classifier' }],
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

/** Rows by `model_type`. @type {Readonly<Record<string, Row>>} */
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
      ForSequenceClassification: [{ linear: 'pre_classifier' }, { activate: 'relu' }, { linear: 'classifier' }],
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
      ForSequenceClassification: [{ linear: '^pooler' }, { activate: 'tanh' }, { linear: 'classifier' }],
      ForTokenClassification: [{ linear: 'classifier' }],
      ForMaskedLM: wordsHead('predictions.dense', 'hidden', 'predictions.LayerNorm', 'predictions.decoder')
    })
  },
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
