// Reports everything that the benchmark installs, builds or compiles, so that users see the reason for each wait.

import { relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { duration } from './report/format.js'

const folder = relative(process.cwd(), fileURLToPath(new URL('.', import.meta.url)))

/** The command that installs the packages of this folder, wherever the package itself is installed. */
export const installCommand = `npm install --prefix ${folder || '.'}`

/**
 * Runs `work`, and reports it with its time on standard error: `bench: compiling attention.simd.wasm: 31.4 ms`.
 *
 * @template T
 * @param {string} what  starts with a verb, such as "compiling"
 * @param {() => T | Promise<T>} work
 */
export async function reported(what, work) {
  // A terminal may show the progress bar on this line.
  process.stderr.write(`${process.stderr.isTTY ? '\r\u001B[2K' : ''}bench: ${what}`)
  const start = performance.now()
  try {
    return await work()
  } finally {
    process.stderr.write(`: ${duration(performance.now() - start)}\n`)
  }
}
