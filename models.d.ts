/**
 * Whole models: embeds, re-ranks, classifies and generates texts, and encodes images, with a folder as the hub has it.
 * The folder holds config.json, tokenizer.json and model.safetensors or its index, and optionally the modules of
 * sentence-transformers. Padding never enters: a text's result does not depend on the texts beside it.
 *
 * ```js
 * import { loadModel } from '@ruvector/attention/models'
 *
 * const model = await loadModel('./all-MiniLM-L6-v2')
 * const vectors = await model.embed(['A man is eating food.', 'Someone eats a meal.'])
 * ```
 *
 * Letters in shapes: `T` tokens of all texts, `M` model size, `n` texts, `L` tokens of one text, `H` heads.
 *
 * @module @ruvector/attention/models
 */
import type { AsyncOptions, Attention, Integers, Layer, Tensor, WeightType, openSafetensors } from './index.js'

/** A task that models perform on texts. */
export type Task = 'embed' | 'rerank' | 'classify' | 'generate'

/** The tokens of a text or a pair of texts. `types` are 0 in the first text and 1 in the second. */
export interface Tokenized {
  ids: Int32Array
  types?: Int32Array
}

/** A tokenizer of your own, in place of the folder's tokenizer.json. */
export interface Tokenizer {
  /** Encodes a text or a pair of texts, with special tokens. Without `types`, all types are 0. */
  encode(text: string, pair?: string): { ids: ArrayLike<number>; types?: ArrayLike<number> | null | undefined }
  /** Decodes tokens. */
  decode(ids: readonly number[]): string
}

/** Options of {@link loadModel}. */
export interface LoadModelOptions {
  /**
   * The type of the matrices, which are converted one layer at a time; vectors, positions and token types keep 32 bits.
   * With 'q8_0', a model needs a little more than a quarter of the memory. Default: 'q8_0' for a safetensors file with
   * such matrices, which are loaded as they are, else 'f32'.
   */
  type?: WeightType | null | undefined
  /** Replaces the folder's tokenizer. */
  tokenizer?: Tokenizer | null | undefined
  /** Ends loading; the promise rejects with the signal's reason, and nothing stays in memory. */
  signal?: AbortSignal | null | undefined
  /** Receives the fraction of the weights that are loaded, from 0 to 1. */
  onProgress?: ((fraction: number) => void) | null | undefined
  /** The API of one backend, as `loadBackend` returns it. Default: the backend of the main entry. */
  attention?: Attention | null | undefined
  /**
   * The number of batches that are computed at the same time. In WebAssembly it is the number of workers that hold the
   * layers, each a copy. Results do not depend on it. Default: 1.
   */
  workers?: number | null | undefined
}

/** Options of {@link Model.embed}. */
export interface EmbedOptions {
  /** The name of a prompt in config_sentence_transformers.json, or the text of a prompt. It precedes each text. */
  prompt?: string | null | undefined
  /** `true` scales vectors to length 1; `false` leaves out the folder's own normalization. */
  normalize?: boolean | null | undefined
  /** Keeps the first dimensions only, before `normalize` is applied. */
  dimensions?: number | null | undefined
  /** The number of tokens in one pass through the layers; 2048 by default. Results do not depend on it. */
  batchTokens?: number | null | undefined
  /** Ends the call; the promise rejects with the signal's reason. */
  signal?: AbortSignal | null | undefined
  /** Receives the fraction of the texts that are done. */
  onProgress?: ((fraction: number) => void) | null | undefined
}

/** Options of {@link Model.rerank} and {@link Model.classify}. */
export interface RankOptions {
  /** The number of results to return, the best ones. Default: all. */
  topK?: number | null | undefined
  /** Ends the call; the promise rejects with the signal's reason. */
  signal?: AbortSignal | null | undefined
}

/** Options of {@link Model.generate}. */
export interface GenerateOptions {
  /** The largest number of tokens; 256 by default. The text also ends where the model's positions end. */
  maxTokens?: number | null | undefined
  /** 0, the default, chooses the likeliest token; larger values choose more freely. */
  temperature?: number | null | undefined
  /** Chooses among this number of the likeliest tokens. Default: all. */
  topK?: number | null | undefined
  /** Chooses among the likeliest tokens that together have this share; 1 by default. */
  topP?: number | null | undefined
  /** Divides the logits of tokens that the text has, as in transformers; 1 by default. */
  repetitionPenalty?: number | null | undefined
  /** The seed of random choices, an integer less than 2^53; 0 by default. */
  seed?: number | null | undefined
  /** Texts that end the generated text; they are not part of it. */
  stop?: readonly string[] | null | undefined
  /** Ends the text; the iterator throws the signal's reason. */
  signal?: AbortSignal | null | undefined
}

