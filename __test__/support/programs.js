// The programs in guides: each must print the comments after its console.log calls, or the text block that follows it.
import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

const root = new URL('../../', import.meta.url)

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
 * Runs a program on one backend, by default in the repository's folder, and returns the lines it prints.
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
