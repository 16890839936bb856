// Measurements without contenders: start time, memory, and the size of the shipped modules. Times and memory come from
// fresh processes.

import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { gzipSync } from 'node:zlib'
import { median } from './timing.js'

/** @typedef {import('./types.d.ts').Figure} Figure */
/**
 * @typedef {{ name: string, group: string, isQuick: boolean, measure: () => Promise<Omit<Figure, 'name' | 'group'>> }}
 *   Task
 */

const execute = promisify(execFile)
const STARTS = 5
export const MEGABYTE = 1e6

/**
 * Runs a program of `children/`, shows its reports, and returns the JSON of its last line.
 *
 * @param {string} script
 * @param {string[]} args
 */
export async function child(script, ...args) {
  const path = fileURLToPath(new URL(`children/${script}`, import.meta.url))
  const running = execute(process.execPath, [path, ...args])
  running.child.stderr?.pipe(process.stderr)
  const { stdout } = await running
  const result = JSON.parse(stdout.trimEnd().split('\n').at(-1) ?? '')
  if (result.error) throw new Error(result.error)
  return result
}

/**
 * Returns the results of several starts, each in a fresh process.
 *
 * @param {string} script
 * @param {string[]} args
 */
export async function starts(script, ...args) {
  const found = []
  for (let start = 0; start < STARTS; start++) found.push(await child(script, ...args))
  return found
}

/** @param {string} script @param {string[]} args */
const startTime = async (script, ...args) =>
  median((await starts(script, ...args)).map(({ milliseconds }) => milliseconds))

/** @param {string} kind @returns {Task} */
const start = (kind) => ({
  name: `start, ${kind}`,
  group: 'start',
  isQuick: true,
  measure: async () => ({
    value: await startTime('init.js', kind),
    unit: 'ms',
    detail: 'from import to the first result, in a fresh process'
  })
})

/** @type {Task} */
const startInBrowser = {
  name: 'start, browser',
  group: 'start',
  isQuick: true,
  async measure() {
    try {
      return {
        value: await startTime('browser.js', 'Chromium'),
        unit: 'ms',
        detail: 'init() and the first call, in Chromium'
      }
    } catch {
      const value = await startTime('init.js', 'browser')
      return { value, unit: 'ms', detail: "no browser was found: its entry in Node's engine, including the import" }
    }
  }
}

/** @param {string} kind @returns {Task} */
const memory = (kind) => ({
  name: `memory B=1 H=8 S=16384 D=64, ${kind}`,
  group: 'memory',
  isQuick: false,
  async measure() {
    const { growth, inputs, outputs } = await child('memory.js', kind)
    const allowed = 1.1 * (inputs + outputs) + 8 * MEGABYTE
    return {
      value: growth / MEGABYTE,
      unit: 'MB',
      detail: `growth over the call; the limit is ${(allowed / MEGABYTE).toFixed(1)} MB, 1.1 times the ${((inputs + outputs) / MEGABYTE).toFixed(1)} MB of inputs and output, and 8 MB`
    }
  }
})

/** @param {string} kind @returns {Task} */
const graphMemory = (kind) => ({
  name: `memory GATv2 100k nodes 2000k edges H=4 D=16, ${kind}`,
  group: 'graph memory',
  isQuick: false,
  async measure() {
    const { growth, messages } = await child('graph-memory.js', kind)
    const detail = `growth over the call; one message per edge would take ${(messages / MEGABYTE).toFixed(0)} MB`
    return { value: growth / MEGABYTE, unit: 'MB', detail }
  }
})

/** @param {string} name @param {boolean} isZipped @returns {Task} */
const size = (name, isZipped) => ({
  name: `${name}${isZipped ? ', gzipped' : ''}`,
  group: 'size',
  isQuick: true,
  async measure() {
    const bytes = readFileSync(new URL(`../packages/wasm/${name}`, import.meta.url))
    return { value: (isZipped ? gzipSync(bytes, { level: 9 }) : bytes).length / 1000, unit: 'KB', detail: '' }
  }
})

/** @param {{ isQuick: boolean }} options */
export function tasks({ isQuick }) {
  const all = [
    start('native'),
    start('wasm'),
    startInBrowser,
    memory('native'),
    memory('wasm'),
    graphMemory('native'),
    graphMemory('wasm'),
    ...['attention.simd.wasm', 'attention.relaxed.patch'].flatMap((name) => [size(name, false), size(name, true)])
  ]
  return all.filter((task) => task.isQuick || !isQuick)
}
