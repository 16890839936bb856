// Families of encoders as data: where a checkpoint keeps what, and how its layers are configured.

import { readSizes, refuseOthers } from './sizes.js'

/** @typedef {import('./sizes.js').Sizes} Sizes */
/**
 * A step of a head: a product with a weight of the checkpoint, an activation, or a norm. Names with `^` at the front
 * are below the root of the base model.
 *
 * @typedef {{ linear: string, isTied?: boolean } | { activate: string } | { norm: string }} HeadStep
 */
/**
 * A family: `roots` are the prefixes of the base model in checkpoints with and without a head; names of embeddings are
 * below the root.
 *
 * @typedef {object} Row
 * @property {readonly string[]} roots
 * @property {Partial<Sizes>} [defaults]
 * @property {Record<string, readonly unknown[]>} [allowed]  entries of config.json, with the values that are done here
 * @property {string} words
 * @property {string} [positions]
 * @property {(config: Record<string, any>) => number} [firstPosition]  the row of a text's first token
 * @property {string} [types]
 * @property {string} [norm]  of the embeddings
 * @property {string} [projection]  of the embeddings to the model's size
 * @property {(index: number) => string} layer  the prefix of a layer
 * @property {boolean} [isShared]  true if every layer has the parameters of the first
 * @property {(sizes: Sizes, config: Record<string, any>, index: number) => object} [configure]  more of a layer's configuration
 * @property {Readonly<Record<string, readonly HeadStep[]>>} heads  by the end of the architecture's name
 */

const afterPadding = (/** @type {Record<string, any>} */ config) => (config.pad_token_id ?? 1) + 1

/** @type {Row} */
const bert = {
  roots: ['bert.', ''],
  allowed: { position_embedding_type: ['absolute'], is_decoder: [false] },
  words: 'embeddings.word_embeddings.weight',
  positions: 'embeddings.position_embeddings.weight',
  types: 'embeddings.token_type_embeddings.weight',
  norm: 'embeddings.LayerNorm',
  layer: (index) => `encoder.layer.${index}.`,
  heads: {
    ForSequenceClassification: [{ linear: '^pooler.dense' }, { activate: 'tanh' }, { linear: 'classifier' }],
    ForTokenClassification: [{ linear: 'classifier' }],
    ForMaskedLM: [
      { linear: 'cls.predictions.transform.dense' },
      { activate: 'hidden' },
      { norm: 'cls.predictions.transform.LayerNorm' },
      { linear: 'cls.predictions.decoder', isTied: true }
    ]
  }
}

/** @type {readonly HeadStep[]} */
const denseHead = [{ linear: 'classifier.dense' }, { activate: 'tanh' }, { linear: 'classifier.out_proj' }]

/** @type {readonly HeadStep[]} */
const languageHead = [
  { linear: 'lm_head.dense' },
  { activate: 'gelu' },
  { norm: 'lm_head.layer_norm' },
  { linear: 'lm_head.decoder', isTied: true }
]

/** @type {Row} */
const roberta = {
  ...bert,
  roots: ['roberta.', ''],
  firstPosition: afterPadding,
  heads: {
    ForSequenceClassification: denseHead,
    ForTokenClassification: [{ linear: 'classifier' }],
    ForMaskedLM: languageHead
  }
}

/** Rows by `model_type`. @type {Readonly<Record<string, Row>>} */
export const ENCODERS = {
  bert,
  roberta,
  'xlm-roberta': roberta,
  camembert: roberta,
  electra: {
    ...bert,
    roots: ['electra.', ''],
    projection: 'embeddings_project',
    heads: {
      ForSequenceClassification: [
        { linear: 'classifier.dense' },
        { activate: 'gelu' },
        { linear: 'classifier.out_proj' }
      ],
      ForTokenClassification: [{ linear: 'classifier' }],
      ForMaskedLM: [
        { linear: 'generator_predictions.dense' },
        { activate: 'gelu' },
        { norm: 'generator_predictions.LayerNorm' },
        { linear: 'generator_lm_head', isTied: true }
      ]
    }
  },
  distilbert: {
    roots: ['distilbert.', ''],
    defaults: { epsilon: 1e-12, activation: 'gelu', maxPositions: 512 },
    words: bert.words,
    positions: bert.positions,
    norm: bert.norm,
    layer: (index) => `transformer.layer.${index}.`,
    heads: {
      ForSequenceClassification: [{ linear: 'pre_classifier' }, { activate: 'relu' }, { linear: 'classifier' }],
      ForTokenClassification: [{ linear: 'classifier' }],
      ForMaskedLM: [
        { linear: 'vocab_transform' },
        { activate: 'hidden' },
        { norm: 'vocab_layer_norm' },
        { linear: 'vocab_projector', isTied: true }
      ]
    }
  }
}

/**
 * The sizes of an encoder, after what its family does not do here has been refused.
 *
 * @param {Row} row
 * @param {Record<string, any>} config
 */
export function sizesOf(row, config) {
  refuseOthers(config, row.allowed ?? {})
  return readSizes(config, row.defaults ?? {})
}
