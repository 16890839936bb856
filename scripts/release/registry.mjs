// What npm has of the packages already, and what that means for a release: a version is published once and for all, and a name may have had others.

import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { query } from '../shell.mjs'
import { compareVersions } from './binary.mjs'
import { isPrerelease } from './versions.mjs'

/**
 * @typedef {{ versions: string[], integrity?: string }} Published
 *   `versions` are all that there are of a package, `integrity` is that of the version in question, where it is there
 */

/**
 * @param {string} name
 * @param {string} version
 * @returns {Published}
 */
function published(name, version) {
  // One version alone comes without brackets; where the package is unknown, or nobody answers, nothing comes.
  const versions = [JSON.parse(query('npm', ['view', name, 'versions', '--json']) ?? '[]')].flat()
  if (!versions.includes(version)) return { versions }
  return { versions, integrity: query('npm', ['view', `${name}@${version}`, 'dist.integrity']) }
}

/** As npm computes it. @param {Buffer} tarball */
export const integrityOf = (tarball) => `sha512-${createHash('sha512').update(tarball).digest('base64')}`

/**
 * Where a tarball stands: whether it is published already, and why it cannot be, if it cannot.
 *
 * @param {{ name: string, version: string, tag: string, tarball: Buffer }} release
 * @param {Published} known
 * @returns {{ isThere: boolean, conflict?: string }}
 */
export function standingOf({ name, version, tag, tarball }, { versions, integrity }) {
  if (versions.includes(version)) {
    if (integrity === integrityOf(tarball)) return { isThere: true }
    return { isThere: false, conflict: `${name}@${version} is published with other contents: take another version` }
  }
  const highest = versions
    .filter((one) => !isPrerelease(one))
    .sort(compareVersions)
    .pop()
  if (tag === 'latest' && highest !== undefined && compareVersions(version, highest) < 0) {
    const remedy = 'take a higher version, or a --tag other than latest'
    return { isThere: false, conflict: `${name}@${highest} is published, and higher than ${version}: ${remedy}` }
  }
  return { isThere: false }
}

/**
 * {@link standingOf} for what npm has now.
 *
 * @param {{ name: string, file: string }} packed
 * @param {string} version
 * @param {string} tag
 */
export const standing = ({ name, file }, version, tag) =>
  standingOf({ name, version, tag, tarball: readFileSync(file) }, published(name, version))