/** Options of {@link Model.encode}. */
export interface EncodeOptions {
  /** Also returns the logits of the folder's head. */
  logits?: boolean | null | undefined
  /** Also returns the weights of every layer; texts are then computed one by one. */
  attentions?: boolean | null | undefined
  /** Also returns the embeddings and the output of every layer. */
  hiddenStates?: boolean | null | undefined
  /** Ends the call; the promise rejects with the signal's reason. */
  signal?: AbortSignal | null | undefined
}

/** The result of {@link Model.encode}. */
export interface Encoded {
  /** The output of the last layer for all tokens or patches, packed: `[T,M]`. */
  hidden: Tensor
  /** The first row of each text or image, and `T` at the end: `[n+1]`. */
  cuSeqlens: Int32Array
  /**
   * `[n,labels]`, or `[T,labels]` and `[T,vocabulary]` for heads that classify tokens or predict words. CLIP's and
   * SigLIP's are vectors `[n,P]` in the space that texts and images share, not normalized.
   */
  logits?: Tensor
  /** The weights of each text in each layer, `[H,L,L]`. */
  attentions?: Tensor[][]
  /** The embeddings and the output of each layer, `[T,M]`. */
  hiddenStates?: Tensor[]
}

/**
 * Loads a model from a folder or a GGUF file. Weights are read one layer at a time.
 *
 * Families of encoders: BERT, RoBERTa, XLM-RoBERTa, CamemBERT, ELECTRA, DistilBERT, MPNet, ALBERT, ModernBERT and Nomic
 * BERT, with heads for sequence classification, token classification and masked words. Of images: ViT, DINOv2, CLIP and
 * SigLIP, the latter two also of texts, with heads for image classification. Of decoders: Llama, Mistral, Qwen 2 and 3,
 * Gemma 2 and 3, Phi-3, OLMo 2, SmolLM3, StarCoder 2, GPT-2 and GPT-NeoX. Of encoder-decoders: T5, whose `encode` gives
 * the hidden states of the encoder. Their config.json is that of `transformers` 4 or 5.
 *
 * A .gguf file has a model of Llama, Qwen 2 or Qwen 3 with its own vocabulary; weights of F32, F16, BF16, Q8_0, Q4_0
 * and Q4_1 are converted to `type`. A vocabulary other than byte-pair encoding needs the option `tokenizer`.
 *
 * @param source  the path or URL of the folder or of a .gguf file, or files by name: bytes, Blobs, `{ size, read }`, or
 *   the objects in JSON files
 * @throws {AttentionError} `FORMAT` if a file is missing or not understood, with its name; `SHAPE` if a weight does not
 *   fit; `OPTION`; `DTYPE`; `MEMORY`
 * @example
 * const model = await loadModel('./all-MiniLM-L6-v2')
 * const { shape } = await model.embed(['A man is eating food.', 'Someone eats a meal.'])
 * console.log(shape) // [ 2, 384 ]
 */
export function loadModel(
  source: string | URL | Readonly<Record<string, Uint8Array | Blob | object>>,
  options?: LoadModelOptions | null
): Promise<Model>

/** A value in the metadata of a GGUF file; integers beyond 2^53 are bigints. */
export type GgufValue = number | bigint | boolean | string | readonly (number | bigint | boolean | string)[]

/** An open GGUF file. Only its header is in memory. */
export interface GgufFile extends AsyncDisposable {
  /** The names of all tensors, in the order of the file. */
  readonly names: readonly string[]
  /** The metadata, such as 'general.architecture'. */
  readonly metadata: Readonly<Record<string, GgufValue>>
  /**
   * The type of a tensor, such as 'Q4_1', its shape with the contiguous dimension last, and its size in bytes, which is
   * undefined for types that `tensor` does not read.
   *
   * @throws {AttentionError} `FORMAT` for a name that is not in the file; `DTYPE`
   */
  describe(name: string): { type: string; shape: readonly number[]; bytes: number | undefined }
  /**
   * Reads a tensor as 32-bit floats, to the bit those of the Python package `gguf`.
   *
   * @throws {AttentionError} `FORMAT` for a name that is not in the file, and types other than F32, F16, BF16, Q8_0,
   *   Q4_0 and Q4_1; `DTYPE`; `MEMORY`; `DISPOSED` after `close()`
   */
  tensor(name: string): Promise<Tensor>
  /** Closes the file if it was opened by its path. Further calls do nothing. */
  close(): Promise<void>
}

