// The programs that only a release needs: a package of their own in this folder, installed when they are asked for.

import { createRequire } from 'node:module'
import { join } from 'node:path'
import { installLocked } from '../setup.mjs'
import { npmProgram, root } from '../shell.mjs'

const folder = join(root, 'scripts', 'release')
const installed = join(folder, 'node_modules')

export const installReleaseTools = () => installLocked(folder, 'the tools of a release')

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
