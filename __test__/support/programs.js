// The programs in guides: each prints what the comments behind its console.log say, or the block of text that follows it.
import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

const root = new URL('../../', import.meta.url)

/**
 * The programs of a guide with the lines that each has to print.
 *
 * @param {string} name  of a file of the repository
 */
export function programsOf(name) {
  const guide = readFileSync(new URL(name, root), 'utf8')
  return [...guide.matchAll(/```js\n([^]*?)```(?:\s+```text\n([^]*?)```)?/g)].map(([, code, text]) => ({
    code,
    lines:
      text?.trimEnd().split('\n') ?? [...code.matchAll(/^console\.log\(.*\) \/\/ (.*)$/gm)].map(([, claim]) => claim)
  }))
}

/**
 * Runs a program in the repository's folder on one backend, and gives the lines that it prints.
 *
 * @param {string} code
 * @param {string} kind
 */
export async function linesOf(code, kind) {
  const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '--eval', code], {
    cwd: fileURLToPath(root),
    env: { ...process.env, RUVECTOR_ATTENTION_BACKEND: kind, NO_COLOR: '1' }
  })
  return stdout.trimEnd().split('\n')
}
