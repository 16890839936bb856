// The platforms of a release, by the loader's names: folder, package, file and Rust target of each.

import { PUBLISHED } from '../../lib/cli/platforms.js'

/** The oldest supported glibc: that of Debian 10, RHEL 8 and Amazon Linux 2023. */
export const OLDEST_GLIBC = '2.28'

/** @typedef {{ triple: string, name: string, folder: string, file: string, target: string }} Platform */

const SYSTEMS = /** @type {Record<string, string>} */ ({
  linux: 'unknown-linux',
  darwin: 'apple-darwin',
  win32: 'pc-windows'
})
const MACHINES = /** @type {Record<string, string>} */ ({ x64: 'x86_64', arm64: 'aarch64' })

/**
 * @param {string} triple  such as linux-x64-gnu
 * @returns {Platform}
 */
function describe(triple) {
  const [system, machine, abi] = triple.split('-')
  return {
    triple,
    name: `@ruvector/attention-${triple}`,
    folder: `packages/${triple}`,
    file: `attention.${triple}.node`,
    target: [MACHINES[machine], SYSTEMS[system], abi].filter(Boolean).join('-')
  }
}

/** All published platforms. */
export const platforms = PUBLISHED.map(describe)
