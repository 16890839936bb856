// Sets the version in every file that states it, and reads and writes its changelog entry.

import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Failure } from '../shell.mjs'
import { platforms } from './platforms.mjs'

const SEMVER =
  /^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-(0|[1-9]\d*|\d*[a-zA-Z-][\da-zA-Z-]*)(\.(0|[1-9]\d*|\d*[a-zA-Z-][\da-zA-Z-]*))*)?$/

/** Returns true if npm and cargo both accept it as a version; build metadata, which npm drops, is not allowed. */
export const isVersion = (/** @type {string} */ text) => SEMVER.test(text)

/** Returns true for a prerelease, which is only installed on request. */
export const isPrerelease = (/** @type {string} */ version) => version.includes('-')

/** @typedef {(text: string, version: string) => string} Edit */

/**
 * Makes an edit that replaces the text between the two groups of a pattern by the version.
 *
 * @param {RegExp} pattern  with two groups, around the version
 * @returns {Edit}
 */
const at = (pattern) => (text, version) => {
  if (text.search(pattern) < 0) throw new Failure(`no version matches ${pattern}`)
  return text.replace(pattern, (_, before, after) => `${before}${version}${after}`)
}

/** @type {Edit} */
const inLock = (text, version) => {
  const lock = JSON.parse(text)
  lock.version = version
  lock.packages[''].version = version
  return `${JSON.stringify(lock, undefined, 2)}\n`
}

const ofManifest = at(/^( {2}"version": ")[^"]*(")/m)

/** The edits of each file. In the lock file, the crates of the workspace are those without a source. */
const PLACES = /** @type {[string, Edit][]} */ ([
  ['Cargo.toml', at(/^(version = ")[^"]*(")/m)],
  ['Cargo.toml', at(/^(ruvector-attention = \{ path = "[^"]*", version = ")[^"]*(")/m)],
  ['Cargo.lock', at(/^(name = "(?:ruvector-attention(?:-calls|-node|-oracle|-wasm)?|xtask)"\nversion = ")[^"]*("$)/gm)],
  ['lib/version.js', at(/^(export const version = ')[^']*(')/m)],
  ['package.json', ofManifest],
  ['package-lock.json', inLock],
  ...platforms.map(({ folder }) => [`${folder}/package.json`, ofManifest])
])

/**
 * Sets the version everywhere; repeating it changes nothing.
 *
 * @param {string} folder  of the repository, or a copy of it
 * @param {string} version
 * @returns {string[]} the files that changed
 */
export function setVersions(folder, version) {
  const changed = new Set()
  for (const [file, edit] of PLACES) {
    const path = join(folder, file)
    const before = readFileSync(path, 'utf8')
    const after = edit(before, version)
    if (after === before) continue
    writeFileSync(path, after)
    changed.add(file)
  }
  return [...changed]
}

/**
 * Returns the files that state another version.
 *
 * @param {string} folder
 * @param {string} version
 */
export const filesBehind = (folder, version) => [
  ...new Set(
    PLACES.filter(([file, edit]) => {
      const text = readFileSync(join(folder, file), 'utf8')
      return edit(text, version) !== text
    }).map(([file]) => file)
  )
]

/**
 * Returns the changelog entry of a version; undefined if there is none or it is empty.
 *
 * @param {string} changelog
 * @param {string} version
 */
export function changelogEntry(changelog, version) {
  const [, ...sections] = changelog.split(/^## /m)
  const section = sections.find((text) => text.startsWith(`[${version}]`))
  return section?.slice(section.indexOf('\n')).trim() || undefined
}

/**
 * Turns the unreleased changes into the entry of a version, unless it has one.
 *
 * @param {string} changelog
 * @param {string} version
 * @param {string} date  such as 2026-01-31
 */
export function withEntry(changelog, version, date) {
  if (changelogEntry(changelog, version) || !changelogEntry(changelog, 'Unreleased')) return changelog
  return changelog.replace(/^## \[Unreleased\]$/m, `## [Unreleased]\n\n## [${version}] - ${date}`)
}
