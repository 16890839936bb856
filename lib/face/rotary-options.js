// The options of rotary positions, of the function and of layers: what they rotate by, with every conflict refused.

import { describe, fault, isArray, isObject, unknownOption } from '../checks/errors.js'
import { arrayType, listLengthOf } from '../checks/tensor.js'
import { plainFrequencies, readDict, readScaling } from './rotary-scaling.js'

/** The options that are passed on to the kernel crate, which checks them. */
const PASSED = /** @type {const} */ (['base', 'interleaved', 'dim', 'scale', 'factor', 'sections'])
const LIMITS = /** @type {const} */ (['maxPositions', 'originalMaxPositions', 'length'])
/** Upper limit for the features of a head, whose frequencies are read and computed one by one. */
const MOST_FEATURES = 1 << 20
const NAMES = [...PASSED, 'frequencies', 'scaling', ...LIMITS]

/** Options, each read once. @typedef {Record<string, unknown>} Options */
/**
 * Checked options. `passed` are those of the kernel crate; `frequencies` gives those of a call of some length, or
 * undefined if the kernel crate computes them from `base`.
 *
 * @typedef {object} Rotary
 * @property {Options} passed
 * @property {(length: () => number) => Float64Array | undefined} frequencies
 * @property {Options} shown  the options as a layer's configuration reports them, in addition to those passed
 */

/**
 * Reads an object of options, each exactly once, without those that are absent.
 *
 * @param {string} argument
 * @param {unknown} options
 * @param {readonly string[]} [more]  the names of further options
 */
export function readRotaryOptions(argument, options, more = []) {
  if (!isObject(options) || isArray(options) || ArrayBuffer.isView(options)) {
    const expected = argument === 'options' ? 'an object' : `an object { ${NAMES.join(', ')} }`
    throw fault('OPTION', argument, expected, describe(options))
  }
  /** @type {Options} */
  const given = {}
  const owner = argument === 'options' ? '' : `${argument}.`
  for (const [name, value] of Object.entries(options)) {
    if (value === null || value === undefined) continue
    if (!NAMES.includes(name) && !more.includes(name)) throw unknownOption(owner + name, [...NAMES, ...more])
    given[name] = value
  }
  return given
}

/**
 * Checks the options of rotary positions for heads of `size` features.
 *
 * @param {string} owner  ends with a dot if the options are members of another option
 * @param {Options} given
 * @param {number | undefined} size
 * @returns {Rotary}
 */
export function checkRotary(owner, given, size) {
  const limits = checkLimits(owner, given)
  const passed = Object.fromEntries(PASSED.flatMap((name) => (name in given ? [[name, given[name]]] : [])))
  if (given.frequencies !== undefined) return withOwnFrequencies(owner, given, passed)
  if (given.scaling === undefined) return { passed, frequencies: () => undefined, shown: {} }
  if (given.factor !== undefined) refuse(owner, 'factor', 'none beside scaling, which gives it', given)
  const argument = `${owner}scaling`
  const dict = readDict(argument, given.scaling)
  const { rope_theta: theta, mrope_section: sections } = /** @type {any} */ (dict)
  if (theta !== undefined && given.base !== undefined && given.base !== theta) {
    refuse(owner, 'base', `the rope_theta ${theta} of the scaling, or none`, given)
  }
  const base = checkBase(owner, given.base ?? theta)
  const dim = checkDim(owner, given, dict, size)
  const scaling = readScaling({ owner, argument, dict, limits, base, dim, size: size ?? dim })
  if (sections !== undefined && given.sections !== undefined && `${given.sections}` !== `${sections}`) {
    refuse(owner, 'sections', `the mrope_section [${sections}] of the scaling, or none`, given)
  }
  Object.assign(passed, { base, dim, factor: scaling.factor }, sections && { sections })
  const { dependsOnLength, frequencies } = scaling
  const fixed = dependsOnLength && limits.length === undefined ? undefined : frequencies(limits.length)
  return {
    passed,
    frequencies: (length) => fixed ?? frequencies(length()),
    shown: { scaling: dict, ...limits }
  }
}

/**
 * @param {string} owner
 * @param {string} name
 * @param {string} expected
 * @param {Options} given
 * @returns {never}
 */
function refuse(owner, name, expected, given) {
  throw fault('OPTION', owner + name, expected, describe(given[name]))
}

/**
 * @param {string} owner
 * @param {Options} given
 * @returns {{ maxPositions?: number, originalMaxPositions?: number, length?: number }}
 */
