// The programs that only a release and coverage need: a package of their own in this folder, installed when they are asked for.

import { createRequire } from 'node:module'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { npmProgram, root, run } from '../shell.mjs'

const folder = join(root, 'scripts', 'release')
const installed = join(folder, 'node_modules')

/** Installs them, unless what is installed is what the lock says. */
export async function installTools() {
  const lock = readFileSync(join(folder, 'package-lock.json'))
  const satisfied = join(installed, '.satisfied-lock.json')
  if (existsSync(satisfied) && readFileSync(satisfied).equals(lock)) return
  console.log('installing the tools of a release')
  await run('npm', ['ci', '--no-audit', '--no-fund', '--loglevel=error'], { cwd: folder })
  writeFileSync(satisfied, lock)
}

/**
 * The file to hand to Node for one of the programs.
 *
 * @param {string} name  of its package
 * @param {string} [program]  where it is called otherwise than the package
 */
export const toolProgram = (name, program) => npmProgram(name, program, folder)

const require = createRequire(join(installed, 'index.js'))

/**
 * What one of them exports. It is not known to the type checker, which runs where they are not installed.
 *
 * @param {string} name
 * @returns {any}
 */
export const toolModule = (name) => require(name)