/**
 * Opens a GGUF file of version 2 or 3, and reads its header.
 *
 * @param source  a path, a URL of a server that supports range requests, a Blob, a FileHandle, `{ size, read }`, or
 *   bytes
 * @throws {AttentionError} `FORMAT` for a file that cannot be read, is truncated or in another format; `DTYPE`
 * @example
 * const file = await openGguf('./SmolLM2-135M-Instruct.Q4_1.gguf')
 * console.log(file.metadata['general.architecture']) // llama
 */
export function openGguf(source: Uint8Array | Parameters<typeof openSafetensors>[0]): Promise<GgufFile>

/** Options of {@link ModelEmbeddings}' `forward`. */
export interface EmbeddingsOptions {
  /** The type of each token. Default: 0. */
  types?: ArrayLike<number> | Integers | Tensor<Int32Array> | null | undefined
  /** The position of each token. Default: counted from 0 in each text. */
  positions?: ArrayLike<number> | Integers | Tensor<Int32Array> | null | undefined
  /** The first token of each packed text, and the number of all tokens at the end. */
  cuSeqlens?: ArrayLike<number> | Integers | Tensor<Int32Array> | null | undefined
}

/**
 * The part of a model before its layers: the sum of word, position and type embeddings, or of the patches of images and
 * their positions, scaled, normalized and projected as the family does. Parameters have the names of the checkpoint,
 * below the prefix of the base model, and stay in JavaScript's memory.
 */
export interface ModelEmbeddings extends Layer {
  /** The sizes of the tables. */
  readonly config: Readonly<Record<string, unknown>>
  /**
   * The rows that enter the first layer: `[1,L,M]` for the tokens of one text, or of packed texts; `[B,L,M]` for ids
   * `[B,L]`; `[B,patches,M]` for images `[B,C,H,W]`.
   *
   * @throws {AttentionError} `DOMAIN` for an id, type or position beyond its table; `SHAPE`; `DTYPE`; `OPTION`;
   *   `DISPOSED`
   */
  forward(input: ArrayLike<number> | Integers | Tensor<Int32Array> | Tensor, options?: EmbeddingsOptions | null): Tensor
  /** The same as a promise; computed on the calling thread. */
  forwardAsync(
    input: ArrayLike<number> | Integers | Tensor<Int32Array> | Tensor,
    options?: (EmbeddingsOptions & AsyncOptions) | null
  ): Promise<Tensor>
}

/** A model in memory; {@link loadModel} makes it. All calls but `generate` run off the calling thread. */
export class Model implements Disposable {
  private constructor()
  /** `model_type` of config.json. */
  readonly family: string
  /** config.json as the folder has it. */
  readonly config: Readonly<Record<string, unknown>>
  /** The tasks that the folder supports. */
  readonly tasks: readonly Task[]
  /** The number of parameters. */
  readonly numParameters: number
  /** The memory of the parameters in bytes. */
  readonly bytes: number
  /** The type of the matrices. */
  readonly type: WeightType
  /** The part before the layers: of texts, or of images in a model that has no texts. */
  readonly embeddings: ModelEmbeddings
  /**
   * The transformer layers, in order. With `embeddings`, they are the parts to look into and to train: `vjp` of
   * `@ruvector/attention/training` takes each of them from a model that was loaded with that entry's API as
   * `attention`.
   */
  readonly layers: readonly Layer[]

  /**
   * Returns the tokens of a text or a pair, truncated as the folder asks.
   *
   * @throws {AttentionError} `OPTION` without a tokenizer; `DTYPE`; `DISPOSED`
   */
  tokenize(text: string | readonly [string, string]): Tokenized

  /**
   * Computes the hidden states of texts that are given as token ids, or of images `[B,C,H,W]` whose pixels are scaled
   * and normalized as the folder's preprocessor_config.json states.
   *
   * @throws {AttentionError} `DOMAIN` if an id or a position is beyond its table; `OPTION` if `logits` are asked of a
   *   folder without a head, or images of a model of texts; `DTYPE`; `SHAPE` also for images of another size, except
   *   for DINOv2, whose positions are interpolated; `DISPOSED`
   */
  encode(
    inputs:
      | readonly ArrayLike<number>[]
      | { ids: readonly ArrayLike<number>[]; types?: readonly ArrayLike<number>[] | null | undefined }
      | { pixels: Tensor },
    options?: EncodeOptions | null
  ): Promise<Encoded>

