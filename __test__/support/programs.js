// The programs in guides: each must print the comments after its console.log calls, or the text block that follows it.
import { execFile } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { promisify } from 'node:util'

const root = new URL('../../', import.meta.url)
const repository = fileURLToPath(root)

/**
 * A program of a guide.
 *
 * - `mark`: the second word of the fence. None: runs in Node on both backends. `browser`: for a page, so it is bundled.
 *   `excerpt`: part of a program, so it is parsed. Anything else names a required package.
 * - `lines`: the expected output.
 *
 * @typedef {{ code: string, mark: string | undefined, lines: string[], line: number }} Program
 */

/**
 * The programs of a guide with their expected output.
 *
 * @param {string} name  of a file of the repository
 * @returns {Program[]}
 */
export function programsOf(name) {
  const guide = readFileSync(new URL(name, root), 'utf8')
  const fences = guide.matchAll(/^( *)```js(?: (\S+))?\n([^]*?)^\1```\n(?:\s*```text\n([^]*?)^```)?/gm)
  return [...fences].map(({ 2: mark, 3: code, 4: text, index }) => ({
    code,
    mark,
    line: guide.slice(0, index).split('\n').length,
    lines:
      text?.trimEnd().split('\n') ?? [...code.matchAll(/^ *console\.log\(.*\) \/\/ (.*)$/gm)].map(([, claim]) => claim)
  }))
}

/** Running programs and those waiting to start, limited by the number of processors. */
let running = 0
/** @type {(() => void)[]} */
const waiting = []

/**
 * Runs Node when a processor is free, and returns what it prints.
 *
 * @param {readonly string[]} args
 * @param {string} kind  the backend
 * @param {string} folder
 */
async function outputOf(args, kind, folder) {
  while (running >= availableParallelism()) await new Promise((resolve) => waiting.push(() => resolve(undefined)))
  running++
  try {
    const env = { ...process.env, RUVECTOR_ATTENTION_BACKEND: kind, NO_COLOR: '1' }
    return (await promisify(execFile)(process.execPath, ['--input-type=module', ...args], { cwd: folder, env })).stdout
  } finally {
    running--
    waiting.shift()?.()
  }
}

/**
 * Runs a program on one backend, by default in the repository's folder, and returns the lines it prints.
 *
 * @param {string} code
 * @param {string} kind
 * @param {string} [folder]
 */
export const linesOf = async (code, kind, folder = repository) =>
  (await outputOf(['--eval', code], kind, folder)).trimEnd().split('\n')

/** Imports programs one after the other, and ends the output of each with a form feed. */
const EACH = "for (const file of process.argv.slice(1)) { await import(file); console.log('\\f') }"

/**
 * Runs the programs of a guide in one process, and returns the lines that each prints.
 *
 * @param {readonly Program[]} programs
 * @param {string} kind
 */
export async function linesOfEach(programs, kind) {
  const output = join(repository, 'output')
  mkdirSync(output, { recursive: true })
  const folder = mkdtempSync(join(output, 'guide-'))
  try {
    const files = programs.map(({ line, code }) => {
      const file = join(folder, `line-${line}.mjs`)
      writeFileSync(file, code)
      return pathToFileURL(file).href
    })
    const printed = await outputOf(['--eval', EACH, ...files], kind, repository)
    return printed.split('\f\n').map((lines) => lines.trimEnd().split('\n'))
  } finally {
    rmSync(folder, { recursive: true })
  }
}
