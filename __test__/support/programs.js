// The programs in guides: each prints what the comments behind its console.log say, or the block of text that follows it.
import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

const root = new URL('../../', import.meta.url)

/**
 * A program of a guide.
 *
 * - `mark`: the second word behind the fence. None: it runs in Node on both backends. `browser`: it is for a page, and bundled.
 *   `excerpt`: a part of a program, and parsed. Anything else is the package that it needs.
 * - `lines`: what it has to print.
 *
 * @typedef {{ code: string, mark: string | undefined, lines: string[], line: number }} Program
 */

/**
 * The programs of a guide with the lines that each has to print.
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

/** Those that run now, and whoever waits for one to end: no more at once than there are processors. */
let running = 0
/** @type {(() => void)[]} */
const waiting = []

/**
 * Runs a program on one backend, in the repository's folder unless told otherwise, and gives the lines that it prints.
 *
 * @param {string} code
 * @param {string} kind
 * @param {string} [folder]
 */
export async function linesOf(code, kind, folder = fileURLToPath(root)) {
  while (running >= availableParallelism()) await new Promise((resolve) => waiting.push(() => resolve(undefined)))
  running++
  try {
    const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '--eval', code], {
      cwd: folder,
      env: { ...process.env, RUVECTOR_ATTENTION_BACKEND: kind, NO_COLOR: '1' }
    })
    return stdout.trimEnd().split('\n')
  } finally {
    running--
    waiting.shift()?.()
  }
}
