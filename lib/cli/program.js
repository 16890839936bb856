// Shared by the commands: argument parsing, help, and exit codes.

import { parseArgs } from 'node:util'
import { AttentionError } from '../checks/errors.js'

/** A wrong command line: prints its message and exits with code 2. */
export class UsageError extends Error {}

/** An expected failure: prints its message in one line and exits with code 1. */
export class Failure extends Error {}

/**
 * The options of a command, as `parseArgs` takes them.
 *
 * @typedef {NonNullable<import('node:util').ParseArgsConfig['options']>} Options
 */
/** @typedef {{ json: boolean, positionals: string[], values: Record<string, any> }} Arguments */

/**
 * @param {string[]} args
 * @param {boolean} allowPositionals
 * @param {Options} options
 */
function parse(args, allowPositionals, options) {
  try {
    const { values, positionals } = parseArgs({
      args,
      allowPositionals,
      options: { ...options, json: { type: 'boolean', default: false }, help: { type: 'boolean', default: false } }
    })
    return { values: /** @type {Record<string, any>} */ (values), positionals }
  } catch (error) {
    throw new UsageError(/** @type {Error} */ (error).message.split('. ')[0])
  }
}

/**
 * Runs a command with the arguments of this process.
 *
 * @param {string} usage
 * @param {{ positionals?: boolean, options?: Options }} takes
 * @param {(given: Arguments) => Promise<{ text: string, code?: number }>} main
 */
export async function program(usage, { positionals: takesPositionals = false, options }, main) {
  try {
    const { values, positionals } = parse(process.argv.slice(2), takesPositionals, options ?? {})
    const { text, code = 0 } = values.help ? { text: usage } : await main({ json: values.json, positionals, values })
    process.stdout.write(text)
    process.exitCode = code
  } catch (error) {
    if (error instanceof UsageError) process.stderr.write(`${error.message}\nTry --help.\n`)
    else if (error instanceof Failure) process.stderr.write(`${error.message}\n`)
    else throw error
    process.exitCode = error instanceof UsageError ? 2 : 1
  }
}

/**
 * An option that must be given.
 *
 * @param {Readonly<Record<string, any>>} values
 * @param {string} name
 * @returns {string}
 */
export function requiredOption(values, name) {
  if (values[name]) return values[name]
  throw new UsageError(`--${name} is missing`)
}

/**
 * A positive integer.
 *
 * @param {string} name
 * @param {string} value
 */
export function wholeNumber(name, value) {
  const number = Number(value)
  if (Number.isSafeInteger(number) && number > 0) return number
  throw new UsageError(`--${name}: expected a positive integer, got '${value}'`)
}

/** @typedef {import('../../index.d.ts').WeightType} WeightType */

/** @type {readonly WeightType[]} */
const TYPES = ['q8_0', 'f16', 'bf16', 'f32']

/**
 * The type of weights in the option `--type`.
 *
 * @template {string | undefined} T
 * @param {T} given
 * @returns {WeightType | (T & undefined)}
 */
export function weightType(given) {
  if (given === undefined) return /** @type {any} */ (undefined)
  const type = TYPES.find((known) => known === given)
  if (type !== undefined) return type
  throw new UsageError(`--type: expected ${TYPES.join(', ')}, got '${given}'`)
}

/**
 * Runs a task whose errors about files and models are failures of the command.
 *
 * @template T
 * @param {() => Promise<T>} task
 */
export async function orFailure(task) {
  try {
    return await task()
  } catch (error) {
    const { code, message } = /** @type {NodeJS.ErrnoException} */ (error)
    const isExpected = error instanceof AttentionError ? code !== 'INTERNAL' : typeof code === 'string'
    throw isExpected ? new Failure(message) : error
  }
}
