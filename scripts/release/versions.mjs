// Every place that states the version of the package, and the entry of the changelog that belongs to it.

import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Failure } from '../shell.mjs'
import { platforms } from './platforms.mjs'

const SEMVER =
  /^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-(0|[1-9]\d*|\d*[a-zA-Z-][\da-zA-Z-]*)(\.(0|[1-9]\d*|\d*[a-zA-Z-][\da-zA-Z-]*))*)?$/

/** Whether npm and cargo both take it as a version; build metadata, which npm drops, is left out. */
export const isVersion = (/** @type {string} */ text) => SEMVER.test(text)

/** Whether it is a version that nobody gets without asking for it. */
export const isPrerelease = (/** @type {string} */ version) => version.includes('-')

/** @typedef {(text: string, version: string) => string} Edit */

/**
 * An edit that puts the version where a pattern finds one, between its two groups.
 *
 * @param {RegExp} pattern  with two groups, around the version
 * @returns {Edit}
 */
const at = (pattern) => (text, version) => {
  if (text.search(pattern) < 0) throw new Failure(`there is no version where ${pattern} looks for it`)
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

/** What changes which file: the crates of the workspace are those of the lock that come from nowhere else. */
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
 * Sets every version; a second time changes nothing.
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
 * The files that state another version.
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
 * What the changelog says of a version; undefined if it has no entry, or an empty one.
 *
 * @param {string} changelog
 * @param {string} version
 */
export function entryOf(changelog, version) {
  const [, ...sections] = changelog.split(/^## /m)
  const section = sections.find((text) => text.startsWith(`[${version}]`))
  return section?.slice(section.indexOf('\n')).trim() || undefined
}

/**
 * Makes what is unreleased the entry of a version, unless it has one.
 *
 * @param {string} changelog
 * @param {string} version
 * @param {string} date  such as 2026-01-31
 */
export function withEntry(changelog, version, date) {
  if (entryOf(changelog, version) || !entryOf(changelog, 'Unreleased')) return changelog
  return changelog.replace(/^## \[Unreleased\]$/m, `## [Unreleased]\n\n## [${version}] - ${date}`)
}
