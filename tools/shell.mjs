// Runs programs for the scripts: their output goes to the terminal, and a failure stops the script and names the
// command.

import { spawn, spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

/** The root folder of the repository. */
export const root = dirname(dirname(fileURLToPath(import.meta.url)))

/** A failure that is reported without a stack trace. */
export class Failure extends Error {}

/**
 * @typedef {{ cwd?: string, env?: Record<string, string> }} RunOptions `env` is added to the environment of this
 *   process.
 */

/**
 * Runs one step, with its name before it and its time after it.
 *
 * @template T
 * @param {string} name
 * @param {() => T | Promise<T>} action
 */
export async function step(name, action) {
  console.log(`\n── ${name}`)
  const start = performance.now()
  const result = await action()
  console.log(`── ${name}: ${((performance.now() - start) / 1000).toFixed(1)} s`)
  return result
}

/**
 * Runs a program and shows its output as it comes.
 *
 * @param {string} command
 * @param {readonly string[]} args
 * @param {RunOptions} [options]
 * @returns {Promise<{ failure: Failure | undefined, output: string }>} `output` is what it printed, standard error last
 */
export function attempt(command, args, options = {}) {
  return new Promise((resolve) => {
    const child = spawn(command, args, { ...spawnOptions(command, options), stdio: ['ignore', 'pipe', 'pipe'] })
    let output = ''
    let errors = ''
    child.stdout.setEncoding('utf8').on('data', (text) => {
      output += text
      process.stdout.write(text)
    })
    child.stderr.setEncoding('utf8').on('data', (text) => {
      errors += text
      process.stderr.write(text)
    })
    child.on('error', (error) => resolve({ failure: new Failure(`${command}: ${error.message}`), output }))
    child.on('close', (status, signal) => {
      const line = [command, ...args].join(' ')
      const failure =
        status === 0 ? undefined : new Failure(`\`${line}\` ended with ${signal ?? `exit code ${status}`}`)
      resolve({ failure, output: output + errors })
    })
  })
}

/**
 * Runs a program and throws if it fails.
 *
 * @param {string} command
 * @param {readonly string[]} args
 * @param {RunOptions} [options]
 */
export async function run(command, args, options) {
  const { failure } = await attempt(command, args, options)
  if (failure) throw failure
}

/**
 * Runs a Node program on this terminal, so that it can draw there. Signals that would end this process end that program
 * instead.
 *
 * @param {readonly string[]} args
 * @param {string} cwd
 * @returns {Promise<number>} its exit code
 */
export function runOnTerminal(args, cwd) {
  const child = spawn(process.execPath, args, { cwd, stdio: 'inherit' })
  for (const signal of /** @type {const} */ (['SIGINT', 'SIGTERM', 'SIGHUP'])) {
    process.on(signal, () => child.kill(signal))
  }
  return new Promise((resolve, reject) => {
    child.once('error', reject).once('exit', (code) => resolve(code ?? 1))
  })
}

/**
 * Returns the output of a program, or undefined if it is missing, fails, or takes more than five minutes.
 *
 * @param {string} command
 * @param {readonly string[]} args
 * @param {RunOptions} [options]
 * @returns {string | undefined}
 */
export function query(command, args, options = {}) {
  const result = spawnSync(command, args, {
    ...spawnOptions(command, options),
    stdio: ['ignore', 'pipe', 'ignore'],
    encoding: 'utf8',
    timeout: 300_000,
    maxBuffer: 2 ** 28
  })
  return result.status === 0 ? result.stdout.trim() : undefined
}

/**
 * Returns the file that Node runs for a program of an npm package, which works without a shell on every platform.
 *
 * @param {string} name  of the package
 * @param {string} [program]  its name, if it differs from the package's
 * @param {string} [base]  the folder that contains the packages
 */
export function npmProgram(name, program = name, base = root) {
  const folder = join(base, 'node_modules', name)
  const { bin } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'))
  return join(folder, typeof bin === 'string' ? bin : bin[program])
}

/**
 * @param {string} command
 * @param {RunOptions} options
 */
function spawnOptions(command, { cwd = root, env }) {
  // npm is a batch file on Windows, which only a shell can start.
  const shell = process.platform === 'win32' && command === 'npm'
  return { cwd, shell, env: env ? { ...process.env, ...env } : process.env }
}
