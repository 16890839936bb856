// Checks the contents of an npm tarball against those of its package: nothing may be missing or additional.

import { gunzipSync } from 'node:zlib'
import { compareVersions, readBinary } from './binary.mjs'
import { OLDEST_GLIBC } from './platforms.mjs'
import { relativeLinks } from './readme.mjs'

/** @typedef {{ path: string, bytes: Buffer }} Entry */
/** @typedef {import('./platforms.mjs').Platform} Platform */

/** Limits in bytes, compressed and uncompressed. */
const PLATFORM_LIMIT = 4_000_000
const ROOT_LIMITS = { packed: 1_950_000, unpacked: 4_700_000 }

const LICENSES = ['LICENSE-APACHE', 'LICENSE-MIT']

/** The contents of the root package. */
const ROOT_FILES = [
  /^(package\.json|README\.md|CHANGELOG\.md|LICENSE-(MIT|APACHE))$/,
  /^(index\.js|(index|core|compat|models|plot|training)\.d\.ts)$/,
  /^lib\/([a-z-]+\/)*[a-z-]+\.js$/,
  /^lib\/graphology\/index\.d\.ts$/,
  /^lib\/cjs\/([a-z]+\.(cjs|mjs|d\.cts)|part-([a-z]+|\d)\.cjs)$/,
  /^benchmark\/([a-z-]+\/)*[a-z\d-]+\.(js|css|py|d\.ts)$/,
  /^benchmark\/package\.json$/,
  /^packages\/wasm\/attention\.(js|worker\.js|((core|training)\.)?(inline\.js|simd\.wasm|relaxed\.patch))$/
]

/**
 * @param {Buffer} tarball
 * @returns {Entry[]} the files, by their paths within the package
 */
export function readTarball(tarball) {
  const tar = gunzipSync(tarball)
  const text = (/** @type {number} */ from, /** @type {number} */ length) =>
    tar.toString('utf8', from, from + length).replace(/\0.*$/s, '')
  const entries = []
  for (let at = 0; at + 512 <= tar.length && tar[at] !== 0;) {
    const size = Number.parseInt(text(at + 124, 12), 8)
    const path = [text(at + 345, 155), text(at, 100)].filter(Boolean).join('/')
    const type = text(at + 156, 1)
    if (type !== '' && type !== '0') throw new Error(`${path}: expected only files, got an entry of type ${type}`)
    entries.push({ path: path.replace(/^package\//, ''), bytes: tar.subarray(at + 512, at + 512 + size) })
    at += 512 + Math.ceil(size / 512) * 512
  }
  return entries
}

/** @param {readonly Entry[]} entries */
const unpackedSize = (entries) => entries.reduce((sum, { bytes }) => sum + bytes.length, 0)

/**
 * @param {string} what
 * @param {number} size
 * @param {number} limit
 */
const sizeFault = (what, size, limit) => (size > limit ? [`${what} of ${size} bytes, over ${limit}`] : [])

/**
 * @param {readonly Entry[]} entries
 * @returns {Record<string, any>}
 */
function manifestOf(entries) {
  return JSON.parse(entries.find(({ path }) => path === 'package.json')?.bytes.toString() ?? '{}')
}

/**
 * @param {Record<string, any>} manifest
 * @param {string} name
 * @param {string} version
 */
const identityFaults = (manifest, name, version) =>
  manifest.name === name && manifest.version === version
    ? []
    : [`states ${manifest.name}@${manifest.version}, not ${name}@${version}`]

/** Returns every file that the manifest names. @param {unknown} value @returns {string[]} */
function namedFiles(value) {
  if (typeof value === 'string') return value.startsWith('./') ? [value.slice(2)] : []
  return value && typeof value === 'object' ? Object.values(value).flatMap(namedFiles) : []
}

/**
 * @param {Buffer} tarball
 * @param {string} version
 * @param {readonly Platform[]} platforms  the platforms of the release
 * @returns {string[]} what is wrong
 */
export function rootFaults(tarball, version, platforms) {
  const entries = readTarball(tarball)
  const manifest = manifestOf(entries)
  const { main, types, typesVersions, exports, bin, optionalDependencies = {} } = manifest
  const wanted = [
    ...new Set([...namedFiles({ main, types, typesVersions, exports, bin }), ...LICENSES, 'README.md', 'CHANGELOG.md'])
  ]
  const has = (/** @type {string} */ name) => entries.some(({ path }) => path === name)
  const readme = entries.find(({ path }) => path === 'README.md')?.bytes.toString() ?? ''
  const expected = Object.fromEntries(platforms.map(({ name }) => [name, version]))
  return [
    ...identityFaults(manifest, '@ruvector/attention', version),
    ...entries.filter(({ path }) => !ROOT_FILES.some((form) => form.test(path))).map(({ path }) => `holds ${path}`),
    ...wanted.filter((name) => !has(name)).map((name) => `lacks ${name}`),
    ...(JSON.stringify(optionalDependencies) === JSON.stringify(expected) ? [] : ['names other platform packages']),
    ...['devDependencies', 'scripts'].filter((key) => key in manifest).map((key) => `states ${key}`),
    ...relativeLinks(readme).map((target) => `links to ${target} from its README`),
    ...sizeFault('a tarball', tarball.length, ROOT_LIMITS.packed),
    ...sizeFault('files', unpackedSize(entries), ROOT_LIMITS.unpacked)
  ]
}

/**
 * @param {Buffer} tarball
 * @param {string} version
 * @param {Platform} platform
 * @returns {string[]} what is wrong
 */
export function platformFaults(tarball, version, { name, triple, file }) {
  const entries = readTarball(tarball)
  const manifest = manifestOf(entries)
  const files = [file, 'package.json', 'README.md', ...LICENSES]
  const addon = entries.find(({ path }) => path === file)
  return [
    ...identityFaults(manifest, name, version),
    ...(manifest.main === file ? [] : [`enters by ${manifest.main}`]),
    ...entries.filter(({ path }) => !files.includes(path)).map(({ path }) => `holds ${path}`),
    ...files.filter((path) => !entries.some((entry) => entry.path === path)).map((path) => `lacks ${path}`),
    ...(addon ? addonFaults(addon.bytes, triple) : []),
    ...sizeFault('files', unpackedSize(entries), PLATFORM_LIMIT)
  ]
}

/**
 * @param {Buffer} bytes
 * @param {string} triple
 * @returns {string[]} what is wrong
 */
export function addonFaults(bytes, triple) {
  const [system, machine, abi] = triple.split('-')
  const binary = readBinary(bytes)
  if (!binary) return ['its addon is no native code']
  const newest = binary.glibc.at(-1)
  const isMusl = binary.libraries.some((name) => name.startsWith('libc.musl') || name === 'libc.so')
  return [
    ...(binary.system === system && binary.machine === machine
      ? []
      : [`its addon is for ${binary.system} on ${binary.machine}`]),
    ...(binary.hasSymbols ? ['its addon has symbols'] : []),
    ...(abi === 'gnu' && newest && compareVersions(newest, OLDEST_GLIBC) > 0
      ? [`its addon needs glibc ${newest}, newer than ${OLDEST_GLIBC}`]
      : []),
    ...(abi === 'gnu' && isMusl ? ['its addon needs musl'] : []),
    ...(abi === 'musl' && newest ? ['its addon needs glibc'] : [])
  ]
}