  /**
   * Embeds texts as the folder's sentence-transformers modules ask: pooling, Dense, Normalize. Without modules, a
   * vector is the mean of a text's last hidden states. Returns `[n,D]`.
   *
   * @throws {AttentionError} `OPTION`; `DTYPE`; `DISPOSED`
   */
  embed(texts: string | readonly string[], options?: EmbedOptions | null): Promise<Tensor>

  /**
   * Scores documents by a query with a cross-encoder, and returns them best first.
   *
   * @throws {AttentionError} `OPTION` if the folder is no cross-encoder, which has one label; `DTYPE`; `DISPOSED`
   */
  rerank(
    query: string,
    documents: readonly string[],
    options?: RankOptions | null
  ): Promise<{ index: number; score: number }[]>

  /**
   * Classifies texts, and returns the labels of each with their scores, best first: shares that add up to 1, or for
   * `multi_label_classification` independent probabilities.
   *
   * @throws {AttentionError} `OPTION` if the folder has no classifier; `DTYPE`; `DISPOSED`
   */
  classify(
    texts: string | readonly string[],
    options?: RankOptions | null
  ): Promise<{ label: string; score: number }[][]>

  /**
   * Generates text after a prompt, or after messages by the folder's chat template, which needs the package
   * `@huggingface/jinja`. Yields each token with the text that it adds; characters of several tokens come whole. The
   * caches of the last call are reused as far as the next prompt begins like its text. Runs on the calling thread, and
   * lets others take their turn between tokens.
   *
   * @throws {AttentionError} `OPTION` if the folder generates no text, the prompt is too long or an option is out of
   *   range; `DTYPE`; `MEMORY`; `DISPOSED`
   */
  generate(
    prompt: string | readonly { role: string; content: string }[],
    options?: GenerateOptions | null
  ): AsyncGenerator<{ token: number; text: string }, void>

  /** Frees the layers; calls made later throw `DISPOSED`. */
  dispose(): void
  [Symbol.dispose](): void
}

/** A text of a file, with its id: the field or column `id` if there is one, else the number of its line. */
export interface Text {
  id: string | number
  text: string
}

/**
 * Reads the texts of a file piece by piece. A .jsonl or .ndjson file has strings, or objects with the fields `text` and
 * `id`; a .csv file has columns with these names; any other file has one text per line. Empty lines are skipped. Needs
 * a file system.
 *
 * @param options.field  the field or column of the text; `text` by default
 * @throws {AttentionError} `FORMAT` if a file or a line cannot be read, with the line's number; `OPTION`; `DTYPE`;
 *   `BACKEND` in a page
 */
export function readTexts(
  path: string,
  options?: { field?: string | null | undefined } | null
): AsyncGenerator<Text, void>

/** The origin of the vectors in a folder. Vectors of another origin are never added to them. */
export interface CorpusManifest {
  version: 1
  /** The file of texts: `sha256` is that of its bytes. CSV files have `columns`. */
  input: { path: string; field: string; bytes: number; texts: number; sha256: string; columns?: readonly string[] }
  /** The model: `sha256` is that of the names and contents of its files, `type` that of its weights in memory. */
  model: { name: string; family: string; type: WeightType; sha256: string }
  options: { prompt?: string; normalize?: boolean; dimensions?: number }
  /** The number of shards, the number of texts in each but the last, and the hash of shards.jsonl. */
  shards: { count: number; texts: number; sha256: string }
}

/** Options of {@link createCorpus}. */
export interface CreateCorpusOptions {
  /** The path of a file, as for {@link readTexts}. */
  input: string
  /** The path of the model's folder. */
  model: string
  /** As for {@link loadModel}. Vectors of another type are never added to those of a folder. */
  type?: WeightType | null | undefined
  /** The field or column of the text; `text` by default. */
  field?: string | null | undefined
  /** The number of texts in a shard; 10,000 by default. */
  shardTexts?: number | null | undefined
  /** Accepts a folder that has vectors of the same input, model and options. */
  resume?: boolean | null | undefined
  /** As for {@link Model.embed}. */
  prompt?: string | null | undefined
  /** As for {@link Model.embed}. */
  normalize?: boolean | null | undefined
  /** As for {@link Model.embed}. */
  dimensions?: number | null | undefined
  /** As for {@link loadModel}. */
  signal?: AbortSignal | null | undefined
  /** As for {@link loadModel}. */
  onProgress?: ((fraction: number) => void) | null | undefined
  /** As for {@link loadModel}. */
  attention?: Attention | null | undefined
  /** As for {@link loadModel}. */
  workers?: number | null | undefined
}

