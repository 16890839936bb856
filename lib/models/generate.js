// Generates text token by token: a prompt fills the caches of all layers, and each token is added to them.

import { describe, fault, isArray, isObject } from '../checks/errors.js'
import { nextTurn } from '../runtime/turn.js'
import { createSampler, readSampling } from './sampling.js'

/** @typedef {import('./network.js').Network} Network */
/**
 * The caches of all layers, and the tokens whose keys and values they hold.
 *
 * @typedef {{ caches: any[], ids: number[], capacity: number }} Session
 */

/** The most tokens that a call generates, unless the caller says otherwise. */
const MAX_TOKENS = 256

/**
 * Reads the options of a call.
 *
 * @param {Record<string, unknown>} given
 */
export function readGeneration({ maxTokens = MAX_TOKENS, stop, ...sampling }) {
  if (!(Number.isSafeInteger(maxTokens) && Number(maxTokens) > 0)) {
    throw fault('OPTION', 'maxTokens', 'a positive integer', describe(maxTokens))
  }
  const stops = stop === undefined ? [] : stop
  if (!isArray(stops) || !stops.every((text) => typeof text === 'string' && text !== '')) {
    throw fault('OPTION', 'stop', 'a list of texts', describe(stop))
  }
  return { maxTokens: Number(maxTokens), stops: /** @type {string[]} */ ([...stops]), sampling: readSampling(sampling) }
}

/** Tokens of a network, with caches that are reused as far as the next prompt begins like the last one. */
export class Generator {
  #network
  /** @type {Session | undefined} */
  #session

  /** @param {Network} network */
  constructor(network) {
    this.#network = network
  }

  /**
   * A session whose caches hold the longest common beginning of its tokens and `ids`, less the last token, whose
   * logits are needed.
   *
   * @param {readonly number[]} ids
   * @param {number} capacity
   */
  #open(ids, capacity) {
    const known = this.#session
    this.#session = undefined
    if (known === undefined || known.capacity < capacity) {
      dispose(known)
      /** @type {any[]} */
      const caches = []
      try {
        for (const layer of this.#network.layers) caches.push(layer.createCache({ capacity }))
      } catch (error) {
        dispose({ caches, ids: [], capacity })
        throw error
      }
      return { caches, ids: /** @type {number[]} */ ([]), capacity }
    }
    let common = 0
    while (common < Math.min(ids.length - 1, known.ids.length) && ids[common] === known.ids[common]) common++
    for (const cache of known.caches) cache.truncate(common)
    known.ids.length = common
    return known
  }

  /**
   * Yields tokens until the caller stops.
   *
   * @param {readonly number[]} ids  the prompt, at least one token
   * @param {number} capacity  of the prompt and all tokens
   * @param {import('./sampling.js').Sampling} sampling
   */
  async *run(ids, capacity, sampling) {
    const choose = createSampler(sampling)
    const session = this.#open(ids, capacity)
    const seen = new Set(ids)
    let next = ids.slice(session.ids.length)
    let isWhole = false
    try {
      for (;;) {
        const logits = this.#step(session, next)
        const token = choose(logits, seen)
        isWhole = true
        yield token
        isWhole = false
        seen.add(token)
        next = [token]
        await nextTurn()
      }
    } finally {
      // After an error, some layers may have taken the tokens and others not.
      if (isWhole && this.#session === undefined) this.#session = session
      else dispose(session)
    }
  }

  /**
   * Adds tokens to the caches, and returns the logits after the last one.
   *
   * @param {Session} session
   * @param {readonly number[]} ids
   */
  #step(session, ids) {
    const network = this.#network
    const packed = {
      ids: Int32Array.from(ids),
      types: new Int32Array(ids.length),
      starts: Int32Array.of(0, ids.length)
    }
    const embeddings = /** @type {NonNullable<Network['words']>} */ (network.words)
    let { data } = embeddings.run(packed, session.ids.length)
    for (const [index, layer] of network.layers.entries()) {
      const x = { data, shape: [1, ids.length, network.size] }
      data = layer.forward(x, { cache: session.caches[index] }).output.data
    }
    session.ids.push(...ids)
    return logitsOf(network, data)
  }

