// Compares a release with the versions on npm: a published version never changes, and an earlier package may have used
// its name.

import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { query } from '../shell.mjs'
import { compareVersions } from './binary.mjs'
import { isPrerelease } from './versions.mjs'

/**
 * All published versions of a package, and the integrity of the version in question if it is among them.
 *
 * @typedef {{ versions: string[], integrity?: string }} Published
 */

/**
 * @param {string} name
 * @param {string} version
 * @returns {Published}
 */
function published(name, version) {
  // npm prints a single version without brackets, and nothing for an unknown package or without a connection.
  const versions = [JSON.parse(query('npm', ['view', name, 'versions', '--json']) ?? '[]')].flat()
  if (!versions.includes(version)) return { versions }
  return { versions, integrity: query('npm', ['view', `${name}@${version}`, 'dist.integrity']) }
}

/** Computes the integrity in npm's format. @param {Buffer} tarball */
export const integrityOf = (tarball) => `sha512-${createHash('sha512').update(tarball).digest('base64')}`

/**
 * Returns whether a tarball is already published, and the reason if it cannot be published.
 *
 * @param {{ name: string, version: string, tag: string, tarball: Buffer }} release
 * @param {Published} known
 * @returns {{ isPublished: boolean, conflict?: string }}
 */
export function publishedState({ name, version, tag, tarball }, { versions, integrity }) {
  if (versions.includes(version)) {
    if (integrity === integrityOf(tarball)) return { isPublished: true }
    return { isPublished: false, conflict: `${name}@${version} is published with other contents: take another version` }
  }
  const highest = versions
    .filter((one) => !isPrerelease(one))
    .sort(compareVersions)
    .pop()
  if (tag === 'latest' && highest !== undefined && compareVersions(version, highest) < 0) {
    const remedy = 'take a higher version, or a --tag other than latest'
    return { isPublished: false, conflict: `${name}@${highest} is published, and higher than ${version}: ${remedy}` }
  }
  return { isPublished: false }
}

/**
 * {@link publishedState} with the current state of npm.
 *
 * @param {{ name: string, file: string }} packed
 * @param {string} version
 * @param {string} tag
 */
export const stateOnNpm = ({ name, file }, version, tag) =>
  publishedState({ name, version, tag, tarball: readFileSync(file) }, published(name, version))