function checkLimits(owner, given) {
  const names = LIMITS.filter((name) => given[name] !== undefined)
  for (const name of names) {
    if (!Number.isSafeInteger(given[name]) || Number(given[name]) < 1) {
      refuse(owner, name, 'an integer of at least 1', given)
    }
  }
  return Object.fromEntries(names.map((name) => [name, given[name]]))
}

/**
 * @param {string} owner
 * @param {Options} given
 * @param {Options} passed
 * @returns {Rotary}
 */
function withOwnFrequencies(owner, given, passed) {
  for (const name of ['base', 'scaling']) {
    if (given[name] !== undefined) refuse(owner, name, 'none beside frequencies, which take its place', given)
  }
  const list = /** @type {any} */ (given.frequencies)
  const isTyped = ['Float32Array', 'Float64Array'].includes(arrayType(list) ?? '')
  const count = isTyped || isArray(list) ? listLengthOf(list) : undefined
  if (count !== undefined && 2 * count > MOST_FEATURES) {
    throw fault('SHAPE', `${owner}frequencies`, `at most ${MOST_FEATURES / 2} frequencies`, `${count}`)
  }
  const isRead = (/** @type {unknown} */ frequency) => typeof frequency === 'number'
  if (count === undefined || !(isTyped || Array.from({ length: count }, (_, at) => list[at]).every(isRead))) {
    throw fault('DTYPE', `${owner}frequencies`, 'a Float32Array or a Float64Array', describe(list))
  }
  const frequencies = Float64Array.from(list)
  if (!frequencies.every(Number.isFinite)) {
    throw fault('OPTION', `${owner}frequencies`, 'finite numbers', `${frequencies.find((x) => !Number.isFinite(x))}`)
  }
  const { length } = frequencies
  if (length === 0) throw fault('SHAPE', `${owner}frequencies`, 'one frequency for each pair of features', 'none')
  if (given.dim === undefined) passed.dim = 2 * length
  else if (given.dim !== 2 * length) {
    throw fault('SHAPE', `${owner}frequencies`, `dim / 2 of them, where dim is ${describe(given.dim)}`, `${length}`)
  }
  return { passed, frequencies: () => frequencies, shown: { frequencies: Object.freeze([...frequencies]) } }
}

/**
 * @param {string} owner
 * @param {any} base
 * @returns {number}
 */
function checkBase(owner, base = 10000) {
  if (typeof base === 'number' && base >= 1 && base < 1e15) return base
  throw fault('OPTION', `${owner}base`, 'a number of at least 1 and less than 1e15', describe(base))
}

/**
 * The number of rotated features, of which a dict may give the fraction.
 *
 * @param {string} owner
 * @param {Options} given
 * @param {import('./rotary-scaling.js').Dict} dict
 * @param {number | undefined} size
 */
function checkDim(owner, given, dict, size) {
  const { partial_rotary_factor: part, rope_type: type = dict.type } = /** @type {any} */ (dict)
  // The type 'proportional' rotates the other features by nothing.
  const isPart = part !== undefined && size !== undefined && type !== 'proportional'
  const dim = isPart ? Math.trunc(size * part) : (given.dim ?? size)
  if (isPart && given.dim !== undefined && given.dim !== dim) {
    refuse(owner, 'dim', `${dim}, the partial_rotary_factor ${part} of the scaling, or none`, given)
  }
  const largest = size ?? Number.MAX_SAFE_INTEGER
  if (typeof dim === 'number' && Number.isInteger(dim) && dim >= 2 && dim <= largest && dim % 2 === 0) {
    const features = size ?? dim
    if (features <= MOST_FEATURES) return dim
    throw fault('OPTION', `${owner}dim`, `at most ${MOST_FEATURES} features of a head`, `${features}`)
  }
  const limit = size === undefined ? 'of at least 2' : `from 2 to the head size ${size}`
  if (isPart)
    throw fault('OPTION', `${owner}scaling.partial_rotary_factor`, `a part whose size is even, ${limit}`, `${dim}`)
  throw fault('OPTION', `${owner}dim`, `an even integer ${limit}`, describe(dim))
}

/**
 * The frequencies and the factor that options give.
 *
 * @param {Options} given
 * @param {number | undefined} size
 * @param {() => number} length
 */
export function frequenciesOf(given, size, length) {
  const { passed, frequencies } = checkRotary('', given, size)
  const { base, scale = 1, factor = 1 } = /** @type {any} */ (passed)
  for (const [name, value] of Object.entries({ scale, factor })) {
    if (!(Number.isFinite(value) && value >= 0)) refuse('', name, 'a finite number of at least 0', given)
  }
  const own = frequencies(length) ?? plainFrequencies(checkBase('', base), checkDim('', given, {}, size))
  return { frequencies: own.map((frequency) => frequency * scale), factor }
}
