// Frequencies of rotary positions from the dict of a config.json, `rope_scaling` or `rope_parameters`, computed in
// doubles as by ROPE_INIT_FUNCTIONS of Hugging Face's transformers.

import { describe, fault, isArray, isObject, unknownOption } from '../checks/errors.js'

/** A value of the dict. @typedef {number | string | boolean | readonly number[]} Value */
/** The dict of a config.json, checked and copied. @typedef {Readonly<Record<string, Value>>} Dict */
/** @typedef {{ maxPositions?: number, originalMaxPositions?: number }} Limits */
/**
 * The frequencies that a dict describes: they depend on the length of the sequence if `frequencies` has a parameter.
 *
 * @typedef {{ frequencies: (length?: number) => Float64Array, factor: number, dependsOnLength: boolean }} Scaling
 */

/** The type of each name of a dict, for all types of scaling together; transformers also ignores what a type lacks. */
const NAMES = {
  rope_type: 'text',
  type: 'text',
  rope_theta: 'number',
  partial_rotary_factor: 'number',
  factor: 'number',
  original_max_position_embeddings: 'number',
  attention_factor: 'number',
  beta_fast: 'number',
  beta_slow: 'number',
  mscale: 'number',
  mscale_all_dim: 'number',
  truncate: 'boolean',
  short_factor: 'list',
  long_factor: 'list',
  low_freq_factor: 'number',
  high_freq_factor: 'number',
  mrope_section: 'list',
  mrope_interleaved: 'false',
  finetuned: 'boolean'
}

const EXPECTED = {
  text: 'a string',
  number: 'a finite number',
  boolean: 'a boolean',
  list: 'a list of finite numbers',
  false: 'false: sections that alternate are not supported'
}

/** @type {Record<keyof typeof EXPECTED, (value: any) => boolean>} */
const FITS = {
  text: (value) => typeof value === 'string',
  number: Number.isFinite,
  boolean: (value) => typeof value === 'boolean',
  list: (value) => isArray(value) && value.every(Number.isFinite),
  false: (value) => value === false
}

/**
 * Copies the dict, each member once, without those that are null.
 *
 * @param {string} argument  the caller's name for it
 * @param {unknown} given
 * @returns {Dict}
 */
export function readDict(argument, given) {
  if (!isObject(given) || isArray(given) || ArrayBuffer.isView(given)) {
    throw fault('OPTION', argument, "a dict of a config.json, such as its 'rope_parameters'", describe(given))
  }
  const members = Object.entries(given).filter(([, value]) => value !== null && value !== undefined)
  const layerTypes = members.filter(([, value]) => isObject(value) && !isArray(value)).map(([name]) => name)
  if (layerTypes.length > 0) {
    const one = layerTypes.map((name) => `${argument}.${name}`).join(' or ')
    throw fault('OPTION', argument, `the dict of one layer type: ${one}`, 'dicts by layer type')
  }
  /** @type {Record<string, Value>} */
  const dict = {}
  for (const [name, value] of members) {
    if (!Object.hasOwn(NAMES, name)) throw unknownOption(`${argument}.${name}`, Object.keys(NAMES))
    const type = /** @type {keyof typeof EXPECTED} */ (NAMES[/** @type {keyof typeof NAMES} */ (name)])
    if (!FITS[type](value)) throw fault('OPTION', `${argument}.${name}`, EXPECTED[type], describe(value))
    dict[name] = isArray(value) ? Object.freeze([...value]) : value
  }
  return Object.freeze(dict)
}

/** Second names of types. @type {Record<string, string>} */
const ALIASES = { mrope: 'default', su: 'longrope' }

/**
 * The type of scaling, by its name of version 5 or 4.
 *
 * @param {string} argument
 * @param {Dict} dict
 */