  dispose() {
    dispose(this.#session)
    this.#session = undefined
  }
}

/**
 * Yields the tokens of an encoder-decoder's answer until the caller stops.
 *
 * @param {Network} network  the decoder
 * @param {{ data: Float32Array, shape: number[] }} context  the encoder's hidden states, `[1,S,M]`
 * @param {number} start  the token before the answer
 * @param {number} capacity  the most tokens
 * @param {import('./sampling.js').Sampling} sampling
 */
export async function* answer(network, context, start, capacity, sampling) {
  const choose = createSampler(sampling)
  /** @type {{ cache: any, contextCache: any }[]} */
  const caches = []
  try {
    for (const layer of network.layers) {
      const cache = layer.createCache({ capacity })
      caches.push({ cache, contextCache: undefined })
      caches[caches.length - 1].contextCache = layer.createCache({ capacity: context.shape[1] })
    }
    const seen = new Set([start])
    for (let token = start, isFirst = true; ; isFirst = false) {
      let x = embedToken(network, token)
      for (const [index, layer] of network.layers.entries()) {
        x = layer.forward(x, isFirst ? context : null, caches[index]).output
      }
      token = choose(logitsOf(network, x.data), seen)
      yield token
      seen.add(token)
      await nextTurn()
    }
  } finally {
    for (const { cache, contextCache } of caches) {
      cache.dispose()
      contextCache?.dispose()
    }
  }
}

/** @param {Network} network @param {number} token */
function embedToken(network, token) {
  const packed = { ids: Int32Array.of(token), types: new Int32Array(1), starts: Int32Array.of(0, 1) }
  const { data } = /** @type {NonNullable<Network['words']>} */ (network.words).run(packed)
  return { data, shape: [1, 1, network.size] }
}

/** The logits after the last row. @param {Network} network @param {Float32Array} rows */
function logitsOf(network, rows) {
  const last = { data: rows.slice(-network.size), shape: [1, network.size] }
  return network.head(network.finish(last), Int32Array.of(0, 1)).data
}

/** @param {Session | undefined} session */
function dispose(session) {
  for (const cache of session?.caches ?? []) cache.dispose()
}

/**
 * Turns tokens into texts of whole characters, and ends before a stop text.
 */
export class TextStream {
  #decode
  #stops
  /** @type {number[]} */
  #ids = []
  /** The number of characters that were returned. */
  #done = 0
  isStopped = false

  /**
   * @param {(ids: readonly number[]) => string} decode
   * @param {readonly string[]} stops
   */
  constructor(decode, stops) {
    this.#decode = decode
    this.#stops = stops
  }

  /**
   * The text that a token adds. Characters that are not whole yet, and what may begin a stop text, come later.
   *
   * @param {number} token
   */
  push(token) {
    this.#ids.push(token)
    const text = this.#decode(this.#ids)
    const places = this.#stops.map((stop) => text.indexOf(stop)).filter((place) => place >= 0)
    if (places.length > 0) {
      this.isStopped = true
      return this.#take(text, Math.min(...places))
    }
    const whole = text.replace(/\ufffd+$/, '').length
    return this.#take(text, whole - this.#heldBack(text.slice(0, whole)))
  }

  /** The rest of the text, once no token follows. */
  end() {
    const text = this.isStopped ? '' : this.#decode(this.#ids)
    return this.#take(text, text.length)
  }

  /** @param {string} text @param {number} end */
  #take(text, end) {
    const part = text.slice(this.#done, Math.max(end, this.#done))
    this.#done += part.length
    return part
  }

  /** The length of the longest end of a text that begins a stop text. @param {string} text */
  #heldBack(text) {
    return this.#stops.reduce((most, stop) => {
      let length = Math.min(stop.length - 1, text.length)
      while (length > 0 && !stop.startsWith(text.slice(-length))) length--
      return Math.max(most, length)
    }, 0)
  }
}

/**
 * The text of a prompt: as it is, or of messages by the folder's chat template.
 *
 * @param {unknown} prompt
 * @param {{ template?: string | undefined, config: Record<string, any> }} chat
 */
export async function promptText(prompt, { template, config }) {
  if (typeof prompt === 'string') return { text: prompt, isBare: false }
  const isMessage = (/** @type {any} */ message) =>
    isObject(message) && ['role', 'content'].every((name) => typeof (/** @type {any} */ (message)[name]) === 'string')
  if (!isArray(prompt) || prompt.length === 0 || !prompt.every(isMessage)) {
    throw fault('DTYPE', 'prompt', 'a string or a list of { role, content }', describe(prompt))
  }
  if (template === undefined) {
    throw fault('OPTION', 'prompt', 'a string, as the folder has no chat template', 'a list of messages')
  }
  const { Template } = await importJinja()
  const tokenOf = (/** @type {any} */ token) => (isObject(token) ? /** @type {any} */ (token).content : token)
  const values = {
    messages: prompt,
    add_generation_prompt: true,
    bos_token: tokenOf(config.bos_token),
    eos_token: tokenOf(config.eos_token)
  }
  try {
    return { text: /** @type {string} */ (new Template(template).render(values)), isBare: true }
  } catch (error) {
    throw fault(
      'FORMAT',
      'tokenizer_config.json: chat_template',
      'a template for these messages',
      /** @type {Error} */ (error).message
    )
  }
}

/** @returns {Promise<any>} */
async function importJinja() {
  // A variable, so that bundlers do not look for a package that need not be installed.
  const name = '@huggingface/jinja'
  try {
    return await import(/* @vite-ignore */ /* webpackIgnore: true */ name)
  } catch {
    throw fault('OPTION', 'prompt', `the package ${name} beside this one, for messages`, 'none')
  }
}