/** Options of {@link openCorpus}. */
export interface OpenCorpusOptions {
  /** The path of the model's folder, for `embed` and `model`. Its files must be those of the manifest. */
  model?: string | null | undefined
  /** The type that the vectors must have. The model is always loaded with the manifest's. */
  type?: WeightType | null | undefined
  /** The path of the input if it is not where it was. */
  input?: string | null | undefined
  /** As for {@link loadModel}. */
  signal?: AbortSignal | null | undefined
  /** As for {@link loadModel}. */
  onProgress?: ((fraction: number) => void) | null | undefined
  /** As for {@link loadModel}. */
  attention?: Attention | null | undefined
  /** As for {@link loadModel}. */
  workers?: number | null | undefined
}

/** Options of {@link Corpus.embed} and {@link Corpus.verify}. */
export interface CorpusWorkOptions {
  /** Ends the call; the promise rejects with the signal's reason. */
  signal?: AbortSignal | null | undefined
  /** Receives the fraction that is done. */
  onProgress?: ((fraction: number) => void) | null | undefined
}

/**
 * The vectors of all texts in a file, as a folder of shards; {@link createCorpus} and {@link openCorpus} make it. A
 * shard's vectors depend on its own texts only, so that any number of processes can embed shards, in any order, and
 * stop at any moment. A shard is a safetensors file with the tensor `vectors`, and its ids as JSON in the metadata.
 */
export class Corpus implements Disposable {
  private constructor()
  readonly manifest: Readonly<CorpusManifest>
  readonly numTexts: number
  readonly numShards: number
  /** The model that the corpus was opened with. */
  readonly model: Model | undefined

  /**
   * Reads the texts of a shard from the input.
   *
   * @throws {AttentionError} `FORMAT` if they are not those that the corpus was created from; `OPTION`
   */
  texts(shard: number): Promise<Text[]>

  /** Returns true if a shard is there and whole: reads it, and compares its hash. */
  has(shard: number): Promise<boolean>

  /**
   * Embeds a shard, unless it is there and whole. The file is written aside, flushed and renamed. Returns false if
   * there was nothing to do.
   *
   * @throws {AttentionError} `OPTION` without a model; `FORMAT` if the texts have changed; `DISPOSED`
   */
  embed(shard: number, options?: CorpusWorkOptions | null): Promise<boolean>

  /**
   * Reads the vectors of a shard, `[texts,D]`, and the ids of its texts.
   *
   * @throws {AttentionError} `FORMAT` if the shard is missing, damaged or of another corpus; `OPTION`
   */
  read(shard: number): Promise<{ ids: (string | number)[]; vectors: Tensor }>

  /**
   * Reads all shards, and returns the numbers of those that are missing or damaged. Removes what interrupted writes
   * left; call it when no process writes.
   */
  verify(options?: CorpusWorkOptions | null): Promise<number[]>

  /** Frees the model. */
  dispose(): void
  [Symbol.dispose](): void
}

/**
 * Creates a corpus: reads the input once, divides it into shards of `shardTexts` texts, and writes manifest.json and
 * shards.jsonl. Needs a file system.
 *
 * @throws {AttentionError} `OPTION` if the folder has vectors and `resume` is not set, or if they have another origin;
 *   `FORMAT`; `DTYPE`; `BACKEND` in a page
 * @example
 * const corpus = await createCorpus('vectors', { input: 'texts.jsonl', model: './all-MiniLM-L6-v2', resume: true })
 * for (let shard = 0; shard < corpus.numShards; shard++) await corpus.embed(shard)
 */
export function createCorpus(folder: string, options: CreateCorpusOptions): Promise<Corpus>

/**
 * Opens a corpus that exists, in any number of processes.
 *
 * @throws {AttentionError} `FORMAT` if the folder has no manifest; `OPTION` if the model is another one; `DTYPE`;
 *   `BACKEND` in a page
 */
export function openCorpus(folder: string, options?: OpenCorpusOptions | null): Promise<Corpus>