function typeOf(argument, { rope_type: current, type: former }) {
  const resolve = (/** @type {any} */ name) => (Object.hasOwn(ALIASES, name) ? ALIASES[name] : name)
  const [name, other] = [resolve(current ?? former ?? 'default'), resolve(former ?? current ?? 'default')]
  const path = `${argument}.${current === undefined ? 'type' : 'rope_type'}`
  if (!Object.hasOwn(TYPES, name)) {
    const known = [...Object.keys(TYPES), ...Object.keys(ALIASES)].map((known) => `'${known}'`)
    throw fault('OPTION', path, `one of ${known.join(', ')}`, describe(current ?? former))
  }
  if (name !== other) throw fault('OPTION', path, `the 'type' beside it, ${describe(former)}`, describe(current))
  return name
}

/**
 * A dict and the options next to it: `owner` and `argument` are the callers' names for the object of options, ending
 * with a dot if it is itself an option, and for the dict; `dim` features of `size` are rotated.
 *
 * @typedef {object} Given
 * @property {string} owner
 * @property {string} argument
 * @property {Dict} dict
 * @property {Limits} limits
 * @property {number} base
 * @property {number} dim
 * @property {number} size
 */

/** Reads the members of a dict that its type needs. */
class Reader {
  /** @param {Given} given */
  constructor({ owner, argument, dict, limits, base, dim, size }) {
    this.owner = owner
    this.argument = argument
    this.dict = dict
    this.limits = limits
    this.base = base
    this.dim = dim
    this.size = size
  }

  /**
   * A positive number of the dict.
   *
   * @param {string} name
   * @param {number} [absent]  its value if the dict lacks it
   */
  number(name, absent) {
    const value = this.dict[name] ?? absent
    if (typeof value === 'number' && value > 0) return value
    throw fault(
      'OPTION',
      `${this.argument}.${name}`,
      'a positive number',
      describe(value ?? 'nothing').replaceAll('"', '')
    )
  }

  /** The length that the model was trained for before it was scaled. */
  get original() {
    const { original_max_position_embeddings: own } = this.dict
    const { maxPositions, originalMaxPositions: given } = this.limits
    if (own !== undefined && given !== undefined && own !== given) {
      const expected = `${own}, the scaling's original_max_position_embeddings`
      throw fault('OPTION', `${this.owner}originalMaxPositions`, expected, `${given}`)
    }
    return this.number('original_max_position_embeddings', given ?? maxPositions)
  }

  /** The length that the scaled model is made for. */
  get maxPositions() {
    const { maxPositions } = this.limits
    if (maxPositions !== undefined) return maxPositions
    throw fault('OPTION', `${this.owner}maxPositions`, "the config.json's max_position_embeddings", 'nothing')
  }

  /** The factor by which the length has grown. */
  get growth() {
    const { factor } = this.dict
    return factor === undefined && this.limits.maxPositions !== undefined
      ? this.maxPositions / this.original
      : this.number('factor')
  }

  /**
   * A factor for each pair.
   *
   * @param {string} name
   */
  factors(name) {
    const list = /** @type {readonly number[] | undefined} */ (this.dict[name])
    if (list?.length === this.dim / 2 && list.every((factor) => factor > 0)) return list
    const actual = list === undefined ? 'nothing' : `a list of ${list.length}`
    throw fault('OPTION', `${this.argument}.${name}`, `${this.dim / 2} positive numbers, one for each pair`, actual)
  }
}

/**
 * The frequencies without scaling.
 *
 * @param {number} base
 * @param {number} dim
 * @param {(frequency: number, pair: number) => number} [change]
 */
export function plainFrequencies(base, dim, change = (frequency) => frequency) {
  return Float64Array.from({ length: dim / 2 }, (_, pair) => change(1 / base ** ((2 * pair) / dim), pair))
}

/**
 * The attention factor of YaRN, and the square root of the factor of the scale in DeepSeek's attention.
 *
 * @param {number} growth
 * @param {number} [mscale]
 */
export const yarnFactor = (growth, mscale = 1) => (growth <= 1 ? 1 : 0.1 * mscale * Math.log(growth) + 1)

