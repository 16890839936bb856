// The programs that only a release needs: a separate package in this folder, installed on demand.

import { createRequire } from 'node:module'
import { join } from 'node:path'
import { installLocked } from '../setup.mjs'
import { npmProgram, root } from '../../tools/shell.mjs'

const folder = join(root, 'scripts', 'release')
const installed = join(folder, 'node_modules')

export const installReleaseTools = () => installLocked(folder, 'the tools of a release')

/**
 * Returns the file that Node runs for one of the programs.
 *
 * @param {string} name  of its package
 * @param {string} [program]  its name, if it differs from the package's
 */
export const toolProgram = (name, program) => npmProgram(name, program, folder)

const require = createRequire(join(installed, 'index.js'))

/**
 * Imports one of the packages, which the type checker does not know, because it may not be installed.
 *
 * @param {string} name
 * @returns {any}
 */
export const toolModule = (name) => require(name)
