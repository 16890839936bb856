// Shared by the commands: argument parsing, help, and exit codes.

import { parseArgs } from 'node:util'

/** A wrong command line: prints its message and exits with code 2. */
export class UsageError extends Error {}

/** An expected failure: prints its message in one line and exits with code 1. */
export class Failure extends Error {}

/** @typedef {{ json: boolean, positionals: string[] }} Arguments */

/**
 * @param {string[]} args
 * @param {boolean} allowPositionals
 */
function parse(args, allowPositionals) {
  try {
    return parseArgs({
      args,
      allowPositionals,
      options: { json: { type: 'boolean', default: false }, help: { type: 'boolean', default: false } }
    })
  } catch (error) {
    throw new UsageError(/** @type {Error} */ (error).message.split('. ')[0])
  }
}

/**
 * Runs a command with the arguments of this process.
 *
 * @param {string} usage
 * @param {{ positionals?: boolean }} takes
 * @param {(given: Arguments) => Promise<{ text: string, code?: number }>} main
 */
export async function program(usage, { positionals = false }, main) {
  try {
    const given = parse(process.argv.slice(2), positionals)
    const { text, code = 0 } = given.values.help
      ? { text: usage }
      : await main({ json: given.values.json, positionals: given.positionals })
    process.stdout.write(text)
    process.exitCode = code
  } catch (error) {
    if (error instanceof UsageError) process.stderr.write(`${error.message}\nTry --help.\n`)
    else if (error instanceof Failure) process.stderr.write(`${error.message}\n`)
    else throw error
    process.exitCode = error instanceof UsageError ? 2 : 1
  }
}