/** @param {Reader} reader */
function yarn({ dict, base, dim, growth, original }) {
  const { mscale, mscale_all_dim: mscaleAll, attention_factor: given, truncate = true } = /** @type {any} */ (dict)
  const inferred = mscale && mscaleAll ? yarnFactor(growth, mscale) / yarnFactor(growth, mscaleAll) : yarnFactor(growth)
  const pairOf = (/** @type {number} */ turns) =>
    (dim * Math.log(original / (turns * 2 * Math.PI))) / (2 * Math.log(base))
  let [low, high] = [pairOf(Number(dict.beta_fast) || 32), pairOf(Number(dict.beta_slow) || 1)]
  if (truncate) [low, high] = [Math.floor(low), Math.ceil(high)]
  low = Math.max(low, 0)
  high = Math.min(high, dim - 1)
  if (low === high) high += 0.001
  const frequencies = plainFrequencies(base, dim, (frequency, pair) => {
    const ramp = Math.min(Math.max((pair - low) / (high - low), 0), 1)
    return (frequency / growth) * ramp + frequency * (1 - ramp)
  })
  return { frequencies: () => frequencies, factor: given ?? inferred }
}

/** @param {Reader} reader */
function llama3(reader) {
  const { base, dim, argument } = reader
  const [growth, low, high] = ['factor', 'low_freq_factor', 'high_freq_factor'].map((name) => reader.number(name))
  const original = reader.original
  if (high <= low) throw fault('OPTION', `${argument}.high_freq_factor`, `more than low_freq_factor ${low}`, `${high}`)
  const frequencies = plainFrequencies(base, dim, (frequency) => {
    const turns = (original * frequency) / (2 * Math.PI)
    if (turns > high) return frequency
    if (turns < low) return frequency / growth
    const smooth = (turns - low) / (high - low)
    return ((1 - smooth) * frequency) / growth + smooth * frequency
  })
  return { frequencies: () => frequencies, factor: 1 }
}

/** @param {Reader} reader */
function longrope(reader) {
  const { base, dim, growth, original } = reader
  const inferred = growth <= 1 ? 1 : Math.sqrt(1 + Math.log(growth) / Math.log(original))
  const [short, long] = ['short_factor', 'long_factor'].map((name) => {
    const factors = reader.factors(name)
    return plainFrequencies(base, dim, (frequency, pair) => frequency / factors[pair])
  })
  return {
    frequencies: (length = 0) => (length > original ? long : short),
    factor: Number(reader.dict.attention_factor ?? inferred),
    dependsOnLength: true
  }
}

/** @param {Reader} reader */
function dynamic(reader) {
  const { base, dim, maxPositions } = reader
  const growth = reader.number('factor')
  if (dim === 2) throw fault('OPTION', `${reader.owner}dim`, "more than 2 for the type 'dynamic'", '2')
  const frequencies = (length = 0) => {
    const stretch = (growth * Math.max(length, maxPositions)) / maxPositions - (growth - 1)
    return plainFrequencies(base * stretch ** (dim / (dim - 2)), dim)
  }
  return { frequencies, factor: 1, dependsOnLength: true }
}

/** @param {Reader} reader */
function proportional(reader) {
  const { base, size } = reader
  const growth = reader.number('factor', 1)
  const rotated = Math.floor((reader.number('partial_rotary_factor', 1) * size) / 2)
  const frequencies = plainFrequencies(base, size, (frequency, pair) => (pair < rotated ? frequency / growth : 0))
  return { frequencies: () => frequencies, factor: 1 }
}

/** @type {Record<string, (reader: Reader) => Omit<Scaling, 'dependsOnLength'> & { dependsOnLength?: boolean }>} */
const TYPES = {
  default: ({ base, dim }) => ({ frequencies: () => plainFrequencies(base, dim), factor: 1 }),
  linear(reader) {
    const growth = reader.number('factor')
    const frequencies = plainFrequencies(reader.base, reader.dim, (frequency) => frequency / growth)
    return { frequencies: () => frequencies, factor: 1 }
  },
  dynamic,
  yarn,
  longrope,
  llama3,
  proportional
}

/**
 * Computes what a dict says.
 *
 * @param {Given} given
 * @returns {Scaling}
 */
export function readScaling(given) {
  const compute = TYPES[typeOf(given.argument, given.dict)]
  return { dependsOnLength: false, ...compute(new Reader(given)) }
}
