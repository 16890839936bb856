// Runs programs of consumers: captures their output, shows it only on failure, and starts and ends servers.

import { spawn } from 'node:child_process'
import { Failure } from '../../tools/shell.mjs'

/** @typedef {{ cwd: string, env?: Record<string, string | undefined>, seconds?: number, withErrors?: boolean }} How */

/** Removes variables that would select the backend, or color the output. @param {How['env']} env */
function environment(env) {
  const { RUVECTOR_ATTENTION_BACKEND: _, RUVECTOR_ATTENTION_NATIVE_PATH: __, FORCE_COLOR: ___, ...rest } = process.env
  // Disables the telemetry of consumers' tools.
  const quiet = { NO_COLOR: '1', CI: '1', NEXT_TELEMETRY_DISABLED: '1', DO_NOT_TRACK: '1' }
  return /** @type {NodeJS.ProcessEnv} */ ({ ...rest, ...quiet, ...env })
}

/** @param {string} command @param {readonly string[]} args @param {string} output */
const told = (command, args, output) =>
  `${[command, ...args].join(' ')}\n${output.trim().split('\n').slice(-40).join('\n')}`

/**
 * Runs a program to its end.
 *
 * @param {string} command
 * @param {readonly string[]} args
 * @param {How} how
 * @returns {Promise<string>} its standard output, and with `withErrors` its standard error behind it
 */
export function capture(command, args, { cwd, env, seconds = 120, withErrors = false }) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, {
      cwd,
      env: environment(env),
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: seconds * 1000,
      killSignal: 'SIGKILL'
    })
    let [output, errors] = ['', '']
    child.stdout.setEncoding('utf8').on('data', (text) => (output += text))
    child.stderr.setEncoding('utf8').on('data', (text) => (errors += text))
    child.on('error', (error) => reject(new Failure(`${command}: ${error.message}`)))
    child.on('close', (status, signal) => {
      if (status === 0) return resolve(withErrors ? output + errors : output)
      const end = signal ? `was ended by ${signal} (after ${seconds} s at most)` : `ended with exit code ${status}`
      reject(new Failure(`${end}: ${told(command, args, output + errors)}`))
    })
  })
}

/**
 * Starts a server and waits until its output matches `ready`.
 *
 * @param {string} command
 * @param {readonly string[]} args
 * @param {How & { ready: RegExp }} how
 * @returns {Promise<{ match: RegExpMatchArray, output: () => string, stop: () => Promise<void> }>}
 */
export function serveWith(command, args, { cwd, env, ready, seconds = 60 }) {
  return new Promise((resolve, reject) => {
    // A separate process group, so that its children end with it.
    const child = spawn(command, args, {
      cwd,
      env: environment(env),
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: true
    })
    const closed = new Promise((done) => child.on('close', done))
    const stop = async () => {
      try {
        process.kill(-Number(child.pid), 'SIGTERM')
      } catch {
        // The process has already ended.
      }
      const late = setTimeout(() => child.pid && process.kill(-child.pid, 'SIGKILL'), 5000)
      await closed
      clearTimeout(late)
    }
    let output = ''
    const fail = (/** @type {string} */ why) => reject(new Failure(`${why}: ${told(command, args, output)}`))
    const timer = setTimeout(() => stop().then(() => fail(`was not ready after ${seconds} s`)), seconds * 1000)
    const take = (/** @type {string} */ text) => {
      output += text
      const match = ready.exec(output)
      if (!match) return
      clearTimeout(timer)
      resolve({ match, output: () => output, stop })
    }
    child.stdout.setEncoding('utf8').on('data', take)
    child.stderr.setEncoding('utf8').on('data', take)
    child.on('error', (error) => fail(error.message))
    child.on('close', (status) => {
      clearTimeout(timer)
      fail(`ended with exit code ${status}`)
    })
  })
}
